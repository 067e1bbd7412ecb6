//! How disks are damaged.
//!
//! A cluster bears the loss of what was durable on a minority of its disks, but only when it can know of it: a disk is wiped or rolled back
//! once the disks of all others know of a life that the new image does not. Until then it is not done, as an operator would not.

use std::time::Duration;

use super::Evil;
use crate::cluster::{Damage, wait_until};
use crate::world::true_sleep;

/// So long it is waited for a time at which the damage can be borne.
const CALM_MAX: Duration = Duration::from_secs(8);

impl Evil {
    /// After a clean stop or a crash, by luck: a file that was closed is checked in another way than one that must be repaired.
    pub(super) async fn rot(&self, node: u64, down: Duration, luck: u64) {
        if luck.is_multiple_of(2) {
            self.cluster.stop(node).await;
        }
        self.cluster.rot(node, luck);
        true_sleep(down).await;
        self.cluster.start(node);
    }

    pub(super) async fn wipe(&self, node: u64, down: Duration) {
        if !self.is_outlived(node, 0).await {
            return self.cluster.spare();
        }
        self.cluster.wipe(node);
        true_sleep(down).await;
        self.cluster.start(node);
    }

    /// The copy is of an earlier life: of its present one, a disk cannot tell how much it has forgotten.
    pub(super) async fn roll_back(&self, node: u64, age: Duration, span: Duration) {
        let cluster = &self.cluster;
        if !wait_until(CALM_MAX, || cluster.starts(node).is_some()).await {
            return cluster.spare();
        }
        let (image, starts) = (cluster.platters(node).image(), cluster.starts(node).unwrap_or(u64::MAX));
        true_sleep(age / 2).await;
        self.restart(node, Duration::ZERO).await;
        true_sleep(age / 2).await;
        if !self.is_outlived(node, starts).await {
            return cluster.spare();
        }
        cluster.put_strange(node, image, Damage::RolledBack);
        cluster.start(node);
        self.put_back_after(node, span).await;
    }

    pub(super) async fn swap(&self, node: u64, with: u64, span: Duration) {
        let image = self.cluster.platters(with).image();
        self.cluster.put_strange(node, image, Damage::Swapped);
        self.cluster.start(node);
        self.put_back_after(node, span).await;
    }

    async fn put_back_after(&self, node: u64, span: Duration) {
        true_sleep(span).await;
        self.cluster.put_back(node);
        self.cluster.start(node);
    }

    async fn is_outlived(&self, node: u64, starts: u64) -> bool {
        wait_until(CALM_MAX, || self.cluster.is_outlived(node, starts)).await
    }
}
