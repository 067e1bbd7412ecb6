//! The node's end: takes each request once, hands it to the node, and sends the answer to where it came from.

use std::net::SocketAddr;

use bytes::Bytes;
use kapu::error::RequestError;
use kapu::lock::Outcome;
use kapu::node::NodeHandle;
use kapu::service::LockHandle;
use kapu::wire::{decode_request, encode_reply, encode_status, pb};
use prost::Message;

use super::frame::{Frame, Kind};
use super::taken::Taken;
use crate::world::links::Port;

/// Serves clients at `port` until it is dropped: it ends with the process of the node. The session is drawn from madsim's stream, which no
/// two lives share.
pub async fn serve(handle: NodeHandle, port: Port) {
    let handle = LockHandle::new(handle);
    let session = madsim::rand::random::<u64>() | 1;
    let mut taken = Taken::default();
    loop {
        let (from, bytes) = port.recv().await;
        let Some(frame) = Frame::decode(&bytes) else { continue };
        let answer = |kind, body| send(&port, from, (kind, session, frame.id), body);
        match frame.kind {
            Kind::Hello => answer(Kind::Welcome, Bytes::new()),
            Kind::AskStatus => answer(
                Kind::Status,
                encode_status(handle.node().status()).encode_to_vec().into(),
            ),
            Kind::Request if frame.session != session => answer(Kind::Reset, Bytes::new()),
            Kind::Request if taken.is_new(from, frame.id) => submit(&handle, &port, from, session, &frame),
            // Doubled on its way, or meant for a client.
            Kind::Request | Kind::Welcome | Kind::Reply | Kind::Reset | Kind::Status => {}
        }
    }
}

fn submit(handle: &LockHandle, port: &Port, from: SocketAddr, session: u64, frame: &Frame) {
    let Ok(request) = pb::PipelineRequest::decode(frame.body.clone()) else {
        return;
    };
    let (id, checked) = decode_request(request);
    let (port, frame_id) = (port.clone(), frame.id);
    let reply = move |result: Result<Outcome, RequestError>| {
        let body = encode_reply(id, &result).encode_to_vec().into();
        send(&port, from, (Kind::Reply, session, frame_id), body);
    };
    match checked {
        Ok(request) => handle.submit(request, Box::new(reply)),
        Err(input) => reply(Err(input.into())),
    }
}

fn send(port: &Port, to: SocketAddr, (kind, session, id): (Kind, u64, u64), body: Bytes) {
    let frame = Frame {
        kind,
        session,
        id,
        body,
    };
    port.send(to, frame.encode());
}
