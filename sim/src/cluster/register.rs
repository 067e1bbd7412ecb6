//! Who is to belong to the cluster, as its operator has written it down: what changes are compared with in the end.
//!
//! An operator makes one change at a time, gives ids in their order, and takes nobody out whom the others could not do without. Nothing here asks
//! a node anything.

use std::collections::BTreeSet;

/// The operator's register.
#[derive(Debug)]
pub struct Register {
    /// Who belongs to the cluster, or is on the way in or out.
    members: BTreeSet<u64>,
    under_way: Option<Step>,
    /// The highest id so far, and the highest there is a machine for.
    last: u64,
    machines: u64,
    /// Machines that will never run again.
    dead: BTreeSet<u64>,
    /// Disks that hold nothing of worth any more.
    lost: BTreeSet<u64>,
}

/// A change that is not done yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The node joins.
    Joins(u64),
    /// The node leaves.
    Leaves(u64),
    /// The node moves to another address.
    Moves(u64),
}

impl Register {
    /// Of the nodes 1 to `nodes`, on the first of so many machines.
    #[must_use]
    pub fn new(nodes: u64, machines: u64) -> Self {
        Self {
            members: (1..=nodes).collect(),
            under_way: None,
            last: nodes,
            machines,
            dead: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    /// Who belongs to the cluster, or is on the way in or out.
    #[must_use]
    pub const fn members(&self) -> &BTreeSet<u64> {
        &self.members
    }

    /// The change that is not done yet.
    #[must_use]
    pub const fn under_way(&self) -> Option<Step> {
        self.under_way
    }

    /// Whether a node may run: it was called into being, and its machine exists.
    #[must_use]
    pub fn may_run(&self, node: u64) -> bool {
        node <= self.last && !self.dead.contains(&node)
    }

    /// Whether a node was removed, or is being removed.
    #[must_use]
    pub fn is_out(&self, node: u64) -> bool {
        node <= self.last && !self.members.contains(&node) || self.under_way == Some(Step::Leaves(node))
    }

    /// Whether a node's machine or disk is gone for good.
    #[must_use]
    pub fn is_lost(&self, node: u64) -> bool {
        self.lost.contains(&node) || self.dead.contains(&node)
    }

    /// A new node joins, if there is a machine for it and nothing else is under way.
    pub fn join(&mut self) -> Option<u64> {
        if self.under_way.is_some() || self.last >= self.machines {
            return None;
        }
        self.last += 1;
        self.members.insert(self.last);
        self.under_way = Some(Step::Joins(self.last));
        Some(self.last)
    }

    /// A member is to leave, by `luck` one of those without whom the others still decide, unless something is under way.
    pub fn leave(&mut self, luck: u64) -> Option<u64> {
        let node = self.choose(luck, |node| self.members.len() > 1 && self.decide(Some(*node), None))?;
        self.begin(Step::Leaves(node))
    }

    /// This very member is to leave.
    pub fn leave_of(&mut self, node: u64) -> Option<u64> {
        self.begin(Step::Leaves(node))
    }

    /// A member is to move.
    pub fn relocate(&mut self, luck: u64) -> Option<u64> {
        let node = self.choose(luck, |node| !self.is_lost(*node))?;
        self.begin(Step::Moves(node))
    }

    /// What was under way is done.
    pub fn done(&mut self) {
        if let Some(Step::Leaves(node)) = self.under_way.take() {
            self.members.remove(&node);
        }
    }

    /// The machine of a member is lost for good, by `luck` of one that the others can do without, and for which there is another.
    pub fn kill(&mut self, luck: u64) -> Option<u64> {
        if self.last >= self.machines {
            return None;
        }
        let node = self.choose(luck, |node| !self.is_lost(*node) && self.can_lose(*node))?;
        self.kill_of(node).then_some(node)
    }

    /// The machine of this node is lost for good, if the others can do without it.
    pub fn kill_of(&mut self, node: u64) -> bool {
        let may_die = !self.is_lost(node) && self.can_lose(node);
        may_die && self.dead.insert(node)
    }

    /// Whether the others would still decide if the disk of `node` were lost, whatever comes of the change that is under way, and that change does
    /// not wait for `node`.
    #[must_use]
    pub fn can_lose(&self, node: u64) -> bool {
        let moving = match self.under_way {
            Some(Step::Joins(moving) | Step::Moves(moving)) if moving == node => return false,
            Some(Step::Joins(node) | Step::Leaves(node)) => Some(node),
            Some(Step::Moves(_)) | None => None,
        };
        self.decide(None, Some(node)) && self.decide(moving, Some(node))
    }

    /// The disk of a node is lost.
    pub fn lose(&mut self, node: u64) {
        self.lost.insert(node);
    }

    fn begin(&mut self, step: Step) -> Option<u64> {
        let (Step::Joins(node) | Step::Leaves(node) | Step::Moves(node)) = step;
        if self.under_way.is_some() {
            return None;
        }
        self.under_way = Some(step);
        Some(node)
    }

    fn choose(&self, luck: u64, is_wanted: impl Fn(&u64) -> bool) -> Option<u64> {
        let wanted: Vec<_> = self.members.iter().copied().filter(is_wanted).collect();
        let at = luck.checked_rem(wanted.len() as u64)?;
        wanted.get(usize::try_from(at).ok()?).copied()
    }

    /// Whether the members, but for one who is no voter, decide without those who are lost, and without one more.
    fn decide(&self, no_voter: Option<u64>, lost_too: Option<u64>) -> bool {
        let voters = || self.members.iter().filter(|member| Some(**member) != no_voter);
        let is_well = |member: &&u64| !self.is_lost(**member) && Some(**member) != lost_too;
        voters().filter(is_well).count() > voters().count() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_one_at_a_time_and_ids_only_grow() {
        let mut register = Register::new(3, 5);
        assert_eq!(register.join(), Some(4));
        assert!(register.join().is_none() && register.leave(0).is_none() && register.relocate(0).is_none());
        register.done();
        assert_eq!(register.leave(1), Some(2));
        assert!(register.is_out(2) && register.members().contains(&2), "on its way out");
        register.done();
        assert!(register.is_out(2) && !register.members().contains(&2));
        assert_eq!(register.join(), Some(5));
        register.done();
        assert_eq!(register.join(), None, "no machine is left");
    }

    #[test]
    fn nobody_leaves_whom_the_others_need() {
        let mut register = Register::new(3, 3);
        register.lose(1);
        assert_eq!(register.leave(7), Some(1), "of three, only the lost one");
        register.done();
        assert_eq!(register.leave(0), Some(2));
        register.done();
        assert_eq!(register.leave(0), None, "the last one");
    }

    #[test]
    fn a_minority_can_be_lost_before_and_after_the_change_under_way() {
        let mut register = Register::new(3, 4);
        assert!(register.can_lose(2));
        register.lose(2);
        assert!(!register.can_lose(3), "two of three");
        assert_eq!(register.join(), Some(4));
        assert!(!register.can_lose(3), "two of four, and two of three");
        assert!(!register.can_lose(4), "it is waited for");
        register.done();
        assert!(!register.can_lose(3), "two of four");
    }

    #[test]
    fn a_machine_dies_only_where_there_is_another() {
        let mut register = Register::new(3, 4);
        let dead = register.kill(4).unwrap();
        assert!(!register.may_run(dead) && register.is_lost(dead) && register.members().contains(&dead));
        assert!(register.may_run(1) && !register.may_run(4));
        register.join();
        assert!(register.may_run(4));
        register.done();
        assert!(register.kill(0).is_none());
    }
}
