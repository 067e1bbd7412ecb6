//! How disks are damaged.
//!
//! A cluster bears the loss of what was durable on a minority of its disks, but only when it can know of it: a disk is wiped or rolled back
//! once the disks of all others know of a life that the new image does not. Until then it is not done, as an operator would not.

use std::time::Duration;

use super::{Evil, ms};
use crate::cluster::{Damage, wait_until};
use crate::plan::RollBack;
use crate::world::disk::Image;
use crate::world::true_sleep;

/// So long it is waited for a time at which the damage can be borne.
const CALM_MAX: Duration = Duration::from_secs(8);

impl Evil {
    /// After a clean stop or a crash, by luck: a file that was closed is checked in another way than one that must be repaired.
    pub(super) async fn rot(&self, node: u64, down: Duration, luck: u64) {
        if !self.cluster.can_lose(node) {
            return self.cluster.spare();
        }
        if luck.is_multiple_of(2) {
            self.cluster.stop(node).await;
        }
        self.cluster.rot(node, luck);
        true_sleep(down).await;
        self.cluster.start(node);
    }

    pub(super) async fn wipe(&self, node: u64, down: Duration, blackout: bool) {
        if !self.is_outlived(node, 0).await || !self.cluster.can_lose(node) {
            return self.cluster.spare();
        }
        self.cluster.wipe(node);
        self.black_out(blackout);
        true_sleep(down).await;
        self.cluster.start(node);
    }

    pub(super) async fn roll_back(&self, old: &RollBack) {
        let image = self.old_image(old.node, ms(old.age_ms)).await;
        // Who is alone has nobody who could refuse it.
        let Some(image) = image.filter(|_| self.cluster.can_lose(old.node)) else {
            return self.cluster.spare();
        };
        self.cluster.put_strange(old.node, image, Damage::RolledBack);
        self.black_out(old.blackout);
        self.start_in_vain(old.node, old.in_vain).await;
        self.cluster.start(old.node);
        self.put_back_after(old.node, ms(old.for_ms)).await;
    }

    /// A copy of the disk, made in an earlier life than the one that all others have met: of one life alone, a disk cannot tell how much it has
    /// forgotten. None when that does not come to be.
    async fn old_image(&self, node: u64, age: Duration) -> Option<Image> {
        let cluster = &self.cluster;
        wait_until(CALM_MAX, || cluster.starts(node).is_some()).await;
        let (image, starts) = (cluster.platters(node).image(), cluster.starts(node)?);
        true_sleep(age / 2).await;
        self.restart(node, Duration::ZERO).await;
        true_sleep(age / 2).await;
        self.is_outlived(node, starts).await.then_some(image)
    }

    /// Everybody else loses power and starts again: what they know is what their disks know.
    fn black_out(&self, is_wanted: bool) {
        let off = |other: &u64| is_wanted && !self.cluster.is_intruder(*other) && self.cluster.is_alive(*other);
        for other in self.cluster.nodes().filter(off) {
            self.cluster.crash(other);
            self.cluster.start(other);
        }
    }

    /// Starts a node so many times where it reaches nobody.
    async fn start_in_vain(&self, node: u64, times: u64) {
        let (ways, links) = (self.around(node), self.cluster.links());
        ways.iter().for_each(|(from, to)| links.cut(*from, *to));
        for _ in 0..times {
            self.cluster.start(node);
            wait_until(CALM_MAX, || self.cluster.starts(node).is_some()).await;
            self.cluster.crash(node);
        }
        ways.iter().for_each(|(from, to)| links.mend(*from, *to));
    }

    pub(super) async fn swap(&self, node: u64, with: u64, span: Duration) {
        // A copy of a rotten disk is rotten, and its node would find that before anybody refuses it.
        let is_whole = !self.cluster.register(|register| register.is_lost(with));
        if !is_whole || !self.cluster.can_lose(node) {
            return self.cluster.spare();
        }
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
