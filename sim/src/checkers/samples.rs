//! Small made-up runs, for the tests of the checkers.
//!
//! A node lives once and time moves a millisecond from one observation to the next, unless a test says otherwise.

use kapu::raft::Role;

use crate::evidence::{Evidence, Fact, Observation, Voters};
use crate::history::{FencedWrite, Op, Operation, Seen};

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;

/// A run of three nodes and two partitions in which (node, partition, fact) were seen, in this order, each node in its first life.
pub fn observed(facts: Vec<(u64, u32, Fact)>) -> Evidence {
    lived(
        facts
            .into_iter()
            .map(|(node, partition, fact)| (node, 1, partition, fact))
            .collect(),
    )
}

/// As [`observed`], of (node, boot, partition, fact).
pub fn lived(facts: Vec<(u64, u64, u32, Fact)>) -> Evidence {
    let at = |(at, (node, boot, partition, fact)): (u64, _)| Observation {
        at_ns: at * MS,
        node,
        boot,
        partition,
        fact,
    };
    Evidence {
        observations: (0..).zip(facts).map(at).collect(),
        ..cluster()
    }
}

/// Three nodes, two partitions, one part in a thousand of drift, and nothing seen.
pub fn cluster() -> Evidence {
    Evidence {
        nodes: 3,
        partitions: 2,
        drift_ppm_max: 1000,
        ..Evidence::default()
    }
}

/// A leader has sent.
pub const fn led(term: u64) -> Fact {
    Fact::Led { term }
}

/// A replica of three voters whose log ends at `last`, all of it durable, and committed and applied up to `commit`.
pub const fn status(role: Role, term: u64, last: u64, commit: u64) -> Fact {
    status_among(Voters::first(3), role, term, (last, commit))
}

/// As [`status`], among these voters.
pub const fn status_among(voters: Voters, role: Role, term: u64, (last, commit): (u64, u64)) -> Fact {
    Fact::Status {
        role,
        term,
        leader: 0,
        last,
        commit,
        applied: commit,
        durable: last,
        voters,
    }
}

/// An entry was applied.
pub const fn applied(index: u64, term: u64, log_time: u64, digest: u64) -> Fact {
    Fact::Applied {
        index,
        term,
        log_time,
        hlc: None,
        digest,
        is_snapshot: false,
    }
}

/// A snapshot up to an entry was installed.
pub const fn installed(index: u64, term: u64, log_time: u64, digest: u64) -> Fact {
    Fact::Applied {
        index,
        term,
        log_time,
        hlc: None,
        digest,
        is_snapshot: true,
    }
}

/// An entry with this hybrid time was applied.
pub const fn stamped(index: u64, hlc: u64) -> Fact {
    Fact::Applied {
        index,
        term: 1,
        log_time: 0,
        hlc: Some(hlc),
        digest: 0,
        is_snapshot: false,
    }
}

/// A leader of term `leads` has sent an entry.
pub const fn sent(leads: u64, index: u64, term: u64, payload: u64) -> Fact {
    Fact::Sent {
        leads,
        index,
        term,
        payload,
    }
}

/// A run in which clients saw this.
pub fn history(operations: Vec<Operation>) -> Evidence {
    Evidence {
        operations,
        ..cluster()
    }
}

/// An operation on resource `r` by `owner` with a ttl of 100 ms, from `call` to `back` in milliseconds.
pub fn operation(op: Op, owner: &str, (call, back): (u64, u64), outcome: Seen) -> Operation {
    Operation {
        client: 0,
        op,
        resource: "r".to_owned(),
        owner: owner.to_owned(),
        ttl_ms: if matches!(op, Op::TryLock | Op::Extend) { 100 } else { 0 },
        call_ns: call * MS,
        return_ns: (outcome != Seen::Unknown).then_some(back * MS),
        outcome,
        token: None,
        lease_ms: None,
        holder: None,
    }
}

/// A grant of token `token` for 100 ms.
pub fn locked(owner: &str, times: (u64, u64), token: u64) -> Operation {
    with_lease(operation(Op::TryLock, owner, times, Seen::Locked), token)
}

/// A renewal for 100 ms.
pub fn extended(owner: &str, times: (u64, u64), token: u64) -> Operation {
    with_lease(operation(Op::Extend, owner, times, Seen::Extended), token)
}

/// A release.
pub fn unlocked(owner: &str, times: (u64, u64)) -> Operation {
    operation(Op::Unlock, owner, times, Seen::Unlocked)
}

/// A try that met another holder.
pub fn busy(owner: &str, times: (u64, u64)) -> Operation {
    operation(Op::TryLock, owner, times, Seen::Busy)
}

/// A question that was answered with a holder.
pub fn got(holder: &str, times: (u64, u64), token: u64, lease_ms: u64) -> Operation {
    Operation {
        token: Some(token),
        lease_ms: Some(lease_ms),
        holder: Some(holder.to_owned()),
        ..operation(Op::Get, "", times, Seen::Got)
    }
}

fn with_lease(operation: Operation, token: u64) -> Operation {
    Operation {
        token: Some(token),
        lease_ms: Some(100),
        ..operation
    }
}

/// A write to the fenced resource `r`, in milliseconds.
pub fn write(owner: &str, at: u64, token: u64, accepted: bool) -> FencedWrite {
    FencedWrite {
        client: 0,
        resource: "r".to_owned(),
        owner: owner.to_owned(),
        token,
        at_ns: at * MS,
        believed_held: false,
        accepted,
    }
}
