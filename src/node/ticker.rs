//! The ticker: one task that tells every partition that time has passed.
//!
//! All partitions tick together, so that their heartbeats to one peer share a frame; their election times are drawn at random, so that
//! elections do not fall together. It does not catch up after a pause: a node that slept must not see its leaders as long gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{BoxFuture, Clock};
use crate::node::router::Router;

/// Ticks every partition of `router` each `tick`, until `stop` is dropped.
pub fn run(
    clock: Arc<dyn Clock>,
    router: Arc<Router>,
    tick: Duration,
    mut stop: watch::Receiver<bool>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut next = clock.now() + tick;
        loop {
            let sleep = clock.sleep(next.saturating_sub(clock.now()));
            tokio::select! {
                biased;
                _ = stop.changed() => return,
                () = sleep => {}
            }
            router.all().iter().for_each(crate::partition::Mailbox::tick);
            next = (next + tick).max(clock.now());
        }
    })
}
