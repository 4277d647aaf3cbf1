//! `kmeshctl authz`: who may connect to whom, on this node.

use anyhow::bail;
use runtime::api::{AuthzExplanation, AuthzRequest, AuthzSetting, AuthzStatus};
use runtime::client::AdminClient;

use crate::local::no_pods;
use crate::{output, table};

/// Arguments of `authz`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show whether policies are enforced, and what each of them counted
    Status {
        /// Pods of the daemon, which need Kubernetes: not in this build
        #[arg(value_name = "POD", hide = true)]
        pods: Vec<String>,
        /// How to print it
        #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
        output: String,
    },
    /// Enforce policies
    Enable {
        /// As in `status`
        #[arg(value_name = "POD", hide = true)]
        pods: Vec<String>,
    },
    /// Enforce no policy, until they are enabled again: every connection is allowed
    Disable {
        /// As in `status`
        #[arg(value_name = "POD", hide = true)]
        pods: Vec<String>,
    },
    /// Show why a connection is allowed or refused
    Explain {
        /// Who dials: an address, or NAMESPACE/NAME of a workload
        source: String,
        /// What is dialled: ADDRESS:PORT or NAMESPACE/NAME:PORT of a workload of this node; a service has
        /// no policies of its own
        destination: String,
        /// How to print it
        #[arg(short, long, default_value = "table", value_parser = ["table", "json"])]
        output: String,
    },
}

/// Runs `authz`.
pub async fn run(client: &AdminClient, args: Args) -> anyhow::Result<String> {
    match args.verb {
        Verb::Status { pods, .. } | Verb::Enable { pods } | Verb::Disable { pods }
            if !pods.is_empty() =>
        {
            bail!(no_pods(&pods[0]))
        }
        Verb::Status { output, .. } => {
            let status = client.authz().await?;
            if output == "json" { json(&status) } else { Ok(render(&status)) }
        }
        Verb::Enable { .. } => set(client, true).await,
        Verb::Disable { .. } => set(client, false).await,
        Verb::Explain { source, destination, output } => {
            let request = AuthzRequest { from: source, to: destination };
            let explanation = client.explain_authz(&request).await?;
            if output == "json" { json(&explanation) } else { Ok(render_explanation(&explanation)) }
        }
    }
}

async fn set(client: &AdminClient, enable: bool) -> anyhow::Result<String> {
    let status = client.set_authz(AuthzSetting { enable }).await?;
    // The words are those of Kmesh.
    let done = if status.enabled { "enabled" } else { "disabled" };
    Ok(output::line(&format!("Authorization has been {done}.")))
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

fn render(status: &AuthzStatus) -> String {
    let state = match (status.enabled, status.active) {
        (false, _) => "disabled: every connection is allowed",
        (true, false) => "enabled; there is no policy",
        (true, true) => "enabled",
    };
    let mut text = format!(
        "authorization: {state}\nguarded namespaces: {}\nconnections ended: {} (by {})\n",
        status.guarded, status.ended, status.means
    );
    for problem in &status.problems {
        text += &format!("problem: {problem}\n");
    }
    if status.policies.is_empty() {
        return text;
    }
    let rows = status.policies.iter().map(|policy| {
        let dry_run = if policy.dry_run { " (dry run)" } else { "" };
        [
            policy.namespace.clone(),
            policy.name.clone(),
            format!("{}{dry_run}", policy.action),
            policy.allowed.to_string(),
            policy.denied.to_string(),
            policy.observed.to_string(),
        ]
    });
    let columns = ["NAMESPACE", "POLICY", "ACTION", "ALLOWED", "DENIED", "OBSERVED"];
    format!("{text}\n{}", table::render(columns, rows))
}

fn render_explanation(it: &AuthzExplanation) -> String {
    let destination = match it.destination.as_slice() {
        [] => "nobody that is known".to_owned(),
        names => names.join(", "),
    };
    let mut text = format!("{}\nsource: {}\ndestination: {destination}\n", it.question, it.source);
    if !it.policies.is_empty() {
        let rows = it.policies.iter().map(|policy| {
            let dry_run = if policy.dry_run { " (dry run)" } else { "" };
            [
                policy.name.clone(),
                format!("{}{dry_run}", policy.action),
                policy.scope.clone(),
                policy.rule.map_or("none".to_owned(), |rule| format!("rule {rule}")),
            ]
        });
        text += &format!("\n{}", table::render(["POLICY", "ACTION", "SCOPE", "MATCHES"], rows));
    }
    format!("{text}\n{}\n", it.verdict)
}

#[cfg(test)]
mod tests {
    use runtime::api::{ConsideredPolicy, PolicyCounts};

    use super::*;

    #[test]
    fn a_status_names_each_policy_with_its_counts() {
        let status = AuthzStatus {
            enabled: true,
            active: true,
            guarded: 2,
            ended: 1,
            means: "program".into(),
            policies: vec![PolicyCounts {
                namespace: "shop".into(),
                name: "deny".into(),
                action: "DENY".into(),
                dry_run: false,
                allowed: 0,
                denied: 7,
                observed: 0,
            }],
            problems: vec!["shop/web: too many".into()],
        };
        let expected = "authorization: enabled\nguarded namespaces: 2\n\
            connections ended: 1 (by program)\nproblem: shop/web: too many\n\n\
            NAMESPACE   POLICY   ACTION   ALLOWED   DENIED   OBSERVED\n\
            shop        deny     DENY     0         7        0\n";
        assert_eq!(render(&status), expected);
        let off = AuthzStatus::default();
        assert!(render(&off).contains("disabled: every connection is allowed"));
    }

    #[test]
    fn an_explanation_ends_with_the_verdict() {
        let explanation = AuthzExplanation {
            question: "10.0.0.1 dials 10.0.0.2:80".into(),
            source: "cluster.local/ns/a/sa/b".into(),
            destination: vec!["shop/web".into()],
            policies: vec![ConsideredPolicy {
                name: "shop/deny".into(),
                action: "DENY".into(),
                scope: "NAMESPACE".into(),
                dry_run: false,
                rule: Some(0),
            }],
            allowed: false,
            verdict: "refused by rule 0 of shop/deny".into(),
        };
        let expected = "10.0.0.1 dials 10.0.0.2:80\nsource: cluster.local/ns/a/sa/b\n\
            destination: shop/web\n\n\
            POLICY      ACTION   SCOPE       MATCHES\n\
            shop/deny   DENY     NAMESPACE   rule 0\n\n\
            refused by rule 0 of shop/deny\n";
        assert_eq!(render_explanation(&explanation), expected);
    }
}
