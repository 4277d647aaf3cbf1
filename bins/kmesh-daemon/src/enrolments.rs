//! Which network namespaces are in the mesh: the kernel's map, and the file that remembers names.
//!
//! A namespace is known by its cookie, which the kernel never gives twice while it runs. The path
//! only says where to look for it; a namespace that is found nowhere any more is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use datapath::{Guards, Maps};
use model::WorkloadName;
use runtime::api::{DnsCapture, EnrolRequest, Enrolment, EnrolmentOrigin, Sandbox, UnenrolRequest};
use runtime::{files, netns};

use crate::dns::{RESOLVERS_OF_NAMESPACE_MAX, resolvers_of};

/// Name of the file in the state directory.
const FILE: &str = "enrolments.json";
/// The first process: its network namespace is the host's.
const FIRST_PROCESS: &str = "/proc/1/ns/net";
/// The file lists paths of namespaces: for root alone.
const FILE_MODE: u32 = 0o600;

/// A pod whose namespace belongs to the mesh because of labels.
#[derive(Clone, Debug)]
pub struct PodEnrolment {
    /// Path of its network namespace.
    pub netns: PathBuf,
    /// `NAMESPACE/NAME`.
    pub workload: String,
    /// Its uid, as kubelet knows it.
    pub uid: String,
    /// How it was found.
    pub origin: EnrolmentOrigin,
    /// What the runtime calls it.
    pub sandbox: Option<Sandbox>,
    /// Its DNS servers, where they are known.
    pub resolvers: Vec<IpAddr>,
}

/// All enrolments.
pub struct Enrolments {
    maps: Arc<Maps>,
    file: PathBuf,
    /// The node's `resolv.conf`.
    resolv_conf: PathBuf,
    by_cookie: BTreeMap<u64, Enrolment>,
    /// Of the daemon's own namespace.
    own_cookie: u64,
    /// The addresses of waypoints, which are never sent to a waypoint themselves.
    waypoints: BTreeSet<IpAddr>,
    /// Judge what comes in, from the first image on.
    guards: Option<Arc<Guards>>,
}

impl Enrolments {
    /// Joins what the file remembers and what the map holds. The map decides who is enrolled
    /// if the file is lost; a namespace of the file that is gone is dropped from both.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or a map write fails.
    pub fn restore(maps: Arc<Maps>, state_dir: &Path, resolv_conf: &Path) -> anyhow::Result<Self> {
        let file = state_dir.join(FILE);
        let remembered = read(&file)?;
        let own_cookie = datapath::netns_cookie()
            .context("the cookie of the daemon's own network namespace cannot be read")?;
        let resolv_conf = resolv_conf.into();
        let mut this = Self {
            maps,
            file,
            resolv_conf,
            by_cookie: BTreeMap::new(),
            own_cookie,
            waypoints: BTreeSet::new(),
            guards: None,
        };
        for enrolment in remembered {
            this.by_cookie.insert(enrolment.netns_cookie, enrolment);
        }
        for cookie in this.maps.enrolled() {
            this.by_cookie.entry(cookie).or_insert_with(|| {
                tracing::warn!(cookie, "enrolled, but not in the state file: kept without a name");
                Enrolment {
                    netns_cookie: cookie,
                    origin: EnrolmentOrigin::Unknown,
                    ..Enrolment::default()
                }
            });
        }
        this.sweep()?;
        this.maps.require_room(this.by_cookie.len())?;
        for enrolment in this.by_cookie.values_mut() {
            // A waypoint stays one until the first commit says otherwise.
            let known = this.maps.enrolment(enrolment.netns_cookie)?.unwrap_or_default();
            this.maps.enrol(enrolment.netns_cookie, client_hash(enrolment), known.flags)?;
            // What it was enrolled with stays where the file is out of reach now. Those of a pod do
            // not change while it lives.
            if enrolment.dns == DnsCapture::Auto
                && enrolment.pod_uid.is_none()
                && let Ok(resolvers) = resolvers_of(Path::new(&enrolment.netns), &this.resolv_conf)
            {
                enrolment.resolvers = resolvers;
            }
        }
        Ok(this)
    }

    /// All, in the order of their cookies.
    pub fn list(&self) -> Vec<Enrolment> {
        self.by_cookie.values().cloned().collect()
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.by_cookie.len()
    }

    /// Puts a namespace into the mesh; a second time changes its workload.
    ///
    /// # Errors
    /// A path that is no network namespace, a malformed workload name, a full map, the host's own
    /// namespace when it is not asked for as such.
    pub fn enrol(&mut self, request: &EnrolRequest) -> anyhow::Result<Enrolment> {
        let path = Path::new(&request.netns);
        if let Some(workload) = &request.workload {
            parse_workload(workload)?;
        }
        let resolvers = self.resolvers(request)?;
        let (cookie, inode) = self.identify(path, request.host)?;
        let pod_uid = self.by_cookie.get(&cookie).and_then(|known| known.pod_uid.clone());
        self.put(Enrolment {
            netns_cookie: cookie,
            netns: request.netns.clone(),
            workload: request.workload.clone(),
            inode,
            dns: request.dns,
            resolvers,
            origin: EnrolmentOrigin::Hand,
            pod_uid,
            sandbox: None,
        })
    }

    /// Puts the namespace of a pod into the mesh. One that somebody enrolled by hand stays as it is.
    ///
    /// # Errors
    /// As [`Enrolments::enrol`].
    pub fn enrol_pod(&mut self, pod: PodEnrolment) -> anyhow::Result<Enrolment> {
        let (cookie, inode) = self.identify(&pod.netns, false)?;
        let known =
            self.by_cookie.get(&cookie).filter(|known| known.origin == EnrolmentOrigin::Hand);
        if let Some(by_hand) = known {
            return self.put(Enrolment { pod_uid: Some(pod.uid), ..by_hand.clone() });
        }
        let mut resolvers = pod.resolvers;
        resolvers.truncate(RESOLVERS_OF_NAMESPACE_MAX);
        self.put(Enrolment {
            netns_cookie: cookie,
            netns: pod.netns.to_string_lossy().into_owned(),
            workload: Some(pod.workload),
            inode,
            dns: DnsCapture::Auto,
            resolvers,
            origin: pod.origin,
            pod_uid: Some(pod.uid),
            sandbox: pod.sandbox,
        })
    }

    /// Cookie and inode of a namespace that may be enrolled.
    fn identify(&self, path: &Path, host: bool) -> anyhow::Result<(u64, u64)> {
        let inode = netns::inode(path)
            .with_context(|| format!("{} is not a network namespace", path.display()))?;
        let cookie = cookie_of(path)
            .with_context(|| format!("the cookie of {} cannot be read", path.display()))?;
        if !host {
            self.require_pod(cookie, inode, path)?;
        }
        self.require_room(cookie, path)?;
        Ok((cookie, inode))
    }

    fn put(&mut self, enrolment: Enrolment) -> anyhow::Result<Enrolment> {
        let (cookie, hash) = (enrolment.netns_cookie, client_hash(&enrolment));
        let flags = self.flags(&enrolment);
        let before = self.by_cookie.insert(cookie, enrolment.clone());
        // The file first: a daemon that dies between the two does the rest when it starts again, and
        // knows whom it enrols.
        let saved = self.save();
        if let Err(error) = self.maps.enrol(cookie, hash, flags) {
            match before {
                Some(before) => drop(self.by_cookie.insert(cookie, before)),
                None => drop(self.by_cookie.remove(&cookie)),
            }
            // A full map leaves no trace in the file.
            self.save()?;
            return Err(error).context("the namespace is not enrolled");
        }
        saved?;
        self.guard(&enrolment)?;
        Ok(enrolment)
    }

    /// What became known of a namespace's DNS servers.
    ///
    /// # Errors
    /// When the file cannot be written; they count all the same.
    pub fn set_resolvers(&mut self, cookie: u64, mut resolvers: Vec<IpAddr>) -> anyhow::Result<()> {
        let Some(enrolment) = self.by_cookie.get_mut(&cookie) else { return Ok(()) };
        resolvers.truncate(RESOLVERS_OF_NAMESPACE_MAX);
        enrolment.resolvers = resolvers;
        self.save()
    }

    /// The enrolment that a runtime means at the end of a sandbox: by what it calls it, or by where it
    /// is. One that was made by hand is nobody's.
    pub fn of_sandbox(&self, sandbox: &Sandbox, netns: &Path) -> Option<u64> {
        let cookie = cookie_of(netns).ok();
        let is_it =
            |e: &&Enrolment| e.sandbox.as_ref() == Some(sandbox) || Some(e.netns_cookie) == cookie;
        let mut ours = self.by_cookie.values().filter(|e| e.origin != EnrolmentOrigin::Hand);
        ours.find(is_it).map(|enrolment| enrolment.netns_cookie)
    }

    /// True when the namespace at `path` is in the mesh.
    ///
    /// # Errors
    /// When there is none.
    pub fn is_enrolled_at(&self, path: &Path) -> anyhow::Result<bool> {
        Ok(self.by_cookie.contains_key(&cookie_of(path)?))
    }

    /// All enrolments, by the cookies of their namespaces.
    pub fn all(&self) -> impl Iterator<Item = &Enrolment> {
        self.by_cookie.values()
    }

    /// The enrolment of a namespace.
    pub fn get(&self, cookie: u64) -> Option<&Enrolment> {
        self.by_cookie.get(&cookie)
    }

    /// Learns which addresses are those of waypoints.
    ///
    /// # Errors
    /// When a map write fails.
    pub fn set_waypoints(&mut self, addresses: BTreeSet<IpAddr>) -> anyhow::Result<()> {
        if addresses == self.waypoints {
            return Ok(());
        }
        self.waypoints = addresses;
        for enrolment in self.by_cookie.values() {
            let known = self.maps.enrolment(enrolment.netns_cookie)?.unwrap_or_default();
            let flags = self.flags(enrolment);
            if flags != known.flags {
                self.maps.enrol(enrolment.netns_cookie, known.client_hash, flags)?;
            }
        }
        Ok(())
    }

    fn flags(&self, enrolment: &Enrolment) -> u32 {
        let own = netns::global_addresses(Path::new(&enrolment.netns)).unwrap_or_default();
        let is_waypoint = own.iter().any(|address| self.waypoints.contains(address));
        if is_waypoint { abi::Enrolment::WAYPOINT } else { 0 }
    }

    fn resolvers(&self, request: &EnrolRequest) -> anyhow::Result<Vec<IpAddr>> {
        let named = request.resolvers.len();
        let wants = request.dns == DnsCapture::Given;
        ensure!(wants == (named > 0), "`dns: given` and `resolvers` go together");
        ensure!(
            named <= RESOLVERS_OF_NAMESPACE_MAX,
            "{named} resolvers: at most {RESOLVERS_OF_NAMESPACE_MAX} are asked"
        );
        if request.dns != DnsCapture::Auto {
            return Ok(request.resolvers.iter().map(IpAddr::to_canonical).collect());
        }
        let found = resolvers_of(Path::new(&request.netns), &self.resolv_conf);
        Ok(found.unwrap_or_else(|error| {
            tracing::warn!(netns = request.netns, %error, "its resolv.conf cannot be read");
            Vec::new()
        }))
    }

    /// The enrolment that a request to end one names.
    ///
    /// # Errors
    /// A namespace that is not enrolled.
    pub fn find(&self, request: &UnenrolRequest) -> anyhow::Result<u64> {
        let cookie = match (request.netns_cookie, &request.netns) {
            (Some(cookie), None) => cookie,
            (None, Some(path)) => self.cookie_at(path)?,
            _ => bail!("name the namespace by exactly one of netns and netnsCookie"),
        };
        ensure!(
            self.by_cookie.contains_key(&cookie),
            "the namespace with cookie {cookie} is not enrolled"
        );
        Ok(cookie)
    }

    /// True when the namespace with this cookie is in the mesh.
    pub fn contains(&self, cookie: u64) -> bool {
        self.by_cookie.contains_key(&cookie)
    }

    /// True when a path does not name what was enrolled from it any more.
    pub fn any_moved(&self) -> bool {
        let moved = |e: &Enrolment| !netns::alive(Path::new(&e.netns), e.inode);
        self.by_cookie.values().any(moved)
    }

    /// Takes a namespace out of the mesh. Connections that exist go on.
    ///
    /// # Errors
    /// A namespace that is not enrolled.
    pub fn unenrol(&mut self, cookie: u64) -> anyhow::Result<Enrolment> {
        let Some(enrolment) = self.by_cookie.remove(&cookie) else {
            bail!("the namespace with cookie {cookie} is not enrolled");
        };
        self.maps.unenrol(cookie)?;
        self.unguard(cookie);
        self.save()?;
        Ok(enrolment)
    }

    /// From now on what comes into the namespaces of the mesh is judged, and into no others.
    pub fn set_guards(&mut self, guards: Arc<Guards>) {
        let gone = guards.cookies().unwrap_or_default();
        self.guards = Some(guards);
        for cookie in gone.iter().filter(|cookie| !self.contains(**cookie)) {
            self.unguard(*cookie);
        }
        for enrolment in self.by_cookie.values() {
            if let Err(error) = self.guard(enrolment) {
                tracing::error!(
                    netns = enrolment.netns,
                    error = format!("{error:#}"),
                    "not guarded"
                );
            }
        }
    }

    /// How many namespaces there are into which what comes is judged.
    pub fn guarded(&self) -> usize {
        let cookies = self.guards.as_ref().and_then(|guards| guards.cookies().ok());
        cookies.map_or(0, |cookies| cookies.len())
    }

    /// Has what comes into a namespace judged. The host's own is left alone: it belongs to nobody that
    /// a policy could name.
    fn guard(&self, enrolment: &Enrolment) -> anyhow::Result<()> {
        let Some(guards) = &self.guards else { return Ok(()) };
        let is_host = enrolment.netns_cookie == self.own_cookie
            || netns::alive(Path::new(FIRST_PROCESS), enrolment.inode);
        if is_host {
            return Ok(());
        }
        let file = File::open(&enrolment.netns)
            .with_context(|| format!("{} cannot be opened", enrolment.netns))?;
        let guarded = guards.set(file.as_fd(), enrolment.netns_cookie);
        guarded.map(drop).context("policies are not enforced for the namespace")
    }

    fn unguard(&self, cookie: u64) {
        let Some(guards) = &self.guards else { return };
        if let Err(error) = guards.remove(cookie) {
            tracing::warn!(cookie, %error, "policies may still be enforced for a namespace that left");
        }
    }

    /// The host's own namespace is that of the daemon, and that of the first process that it sees.
    fn require_pod(&self, cookie: u64, inode: u64, path: &Path) -> anyhow::Result<()> {
        if cookie == self.own_cookie || netns::alive(Path::new(FIRST_PROCESS), inode) {
            bail!(
                "{} is the network namespace of the host: all its processes and all pods with \
                 hostNetwork would be in the mesh; if that is meant, say so (kmeshctl enroll --host)",
                path.display()
            );
        }
        Ok(())
    }

    fn require_room(&self, cookie: u64, path: &Path) -> anyhow::Result<()> {
        let (count, max) = (self.count(), self.maps.enrolments_max());
        if !self.by_cookie.contains_key(&cookie) && count >= max {
            bail!(
                "{} is not enrolled: {count} network namespaces are, and --enrolments-max is {max}",
                path.display()
            );
        }
        Ok(())
    }

    /// The cookie of the namespace at `path`, or of the one that was enrolled from there.
    fn cookie_at(&self, path: &str) -> anyhow::Result<u64> {
        match cookie_of(Path::new(path)) {
            Ok(cookie) => Ok(cookie),
            Err(error) => self
                .by_cookie
                .values()
                .find(|enrolment| enrolment.netns == path)
                .map(|enrolment| enrolment.netns_cookie)
                .with_context(|| format!("{path}: {error}, and nothing is enrolled from there")),
        }
    }

    /// Takes out namespaces that are gone. One whose path is gone but which lives on elsewhere (a
    /// process still in it, another mount) gets its new path.
    ///
    /// # Errors
    /// When a map write or the file fails.
    pub fn sweep(&mut self) -> anyhow::Result<()> {
        let mut changed = false;
        for cookie in self.by_cookie.keys().copied().collect::<Vec<_>>() {
            let Some(enrolment) = self.by_cookie.get_mut(&cookie) else { continue };
            if cookie_is(Path::new(&enrolment.netns), cookie) {
                continue;
            }
            changed = true;
            match find_elsewhere(enrolment) {
                Some((path, inode)) => {
                    enrolment.netns = path.to_string_lossy().into_owned();
                    enrolment.inode = inode;
                }
                None => {
                    tracing::info!(cookie, netns = enrolment.netns, "namespace is gone");
                    self.by_cookie.remove(&cookie);
                    self.maps.unenrol(cookie)?;
                    self.unguard(cookie);
                }
            }
        }
        if changed { self.save() } else { Ok(()) }
    }

    fn save(&self) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(&self.list())?;
        files::write_atomically(&self.file, &text, FILE_MODE).with_context(|| {
            format!(
                "{} cannot be written; the enrolment is in force but loses its name when the daemon restarts",
                self.file.display()
            )
        })
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<Enrolment>> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).with_context(|| {
            format!("{} is damaged; remove it: who is enrolled stays enrolled", file.display())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

/// The cookie of the network namespace at `path`.
fn cookie_of(path: &Path) -> anyhow::Result<u64> {
    Ok(netns::in_netns(path, datapath::netns_cookie)??)
}

/// Where a namespace is that is no longer at its path: at another mount, or with a process in it.
fn find_elsewhere(enrolment: &Enrolment) -> Option<(PathBuf, u64)> {
    let candidates: Vec<(PathBuf, u64)> = match enrolment.inode {
        // Known by its cookie alone: look at every namespace of the host.
        0 => netns::all().into_iter().map(|(inode, path)| (path, inode)).collect(),
        inode => netns::find_by_inode(inode).map(|path| (path, inode)).into_iter().collect(),
    };
    candidates.into_iter().find(|(path, _)| cookie_is(path, enrolment.netns_cookie))
}

/// What stands for the namespace in consistent hashing: its own address, so that a pod that is
/// made anew with the same address keeps its endpoints; its cookie while it has none.
fn client_hash(enrolment: &Enrolment) -> u32 {
    let address = netns::global_address(Path::new(&enrolment.netns)).ok().flatten();
    let text = address.map_or_else(|| enrolment.netns_cookie.to_string(), |a| a.to_string());
    plan::client_hash(&text)
}

fn cookie_is(path: &Path, cookie: u64) -> bool {
    cookie_of(path).is_ok_and(|found| found == cookie)
}

/// `NAMESPACE/NAME`.
fn parse_workload(text: &str) -> anyhow::Result<WorkloadName> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(WorkloadName::new(namespace, name))
        }
        _ => bail!("{text:?} is not a workload: write NAMESPACE/NAME"),
    }
}
