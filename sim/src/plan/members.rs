//! Changes of the members: what operators do to a cluster while everything else goes wrong too.
//!
//! They come at a pace of their own. Whom they strike is found out while they are done, among those who are members then; so a plan says
//! only by which luck.

use kapu::env::rng;
use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::{Fault, Planned};
use crate::options::Options;

/// Whom of those that it may strike: their number divided by this leaves the place of the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Luck {
    /// Any number.
    pub luck: u64,
}

/// What befalls the members in a run with these options.
pub(super) fn changes(options: &Options) -> Vec<Planned> {
    let mut changes = Vec::new();
    let Some(every_ms) = options.members_every_ms else {
        return changes;
    };
    let mut rng = rng(options.seed, "plan members");
    let mut at_ms = 500;
    loop {
        at_ms += rng.random_range(1..=2 * every_ms);
        let fault = draw(options, &mut rng);
        if at_ms >= options.faulty_ms {
            return changes;
        }
        changes.push(Planned { at_ms, fault });
    }
}

fn draw(options: &Options, rng: &mut StdRng) -> Fault {
    let luck = Luck { luck: rng.random() };
    let partition = rng.random_range(0..options.partitions);
    match rng.random_range(0..9) {
        0 => Fault::Join { ambush: true },
        1 | 2 => Fault::Join { ambush: false },
        3 | 4 => Fault::Leave(luck),
        5 => Fault::Replace(luck),
        6 => Fault::Move(luck),
        7 => Fault::MoveAll {
            down_ms: rng.random_range(1..500),
        },
        _ => Fault::Transfer { partition },
    }
}
