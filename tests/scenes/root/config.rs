//! Broken files, contested addresses and live changes, with clients that connect meanwhile.

use std::io::ErrorKind;

use testkit::yaml::{self, Service};

use super::bench::{
    Bench, PATIENCE, PORT, TARGET, WEB, WEB6, assert_has, generation, idle_service, problems, vip,
    wait_problems,
};
use super::load::Load;

/// A service with an unknown value in a field.
fn broken(service: Service) -> String {
    service.to_string().replacen("protocol: TCP", "protocol: TPC", 1)
}

#[test]
fn a_broken_file_under_load_is_named_and_the_rest_applies() {
    let bench = Bench::new("broken", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    assert_eq!(problems(&daemon), Vec::<String>::new());
    let load = Load::tcp(&bench.client, WEB, 2);
    let new = idle_service("new", vip(20)).to_string();
    bench
        .scene
        .config("broken.yaml", format!("{new}---\n{}", broken(idle_service("bad", vip(21)))));
    bench.scene.config("garbage.yaml", "kind: [Service\n  a: b: c\n");
    bench.scene.config("good.yaml", idle_service("good", vip(22)));
    let found = wait_problems(&daemon, "both files to be named", |list| list.len() >= 2);
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_has(
        &found.join("\n"),
        &[
            "error: broken.yaml document 2: Service default/bad: spec.ports[0].protocol: ",
            "\"TPC\" is not one of TCP, UDP, SCTP",
            "error: garbage.yaml",
        ],
    );
    load.more(200);
    for (last, kind) in [
        (20, ErrorKind::ConnectionRefused),
        (21, ErrorKind::HostUnreachable),
        (22, ErrorKind::ConnectionRefused),
    ] {
        assert_eq!(bench.error((vip(last), PORT)), kind, "10.96.0.{last}");
    }
    bench.scene.remove_config("broken.yaml");
    bench.scene.remove_config("garbage.yaml");
    wait_problems(&daemon, "no problem to be left", <[String]>::is_empty);
    load.more(200);
    assert_eq!(bench.error((vip(20), PORT)), ErrorKind::HostUnreachable, "gone with its file");
    load.finish();
}

#[test]
fn an_object_that_is_broken_by_an_edit_stays_as_it_was_last_good() {
    let bench = Bench::new("last_good", &["red"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let load = Load::tcp(&bench.client, WEB, 2);
    let before = generation(&daemon);
    for (edit, told) in [
        (
            bench.web(&["red"]).replacen("protocol: TCP", "protocol: TPC", 1),
            "spec.ports[0].protocol",
        ),
        (bench.web(&["red"]).replacen("port: 80\n", "port: 99999\n", 1), "spec.ports[0].port"),
        (bench.web(&["red"]).replace("  cluster", "\tcluster"), "web.yaml"),
    ] {
        bench.scene.config("web.yaml", edit);
        let look =
            |list: &[String]| list.iter().any(|p| p.contains(told) && p.contains("last good"));
        wait_problems(&daemon, told, look);
        load.more(200);
    }
    assert_eq!(generation(&daemon), before, "nothing was committed");
    assert_eq!(bench.who(WEB6), "red");
    bench.serve(&["red"]);
    wait_problems(&daemon, "no problem to be left", <[String]>::is_empty);
    load.finish();
}

#[test]
fn of_two_services_that_claim_an_address_the_first_keeps_it() {
    let bench = Bench::new("claim", &["red", "blue"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let load = Load::tcp(&bench.client, WEB, 2);
    // By its name and its file's it would come first.
    let thief = idle_service("a-thief", super::bench::VIP);
    let slice = yaml::endpoint_slice("a-thief", [(bench.pod("blue").v4, true, "", "")]);
    let text = yaml::join(&[&thief, &slice.port("http", TARGET)]);
    bench.scene.config("a-thief.yaml", &text);
    let is_told = |list: &[String]| list.iter().any(|problem| problem.contains("a-thief.yaml"));
    let told = wait_problems(&daemon, "the claim to be told", is_told).join("\n");
    let address = format!("address {}", super::bench::VIP);
    let thief = "error: a-thief.yaml document 1: Service default/a-thief: spec.clusterIPs: ";
    assert_has(&told, &[thief, &address, "belongs to Service default/web (web.yaml)"]);
    assert_eq!(bench.answers(WEB, 50)["red"], 50);
    load.finish();
    bench.apply(
        &daemon,
        "a-thief.yaml",
        text.replacen("clusterIP: \"10.96.0.10\"", "clusterIP: \"10.96.0.30\"", 1).replacen(
            "- \"10.96.0.10\"",
            "- \"10.96.0.30\"",
            1,
        ),
    );
    assert_eq!(problems(&daemon), Vec::<String>::new());
    assert_eq!((bench.who(WEB), bench.who((vip(30), PORT))), ("red".into(), "blue".into()));
    daemon.restart();
    assert_eq!((bench.who(WEB), bench.who((vip(30), PORT))), ("red".into(), "blue".into()));
}

#[test]
fn an_address_moves_from_one_service_to_another_without_a_failed_connect() {
    let bench = Bench::new("move", &["red", "blue"]);
    bench.serve(&["red"]);
    let daemon = bench.start();
    let load = Load::tcp(&bench.client, WEB, 2);
    let heir =
        bench.web(&["blue"]).replace("name: web", "name: heir").replace("\"web\"", "\"heir\"");
    bench.apply(&daemon, "web.yaml", heir);
    assert_eq!(bench.answers(WEB, 50)["blue"], 50);
    load.finish();
}

#[test]
fn a_directory_of_many_files_that_all_change_at_once_converges() {
    let bench = Bench::new("many", &["red"]);
    let daemon = bench.start();
    for last in 1..=40 {
        let file = format!("s{last}.yaml");
        bench.scene.config(&file, idle_service(&format!("s{last}"), vip(last)));
    }
    testkit::wait_until("all services to be known", PATIENCE, || {
        let known = daemon.status()["config"]["services"].clone();
        if known == 40 { Ok(()) } else { Err(known.to_string()) }
    });
    for last in 1..=40 {
        assert_eq!(bench.error((vip(last), PORT)), ErrorKind::ConnectionRefused, "{last}");
    }
    assert_eq!(problems(&daemon), Vec::<String>::new());
}

#[test]
fn a_directory_that_vanishes_changes_nothing_until_it_is_back() {
    let bench = Bench::new("vanish", &["red", "blue"]);
    bench.serve(&["red"]);
    let mut daemon = bench.start();
    let load = Load::tcp(&bench.client, WEB, 2);
    let (here, away) = (bench.scene.config_dir(), bench.scene.dir().join("away"));
    std::fs::rename(&here, &away).unwrap();
    load.more(2_000);
    assert_eq!(bench.who(WEB), "red");
    std::fs::write(away.join("web.yaml"), bench.web(&["blue"])).unwrap();
    std::fs::rename(&away, &here).unwrap();
    daemon.restart();
    assert_eq!(bench.who(WEB), "blue");
    load.finish();
}
