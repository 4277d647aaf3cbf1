//! The connection to a control plane: one delta stream at a time, opened again whenever it breaks.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use runtime::shutdown::Shutdown;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Streaming};

use crate::backoff;
use crate::facts::{read_address, read_policy};
use crate::finding::Finding;
use crate::framing::Cut;
pub use crate::identity::Identity;
use crate::registry::{Options, Registry, Update};
use crate::subscription::Subscription;
use crate::wire::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use crate::wire::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

/// Where Kubernetes mounts the certificate that istiod's is signed by.
pub const DEFAULT_ROOT_CERT: &str = "/var/run/secrets/istio/root-cert.pem";
/// Where Kubernetes mounts the token for istiod.
pub const DEFAULT_TOKEN: &str = "/var/run/secrets/tokens/istio-token";
/// Bytes of one response: 100 000 workloads take some 40 MB.
pub const RESPONSE_BYTES_MAX: usize = 1 << 30;
/// How long a connection may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How often a silent connection is asked whether it lives. istiod, whose own period this is, ends a connection
/// that asks more often than every 15 s.
const KEEPALIVE_PERIOD: Duration = Duration::from_secs(30);
/// How long it may take to answer that.
const KEEPALIVE_DEADLINE: Duration = Duration::from_secs(10);
/// A stream that lived so long was a success: the next attempt does not wait longer than the first.
const STEADY_AFTER: Duration = Duration::from_secs(30);
/// Requests that may wait to be sent.
const REQUESTS_MAX: usize = 16;

/// Where the control plane is, and who asks.
#[derive(Clone, Debug)]
pub struct Config {
    /// `http://host:port`, or `https://host:port` for TLS.
    pub address: String,
    /// The name in its certificate; the host of `address` when none is given.
    pub server_name: Option<String>,
    /// The root certificate of an `https` address, read at each connection.
    pub root_cert: PathBuf,
    /// The token that goes with each stream, read at each connection.
    pub token: Option<PathBuf>,
    /// Who asks.
    pub identity: Identity,
    /// Names of the mesh.
    pub options: Options,
}

/// An address with a scheme; one without is for TLS, as in `XDS_ADDRESS` of Kmesh.
pub fn with_scheme(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("https://{address}") }
}

/// How it stands with the control plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// A stream is open.
    pub is_connected: bool,
    /// Connections that were tried.
    pub attempts: u64,
    /// Streams that were opened.
    pub streams: u64,
    /// Responses that were taken.
    pub responses: u64,
    /// Of these, with a resource that was refused.
    pub refused: u64,
    /// Why the last stream ended, or could not be opened.
    pub error: String,
}

/// What the control plane has said, as it comes. None before everything was told once.
pub struct Client {
    /// What is in force.
    pub updates: watch::Receiver<Option<Update>>,
    /// How it stands.
    pub state: watch::Receiver<State>,
}

/// Starts to listen to the control plane, until `shutdown`.
pub fn spawn(config: Config, shutdown: Shutdown) -> Client {
    let (updates_to, updates) = watch::channel(None);
    let (state_to, state) = watch::channel(State::default());
    let session = Session {
        registry: Registry::new(config.options.clone()),
        addresses: Subscription::new(ADDRESS_TYPE),
        policies: Subscription::new(AUTHORIZATION_TYPE),
        received: None,
        config,
        updates: updates_to,
        state: state_to,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = session.run() => {}
            () = shutdown.wait() => {}
        }
    });
    Client { updates, state }
}

/// What is kept from stream to stream.
struct Session {
    config: Config,
    registry: Registry,
    addresses: Subscription,
    policies: Subscription,
    /// When the last response about services and workloads came.
    received: Option<Instant>,
    updates: watch::Sender<Option<Update>>,
    state: watch::Sender<State>,
}

/// Why a stream could not be opened, or ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("the token in {0} is not text for a header")]
    Token(PathBuf),
    #[error("{0}")]
    Connect(String),
    #[error("{}: {}", .0.code(), .0.message())]
    Stream(#[from] tonic::Status),
    #[error("the control plane closed the stream")]
    Closed,
}

// === impl Session ===

impl Session {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let opened = tokio::time::Instant::now();
            self.state.send_modify(|state| state.attempts += 1);
            let error = match self.stream().await {
                Ok(()) => Error::Closed,
                Err(error) => error,
            };
            failures = if opened.elapsed() > STEADY_AFTER { 1 } else { failures + 1 };
            let wait = backoff::delay(failures, rand::random());
            let address = &self.config.address;
            tracing::warn!(
                "control plane {address}: {error}; what is known stays in force, next attempt in {wait:?}"
            );
            self.state.send_modify(|state| {
                state.is_connected = false;
                state.error = error.to_string();
            });
            tokio::time::sleep(wait).await;
        }
    }

    /// One stream, from its opening to its end.
    async fn stream(&mut self) -> Result<(), Error> {
        let channel = self.channel().await?;
        let (requests, outgoing) = mpsc::channel(REQUESTS_MAX);
        let mut first = self.addresses.opening();
        first.node = Some(self.config.identity.node());
        requests.send(first).await.map_err(|_| Error::Closed)?;
        let mut client = AggregatedDiscoveryServiceClient::new(Cut(channel))
            .max_decoding_message_size(RESPONSE_BYTES_MAX);
        let request = self.authorized(Request::new(ReceiverStream::new(outgoing)))?;
        let responses = client.delta_aggregated_resources(request).await?.into_inner();
        self.state.send_modify(|state| {
            state.is_connected = true;
            state.streams += 1;
        });
        tracing::info!("control plane {}: stream is open", self.config.address);
        self.listen(responses, requests).await
    }

    async fn listen(
        &mut self,
        mut responses: Streaming<DeltaDiscoveryResponse>,
        requests: mpsc::Sender<DeltaDiscoveryRequest>,
    ) -> Result<(), Error> {
        // Policies behind the rest: their response has the buffer of the large one given back.
        let mut opening = Some(self.policies.opening());
        while let Some(response) = responses.message().await? {
            let answer = tokio::task::block_in_place(|| self.take(response));
            for request in answer.into_iter().chain(opening.take()) {
                requests.send(request).await.map_err(|_| Error::Closed)?;
            }
        }
        Ok(())
    }

    /// Takes a response, and says what to answer.
    fn take(&mut self, response: DeltaDiscoveryResponse) -> Option<DeltaDiscoveryRequest> {
        let received = Instant::now();
        let (refusals, answer) = match response.type_url.as_str() {
            ADDRESS_TYPE => {
                let (changes, refusals, answer) = self.addresses.take(response, read_address);
                self.registry.update(changes);
                self.received = Some(received);
                (refusals, answer)
            }
            AUTHORIZATION_TYPE => {
                let (changes, refusals, answer) = self.policies.take(response, read_policy);
                self.registry.update_policies(changes);
                (refusals, answer)
            }
            other => {
                tracing::warn!("a response of type {other} was not asked for and is ignored");
                return None;
            }
        };
        for refusal in &refusals {
            tracing::error!("refused, what was known of it stays in force: {refusal}");
        }
        self.state.send_modify(|state| {
            state.responses += 1;
            state.refused += u64::from(!refusals.is_empty());
        });
        self.publish();
        Some(answer)
    }

    /// Nothing before everything was told once: half a mesh would refuse connections, and without its
    /// policies it would allow too many.
    fn publish(&self) {
        if !(self.addresses.is_complete() && self.policies.is_complete()) {
            return;
        }
        let mut update = self.registry.current();
        let subscriptions = [&self.addresses, &self.policies];
        let refused = subscriptions.into_iter().flat_map(|it| it.refused().cloned());
        let refused = refused.map(Finding::from);
        update.findings = refused.chain(update.findings.iter().cloned()).collect();
        update.versions = [&self.addresses, &self.policies].map(|it| it.versions().clone());
        update.received = self.received;
        self.updates.send_replace(Some(update));
    }

    async fn channel(&self) -> Result<Channel, Error> {
        let wrong = |error: tonic::transport::Error| Error::Connect(chain(&error));
        let mut endpoint = Endpoint::from_shared(self.config.address.clone())
            .map_err(wrong)?
            .connect_timeout(CONNECT_DEADLINE)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(KEEPALIVE_PERIOD)
            .keep_alive_timeout(KEEPALIVE_DEADLINE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if self.config.address.starts_with("https:") {
            let mut tls = ClientTlsConfig::new();
            let root = read(&self.config.root_cert).await?;
            tls = tls.ca_certificate(Certificate::from_pem(root));
            if let Some(name) = &self.config.server_name {
                tls = tls.domain_name(name);
            }
            endpoint = endpoint.tls_config(tls).map_err(wrong)?;
        }
        endpoint.connect().await.map_err(wrong)
    }

    fn authorized<T>(&self, mut request: Request<T>) -> Result<Request<T>, Error> {
        if let Some(path) = &self.config.token {
            let source = |source| Error::File { path: path.clone(), source };
            let token = std::fs::read_to_string(path).map_err(source)?;
            let value = format!("Bearer {}", token.trim());
            let value = value.parse().map_err(|_| Error::Token(path.clone()))?;
            request.metadata_mut().insert("authorization", value);
        }
        if let Ok(cluster) = MetadataValue::try_from(self.config.identity.cluster_id.as_str()) {
            request.metadata_mut().insert("clusterid", cluster);
        }
        Ok(request)
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, Error> {
    tokio::fs::read(path).await.map_err(|source| Error::File { path: path.clone(), source })
}

/// An error with its causes: that of a transport alone says nothing.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    std::iter::once(error.to_string())
        .chain(causes.map(ToString::to_string))
        .collect::<Vec<_>>()
        .join(": ")
}
