//! A membership as the payload of an entry.
//!
//! Made by hand and strict, because it must be read by the core, which knows no protobuf, and for as long as a log lives:
//!
//! ```text
//! 0 u8 | version u8 | joint u8 | highest id u64 | count u8 | (id u64 | flags u8 | priority u8 | length u16 | address) * count
//! ```
//!
//! Little-endian. The zero in front tells it from every payload of a state machine. Flags: 1 voter, 2 outgoing.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Member, Membership};
use crate::limits;
use crate::types::NodeId;

/// What the payload of a membership begins with, and no other payload.
const TAG: u8 = 0;
const VERSION: u8 = 1;
const VOTER: u8 = 1;
const OUTGOING: u8 = 2;

/// Bytes that are no membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a membership cannot be read: {0}")]
pub struct MembershipError(&'static str);

/// Whether the payload of an entry is a membership.
#[must_use]
pub fn is_membership(payload: &[u8]) -> bool {
    payload.first() == Some(&TAG)
}

impl Membership {
    /// The membership as the payload of an entry.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_slice(&[TAG, VERSION, u8::from(self.is_joint)]);
        bytes.put_u64_le(self.id_max.0);
        bytes.put_u8(u8::try_from(self.members.len()).expect("at most NODES_MAX"));
        for (node, member) in &self.members {
            let flags = u8::from(member.is_voter) * VOTER + u8::from(member.is_outgoing) * OUTGOING;
            bytes.put_u64_le(node.0);
            bytes.put_slice(&[flags, member.priority]);
            bytes.put_u16_le(u16::try_from(member.address.len()).expect("at most ADDRESS_BYTES_MAX"));
            bytes.put_slice(member.address.as_bytes());
        }
        bytes.freeze()
    }

    /// Reads what [`Membership::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`MembershipError`] in words.
    pub fn decode(bytes: &[u8]) -> Result<Self, MembershipError> {
        let mut reader = Reader(bytes);
        if reader.u8()? != TAG || reader.u8()? != VERSION {
            return Err(MembershipError("its version is not one that this kapu reads"));
        }
        let is_joint = reader.flag(1)? == 1;
        let id_max = NodeId(reader.u64()?);
        let mut members = BTreeMap::new();
        for _ in 0..reader.u8()? {
            let (node, member) = reader.member()?;
            if members.keys().next_back().is_some_and(|last| *last >= node) {
                return Err(MembershipError("its members are not in order"));
            }
            members.insert(node, member);
        }
        if !reader.0.is_empty() {
            return Err(MembershipError("bytes follow its end"));
        }
        let membership = Self::new(members, is_joint, id_max);
        membership.check()?;
        Ok(membership)
    }

    fn check(&self) -> Result<(), MembershipError> {
        let members = || self.members.values();
        let nodes = || self.members.keys();
        let (voters, outgoing) = (
            members().any(|member| member.is_voter),
            members().any(|member| member.is_outgoing),
        );
        if self.members.len() > limits::NODES_MAX {
            Err(MembershipError("it has too many members"))
        } else if nodes().any(|node| *node == NodeId(0) || *node > self.id_max) {
            Err(MembershipError("it has a member of an id that was never given"))
        } else if outgoing != self.is_joint || voters == self.members.is_empty() {
            Err(MembershipError("its voters contradict each other"))
        } else {
            Ok(())
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], MembershipError> {
        let (value, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(MembershipError("it is cut off"))?;
        self.0 = rest;
        Ok(value)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MembershipError> {
        Ok(self.bytes(N)?.try_into().expect("as many as were asked for"))
    }

    fn u8(&mut self) -> Result<u8, MembershipError> {
        Ok(self.array::<1>()?[0])
    }

    fn u64(&mut self) -> Result<u64, MembershipError> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self, max: u8) -> Result<u8, MembershipError> {
        let value = self.u8()?;
        if value <= max {
            Ok(value)
        } else {
            Err(MembershipError("it has a flag that this kapu does not know"))
        }
    }

    fn member(&mut self) -> Result<(NodeId, Member), MembershipError> {
        let node = NodeId(self.u64()?);
        let flags = self.flag(VOTER + OUTGOING)?;
        let priority = self.u8()?;
        let length = usize::from(self.array().map(u16::from_le_bytes)?);
        if length == 0 || length > limits::ADDRESS_BYTES_MAX {
            return Err(MembershipError("it has an address of an impossible length"));
        }
        let address = std::str::from_utf8(self.bytes(length)?).map_err(|_| MembershipError("an address is no text"))?;
        let member = Member {
            address: address.to_owned(),
            priority,
            is_voter: flags & VOTER != 0,
            is_outgoing: flags & OUTGOING != 0,
        };
        Ok((node, member))
    }
}
