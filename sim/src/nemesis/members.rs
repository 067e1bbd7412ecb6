//! How the members are changed: not a fault by itself, but what everything else must not break.
//!
//! There is one operator. He makes one change at a time, and goes on with one that was not done in time before he begins another.

use std::time::Duration;

use super::Evil;
use crate::cluster::Register;
use crate::world::true_sleep;

/// So long an operator waits for a change before he does something else.
const PATIENCE: Duration = Duration::from_secs(12);
/// A machine is away for so long while it moves.
const MOVE: Duration = Duration::from_millis(200);

impl Evil {
    /// The change that `begin` chooses. It is left out when another one does not come to its end.
    pub(super) async fn change(&self, begin: impl FnOnce(&mut Register) -> Option<u64>) -> Option<u64> {
        let _office = self.office.lock().await;
        if !self.cluster.operate(PATIENCE).await {
            self.cluster.spare();
            return None;
        }
        let Some(node) = self.cluster.register(begin) else {
            self.cluster.spare();
            return None;
        };
        self.cluster.operate(PATIENCE).await;
        Some(node)
    }

    /// A machine burns down. A new node comes, and the old one is taken out.
    pub(super) async fn replace(&self, luck: u64) {
        let Some(dead) = self.cluster.register(|register| register.kill(luck)) else {
            return self.cluster.spare();
        };
        self.cluster.crash(dead);
        self.change(Register::join).await;
        self.change(|register| register.leave_of(dead)).await;
    }

    /// A node ends cleanly and comes back somewhere else.
    pub(super) async fn relocate(&self, luck: u64) {
        let _office = self.office.lock().await;
        if !self.cluster.operate(PATIENCE).await {
            return self.cluster.spare();
        }
        let Some(node) = self.cluster.register(|register| register.relocate(luck)) else {
            return self.cluster.spare();
        };
        self.cluster.stop(node).await;
        self.cluster.relocate(node);
        true_sleep(MOVE).await;
        self.cluster.start(node);
        self.cluster.operate(PATIENCE).await;
    }
}
