//! `networking.istio.io/v1` ServiceEntry, WorkloadEntry and DestinationRule.

use std::fmt::{self, Display};

use super::{Meta, pairs_at, quoted, with_meta};

const API: &str = "apiVersion: networking.istio.io/v1\nkind:";

/// A ServiceEntry; [`Display`] writes it as YAML.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    meta: Meta,
    host: String,
    addresses: Vec<String>,
    ports: Vec<(String, u16, &'static str, Option<u16>)>,
    resolution: String,
    endpoints: Vec<(String, u32, String)>,
    selector: Vec<(String, String)>,
}

/// A WorkloadEntry; [`Display`] writes it as YAML.
#[derive(Clone, Debug)]
pub struct WorkloadEntry {
    meta: Meta,
    address: String,
    workload_labels: Vec<(String, String)>,
    ports: Vec<(String, u16)>,
    weight: Option<u32>,
    locality: Option<String>,
    service_account: Option<String>,
}

/// A DestinationRule, for its load balancer; [`Display`] writes it as YAML.
#[derive(Clone, Debug)]
pub struct DestinationRule {
    meta: Meta,
    host: String,
    simple: Option<String>,
    failover: Vec<(String, String)>,
    failover_priority: Vec<String>,
    distribute: Vec<(String, Vec<(String, u32)>)>,
    locality_enabled: Option<bool>,
}

/// A ServiceEntry for one host, inside the mesh, with resolution `STATIC`.
pub fn service_entry(name: &str, host: &str) -> ServiceEntry {
    ServiceEntry {
        meta: Meta::new(name),
        host: host.to_owned(),
        addresses: Vec::new(),
        ports: Vec::new(),
        resolution: "STATIC".to_owned(),
        endpoints: Vec::new(),
        selector: Vec::new(),
    }
}

/// A WorkloadEntry with an address.
pub fn workload_entry(name: &str, address: impl Display) -> WorkloadEntry {
    WorkloadEntry {
        meta: Meta::new(name),
        address: address.to_string(),
        workload_labels: Vec::new(),
        ports: Vec::new(),
        weight: None,
        locality: None,
        service_account: None,
    }
}

/// A DestinationRule for a host.
pub fn destination_rule(name: &str, host: &str) -> DestinationRule {
    DestinationRule {
        meta: Meta::new(name),
        host: host.to_owned(),
        simple: None,
        failover: Vec::new(),
        failover_priority: Vec::new(),
        distribute: Vec::new(),
        locality_enabled: None,
    }
}

with_meta!(ServiceEntry);
with_meta!(WorkloadEntry);
with_meta!(DestinationRule);

// === impl ServiceEntry ===

impl ServiceEntry {
    /// A virtual address.
    pub fn address(mut self, address: impl Display) -> Self {
        self.addresses.push(address.to_string());
        self
    }

    /// A TCP port; `target` is the endpoints' port when it differs.
    pub fn port(mut self, name: &str, number: u16, target: impl Into<Option<u16>>) -> Self {
        self.ports.push((name.to_owned(), number, "TCP", target.into()));
        self
    }

    /// A UDP port.
    pub fn udp_port(mut self, name: &str, number: u16, target: impl Into<Option<u16>>) -> Self {
        self.ports.push((name.to_owned(), number, "UDP", target.into()));
        self
    }

    /// `STATIC`, `NONE` or `DNS`.
    pub fn resolution(mut self, resolution: &str) -> Self {
        self.resolution = resolution.to_owned();
        self
    }

    /// An endpoint written into the entry itself; an empty locality is left out.
    pub fn endpoint(mut self, address: impl Display, weight: u32, locality: &str) -> Self {
        self.endpoints.push((address.to_string(), weight, locality.to_owned()));
        self
    }

    /// A label of the WorkloadEntries that are its endpoints.
    pub fn workload_selector(mut self, key: &str, value: &str) -> Self {
        self.selector.push((key.to_owned(), value.to_owned()));
        self
    }
}

impl Display for ServiceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{API} ServiceEntry\n{}spec:\n", self.meta)?;
        writeln!(f, "  hosts: [{}]", quoted(&self.host))?;
        if !self.addresses.is_empty() {
            writeln!(f, "  addresses:")?;
        }
        for address in &self.addresses {
            writeln!(f, "    - {}", quoted(address))?;
        }
        writeln!(f, "  location: MESH_INTERNAL\n  resolution: {}", self.resolution)?;
        writeln!(f, "  ports:{}", if self.ports.is_empty() { " []" } else { "" })?;
        for (name, number, protocol, target) in &self.ports {
            writeln!(f, "    - name: {}\n      number: {number}", quoted(name))?;
            writeln!(f, "      protocol: {protocol}")?;
            if let Some(target) = target {
                writeln!(f, "      targetPort: {target}")?;
            }
        }
        if !self.selector.is_empty() {
            writeln!(f, "  workloadSelector:")?;
            f.write_str(&pairs_at(4, "labels", &self.selector))?;
        }
        if !self.endpoints.is_empty() {
            writeln!(f, "  endpoints:")?;
        }
        for (address, weight, locality) in &self.endpoints {
            writeln!(f, "    - address: {}\n      weight: {weight}", quoted(address))?;
            if !locality.is_empty() {
                writeln!(f, "      locality: {locality}")?;
            }
        }
        Ok(())
    }
}

// === impl WorkloadEntry ===

impl WorkloadEntry {
    /// A label of the workload, for selectors (`spec.labels`).
    pub fn workload_label(mut self, key: &str, value: &str) -> Self {
        self.workload_labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The workload's own port for a service port of this name.
    pub fn port(mut self, name: &str, number: u16) -> Self {
        self.ports.push((name.to_owned(), number));
        self
    }

    /// Relative weight.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = Some(weight);
        self
    }

    /// `REGION/ZONE/SUBZONE`.
    pub fn locality(mut self, locality: &str) -> Self {
        self.locality = Some(locality.to_owned());
        self
    }

    /// The service account that it runs as.
    pub fn service_account(mut self, name: &str) -> Self {
        self.service_account = Some(name.to_owned());
        self
    }
}

impl Display for WorkloadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{API} WorkloadEntry\n{}spec:\n", self.meta)?;
        writeln!(f, "  address: {}", quoted(&self.address))?;
        f.write_str(&pairs_at(2, "labels", &self.workload_labels))?;
        if !self.ports.is_empty() {
            writeln!(f, "  ports:")?;
        }
        for (name, number) in &self.ports {
            writeln!(f, "    {name}: {number}")?;
        }
        if let Some(weight) = self.weight {
            writeln!(f, "  weight: {weight}")?;
        }
        for (field, value) in
            [("locality", &self.locality), ("serviceAccount", &self.service_account)]
        {
            if let Some(value) = value {
                writeln!(f, "  {field}: {value}")?;
            }
        }
        Ok(())
    }
}

// === impl DestinationRule ===

impl DestinationRule {
    /// `loadBalancer.simple`, such as `RANDOM`.
    pub fn simple(mut self, policy: &str) -> Self {
        self.simple = Some(policy.to_owned());
        self
    }

    /// `localityLbSetting.failover`: from one region to another.
    pub fn failover(mut self, from: &str, to: &str) -> Self {
        self.failover.push((from.to_owned(), to.to_owned()));
        self
    }

    /// `localityLbSetting.failoverPriority`: labels, the first counting most.
    pub fn failover_priority(mut self, labels: &[&str]) -> Self {
        self.failover_priority = labels.iter().map(|label| (*label).to_owned()).collect();
        self
    }

    /// `localityLbSetting.distribute`: percentages for traffic from a locality.
    pub fn distribute(mut self, from: &str, to: &[(&str, u32)]) -> Self {
        let to = to.iter().map(|(place, percent)| ((*place).to_owned(), *percent)).collect();
        self.distribute.push((from.to_owned(), to));
        self
    }

    /// `localityLbSetting.enabled`.
    pub fn locality_enabled(mut self, enabled: bool) -> Self {
        self.locality_enabled = Some(enabled);
        self
    }

    fn has_locality(&self) -> bool {
        self.locality_enabled.is_some()
            || !self.failover.is_empty()
            || !self.failover_priority.is_empty()
            || !self.distribute.is_empty()
    }

    fn write_locality(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "      localityLbSetting:")?;
        if let Some(enabled) = self.locality_enabled {
            writeln!(f, "        enabled: {enabled}")?;
        }
        if !self.failover.is_empty() {
            writeln!(f, "        failover:")?;
        }
        for (from, to) in &self.failover {
            writeln!(f, "          - from: {from}\n            to: {to}")?;
        }
        if !self.failover_priority.is_empty() {
            writeln!(f, "        failoverPriority:")?;
        }
        for label in &self.failover_priority {
            writeln!(f, "          - {}", quoted(label))?;
        }
        if !self.distribute.is_empty() {
            writeln!(f, "        distribute:")?;
        }
        for (from, to) in &self.distribute {
            writeln!(f, "          - from: {}\n            to:", quoted(from))?;
            for (place, percent) in to {
                writeln!(f, "              {}: {percent}", quoted(place))?;
            }
        }
        Ok(())
    }
}

impl Display for DestinationRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{API} DestinationRule\n{}spec:\n", self.meta)?;
        writeln!(f, "  host: {}", self.host)?;
        if self.simple.is_none() && !self.has_locality() {
            return Ok(());
        }
        writeln!(f, "  trafficPolicy:\n    loadBalancer:")?;
        if let Some(simple) = &self.simple {
            writeln!(f, "      simple: {simple}")?;
        }
        if self.has_locality() { self.write_locality(f) } else { Ok(()) }
    }
}
