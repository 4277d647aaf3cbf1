//! The other end: serves resources to many clients over delta xDS.
//!
//! One response at a time is on its way to a client; what changes until it is answered is sent
//! together afterwards. A client that reconnects names what it has, and is told the rest.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};

use crate::encode::Resources;
use crate::wire::discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::wire::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use crate::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

/// Responses that may wait to be sent to one client: one of each type, and no more by the protocol.
const RESPONSES_MAX: usize = 2;

/// What a server tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Streams that are open.
    pub streams: u64,
    /// Responses that clients took.
    pub accepted: u64,
    /// Responses with a resource that a client refused.
    pub refused: u64,
    /// What the last refusal said.
    pub last_refusal: String,
}

/// Certificate chain and key, both PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain.
    pub certificate: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

/// Why it could not be served.
#[derive(Debug, thiserror::Error)]
#[error("xDS can't be served: {0}")]
pub struct Error(#[from] tonic::transport::Error);

/// What is served.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// Services and workloads.
    pub addresses: Resources,
    /// Policies.
    pub policies: Resources,
}

/// Serves until `shutdown`. Nothing is said before `resources` has something.
///
/// # Errors
/// A certificate or key that is none, a listener that fails.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    resources: watch::Receiver<Option<Served>>,
    state: watch::Sender<State>,
    shutdown: runtime::shutdown::Shutdown,
) -> Result<(), Error> {
    let service = Service { resources, state, shutdown: shutdown.clone() };
    let mut server = Server::builder();
    if let Some(Tls { certificate, key }) = tls {
        let identity = Identity::from_pem(certificate, key);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let router = server.add_service(AggregatedDiscoveryServiceServer::new(service));
    let stop = async move { shutdown.wait().await };
    Ok(router.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop).await?)
}

struct Service {
    resources: watch::Receiver<Option<Served>>,
    state: watch::Sender<State>,
    shutdown: runtime::shutdown::Shutdown,
}

type Responses = Pin<Box<dyn Stream<Item = Result<DeltaDiscoveryResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Service {
    type DeltaAggregatedResourcesStream = Responses;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Responses>, Status> {
        let peer = request.remote_addr().map_or_else(String::new, |peer| peer.to_string());
        let (responses, outgoing) = mpsc::channel(RESPONSES_MAX);
        let session = Session {
            peer,
            state: self.state.clone(),
            responses,
            addresses: Subscriber::default(),
            policies: Subscriber::default(),
            nonce: 0,
        };
        let (resources, shutdown) = (self.resources.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = session.run(request.into_inner(), resources) => {}
                () = shutdown.wait() => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(outgoing))))
    }
}

/// One client.
struct Session {
    peer: String,
    state: watch::Sender<State>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    addresses: Subscriber,
    policies: Subscriber,
    nonce: u64,
}

/// What one client knows of one type.
#[derive(Debug, Default)]
struct Subscriber {
    is_subscribed: bool,
    /// What the client had when it came, by name and version, until the first response.
    initial: BTreeMap<String, String>,
    /// What was sent last.
    sent: Option<Resources>,
    /// Nonce of the response that is not answered yet.
    outstanding: Option<String>,
}

// === impl Session ===

impl Session {
    async fn run(
        mut self,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        mut resources: watch::Receiver<Option<Served>>,
    ) {
        tracing::info!(peer = self.peer, "a client has come");
        self.state.send_modify(|state| state.streams += 1);
        loop {
            let known = resources.borrow_and_update().clone();
            if let Some(known) = known
                && self.tell_all(&known).await.is_err()
            {
                break;
            }
            tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => {
                        self.take(request);
                    }
                    Ok(None) | Err(_) => break,
                },
                changed = resources.changed() => if changed.is_err() { break },
            }
        }
        self.state.send_modify(|state| state.streams -= 1);
        tracing::info!(peer = self.peer, "a client has gone");
    }

    fn take(&mut self, request: DeltaDiscoveryRequest) {
        let subscriber = match request.type_url.as_str() {
            ADDRESS_TYPE => &mut self.addresses,
            AUTHORIZATION_TYPE => &mut self.policies,
            _ => return,
        };
        if let Some(error) = &request.error_detail {
            tracing::warn!(peer = self.peer, "refused: {}", error.message);
        }
        subscriber.take(request, &self.state);
    }

    /// Policies first: a workload that comes names those that are for it.
    async fn tell_all(&mut self, served: &Served) -> Result<(), Gone> {
        self.tell(AUTHORIZATION_TYPE, |it| &mut it.policies, &served.policies).await?;
        self.tell(ADDRESS_TYPE, |it| &mut it.addresses, &served.addresses).await
    }

    /// Sends what the client does not know yet, unless an answer is due.
    async fn tell(
        &mut self,
        type_url: &str,
        subscriber: fn(&mut Self) -> &mut Subscriber,
        resources: &Resources,
    ) -> Result<(), Gone> {
        let Some((changed, removed_resources)) = subscriber(self).news(resources) else {
            return Ok(());
        };
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        subscriber(self).sent(resources, &nonce);
        self.send(DeltaDiscoveryResponse {
            system_version_info: String::new(),
            resources: changed.iter().map(|resource| (**resource).clone()).collect(),
            type_url: type_url.to_owned(),
            nonce,
            removed_resources,
        })
        .await
    }

    async fn send(&self, response: DeltaDiscoveryResponse) -> Result<(), Gone> {
        self.responses.send(Ok(response)).await.map_err(|_| Gone)
    }
}

/// The client is gone.
struct Gone;

// === impl Subscriber ===

impl Subscriber {
    fn take(&mut self, request: DeltaDiscoveryRequest, state: &watch::Sender<State>) {
        if !self.is_subscribed {
            self.is_subscribed = true;
            self.initial = request.initial_resource_versions;
            return;
        }
        if self.outstanding.as_ref() != Some(&request.response_nonce) {
            return;
        }
        self.outstanding = None;
        state.send_modify(|state| match request.error_detail {
            None => state.accepted += 1,
            Some(error) => {
                state.refused += 1;
                state.last_refusal = error.message;
            }
        });
    }

    /// What is to be told: resources, and names of those that are gone. None when nothing is due;
    /// the first response comes even if it is empty, so that the client knows that it knows.
    fn news(&self, resources: &Resources) -> Option<(Vec<Arc<Resource>>, Vec<String>)> {
        if !self.is_subscribed || self.outstanding.is_some() {
            return None;
        }
        let Some(sent) = &self.sent else {
            let is_new = |it: &&Arc<Resource>| self.initial.get(&it.name) != Some(&it.version);
            let changed = resources.values().filter(is_new).cloned().collect();
            let gone = self.initial.keys().filter(|name| !resources.contains_key(*name));
            return Some((changed, gone.cloned().collect()));
        };
        let mut changed = Vec::new();
        let mut removed = Vec::new();
        for difference in model::diff(sent, resources) {
            match difference.new {
                Some(resource) => changed.push(resource.clone()),
                None => removed.push(difference.key.clone()),
            }
        }
        let is_news = !changed.is_empty() || !removed.is_empty();
        is_news.then_some((changed, removed))
    }

    fn sent(&mut self, resources: &Resources, nonce: &str) {
        self.sent = Some(resources.clone());
        self.initial = BTreeMap::new();
        self.outstanding = Some(nonce.to_owned());
    }
}
