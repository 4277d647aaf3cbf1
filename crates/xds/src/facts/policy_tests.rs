//! Policies of the wire.

use model::{AddressBlock, PolicyAction, PolicyScope, ServiceAccount, StringMatch};
use prost::Message;

use super::read_policy;
use crate::AUTHORIZATION_TYPE;
use crate::finding::Refusal;
use crate::wire::discovery::{Payload, Resource};
use crate::wire::security as wire;
use crate::wire::security::string_match::MatchType;

fn read(policy: &wire::Authorization) -> Result<model::Policy, Refusal> {
    let value = policy.encode_to_vec().into();
    let any = Payload { type_url: AUTHORIZATION_TYPE.into(), value };
    read_policy(&Resource { name: "shop/p".into(), resource: Some(any), ..Resource::default() })
}

fn string(match_type: MatchType) -> Vec<wire::StringMatch> {
    vec![wire::StringMatch { match_type: Some(match_type) }]
}

fn policy() -> wire::Authorization {
    let it = wire::Match {
        namespaces: string(MatchType::Exact("a".into())),
        not_namespaces: string(MatchType::Prefix("b".into())),
        principals: string(MatchType::Suffix("/sa/c".into())),
        not_principals: string(MatchType::Presence(())),
        source_ips: vec![wire::Address { address: vec![10, 0, 0, 0], length: 8 }],
        not_source_ips: vec![wire::Address { address: vec![0; 16], length: 0 }],
        destination_ports: vec![80],
        not_destination_ports: vec![443],
        service_accounts: vec![wire::ServiceAccountMatch {
            namespace: "a".into(),
            service_account: "d".into(),
        }],
        ..wire::Match::default()
    };
    let rule = wire::Rule { clauses: vec![wire::Clause { matches: vec![it] }] };
    wire::Authorization {
        name: "p".into(),
        namespace: "shop".into(),
        scope: wire::Scope::WorkloadSelector.into(),
        action: wire::Action::Deny.into(),
        rules: vec![rule],
        dry_run: true,
        extensions: Vec::new(),
    }
}

#[test]
fn a_policy_is_read_whole() {
    let policy = read(&policy()).unwrap();
    assert_eq!(policy.name.to_string(), "shop/p");
    assert_eq!((policy.scope, policy.action), (PolicyScope::WorkloadSelector, PolicyAction::Deny));
    assert!(policy.is_dry_run);
    let it = &policy.rules[0].clauses[0].matches[0];
    assert_eq!(it.namespaces, [StringMatch::Exact("a".into())]);
    assert_eq!(it.not_namespaces, [StringMatch::Prefix("b".into())]);
    assert_eq!(it.principals, [StringMatch::Suffix("/sa/c".into())]);
    assert_eq!(it.not_principals, [StringMatch::Presence]);
    let block = AddressBlock { address: [10, 0, 0, 0].into(), prefix_bits: 8 };
    assert_eq!(it.source_ips, [block]);
    assert_eq!(it.not_source_ips[0].prefix_bits, 0);
    assert_eq!((&it.destination_ports[..], &it.not_destination_ports[..]), (&[80][..], &[443][..]));
    assert_eq!(it.service_accounts, [ServiceAccount { namespace: "a".into(), name: "d".into() }]);
}

#[test]
fn a_policy_that_is_not_understood_is_refused_and_not_weakened() {
    let wrong = |change: &dyn Fn(&mut wire::Authorization)| {
        let mut policy = policy();
        change(&mut policy);
        read(&policy).unwrap_err().field
    };
    let extension = || vec![wire::Extension { name: "x".into(), config: None }];
    assert_eq!(wrong(&|it| it.name.clear()), "name");
    assert_eq!(wrong(&|it| it.scope = 9), "scope");
    assert_eq!(wrong(&|it| it.action = 9), "action");
    assert_eq!(wrong(&|it| it.extensions = extension()), "extensions");
    let wrong_match = |change: &dyn Fn(&mut wire::Match)| {
        wrong(&|it| change(&mut it.rules[0].clauses[0].matches[0]))
    };
    assert_eq!(wrong_match(&|it| it.extensions = extension()), "rules.extensions");
    assert_eq!(wrong_match(&|it| it.source_ips[0].length = 33), "rules.source_ips");
    assert_eq!(wrong_match(&|it| it.destination_ports = vec![70_000]), "rules.destination_ports");
    assert_eq!(wrong_match(&|it| it.namespaces[0].match_type = None), "rules.namespaces");
}
