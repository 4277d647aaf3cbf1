//! security.istio.io AuthorizationPolicy
//! (<https://istio.io/latest/docs/reference/config/security/authorization-policy/>).
//!
//! The rules become what istiod makes of them for a proxy at L4
//! (`pilot/pkg/serviceregistry/ambient/authorization.go`): each of `to`, `from` and the conditions is a
//! clause. What is not seen at L4 is left out of a DENY, and an ALLOW loses the whole rule, so that
//! never more is allowed than was meant. A match of which nothing is left matches nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use model::{AddressBlock, Clause, Match, PolicyAction, Rule, ServiceAccount, StringMatch};

use super::istio::Resource;
use super::security as api;
use crate::ObjectKey;
use crate::findings::Findings;
use crate::object::{AuthorizationPolicy, Body};
use crate::values;

/// What makes a policy decide nothing.
const DRY_RUN: &str = "istio.io/dry-run";
/// The longest name of a service account, with its namespace.
const ACCOUNT_CHARS_MAX: usize = 320;
const RULE_DROPPED: &str =
    "the rule matches nothing: a waypoint can enforce it, if the policy names one in targetRefs";
const FIELD_DROPPED: &str = "ignored: more is denied than the policy says";
const MATCH_DROPPED: &str = "nothing is left, and that matches nothing: a waypoint can enforce it, \
                             if the policy names one in targetRefs";

/// Beginnings of keys of conditions that are known, and not seen at L4.
const UNSEEN_KEYS: [&str; 6] = [
    "request.",
    "remote.ip",
    "connection.sni",
    "source.serviceAccount",
    "source.trustDomain",
    "experimental.",
];

pub(super) fn read(
    key: &ObjectKey,
    api: Resource<api::AuthorizationPolicy>,
    findings: &mut Findings,
) -> Option<(ObjectMeta, Body)> {
    let spec = api.spec;
    let action = action(&spec, findings)?;
    let is_dry_run = dry_run(&api.metadata, findings)?;
    let rules = spec.rules.unwrap_or_default();
    if action == PolicyAction::Deny && rules.is_empty() {
        let message = "a DENY without rules denies nothing; `rules: [{}]` denies everything";
        findings.error("spec.rules", message);
    }
    let mut reader = Reader { action, namespace: &key.namespace, findings };
    let rules = rules.into_iter().enumerate().filter_map(|(index, rule)| {
        let field = format!("spec.rules[{index}]");
        match rule {
            Some(rule) => reader.rule(&field, rule),
            None => {
                reader.findings.error(field, "null: write {} for a rule that matches everything");
                None
            }
        }
    });
    let rules = rules.collect();
    let is_for_waypoint = targets(&spec.target_ref, &spec.target_refs, findings);
    if is_for_waypoint && spec.selector.is_some() {
        findings.error("spec.selector", "set together with targetRefs");
    }
    let selector = spec.selector.map(|selector| selector.match_labels).unwrap_or_default();
    let policy = AuthorizationPolicy { is_for_waypoint, selector, action, is_dry_run, rules };
    Some((api.metadata, Body::AuthorizationPolicy(Box::new(policy))))
}

fn action(spec: &api::AuthorizationPolicy, findings: &mut Findings) -> Option<PolicyAction> {
    let action = match spec.action.as_deref() {
        None | Some("ALLOW") => PolicyAction::Allow,
        Some("DENY") => PolicyAction::Deny,
        Some("AUDIT") => PolicyAction::Audit,
        Some("CUSTOM") => {
            let message = "CUSTOM asks an external authorizer about each request, \
                           which a proxy does and the kernel can't";
            findings.error("spec.action", message);
            return None;
        }
        Some(other) => {
            let message = format!("{other:?} is not one of ALLOW, DENY, AUDIT, CUSTOM");
            findings.error("spec.action", message);
            return None;
        }
    };
    if spec.provider.is_some() {
        findings.error("spec.provider", "set, and the action is not CUSTOM");
    }
    Some(action)
}

/// As Go reads a boolean, which is how istiod does.
fn dry_run(metadata: &ObjectMeta, findings: &mut Findings) -> Option<bool> {
    let text = metadata.annotations.as_ref().and_then(|them| them.get(DRY_RUN));
    match text.map(String::as_str) {
        None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => Some(false),
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Some(true),
        Some(other) => {
            let field = format!("metadata.annotations.{DRY_RUN}");
            findings.error(field, format!("{other:?} is not true or false"));
            None
        }
    }
}

/// Is the policy for a waypoint?
fn targets<T>(one: &Option<T>, several: &Option<Vec<T>>, findings: &mut Findings) -> bool {
    let field = match (one, several.as_ref().is_some_and(|them| !them.is_empty())) {
        (_, true) => "spec.targetRefs",
        (Some(_), false) => "spec.targetRef",
        (None, false) => return false,
    };
    findings.warning(field, "enforced at a waypoint", "the policy has no effect at L4");
    true
}

/// Reads the rules of one policy.
struct Reader<'a> {
    action: PolicyAction,
    namespace: &'a str,
    findings: &'a mut Findings,
}

/// What a part of a rule became.
struct Read {
    clause: Clause,
    /// Something of it is not seen at L4.
    is_partial: bool,
}

impl Reader<'_> {
    /// The rule; none for one of which too much is not seen.
    fn rule(&mut self, field: &str, rule: api::Rule) -> Option<Rule> {
        let mut parts = Vec::new();
        parts.extend(rule.to.map(|them| self.operations(&format!("{field}.to"), them)));
        parts.extend(rule.from.map(|them| self.sources(&format!("{field}.from"), them)));
        for (index, condition) in rule.when.into_iter().enumerate() {
            parts.push(self.condition(&format!("{field}.when[{index}]"), condition));
        }
        let is_partial = parts.iter().any(|part| part.is_partial);
        let clauses = parts.into_iter().map(|part| part.clause).collect();
        (self.action == PolicyAction::Deny || !is_partial).then_some(Rule { clauses })
    }

    fn operations(&mut self, field: &str, them: Vec<api::To>) -> Read {
        self.refuse_empty(field, &them);
        let mut read = Read { clause: Clause::default(), is_partial: false };
        for (index, to) in them.into_iter().enumerate() {
            let field = format!("{field}[{index}].operation");
            let Some(operation) = to.operation else {
                self.findings.error(field, "missing");
                continue;
            };
            let ports = self.ports(&format!("{field}.ports"), &operation.ports);
            let not_ports = self.ports(&format!("{field}.notPorts"), &operation.not_ports);
            let it = Match {
                destination_ports: ports,
                not_destination_ports: not_ports,
                ..Match::default()
            };
            let unseen: Vec<_> = operation.unseen().collect();
            self.take(&field, it, &unseen, &mut read);
        }
        read
    }

    fn sources(&mut self, field: &str, them: Vec<api::From>) -> Read {
        self.refuse_empty(field, &them);
        let mut read = Read { clause: Clause::default(), is_partial: false };
        for (index, from) in them.into_iter().enumerate() {
            let field = format!("{field}[{index}].source");
            let Some(source) = from.source else {
                self.findings.error(field, "missing");
                continue;
            };
            let it = self.source(&field, &source);
            let unseen: Vec<_> = source.unseen().collect();
            self.take(&field, it, &unseen, &mut read);
        }
        read
    }

    fn source(&mut self, field: &str, it: &api::Source) -> Match {
        let has_account = !(it.service_accounts.is_empty() && it.not_service_accounts.is_empty());
        let others = [&it.principals, &it.not_principals, &it.namespaces, &it.not_namespaces];
        if has_account && others.iter().any(|them| !them.is_empty()) {
            let message = "set together with principals or namespaces";
            self.findings.error(format!("{field}.serviceAccounts"), message);
        }
        let at = |name: &str| format!("{field}.{name}");
        Match {
            namespaces: self.texts(&at("namespaces"), &it.namespaces),
            not_namespaces: self.texts(&at("notNamespaces"), &it.not_namespaces),
            principals: self.texts(&at("principals"), &it.principals),
            not_principals: self.texts(&at("notPrincipals"), &it.not_principals),
            source_ips: self.blocks(&at("ipBlocks"), &it.ip_blocks),
            not_source_ips: self.blocks(&at("notIpBlocks"), &it.not_ip_blocks),
            service_accounts: self.accounts(&at("serviceAccounts"), &it.service_accounts),
            not_service_accounts: self
                .accounts(&at("notServiceAccounts"), &it.not_service_accounts),
            ..Match::default()
        }
    }

    fn condition(&mut self, field: &str, it: api::Condition) -> Read {
        let mut read = Read { clause: Clause::default(), is_partial: false };
        if it.values.is_empty() && it.not_values.is_empty() {
            self.findings.error(field, "neither values nor notValues");
        }
        let (yes, no) = (format!("{field}.values"), format!("{field}.notValues"));
        let mut out = Match::default();
        let mut unseen = Vec::new();
        match it.key.as_str() {
            "source.ip" => {
                out.source_ips = self.blocks(&yes, &it.values);
                out.not_source_ips = self.blocks(&no, &it.not_values);
            }
            "source.namespace" => {
                out.namespaces = self.texts(&yes, &it.values);
                out.not_namespaces = self.texts(&no, &it.not_values);
            }
            "source.principal" => {
                out.principals = self.texts(&yes, &it.values);
                out.not_principals = self.texts(&no, &it.not_values);
            }
            "destination.ip" => {
                out.destination_ips = self.blocks(&yes, &it.values);
                out.not_destination_ips = self.blocks(&no, &it.not_values);
            }
            "destination.port" => {
                out.destination_ports = self.ports(&yes, &it.values);
                out.not_destination_ports = self.ports(&no, &it.not_values);
            }
            key if UNSEEN_KEYS.iter().any(|start| key.starts_with(start)) => unseen.push("key"),
            other => {
                let message = format!("{other:?} is not an attribute that conditions know");
                self.findings.error(format!("{field}.key"), message);
            }
        }
        self.take(field, out, &unseen, &mut read);
        read
    }

    /// Enters a match, with what of it is not seen at L4.
    fn take(&mut self, field: &str, it: Match, unseen: &[&str], read: &mut Read) {
        let is_empty = it == Match::default();
        if is_empty && unseen.is_empty() && !self.findings.has_errors() {
            self.findings.error(field, "nothing is set in it");
        }
        let consequence = match (self.action, is_empty) {
            (PolicyAction::Deny, false) => FIELD_DROPPED,
            (PolicyAction::Deny, true) => MATCH_DROPPED,
            _ => RULE_DROPPED,
        };
        for name in unseen {
            self.findings.warning(format!("{field}.{name}"), "not seen at L4", consequence);
        }
        read.is_partial |= !unseen.is_empty();
        read.clause.matches.push(it);
    }

    fn refuse_empty<T>(&mut self, field: &str, them: &[T]) {
        if them.is_empty() {
            self.findings.error(field, "empty");
        }
    }

    /// Each text, or an error at its place.
    fn each<T>(
        &mut self,
        field: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let texts = texts.iter().enumerate();
        texts
            .filter_map(|(at, text)| self.findings.take(format!("{field}[{at}]"), read(text)))
            .collect()
    }

    fn texts(&mut self, field: &str, texts: &[String]) -> Vec<StringMatch> {
        self.each(field, texts, string_match)
    }

    fn ports(&mut self, field: &str, texts: &[String]) -> Vec<u16> {
        let wrong = |text: &str| format!("{text:?} is not a port number (0 to 65535)");
        self.each(field, texts, |text| text.parse().map_err(|_| wrong(text)))
    }

    fn blocks(&mut self, field: &str, texts: &[String]) -> Vec<AddressBlock> {
        self.each(field, texts, values::any_block)
    }

    fn accounts(&mut self, field: &str, texts: &[String]) -> Vec<ServiceAccount> {
        let namespace = self.namespace;
        self.each(field, texts, |text| account(namespace, text))
    }
}

/// `*` for anything, `*` at one end for what begins or ends with the rest.
fn string_match(text: &str) -> Result<StringMatch, String> {
    if text.is_empty() {
        return Err("empty".to_owned());
    }
    Ok(match (text, text.strip_prefix('*'), text.strip_suffix('*')) {
        ("*", _, _) => StringMatch::Presence,
        (_, Some(end), _) => StringMatch::Suffix(end.to_owned()),
        (_, None, Some(start)) => StringMatch::Prefix(start.to_owned()),
        (_, None, None) => StringMatch::Exact(text.to_owned()),
    })
}

/// `NAME`, of the policy's own namespace, or `NAMESPACE/NAME`.
fn account(own: &str, text: &str) -> Result<ServiceAccount, String> {
    let (namespace, name) = text.split_once('/').unwrap_or((own, text));
    let is_well_formed = !namespace.is_empty()
        && !name.is_empty()
        && !name.contains('/')
        && !text.contains('*')
        && text.len() <= ACCOUNT_CHARS_MAX;
    if !is_well_formed {
        return Err(format!("{text:?} is not a service account (NAME or NAMESPACE/NAME)"));
    }
    Ok(ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() })
}
