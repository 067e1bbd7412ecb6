//! What can go wrong with a request, classified by what the caller must do.
//!
//! A *definite* failure means that nothing happened and nothing will. An *indefinite* one means that the request may or may not take
//! effect, now or later. The two never share a variant. An outcome such as `Busy` is no error: it is an answer.

use crate::limits;
use crate::types::{InvalidInput, NodeId, PartitionId};

/// Where the leader of a partition was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderHint {
    /// The leader.
    pub node: NodeId,
    /// Its client address; empty when this node has not learnt it yet.
    pub address: String,
}

/// Another node leads a partition, or none does at the moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct NotLeader {
    /// Which partition.
    pub partition: PartitionId,
    /// How many partitions the cluster has, so that a client can route by itself.
    pub partitions: u32,
    /// Who leads it, when that is known.
    pub leader: Option<LeaderHint>,
}

impl NotLeader {
    fn describe(&self) -> String {
        let Self { partition, leader, .. } = self;
        match leader {
            Some(hint) => format!("partition {partition} is led by node {} at {}", hint.node, hint.address),
            None => format!("partition {partition} has no leader at the moment"),
        }
    }
}

/// A queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overloaded: {what} is at its limit of {limit}; try again later")]
pub struct Overloaded {
    /// Which queue.
    pub what: &'static str,
    /// Its limit.
    pub limit: usize,
}

/// Why a request has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Definite: the request itself is wrong.
    #[error("invalid input: {0}")]
    InvalidInput(#[from] InvalidInput),
    /// Definite: another node leads the partition, or none does at the moment.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Definite: a queue is full.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// Definite: the node is stopping.
    #[error("this node is stopping")]
    Stopping,
    /// Indefinite: the request may or may not take effect.
    #[error("unknown whether the request takes effect: {0}")]
    Unknown(&'static str),
}

impl RequestError {
    /// Whether nothing happened and nothing will.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// Whether the same request of the same owner may succeed when it is sent again, here or elsewhere.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::InvalidInput(_))
    }
}

/// Why a partition did not do what a node was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// Definite: there is no such partition. Ask for another.
    #[error("there is no partition {0}; the cluster has {1}, numbered from 0")]
    NoPartition(PartitionId, u32),
    /// Definite: the command has so many bytes. Split it.
    #[error("the command has {0} bytes; at most {max} are allowed", max = limits::COMMAND_BYTES_MAX)]
    LongCommand(usize),
    /// Definite: another node leads the partition, or none does at the moment, or this one does not serve yet. Ask there, or again.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Definite: a queue is full. Ask again later.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
    /// Definite: the node is stopping, or has failed. Ask another.
    #[error("this node is stopping")]
    Stopping,
    /// Indefinite: a command may or may not take effect. Ask again if it does no harm twice.
    #[error("unknown whether it takes effect: {0}")]
    Unknown(&'static str),
}

impl PartitionError {
    /// Whether nothing happened and nothing will.
    #[must_use]
    pub const fn is_definite(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }

    /// Whether the same may succeed when it is asked for again, here or elsewhere.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::NoPartition(..) | Self::LongCommand(_))
    }
}

/// Why something was not done for somebody who administers a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Definite: there is no such partition.
    #[error("there is no partition {0}; the cluster has {1}, numbered from 0")]
    NoPartition(PartitionId, u32),
    /// Definite: another node leads the partition, or none does at the moment. Ask there, or again.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Definite: the members are being changed already, or the node has not caught up. Ask again.
    #[error("{0}")]
    NotNow(String),
    /// Definite: this cannot be done.
    #[error("{0}")]
    Refused(String),
    /// Definite: the node could not be reached, or is stopping. Ask another.
    #[error("{0}")]
    Unreachable(String),
    /// Indefinite: it may or may not be done. Ask again.
    #[error("unknown whether it is done: {0}")]
    Unknown(String),
}

impl AdminError {
    /// Whether the same request may succeed when it is sent again, here or elsewhere.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::NoPartition(..) | Self::Refused(_))
    }
}
