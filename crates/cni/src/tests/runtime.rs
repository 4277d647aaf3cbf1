//! Calls of runtimes, right and wrong.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::runtime::{Call, Environment, Question, code, parse, versions};
use crate::wire::{Request, Sandbox};
use crate::{Attachment, Policy, VERSIONS};

fn environment(command: &str) -> Environment {
    Environment {
        command: command.into(),
        container_id: "c0ffee".into(),
        netns: "/var/run/netns/cni-1".into(),
        ifname: "eth0".into(),
        args: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=u-1;\
               K8S_POD_INFRA_CONTAINER_ID=c0ffee"
            .into(),
    }
}

fn config() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "kmesh-cni",
        "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]},
        "runtimeConfig": {"dns": {"Servers": ["10.96.0.10", "fd00::a", "nonsense"]}},
    })
}

fn ask(command: &str, config: &Value) -> (Request, Option<String>) {
    let call: Call = parse(&environment(command), &config.to_string()).expect("a valid call");
    let Question { request, previous } = call.question.expect("not a question for versions");
    (request, previous)
}

fn refused(environment: &Environment, config: &Value) -> u32 {
    parse(environment, &config.to_string()).expect_err("a wrong call").code
}

#[test]
fn an_add_names_the_pod_and_gives_the_previous_result_back_as_it_came() {
    let expected = Sandbox {
        attachment: Attachment {
            network: "pods".into(),
            container_id: "c0ffee".into(),
            ifname: "eth0".into(),
        },
        netns: "/var/run/netns/cni-1".into(),
        pod_namespace: "shop".into(),
        pod_name: "web-1".into(),
        pod_uid: Some("u-1".into()),
        resolvers: vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()],
    };
    let raw = "{ \"cniVersion\":\"1.0.0\",\"x\" : 1.50,\n \"ips\":[] }";
    let input = config().to_string().replace(&config()["prevResult"].to_string(), raw);
    let call = parse(&environment("ADD"), &input).expect("a valid call");
    let previous = Some(raw.to_owned());
    let question = Question { request: Request::Add(expected.clone()), previous };
    assert_eq!(call.question, Some(question));
    assert_eq!(call.settings.policy, Policy::Open);
    assert_eq!(call.settings.timeout_ms, 2000);
    let mut lower = config();
    lower["runtimeConfig"] = json!({"dns": {"servers": ["10.96.0.10"]}});
    let (Request::Add(sandbox), _) = ask("ADD", &lower) else { panic!("not an ADD") };
    assert_eq!(sandbox.resolvers, expected.resolvers[..1]);
}

#[test]
fn every_version_between_the_oldest_and_the_newest_is_spoken() {
    for version in VERSIONS {
        let mut config = config();
        config["cniVersion"] = version.into();
        assert!(matches!(ask("ADD", &config).0, Request::Add(_)), "{version}");
    }
    for version in ["0.2.0", "1.2.0", ""] {
        let mut config = config();
        config["cniVersion"] = version.into();
        assert_eq!(refused(&environment("ADD"), &config), code::INCOMPATIBLE_VERSION, "{version}");
    }
    let told: Value = serde_json::from_str(&versions("0.4.0")).unwrap();
    assert_eq!(told, json!({"cniVersion": "0.4.0", "supportedVersions": VERSIONS}));
    let asked = json!({"cniVersion": "9.9.9"}).to_string();
    assert_eq!(parse(&environment("VERSION"), &asked).unwrap().question, None);
}

#[test]
fn other_commands_need_what_the_specification_gives_them() {
    let mut without = config();
    without.as_object_mut().unwrap().remove("prevResult");
    for command in ["ADD", "CHECK"] {
        assert_eq!(refused(&environment(command), &without), code::INVALID_CONFIG, "{command}");
    }
    assert!(matches!(ask("CHECK", &config()).0, Request::Check(_)));
    let gone = Environment { netns: String::new(), ..environment("DEL") };
    assert!(parse(&gone, &without.to_string()).is_ok(), "the namespace may be gone");
    assert_eq!(ask("STATUS", &without).0, Request::Status);
    assert_eq!(refused(&environment("GC"), &config()), code::INVALID_CONFIG);
    let mut garbage = without.clone();
    garbage["cni.dev/valid-attachments"] = json!([{"containerID": "a", "ifname": "eth0"}]);
    garbage["cni.dev/attachments"] = garbage["cni.dev/valid-attachments"].clone();
    let valid = vec![Attachment {
        network: "pods".into(),
        container_id: "a".into(),
        ifname: "eth0".into(),
    }];
    assert_eq!(ask("GC", &garbage).0, Request::Gc { network: "pods".into(), valid });
}

#[test]
fn a_malformed_call_is_refused_with_the_code_of_the_specification() {
    let wrong = [
        Environment { container_id: String::new(), ..environment("ADD") },
        Environment { container_id: "../../etc".into(), ..environment("ADD") },
        Environment { container_id: ".x".into(), ..environment("DEL") },
        Environment { ifname: "a/b".into(), ..environment("ADD") },
        Environment { netns: String::new(), ..environment("ADD") },
        environment("add"),
        environment(""),
    ];
    for environment in wrong {
        assert_eq!(refused(&environment, &config()), code::INVALID_ENVIRONMENT, "{environment:?}");
    }
    let error = parse(&environment("ADD"), "{").expect_err("no JSON");
    assert_eq!((error.code, error.cni_version.as_str()), (code::DECODING_FAILURE, "1.1.0"));
    for timeout in [json!(0), json!(60_001)] {
        let mut config = config();
        config["timeoutMs"] = timeout;
        assert_eq!(refused(&environment("ADD"), &config), code::INVALID_CONFIG);
    }
}

proptest! {
    #[test]
    fn no_call_and_no_message_is_met_by_anything_but_an_answer(
        command in "(ADD|DEL|CHECK|GC|STATUS|VERSION|[A-Z]{0,4})",
        name in "[ -~]{0,12}",
        args in "[A-Z_a-z;=]{0,40}",
        input in "[\\[\\]{}\",:a-zA-Z0-9.]{0,80}",
    ) {
        let environment = Environment {
            command,
            container_id: name.clone(),
            netns: name.clone(),
            ifname: name,
            args,
        };
        for text in [&input, &config().to_string()] {
            if let Err(error) = parse(&environment, text) {
                prop_assert!(VERSIONS.contains(&error.cni_version.as_str()));
            }
        }
        let _ = serde_json::from_str::<Request>(&input);
        let _ = serde_json::from_str::<crate::wire::Answer>(&input);
    }
}
