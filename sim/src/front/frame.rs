//! One datagram between a client and a node: what it is, of which session, the answer to what, and bytes of the public wire format.
//!
//! A fixed head of 17 bytes, then the body. Only this simulation speaks it.

use bytes::{BufMut, Bytes, BytesMut};

const HEAD_BYTES: usize = 17;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Which session is this?
    Hello = 1,
    /// This one.
    Welcome = 2,
    /// A `PipelineRequest`.
    Request = 3,
    /// A `PipelineReply`.
    Reply = 4,
    /// The request was for another session; it was not taken.
    Reset = 5,
    /// How are you?
    AskStatus = 6,
    /// A `StatusReply`.
    Status = 7,
}

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Which life of the node; zero where that is not known.
    pub session: u64,
    /// Which exchange of the client.
    pub id: u64,
    /// Protobuf, where the kind has some.
    pub body: Bytes,
}

impl Frame {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEAD_BYTES + self.body.len());
        bytes.put_u8(self.kind as u8);
        bytes.put_u64(self.session);
        bytes.put_u64(self.id);
        bytes.put_slice(&self.body);
        bytes.freeze()
    }

    /// From bytes; none when they are no frame.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let number = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let kinds = [
            Kind::Hello,
            Kind::Welcome,
            Kind::Request,
            Kind::Reply,
            Kind::Reset,
            Kind::AskStatus,
            Kind::Status,
        ];
        let first = *bytes.first()?;
        Some(Self {
            kind: kinds.into_iter().find(|kind| *kind as u8 == first)?,
            session: number(1)?,
            id: number(9)?,
            body: bytes.slice(HEAD_BYTES..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_its_bytes_and_nothing_shorter_is_one() {
        let body = Bytes::from_static(b"body");
        let (session, id) = (u64::MAX - 7, 1 << 40);
        for kind in [Kind::Hello, Kind::Request, Kind::Status] {
            let frame = Frame {
                kind,
                session,
                id,
                body: body.clone(),
            };
            let bytes = frame.encode();
            assert_eq!(Frame::decode(&bytes), Some(frame));
            for len in 0..HEAD_BYTES {
                assert_eq!(Frame::decode(&bytes.slice(..len)), None);
            }
        }
        assert_eq!(Frame::decode(&Bytes::from_static(&[99; 40])), None);
    }
}
