//! `kmeshctl enroll` and `kmeshctl unenroll`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use runtime::api::{DnsCapture, EnrolRequest, Enrolment, UnenrolRequest};
use runtime::client::AdminClient;

/// Arguments of `enroll`.
#[derive(Debug, clap::Args)]
pub struct EnrollArgs {
    #[command(flatten)]
    namespace: Namespace,
    /// Workload that lives in it
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = parse_workload)]
    workload: Option<String>,
    /// DNS server whose queries the DNS proxy answers, instead of those of resolv.conf; up to three times
    #[arg(long, value_name = "IP", conflicts_with = "dns")]
    resolver: Vec<IpAddr>,
    /// Leave the namespace's DNS queries alone: off
    #[arg(long, value_name = "WHICH", value_parser = ["auto", "off"], default_value = "auto")]
    dns: String,
    /// Take the host's own namespace, too: every process of the host that has no namespace of its
    /// own is then in the mesh
    #[arg(long)]
    host: bool,
}

/// One of the two ways to name a network namespace.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Namespace {
    /// Path of the network namespace, such as /run/netns/a
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// Process whose network namespace it is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

/// Arguments of `unenroll`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct UnenrollArgs {
    /// Path of the network namespace, such as /run/netns/a
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// Process whose network namespace it is
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Cookie of the network namespace, from `kmeshctl status`: for one whose path is gone
    #[arg(long, value_name = "N")]
    cookie: Option<u64>,
}

/// Runs `enroll`.
pub async fn run_enroll(client: &AdminClient, args: EnrollArgs) -> anyhow::Result<String> {
    let netns = path(args.namespace.netns.as_deref(), args.namespace.pid)?
        .context("name --netns or --pid")?;
    let dns = capture(&args);
    let request = EnrolRequest {
        netns,
        workload: args.workload,
        dns,
        resolvers: args.resolver,
        host: args.host,
    };
    Ok(render("enrolled", &client.enrol(&request).await?))
}

/// Runs `unenroll`.
pub async fn run_unenroll(client: &AdminClient, args: UnenrollArgs) -> anyhow::Result<String> {
    let netns = path(args.netns.as_deref(), args.pid)?;
    let request = UnenrolRequest { netns, netns_cookie: args.cookie };
    Ok(render("no longer enrolled:", &client.unenrol(&request).await?))
}

fn capture(args: &EnrollArgs) -> DnsCapture {
    match (args.dns.as_str(), args.resolver.as_slice()) {
        ("off", _) => DnsCapture::Off,
        (_, []) => DnsCapture::Auto,
        _ => DnsCapture::Given,
    }
}

/// The namespace's absolute path: the daemon has another working directory.
fn path(netns: Option<&Path>, pid: Option<u32>) -> anyhow::Result<Option<String>> {
    let Some(netns) = netns else {
        return Ok(pid.map(|pid| format!("/proc/{pid}/ns/net")));
    };
    let absolute = std::path::absolute(netns)
        .with_context(|| format!("cannot make {} absolute", netns.display()))?;
    let text = absolute.to_str().with_context(|| format!("{absolute:?} is not UTF-8"))?;
    Ok(Some(text.to_owned()))
}

fn parse_workload(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name))
            if !namespace.is_empty() && !name.is_empty() && !name.contains('/') =>
        {
            Ok(text.to_owned())
        }
        _ => Err("it should be NAMESPACE/NAME, such as shop/web-1".to_owned()),
    }
}

fn render(what: &str, enrolment: &Enrolment) -> String {
    let workload = match &enrolment.workload {
        Some(workload) => format!(", workload {workload}"),
        None => String::new(),
    };
    format!("{what} {} (cookie {}{workload})\n", enrolment.netns, enrolment.netns_cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_named_by_an_absolute_path() {
        let named = |text: &str| path(Some(Path::new(text)), None).expect("a path");
        assert_eq!(named("/run/netns/a").as_deref(), Some("/run/netns/a"));
        let here = std::env::current_dir().expect("cwd").join("a");
        assert_eq!(named("a").as_deref(), here.to_str());
        assert_eq!(path(None, Some(7)).expect("a pid").as_deref(), Some("/proc/7/ns/net"));
        assert_eq!(path(None, None).expect("nothing"), None);
    }

    #[test]
    fn resolvers_that_are_named_take_the_place_of_the_namespaces_own() {
        let args = |dns: &str, resolver: Vec<IpAddr>| EnrollArgs {
            host: false,
            namespace: Namespace { netns: None, pid: Some(1) },
            workload: None,
            resolver,
            dns: dns.to_owned(),
        };
        assert_eq!(capture(&args("auto", vec![])), DnsCapture::Auto);
        assert_eq!(capture(&args("auto", vec![[10, 96, 0, 10].into()])), DnsCapture::Given);
        assert_eq!(capture(&args("off", vec![])), DnsCapture::Off);
    }

    #[test]
    fn a_workload_has_a_namespace_and_a_name() {
        assert_eq!(parse_workload("shop/web-1"), Ok("shop/web-1".to_owned()));
        for text in ["web", "/web", "shop/", "a/b/c", ""] {
            assert!(parse_workload(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_result_is_one_line() {
        let mut enrolment =
            Enrolment { netns_cookie: 4, netns: "/run/netns/a".into(), ..Enrolment::default() };
        let line = render("no longer enrolled:", &enrolment);
        assert_eq!(line, "no longer enrolled: /run/netns/a (cookie 4)\n");
        enrolment.workload = Some("shop/web".into());
        let line = render("enrolled", &enrolment);
        assert_eq!(line, "enrolled /run/netns/a (cookie 4, workload shop/web)\n");
    }
}
