//! Planted bugs: what others shipped, in one line each, so that the simulation can show that it would find them here.
//!
//! A switch in the code reads `if mutants::on(Mutant::X)` or `mutants::either(Mutant::X, bug, truth)`. Without the cargo feature `mutants` that is constant and
//! vanishes, with every name below. With it, one of them may be chosen for the whole process, once. Nothing here is ever on by itself.

macro_rules! mutants {
    ($($variant:ident, $name:literal, $sentence:literal;)*) => {
        /// One planted bug.
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $(#[doc = $sentence] $variant,)*
        }

        #[cfg(feature = "mutants")]
        impl Mutant {
            /// All of them, from the log upwards.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// How it is called on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it does, and where the world has seen it.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)*
                }
            }
        }
    };
}

mutants! {
    // Raft: elections.
    VoteBeforeDurable, "vote-before-durable", "A vote is answered before it is on disk (Zeebe: vote not durable before the reply).";
    CandidateBeforeDurable, "candidate-before-durable", "A candidate asks, wins and leads before its own vote is on disk.";
    StepDownClearsVote, "step-down-clears-vote", "Stepping down in the same term takes the vote back (CCF).";
    VoteIgnoresLog, "vote-ignores-log", "A voter does not compare logs, so a candidate without committed entries wins.";
    VoteComparesLength, "vote-compares-length", "A voter compares the length of logs before their terms.";
    MajorityHalf, "majority-half", "Half of the voters are a majority.";
    TwoOfFive, "two-of-five", "A quorum is max(2, n/2), so two of five commit (Kommander).";
    // Raft: the log.
    UnanchoredAppend, "unanchored-append", "An append is accepted though the entry before it has another term.";
    TruncatesMatching, "truncates-matching", "An append drops what follows it even where it matches.";
    AckBeforeDurable, "ack-before-durable", "A follower acknowledges what it received, not what is durable.";
    LeaderCountsItselfEarly, "leader-counts-itself-early", "The leader counts itself before its own write is durable (etcd: single member).";
    LateCompletionCounted, "late-completion-counted", "A completed write counts for entries that have replaced its own (etcd: async ABA).";
    AckFromRejection, "ack-from-rejection", "A rejection raises what the leader believes a follower has (CCF: commit on a NACK).";
    CommitsEarlierTerm, "commits-earlier-term", "An entry of an earlier term is committed by counting (Raft figure 8).";
    AppendCommitsBeyondMatch, "append-commits-beyond-match", "An append commits entries that it did not show to match.";
    HeartbeatCommitsBeyondMatch, "heartbeat-commits-beyond-match", "A heartbeat commits entries that were never shown to match.";
    // Raft: members.
    NewVotersAlone, "new-voters-alone", "In a joint membership the new voters decide alone: disjoint majorities.";
    ChangeBeforeOpening, "change-before-opening", "A leader changes members before it has committed anything in its term.";
    ChangesOverlap, "changes-overlap", "A leader begins a change before the last one is committed.";
    JointLeftEarly, "joint-left-early", "A joint membership is left before it is committed (Camunda).";
    LearnerRefusesVotes, "learner-refuses-votes", "A learner that was just promoted and does not know it refuses its vote (etcd).";
    LearnerVotes, "learner-votes", "A learner counts as a voter from the moment it is added.";
    SettingsUnheeded, "settings-unheeded", "A node looks for its peers only where its log says that they were.";
    // Raft: snapshots.
    SnapshotKeepsMembership, "snapshot-keeps-membership", "A snapshot leaves the membership that was there before (openraft).";
    SnapshotOverNewer, "snapshot-over-newer", "A snapshot is installed over a log that has its last entry and more (Camunda).";
    SnapshotRowsMixed, "snapshot-rows-mixed", "Rows that were kept of one snapshot count for the next (etcd#18055: two in quick succession).";
    SnapshotRowLost, "snapshot-row-lost", "A message of a snapshot lacks its first row.";
    SnapshotWithoutLogTime, "snapshot-without-log-time", "A snapshot does not carry log time: leases begin anew.";
    SnapshotKeepsMachine, "snapshot-keeps-machine", "After a snapshot the machine is the one that was there before.";
    LogCutAboveState, "log-cut-above-state", "The log is cut above what is saved.";
    SnapshotKeepsSuffix, "snapshot-keeps-suffix", "A conflicting log outlives the snapshot that takes its place (hashicorp/raft).";
    SnapshotLeavesGap, "snapshot-leaves-gap", "After a snapshot the log begins one entry too late (redisraft).";
    // Raft: reads.
    ReadByOldRound, "read-by-old-round", "A read is confirmed by answers to what was sent before it (etcd: context reused).";
    ReadBeforeOpening, "read-before-opening", "A new leader reads before it has committed anything in its term (etcd).";
    // Storage.
    CompletesBeforeCommit, "completes-before-commit", "The committer reports writes as durable before it commits them.";
    SyncSkipped, "sync-skipped", "A file's sync does nothing.";
    SyncErrorIgnored, "sync-error-ignored", "A commit that failed is taken for done (fsyncgate).";
    HardStateLostAtCollection, "hard-state-lost-at-collection", "Garbage collection drops the hard state of a silent partition.";
    MovedEntriesLost, "moved-entries-lost", "Garbage collection drops live entries.";
    LastBlobIgnored, "last-blob-ignored", "Recovery takes the last group commit for a torn tail and drops it.";
    DamageIgnored, "damage-ignored", "What is read from a disk is not compared with its checksums.";
    PeersForgotten, "peers-forgotten", "Which disk a peer had is known only as long as the process runs (KAFKA-14077: an empty disk votes again).";
    PeerDiskIgnored, "peer-disk-ignored", "A peer is heard whatever disk it has, wiped or rolled back.";
    LivesOnlyCounted, "lives-only-counted", "A disk that was rolled back is refused only until it has started often enough.";
    RowsWithoutMark, "rows-without-mark", "Rows are saved and their applied index is not (etcd: consistent index).";
    MarkWithoutRows, "mark-without-rows", "The applied index is saved and removed rows are not.";
    // Locks.
    TokenReused, "token-reused", "An unlock gives its fencing token back.";
    CounterNotSaved, "counter-not-saved", "The grant counter is not saved; a restart guesses it from the locks that are held.";
    ExpiresEarly, "expires-early", "A lease ends half a second before its end.";
    ExtendRevives, "extend-revives", "An extend after the end of a lease creates the hold again (etcd: keep-alive of an ended lease).";
    UnlockIgnoresOwner, "unlock-ignores-owner", "Anybody's unlock frees a lock (Curator: the retry releases a newer hold).";
    ReacquireShortens, "reacquire-shortens", "A late retry of a try-lock shortens the lease.";
    ReacquireNewToken, "reacquire-new-token", "A try-lock of the holder takes another fencing token.";
    // Partition.
    LogTimeRestarts, "log-time-restarts", "Log time starts again from zero at a new leader.";
    LogTimeOfNode, "log-time-of-node", "Log time is the leader's own clock and jumps with the leader.";
    LogTimeOfWall, "log-time-of-wall", "Log time is measured by the wall clock, and a step of it ends leases.";
    HybridTimeForgotten, "hybrid-time-forgotten", "A new leader does not go on from the hybrid time of the log.";
    ReplyAtPropose, "reply-at-propose", "The outcome is decided and answered when the command is proposed.";
    ExpiryByLeaderClock, "expiry-by-leader-clock", "A query ends a lease by the leader's clock and not by the log.";
    CallersKept, "callers-kept", "A deposed leader answers its callers with whatever is applied at their index.";
    LostLeadershipIsDefinite, "lost-leadership-is-definite", "A command that may yet commit is refused as if it never would.";
    // Client.
    RetryUnderNewOwner, "retry-under-new-owner", "A retry after a lost reply uses another owner.";
    OwnersCollide, "owners-collide", "Every client draws the same owner.";
    LeaseFromReply, "lease-from-reply", "A lease is counted from the arrival of the reply.";
    GuardNeverLost, "guard-never-lost", "A guard does not look at the clock.";
    UnknownIsDefinite, "unknown-is-definite", "A lost reply is taken for a refusal.";
}

/// Whether the planted bug `mutant` is chosen. Never, in what is shipped.
#[cfg(not(feature = "mutants"))]
#[inline]
#[must_use]
pub const fn on(_mutant: Mutant) -> bool {
    false
}

/// What the code says, or, while the planted bug `mutant` is chosen, what that bug says.
#[inline]
#[must_use]
pub fn either<T>(mutant: Mutant, bug: T, truth: T) -> T {
    if on(mutant) { bug } else { truth }
}

#[cfg(feature = "mutants")]
mod chosen {
    use std::sync::OnceLock;

    use crate::mutants::Mutant;

    static CHOSEN: OnceLock<Mutant> = OnceLock::new();

    /// Whether the planted bug `mutant` is chosen.
    #[must_use]
    pub fn on(mutant: Mutant) -> bool {
        CHOSEN.get() == Some(&mutant)
    }

    /// Plants the bug called `name` in this process, for good.
    ///
    /// # Errors
    /// In words, when there is no such bug, or another one is planted.
    pub fn choose(name: &str) -> Result<Mutant, String> {
        let mutant = Mutant::ALL.iter().find(|mutant| mutant.name() == name);
        let mutant = *mutant.ok_or_else(|| format!("no planted bug is called {name}"))?;
        CHOSEN
            .set(mutant)
            .map_err(|_| "a process has one planted bug at most".to_owned())?;
        Ok(mutant)
    }
}

#[cfg(feature = "mutants")]
pub use chosen::{choose, on};

#[cfg(all(test, feature = "mutants"))]
mod tests {
    use std::collections::BTreeSet;

    use crate::mutants::{Mutant, choose, on};

    #[test]
    fn names_are_given_once_and_sentences_end() {
        let names: BTreeSet<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        assert_eq!(names.len(), Mutant::ALL.len());
        assert!(Mutant::ALL.iter().all(|mutant| mutant.sentence().ends_with('.')));
    }

    #[test]
    fn nothing_is_on_unless_it_is_chosen() {
        assert!(!Mutant::ALL.iter().any(|mutant| on(*mutant)));
        assert!(choose("no-such-bug").is_err());
    }
}
