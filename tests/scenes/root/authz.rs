//! Who may connect to whom: refused at the SYN, so that the server never sees it.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use testkit::{Control, Daemon, Family, Pod, Scene, Servers, ask, ask_udp, wait_until, yaml};

use super::bench::{PATIENCE, TARGET, UDP_TARGET, assert_has, committed, counter, success};
use super::load::Load;

/// Connections of a client that must all come about, or none of them.
const TIMES: u64 = 500;
/// As in Istio when nobody says otherwise.
const ROOT_NAMESPACE: &str = "istio-system";
const ECHO: u16 = 7;

/// A server in the mesh, a client that is known as `default/good`, another as `other/bad`, and one that
/// nobody knows.
struct Court {
    servers: Servers,
    server: Pod,
    good: Pod,
    bad: Pod,
    stranger: Pod,
    scene: Scene,
}

impl Court {
    fn new(name: &str) -> Self {
        let mut scene = Scene::new(name);
        let server = scene.pod("server");
        let (good, bad, stranger) = (scene.pod("good"), scene.pod("bad"), scene.pod("stranger"));
        let servers = Servers::new(&server)
            .tcp(TARGET, Family::Dual)
            .udp(UDP_TARGET, Family::Dual)
            .echo(ECHO, Family::Dual);
        let court = Self { servers, server, good, bad, stranger, scene };
        court.scene.config("workloads.yaml", court.workloads());
        court
    }

    /// Everybody but the stranger, with an entry for each family.
    fn workloads(&self) -> String {
        let known = [("server", "default", &self.server), ("good", "default", &self.good)];
        let all = known.into_iter().chain([("bad", "other", &self.bad)]);
        let entries = all.flat_map(|(name, namespace, pod)| {
            let addresses = [("4", pod.v4.to_string()), ("6", pod.v6.to_string())];
            addresses.map(|(family, address)| {
                yaml::workload_entry(&format!("{name}-{family}"), address)
                    .namespace(namespace)
                    .workload_label("app", name)
                    .service_account(name)
                    .to_string()
            })
        });
        entries.collect::<Vec<_>>().join("---\n")
    }

    fn start(&self) -> Daemon {
        let daemon = self.scene.start_daemon();
        daemon.enrol(&self.server, "default/server-4");
        daemon
    }

    /// Makes these the policies, and waits until they are in force.
    #[track_caller]
    fn rule(&self, daemon: &Daemon, policies: &[String]) {
        committed(daemon, || self.scene.config("policies.yaml", policies.join("---\n")));
    }

    /// The server's addresses.
    fn addresses(&self) -> [SocketAddr; 2] {
        [(self.server.v4, TARGET).into(), (self.server.v6, TARGET).into()]
    }

    #[track_caller]
    fn assert_allowed(&self, client: &Pod) {
        for address in self.addresses() {
            client.run(|| ask(address)).unwrap_or_else(|e| panic!("{address}: {e}"));
        }
    }

    #[track_caller]
    fn assert_refused(&self, client: &Pod) {
        for address in self.addresses() {
            let error = client.run(|| ask(address)).expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{address}: {error}");
        }
    }
}

/// A policy for the server.
fn policy(name: &str, action: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: default}}
spec:
  selector: {{matchLabels: {{app: server}}}}
  action: {action}
  rules: {rules}
"
    )
}

/// A policy of a namespace.
fn for_all(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {spec}
"
    )
}

fn from(field: &str, value: &str) -> String {
    format!("[{{from: [{{source: {{{field}: ['{value}']}}}}]}}]")
}

#[test]
fn a_denied_client_is_refused_at_the_syn_and_the_server_never_sees_it() {
    let court = Court::new("authz_deny");
    let daemon = court.start();
    court.rule(&daemon, &[policy("no-others", "DENY", &from("namespaces", "other"))]);
    let before = counter(&daemon, "authz_denied");
    for address in court.addresses() {
        court.good.run(|| (0..TIMES).for_each(|_| drop(ask(address).expect("allowed"))));
        court.bad.run(|| {
            for _ in 0..TIMES {
                let error = TcpStream::connect(address).expect_err("refused");
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
            }
        });
    }
    court.assert_allowed(&court.stranger);
    assert_eq!(court.servers.accepted(), 2 * TIMES + 2, "the allowed ones and no other");
    assert_eq!(counter(&daemon, "authz_denied"), before + 2 * TIMES);
    let status = success(&daemon.kmeshctl(&["authz", "status"]));
    assert_has(&status, &["no-others", "DENY", &(2 * TIMES).to_string()]);
    wait_until("the access log", PATIENCE, || {
        let logs = daemon.logs();
        let told = |line: &str| {
            ["connection refused", "authz_denied", "default/no-others"]
                .iter()
                .all(|it| line.contains(it))
        };
        if logs.lines().any(told) { Ok(()) } else { Err(logs) }
    });
}

#[test]
fn an_exact_principal_of_the_default_trust_domain_is_allowed_and_nobody_else() {
    let court = Court::new("authz_allow");
    let daemon = court.start();
    let good = from("principals", "cluster.local/ns/default/sa/good");
    court.rule(&daemon, &[policy("good-only", "ALLOW", &good)]);
    court.assert_allowed(&court.good);
    court.assert_refused(&court.bad);
    court.assert_refused(&court.stranger);
    assert_eq!(counter(&daemon, "authz_not_allowed"), 4);
    // DENY goes first.
    let both = [policy("good-only", "ALLOW", &good), policy("not-good", "DENY", &good)];
    court.rule(&daemon, &both);
    court.assert_refused(&court.good);
}

#[test]
fn the_fifth_and_the_fiftieth_policy_are_enforced() {
    let court = Court::new("authz_many");
    let daemon = court.start();
    let elsewhere = |n: usize| {
        let rules =
            "[{to: [{operation: {ports: ['PORT']}}]}]".replace("PORT", &(9000 + n).to_string());
        policy(&format!("p{n:02}"), "DENY", &rules)
    };
    let mut policies: Vec<String> = (1..=50).map(elsewhere).collect();
    for number in [5, 50] {
        court.rule(&daemon, &policies);
        court.assert_allowed(&court.bad);
        policies[number - 1] =
            policy(&format!("p{number:02}"), "DENY", &from("namespaces", "other"));
        court.rule(&daemon, &policies);
        court.assert_refused(&court.bad);
        court.assert_allowed(&court.good);
        policies[number - 1] = elsewhere(number);
    }
}

#[test]
fn scopes_add_up_and_an_empty_policy_allows_nobody() {
    let court = Court::new("authz_scopes");
    let daemon = court.start();
    let nobody = for_all("nobody", "default", "{}");
    court.rule(&daemon, std::slice::from_ref(&nobody));
    court.assert_refused(&court.good);
    let everybody = for_all("everybody", ROOT_NAMESPACE, "{rules: [{}]}");
    court.rule(&daemon, &[nobody, everybody.clone()]);
    court.assert_allowed(&court.good);
    let elsewhere = for_all("nobody", "other", "{}");
    court.rule(&daemon, &[elsewhere, everybody]);
    court.assert_allowed(&court.good);
}

#[test]
fn addresses_ports_and_negations_count_in_both_families() {
    let court = Court::new("authz_fields");
    let daemon = court.start();
    let blocks = format!("'{}/32', '{}/128'", court.bad.v4, court.bad.v6);
    let rules = format!("[{{from: [{{source: {{ipBlocks: [{blocks}]}}}}]}}]");
    court.rule(&daemon, &[policy("by-address", "DENY", &rules)]);
    court.assert_refused(&court.bad);
    court.assert_allowed(&court.stranger);
    let rules = format!("[{{from: [{{source: {{notIpBlocks: [{blocks}]}}}}]}}]");
    court.rule(&daemon, &[policy("by-address", "DENY", &rules)]);
    court.assert_allowed(&court.bad);
    court.assert_refused(&court.stranger);
    let rules = format!("[{{to: [{{operation: {{ports: ['{TARGET}']}}}}]}}]");
    court.rule(&daemon, &[policy("by-port", "DENY", &rules)]);
    court.assert_refused(&court.good);
    court.good.run(|| TcpStream::connect((court.server.v4, ECHO))).expect("another port");
    // Without an identity nothing is in a namespace, and so not in this one either.
    let rules = "[{from: [{source: {notNamespaces: ['default']}}]}]";
    court.rule(&daemon, &[policy("by-namespace", "DENY", rules)]);
    court.assert_allowed(&court.good);
    court.assert_refused(&court.bad);
    court.assert_refused(&court.stranger);
}

#[test]
fn what_is_not_a_connection_into_the_pod_is_not_judged() {
    let court = Court::new("authz_others");
    let daemon = court.start();
    court.rule(&daemon, &[policy("nobody", "ALLOW", "[]")]);
    court.assert_refused(&court.good);
    // Itself, and datagrams.
    for address in court.addresses() {
        court.server.run(|| ask(address)).expect("itself");
        let udp = SocketAddr::new(address.ip(), UDP_TARGET);
        court.good.run(|| ask_udp(udp, "x")).expect("datagrams");
    }
    // A pod that has left.
    daemon.unenrol(&court.server);
    court.assert_allowed(&court.good);
}

#[test]
fn what_the_node_dials_as_kubelet_does_is_not_judged() {
    let mut court = Court::new("authz_node");
    let node = court.scene.pod("kubelet");
    let netns = node.netns().to_owned();
    let daemon = court.scene.start_daemon_with(|options| options.netns = Some(netns));
    daemon.enrol(&court.server, "default/server-4");
    court.rule(&daemon, &[policy("nobody", "ALLOW", "[]")]);
    court.assert_allowed(&node);
    court.assert_refused(&court.good);
    assert_eq!(counter(&daemon, "authz_node"), 2);
}

/// A connection that stays open.
struct Open(TcpStream);

impl Open {
    fn new(client: &Pod, address: SocketAddr) -> Self {
        let stream = client.run(|| TcpStream::connect(address)).expect("allowed");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    /// How it ended.
    fn end(mut self) -> ErrorKind {
        self.0.read(&mut [0]).expect_err("the server sends nothing").kind()
    }

    fn is_alive(&mut self) -> bool {
        use std::io::Write;
        let mut echo = [0];
        self.0.write_all(b"x").is_ok() && self.0.read_exact(&mut echo).is_ok() && echo == *b"x"
    }
}

#[test]
fn connections_that_a_new_policy_refuses_are_reset_and_no_others() {
    let court = Court::new("authz_close");
    let daemon = court.start();
    let echo = court.addresses().map(|address| SocketAddr::new(address.ip(), ECHO));
    // Before the first policy, and before the server was in the mesh: both count.
    let refused = echo.map(|address| Open::new(&court.bad, address));
    let mut kept = echo.map(|address| Open::new(&court.good, address));
    let load = Load::tcp(&court.good, court.addresses()[0], 2);
    court.rule(&daemon, &[policy("no-others", "DENY", &from("namespaces", "other"))]);
    for one in refused {
        assert_eq!(one.end(), ErrorKind::ConnectionReset);
    }
    load.more(100);
    load.finish();
    assert!(kept.iter_mut().all(Open::is_alive));
    let status = success(&daemon.kmeshctl(&["authz", "status", "-o", "json"]));
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["ended"], 2);
}

#[test]
fn a_change_of_policies_under_load_never_refuses_who_both_allow() {
    let court = Court::new("authz_change");
    let daemon = court.start();
    let by = |field: &str, value: &str| vec![policy("good", "ALLOW", &from(field, value))];
    let versions = [
        by("serviceAccounts", "default/good"),
        by("namespaces", "default"),
        by("principals", "*/good"),
    ];
    court.rule(&daemon, &versions[1]);
    let loads = court.addresses().map(|address| Load::tcp(&court.good, address, 1));
    for version in versions.iter().cycle().take(12) {
        court.rule(&daemon, version);
        court.assert_refused(&court.bad);
        loads.iter().for_each(|load| load.more(20));
    }
    loads.into_iter().for_each(|load| _ = load.finish());
}

#[test]
fn policies_hold_while_no_daemon_runs_and_after_the_next_start() {
    let court = Court::new("authz_restart");
    let mut daemon = court.start();
    court.rule(&daemon, &[policy("no-others", "DENY", &from("namespaces", "other"))]);
    let load = Load::tcp(&court.good, court.addresses()[0], 1);
    daemon.kill9();
    court.assert_refused(&court.bad);
    daemon.start();
    daemon.wait_ready(PATIENCE);
    court.assert_refused(&court.bad);
    court.rule(&daemon, &[]);
    court.assert_allowed(&court.bad);
    load.finish();
}

#[test]
fn authorization_is_switched_off_and_on_and_stays_off_over_a_restart() {
    let court = Court::new("authz_switch");
    let mut daemon = court.start();
    court.rule(&daemon, &[policy("no-others", "DENY", &from("namespaces", "other"))]);
    court.assert_refused(&court.bad);
    let said = success(&daemon.kmeshctl(&["authz", "disable"]));
    assert_eq!(said, "Authorization has been disabled.\n");
    court.assert_allowed(&court.bad);
    daemon.restart();
    court.assert_allowed(&court.bad);
    assert_has(&success(&daemon.kmeshctl(&["authz", "status"])), &["disabled"]);
    let said = success(&daemon.kmeshctl(&["authz", "enable"]));
    assert_eq!(said, "Authorization has been enabled.\n");
    court.assert_refused(&court.bad);
}

#[test]
fn policies_that_kmesh_control_tells_are_enforced() {
    let court = Court::new("authz_control");
    let rule = policy("no-others", "DENY", &from("principals", "cluster.local/ns/other/sa/bad"));
    court.scene.config("policies.yaml", rule);
    let control = Control::start(&court.scene.config_dir(), court.scene.dir(), &[]);
    let daemon = court.scene.start_daemon_with(|options| options.xds_address = Some(control.url()));
    daemon.enrol(&court.server, "default/server-4");
    court.assert_refused(&court.bad);
    court.assert_allowed(&court.good);
    committed(&daemon, || court.scene.remove_config("policies.yaml"));
    court.assert_allowed(&court.bad);
}

#[test]
fn explain_names_source_policy_and_rule() {
    let court = Court::new("authz_explain");
    let daemon = court.start();
    court.rule(&daemon, &[policy("no-others", "DENY", &from("namespaces", "other"))]);
    let to = format!("default/server-4:{TARGET}");
    let text = success(&daemon.kmeshctl(&["authz", "explain", "other/bad-4", &to]));
    let parts = ["cluster.local/ns/other/sa/bad", "default/no-others", "refused by rule 0"];
    assert_has(&text, &parts);
    let text = success(&daemon.kmeshctl(&["authz", "explain", "default/good-4", &to]));
    assert_has(&text, &["allowed"]);
    let from = court.stranger.v4.to_string();
    let text = success(&daemon.kmeshctl(&["authz", "explain", &from, &to]));
    assert_has(&text, &["nobody that is known", "allowed"]);
    let text = success(&daemon.kmeshctl(&["dump", "dual-engine", "--origins"]));
    let row = text.lines().find(|line| line.contains("default/no-others")).expect("a row");
    assert_has(row, &["policy", "yes", "policies.yaml#"]);
}

#[test]
fn an_address_that_changes_hands_is_judged_by_its_new_owner() {
    let court = Court::new("authz_reuse");
    let daemon = court.start();
    court.rule(&daemon, &[policy("no-others", "DENY", &from("namespaces", "other"))]);
    court.assert_refused(&court.bad);
    // The address is another workload's now, and the other way round.
    let swapped = court.workloads().replace(&court.bad.v4.to_string(), "10.250.0.1");
    let swapped = swapped.replace(&court.good.v4.to_string(), &court.bad.v4.to_string());
    let swapped = swapped.replace("10.250.0.1", &court.good.v4.to_string());
    committed(&daemon, || court.scene.config("workloads.yaml", swapped));
    let v4 = court.addresses()[0];
    court.bad.run(|| ask(v4)).expect("it is the good one now");
    let error = court.good.run(|| ask(v4)).expect_err("and this the bad one");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn what_cannot_be_enforced_is_said_and_the_rest_holds() {
    let court = Court::new("authz_custom");
    let daemon = court.start();
    let custom = policy("custom", "CUSTOM", "[{}]");
    court.rule(&daemon, &[custom, policy("no-others", "DENY", &from("namespaces", "other"))]);
    court.assert_refused(&court.bad);
    court.assert_allowed(&court.good);
    let problems = super::bench::problems(&daemon).join("\n");
    assert_has(&problems, &["default/custom", "CUSTOM"]);
    // Nothing pretends that it decides.
    let dry = policy("dry", "DENY", "[{}]").replace(
        "namespace: default}",
        "namespace: default, annotations: {istio.io/dry-run: 'true'}}",
    );
    court.rule(&daemon, &[dry, policy("audit", "AUDIT", "[{}]")]);
    court.assert_allowed(&court.bad);
    wait_until("both to be counted", Duration::from_secs(5), || {
        let status = daemon.get_json("/authz");
        let policies = status["policies"].as_array().unwrap().iter();
        let observed: Vec<u64> = policies.map(|it| it["observed"].as_u64().unwrap()).collect();
        if observed == [2, 2] { Ok(()) } else { Err(status.to_string()) }
    });
}
