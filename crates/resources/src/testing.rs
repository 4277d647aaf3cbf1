//! What the tests of this crate share: files as text, and problems as text.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use model::{Service, ServiceName, Snapshot};

use crate::{FileContent, Options, Problem, Severity, Store};

/// A store, and the snapshot of it.
pub(crate) struct Mesh {
    pub(crate) store: Store,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) problems: Vec<Problem>,
}

impl Mesh {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self::with_options(Options::default(), files)
    }

    pub(crate) fn with_options(options: Options, files: &[(&str, &str)]) -> Self {
        let mut mesh =
            Self { store: Store::new(options), snapshot: Arc::default(), problems: Vec::new() };
        mesh.apply(files);
        mesh
    }

    /// Makes these the files of the directory.
    pub(crate) fn apply(&mut self, files: &[(&str, &str)]) {
        let update = self.store.apply(&contents(files));
        self.snapshot = update.snapshot;
        self.problems = update.problems.to_vec();
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.store.registry().in_force().keys().map(ToString::to_string).collect()
    }

    /// `object: field: message; consequence` of each error.
    pub(crate) fn errors(&self) -> Vec<String> {
        self.of(Severity::Error)
    }

    pub(crate) fn of(&self, severity: Severity) -> Vec<String> {
        let problems = self.problems.iter().filter(|problem| problem.severity == severity);
        problems.map(Problem::to_string).collect()
    }

    /// The service of a host in namespace `default`.
    pub(crate) fn service(&self, host: &str) -> &Service {
        &self.snapshot.services[&ServiceName::new("default", host)]
    }

    /// Its endpoints, one line each: `address port->target ... [health] [weight] [locality]`; those
    /// that must be resolved come last and have a name in the place of the address.
    pub(crate) fn endpoints(&self, host: &str) -> Vec<String> {
        let service = self.service(host);
        let known = service.endpoints.iter().map(endpoint_text);
        let unresolved = service.unresolved.iter().map(|unresolved| {
            let nowhere = std::net::IpAddr::from([0; 4]);
            let text = endpoint_text(&unresolved.at(nowhere));
            let first = if unresolved.first_address_only { " first" } else { "" };
            text.replacen(&nowhere.to_string(), &unresolved.hostname, 1) + first
        });
        known.chain(unresolved).collect()
    }

    /// The addresses of a service.
    pub(crate) fn addresses(&self, host: &str) -> Vec<String> {
        self.service(host).addresses.iter().map(ToString::to_string).collect()
    }
}

/// Files as the store takes them.
pub(crate) fn contents(files: &[(&str, &str)]) -> BTreeMap<PathBuf, FileContent> {
    let contents = files.iter().map(|(name, text)| {
        let content = match text.strip_prefix("UNREADABLE ") {
            Some(message) => FileContent::Unreadable(message.to_owned()),
            None => FileContent::from_bytes(text.as_bytes().to_vec()),
        };
        (PathBuf::from(name), content)
    });
    contents.collect()
}

fn endpoint_text(endpoint: &model::Endpoint) -> String {
    let mut text = endpoint.address.to_string();
    for ((port, protocol), target) in &*endpoint.target_ports {
        let protocol = if *protocol == model::Protocol::Udp { "/udp" } else { "" };
        text.push_str(&format!(" {port}{protocol}->{target}"));
    }
    if endpoint.health != model::Health::Healthy {
        text.push_str(&format!(" {:?}", endpoint.health));
    }
    if endpoint.weight != 1 {
        text.push_str(&format!(" weight={}", endpoint.weight));
    }
    let locality = &endpoint.topology.locality;
    if *locality != model::Locality::default() {
        text.push_str(&format!(" {locality}"));
    }
    if let Some(workload) = &endpoint.workload {
        text.push_str(&format!(" {}", workload.name));
    }
    text
}

/// A Service of namespace `default` with one address and port 80.
pub(crate) fn service(name: &str, address: &str) -> String {
    format!(
        "---\n\
         apiVersion: v1\n\
         kind: Service\n\
         metadata: {{name: {name}}}\n\
         spec: {{clusterIP: \"{address}\", selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    )
}

/// A ServiceEntry of namespace `default` with one address and port.
pub(crate) fn service_entry(name: &str, address: &str, port: u16) -> String {
    format!(
        "---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: ServiceEntry\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           hosts: [{name}.example.com]\n  \
           addresses: [\"{address}\"]\n  \
           ports: [{{number: {port}, name: tcp, protocol: TCP}}]\n  \
           resolution: STATIC\n"
    )
}

/// A WorkloadEntry of namespace `default`, labelled `app: <app>`.
pub(crate) fn workload_entry(name: &str, app: &str, more: &str) -> String {
    format!(
        "---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: WorkloadEntry\n\
         metadata: {{name: {name}}}\n\
         spec: {{labels: {{app: {app}}}, {more}}}\n"
    )
}

/// A DestinationRule of namespace `default`.
pub(crate) fn destination_rule(name: &str, host: &str, load_balancer: &str) -> String {
    format!(
        "---\n\
         apiVersion: networking.istio.io/v1\n\
         kind: DestinationRule\n\
         metadata: {{name: {name}}}\n\
         spec: {{host: \"{host}\", trafficPolicy: {{loadBalancer: {load_balancer}}}}}\n"
    )
}
