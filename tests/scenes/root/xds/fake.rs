//! A control plane that says what a scene tells it to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use xds::encode::{Resources, resource};
use xds::server::{self, Served, State};
use xds::wire::workload::{
    NetworkAddress, Port, PortList, Service, Workload, WorkloadStatus, address,
};

use super::super::bench::{PORT, TARGET};

/// Serves on loopback while it lives.
pub struct Fake {
    // Dropped first: the server ends with it.
    _stop: runtime::shutdown::Trigger,
    runtime: Runtime,
    address: SocketAddr,
    resources: watch::Sender<Option<Served>>,
    state: watch::Receiver<State>,
}

impl Fake {
    /// One that has said nothing yet.
    pub fn new() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// As [`Fake::new`], at an address of the caller's choice.
    pub fn at(address: SocketAddr) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = runtime::shutdown::channel();
        let (resources, listening) = watch::channel(None);
        let (state_to, state) = watch::channel(State::default());
        runtime.spawn(server::serve(listener, None, listening, state_to, shutdown));
        Self { _stop: stop, runtime, address, resources, state }
    }

    /// Where it is, for `--xds-address`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says that there are these resources, and no others.
    pub fn say(&self, resources: impl IntoIterator<Item = xds::wire::discovery::Resource>) {
        let addresses = named(resources);
        let served = self.resources.borrow().clone().unwrap_or_default();
        self.resources.send_replace(Some(Served { addresses, ..served }));
    }

    /// What its clients answered.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Is gone at once, as if it had been killed.
    pub fn kill(self) {
        self.runtime.shutdown_background();
    }
}

fn named(resources: impl IntoIterator<Item = xds::wire::discovery::Resource>) -> Resources {
    resources.into_iter().map(|it| (it.name.clone(), Arc::new(it))).collect()
}

/// A Kubernetes Service with one port.
pub fn service(name: &str, vips: &[IpAddr]) -> Service {
    let address = |ip: &IpAddr| NetworkAddress { address: bytes(*ip), ..Default::default() };
    Service {
        name: name.into(),
        namespace: "default".into(),
        hostname: hostname(name),
        addresses: vips.iter().map(address).collect(),
        ports: vec![port()],
        ..Default::default()
    }
}

/// A Pod that serves Services.
pub fn pod(name: &str, addresses: &[IpAddr], services: &[&str]) -> Workload {
    let ports = || PortList { ports: vec![port()] };
    Workload {
        uid: format!("Kubernetes//Pod/default/{name}"),
        name: name.into(),
        namespace: "default".into(),
        addresses: addresses.iter().copied().map(bytes).collect(),
        services: services
            .iter()
            .map(|service| (format!("default/{}", hostname(service)), ports()))
            .collect(),
        status: WorkloadStatus::Healthy.into(),
        cluster_id: "Kubernetes".into(),
        ..Default::default()
    }
}

/// As the resource that it is.
pub fn of_service(service: Service) -> xds::wire::discovery::Resource {
    let name = format!("{}/{}", service.namespace, service.hostname);
    resource(&name, address::Type::Service(service))
}

/// As the resource that it is.
pub fn of_pod(pod: Workload) -> xds::wire::discovery::Resource {
    resource(&pod.uid.clone(), address::Type::Workload(pod))
}

/// A resource whose bytes are no message.
pub fn garbage(name: &str) -> xds::wire::discovery::Resource {
    let mut garbage = resource(name, address::Type::Service(Service::default()));
    let any = garbage.resource.as_mut().unwrap();
    any.value = vec![0xff; 7].into();
    garbage.version = "broken".into();
    garbage
}

fn hostname(service: &str) -> String {
    format!("{service}.default.svc.cluster.local")
}

fn port() -> Port {
    Port { service_port: PORT.into(), target_port: TARGET.into(), ..Default::default() }
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
