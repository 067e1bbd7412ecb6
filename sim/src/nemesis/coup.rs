//! How a coup is done. Whom it strikes is found out while it is done, and follows from the run alone.

use std::time::Duration;

use kapu::raft::Role;

use super::faults::{CLIENTS_MAX, Way};
use super::{Evil, ms};
use crate::cluster::wait_until;
use crate::plan::{Coup, Fall};
use crate::world::links::Place;
use crate::world::true_sleep;

/// Another leader appears within this time, or never.
const SUCCESSION_MAX: Duration = Duration::from_secs(5);

/// Who leads, and in which term.
type Reign = (u64, u64);

impl Evil {
    /// One at a time: a coup that finds another under way does not take place.
    pub(super) async fn coup(&self, coup: &Coup) {
        let Ok(_alone) = self.throne.try_lock() else { return };
        let Some(old) = self.leader(coup.partition) else { return };
        self.slow_all(ms(coup.slow_ms), true);
        self.depose(old, coup).await;
        let new = self.leader(coup.partition).filter(|new| new.1 > old.1);
        self.fall(new, coup).await;
        self.slow_all(ms(coup.slow_ms), false);
    }

    /// Cuts the leader off until another one has led for a while.
    async fn depose(&self, (old, term): Reign, coup: &Coup) {
        let (links, ways) = (self.cluster.links(), self.exile(old, coup));
        ways.iter().for_each(|(from, to)| links.cut(*from, *to));
        let another = || self.leader(coup.partition).is_some_and(|(_, later)| later > term);
        let sleep = coup.asleep.then(|| self.send_to_sleep(old));
        let succession = async {
            wait_until(SUCCESSION_MAX, another).await;
            true_sleep(ms(coup.linger_ms)).await;
        };
        tokio::join!(biased; self.stall_later(old, coup.stall_ms), succession);
        if let Some(boot) = sleep {
            self.wake(old, boot);
            true_sleep(ms(coup.linger_ms)).await;
        }
        ways.iter().for_each(|(from, to)| links.mend(*from, *to));
        if coup.stall_ms.is_some() {
            self.cluster.platters(old).ail(|ailment| ailment.is_stalled = false);
        }
    }

    async fn fall(&self, new: Option<Reign>, coup: &Coup) {
        match (new, coup.fall) {
            (None, _) | (_, Fall::Stays) => {}
            (Some((new, _)), Fall::Isolated) => self.cut(self.around(new), ms(coup.fall_ms)).await,
            (Some((new, _)), Fall::Crashed) => self.crash(new, ms(coup.fall_ms)).await,
        }
    }

    /// Who leads the partition: of two who believe to, the one with the greater term.
    fn leader(&self, partition: u32) -> Option<Reign> {
        let leads = |node| {
            let status = self.cluster.status(node)?;
            let replica = status.partitions.get(partition as usize)?;
            (replica.role == Role::Leader).then_some((replica.term.0, node))
        };
        let (term, node) = self.cluster.nodes().filter_map(leads).max()?;
        Some((node, term))
    }

    /// Every way between a node and its peers, or from it to them, and between its company of clients and those; the other clients do not
    /// reach it.
    fn exile(&self, node: u64, coup: &Coup) -> Vec<Way> {
        let peers = || self.cluster.nodes().filter(|other| *other != node).map(Place::Node);
        let own = Place::Node(node);
        let (with, without): (Vec<_>, Vec<_>) = (0..CLIENTS_MAX).partition(|client| client % 3 < coup.company);
        let lost = with
            .into_iter()
            .flat_map(|client| peers().map(move |peer| (Place::Client(client), peer)));
        let kept = without.into_iter().map(|client| (Place::Client(client), own));
        let heard = peers().filter(|_| !coup.mute).map(|peer| (peer, own));
        let unheard = peers().map(|peer| (own, peer));
        let clients = lost.chain(kept).flat_map(|(a, b)| [(a, b), (b, a)]);
        heard.chain(unheard).chain(clients).collect()
    }

    fn slow_all(&self, by: Duration, is_slow: bool) {
        for node in self.cluster.nodes() {
            self.cluster.platters(node).ail(|ailment| {
                ailment.slow_by = if is_slow {
                    ailment.slow_by + by
                } else {
                    ailment.slow_by.saturating_sub(by)
                };
            });
        }
    }

    async fn stall_later(&self, node: u64, after_ms: Option<u64>) {
        if let Some(after) = after_ms {
            true_sleep(ms(after)).await;
            self.cluster.platters(node).ail(|ailment| ailment.is_stalled = true);
        }
    }
}
