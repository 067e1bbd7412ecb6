//! Whatever is thrown at its ports, a node lives on and serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use kapu::types::NodeId;
use kapu::wire::pb;
use kapu::wire::pb::lock_service_client::LockServiceClient;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::harness::Cluster;
use crate::requests::{must_lock, name, owner, unlock};

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame header that announces 16 MiB of data on a stream that was never opened.
const HUGE_FRAME: &[u8] = &[0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01];
const CONNECTIONS: u64 = 20;
const LEASE: Duration = Duration::from_secs(30);

/// Writes `bytes` and reads until the node closes, or for a moment: it need not answer.
fn throw(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    // The node may close before it has read everything.
    let _ = stream.write_all(bytes).and_then(|()| stream.read(&mut [0; 64]));
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Locks and unlocks through every node, and checks that all processes are still the same.
async fn serves(cluster: &mut Cluster, round: &str) {
    let client = cluster.client().await;
    for id in cluster.ids() {
        let (lock, holder) = (name(&format!("{round}-{id}")), owner("good client"));
        must_lock(&client, &lock, &holder, LEASE).await;
        client.request(unlock(&lock, &holder)).await.expect("the lock is freed");
    }
    cluster.check_running();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_on_its_ports_does_not_stop_a_node() {
    let mut cluster = Cluster::start(3).await;
    let ports = [
        cluster.endpoint(NodeId(1)).to_owned(),
        cluster.peer_endpoint(NodeId(1)).to_owned(),
    ];
    for port in &ports {
        for seed in 0..CONNECTIONS {
            let noise = random(seed, 1 + 700 * usize::try_from(seed).expect("a small number"));
            throw(port, &noise);
            throw(port, &[PREFACE, &noise].concat());
        }
        throw(port, &[PREFACE, HUGE_FRAME].concat());
        throw(port, b"GET / HTTP/1.1\r\nHost: kapu\r\n\r\n");
        throw(port, b"");
    }
    serves(&mut cluster, "garbage").await;
    for id in cluster.ids() {
        let log = cluster.log(id);
        assert!(!log.contains("panicked"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_connections_do_not_keep_others_out() {
    let mut cluster = Cluster::start(3).await;
    let mut half = Vec::new();
    for port in [
        cluster.endpoint(NodeId(1)).to_owned(),
        cluster.peer_endpoint(NodeId(1)).to_owned(),
    ] {
        for said in [&b""[..], &PREFACE[..10], PREFACE] {
            let mut stream = TcpStream::connect(&port).expect("the port is open");
            stream.write_all(said).expect("a few bytes");
            half.push(stream);
        }
    }
    serves(&mut cluster, "half").await;
    drop(half);
    serves(&mut cluster, "half-closed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_over_the_limit_is_refused_and_the_node_lives_on() {
    let mut cluster = Cluster::start(3).await;
    let mut service = LockServiceClient::connect(format!("http://{}", cluster.endpoint(NodeId(1))))
        .await
        .expect("the port is open");
    let oversized = pb::GetRequest {
        resource: "x".repeat(kapu::limits::REQUEST_BYTES_MAX + 1),
    };
    assert!(service.get(oversized).await.is_err());
    let long = pb::GetRequest {
        resource: "x".repeat(kapu::limits::RESOURCE_BYTES_MAX + 1),
    };
    let refused = service.get(long).await.expect_err("a name over the limit");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused}");
    serves(&mut cluster, "oversized").await;
}
