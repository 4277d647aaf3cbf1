//! What the loop does about pods: takes in and out what the labels say, finds what was there before,
//! and answers the server for the plugin.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context;
use enrolment::plan::{self, Enrolled, Plan};
use enrolment::{Pod, Verdict};
use runtime::api::{Enrolment, EnrolmentOrigin, KubernetesStatus, Sandbox};

use super::{PodRequest, Pods, process};
use crate::agent::Agent;
use crate::dns::resolvers_of;
use crate::enrolments::PodEnrolment;

impl Agent {
    /// Brings enrolment to what the labels say, as far as that is known.
    pub(crate) fn reconcile_pods(&mut self) {
        let Some(pods) = &mut self.pods else { return };
        pods.counters.take_notes(&pods.notes);
        pods.sandboxes.retain(|_, sandbox| sandbox.netns.exists());
        let enrolled: Vec<Enrolled<'_>> = self.enrolments.all().filter_map(as_enrolled).collect();
        let Plan { leave, enter } = plan::plan(&pods.view.lock(), &enrolled, &mut pods.provisional);
        self.take_out(&leave);
        self.take_in(enter);
        self.complete_resolvers();
        self.annotate();
    }

    /// Takes pods out that live on: what they have open goes on, and their DNS is told first.
    fn take_out(&mut self, cookies: &[u64]) {
        self.dns.withdraw_all(cookies);
        for cookie in cookies {
            match self.enrolments.unenrol(*cookie) {
                Ok(ended) => {
                    let workload = ended.workload.unwrap_or_default();
                    tracing::info!(workload, netns = ended.netns, "taken out of the mesh");
                }
                Err(error) => {
                    tracing::warn!(cookie, error = format!("{error:#}"), "not taken out");
                }
            }
        }
    }

    fn take_in(&mut self, enter: Vec<Pod>) {
        let (mut missing, mut failed) = (0, Vec::new());
        for pod in enter {
            let Some(pods) = &self.pods else { return };
            // The runtime has not made it yet, and will ask; or it is between two sandboxes.
            let Some(found) = pods.find(&pod) else {
                missing += 1;
                continue;
            };
            let enrolled = self.enrol_pod(found);
            if let Err(error) = enrolled {
                failed.push((pod.uid.clone(), format!("pod {}: {error:#}", pod.workload())));
            }
        }
        let Some(pods) = &mut self.pods else { return };
        pods.missing = missing;
        for (uid, problem) in &failed {
            if pods.problems.get(uid) != Some(problem) {
                tracing::error!("{problem}");
            }
        }
        pods.problems = failed.into_iter().collect();
    }

    fn enrol_pod(&mut self, pod: PodEnrolment) -> anyhow::Result<()> {
        let enrolment = self.enrolments.enrol_pod(pod)?;
        let workload = enrolment.workload.as_deref().unwrap_or_default();
        let (netns, origin) = (&enrolment.netns, enrolment.origin);
        tracing::info!(workload, netns, %origin, "enrolled");
        if self.is_attached() {
            self.dns.serve(&enrolment);
        }
        Ok(())
    }

    /// The DNS servers of pods whose runtime did not tell them: those of the first container that runs.
    fn complete_resolvers(&mut self) {
        let Some(pods) = &self.pods else { return };
        let waiting: Vec<Enrolment> =
            self.enrolments.all().filter(|e| e.awaits_resolvers()).cloned().collect();
        for enrolment in waiting {
            let uid = enrolment.pod_uid.as_deref().unwrap_or_default();
            let Some(found) = process::find(&pods.cgroup_root, uid) else { continue };
            let resolvers = resolvers_of(&found.process, Path::new("")).unwrap_or_default();
            if resolvers.is_empty() {
                continue;
            }
            let cookie = enrolment.netns_cookie;
            if let Err(error) = self.enrolments.set_resolvers(cookie, resolvers) {
                tracing::warn!(error = format!("{error:#}"), "resolvers are not remembered");
            }
            if let (true, Some(enrolment)) = (self.is_attached(), self.enrolments.get(cookie)) {
                self.dns.serve(enrolment);
            }
        }
    }

    fn annotate(&self) {
        let Some(pods) = &self.pods else { return };
        let uids: BTreeSet<&str> =
            self.enrolments.all().filter_map(|e| e.pod_uid.as_deref()).collect();
        let wanted = plan::annotations(&pods.view.lock(), &uids);
        pods.annotations.send_if_modified(|now| {
            let changed = *now != wanted;
            *now = wanted;
            changed
        });
    }

    /// Answers the server for the plugin; one that has gone away is no matter.
    pub(crate) fn answer_pod(&mut self, request: PodRequest) {
        let failed = |error: anyhow::Error| format!("{error:#}");
        match request {
            PodRequest::Enrol { pod, to } => drop(to.send(self.add(pod).map_err(failed))),
            PodRequest::Remember { pod, to } => {
                if let Some(pods) = &mut self.pods {
                    pods.sandboxes.insert(pod.enrolment.uid.clone(), pod.enrolment);
                }
                // What it waits for may have come while it was being decided.
                self.reconcile_pods();
                drop(to.send(Ok(())));
            }
            PodRequest::Release { sandbox, netns, to } => {
                if let Some(pods) = &mut self.pods {
                    pods.sandboxes.retain(|_, known| known.sandbox.as_ref() != Some(&sandbox));
                }
                let cookie = self.enrolments.of_sandbox(&sandbox, &netns);
                drop(to.send(self.let_go(cookie.into_iter()).map_err(failed)));
            }
            PodRequest::Collect { network, valid, to } => {
                let lives = |known: &PodEnrolment| match &known.sandbox {
                    Some(sandbox) => sandbox.network != network || valid.contains(sandbox),
                    None => true,
                };
                if let Some(pods) = &mut self.pods {
                    pods.sandboxes.retain(|_, known| lives(known));
                }
                let garbage = self.garbage(&network, &valid);
                drop(to.send(self.let_go(garbage.into_iter()).map_err(failed)));
            }
            PodRequest::IsEnrolled { netns, to } => {
                drop(to.send(self.enrolments.is_enrolled_at(&netns).map_err(failed)));
            }
            PodRequest::Ready(to) => drop(to.send(self.readiness())),
        }
    }

    fn add(&mut self, pod: super::Pod) -> anyhow::Result<bool> {
        let super::Pod { enrolment, provisional } = pod;
        let (uid, netns) = (enrolment.uid.clone(), enrolment.netns.clone());
        if let Some(pods) = &mut self.pods {
            pods.sandboxes.insert(uid.clone(), enrolment.clone());
        }
        self.enrol_pod(enrolment).with_context(|| {
            format!(
                "{}; the daemon has to see the runtime's directory of network namespaces \
                 (deploy/yaml/kmesh.yaml mounts /var/run/netns)",
                netns.display()
            )
        })?;
        if let (true, Some(pods)) = (provisional, &mut self.pods) {
            pods.provisional.insert(uid);
        }
        Ok(self.is_attached())
    }

    /// Sandboxes of a network that the runtime does not know any more.
    fn garbage(&self, network: &str, valid: &BTreeSet<Sandbox>) -> Vec<u64> {
        let is_garbage = |e: &&Enrolment| {
            let sandbox = e.sandbox.as_ref().filter(|sandbox| sandbox.network == network);
            e.origin != EnrolmentOrigin::Hand
                && sandbox.is_some_and(|sandbox| !valid.contains(sandbox))
        };
        self.enrolments.all().filter(is_garbage).map(|e| e.netns_cookie).collect()
    }

    /// Takes out namespaces in which nobody lives any more.
    fn let_go(&mut self, cookies: impl Iterator<Item = u64>) -> anyhow::Result<()> {
        for cookie in cookies {
            self.enrolments.unenrol(cookie)?;
        }
        self.dns.retain(|cookie| self.enrolments.contains(cookie));
        Ok(())
    }

    /// For the status page.
    pub(crate) fn kubernetes_status(&self) -> Option<KubernetesStatus> {
        let pods = self.pods.as_ref()?;
        let view = pods.view.lock();
        let wanted = view.pods().filter(|pod| matches!(view.verdict(pod), Verdict::In(_)));
        Some(KubernetesStatus {
            complete: view.is_complete(),
            connected: pods.view.is_connected(),
            pods: view.pods().count(),
            wanted: wanted.count(),
            missing: pods.missing,
            cni: pods.counters.status(),
            problems: pods.problems.values().cloned().collect(),
        })
    }
}

impl Pods {
    /// Where a pod lives: as the runtime told, or else where its containers run.
    fn find(&self, pod: &Pod) -> Option<PodEnrolment> {
        if let Some(told) = self.sandboxes.get(&pod.uid) {
            return Some(PodEnrolment { origin: EnrolmentOrigin::Label, ..told.clone() });
        }
        let found = process::find(&self.cgroup_root, &pod.uid)?;
        let resolvers = resolvers_of(&found.process, Path::new("")).unwrap_or_default();
        Some(PodEnrolment {
            netns: found.netns,
            workload: pod.workload(),
            uid: pod.uid.clone(),
            origin: EnrolmentOrigin::Label,
            sandbox: None,
            resolvers,
        })
    }

    /// Why the labels say that this namespace is in the mesh, if they do.
    pub fn why_wanted(&self, enrolment: &Enrolment) -> Option<&'static str> {
        let view = self.view.lock();
        match view.verdict(view.pod(enrolment.pod_uid.as_deref()?)?) {
            Verdict::In(why) => Some(why.sentence()),
            _ => None,
        }
    }
}

fn as_enrolled(enrolment: &Enrolment) -> Option<Enrolled<'_>> {
    Some(Enrolled {
        cookie: enrolment.netns_cookie,
        uid: enrolment.pod_uid.as_deref()?,
        by_hand: enrolment.origin == EnrolmentOrigin::Hand,
    })
}
