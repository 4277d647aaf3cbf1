//! `v1` Service.

use std::fmt::{self, Display};

use super::{Meta, pairs_at, quoted, with_meta};

/// A Service; [`Display`] writes it as YAML.
#[derive(Clone, Debug)]
pub struct Service {
    meta: Meta,
    cluster_ips: Vec<String>,
    ports: Vec<Port>,
    selector: Vec<(String, String)>,
    fields: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Port {
    name: String,
    number: u16,
    target: String,
    protocol: &'static str,
}

/// A Service in namespace `default`.
pub fn service(name: &str) -> Service {
    Service {
        meta: Meta::new(name),
        cluster_ips: Vec::new(),
        ports: Vec::new(),
        selector: Vec::new(),
        fields: Vec::new(),
    }
}

with_meta!(Service);

impl Service {
    /// A cluster IP; a second one of the other family makes it dual stack.
    pub fn cluster_ip(mut self, address: impl Display) -> Self {
        self.cluster_ips.push(address.to_string());
        self
    }

    /// `clusterIP: None`.
    pub fn headless(self) -> Self {
        self.cluster_ip("None")
    }

    /// A TCP port; `target` is a number or the name of a port of the endpoints.
    pub fn port(self, name: &str, number: u16, target: impl Display) -> Self {
        self.port_of("TCP", name, number, target)
    }

    /// A UDP port.
    pub fn udp_port(self, name: &str, number: u16, target: impl Display) -> Self {
        self.port_of("UDP", name, number, target)
    }

    /// A label that its pods carry.
    pub fn selector(mut self, key: &str, value: &str) -> Self {
        self.selector.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Any other field of `spec` with a plain value, such as `internalTrafficPolicy: Local`.
    pub fn field(mut self, name: &str, value: impl Display) -> Self {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    fn port_of(
        mut self,
        protocol: &'static str,
        name: &str,
        number: u16,
        target: impl Display,
    ) -> Self {
        let (name, target) = (name.to_owned(), target.to_string());
        self.ports.push(Port { name, number, target, protocol });
        self
    }
}

impl Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "apiVersion: v1\nkind: Service\n{}spec:\n", self.meta)?;
        if let Some(first) = self.cluster_ips.first() {
            writeln!(f, "  clusterIP: {}", quoted(first))?;
            writeln!(f, "  clusterIPs:")?;
            for address in &self.cluster_ips {
                writeln!(f, "    - {}", quoted(address))?;
            }
        }
        for (name, value) in &self.fields {
            writeln!(f, "  {name}: {value}")?;
        }
        f.write_str(&pairs_at(2, "selector", &self.selector))?;
        if !self.ports.is_empty() {
            writeln!(f, "  ports:")?;
        }
        for port in &self.ports {
            writeln!(f, "    - name: {}", quoted(&port.name))?;
            writeln!(f, "      protocol: {}", port.protocol)?;
            writeln!(f, "      port: {}", port.number)?;
            writeln!(f, "      targetPort: {}", port.target)?;
        }
        Ok(())
    }
}
