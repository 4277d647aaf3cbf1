//! Loading and upgrading on the running kernel, in a cgroup and a bpf file system of the test's own.

mod authz;
mod dns;
mod headers;
mod select;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use abi::limits::Limits;
use abi::{Frontend, FrontendKey, Write};
use testkit::{Bpffs, Cgroup, wait_until};

use crate::{Config, Datapath, Error, LinkState, Pins, sys};

const LIMITS: Limits = Limits {
    enrolments_max: 16,
    frontends_max: 512,
    tables_max: 256,
    // Room for 24 Maglev tables of 2 039 slots, old and new side by side.
    slots_max: 131_072,
    backends_max: 1_024,
    sockets_max: 256,
    udp_flows_max: 256,
    affinities_max: 256,
    networks_max: 64,
    resolvers_max: 64,
    event_ring_bytes: 4_096,
    waypoint_sockets_max: 256,
    header_ring_bytes: 4_096,
    map_batch_entries: 8,
    authz_sets_max: 256,
    authz_words_max: 65_536,
    authz_rows_max: 8_192,
    authz_blocks_max: 8_192,
    authz_terms_max: 65_536,
    authz_policies_max: 1_024,
    authz_sources_max: 1_024,
    authz_destinations_max: 1_024,
};

/// What comes before the questions in a packet that a test program is run on.
const ETHERNET_HEADER_BYTES: usize = 14;

const LOCK_DEADLINE: Duration = Duration::from_secs(5);

/// A cgroup and a bpf file system that vanish with the test.
struct Place {
    bpffs: Bpffs,
    cgroup: Cgroup,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new(name: &str) -> Self {
        testkit::require_root();
        let folder = tempfile::tempdir().expect("a folder");
        let bpffs = Bpffs::mount(folder.path().join("bpf"));
        Self { bpffs, cgroup: Cgroup::new(name), _folder: folder }
    }

    fn config(&self, limits: Limits) -> Config {
        let (bpf_fs, cgroup) = (self.bpffs.path().into(), self.cgroup.path().into());
        Config { bpf_fs, cgroup, limits }
    }

    fn load(&self) -> Datapath {
        self.load_with(LIMITS)
    }

    fn load_with(&self, limits: Limits) -> Datapath {
        load(&self.config(limits))
    }
}

/// A program that another test starts has the lock of a load before until its exec.
fn load(config: &Config) -> Datapath {
    wait_until("the lock", LOCK_DEADLINE, || match Datapath::load(config.clone()) {
        Err(Error::Locked { path }) => Err(format!("{} is locked", path.display())),
        other => Ok(other.expect("the programs load")),
    })
}

/// The program that each link runs, by the link's name.
fn running(place: &Place) -> BTreeMap<String, (u32, u32)> {
    let links = Pins::new(place.bpffs.path()).links();
    let files = links.read_dir().expect("the links folder");
    files
        .map(|file| {
            let path = file.expect("a link").path();
            let link = sys::open_pinned(&path).expect("a pinned link");
            let info = sys::link_info(link.as_fd()).expect("its info");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, (info.id, info.prog_id))
        })
        .collect()
}

fn frontend_write(last: u8) -> Write {
    Write::Frontend {
        key: FrontendKey::port(IpAddr::from([10, 96, 0, last]), 80, abi::PROTOCOL_TCP),
        value: Frontend { table: u32::from(last), action: Frontend::PASS, ..Frontend::default() },
    }
}

#[test]
fn an_upgrade_keeps_the_links_and_the_maps_and_changes_the_programs() {
    let place = Place::new("upgrade");
    let mut first = place.load();
    first.maps().apply(&[frontend_write(1)]).expect("a write");
    first.maps().enrol(7, 1, 0).expect("an enrolment");
    let states = first.attach().expect("attached");
    assert!(states.iter().all(|(_, state)| *state == LinkState::Created), "{states:?}");
    let before = running(&place);
    drop(first);

    let mut second = place.load();
    assert_eq!(running(&place), before, "loading touches nothing that is live");
    assert_eq!(second.maps().contents().expect("contents").frontends.len(), 1);
    assert!(second.maps().enrolled().contains(&7));
    let states = second.attach().expect("attached again");
    assert!(states.iter().all(|(_, state)| *state == LinkState::Updated), "{states:?}");
    for (name, (link, program)) in running(&place) {
        assert_eq!(link, before[&name].0, "{name}: the link is the same");
        assert_ne!(program, before[&name].1, "{name}: the program is new");
    }
}

#[test]
fn a_failure_at_any_step_leaves_the_old_programs_in_force() {
    let place = Place::new("rollback");
    let mut first = place.load();
    let steps: Vec<&str> = first.attach().expect("attached").into_iter().map(|s| s.0).collect();
    drop(first);
    let before = running(&place);
    for failing in steps.into_iter().chain(["commit"]) {
        let mut next = place.load();
        let result = next.attach_stepwise(&mut |step| match step == failing {
            true => Err(io::Error::other("injected")),
            false => Ok(()),
        });
        assert!(matches!(result, Err(Error::Path { .. })), "{failing}: {result:?}");
        assert_eq!(running(&place), before, "after a failure at {failing}");
    }
}

#[test]
fn a_first_attach_that_fails_leaves_no_link() {
    let place = Place::new("first");
    let mut datapath = place.load();
    let result = datapath.attach_stepwise(&mut |step| match step {
        "kmesh_connect4" => Err(io::Error::other("injected")),
        _ => Ok(()),
    });
    assert!(result.is_err());
    assert_eq!(running(&place), BTreeMap::new());
}

#[test]
fn a_cgroup_that_was_replaced_gets_new_links() {
    let mut place = Place::new("cgroup");
    place.load().attach().expect("attached");
    place.cgroup = Cgroup::new("cgroup-2");
    let states = place.load().attach().expect("attached elsewhere");
    assert!(states[1..].iter().all(|(_, state)| *state == LinkState::Recreated), "{states:?}");
}

#[test]
fn only_one_process_may_write() {
    let place = Place::new("lock");
    let _first = place.load();
    let second = Datapath::load(place.config(LIMITS));
    assert!(matches!(second, Err(Error::Locked { .. })));
    assert!(matches!(Pins::new(place.bpffs.path()).remove_all(), Err(Error::Locked { .. })));
}

#[test]
fn a_resized_map_takes_the_pin_only_at_the_commit() {
    let place = Place::new("resize");
    place.load().attach().expect("attached");
    let pinned_size = || {
        let pin = Pins::new(place.bpffs.path()).map("frontends");
        sys::map_info(sys::open_pinned(&pin).expect("a pin").as_fd()).expect("info").max_entries
    };
    let larger = Limits { frontends_max: 1_024, ..LIMITS };
    let mut next = place.load_with(larger);
    assert_eq!(pinned_size(), 512);
    next.attach().expect("attached");
    assert_eq!(pinned_size(), 1_024);
    next.maps().apply(&[frontend_write(1)]).expect("a write");
    drop(next);
    let again = place.load_with(larger);
    assert_eq!(again.maps().contents().expect("contents").frontends.len(), 1);
}

#[test]
fn a_pin_of_another_schema_is_refused_by_name() {
    let place = Place::new("schema");
    let pins = Pins::new(place.bpffs.path());
    pins.create().expect("folders");
    let map = libbpf_rs::MapHandle::create(
        libbpf_rs::MapType::Hash,
        Some("frontends"),
        4,
        4,
        8,
        &libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_sys::bpf_map_create_opts>() as u64,
            ..Default::default()
        },
    )
    .expect("a map");
    sys::pin(map.as_fd(), &pins.map("frontends")).expect("pinned");
    let Err(error) = Datapath::load(place.config(LIMITS)) else { panic!("it loaded") };
    let text = error.to_string();
    assert!(text.contains("maps/frontends") && text.contains("uninstall"), "{text}");
}

#[test]
fn uninstall_removes_every_pin_and_detaches() {
    let place = Place::new("uninstall");
    let mut datapath = place.load();
    datapath.attach().expect("attached");
    datapath.uninstall().expect("uninstalled");
    assert!(!Pins::new(place.bpffs.path()).exist());
}

#[test]
fn a_full_map_says_which_entry_did_not_fit() {
    let place = Place::new("full");
    let limits = Limits { frontends_max: 2, ..LIMITS };
    let datapath = Datapath::load(place.config(limits)).expect("the programs load");
    let writes: Vec<_> = (1..=4).map(frontend_write).collect();
    let error = datapath.maps().apply(&writes).expect_err("no room");
    assert!(error.to_string().contains("10.96.0.1:80/tcp"), "{error}");
}

#[test]
fn more_frontends_than_one_batch_are_written_and_removed() {
    let place = Place::new("batches");
    let datapath = place.load();
    let maps = datapath.maps();
    let writes: Vec<_> = (1..=20).map(frontend_write).collect();
    maps.apply(&writes).expect("written");
    assert_eq!(maps.contents().expect("contents").frontends.len(), 20);
    let keys = writes.iter().filter_map(|write| match write {
        Write::Frontend { key, .. } => Some(*key),
        _ => None,
    });
    let removals: Vec<_> = keys.map(|key| Write::RemoveFrontend { key }).collect();
    maps.apply(&removals[9..10]).expect("one of the second batch goes first");
    maps.apply(&removals).expect("the others");
    assert_eq!(maps.contents().expect("contents").frontends, []);
}

#[test]
fn a_large_map_is_read_to_its_end() {
    let place = Place::new("large");
    let limits = Limits { frontends_max: 65_536, map_batch_entries: 4_096, ..LIMITS };
    let datapath = Datapath::load(place.config(limits)).expect("the programs load");
    let maps = datapath.maps();
    let write = |index: u16| {
        let [high, low] = index.to_be_bytes();
        let key = FrontendKey::port(IpAddr::from([10, 96, high, low]), 80, abi::PROTOCOL_TCP);
        Write::Frontend {
            key,
            value: Frontend { table: 0, action: Frontend::PASS, ..Frontend::default() },
        }
    };
    let writes: Vec<_> = (0..60_000).map(write).collect();
    maps.apply(&writes).expect("written");
    assert_eq!(maps.contents().expect("contents").frontends.len(), 60_000);
}

#[test]
fn an_index_outside_a_map_is_refused_before_anything_is_written() {
    let place = Place::new("index");
    let datapath = place.load();
    let write = Write::Table {
        index: LIMITS.tables_max,
        extent: Default::default(),
        picking: Default::default(),
    };
    assert!(matches!(datapath.maps().apply(&[write]), Err(Error::Index { .. })));
}
