//! Drawing the faults of a plan: when, which kind by its weight, whom, for how long.
//!
//! Times come from one stream and the details of each kind from another, so that a change to one kind leaves the others where they were.

use kapu::env::rng;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::{Coup, Fall, Fault, Kind, Planned};
use crate::options::Options;

/// The longest step of a wall clock: a day.
const WALL_STEP_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The faults of a run with these options.
pub(super) fn faults(options: &Options) -> Vec<Planned> {
    let mut faults = coups(options);
    let mut times = rng(options.seed, "plan times");
    let mut at_ms = 500;
    while let Some(kind) = choose(&mut times, options, false) {
        at_ms += times.random_range(1..=2 * options.fault_every_ms);
        if at_ms >= options.faulty_ms {
            break;
        }
        let mut details = rng(options.seed, &format!("plan {} at {at_ms}", kind.name()));
        let Some(fault) = draw(kind, options, &mut details) else {
            break;
        };
        faults.push(Planned { at_ms, fault });
    }
    faults.extend(super::damage::damages(options));
    faults.extend(super::members::changes(options));
    faults.sort_by_key(|planned| planned.at_ms);
    faults
}

/// The coups of a run, which come whatever else goes wrong.
fn coups(options: &Options) -> Vec<Planned> {
    let mut coups = Vec::new();
    let Some(every_ms) = options.coup_every_ms else {
        return coups;
    };
    let mut times = rng(options.seed, "plan times of coups");
    let mut at_ms = 500;
    loop {
        at_ms += times.random_range(1..=2 * every_ms);
        if at_ms >= options.faulty_ms {
            return coups;
        }
        let details = &mut rng(options.seed, &format!("plan coup at {at_ms}"));
        let fault = Fault::Coup(coup(options, details));
        coups.push(Planned { at_ms, fault });
    }
}

/// A kind, by weight, of those that damage disks or of the others. None when nothing may go wrong.
pub(super) fn choose(rng: &mut StdRng, options: &Options, is_damage: bool) -> Option<Kind> {
    let kinds = || options.faults.iter().filter(|(kind, _)| kind.is_damage() == is_damage);
    let total: u32 = kinds().map(|(_, weight)| weight).sum();
    let mut left = rng.random_range(0..total.max(1));
    for (&kind, &weight) in kinds() {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return Some(kind),
        }
    }
    None
}

fn draw(kind: Kind, options: &Options, rng: &mut StdRng) -> Option<Fault> {
    let node = rng.random_range(1..=options.machines());
    let (from, to) = pair(options.machines(), rng);
    let down_ms = span(rng, 10, 4_000);
    let for_ms = span(rng, 50, 5_000);
    let small = span(rng, 1, 400);
    Some(match kind {
        Kind::Crash => Fault::Crash { node, down_ms },
        Kind::CrashTwice => Fault::CrashTwice {
            node,
            down_ms,
            again_ms: small,
        },
        Kind::CrashAll => Fault::CrashAll { down_ms },
        Kind::Pause => Fault::Pause { node, for_ms },
        Kind::Suspend => Fault::Suspend { node, for_ms },
        Kind::Restart => Fault::Restart { node, down_ms },
        Kind::RollingRestart => Fault::RollingRestart {
            down_ms: small,
            between_ms: down_ms,
        },
        Kind::Cut => Fault::Cut { from, to, for_ms },
        Kind::Isolate => Fault::Isolate { node, for_ms },
        Kind::Split => Fault::Split {
            side: side(options.machines(), None, rng),
            for_ms,
        },
        Kind::Ring => Fault::Ring { for_ms },
        Kind::Bridge => Fault::Bridge {
            side: side(options.machines(), Some(node), rng),
            bridge: node,
            for_ms,
        },
        Kind::Flap => Fault::Flap {
            from,
            to,
            period_ms: small,
            for_ms,
        },
        Kind::Delay => Fault::Delay {
            from,
            to,
            by_ms: small,
            for_ms,
        },
        Kind::Weather => weather(for_ms, rng),
        Kind::SlowDisk => Fault::SlowDisk {
            node,
            by_ms: span(rng, 1, 150),
            for_ms,
        },
        Kind::StallDisk => Fault::StallDisk { node, for_ms },
        Kind::SyncError => Fault::SyncError { node, down_ms },
        Kind::DiskFull => Fault::DiskFull { node, for_ms },
        Kind::Drift => Fault::Drift {
            node,
            ppm: rng.random_range(-options.drift_ppm_max..=options.drift_ppm_max),
        },
        Kind::Deaf => Fault::Deaf { node, for_ms },
        Kind::LateRequests | Kind::LateReplies => late(kind == Kind::LateReplies, node, small, for_ms),
        Kind::Coup => Fault::Coup(coup(options, rng)),
        Kind::StallSync => Fault::StallSync { node, for_ms },
        // Drawn apart.
        Kind::Rot | Kind::Wipe | Kind::RollBack | Kind::Swap => return None,
        Kind::Join | Kind::Leave | Kind::Replace | Kind::Move | Kind::MoveAll | Kind::Transfer => return None,
        Kind::WallStep => step(node, rng),
    })
}

fn weather(for_ms: u64, rng: &mut StdRng) -> Fault {
    Fault::Weather {
        loss: rng.random_range(0..=150),
        duplicate: rng.random_range(0..=150),
        reorder: rng.random_range(0..=300),
        for_ms,
    }
}

/// A wall clock jumps, in either direction.
fn step(node: u64, rng: &mut StdRng) -> Fault {
    let by_ms = i64::try_from(span(rng, 1, WALL_STEP_MS_MAX)).expect("a day is short");
    let by_ms = if rng.random_bool(0.5) { by_ms } else { -by_ms };
    Fault::WallStep { node, by_ms }
}

/// What clients hear, or else what they say, comes late.
const fn late(replies: bool, node: u64, by_ms: u64, for_ms: u64) -> Fault {
    match replies {
        true => Fault::LateReplies { node, by_ms, for_ms },
        false => Fault::LateRequests { node, by_ms, for_ms },
    }
}

/// Of three kinds: a plain one; one in which the old leader sleeps for long while others work; one that finds it writing.
fn coup(options: &Options, rng: &mut StdRng) -> Coup {
    let falls = [Fall::Stays, Fall::Isolated, Fall::Isolated, Fall::Crashed];
    let (asleep, mute) = *[(false, false), (true, false), (false, true)]
        .choose(rng)
        .expect("there is a choice");
    let company = rng.random_range(0..=if asleep { 2 } else { 3 });
    // With all of the clients it gathers entries that nobody else has, until the others have forgotten where they begin.
    let linger_ms_max = if asleep || company == 3 { 2_500 } else { 600 };
    let (stall_ms, slow_ms) = (span(rng, 1, 120), span(rng, 2, 80));
    Coup {
        partition: rng.random_range(0..options.partitions),
        company,
        asleep,
        mute,
        stall_ms: mute.then_some(stall_ms),
        slow_ms: if rng.random_ratio(1, 3) { slow_ms } else { 0 },
        linger_ms: span(rng, 1, linger_ms_max),
        fall: *falls.choose(rng).expect("there is a choice"),
        fall_ms: span(rng, 200, 3_000),
    }
}

/// Between the two bounds, with each order of magnitude as likely as the next.
pub(super) fn span(rng: &mut StdRng, min: u64, max: u64) -> u64 {
    let mut top = max;
    while top > min.max(1) * 3 && rng.random_bool(0.5) {
        top /= 3;
    }
    rng.random_range(min..=top)
}

/// Two nodes, different where there are two.
fn pair(nodes: u64, rng: &mut StdRng) -> (u64, u64) {
    let from = rng.random_range(1..=nodes);
    let step = rng.random_range(1..=nodes.saturating_sub(1).max(1));
    (from, (from - 1 + step) % nodes + 1)
}

/// Some of the nodes but not all, and not the one in the middle.
fn side(nodes: u64, middle: Option<u64>, rng: &mut StdRng) -> Vec<u64> {
    let mut others: Vec<u64> = (1..=nodes).filter(|node| Some(*node) != middle).collect();
    others.shuffle(rng);
    others.truncate((others.len() / 2).max(1));
    others.sort_unstable();
    others
}
