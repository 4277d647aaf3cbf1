//! The server at real sockets.

use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{
    Bench, Upstream, answered, bytes, ips, kubernetes, parsed, query, read_frame, snapshot,
    write_frame,
};
use crate::Counts;
use crate::server::{CONNECTIONS_MAX, IN_FLIGHT_MAX};

async fn bench() -> Bench {
    Bench::start(vec![kubernetes("shop", "web", &["10.96.0.1"])], &[]).await
}

#[tokio::test]
async fn names_of_the_mesh_are_answered_over_both_transports() {
    let bench = bench().await;
    let query = query("web.", RecordType::A);
    assert_eq!(answered(&bench.ask(&query).await), ips(&["10.96.0.1"]));
    assert_eq!(answered(&bench.ask_tcp(&query).await), ips(&["10.96.0.1"]));
    bench.resolver.update(&snapshot([kubernetes("shop", "web", &["10.96.0.2"])]));
    assert_eq!(answered(&bench.ask(&query).await), ips(&["10.96.0.2"]));
    assert_eq!(bench.resolver.counts(), Counts { answered_locally: 3, ..Counts::default() });
    assert!(bench.server.is_answering(Duration::from_secs(60)));
    assert_eq!(bench.server.client().namespace, "shop");
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_does_not_stop_the_server() {
    let bench = bench().await;
    let socket = bench.client().await;
    socket.send(&[1, 2, 3]).await.expect("sent");
    let mut wire = bytes(&query("web.", RecordType::A));
    let cut = wire.len() - 1;
    wire.truncate(cut);
    let reply = parsed(&bench.ask_bytes(&wire).await);
    assert_eq!(reply.metadata.response_code, ResponseCode::FormErr);
    assert_eq!(answered(&bench.ask(&query("web.", RecordType::A)).await), ips(&["10.96.0.1"]));
    assert_eq!(bench.resolver.counts().malformed, 2);
}

#[tokio::test]
async fn queries_on_one_connection_are_answered_as_soon_as_they_can_be() {
    let upstream = Upstream::silent().await;
    let services = vec![kubernetes("shop", "web", &["10.96.0.1"])];
    let bench = Bench::start(services, &[upstream.address]).await;
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    write_frame(&mut stream, &bytes(&query("slow.example.com.", RecordType::A))).await;
    let mut quick = query("web.", RecordType::A);
    let mut pieces = Vec::new();
    for id in [1, 2] {
        quick.metadata.id = id;
        pieces.extend(crate::forward::framed(&bytes(&quick)));
    }
    // The boundaries of what is sent are not those of messages.
    let (first, second) = pieces.split_at(20);
    stream.write_all(first).await.expect("sent");
    stream.flush().await.expect("sent");
    stream.write_all(second).await.expect("sent");
    for id in [1, 2] {
        let reply = parsed(&read_frame(&mut stream).await.expect("an answer"));
        assert_eq!((reply.metadata.id, answered(&reply)), (id, ips(&["10.96.0.1"])));
    }
}

#[tokio::test]
async fn a_client_that_sends_no_more_still_gets_its_answers() {
    let upstream = Upstream::counting(60).await;
    let bench = Bench::start(Vec::new(), &[upstream.address]).await;
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    write_frame(&mut stream, &bytes(&query("example.com.", RecordType::A))).await;
    stream.shutdown().await.expect("half closed");
    let reply = parsed(&read_frame(&mut stream).await.expect("an answer"));
    assert_eq!(answered(&reply), ips(&["10.0.0.1"]));
    assert!(read_frame(&mut stream).await.is_err(), "closed");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_queries_is_closed() {
    let bench = bench().await;
    let mut stream = TcpStream::connect(bench.address).await.expect("connected");
    write_frame(&mut stream, &bytes(&query("web.", RecordType::A))).await;
    read_frame(&mut stream).await.expect("an answer");
    let start = tokio::time::Instant::now();
    assert!(read_frame(&mut stream).await.is_err(), "closed");
    assert!((9..=11).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_frame_of_no_query_closes_the_connection() {
    let bench = bench().await;
    for frame in [&[0, 3, 1, 2, 3][..], &[0xff, 0xff, 0, 0]] {
        let mut stream = TcpStream::connect(bench.address).await.expect("connected");
        stream.write_all(frame).await.expect("sent");
        assert!(read_frame(&mut stream).await.is_err(), "closed");
    }
    assert_eq!(bench.resolver.counts().malformed, 2);
}

#[tokio::test(start_paused = true)]
async fn queries_over_the_limit_get_servfail_and_are_counted() {
    let upstream = Upstream::silent().await;
    let services = vec![kubernetes("shop", "web", &["10.96.0.1"])];
    let bench = Bench::start(services, &[upstream.address]).await;
    let socket = bench.client().await;
    for number in 0..=IN_FLIGHT_MAX {
        let query = query(&format!("n{number}.example.com."), RecordType::A);
        socket.send(&bytes(&query)).await.expect("sent");
        tokio::task::yield_now().await;
    }
    let mut buffer = vec![0; 512];
    let length = socket.recv(&mut buffer).await.expect("an answer");
    let reply = parsed(&buffer[..length]);
    assert_eq!(reply.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(reply.queries[0].name.to_ascii(), format!("n{IN_FLIGHT_MAX}.example.com."));
    assert_eq!(bench.resolver.counts().dropped_overload, 1);
    // Names of the mesh need nobody else.
    assert_eq!(answered(&bench.ask(&query("web.", RecordType::A)).await), ips(&["10.96.0.1"]));
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_counted() {
    let bench = bench().await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(bench.address).await.expect("connected");
        write_frame(&mut stream, &bytes(&query("web.", RecordType::A))).await;
        read_frame(&mut stream).await.expect("an answer");
        streams.push(stream);
    }
    let mut one_more = TcpStream::connect(bench.address).await.expect("connected");
    assert!(read_frame(&mut one_more).await.is_err(), "closed");
    assert_eq!(bench.resolver.counts().dropped_overload, 1);
}

#[tokio::test(start_paused = true)]
async fn the_pulse_goes_on_while_nothing_is_asked_and_ends_with_the_server() {
    let bench = bench().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    while !bench.server.is_answering(Duration::from_millis(200)) {
        tokio::task::yield_now().await;
    }
    bench.trigger.fire();
    while bench.server.is_answering(Duration::from_secs(60)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answers_what_came_before_and_frees_its_port() {
    let upstream = Upstream::counting(60).await;
    let bench = Bench::start(Vec::new(), &[upstream.address]).await;
    let socket = bench.client().await;
    socket.send(&bytes(&query("example.com.", RecordType::A))).await.expect("sent");
    while upstream.count() == 0 {
        tokio::task::yield_now().await;
    }
    bench.server.stop().await;
    let mut buffer = vec![0; 512];
    let length = socket.recv(&mut buffer).await.expect("an answer");
    assert_eq!(answered(&parsed(&buffer[..length])), ips(&["10.0.0.1"]));
    tokio::net::UdpSocket::bind(bench.address).await.expect("the port is free");
}
