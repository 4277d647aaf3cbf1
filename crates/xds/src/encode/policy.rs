//! A policy.

use model::{
    AddressBlock, Clause, Match, Policy, PolicyAction, PolicyScope, Rule, ServiceAccount,
    StringMatch,
};

use crate::details::address_bytes;
use crate::finding::Finding;
use crate::wire::security as wire;

/// The message; none for what Istio's messages can't say.
pub(super) fn encode(policy: &Policy) -> Option<wire::Authorization> {
    let action = match policy.action {
        PolicyAction::Allow => wire::Action::Allow,
        PolicyAction::Deny => wire::Action::Deny,
        PolicyAction::Audit => return None,
    };
    let scope = match policy.scope {
        PolicyScope::Global => wire::Scope::Global,
        PolicyScope::Namespace => wire::Scope::Namespace,
        PolicyScope::WorkloadSelector => wire::Scope::WorkloadSelector,
    };
    Some(wire::Authorization {
        name: policy.name.name.clone(),
        namespace: policy.name.namespace.clone(),
        scope: scope.into(),
        action: action.into(),
        rules: policy.rules.iter().map(rule).collect(),
        dry_run: policy.is_dry_run,
        extensions: Vec::new(),
    })
}

/// What is to be said about a policy that has no message.
pub(super) fn finding(policy: &Policy) -> Option<Finding> {
    (policy.action == PolicyAction::Audit).then(|| Finding {
        resource: policy.name.to_string(),
        is_refused: false,
        field: "action",
        message: "AUDIT has no form on the wire: nodes do not learn of it".to_owned(),
    })
}

fn rule(rule: &Rule) -> wire::Rule {
    let clause =
        |clause: &Clause| wire::Clause { matches: clause.matches.iter().map(a_match).collect() };
    wire::Rule { clauses: rule.clauses.iter().map(clause).collect() }
}

fn a_match(it: &Match) -> wire::Match {
    wire::Match {
        namespaces: strings(&it.namespaces),
        not_namespaces: strings(&it.not_namespaces),
        principals: strings(&it.principals),
        not_principals: strings(&it.not_principals),
        source_ips: blocks(&it.source_ips),
        not_source_ips: blocks(&it.not_source_ips),
        destination_ips: blocks(&it.destination_ips),
        not_destination_ips: blocks(&it.not_destination_ips),
        destination_ports: it.destination_ports.iter().map(|port| (*port).into()).collect(),
        not_destination_ports: it.not_destination_ports.iter().map(|port| (*port).into()).collect(),
        service_accounts: accounts(&it.service_accounts),
        not_service_accounts: accounts(&it.not_service_accounts),
        extensions: Vec::new(),
    }
}

fn strings(them: &[StringMatch]) -> Vec<wire::StringMatch> {
    use wire::string_match::MatchType;
    let kind = |it: &StringMatch| match it {
        StringMatch::Exact(text) => MatchType::Exact(text.clone()),
        StringMatch::Prefix(text) => MatchType::Prefix(text.clone()),
        StringMatch::Suffix(text) => MatchType::Suffix(text.clone()),
        StringMatch::Presence => MatchType::Presence(()),
    };
    them.iter().map(|it| wire::StringMatch { match_type: Some(kind(it)) }).collect()
}

fn blocks(them: &[AddressBlock]) -> Vec<wire::Address> {
    let block = |it: &AddressBlock| wire::Address {
        address: address_bytes(&it.address),
        length: it.prefix_bits.into(),
    };
    them.iter().map(block).collect()
}

fn accounts(them: &[ServiceAccount]) -> Vec<wire::ServiceAccountMatch> {
    let account = |it: &ServiceAccount| wire::ServiceAccountMatch {
        namespace: it.namespace.clone(),
        service_account: it.name.clone(),
    };
    them.iter().map(account).collect()
}
