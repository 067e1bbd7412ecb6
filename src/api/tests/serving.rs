//! The listener: what else may come to the port, and how it stops.

use super::*;

#[tokio::test]
async fn garbage_and_half_connections_do_not_end_the_service() {
    let mut served = start().await;
    let silent = TcpStream::connect(served.address).await.unwrap();
    let mut half = TcpStream::connect(served.address).await.unwrap();
    half.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
    half.shutdown().await.unwrap();
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0xff; 4096], &[0; 64]] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        // It is the service that closes; an error here is as good.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    served.expect_good().await;
    drop(silent);
}

#[tokio::test]
async fn a_client_that_goes_away_disturbs_nobody() {
    let mut served = start().await;
    let line = open(&mut served.client().await).await;
    line.ask(1, "a");
    let (_, reply) = served.next().await;
    drop(line);
    reply(Ok(Outcome::Unlocked));
    served.expect_good().await;
}

#[tokio::test]
async fn a_stopping_service_answers_what_is_in_flight_and_ends() {
    let mut served = start().await;
    let mut line = open(&mut served.client().await).await;
    line.ask(1, "a");
    let (_, reply) = served.next().await;
    served.stop.send(()).unwrap();
    // The door is closed once nobody can come in any more.
    while TcpStream::connect(served.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    reply(Ok(locked(1)));
    assert_eq!(line.reply().await, (1, Ok(locked(1))));
    assert!(line.replies.message().await.unwrap().is_none(), "closed in order");
    served.ended.await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let served = start().await;
    let (double, _asked) = mpsc::unbounded_channel();
    let stop = Box::pin(std::future::pending());
    let Err(error) = serve(&served.address.to_string(), Arc::new(Double(double)), stop).await else {
        panic!("the port is in use")
    };
    assert!(error.to_string().contains(&served.address.to_string()), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
}

#[tokio::test]
async fn a_node_tells_its_status() {
    let served = start().await;
    let endpoint = format!("http://{}", served.address);
    let mut client = ClusterServiceClient::connect(endpoint).await.unwrap();
    let reply = client.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!(reply.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(decode_status(reply), Ok(status()));
}

#[tokio::test]
async fn an_unknown_method_is_refused() {
    let served = start().await;
    let channel = served.client().await;
    drop(channel);
    let channel = Channel::from_shared(format!("http://{}", served.address)).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap());
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<pb::GetRequest, pb::LockReply>::default();
    let path = http::uri::PathAndQuery::from_static("/kapu.v1.Nothing/Get");
    let status = grpc
        .unary(tonic::Request::new(get("a")), path, codec)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
