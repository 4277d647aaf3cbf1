//! The command line. Flags that Kmesh's daemon has keep their names and meanings.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use abi::limits::{self, Limits};
use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use model::{Locality, Node};
use runtime::{api, logging};

use crate::kubernetes::KubernetesArgs;

/// Long enough for a client that has something to say, short beside the time that a person notices.
const WAYPOINT_SILENCE_MS: u64 = 20;

/// Sidecarless service mesh in the Linux kernel: the daemon of one node.
#[derive(Debug, Parser)]
#[command(name = "kmesh-daemon", version, args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What to do; without it the daemon runs.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Directory of Kubernetes and Istio YAML; watched for changes.
    #[arg(long, env = "KMESH_CONFIG_DIR", conflicts_with = "address")]
    pub config_dir: Option<PathBuf>,
    /// A control plane in the place of a directory.
    #[command(flatten)]
    pub xds: XdsArgs,
    /// Which data path to run.
    #[arg(long, value_enum, default_value_t = Mode::DualEngine)]
    pub mode: Mode,
    /// The bpf file system, or a directory in one; mounted when nothing is.
    #[arg(long, global = true, default_value = "/sys/fs/bpf")]
    pub bpf_fs_path: PathBuf,
    /// The cgroup v2 directory to attach to; by default the one in the mount table.
    #[arg(long, global = true)]
    pub cgroup2_path: Option<PathBuf>,
    /// Where the daemon keeps what must outlive it: which namespaces are enrolled.
    #[arg(long, default_value = "/run/kmesh")]
    pub state_dir: PathBuf,
    /// The admin API's Unix socket, for root alone.
    #[arg(long, default_value = api::DEFAULT_SOCKET)]
    pub admin_socket: PathBuf,
    /// The admin API's read-only TCP address, or `none`.
    #[arg(long, default_value = api::DEFAULT_TCP)]
    pub status_addr: StatusAddr,
    /// Name of this node, as in `nodeName` of an EndpointSlice.
    #[arg(long, env = "NODE_NAME", default_value = "")]
    pub node_name: String,
    /// Where this node is: REGION/ZONE/SUBZONE. By default as the labels of the Node object of that
    /// name say.
    #[arg(long, env = "KMESH_LOCALITY", default_value = "")]
    pub locality: String,
    /// An address of this node, where node ports are dialled; may be given several times. By default
    /// those of the Node object of that name.
    #[arg(long)]
    pub node_address: Vec<IpAddr>,
    /// What happens to destinations that nothing in the mesh names.
    #[arg(long, value_enum, default_value_t = OutboundPolicy::AllowAny)]
    pub outbound_policy: OutboundPolicy,
    /// Network of this node, empty for the mesh's own.
    #[arg(long, env = "ISTIO_META_NETWORK", default_value = "")]
    pub network: String,
    /// DNS domain of the cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", global = true, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Name of the cluster, the first part of a workload's uid.
    #[arg(long, env = "CLUSTER_ID", global = true, default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Namespace whose policies are for the whole mesh.
    #[arg(long, env = "ROOT_NAMESPACE", global = true, default_value = "istio-system")]
    pub root_namespace: String,
    /// Trust domain of the mesh, in which workloads of the directory have their identities.
    #[arg(long, env = "TRUST_DOMAIN", global = true, default_value = "cluster.local")]
    pub trust_domain: String,
    /// Answer the DNS queries of enrolled namespaces: names of the mesh here, the others by the resolvers
    /// that they were sent to.
    #[arg(long, env = "KMESH_ENABLE_DNS_PROXY", default_value_t = true, action = ArgAction::Set)]
    pub dns_proxy: bool,
    /// The node's resolv.conf: for host names of endpoints, and for namespaces without one.
    #[arg(long, default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// Where waypoints listen for connections that begin with a header.
    #[arg(long, env = "KMESH_WAYPOINT_PORT", default_value_t = abi::waypoint::PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub waypoint_port: u16,
    /// How long a client of a waypoint may be silent before the header is sent for it, in
    /// milliseconds.
    #[arg(long, default_value_t = WAYPOINT_SILENCE_MS, value_parser = clap::value_parser!(u64).range(1..))]
    pub waypoint_silence_ms: u64,
    /// How much is logged at start: error, warn, info, debug or trace.
    #[arg(long, default_value = "info", value_parser = logging::Level::from_str)]
    pub log_level: logging::Level,
    /// Sizes of the maps.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Enrolment of pods by their labels.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
}

/// What to do instead of running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what is wrong with a directory of configuration, without running; exits 1 on an error.
    Check {
        /// The directory.
        dir: PathBuf,
    },
    /// Say what the product needs from this machine and whether it is there; exits 1 if not.
    Probe,
    /// Remove every program, map and link, and the CNI plugin in a pod of the cluster or with --install-cni on:
    /// traffic goes on as if there were no mesh.
    Uninstall,
    /// Print build information.
    Version,
}

/// Data paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// L4 in the kernel, L7 in a waypoint.
    DualEngine,
}

/// `outboundTrafficPolicy.mode` of Istio's mesh configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutboundPolicy {
    /// They are left alone.
    AllowAny,
    /// They are refused.
    RegistryOnly,
}

/// Where the read-only port listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusAddr(pub Option<SocketAddr>);

/// Sizes of the maps; docs/limits.md says what happens at each.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// Network namespaces that can be enrolled.
    #[arg(long, default_value_t = limits::ENROLMENTS_MAX)]
    enrolments_max: u32,
    /// (address, port, protocol) triples that can be dialled.
    #[arg(long, default_value_t = limits::FRONTENDS_MAX)]
    frontends_max: u32,
    /// Service ports, counted once for each address family.
    #[arg(long, default_value_t = limits::TABLES_MAX)]
    tables_max: u32,
    /// Slots of all service ports, old and new side by side during a change.
    #[arg(long, default_value_t = limits::SLOTS_MAX)]
    slots_max: u32,
    /// Distinct endpoint addresses.
    #[arg(long, default_value_t = limits::BACKENDS_MAX)]
    backends_max: u32,
    /// Sockets of enrolled namespaces: TCP connections and connected datagram sockets.
    #[arg(long, default_value_t = limits::SOCKETS_MAX)]
    sockets_max: u32,
    /// Datagram flows of unconnected sockets.
    #[arg(long, default_value_t = limits::UDP_FLOWS_MAX)]
    udp_flows_max: u32,
    /// Clients with session affinity.
    #[arg(long, default_value_t = limits::AFFINITIES_MAX)]
    affinities_max: u32,
    /// CIDR blocks of ServiceEntries.
    #[arg(long, default_value_t = limits::NETWORKS_MAX)]
    networks_max: u32,
    /// DNS servers of all enrolled namespaces.
    #[arg(long, default_value_t = limits::RESOLVERS_MAX)]
    resolvers_max: u32,
    /// Size of the event ring in bytes, a power of two.
    #[arg(long, default_value_t = limits::EVENT_RING_BYTES)]
    event_ring_bytes: u32,
    /// Connections to waypoints whose first bytes are not acknowledged yet.
    #[arg(long, default_value_t = limits::WAYPOINT_SOCKETS_MAX)]
    waypoint_sockets_max: u32,
    /// Size of the ring of connections that may need a header in bytes, a power of two.
    #[arg(long, default_value_t = limits::HEADER_RING_BYTES)]
    header_ring_bytes: u32,
    /// Distinct lists of policies that apply to a workload, old and new side by side during a change.
    #[arg(long, default_value_t = limits::AUTHZ_SETS_MAX)]
    authz_sets_max: u32,
    /// Words of all rows of authorization, 64 terms each.
    #[arg(long, default_value_t = limits::AUTHZ_WORDS_MAX)]
    authz_words_max: u32,
    /// Identities and ports that policies name, counted once for each set.
    #[arg(long, default_value_t = limits::AUTHZ_ROWS_MAX)]
    authz_rows_max: u32,
    /// CIDR blocks that policies name, counted once for each set.
    #[arg(long, default_value_t = limits::AUTHZ_BLOCKS_MAX)]
    authz_blocks_max: u32,
    /// Terms of all sets: what rules of policies become.
    #[arg(long, default_value_t = limits::AUTHZ_TERMS_MAX)]
    authz_terms_max: u32,
    /// Policies.
    #[arg(long, default_value_t = limits::AUTHZ_POLICIES_MAX)]
    authz_policies_max: u32,
    /// Addresses whose owner is known.
    #[arg(long, default_value_t = limits::AUTHZ_SOURCES_MAX)]
    authz_sources_max: u32,
    /// Addresses of workloads of this node, to which connections are judged.
    #[arg(long, default_value_t = limits::AUTHZ_DESTINATIONS_MAX)]
    authz_destinations_max: u32,
    /// Frontends that one system call writes or removes.
    #[arg(long, default_value_t = limits::MAP_BATCH_ENTRIES, value_parser = clap::value_parser!(u32).range(1..))]
    map_batch_entries: u32,
}

/// The control plane, and who this node is for it. Names and defaults are those of Kmesh's DaemonSet.
#[derive(Debug, clap::Args)]
pub struct XdsArgs {
    /// Address of the control plane: HOST:PORT for TLS, http://HOST:PORT without.
    #[arg(id = "address", long = "xds-address", env = "XDS_ADDRESS", value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The name in the control plane's certificate, where it is not the host that is dialled.
    #[arg(long = "xds-server-name", env = "XDS_SERVER_NAME")]
    pub server_name: Option<String>,
    /// Certificate that the control plane's is signed by; read at each connection.
    #[arg(long = "xds-root-cert", env = "XDS_ROOT_CERT", default_value = xds::client::DEFAULT_ROOT_CERT)]
    pub root_cert: PathBuf,
    /// Token that goes with each stream, or `none`; read at each connection.
    #[arg(long = "xds-token", env = "XDS_TOKEN", default_value = xds::client::DEFAULT_TOKEN)]
    pub token: PathBuf,
    /// Name of this pod.
    #[arg(long, env = "POD_NAME", default_value = "kmesh")]
    pub pod_name: String,
    /// Namespace of this pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "kmesh-system")]
    pub pod_namespace: String,
    /// Service account of this pod.
    #[arg(long, env = "SERVICE_ACCOUNT", default_value = "kmesh")]
    pub service_account: String,
    /// Address of this pod.
    #[arg(long, env = "INSTANCE_IP", default_value = "127.0.0.1")]
    pub instance_ip: IpAddr,
    /// Name of the mesh.
    #[arg(long, env = "MESH_ID", default_value = "cluster.local")]
    pub mesh_id: String,
}

// === impl Args ===

impl Args {
    /// What this node knows of itself. Network and cluster are the mesh's own, which is the empty
    /// name everywhere behind the configuration.
    pub fn node(&self) -> Node {
        Node {
            name: self.node_name.clone(),
            locality: Locality::parse(&self.locality),
            addresses: self.node_address.clone(),
            outbound_policy: self.outbound_policy.into(),
            ..Node::default()
        }
    }

    /// What the files do not say.
    pub fn resource_options(&self) -> resources::Options {
        resources::Options {
            cluster_domain: self.cluster_domain.clone(),
            cluster: self.cluster_id.clone(),
            root_namespace: self.root_namespace.clone(),
            trust_domain: self.trust_domain.clone(),
            network: self.network.clone(),
        }
    }

    /// How the control plane is reached; none when a directory is the source.
    pub fn xds_config(&self) -> Option<xds::client::Config> {
        let address = self.xds.address.as_deref()?;
        let identity = xds::client::Identity {
            pod_name: self.xds.pod_name.clone(),
            pod_namespace: self.xds.pod_namespace.clone(),
            service_account: self.xds.service_account.clone(),
            instance_ip: self.xds.instance_ip,
            node_name: self.node_name.clone(),
            cluster_id: self.cluster_id.clone(),
            mesh_id: self.xds.mesh_id.clone(),
            network: self.network.clone(),
        };
        Some(xds::client::Config {
            address: xds::client::with_scheme(address),
            server_name: self.xds.server_name.clone(),
            root_cert: self.xds.root_cert.clone(),
            token: (self.xds.token.as_os_str() != "none").then(|| self.xds.token.clone()),
            identity,
            options: xds::Options {
                domain: self.cluster_domain.clone(),
                cluster: self.cluster_id.clone(),
                network: self.network.clone(),
            },
        })
    }
}

// === impl OutboundPolicy ===

impl From<OutboundPolicy> for model::OutboundPolicy {
    fn from(policy: OutboundPolicy) -> Self {
        match policy {
            OutboundPolicy::AllowAny => Self::AllowAny,
            OutboundPolicy::RegistryOnly => Self::RegistryOnly,
        }
    }
}

// === impl LimitArgs ===

impl LimitArgs {
    /// The sizes.
    pub fn limits(&self) -> Limits {
        Limits {
            enrolments_max: self.enrolments_max,
            frontends_max: self.frontends_max,
            tables_max: self.tables_max,
            slots_max: self.slots_max,
            backends_max: self.backends_max,
            sockets_max: self.sockets_max,
            udp_flows_max: self.udp_flows_max,
            affinities_max: self.affinities_max,
            networks_max: self.networks_max,
            resolvers_max: self.resolvers_max,
            event_ring_bytes: self.event_ring_bytes,
            waypoint_sockets_max: self.waypoint_sockets_max,
            header_ring_bytes: self.header_ring_bytes,
            authz_sets_max: self.authz_sets_max,
            authz_words_max: self.authz_words_max,
            authz_rows_max: self.authz_rows_max,
            authz_blocks_max: self.authz_blocks_max,
            authz_terms_max: self.authz_terms_max,
            authz_policies_max: self.authz_policies_max,
            authz_sources_max: self.authz_sources_max,
            authz_destinations_max: self.authz_destinations_max,
            map_batch_entries: self.map_batch_entries,
        }
    }
}

// === impl StatusAddr ===

impl FromStr for StatusAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        let address: SocketAddr = text.parse().map_err(|e| format!("{e}; or `none`"))?;
        if !address.ip().is_loopback() {
            return Err("the port has no authentication: it listens on loopback only".into());
        }
        Ok(Self(Some(address)))
    }
}

impl std::fmt::Display for StatusAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("none"),
        }
    }
}
