//! A network inside of one process: for tests, and for clusters that live in one process.
//!
//! Frames are handed over at once, in order, and none is lost on its way; a stream ends when its listener does. Simulation has another one, which
//! breaks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::clock::BoxFuture;
use crate::env::{FrameHandler, FrameSink, Network, NetworkError};

/// Addresses, and who listens there. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    listeners: BTreeMap<String, Listener>,
    last_number: u64,
}

/// Somebody who listens; two at one address, one after the other, are told apart by their numbers.
#[derive(Clone)]
struct Listener {
    number: u64,
    handler: Arc<dyn FrameHandler>,
}

impl MemoryNetwork {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, address: &str) -> Result<Listener, NetworkError> {
        let found = self.lock().listeners.get(address).cloned();
        found.ok_or_else(|| unreachable(address, "nobody listens there"))
    }

    fn bind(&self, address: &str, handler: Arc<dyn FrameHandler>) -> Result<Bound, NetworkError> {
        let mut state = self.lock();
        if state.listeners.contains_key(address) {
            return Err(NetworkError::Listen {
                address: address.to_owned(),
                reason: "somebody listens there already".to_owned(),
            });
        }
        state.last_number += 1;
        let number = state.last_number;
        state.listeners.insert(address.to_owned(), Listener { number, handler });
        Ok(Bound {
            network: self.clone(),
            address: address.to_owned(),
        })
    }
}

fn unreachable(address: &str, reason: &str) -> NetworkError {
    NetworkError::Unreachable {
        address: address.to_owned(),
        reason: reason.to_owned(),
    }
}

impl Network for MemoryNetwork {
    fn dial(&self, address: String) -> BoxFuture<'static, Result<Box<dyn FrameSink>, NetworkError>> {
        let sink = self.find(&address).map(|Listener { number, .. }| MemorySink {
            network: self.clone(),
            address,
            number,
        });
        Box::pin(async move { sink.map(|sink| Box::new(sink) as Box<dyn FrameSink>) })
    }

    fn listen(
        &self,
        address: String,
        handler: Arc<dyn FrameHandler>,
        stop: BoxFuture<'static, ()>,
    ) -> BoxFuture<'static, Result<BoxFuture<'static, ()>, NetworkError>> {
        let bound = self.bind(&address, handler);
        Box::pin(async move {
            let bound = bound?;
            let serving = async move {
                let _bound = bound;
                stop.await;
            };
            Ok(Box::pin(serving) as BoxFuture<'static, ()>)
        })
    }
}

/// Takes the listener away when it is dropped.
struct Bound {
    network: MemoryNetwork,
    address: String,
}

impl Drop for Bound {
    fn drop(&mut self) {
        let gone = self.network.lock().listeners.remove(&self.address);
        drop(gone);
    }
}

struct MemorySink {
    network: MemoryNetwork,
    address: String,
    /// Of the listener that was dialled.
    number: u64,
}

impl FrameSink for MemorySink {
    fn send(&mut self, frame: Bytes) -> BoxFuture<'_, Result<(), NetworkError>> {
        Box::pin(async move {
            let listener = self.network.find(&self.address)?;
            if listener.number != self.number {
                return Err(unreachable(&self.address, "the listener has changed"));
            }
            listener.handler.receive(frame).map_err(|reason| NetworkError::Refused {
                address: self.address.clone(),
                reason,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::env::{Spawn as _, TokioSpawn};

    /// Hands frames to the test, and refuses those that say no.
    struct Taker(mpsc::UnboundedSender<Bytes>);

    impl FrameHandler for Taker {
        fn receive(&self, frame: Bytes) -> Result<(), String> {
            if frame == "no" {
                return Err("not welcome".to_owned());
            }
            self.0.send(frame).map_err(|_| "the test is over".to_owned())
        }
    }

    struct Listening {
        stop: oneshot::Sender<()>,
        ended: oneshot::Receiver<()>,
        frames: mpsc::UnboundedReceiver<Bytes>,
    }

    async fn listen(network: &MemoryNetwork) -> Result<Listening, NetworkError> {
        let (sender, frames) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let stopped = Box::pin(async move { stopped.await.unwrap_or_default() });
        let serving = network
            .listen("a:1".to_owned(), Arc::new(Taker(sender)), stopped)
            .await?;
        let task = async move {
            serving.await;
            let _ = end.send(());
        };
        TokioSpawn.spawn("listener", Box::pin(task));
        Ok(Listening { stop, ended, frames })
    }

    #[tokio::test]
    async fn frames_reach_who_listens_and_refusals_come_back() {
        let network = MemoryNetwork::default();
        let mut listening = listen(&network).await.unwrap();
        let mut sink = network.dial("a:1".to_owned()).await.unwrap();
        sink.send("one".into()).await.unwrap();
        sink.send("two".into()).await.unwrap();
        assert_eq!(listening.frames.recv().await.unwrap(), "one");
        assert_eq!(listening.frames.recv().await.unwrap(), "two");
        let refused = sink.send("no".into()).await.unwrap_err();
        assert_eq!(refused.to_string(), "peer at a:1 refuses this node: not welcome");
    }

    #[tokio::test]
    async fn an_address_has_one_listener_and_a_stream_ends_with_it() {
        let network = MemoryNetwork::default();
        assert!(network.dial("a:1".to_owned()).await.is_err(), "nobody is there yet");
        let first = listen(&network).await.unwrap();
        assert!(matches!(listen(&network).await, Err(NetworkError::Listen { .. })));
        let mut sink = network.dial("a:1".to_owned()).await.unwrap();
        first.stop.send(()).unwrap();
        first.ended.await.unwrap();
        assert!(sink.send("lost".into()).await.is_err());
        let mut second = listen(&network).await.unwrap();
        assert!(sink.send("lost".into()).await.is_err(), "the stream was to another");
        let mut sink = network.dial("a:1".to_owned()).await.unwrap();
        sink.send("found".into()).await.unwrap();
        assert_eq!(second.frames.recv().await.unwrap(), "found");
    }
}
