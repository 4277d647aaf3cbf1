//! A mesh of any size as a directory of YAML, the same one for the same [`Shape`].
//!
//! | what | how many | where it is |
//! |---|---|---|
//! | Namespaces `ns-<n>` | `namespaces` | `namespaces.yaml` |
//! | Nodes `node-<n>`, in one region of three zones | `nodes` | `nodes.yaml` |
//! | services, in turn in each namespace | `services` | |
//! | - nine of ten a Service `svc-<n>` with a cluster IP, port 80 to 8080, and an EndpointSlice of pods | | `services-<file>.yaml`, `slices-<file>.yaml` |
//! | - every tenth a ServiceEntry `svc-<n>` with an address, that selects WorkloadEntries by label | | `entries-<file>.yaml`, `workloads-<file>.yaml` |
//! | endpoints, each a workload of its own on one of the nodes | `services` times `endpoints` | |
//! | DestinationRules, one for every hundredth service | | `rules.yaml` |
//! | with `datagrams`, the same ports for UDP | | |
//!
//! Objects of `services_per_file` services share a file.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Every so manieth service is a ServiceEntry.
const ENTRY_EVERY: usize = 10;
/// Every so manieth service has a DestinationRule.
const RULE_EVERY: usize = 100;
/// The first address of services.
const FIRST_SERVICE: u32 = u32::from_be_bytes([10, 96, 0, 0]);
/// The first address of endpoints.
const FIRST_ENDPOINT: u32 = u32::from_be_bytes([10, 128, 0, 0]);

/// How large a mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Namespaces.
    pub namespaces: usize,
    /// Nodes.
    pub nodes: usize,
    /// Services of all namespaces.
    pub services: usize,
    /// Endpoints of each service.
    pub endpoints: usize,
    /// Services whose objects are in one file.
    pub services_per_file: usize,
    /// Whether each service has a UDP port beside the TCP port, with the same number.
    pub datagrams: bool,
}

/// A mesh that was written.
#[derive(Clone, Debug)]
pub struct Mesh {
    dir: PathBuf,
    shape: Shape,
}

impl Default for Shape {
    /// 10 000 services and 100 000 workloads.
    fn default() -> Self {
        Self {
            namespaces: 100,
            nodes: 500,
            services: 10_000,
            endpoints: 10,
            services_per_file: 10,
            datagrams: false,
        }
    }
}

impl Shape {
    /// A shape with another number of services and endpoints, everything else in proportion.
    pub fn sized(services: usize, endpoints: usize) -> Self {
        let (namespaces, nodes) = (services.div_ceil(100), services.div_ceil(20));
        Self { namespaces, nodes, services, endpoints, ..Self::default() }
    }

    /// The workloads of all services.
    pub fn workloads(&self) -> usize {
        self.services * self.endpoints
    }
}

impl Mesh {
    /// Writes a mesh into a directory, which is made if need be.
    ///
    /// # Errors
    /// When the directory can't be written.
    pub fn write(dir: &Path, shape: Shape) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mesh = Self { dir: dir.to_owned(), shape };
        let namespaces = (0..shape.namespaces).map(namespace).collect::<String>();
        fs::write(dir.join("namespaces.yaml"), namespaces)?;
        fs::write(dir.join("nodes.yaml"), (0..shape.nodes).map(node).collect::<String>())?;
        let rules = (0..shape.services).step_by(RULE_EVERY);
        let rules = rules.map(|service| mesh.rule(service)).collect::<String>();
        fs::write(dir.join("rules.yaml"), rules)?;
        for file in 0..shape.services.div_ceil(shape.services_per_file) {
            mesh.write_file(file)?;
        }
        Ok(mesh)
    }

    /// Takes an endpoint out of a service, or puts it back, by replacing the file that says so: in one
    /// step, as an editor or kubelet does. Returns the name of that file, relative to the directory.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn set_health(
        &self,
        service: usize,
        endpoint: usize,
        healthy: bool,
    ) -> io::Result<PathBuf> {
        let file = service / self.shape.services_per_file;
        let ill = (!healthy).then_some((service, endpoint));
        let (name, text) = self.endpoints_of(file, is_entry(service), ill);
        let draft = self.dir.with_extension("draft");
        fs::write(&draft, text)?;
        fs::rename(&draft, self.dir.join(&name))?;
        Ok(name)
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a service is dialled, at port 80.
    pub fn service_address(&self, service: usize) -> Ipv4Addr {
        Ipv4Addr::from_bits(FIRST_SERVICE + 1 + service as u32)
    }

    /// Where an endpoint of a service is.
    pub fn endpoint_address(&self, service: usize, endpoint: usize) -> Ipv4Addr {
        let number = service * self.shape.endpoints + endpoint;
        Ipv4Addr::from_bits(FIRST_ENDPOINT + 1 + number as u32)
    }

    fn write_file(&self, file: usize) -> io::Result<()> {
        let services = self.services_of(file, false).map(|number| self.service(number));
        let services = services.collect::<String>();
        fs::write(self.dir.join(format!("services-{file}.yaml")), services)?;
        let (name, text) = self.endpoints_of(file, false, None);
        fs::write(self.dir.join(name), text)?;
        if self.services_of(file, true).next().is_some() {
            let entries = self.services_of(file, true).map(|number| self.entry(number));
            let entries = entries.collect::<String>();
            fs::write(self.dir.join(format!("entries-{file}.yaml")), entries)?;
            let (name, text) = self.endpoints_of(file, true, None);
            fs::write(self.dir.join(name), text)?;
        }
        Ok(())
    }

    /// The file with the endpoints of Services, or with those of ServiceEntries: its name and text.
    fn endpoints_of(
        &self,
        file: usize,
        entries: bool,
        ill: Option<(usize, usize)>,
    ) -> (PathBuf, String) {
        let kind = if entries { "workloads" } else { "slices" };
        let mut text = String::new();
        for number in self.services_of(file, entries) {
            let ill = ill.filter(|(service, _)| *service == number).map(|(_, endpoint)| endpoint);
            let part = if entries { Self::workloads } else { Self::slice };
            text += &part(self, number, ill);
        }
        (PathBuf::from(format!("{kind}-{file}.yaml")), text)
    }

    /// `text`, when there are UDP ports.
    fn for_datagrams(&self, text: &'static str) -> &'static str {
        if self.shape.datagrams { text } else { "" }
    }

    fn services_of(&self, file: usize, entries: bool) -> impl Iterator<Item = usize> {
        let first = file * self.shape.services_per_file;
        let end = (first + self.shape.services_per_file).min(self.shape.services);
        (first..end).filter(move |service| is_entry(*service) == entries)
    }

    fn metadata(&self, service: usize) -> String {
        let namespace = service % self.shape.namespaces;
        format!("metadata:\n  namespace: ns-{namespace}\n  name: svc-{service}")
    }

    fn service(&self, number: usize) -> String {
        let (metadata, address) = (self.metadata(number), self.service_address(number));
        let datagrams = self
            .for_datagrams("  - {name: datagrams, port: 80, targetPort: 8080, protocol: UDP}\n");
        format!(
            "---\napiVersion: v1\nkind: Service\n{metadata}\n  labels:\n    app: app-{number}\nspec:\n  \
             clusterIP: {address}\n  selector:\n    app: app-{number}\n  ports:\n  - name: http\n    \
             port: 80\n    targetPort: 8080\n    protocol: TCP\n{datagrams}"
        )
    }

    fn slice(&self, number: usize, ill: Option<usize>) -> String {
        let metadata = self.metadata(number);
        let datagrams = self.for_datagrams("- {name: datagrams, port: 8080, protocol: UDP}\n");
        let mut text = format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n{metadata}-x7k2p\n  labels:\n    \
             kubernetes.io/service-name: svc-{number}\naddressType: IPv4\nports:\n- name: http\n  \
             port: 8080\n  protocol: TCP\n{datagrams}endpoints:\n"
        );
        for endpoint in 0..self.shape.endpoints {
            let address = self.endpoint_address(number, endpoint);
            let node = self.node_of(number, endpoint);
            let _ = write!(
                text,
                "- addresses: [{address}]\n  conditions: {{ready: {}}}\n  nodeName: node-{node}\n  \
                 zone: zone-{}\n  targetRef: {{kind: Pod, namespace: ns-{}, name: \
                 svc-{number}-5d9c7b8f4-{endpoint}}}\n",
                ill != Some(endpoint),
                node % 3,
                number % self.shape.namespaces,
            );
        }
        text
    }

    fn entry(&self, number: usize) -> String {
        let (metadata, address) = (self.metadata(number), self.service_address(number));
        let datagrams = self
            .for_datagrams("  - {name: datagrams, number: 80, targetPort: 8080, protocol: UDP}\n");
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: ServiceEntry\n{metadata}\nspec:\n  \
             hosts: [svc-{number}.example.com]\n  addresses: [{address}]\n  resolution: STATIC\n  \
             ports:\n  - name: http\n    number: 80\n    targetPort: 8080\n    protocol: TCP\n{datagrams}  \
             workloadSelector:\n    labels:\n      app: app-{number}\n"
        )
    }

    fn workloads(&self, number: usize, ill: Option<usize>) -> String {
        let metadata = self.metadata(number);
        let mut text = String::new();
        for endpoint in 0..self.shape.endpoints {
            let address = self.endpoint_address(number, endpoint);
            let node = self.node_of(number, endpoint);
            let _ = write!(
                text,
                "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n{metadata}-vm-{endpoint}\n  \
                 labels:\n    app: app-{number}\n    kubernetes.io/hostname: node-{node}\nspec:\n  \
                 address: {address}\n  serviceAccount: account-{number}\n"
            );
            if ill == Some(endpoint) {
                text += "status:\n  conditions:\n  - {type: Healthy, status: \"False\"}\n";
            }
        }
        text
    }

    fn rule(&self, number: usize) -> String {
        let (namespace, host) = match is_entry(number) {
            true => (number % self.shape.namespaces, format!("svc-{number}.example.com")),
            false => (number % self.shape.namespaces, format!("svc-{number}")),
        };
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata:\n  namespace: \
             ns-{namespace}\n  name: svc-{number}\nspec:\n  host: {host}\n  trafficPolicy:\n    \
             loadBalancer:\n      simple: LEAST_REQUEST\n"
        )
    }

    fn node_of(&self, service: usize, endpoint: usize) -> usize {
        (service * 7 + endpoint) % self.shape.nodes
    }
}

fn is_entry(service: usize) -> bool {
    service % ENTRY_EVERY == ENTRY_EVERY - 1
}

fn namespace(number: usize) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: ns-{number}\n")
}

fn node(number: usize) -> String {
    let address = Ipv4Addr::from_bits(u32::from_be_bytes([172, 16, 0, 0]) + 1 + number as u32);
    format!(
        "---\napiVersion: v1\nkind: Node\nmetadata:\n  name: node-{number}\n  labels:\n    \
         topology.kubernetes.io/region: region-0\n    topology.kubernetes.io/zone: zone-{}\nstatus:\n  \
         addresses:\n  - type: InternalIP\n    address: {address}\n",
        number % 3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path) -> (resources::Directory, std::sync::Arc<model::Snapshot>) {
        let mut directory =
            resources::Directory::open(dir, resources::Options::default()).expect("opens");
        let update = directory.reload();
        assert!(update.problems.is_empty(), "{:?}", update.problems);
        (directory, update.snapshot)
    }

    #[test]
    fn a_mesh_is_as_large_as_its_shape_says() {
        let shape = Shape::sized(20, 3);
        let dir = tempfile::tempdir().expect("a directory");
        let mesh = Mesh::write(dir.path(), shape).expect("it is written");
        let (mut directory, snapshot) = read(dir.path());
        assert_eq!(snapshot.services.len(), 20);
        assert_eq!(snapshot.workloads.len(), shape.workloads());
        for service in [4, 19] {
            let file = mesh.set_health(service, 1, false).expect("it is written");
            let touched = resources::Touched::Names([file].into());
            let snapshot = directory.refresh(&touched).snapshot;
            let ill = |name: &str| {
                let service = snapshot.services.values().find(|it| it.object_name == name);
                let endpoints = service.map(|it| it.endpoints.as_slice()).unwrap_or_default();
                endpoints.iter().filter(|it| it.health == model::Health::Unhealthy).count()
            };
            assert_eq!(ill(&format!("svc-{service}")), 1);
        }
    }

    #[test]
    fn with_datagrams_every_service_has_two_ports() {
        let dir = tempfile::tempdir().expect("a directory");
        let shape = Shape { datagrams: true, ..Shape::sized(20, 3) };
        Mesh::write(dir.path(), shape).expect("it is written");
        let (_, snapshot) = read(dir.path());
        assert!(snapshot.services.values().all(|service| service.ports.len() == 2));
    }
}
