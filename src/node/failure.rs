//! The first failure of a node: set once, from any thread, and waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::node::NodeFailure;

/// Holds the first failure. Cheap to clone.
#[derive(Clone)]
pub struct FailureCell(Arc<Inner>);

struct Inner {
    first: watch::Sender<Option<NodeFailure>>,
    /// What every request looks at: cheaper than the cell.
    closed: AtomicBool,
}

impl FailureCell {
    /// No failure yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            first: watch::Sender::new(None),
            closed: AtomicBool::new(false),
        }))
    }

    /// Keeps `failure` if it is the first.
    pub fn set(&self, failure: NodeFailure) {
        self.close();
        self.0.first.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                tracing::error!(%failure, "the node has failed");
                *first = Some(failure);
            }
            is_first
        });
    }

    /// Whether there was one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.first.borrow().is_some()
    }

    /// From now on the node answers nothing.
    pub fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    /// Whether the node answers nothing any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Completes with the first failure.
    pub async fn wait(&self) -> NodeFailure {
        let mut changes = self.0.first.subscribe();
        let first = changes
            .wait_for(Option::is_some)
            .await
            .expect("this cell holds the sender");
        first.clone().expect("waited for")
    }
}
