//! `discovery.k8s.io/v1` EndpointSlice.

use std::fmt::{self, Display};

use super::{Meta, quoted, with_meta};

/// An EndpointSlice; [`Display`] writes it as YAML.
#[derive(Clone, Debug)]
pub struct EndpointSlice {
    meta: Meta,
    endpoints: Vec<Endpoint>,
    ports: Vec<(String, u16, &'static str)>,
}

#[derive(Clone, Debug)]
struct Endpoint {
    address: String,
    ready: bool,
    zone: String,
    node: String,
    pod: Option<String>,
}

/// The slice of a service: (address, ready, zone, node) of each endpoint; an empty zone or node is
/// left out. It is named `<service>-v4` or `<service>-v6` after its addresses.
pub fn endpoint_slice<A: Display>(
    service: &str,
    endpoints: impl IntoIterator<Item = (A, bool, &'static str, &'static str)>,
) -> EndpointSlice {
    let endpoints = endpoints.into_iter().map(|(address, ready, zone, node)| Endpoint {
        address: address.to_string(),
        ready,
        zone: zone.to_owned(),
        node: node.to_owned(),
        pod: None,
    });
    let mut slice =
        EndpointSlice { meta: Meta::new(""), endpoints: endpoints.collect(), ports: Vec::new() };
    slice.meta.name = format!("{service}-{}", if slice.is_v6() { "v6" } else { "v4" });
    slice.label("kubernetes.io/service-name", service)
}

with_meta!(EndpointSlice);

impl EndpointSlice {
    /// Another object name: a service may have several slices.
    pub fn name(mut self, name: &str) -> Self {
        self.meta.name = name.to_owned();
        self
    }

    /// A TCP port of the endpoints, with the name of the service's port.
    pub fn port(mut self, name: &str, number: u16) -> Self {
        self.ports.push((name.to_owned(), number, "TCP"));
        self
    }

    /// A UDP port.
    pub fn udp_port(mut self, name: &str, number: u16) -> Self {
        self.ports.push((name.to_owned(), number, "UDP"));
        self
    }

    /// `targetRef`: the pod that is the endpoint with this address.
    pub fn pod(mut self, address: impl Display, pod: &str) -> Self {
        let address = address.to_string();
        for endpoint in self.endpoints.iter_mut().filter(|e| e.address == address) {
            endpoint.pod = Some(pod.to_owned());
        }
        self
    }

    fn is_v6(&self) -> bool {
        self.endpoints.first().is_some_and(|e| e.address.contains(':'))
    }
}

impl Display for EndpointSlice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice";
        let family = if self.is_v6() { "IPv6" } else { "IPv4" };
        write!(f, "{kind}\n{}addressType: {family}\n", self.meta)?;
        writeln!(f, "ports:{}", if self.ports.is_empty() { " []" } else { "" })?;
        for (name, number, protocol) in &self.ports {
            let name = quoted(name);
            writeln!(f, "  - name: {name}\n    protocol: {protocol}\n    port: {number}")?;
        }
        writeln!(f, "endpoints:{}", if self.endpoints.is_empty() { " []" } else { "" })?;
        for endpoint in &self.endpoints {
            writeln!(f, "  - addresses: [{}]", quoted(&endpoint.address))?;
            writeln!(f, "    conditions:\n      ready: {}", endpoint.ready)?;
            for (field, value) in [("zone", &endpoint.zone), ("nodeName", &endpoint.node)] {
                if !value.is_empty() {
                    writeln!(f, "    {field}: {}", quoted(value))?;
                }
            }
            if let Some(pod) = &endpoint.pod {
                let namespace = &self.meta.namespace;
                writeln!(f, "    targetRef:\n      kind: Pod\n      name: {pod}")?;
                writeln!(f, "      namespace: {namespace}")?;
            }
        }
        Ok(())
    }
}
