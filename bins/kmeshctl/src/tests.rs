//! The command line, and each command against a daemon that answers from a script.

use axum::Router;
use axum::http::{Method, StatusCode, Uri};
use clap::CommandFactory;
use clap::error::ErrorKind;
use runtime::admin::{self, Admin};
use runtime::api::WRONG_MODE;
use runtime::shutdown;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

async fn answer(method: Method, uri: Uri, body: String) -> axum::response::Response {
    let text = |status: u16, text: &str| {
        let mut response = axum::response::Response::new(text.to_owned().into());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        response
    };
    let request = r#"{"netns":"/run/netns/a","workload":"shop/web"}"#;
    let netns = r#"{"netnsCookie": 4, "netns": "/run/netns/a", "inode": 9}"#;
    match (method.as_str(), uri.to_string().as_str()) {
        ("GET", "/version") => text(200, r#"{"gitVersion": "9.9.9"}"#),
        ("GET", "/status") => text(200, r#"{"ready": true, "version": "9.9.9"}"#),
        ("GET", "/enrolments") => text(200, &format!("[{netns}]")),
        ("POST", "/enrolments") if body == request => text(200, netns),
        ("DELETE", "/enrolments") if body == r#"{"netnsCookie":4}"# => text(200, netns),
        ("DELETE", "/enrolments") => {
            admin::error(StatusCode::NOT_FOUND, "that namespace is not enrolled")
        }
        ("GET", "/debug/loggers") => text(200, r#"["default", "bpf"]"#),
        ("GET", "/debug/loggers?name=bpf") => text(200, r#"{"name": "bpf", "level": "info"}"#),
        ("GET", "/debug/loggers?name=x") => admin::error(StatusCode::BAD_REQUEST, "no logger x"),
        ("POST", "/debug/loggers") => text(200, "OK"),
        ("GET", "/debug/config_dump/dual-engine") => {
            text(200, r#"{"policies": [{"name": "p", "namespace": "n"}], "new": 1}"#)
        }
        ("GET", "/debug/config_dump/bpf/dual-engine") => text(200, r#"{"services": []}"#),
        ("GET", "/debug/config_dump/kernel-native") => text(400, WRONG_MODE),
        other => panic!("nobody expects {other:?} with {body:?}"),
    }
}

/// Runs command lines against one scripted daemon, and returns output or error.
fn outputs(lines: &[&str]) -> Vec<Result<String, String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("runtime").block_on(async {
        let directory = tempfile::tempdir().expect("tempdir");
        let socket = directory.path().join("admin.sock");
        let admin = Admin::bind(&socket, None).await.expect("bind");
        let (trigger, shutdown) = shutdown::channel();
        let served = tokio::spawn(admin.serve(Router::new().fallback(answer), shutdown));
        let mut outputs = Vec::new();
        for line in lines {
            let mut cli = parse(&format!("kmeshctl {line}")).expect("a valid command line");
            cli.socket.clone_from(&socket);
            outputs.push(execute(cli).await.map_err(|error| format!("{error:#}")));
        }
        trigger.fire();
        served.await.expect("the daemon ends well");
        outputs
    })
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
    let cli = parse("kmeshctl status --socket /tmp/x").expect("the socket may come last");
    assert_eq!(cli.socket, PathBuf::from("/tmp/x"));
}

#[test]
fn usage_errors_are_found_before_anything_is_asked() {
    for (line, kind) in [
        ("kmeshctl", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("kmeshctl dump", ErrorKind::MissingRequiredArgument),
        ("kmeshctl dump a b c", ErrorKind::TooManyValues),
        ("kmeshctl dump dual-engine -o yaml", ErrorKind::InvalidValue),
        ("kmeshctl log --set debug", ErrorKind::ValueValidation),
        ("kmeshctl enroll", ErrorKind::MissingRequiredArgument),
        ("kmeshctl enroll --netns a --pid 1", ErrorKind::ArgumentConflict),
        ("kmeshctl enroll --netns a --dns off --resolver 10.0.0.1", ErrorKind::ArgumentConflict),
        ("kmeshctl enroll --netns a --dns on", ErrorKind::InvalidValue),
        ("kmeshctl enroll --netns a --resolver dns.example", ErrorKind::ValueValidation),
        ("kmeshctl enroll --workload shop/web", ErrorKind::MissingRequiredArgument),
        ("kmeshctl unenroll", ErrorKind::MissingRequiredArgument),
        ("kmeshctl enroll --pid 0", ErrorKind::ValueValidation),
        ("kmeshctl enroll --pid 1 --workload web", ErrorKind::ValueValidation),
        ("kmeshctl unenroll --cookie 1 --pid 1", ErrorKind::ArgumentConflict),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.kind(), kind, "{line}: {error}");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn each_command_shows_what_the_daemon_answers() {
    let lines = [
        "enroll --netns /run/netns/a --workload shop/web",
        "unenroll --cookie 4",
        "log",
        "log bpf",
        "log --set default:debug",
        "dump dual-engine",
        "dump dual-engine -o json",
        "dump dual-engine --bpf",
    ];
    let expected = [
        "enrolled /run/netns/a (cookie 4)\n",
        "no longer enrolled: /run/netns/a (cookie 4)\n",
        "Existing Loggers:\n\tdefault\n\tbpf\n",
        "Logger Name: bpf\nLogger Level: info\n",
        "OK\n",
        "NAME   NAMESPACE   SCOPE   ACTION\np      n\n\n",
        "{\"policies\": [{\"name\": \"p\", \"namespace\": \"n\"}], \"new\": 1}\n",
        "",
    ];
    let outputs: Vec<_> = outputs(&lines).into_iter().map(|o| o.expect("success")).collect();
    assert_eq!(outputs, expected);
}

#[test]
fn status_and_version_cover_the_daemon() {
    let outputs = outputs(&["version", "status", "status -o json", "version -o json"]);
    let [version, status, status_json, version_json] = outputs.as_slice() else {
        panic!("four outputs")
    };
    let version = version.as_deref().expect("version");
    assert!(version.ends_with("kmesh-daemon version: 9.9.9 (1 daemon)\n"), "{version}");
    let status = status.as_deref().expect("status");
    assert!(status.contains(
        "\n\nNETNS          COOKIE   WORKLOAD   ORIGIN   RESOLVERS\n/run/netns/a   4        -          hand     -\n"
    ));
    let json: serde_json::Value =
        serde_json::from_str(status_json.as_deref().expect("status")).expect("JSON");
    assert_eq!((&json["ready"], &json["enrolments"][0]["inode"]), (&true.into(), &9.into()));
    let json: serde_json::Value =
        serde_json::from_str(version_json.as_deref().expect("version")).expect("JSON");
    assert_eq!(json["daemon"]["gitVersion"], "9.9.9");
}

#[test]
fn failures_say_what_to_do() {
    let lines = [
        ("unenroll --pid 1", "that namespace is not enrolled"),
        ("log x", "leave out the pod"),
        ("log x", "no logger x"),
        ("dump kernel-native", "does not run in this mode: Invalid Client Mode"),
        ("dump web-pod", "it must be kernel-native or dual-engine"),
        ("dump kmesh-abc dual-engine", "pod kmesh-abc"),
        ("log kmesh-abc default", "run kmeshctl on the node itself"),
        ("log kmesh-abc --set default:debug", "pod kmesh-abc"),
        ("version kmesh-abc", "kubectl exec"),
    ];
    let outputs = outputs(&lines.map(|(line, _)| line));
    for ((line, expected), output) in lines.iter().zip(outputs) {
        let error = output.expect_err(line);
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[tokio::test]
async fn without_a_daemon_only_the_version_is_a_success() {
    let directory = tempfile::tempdir().expect("tempdir");
    let run = async |line: &str| {
        let mut cli = parse(line).expect("a valid command line");
        cli.socket = directory.path().join("none.sock");
        execute(cli).await
    };
    let version = run("kmeshctl version").await.expect("a version");
    assert!(version.contains("is kmesh-daemon running?"), "{version}");
    let error = run("kmeshctl status").await.expect_err("no daemon");
    assert!(error.to_string().contains("is kmesh-daemon running?"), "{error}");
}
