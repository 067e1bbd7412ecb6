//! The faults of a run as data, drawn up front: they can be printed, stored, shrunk, and replayed after the code has changed.

use serde::{Deserialize, Serialize};

/// One fault at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// True milliseconds since the start of the faulty phase.
    pub at_ms: u64,
    /// What happens.
    pub fault: Fault,
}

/// What can go wrong. Nodes are counted from one. A fault with a duration ends by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The process dies; what was not synced may be lost, in any subset. It starts again after `down_ms`.
    Crash { node: u64, down_ms: u64 },
    /// As `Crash`, and again while it recovers.
    CrashTwice { node: u64, down_ms: u64, again_ms: u64 },
    /// Everybody dies at once.
    CrashAll { down_ms: u64 },
    /// The process stands still.
    Pause { node: u64, for_ms: u64 },
    /// The process ends cleanly and starts again.
    Restart { node: u64, down_ms: u64 },
    /// Each node in turn ends cleanly and starts again.
    RollingRestart { down_ms: u64, between_ms: u64 },
    /// Frames from `from` to `to` are lost.
    Cut { from: u64, to: u64, for_ms: u64 },
    /// Nobody reaches `node`, nor it anybody.
    Isolate { node: u64, for_ms: u64 },
    /// The nodes on one side reach nobody on the other.
    Split { side: Vec<u64>, for_ms: u64 },
    /// Each node reaches only its neighbours in a ring.
    Ring { for_ms: u64 },
    /// Two sides that meet only in `bridge`.
    Bridge { side: Vec<u64>, bridge: u64, for_ms: u64 },
    /// Frames from `from` to `to` come and go.
    Flap {
        from: u64,
        to: u64,
        period_ms: u64,
        for_ms: u64,
    },
    /// Frames from `from` to `to` take longer.
    Delay {
        from: u64,
        to: u64,
        by_ms: u64,
        for_ms: u64,
    },
    /// Everywhere: a share of frames (per mille) is lost, doubled, or overtaken.
    Weather {
        loss: u32,
        duplicate: u32,
        reorder: u32,
        for_ms: u64,
    },
    /// Every sync takes longer.
    SlowDisk { node: u64, by_ms: u64, for_ms: u64 },
    /// Syncs do not return.
    StallDisk { node: u64, for_ms: u64 },
    /// The next sync fails; the node must stop, and is started again after `down_ms`.
    SyncError { node: u64, down_ms: u64 },
    /// Writes fail for want of space until the time has passed; the node is started again then.
    DiskFull { node: u64, for_ms: u64 },
    /// The wall clock jumps. Nothing may notice.
    WallStep { node: u64, by_ms: i64 },
    /// The monotonic clock runs at another rate, within what is allowed.
    Drift { node: u64, ppm: i64 },
}
