//! Records what a control plane answers, for the test that reads it again:
//! `record http://127.0.0.1:15010 FILE` writes the first response of each type, each with its length
//! before it as protobuf writes one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a tool for whoever writes the test")]

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use xds::client::Identity;
use xds::wire::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::{ADDRESS_TYPE, AUTHORIZATION_TYPE, Subscription};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let (address, file) =
        (arguments.next().expect("an address"), arguments.next().expect("a file"));
    let identity = Identity {
        pod_name: "recorder".into(),
        pod_namespace: "kmesh-system".into(),
        service_account: "kmesh".into(),
        instance_ip: [127, 0, 0, 1].into(),
        node_name: String::new(),
        cluster_id: "Kubernetes".into(),
        mesh_id: "cluster.local".into(),
        network: String::new(),
    };
    let mut client = AggregatedDiscoveryServiceClient::connect(address).await.expect("it listens");
    let (requests, outgoing) = mpsc::channel(4);
    let mut first = Subscription::new(ADDRESS_TYPE).opening();
    first.node = Some(identity.node());
    requests.send(first).await.unwrap();
    requests.send(Subscription::new(AUTHORIZATION_TYPE).opening()).await.unwrap();
    let stream = client.delta_aggregated_resources(ReceiverStream::new(outgoing)).await;
    let mut stream = stream.expect("it takes the request").into_inner();
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let response = stream.message().await.expect("it answers").expect("it goes on");
        println!("{}: {} resources", response.type_url, response.resources.len());
        response.encode_length_delimited(&mut bytes).unwrap();
    }
    std::fs::write(&file, bytes).expect("the file can be written");
}
