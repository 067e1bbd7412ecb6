//! Random schedules as data, drawn from their number before anything happens, so that both sides get the very same.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::replica::Shape;

/// The most events of one schedule before everything is healed.
const EVENTS_MAX: usize = 400;
/// The sizes of clusters.
const NODES: [u64; 6] = [1, 3, 3, 4, 5, 5];

/// What happens, and whether the node does at once what it then wants done.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub node: u64,
    pub kind: Kind,
    pub flush: bool,
}

/// Shares are of 2^32, and pick one of what there is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Tick,
    /// Ticks until it asks for pre-votes, or for two election times.
    TickUntilCampaign,
    /// Any message, not only the oldest: links reorder.
    Deliver(u32),
    /// So many of the oldest messages.
    DeliverSome(usize),
    Lose(u32),
    Duplicate(u32),
    /// Some leader takes so many entries.
    Propose(u32, usize),
    CompleteWrites(usize),
    Hold(bool),
    Crash {
        reached: u32,
        kept: u32,
    },
    Restart,
    Cut(u64),
    Isolate,
    Mend,
    CalmTick,
}

pub struct Plan {
    pub shape: Shape,
    pub events: Vec<Event>,
}

/// An early place is more likely: networks mostly keep their order.
fn early(rng: &mut StdRng) -> u32 {
    rng.random::<u32>().min(rng.random::<u32>())
}

impl Plan {
    pub fn draw(number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(number);
        let heartbeat_ticks = rng.random_range(1..3);
        let shape = Shape {
            nodes: NODES[rng.random_range(0..NODES.len())],
            heartbeat_ticks,
            election_ticks: heartbeat_ticks * rng.random_range(3..6),
            seed: number,
        };
        let count = rng.random_range(50..EVENTS_MAX);
        let events = (0..count).map(|_| draw_event(&mut rng, shape.nodes)).collect();
        Self { shape, events }
    }
}

fn draw_event(rng: &mut StdRng, nodes: u64) -> Event {
    let kind = match rng.random_range(0..1000) {
        0..400 => Kind::Deliver(early(rng)),
        400..480 => Kind::DeliverSome(rng.random_range(1..20)),
        480..580 => Kind::Tick,
        580..620 => Kind::TickUntilCampaign,
        620..690 => Kind::CompleteWrites(rng.random_range(1..4)),
        690..780 => Kind::Propose(rng.random(), rng.random_range(1..4)),
        780..800 => Kind::Lose(early(rng)),
        800..825 => Kind::Duplicate(early(rng)),
        825..845 => Kind::Crash {
            reached: rng.random(),
            kept: rng.random(),
        },
        845..880 => Kind::Restart,
        880..890 => Kind::Cut(rng.random_range(1..=nodes)),
        890..900 => Kind::Isolate,
        900..920 => Kind::Mend,
        920..940 => Kind::Hold(true),
        940..955 => Kind::Hold(false),
        _ => Kind::CalmTick,
    };
    Event {
        node: rng.random_range(1..=nodes),
        kind,
        flush: rng.random_bool(0.8),
    }
}
