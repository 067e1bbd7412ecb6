//! Damage: what befalls disks for good, drawn apart from the other faults.
//!
//! It strikes a minority of the disks of a run at most, and each of them once. When it can be borne is found out by the nemesis.

use kapu::env::rng;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::draw::{choose, span};
use super::{Fault, Kind, Planned};
use crate::options::Options;

/// The node comes back on a copy of its disk, made in an earlier life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollBack {
    /// Whose.
    pub node: u64,
    /// How old the copy is then.
    pub age_ms: u64,
    /// How often the node starts on it before it reaches anybody.
    pub in_vain: u64,
    /// The power of all others goes with it: they know what their disks know.
    pub blackout: bool,
    /// When the true disk returns.
    pub for_ms: u64,
}

/// How many of `nodes` disks may be damaged in one run.
#[must_use]
pub const fn damaged_max(nodes: u64) -> u64 {
    nodes.saturating_sub(1) / 2
}

/// What befalls disks for good, in one of three runs in which it may: a node that stays away leaves less to be broken by others.
pub(super) fn damages(options: &Options) -> Vec<Planned> {
    const ONE_IN: u64 = 3;
    let mut rng = rng(options.seed, "plan damages");
    let most = damaged_max(options.nodes);
    if rng.random_range(0..ONE_IN) > 0 || most == 0 {
        return Vec::new();
    }
    let mut nodes: Vec<u64> = (1..=options.nodes).collect();
    nodes.shuffle(&mut rng);
    nodes.truncate(usize::try_from(rng.random_range(1..=most)).unwrap_or_default());
    let mut damage = |node| {
        let kind = choose(&mut rng, options, true)?;
        let at_ms = rng.random_range(500..options.faulty_ms * 3 / 4);
        let fault = draw_damage(kind, node, options, &mut rng)?;
        Some(Planned { at_ms, fault })
    };
    nodes.into_iter().filter_map(&mut damage).collect()
}

fn draw_damage(kind: Kind, node: u64, options: &Options, rng: &mut StdRng) -> Option<Fault> {
    let (down_ms, for_ms, luck) = (span(rng, 10, 4_000), span(rng, 500, 10_000), rng.random());
    let with = node % options.nodes + 1;
    let age_ms = span(rng, 100, 5_000);
    let (blackout, in_vain) = (rng.random_bool(0.5), rng.random_range(0..=3));
    Some(match kind {
        Kind::Rot => Fault::Rot { node, down_ms, luck },
        Kind::Wipe => Fault::Wipe {
            node,
            down_ms,
            blackout,
        },
        // Long: only a node that is asked for something on an old disk can do harm.
        Kind::RollBack => Fault::RollBack(RollBack {
            node,
            age_ms,
            in_vain,
            blackout,
            for_ms: 3 * for_ms,
        }),
        Kind::Swap => Fault::Swap { node, with, for_ms },
        _ => return None,
    })
}
