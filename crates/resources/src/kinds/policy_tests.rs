//! Policies: what is read, what is refused, and what is not seen at L4.

use model::{Match, PolicyAction, StringMatch};
use serde_yaml_ng::Value;

use super::tests::{check, object};
use crate::object::{AuthorizationPolicy, Body};

const TEMPLATE: &str = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, \
                         metadata: {name: p, namespace: shop}, spec: {VALUES}}";

fn policy(values: &str) -> AuthorizationPolicy {
    let value: Value = serde_yaml_ng::from_str(&TEMPLATE.replace("VALUES", values)).unwrap();
    match object(value).body {
        Body::AuthorizationPolicy(policy) => *policy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_of_l4_becomes_a_match() {
    let policy = policy(
        "action: DENY, selector: {matchLabels: {app: web}}, rules: [{\
         from: [{source: {principals: [cluster.local/ns/a/sa/b, 'x*'], notPrincipals: ['*'], \
                          namespaces: ['*-dev'], notNamespaces: [prod], \
                          ipBlocks: [10.0.0.1, 10.1.2.3/8], notIpBlocks: ['::ffff:10.0.0.0/104']}}, \
                {source: {serviceAccounts: [api, b/db], notServiceAccounts: [c]}}], \
         to: [{operation: {ports: ['80', '0443'], notPorts: ['8080']}}], \
         when: [{key: source.ip, values: ['fd00::/8'], notValues: ['fd00::1']}, \
                {key: source.namespace, values: [a]}, {key: source.principal, notValues: [b]}, \
                {key: destination.ip, values: [10.0.0.9]}, \
                {key: destination.port, notValues: ['1']}]}]",
    );
    assert_eq!((policy.action, policy.selector["app"].as_str()), (PolicyAction::Deny, "web"));
    let [rule] = &policy.rules[..] else { panic!("{:?}", policy.rules) };
    let clauses: Vec<&[Match]> = rule.clauses.iter().map(|it| &*it.matches).collect();
    let [[to], [from, accounts], [ip], [namespace], [principal], [to_ip], [to_port]] = clauses[..]
    else {
        panic!("{clauses:?}")
    };
    let blocks = |them: &[model::AddressBlock]| them.iter().map(ToString::to_string).collect();
    let exact = |text: &str| StringMatch::Exact(text.into());
    assert_eq!((&*to.destination_ports, &*to.not_destination_ports), (&[80, 443][..], &[8080][..]));
    assert_eq!(
        from.principals,
        [exact("cluster.local/ns/a/sa/b"), StringMatch::Prefix("x".into())]
    );
    assert_eq!(from.not_principals, [StringMatch::Presence]);
    assert_eq!(from.namespaces, [StringMatch::Suffix("-dev".into())]);
    assert_eq!(from.not_namespaces, [exact("prod")]);
    let sources: Vec<String> = blocks(&from.source_ips);
    assert_eq!(sources, ["10.0.0.1", "10.0.0.0/8"]);
    let not_sources: Vec<String> = blocks(&from.not_source_ips);
    assert_eq!(not_sources, ["10.0.0.0/8"]);
    let accounts = accounts.service_accounts.iter().chain(&accounts.not_service_accounts);
    let accounts: Vec<String> = accounts.map(ToString::to_string).collect();
    assert_eq!(accounts, ["shop/api", "b/db", "shop/c"]);
    assert_eq!((ip.source_ips.len(), ip.not_source_ips.len()), (1, 1));
    assert_eq!(namespace.namespaces, [exact("a")]);
    assert_eq!(principal.not_principals, [exact("b")]);
    assert_eq!((to_ip.destination_ips.len(), &*to_port.not_destination_ports), (1, &[1][..]));
}

#[test]
fn without_anything_said_nothing_is_allowed_and_an_empty_rule_matches_everything() {
    let nothing = policy("");
    assert_eq!((nothing.action, nothing.rules.len()), (PolicyAction::Allow, 0));
    let everything = policy("rules: [{}]");
    assert_eq!(everything.rules, [model::Rule::default()]);
    assert_eq!(policy("action: AUDIT, rules: [{}]").action, PolicyAction::Audit);
}

#[test]
fn a_dry_run_is_an_annotation() {
    for (value, expected) in [("'true'", true), ("'1'", true), ("'false'", false), ("''", false)] {
        let annotated = TEMPLATE
            .replace("VALUES", "")
            .replace("name: p", &format!("name: p, annotations: {{istio.io/dry-run: {value}}}"));
        let Body::AuthorizationPolicy(policy) =
            object(serde_yaml_ng::from_str(&annotated).unwrap()).body
        else {
            panic!("{annotated}")
        };
        assert_eq!(policy.is_dry_run, expected, "{value}");
    }
    let template = TEMPLATE.replace("name: p", "name: p, annotations: {istio.io/dry-run: VALUES}");
    let template = template.replace("spec: {VALUES}", "spec: {}");
    check(
        &template,
        &[("'perhaps'", &["error metadata.annotations.istio.io/dry-run: \"perhaps\""])],
    );
}

#[test]
fn what_is_not_seen_at_l4_takes_the_rule_from_an_allow_and_is_left_out_of_a_deny() {
    let rules = "rules: [{to: [{operation: {methods: [GET], ports: ['80']}}, \
                             {operation: {paths: [/a]}}]}, {to: [{operation: {ports: ['1']}}]}]";
    let allow = policy(rules);
    assert_eq!(allow.rules.len(), 1);
    assert_eq!(allow.rules[0].clauses[0].matches[0].destination_ports, [1]);
    let deny = policy(&format!("action: DENY, {rules}"));
    assert_eq!(deny.rules.len(), 2);
    let matches = &deny.rules[0].clauses[0].matches;
    assert_eq!((&*matches[0].destination_ports, &matches[1]), (&[80][..], &Match::default()));
}

#[test]
fn authorization_policy() {
    let to = |operation: &str| format!("rules: [{{to: [{{operation: {{{operation}}}}}]}}]");
    let from = |source: &str| format!("rules: [{{from: [{{source: {{{source}}}}}]}}]");
    let when = |condition: &str| format!("rules: [{{when: [{{{condition}}}]}}]");
    let deny = |rest: &str| format!("action: DENY, {rest}");
    let at = "spec.rules[0]";
    let cases: Vec<(String, Vec<String>)> = vec![
        (String::new(), vec![]),
        (
            "action: CUSTOM, provider: {name: x}".into(),
            vec!["error spec.action: CUSTOM asks".into()],
        ),
        ("action: LOG".into(), vec!["error spec.action: \"LOG\" is not one of".into()]),
        ("provider: {name: x}".into(), vec!["error spec.provider: set, and the".into()]),
        ("action: DENY".into(), vec!["error spec.rules: a DENY without rules".into()]),
        ("rules: [null]".into(), vec![format!("error {at}: null")]),
        ("rules: [{from: []}]".into(), vec![format!("error {at}.from: empty")]),
        ("rules: [{to: [{}]}]".into(), vec![format!("error {at}.to[0].operation: missing")]),
        (from(""), vec![format!("error {at}.from[0].source: nothing is set")]),
        (to(""), vec![format!("error {at}.to[0].operation: nothing is set")]),
        (to("ports: ['65536']"), vec![format!("error {at}.to[0].operation.ports[0]: \"65536\"")]),
        (to("ports: [http]"), vec![format!("error {at}.to[0].operation.ports[0]: \"http\" is")]),
        (from("namespaces: ['']"), vec![format!("error {at}.from[0].source.namespaces[0]: empty")]),
        (
            from("ipBlocks: [10.0.0.0/33]"),
            vec![format!("error {at}.from[0].source.ipBlocks[0]: \"10.0.0.0/33\" is not")],
        ),
        (
            from("serviceAccounts: ['a*']"),
            vec![format!("error {at}.from[0].source.serviceAccounts[0]: \"a*\" is not")],
        ),
        (
            from("serviceAccounts: [a], namespaces: [b]"),
            vec![format!("error {at}.from[0].source.serviceAccounts: set together")],
        ),
        (when("key: source.ip"), vec![format!("error {at}.when[0]: neither values")]),
        (
            when("key: destination.labels, values: [a]"),
            vec![format!("error {at}.when[0].key: \"destination.labels\" is not")],
        ),
        (
            when("key: 'request.headers[a]', values: [b]"),
            vec![format!("warning {at}.when[0].key: not seen at L4")],
        ),
        (
            from("requestPrincipals: [a], remoteIpBlocks: [10.0.0.1]"),
            vec![
                format!("warning {at}.from[0].source.requestPrincipals: not seen at L4"),
                format!("warning {at}.from[0].source.remoteIpBlocks: not seen at L4"),
            ],
        ),
        (
            deny(&to("hosts: [a], ports: ['1']")),
            vec![format!("warning {at}.to[0].operation.hosts: not seen at L4")],
        ),
        ("targetRefs: [{kind: Gateway}]".into(), vec!["warning spec.targetRefs: enforced".into()]),
        ("targetRef: {kind: Gateway}".into(), vec!["warning spec.targetRef: enforced".into()]),
        (
            "targetRefs: [{kind: Gateway}], selector: {matchLabels: {a: b}}".into(),
            vec!["warning spec.targetRefs".into(), "error spec.selector: set together".into()],
        ),
        ("rulez: []".into(), vec!["warning spec.rulez: not a field".into()]),
        ("rules: [{from: 1}]".into(), vec!["error spec.rules[0].from: invalid type".into()]),
    ];
    for (values, expected) in &cases {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(TEMPLATE, &[(values, &expected)]);
    }
}

#[test]
fn peer_authentication_is_checked_and_not_enforced() {
    let template = "{apiVersion: security.istio.io/v1beta1, kind: PeerAuthentication, \
                     metadata: {name: p}, spec: {VALUES}}";
    let always = "info spec: identities are not proven yet";
    check(
        template,
        &[
            ("", &[always]),
            ("mtls: {mode: PERMISSIVE}", &[always]),
            ("mtls: {mode: STRICT}", &["warning spec.mtls.mode: STRICT is not enforced", always]),
            ("mtls: {mode: MAYBE}", &["error spec.mtls.mode: \"MAYBE\" is not one of", always]),
            (
                "selector: {matchLabels: {a: b}}, portLevelMtls: {8080: {mode: STRICT}}",
                &["warning spec.portLevelMtls.8080.mode: STRICT", always],
            ),
            (
                "portLevelMtls: {8080: {mode: DISABLE}}",
                &["error spec.portLevelMtls: set without a selector", always],
            ),
            (
                "selector: {matchLabels: {a: b}}, portLevelMtls: {0: {mode: DISABLE}}",
                &["error spec.portLevelMtls.0: 0 is not a port number", always],
            ),
        ],
    );
}
