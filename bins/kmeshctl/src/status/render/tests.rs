//! The page, line by line.

use runtime::api::{
    AuthzStatus, ConfigStatus, Connections, ControlPlaneStatus, Counter, DnsCapture, DnsQueries,
    DnsStatus, EnrolmentOrigin, HostStatus, LinkInfo,
};

use super::*;

fn healthy() -> Status {
    Status {
        version: "0.1.0".into(),
        mode: "dual-engine".into(),
        ready: true,
        generation: 4,
        enrolled: 2,
        config: ConfigStatus {
            source: "/etc/kmesh/config".into(),
            services: 3,
            workloads: 5,
            problems: vec![],
            control_plane: None,
        },
        maps: vec![MapFill {
            name: "km_frontend".into(),
            entries: 12,
            entries_max: 105_000,
            bytes: 8_388_608,
        }],
        programs: vec![
            ProgramStats {
                name: "connect4".into(),
                id: 31,
                run_count: 10,
                run_time_ns: 4205,
                verified_instructions: 900,
            },
            ProgramStats { name: "sockops".into(), id: 32, ..ProgramStats::default() },
        ],
        links: vec![LinkInfo { name: "connect4".into(), id: 7, pinned: true }],
        counters: vec![Counter {
            reason: "no_endpoint".into(),
            outcome: "refused".into(),
            count: 1,
            sentence: "The service has no usable endpoint.".into(),
        }],
        connections: Connections {
            opened: 9,
            refused: 1,
            closed: 8,
            bytes_sent: 100,
            bytes_received: 2000,
            events_lost: 0,
        },
        dns: DnsStatus {
            enabled: true,
            served: 1,
            resolvers: 1,
            names: 3,
            queries: DnsQueries { answered: 6, forwarded: 2, malformed: 1, ..Default::default() },
            hosts: vec![HostStatus {
                name: "api.example.com".into(),
                addresses: vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()],
                failure: Some("no resolver answered".into()),
            }],
            problems: vec![],
        },
        authz: AuthzStatus::default(),
        kubernetes: None,
    }
}

#[test]
fn a_healthy_daemon_fills_the_page() {
    let enrolments = [
        Enrolment {
            netns_cookie: 4096,
            netns: "/run/netns/a".into(),
            workload: Some("shop/web-1".into()),
            inode: 1,
            dns: DnsCapture::Auto,
            resolvers: vec![[10, 96, 0, 10].into()],
            origin: EnrolmentOrigin::Cni,
            pod_uid: Some("u-1".into()),
            sandbox: None,
        },
        Enrolment {
            netns_cookie: 7,
            netns: "/proc/9/ns/net".into(),
            dns: DnsCapture::Off,
            ..Enrolment::default()
        },
    ];
    let expected = "\
ready:       yes
version:     0.1.0
mode:        dual-engine
generation:  4
source:      /etc/kmesh/config
services:    3
workloads:   5
enrolled:    2
connections: 9 opened, 1 refused, 8 closed
bytes:       100 sent, 2000 received
dns:         1 namespaces, 3 names; queries: 6 answered, 0 cached, 2 forwarded, 0 failed, 1 malformed

NETNS            COOKIE   WORKLOAD     ORIGIN   RESOLVERS
/run/netns/a     4096     shop/web-1   cni      10.96.0.10
/proc/9/ns/net   7        -            hand     off

HOST              ADDRESSES             LAST_FAILURE
api.example.com   192.0.2.1,192.0.2.2   no resolver answered

REASON        OUTCOME   COUNT   MEANING
no_endpoint   refused   1       The service has no usable endpoint.

MAP           ENTRIES   MAX      FILL   BYTES
km_frontend   12        105000   1%     8388608

PROGRAM    ID   RUNS   MEAN_NS   VERIFIED_INSTRUCTIONS
connect4   31   10     420       900
sockops    32   0      -         0

LINK       ID   PINNED
connect4   7    yes
";
    assert_eq!(render(&healthy(), &enrolments), expected);
}

#[test]
fn what_is_wrong_stands_near_the_top() {
    let mut status = Status { mode: "dual-engine".into(), ..Status::default() };
    status.config.problems = vec!["shop/web: port 80 is named twice".into()];
    status.dns.problems = vec!["DNS queries of shop/web are left alone".into()];
    status.connections.events_lost = 3;
    let expected = "\
ready:       no
version:
mode:        dual-engine
generation:  0
source:
services:    0
workloads:   0
enrolled:    0
connections: 0 opened, 0 refused, 0 closed
bytes:       0 sent, 0 received
dns:         off
events lost: 3: the two lines above miss as many

PROBLEMS IN THE CONFIGURATION
  shop/web: port 80 is named twice

PROBLEMS OF DNS
  DNS queries of shop/web are left alone
";
    assert_eq!(render(&status, &[]), expected);
}

#[test]
fn fill_is_rounded_up() {
    assert_eq!(percent(0, 10), "0%");
    assert_eq!(percent(1, 100_000), "1%");
    assert_eq!(percent(10, 10), "100%");
    assert_eq!(percent(u64::MAX, u64::MAX), "100%");
    assert_eq!(percent(1, 0), "-");
}

#[test]
fn a_control_plane_has_a_line_and_its_last_error() {
    let mut status = Status::default();
    let mut plane = ControlPlaneStatus { attempts: 3, streams: 1, ..ControlPlaneStatus::default() };
    plane.error = "connection refused".into();
    status.config.control_plane = Some(plane.clone());
    let text = render(&status, &[]);
    let line = "xds:         not connected (connection refused); 3 attempts, 1 stream, 0 responses, 0 refused";
    assert!(text.contains(line), "{text}");
    plane.connected = true;
    status.config.control_plane = Some(plane);
    assert!(render(&status, &[]).contains("xds:         connected; 3 attempts"));
}

#[test]
fn a_daemon_that_looks_at_a_cluster_says_what_it_sees() {
    let cni = CniStatus {
        enrolled: 5,
        left_alone: 2,
        let_go: vec![("daemon_away".into(), 3)],
        ..CniStatus::default()
    };
    let mut kubernetes =
        KubernetesStatus { pods: 7, wanted: 5, missing: 1, cni, ..Default::default() };
    kubernetes.problems = vec!["pod shop/web: the map is full".into()];
    let page = |kubernetes: &KubernetesStatus| {
        render(&Status { kubernetes: Some(kubernetes.clone()), ..healthy() }, &[])
    };
    let before = page(&kubernetes);
    for line in [
        "kubernetes:  pods are not known yet, enrolled is who was before; the API server does not answer",
        "cni:         5 enrolled, 2 left alone, 0 undecided, 0 failed, 3 let go (daemon_away)",
        "PODS THAT ARE NOT ENROLLED\n  pod shop/web: the map is full",
    ] {
        assert!(before.contains(line), "{line} is not in\n{before}");
    }
    (kubernetes.complete, kubernetes.connected) = (true, true);
    let line = "kubernetes:  7 pods, 5 of the mesh, 1 of those not found\n";
    assert!(page(&kubernetes).contains(line), "{}", page(&kubernetes));
}
