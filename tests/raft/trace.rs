//! What happened, in words: one line an event.
//!
//! Positions are written `index@term`, links `from>to`; of members `(4)` is a learner, and while voters change `+4` only votes in the new
//! majority and `-4` only in the old one. Fields that say nothing (no round, nothing compacted) are left out.

use bytes::Bytes;
use kapu::raft::{Body, Entry, HardState, Membership, Message, Persist, Position, Standing, is_membership};

/// The lines since they were last taken. Costs nothing while it does not record.
#[derive(Default)]
pub struct Trace {
    pub recording: bool,
    lines: Vec<String>,
}

impl Trace {
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.recording {
            self.lines.push(line());
        }
    }

    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.lines)
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

pub fn position(position: Position) -> String {
    format!("{}@{}", position.index, position.term)
}

pub fn entry(entry: &Entry) -> String {
    let at = format!("{}@{}", entry.index, entry.term);
    format!("{at} {}", payload(&entry.payload))
}

fn payload(payload: &Bytes) -> String {
    if is_membership(payload) {
        return members(&Membership::decode(payload).expect("it was appended"));
    }
    match payload.len() {
        0 => "no-op".to_owned(),
        1..=40 => String::from_utf8_lossy(payload).into_owned(),
        bytes => format!("[{bytes} bytes]"),
    }
}

/// Who belongs to the partition, and as what.
pub fn members(membership: &Membership) -> String {
    let word = |(node, member): (_, &kapu::raft::Member)| match membership.standing(node) {
        Some(Standing::Voter) if membership.is_joint() && !member.is_outgoing => format!(" +{node}"),
        Some(Standing::Voter) => format!(" {node}"),
        Some(Standing::Leaving) => format!(" -{node}"),
        Some(Standing::Learner) | None => format!(" ({node})"),
    };
    let words: String = membership
        .members()
        .iter()
        .map(|(node, member)| word((*node, member)))
        .collect();
    if words.is_empty() {
        "no members".to_owned()
    } else {
        format!("members{words}")
    }
}

fn range(entries: &[Entry]) -> String {
    match entries {
        [] => "nothing".to_owned(),
        [only] => format!("{}@{}", only.index, only.term),
        [first, .., last] => format!("{}@{}..{}@{}", first.index, first.term, last.index, last.term),
    }
}

fn hard_state(state: &HardState) -> String {
    let vote = state.vote.map_or_else(|| "nobody".to_owned(), |node| node.to_string());
    format!("t{} vote={vote}", state.term)
}

pub fn persist(persist: &Persist) -> String {
    let state = persist
        .hard_state
        .as_ref()
        .map(|state| format!(" {}", hard_state(state)));
    let reset = persist.reset.map(|at| format!(" anew after {}", position(at)));
    let entries = (!persist.entries.is_empty()).then(|| format!(" {}", range(&persist.entries)));
    format!(
        "#{}{}{}{}",
        persist.id,
        state.unwrap_or_default(),
        reset.unwrap_or_default(),
        entries.unwrap_or_default()
    )
}

pub fn message(message: &Message) -> String {
    let Message { from, to, term, body } = message;
    format!("{from}>{to} t{term} {}", text(body))
}

fn unless_zero(name: &str, value: u64) -> String {
    if value == 0 {
        String::new()
    } else {
        format!(" {name}={value}")
    }
}

fn answer(granted: bool) -> &'static str {
    if granted { "yes" } else { "no" }
}

/// The word for a kind of message.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::PreVote { .. } => "pre-vote",
        Body::PreVoteResponse { .. } => "pre-vote-response",
        Body::Vote { .. } => "vote",
        Body::VoteResponse { .. } => "vote-response",
        Body::Append { .. } => "append",
        Body::AppendResponse { .. } => "append-response",
        Body::AppendRejected { .. } => "append-rejected",
        Body::Heartbeat { .. } => "heartbeat",
        Body::HeartbeatResponse { .. } => "heartbeat-response",
        Body::TimeoutNow { .. } => "timeout-now",
        Body::Snapshot { .. } => "snapshot",
        Body::SnapshotRequest { .. } => "snapshot-request",
        Body::SnapshotRows(_) => "snapshot-rows",
    }
}

fn text(body: &Body) -> String {
    let kind = kind(body);
    match body {
        Body::PreVote { last } | Body::Vote { last, transfer: false } => format!("{kind} last={}", position(*last)),
        Body::Vote { last, transfer: true } => format!("{kind} last={} transfer", position(*last)),
        Body::PreVoteResponse { granted } | Body::VoteResponse { granted } => format!("{kind} {}", answer(*granted)),
        Body::Append {
            prev,
            entries,
            commit,
            round,
        } => {
            let (prev, round) = (position(*prev), unless_zero("round", *round));
            format!("{kind} prev={prev} {} commit={commit}{round}", range(entries))
        }
        Body::AppendResponse { matched, round } => format!("{kind} matched={matched}{}", unless_zero("round", *round)),
        Body::AppendRejected { prev, hint, round } => {
            let round = unless_zero("round", *round);
            format!("{kind} prev={prev} hint={}{round}", position(*hint))
        }
        Body::Heartbeat { commit, round, compact } => {
            let (round, compact) = (unless_zero("round", *round), unless_zero("compact", compact.0));
            format!("{kind} commit={commit}{round}{compact}")
        }
        Body::HeartbeatResponse { round } => format!("{kind}{}", unless_zero("round", *round)),
        Body::Snapshot { at } => format!("{kind} {}", position(*at)),
        Body::TimeoutNow { .. } | Body::SnapshotRequest { .. } | Body::SnapshotRows(_) => kind.to_owned(),
    }
}

/// The bytes of payload that a message carries.
pub fn bytes(body: &Body) -> usize {
    match body {
        Body::Append { entries, .. } => entries.iter().map(|entry| entry.payload.len()).sum(),
        _ => 0,
    }
}
