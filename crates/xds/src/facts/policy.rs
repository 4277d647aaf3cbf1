//! A policy.

use model::{
    AddressBlock, Clause, Match, Policy, PolicyAction, PolicyName, PolicyScope, Rule,
    ServiceAccount, StringMatch,
};

use super::Reader;
use crate::finding::Refusal;
use crate::wire::security as wire;

pub(super) fn read(reader: &Reader<'_>, policy: wire::Authorization) -> Result<Policy, Refusal> {
    reader.required("name", &policy.name)?;
    let scope = match wire::Scope::try_from(policy.scope) {
        Ok(wire::Scope::Global) => PolicyScope::Global,
        Ok(wire::Scope::Namespace) => PolicyScope::Namespace,
        Ok(wire::Scope::WorkloadSelector) => PolicyScope::WorkloadSelector,
        Err(_) => return Err(unknown(reader, "scope", policy.scope)),
    };
    let action = match wire::Action::try_from(policy.action) {
        Ok(wire::Action::Allow) => PolicyAction::Allow,
        Ok(wire::Action::Deny) => PolicyAction::Deny,
        Err(_) => return Err(unknown(reader, "action", policy.action)),
    };
    // What an extension would add is not known, and half a policy is another policy.
    if let Some(extension) = policy.extensions.first() {
        return Err(reader.refusal("extensions", format!("{} is not known here", extension.name)));
    }
    let rules = policy.rules.into_iter().map(|rule| rule_of(reader, rule));
    Ok(Policy {
        name: PolicyName::new(policy.namespace, policy.name),
        scope,
        action,
        is_dry_run: policy.dry_run,
        rules: rules.collect::<Result<_, _>>()?,
    })
}

fn unknown(reader: &Reader<'_>, field: &'static str, value: i32) -> Refusal {
    reader.refusal(field, format!("{value} is not a known value"))
}

fn rule_of(reader: &Reader<'_>, rule: wire::Rule) -> Result<Rule, Refusal> {
    let clauses = rule.clauses.into_iter().map(|clause| {
        let matches = clause.matches.into_iter().map(|it| match_of(reader, it));
        Ok(Clause { matches: matches.collect::<Result<_, _>>()? })
    });
    Ok(Rule { clauses: clauses.collect::<Result<_, _>>()? })
}

fn match_of(reader: &Reader<'_>, it: wire::Match) -> Result<Match, Refusal> {
    if let Some(extension) = it.extensions.first() {
        let message = format!("{} is not known here", extension.name);
        return Err(reader.refusal("rules.extensions", message));
    }
    let strings = |field, them: Vec<wire::StringMatch>| {
        let them = them.into_iter().map(|it| string_match(reader, field, it));
        them.collect::<Result<Vec<_>, Refusal>>()
    };
    let blocks = |field, them: Vec<wire::Address>| {
        let them = them.into_iter().map(|it| block(reader, field, &it));
        them.collect::<Result<Vec<_>, Refusal>>()
    };
    let ports = |field, them: Vec<u32>| {
        let them = them.into_iter().map(|it| reader.port(field, it));
        them.collect::<Result<Vec<_>, Refusal>>()
    };
    Ok(Match {
        namespaces: strings("rules.namespaces", it.namespaces)?,
        not_namespaces: strings("rules.not_namespaces", it.not_namespaces)?,
        principals: strings("rules.principals", it.principals)?,
        not_principals: strings("rules.not_principals", it.not_principals)?,
        source_ips: blocks("rules.source_ips", it.source_ips)?,
        not_source_ips: blocks("rules.not_source_ips", it.not_source_ips)?,
        destination_ips: blocks("rules.destination_ips", it.destination_ips)?,
        not_destination_ips: blocks("rules.not_destination_ips", it.not_destination_ips)?,
        destination_ports: ports("rules.destination_ports", it.destination_ports)?,
        not_destination_ports: ports("rules.not_destination_ports", it.not_destination_ports)?,
        service_accounts: accounts(it.service_accounts),
        not_service_accounts: accounts(it.not_service_accounts),
    })
}

fn string_match(
    reader: &Reader<'_>,
    field: &'static str,
    it: wire::StringMatch,
) -> Result<StringMatch, Refusal> {
    use wire::string_match::MatchType;
    match it.match_type {
        Some(MatchType::Exact(text)) => Ok(StringMatch::Exact(text)),
        Some(MatchType::Prefix(text)) => Ok(StringMatch::Prefix(text)),
        Some(MatchType::Suffix(text)) => Ok(StringMatch::Suffix(text)),
        Some(MatchType::Presence(())) => Ok(StringMatch::Presence),
        None => Err(reader.refusal(field, "a match of a kind that is not known here")),
    }
}

fn block(
    reader: &Reader<'_>,
    field: &'static str,
    it: &wire::Address,
) -> Result<AddressBlock, Refusal> {
    let address = reader.ip(field, &it.address)?;
    let whole = AddressBlock::single(address);
    let bits = u8::try_from(it.length).ok().filter(|bits| *bits <= whole.prefix_bits);
    let refusal =
        || reader.refusal(field, format!("{address} can't have {} leading bits", it.length));
    Ok(AddressBlock { address, prefix_bits: bits.ok_or_else(refusal)? })
}

fn accounts(them: Vec<wire::ServiceAccountMatch>) -> Vec<ServiceAccount> {
    let them = them.into_iter();
    them.map(|it| ServiceAccount { namespace: it.namespace, name: it.service_account }).collect()
}
