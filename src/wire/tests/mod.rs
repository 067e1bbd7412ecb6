//! What comes back is what was sent: every codec but the batch, which has its tests beside it.
//!
//! Random and broken bytes are thrown at the decoders in `tests/wire`.

mod arbitrary;
mod refusals;

use proptest::prelude::*;
use prost::Message as _;

use super::admin::{decode_change, encode_change};
use super::frame::HEADER_BYTES_MAX;
use super::*;
use crate::limits;
use crate::lock::Query;
use crate::status::NodeStatus;
use crate::types::{NodeId, PartitionId};
use arbitrary::*;

proptest! {
    #[test]
    fn a_frame_comes_back_as_it_was(frame in frame()) {
        let bytes = encode_frame(&frame.header, &frame.messages);
        prop_assert_eq!(decode_frame(&bytes), Ok(frame));
    }

    #[test]
    fn a_frame_is_never_longer_than_its_bound(frame in frame()) {
        let bound: usize = frame.messages.iter().map(|(_, message)| frame::message_bytes_max(message)).sum();
        prop_assert!(encode_frame(&frame.header, &frame.messages).len() <= bound + HEADER_BYTES_MAX);
    }

    #[test]
    fn the_reader_and_prost_agree_on_a_frame(frame in frame()) {
        let bytes = encode_frame(&frame.header, &frame.messages);
        let again = pb::Frame::decode(bytes.clone()).unwrap().encode_to_vec();
        prop_assert_eq!(decode_frame(&again), Ok(frame));
    }

    #[test]
    fn a_command_comes_back_as_it_was(command in command()) {
        prop_assert_eq!(decode_command(&encode_command(&command)), Ok(command));
    }

    #[test]
    fn a_query_comes_back_as_it_was(resource in resource()) {
        let query = Query::Get { resource };
        prop_assert_eq!(decode_query(&encode_query(&query)), Ok(query));
    }

    #[test]
    fn an_outcome_comes_back_as_it_was(outcome in outcome()) {
        prop_assert_eq!(decode_outcome(&encode_outcome(&outcome)), Ok(outcome.clone()));
        prop_assert_eq!(outcome_from_reply(&outcome_to_reply(&outcome)), Ok(outcome));
    }

    #[test]
    fn a_request_comes_back_as_it_was(id: u64, request in request()) {
        let bytes = encode_request(id, &request).encode_to_vec();
        prop_assert!(bytes.len() <= limits::REQUEST_BYTES_MAX);
        prop_assert_eq!(decode_request(pb::PipelineRequest::decode(&*bytes).unwrap()), (id, Ok(request)));
    }

    #[test]
    fn a_reply_comes_back_as_it_was(id: u64, result in prop_oneof![outcome().prop_map(Ok), error().prop_map(Err)]) {
        let bytes = encode_reply(id, &result).encode_to_vec();
        prop_assert_eq!(decode_reply(pb::PipelineReply::decode(&*bytes).unwrap()), (id, Ok(result)));
    }

    #[test]
    fn a_change_of_members_comes_back_as_it_was(partition: u32, change in change()) {
        let partition = PartitionId(partition);
        prop_assert_eq!(decode_change(encode_change(partition, &change)), Ok((partition, change)));
    }

    #[test]
    fn a_status_comes_back_as_it_was(
        texts in (".{0,20}", ".{0,20}"),
        node_id in 1..=u64::MAX,
        nodes in prop::collection::vec(node_info(), 0..=limits::NODES_MAX),
        partitions in prop::collection::vec(partition_status(), 0..9),
        clocks_ahead in prop::collection::vec((any::<u64>().prop_map(NodeId), any::<u64>()), 0..=limits::NODES_MAX),
    ) {
        let status = NodeStatus { cluster: texts.0, node_id: NodeId(node_id), client_address: texts.1, nodes, partitions, clocks_ahead };
        prop_assert_eq!(decode_status(encode_status(status.clone())), Ok(status));
    }
}
