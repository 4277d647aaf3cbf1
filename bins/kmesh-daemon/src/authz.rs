//! Authorization as the daemon has it: the tables in step with the snapshot, connections that are not
//! allowed any more ended, and what an operator asks about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use ::authz::{Authz, Explanation, Options};
use abi::authz::Change;
use anyhow::Context;
use datapath::{Datapath, Maps, Means};
use model::{PolicyName, Snapshot, WorkloadName};
use runtime::api::{
    AuthzExplanation, AuthzRequest, AuthzStatus, ConsideredPolicy, Enrolment, PolicyCounts,
};
use runtime::{files, netns};

use crate::closing::Closing;
use crate::commit::wait_for_programs;
use crate::explain::host_and_port;

/// A file of this name in the state directory says that policies are not enforced.
const DISABLED_FILE: &str = "authz-disabled";
const DISABLED_TEXT: &[u8] = b"kmeshctl authz enable removes this file\n";
const FILE_MODE: u32 = 0o600;
/// The namespace whose addresses kubelet's probes come from: the daemon's own, which is the host's.
const OWN_NETNS: &str = "/proc/self/ns/net";

/// Names of policies by the numbers that events have.
pub type PolicyNames = Arc<RwLock<BTreeMap<u32, String>>>;

/// Authorization of this node.
pub struct Authorization {
    maps: Arc<Maps>,
    options: Options,
    state: Authz,
    closing: Closing,
    disabled_file: PathBuf,
    is_enabled: bool,
    node_addresses: Vec<IpAddr>,
    names: PolicyNames,
    problems: Vec<String>,
}

impl Authorization {
    /// Starts from what the maps hold: what the daemon before this one enforced stays in force.
    ///
    /// # Errors
    /// When the kernel refuses, or a thread can't be started.
    pub fn restore(
        datapath: &Datapath,
        options: Options,
        state_dir: &Path,
    ) -> anyhow::Result<Self> {
        let maps = Arc::clone(datapath.maps());
        let state = recover(&maps, &options)?;
        let disabled_file = state_dir.join(DISABLED_FILE);
        Ok(Self {
            closing: Closing::spawn(Arc::clone(datapath.closer()))?,
            is_enabled: !disabled_file.exists(),
            disabled_file,
            maps,
            options,
            state,
            node_addresses: Vec::new(),
            names: PolicyNames::default(),
            problems: Vec::new(),
        })
    }

    /// Names of policies, for whoever reads events.
    pub fn names(&self) -> PolicyNames {
        Arc::clone(&self.names)
    }

    /// Puts the policies of `snapshot` in force, and has connections ended that they refuse. Returns how
    /// many changes that took.
    ///
    /// # Errors
    /// When the kernel refuses a change: what came before it is in force, and the next call goes on from
    /// there.
    pub fn commit<'a>(
        &mut self,
        snapshot: &Snapshot,
        enrolments: impl Iterator<Item = &'a Enrolment>,
    ) -> datapath::Result<usize> {
        self.settle()?;
        let judges = Authz::judges(snapshot, self.is_enabled);
        self.node_addresses = if judges { own_addresses() } else { Vec::new() };
        let changes = self.state.update(snapshot, &self.node_addresses, self.is_enabled);
        if changes.is_empty() {
            return Ok(0);
        }
        self.apply(&changes)?;
        if changes.iter().any(|change| matches!(change, Change::ResetCount { .. })) {
            self.take_up_names();
        }
        self.log_new_problems();
        // Who was allowed may be refused now: by another policy, or under another name.
        if judges {
            self.closing.close_refused(enrolments);
        }
        Ok(changes.len())
    }

    /// True when the node has other addresses than at the last commit.
    pub fn is_node_elsewhere(&self) -> bool {
        self.state.is_active() && own_addresses() != self.node_addresses
    }

    /// Removes what the last commit replaced, once no program can still read it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn settle(&mut self) -> datapath::Result<()> {
        if !self.state.has_retired() {
            return Ok(());
        }
        wait_for_programs()?;
        let changes = self.state.release();
        self.apply(&changes)
    }

    /// True when something had no room that what was replaced would give it.
    pub fn is_worth_retrying(&self) -> bool {
        self.state.is_unfinished() && self.state.has_retired()
    }

    /// Sets whether policies are enforced, also after a restart; the next commit does it.
    ///
    /// # Errors
    /// When the state directory can't be written.
    pub fn set_enabled(&mut self, is_enabled: bool) -> anyhow::Result<()> {
        let file = &self.disabled_file;
        let failed = || format!("{} cannot be changed: it says so at a start", file.display());
        match (is_enabled, file.exists()) {
            (true, true) => std::fs::remove_file(file).with_context(failed)?,
            (false, false) => {
                files::write_atomically(file, DISABLED_TEXT, FILE_MODE).with_context(failed)?;
            }
            _ => {}
        }
        self.is_enabled = is_enabled;
        Ok(())
    }

    /// For `kmeshctl authz status` and the metrics.
    pub fn status(&self, snapshot: &Snapshot, guarded: usize) -> AuthzStatus {
        let policies = self.state.policies().filter_map(|(number, name)| {
            let policy = snapshot.policies.get(name)?;
            let count = self.maps.authz_count(number).unwrap_or_default();
            Some(PolicyCounts {
                namespace: name.namespace.clone(),
                name: name.name.clone(),
                action: policy.action.name().into(),
                dry_run: policy.is_dry_run,
                allowed: count.allowed,
                denied: count.denied,
                observed: count.dry_run,
            })
        });
        AuthzStatus {
            enabled: self.is_enabled,
            active: self.state.is_active(),
            guarded,
            ended: self.closing.ended(),
            means: match self.closing.means() {
                Means::Program => "program".into(),
                Means::Diagnostics => "diagnostics".into(),
            },
            policies: policies.collect(),
            problems: self.problems.clone(),
        }
    }

    /// Policies that connections are judged by here.
    pub fn in_kernel(&self) -> BTreeSet<&PolicyName> {
        let policies = self.state.policies().filter(|_| self.state.is_active());
        policies.map(|(_, name)| name).collect()
    }

    /// What can't be enforced as it is written.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Entries in use, by the name of the map.
    pub fn fill(&self) -> Vec<(&'static str, u64)> {
        self.state.fill()
    }

    /// Why a connection is allowed or refused.
    ///
    /// # Errors
    /// A source or a destination that nothing is known of, or that makes no sense.
    pub fn explain(
        &self,
        snapshot: &Snapshot,
        request: &AuthzRequest,
    ) -> anyhow::Result<AuthzExplanation> {
        let (to, port) = host_and_port(&request.to)?;
        let from = address_of(snapshot, &request.from, None)?;
        let to = address_of(snapshot, to, Some(from))?;
        let explanation = self.state.explain(from, to, port);
        Ok(explained(&explanation, from, SocketAddr::new(to, port)))
    }

    fn apply(&mut self, changes: &[Change]) -> datapath::Result<()> {
        let applied = self.maps.apply_authz(changes);
        if applied.is_err() {
            self.state = recover(&self.maps, &self.options)?;
        }
        applied
    }

    /// A policy got a number that it did not have.
    fn take_up_names(&self) {
        let names = self.state.policies().map(|(number, name)| (number, name.to_string()));
        let names = names.collect();
        *self.names.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    fn log_new_problems(&mut self) {
        let problems: Vec<String> = self.state.problems().iter().map(ToString::to_string).collect();
        for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
            tracing::error!("{problem}");
        }
        self.problems = problems;
    }
}

fn recover(maps: &Maps, options: &Options) -> datapath::Result<Authz> {
    wait_for_programs()?;
    let (state, changes) = Authz::recover(options.clone(), &maps.authz_contents()?);
    maps.apply_authz(&changes)?;
    Ok(state)
}

fn own_addresses() -> Vec<IpAddr> {
    netns::global_addresses(Path::new(OWN_NETNS)).unwrap_or_default()
}

/// An address, or the first one of a workload; of the family of `other`, if there is one.
fn address_of(snapshot: &Snapshot, text: &str, other: Option<IpAddr>) -> anyhow::Result<IpAddr> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let name = text.split_once('/').map(|(namespace, name)| WorkloadName::new(namespace, name));
    let workload = name.and_then(|name| snapshot.workloads.get(&name));
    let workload = workload.with_context(|| {
        format!("{text:?} is neither an address nor NAMESPACE/NAME of a workload")
    })?;
    let fits = |it: &&IpAddr| other.is_none_or(|other| other.is_ipv4() == it.is_ipv4());
    let address = workload.addresses.iter().find(fits);
    address.copied().with_context(|| format!("workload {text} has no address of that family"))
}

fn explained(it: &Explanation, from: IpAddr, to: SocketAddr) -> AuthzExplanation {
    let policies = it.considered.iter().map(|policy| ConsideredPolicy {
        name: policy.policy.to_string(),
        action: policy.action.name().into(),
        scope: policy.scope.name().into(),
        dry_run: policy.is_observer,
        rule: policy.rule,
    });
    AuthzExplanation {
        question: format!("{from} dials {to}"),
        source: it.source.to_string(),
        destination: it.destination.iter().map(ToString::to_string).collect(),
        policies: policies.collect(),
        allowed: it.outcome.is_allowed(),
        verdict: it.outcome.to_string(),
    }
}
