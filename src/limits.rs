//! Every limit of kapu, named, in one place.
//!
//! What happens at each is tested where it is enforced. Limits that an operator may set live in [`crate::config`]; these may not be set.

/// The longest resource name, in bytes.
pub const RESOURCE_BYTES_MAX: usize = 1024;
/// The longest owner, in bytes.
pub const OWNER_BYTES_MAX: usize = 256;
/// The shortest lock lease, in milliseconds.
pub const TTL_MS_MIN: u64 = 1;
/// The longest lock lease, in milliseconds: 24 hours.
pub const TTL_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// The most nodes a cluster may have.
pub const NODES_MAX: usize = 9;
/// A hybrid time that is further ahead of the own wall clock than this, in milliseconds, is reported and not followed: one second.
///
/// Following costs accuracy, refusing costs the order of events between nodes, and neither costs a promise. With NTP machines are within
/// milliseconds; a second leaves room for a leap second that one machine steps over and another smears. A clock that is further off is one that
/// nobody sets, and would lead all the others astray.
pub const HLC_AHEAD_MS_MAX: u64 = 1000;
/// The most partitions a cluster may have.
pub const PARTITIONS_MAX: u32 = 1024;
/// The longest name of a cluster, in bytes.
pub const CLUSTER_BYTES_MAX: usize = 64;
/// The shortest election timeout, in milliseconds. Below it a tick would be shorter than a slow fsync.
pub const ELECTION_TIMEOUT_MS_MIN: u64 = 100;
/// The longest election timeout, in milliseconds: one minute.
pub const ELECTION_TIMEOUT_MS_MAX: u64 = 60 * 1000;
/// The most worker threads of one node.
pub const THREADS_MAX: usize = 256;
/// The longest duration on the command line, in milliseconds: 24 hours, as for a lease.
pub const DURATION_MS_MAX: u64 = TTL_MS_MAX;
/// The most workers of one benchmark.
pub const BENCH_WORKERS_MAX: usize = 16 * 1024;
/// The most locks that one benchmark holds.
pub const BENCH_LOCKS_MAX: u64 = 100_000_000;

/// The most bytes of payload in one entry of the log.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of one command of a state machine.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;
/// The most bytes of commands in one entry; the rest of [`ENTRY_BYTES_MAX`] is for what surrounds them.
pub const ENTRY_COMMAND_BYTES_MAX: usize = 128 * 1024;
/// The most commands in one entry.
pub const ENTRY_COMMANDS_MAX: usize = 1024;
/// The most bytes of entries in one append message, each counted with what it costs beside its payload: room for two of the largest.
pub const APPEND_BYTES_MAX: usize = 520 * 1024;
/// The most append messages that a leader has in flight to one follower.
pub const APPENDS_IN_FLIGHT_MAX: usize = 128;
/// The most bytes of entries that a leader has in flight to one follower.
pub const APPEND_BYTES_IN_FLIGHT_MAX: usize = 8 * 1024 * 1024;
/// The most bytes of entries that a leader appends before they commit. Past it, proposals are refused as overloaded.
pub const UNCOMMITTED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most bytes of recent entries that a partition keeps in memory; older ones are read from the log store.
pub const LOG_TAIL_BYTES_MAX: usize = 1024 * 1024;
/// The most entries that a partition keeps for followers that are out of reach. A follower that lacks older ones gets a snapshot.
pub const LOG_ENTRIES_KEPT_MAX: u64 = 256 * 1024;
/// The most bytes of entries that a partition keeps for followers that are out of reach.
pub const LOG_BYTES_KEPT_MAX: u64 = 64 * 1024 * 1024;
/// A learner that lacks at most so many entries has caught up, and may become a voter.
pub const CAUGHT_UP_ENTRIES_MAX: u64 = 1024;
/// The most bytes of entries handed to a state machine at once.
pub const APPLY_BYTES_MAX: usize = 1024 * 1024;

/// The longest key of a row of a state machine, in bytes.
pub const ROW_KEY_BYTES_MAX: usize = 4 * 1024;
/// The longest value of a row of a state machine, in bytes.
pub const ROW_VALUE_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of rows, keys and values, in one message of a snapshot, though it has at least one row.
pub const SNAPSHOT_ROWS_BYTES_MAX: usize = 128 * 1024;
/// The most messages of a snapshot that a replica asks for between two ticks. What limits the share of a network that a transfer takes.
pub const SNAPSHOT_MESSAGES_PER_TICK_MAX: u32 = 16;
/// The most snapshots that a node receives at a time. Other partitions wait for their turn.
pub const SNAPSHOTS_RECEIVED_MAX: usize = 4;
/// Rows that were asked for and did not come are asked for again after so many ticks.
pub const SNAPSHOT_ASK_AGAIN_TICKS: u32 = 10;
/// A transfer in which no rows came for so many ticks is given up for another that is offered.
pub const SNAPSHOT_PATIENCE_TICKS: u32 = 30;
/// A snapshot that nobody asked for rows of for so many ticks is closed.
pub const SNAPSHOT_IDLE_TICKS_MAX: u32 = 100;
/// While somebody receives a snapshot, the log above it is kept up to so many times what is kept otherwise.
pub const LOG_KEPT_FOR_SNAPSHOT_MAX: u64 = 4;
/// The most requests for rows of a snapshot that wait to be read. Past it they are dropped: they are sent again.
pub const SNAPSHOT_REQUESTS_MAX: usize = 64;
/// A leader asks itself every so many ticks whether another replica should lead.
pub const BALANCE_TICKS: u32 = 50;
/// After an attempt to give leadership away that failed, it waits twice as long, up to so many ticks.
pub const BALANCE_TICKS_MAX: u32 = 3200;
/// The most requests that wait in one partition for their outcome. Past it, requests are refused as overloaded.
pub const PENDING_REQUESTS_MAX: usize = 16 * 1024;
/// The most bytes of requests that wait in one node for their outcome, over all partitions, each counted with [`REQUEST_COST_BYTES`]. Past it,
/// requests are refused as overloaded. What a leader appends for somebody who waits is within it too, so it bounds what is not committed on a node.
pub const NODE_REQUEST_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What a request that waits costs beside its bytes, about.
pub const REQUEST_COST_BYTES: usize = 512;
/// The most requests of those who administer that wait in one partition. Past it, they are refused as overloaded.
pub const ADMIN_REQUESTS_MAX: usize = 64;
/// The most events of a node that are kept for a listener. Past it the oldest are lost, and the listener is told how many. A power of two.
/// An event may hold on to the commands of one entry, of at most [`ENTRY_COMMAND_BYTES_MAX`] bytes.
pub const EVENTS_KEPT_MAX: usize = 1024;
/// The most messages of peers that wait in one partition. Past it they are dropped: Raft sends again.
pub const PENDING_MESSAGES_MAX: usize = 4 * 1024;
/// The most requests of one client connection that wait for their outcome. Past it the stream is not read.
pub const PIPELINE_REQUESTS_MAX: usize = 4 * 1024;

/// The most endpoints that a client knows, given and learnt together, and the most connections that it keeps.
pub const CLIENT_ENDPOINTS_MAX: usize = 32;
/// The most bytes of one endpoint: a DNS name of 253 bytes, a colon, a port.
pub const ENDPOINT_BYTES_MAX: usize = 259;

/// The most bytes of one frame between nodes.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most messages of partitions in one frame.
pub const FRAME_MESSAGES_MAX: usize = 8 * 1024;
/// The longest address that a node tells of itself, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// The greatest term, index, round, sequence or incarnation that is taken from a peer: one more never overflows.
pub const COUNTER_MAX: u64 = u64::MAX / 2;
/// The most earlier lives that a node knows of itself, and says in every frame. A peer that met none of them takes a later count for granted.
pub const EARLIER_LIVES_MAX: usize = 8;
/// The most nodes, members or not, of which a node keeps where they say they are.
pub const PEERS_HEARD_MAX: usize = 64;
/// The most messages that wait for one peer. Past it they are dropped: Raft sends again.
pub const PEER_QUEUE_MESSAGES_MAX: usize = 8 * 1024;
/// The most bytes of entries that wait for one peer. Past it messages are dropped.
pub const PEER_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most streams and unary calls that one client connection has open. Past it they wait at the client.
pub const CONNECTION_STREAMS_MAX: u32 = 1024;
/// The most bytes of one request of a client.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of one answer to a request. A client refuses more.
pub const REPLY_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of a node's status. A client refuses more.
pub const STATUS_BYTES_MAX: usize = 256 * 1024;

/// The most bytes that the committer joins into one group commit.
pub const GROUP_COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The most group commits that the log file keeps as they were written. Past it the oldest are removed, and what is live in them moves.
pub const WAL_BLOBS_MAX: usize = 128 * 1024;
/// The most bytes of group commits that the log file keeps as they were written.
pub const WAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most group commits that one step of garbage collection removes.
pub const COLLECT_BLOBS_MAX: usize = 256;
/// The most bytes of group commits that one step of garbage collection removes, though at least one of them goes.
pub const COLLECT_BYTES_MAX: usize = 1024 * 1024;
/// The most moved entries of one partition that one step of garbage collection removes after they were compacted.
pub const COLLECT_ROWS_MAX: u64 = 4096;
/// The most leftover rows of the state, of a snapshot that was replaced, that are removed at once.
pub const LEFTOVER_ROWS_MAX: usize = 4096;
/// The page cache of the log file, in bytes. Small: recent entries are in the partitions' own tails.
pub const LOG_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The page cache of the state file, in bytes.
pub const STATE_CACHE_BYTES_MAX: usize = 128 * 1024 * 1024;

const _: () = {
    assert!(RESOURCE_BYTES_MAX + OWNER_BYTES_MAX + 256 <= REQUEST_BYTES_MAX);
    assert!(REQUEST_BYTES_MAX <= COMMAND_BYTES_MAX);
    assert!(COMMAND_BYTES_MAX <= ENTRY_COMMAND_BYTES_MAX);
    assert!(ENTRY_COMMAND_BYTES_MAX + ENTRY_COMMANDS_MAX * 16 <= ENTRY_BYTES_MAX);
    assert!(NODES_MAX <= CLIENT_ENDPOINTS_MAX);
    assert!(OWNER_BYTES_MAX + ADDRESS_BYTES_MAX + 1024 <= REPLY_BYTES_MAX);
    assert!((PARTITIONS_MAX as usize) * 128 + NODES_MAX * (ADDRESS_BYTES_MAX + 48) <= STATUS_BYTES_MAX);
    assert!(ENTRY_BYTES_MAX <= APPEND_BYTES_MAX);
    assert!(APPEND_BYTES_MAX <= APPEND_BYTES_IN_FLIGHT_MAX);
    assert!(APPEND_BYTES_MAX * 2 <= FRAME_BYTES_MAX);
    assert!(FRAME_BYTES_MAX <= PEER_QUEUE_BYTES_MAX);
    assert!(FRAME_MESSAGES_MAX <= PEER_QUEUE_MESSAGES_MAX);
    assert!(APPEND_BYTES_MAX <= GROUP_COMMIT_BYTES_MAX);
    assert!(EVENTS_KEPT_MAX.is_power_of_two());
    assert!(UNCOMMITTED_BYTES_MAX >= APPEND_BYTES_IN_FLIGHT_MAX);
    assert!(NODE_REQUEST_BYTES_MAX >= UNCOMMITTED_BYTES_MAX);
    assert!(NODE_REQUEST_BYTES_MAX >= PENDING_REQUESTS_MAX * REQUEST_COST_BYTES);
};
