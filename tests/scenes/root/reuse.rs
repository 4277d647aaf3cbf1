//! An address that goes from one object to another: whatever kinds they are and whatever happens
//! first, it answers for the one that is there.

use testkit::{Daemon, yaml};

use super::bench::{Bench, PORT, TARGET, VIP, committed, idle_service, problems, wait_problems};
use super::load::Load;

/// The text of an object of this name that is about the address of `red`.
type Maker = fn(&Bench, &str) -> String;

/// In which order the old one goes and the new one comes.
#[derive(Clone, Copy, Debug)]
enum Order {
    OneWrite,
    AddFirst,
    RemoveFirst,
}

const ORDERS: [Order; 3] = [Order::OneWrite, Order::AddFirst, Order::RemoveFirst];

fn pod_of_a_slice(bench: &Bench, name: &str) -> String {
    let red = bench.pod("red").v4;
    let slice = yaml::endpoint_slice("web", [(red, true, "", "")]).name(&format!("web-{name}"));
    slice.port("http", TARGET).pod(red, name).to_string()
}

fn workload_entry(bench: &Bench, name: &str) -> String {
    let entry = yaml::workload_entry(name, bench.pod("red").v4);
    entry.workload_label("app", "web").to_string()
}

fn service(bench: &Bench, name: &str) -> String {
    let slice = yaml::endpoint_slice(name, [(bench.pod("red").v4, true, "", "")]);
    yaml::join(&[&idle_service(name, VIP), &slice.port("http", TARGET)])
}

fn service_entry(bench: &Bench, name: &str) -> String {
    let entry = yaml::service_entry(name, &format!("{name}.example.com")).address(VIP);
    entry.port("http", PORT, TARGET).endpoint(bench.pod("red").v4, 1, "").to_string()
}

/// What the maps hold of endpoints.
fn backends(daemon: &Daemon) -> Vec<String> {
    let dump = daemon.get_json("/debug/config_dump/bpf/dual-engine");
    let backends = dump["backends"].as_array().expect("an array").iter();
    backends.map(|backend| backend["ip"].as_str().expect("an address").to_owned()).collect()
}

/// Goes from the object `old` to the object `new`, under load where nothing may be refused.
fn hand_over(bench: &Bench, daemon: &Daemon, makers: (Maker, Maker), order: Order, is_owned: bool) {
    let (old, new) = ((makers.0)(bench, "old"), (makers.1)(bench, "new"));
    committed(daemon, || bench.scene.config("a.yaml", &old));
    let dialled = (VIP, PORT).into();
    let load = || Load::tcp(&bench.client, dialled, 1);
    match order {
        Order::OneWrite => {
            let load = load();
            committed(daemon, || bench.scene.config("a.yaml", &new));
            load.more(20);
            load.finish();
        }
        Order::AddFirst => {
            let load = load();
            if is_owned {
                bench.scene.config("b.yaml", &new);
                wait_problems(daemon, "the holder to be named", |told| {
                    told.iter().any(|problem| problem.contains("belongs to"))
                });
            } else {
                committed(daemon, || bench.scene.config("b.yaml", &new));
            }
            load.more(20);
            committed(daemon, || bench.scene.remove_config("a.yaml"));
            load.more(20);
            load.finish();
        }
        Order::RemoveFirst => {
            committed(daemon, || bench.scene.remove_config("a.yaml"));
            assert!(bench.ask(dialled).is_err(), "nobody has it");
            committed(daemon, || bench.scene.config("b.yaml", &new));
        }
    }
    assert_eq!(bench.answers(dialled, 10)["red"], 10);
    assert_eq!(backends(daemon), [bench.pod("red").v4.to_string()]);
    assert_eq!(problems(daemon), Vec::<String>::new());
    let left = if matches!(order, Order::OneWrite) { "a.yaml" } else { "b.yaml" };
    committed(daemon, || bench.scene.remove_config(left));
    assert_eq!(backends(daemon), Vec::<String>::new(), "nothing is left behind");
}

fn hand_over_in_all_ways(bench: &Bench, daemon: &Daemon, makers: &[Maker], is_owned: bool) {
    for (from, old) in makers.iter().enumerate() {
        for (to, new) in makers.iter().enumerate() {
            for order in ORDERS {
                println!("from kind {from} to kind {to}, {order:?}");
                hand_over(bench, daemon, (*old, *new), order, is_owned);
            }
        }
    }
}

#[test]
fn a_workload_with_the_address_of_one_that_is_removed_keeps_it_whatever_happens_first() {
    let bench = Bench::new("reuse", &["red"]);
    let web = yaml::service("web").cluster_ip(VIP).port("http", PORT, TARGET);
    bench.scene.config("web.yaml", web.selector("app", "web"));
    let daemon = bench.start();
    hand_over_in_all_ways(&bench, &daemon, &[pod_of_a_slice, workload_entry], false);
}

#[test]
fn a_service_with_the_address_of_one_that_is_removed_gets_it_whatever_happens_first() {
    let bench = Bench::new("reuse_vip", &["red"]);
    let daemon = bench.start();
    hand_over_in_all_ways(&bench, &daemon, &[service, service_entry], true);
}
