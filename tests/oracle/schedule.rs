//! A random schedule on one side: safety while it lasts, and how soon the cluster works again when everything is healed.

use bytes::Bytes;

use crate::cluster::{Cluster, pick};
use crate::plan::{Event, Kind, Plan};
use crate::replica::{Replica, Role};

/// A healed cluster is at rest after so many election times.
const ELECTION_TIMES_TO_REST: usize = 30;

/// Ticks from healing until all have committed what one leader has.
pub const TICKS_TO_REST: &str = "ticks to rest";
/// Ticks from new proposals until all have committed them.
pub const TICKS_TO_COMMIT: &str = "ticks to commit";

/// Runs `plan` on one side.
pub fn run<R: Replica>(plan: &Plan) -> [(&'static str, usize); 9] {
    let mut cluster = Cluster::<R>::new(plan.shape);
    let mut proposed = 0;
    for event in &plan.events {
        happen(&mut cluster, event, &mut proposed);
    }
    cluster.heal();
    let ticks_to_rest = wait(&mut cluster, Cluster::is_at_rest);
    let payloads = payloads(3, &mut proposed);
    let leader = cluster.leaders()[0];
    assert!(
        cluster.propose(leader, payloads.clone()),
        "a cluster at rest takes proposals"
    );
    cluster.flush(leader);
    let ticks_to_commit = wait(&mut cluster, |cluster| {
        cluster.is_at_rest() && payloads.iter().all(|payload| cluster.checks.has_committed(payload))
    });
    let counts = cluster.counts;
    [
        (TICKS_TO_REST, ticks_to_rest),
        (TICKS_TO_COMMIT, ticks_to_commit),
        ("elections", cluster.checks.elections()),
        ("commits", cluster.checks.committed()),
        ("proposals", counts.proposals),
        ("messages lost", counts.lost),
        ("messages doubled", counts.duplicated),
        ("crashes", counts.crashes),
        ("writes lost in crashes", counts.lost_writes),
    ]
}

/// Ticks until something is so.
fn wait<R: Replica>(cluster: &mut Cluster<R>, reached: impl Fn(&Cluster<R>) -> bool) -> usize {
    let patience = ELECTION_TIMES_TO_REST * usize::try_from(cluster.shape.election_ticks).expect("a few ticks");
    for ticks in 1..=patience {
        cluster.calm_tick();
        if reached(cluster) {
            return ticks;
        }
    }
    panic!("a healed cluster is at rest within {patience} ticks");
}

/// Payloads that nobody proposed before.
pub fn payloads(count: usize, proposed: &mut u64) -> Vec<Bytes> {
    let mut next = || {
        *proposed += 1;
        Bytes::from([&b"p"[..], &proposed.to_be_bytes()].concat())
    };
    (0..count).map(|_| next()).collect()
}

fn happen<R: Replica>(cluster: &mut Cluster<R>, event: &Event, proposed: &mut u64) {
    let id = event.node;
    match event.kind {
        Kind::Tick => cluster.tick(id),
        Kind::TickUntilCampaign => tick_until_campaign(cluster, id),
        Kind::Propose(share, count) => propose(cluster, share, payloads(count, proposed), event.flush),
        Kind::CompleteWrites(count) => cluster.complete_writes(id, count),
        Kind::Hold(held) => {
            if let Some(replica) = cluster.up_mut(id) {
                replica.hold(held);
            }
        }
        Kind::Crash { reached, kept } => cluster.crash(id, reached, kept),
        Kind::Restart => cluster.restart(id),
        Kind::Cut(other) => cluster.cut(id, other),
        Kind::Isolate => cluster.isolate(id),
        Kind::Mend => cluster.mend(),
        Kind::CalmTick => cluster.calm_tick(),
        Kind::Deliver(_) | Kind::DeliverSome(_) | Kind::Lose(_) | Kind::Duplicate(_) => travel(cluster, event),
    }
    if event.flush {
        cluster.flush(id);
    }
}

fn travel<R: Replica>(cluster: &mut Cluster<R>, event: &Event) {
    if cluster.network.is_empty() {
        return;
    }
    let under_way = cluster.network.len();
    match event.kind {
        Kind::Deliver(share) => deliver(cluster, pick(share, under_way), event.flush),
        Kind::DeliverSome(count) => (0..count.min(under_way)).for_each(|_| deliver(cluster, 0, event.flush)),
        Kind::Lose(share) => {
            cluster.network.remove(pick(share, under_way));
            cluster.counts.lost += 1;
        }
        Kind::Duplicate(share) => {
            let copy = cluster.network[pick(share, under_way)].clone();
            cluster.network.push(copy);
            cluster.counts.duplicated += 1;
        }
        _ => unreachable!("only messages travel"),
    }
}

fn deliver<R: Replica>(cluster: &mut Cluster<R>, at: usize, flush: bool) {
    let letter = cluster.network.remove(at);
    let to = letter.to;
    cluster.deliver(letter);
    if flush {
        cluster.flush(to);
    }
}

fn tick_until_campaign<R: Replica>(cluster: &mut Cluster<R>, id: u64) {
    for _ in 0..2 * cluster.shape.election_ticks {
        cluster.tick(id);
        cluster.flush(id);
        if cluster.view(id).is_some_and(|view| view.role == Role::PreCandidate) {
            return;
        }
    }
}

fn propose<R: Replica>(cluster: &mut Cluster<R>, share: u32, payloads: Vec<Bytes>, flush: bool) {
    let leaders = cluster.leaders();
    if leaders.is_empty() {
        return;
    }
    let leader = leaders[pick(share, leaders.len())];
    cluster.propose(leader, payloads);
    if flush {
        cluster.flush(leader);
    }
}
