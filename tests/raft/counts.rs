//! How often what happened: a sweep that never saw some kind of event has tested nothing.

/// Counted by the cluster as it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub lost: usize,
    pub duplicated: usize,
    pub step_downs: usize,
    pub truncations: usize,
    pub crashes: usize,
    pub lost_writes: usize,
    pub restarts: usize,
    pub handovers: usize,
    pub compactions: usize,
    pub changes: usize,
    pub changes_refused: usize,
    pub members_added: usize,
    pub snapshots: usize,
    pub snapshots_late: usize,
    pub snapshots_cut_short: usize,
    pub reads_confirmed: usize,
    pub reads_failed: usize,
    pub elections: usize,
    pub commits: usize,
}

impl Counts {
    /// Every count with its name.
    pub fn by_name(&self) -> [(&'static str, usize); 19] {
        [
            ("elections", self.elections),
            ("commits", self.commits),
            ("messages lost", self.lost),
            ("messages duplicated", self.duplicated),
            ("leaders stepped down", self.step_downs),
            ("truncations", self.truncations),
            ("crashes", self.crashes),
            ("writes lost in crashes", self.lost_writes),
            ("restarts", self.restarts),
            ("handovers", self.handovers),
            ("compactions", self.compactions),
            ("memberships committed", self.changes),
            ("changes of members refused", self.changes_refused),
            ("members added", self.members_added),
            ("snapshots installed", self.snapshots),
            ("snapshots that came too late", self.snapshots_late),
            ("crashes between state and log", self.snapshots_cut_short),
            ("reads confirmed", self.reads_confirmed),
            ("reads failed", self.reads_failed),
        ]
    }
}
