//! Where a workload runs, and how far away that is.

use std::fmt;

/// Region, zone and subzone, each empty when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// `topology.kubernetes.io/region`.
    pub region: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: String,
    /// `topology.istio.io/subzone`.
    pub subzone: String,
}

/// Where something runs, which much has in common; empty parts are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Topology {
    /// Region, zone and subzone.
    pub locality: Locality,
    /// Name of its node.
    pub node: String,
    /// Name of its network, empty for the mesh's own.
    pub network: String,
    /// Name of its cluster, empty for the mesh's own.
    pub cluster: String,
}

/// One step of a routing preference, as in `LoadBalancing.Scope` of Istio's workload API. A scope
/// matches when the node's value and the endpoint's are equal and not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Same region.
    Region,
    /// Same region and zone.
    Zone,
    /// Same region, zone and subzone.
    Subzone,
    /// Same node.
    Node,
    /// Same cluster.
    Cluster,
    /// Same network.
    Network,
}

/// `localityLbSetting.distribute` for the node's own locality: how much of the traffic goes where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalityWeights {
    /// The shares; endpoints that no share matches get nothing.
    pub shares: Vec<LocalityShare>,
}

/// One `to` entry of a `distribute` rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityShare {
    /// Which localities; an empty part matches all (the `*` of the Istio syntax).
    pub locality: Locality,
    /// Per cent of the traffic.
    pub weight_percent: u32,
}

impl Locality {
    /// From Istio's `region/zone/subzone`; missing parts stay empty.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        Self {
            region: parts.next().unwrap_or_default(),
            zone: parts.next().unwrap_or_default(),
            subzone: parts.next().unwrap_or_default(),
        }
    }

    /// True when every non-empty part of `self` equals that of `other`.
    pub fn contains(&self, other: &Locality) -> bool {
        (self.region.is_empty() || self.region == other.region)
            && (self.zone.is_empty() || self.zone == other.zone)
            && (self.subzone.is_empty() || self.subzone == other.subzone)
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}/{}/{}", self.region, self.zone, self.subzone);
        f.write_str(text.trim_end_matches('/'))
    }
}

impl Scope {
    /// The name in Istio's workload API and in dumps.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Region => "REGION",
            Scope::Zone => "ZONE",
            Scope::Subzone => "SUBZONE",
            Scope::Node => "NODE",
            Scope::Cluster => "CLUSTER",
            Scope::Network => "NETWORK",
        }
    }
}
