//! A policy in the admin API's words: its rules nested as they are, texts as AuthorizationPolicy
//! writes them, empty lists left out.

use std::fmt::Display;

use model::{Match, Policy};
use runtime::api::PolicyDump;
use serde_json::{Map, Value, json};

/// One policy.
pub fn policy_dump(policy: &Policy) -> PolicyDump {
    let rules = policy.rules.iter().map(|rule| {
        let clauses = rule.clauses.iter().map(|clause| {
            json!({ "matches": clause.matches.iter().map(match_dump).collect::<Vec<_>>() })
        });
        json!({ "clauses": clauses.collect::<Vec<_>>() })
    });
    PolicyDump {
        name: policy.name.name.clone(),
        namespace: policy.name.namespace.clone(),
        scope: policy.scope.name().into(),
        action: policy.action.name().into(),
        dry_run: policy.is_dry_run,
        rules: Value::Array(rules.collect()),
        ..PolicyDump::default()
    }
}

fn match_dump(it: &Match) -> Value {
    let fields = [
        ("namespaces", texts(&it.namespaces)),
        ("notNamespaces", texts(&it.not_namespaces)),
        ("principals", texts(&it.principals)),
        ("notPrincipals", texts(&it.not_principals)),
        ("sourceIps", texts(&it.source_ips)),
        ("notSourceIps", texts(&it.not_source_ips)),
        ("destinationIps", texts(&it.destination_ips)),
        ("notDestinationIps", texts(&it.not_destination_ips)),
        ("destinationPorts", texts(&it.destination_ports)),
        ("notDestinationPorts", texts(&it.not_destination_ports)),
        ("serviceAccounts", texts(&it.service_accounts)),
        ("notServiceAccounts", texts(&it.not_service_accounts)),
    ];
    let named = fields.into_iter().filter(|(_, list)| !list.is_empty());
    Value::Object(named.map(|(name, list)| (name.to_owned(), list.into())).collect::<Map<_, _>>())
}

fn texts(list: &[impl Display]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}
