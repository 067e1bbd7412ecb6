//! Opening a data directory: both files, checked against who the node is and against each other.
//!
//! Nothing is decided from a directory that might not be ours: every difference is an error with both values. The node's start is counted
//! durably before anything else may happen (the incarnation), so that no two runs of a node are ever mistaken for one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt as _;

use super::redb::collect::CollectBounds;
use super::redb::database::NamedDatabase;
use super::redb::log::RedbLog;
use super::redb::log_file::LogFile;
use super::redb::meta::Meta;
use super::redb::state::RedbState;
use super::redb::{LOG_FILE, STATE_FILE, state_file};
use super::{Counters, FailureHandler, LogStore, PeerLife, RememberPeer, RememberRefusal, StateStore, StorageError};
use crate::clock::BoxFuture;
use crate::env::Env;
use crate::limits;
use crate::mutants::{self, Mutant};
use crate::raft::Membership;
use crate::types::{Incarnation, NodeId, StorageId};

/// Who the node is, as far as its data must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// This node.
    pub node_id: NodeId,
    /// How many partitions the cluster has.
    pub partitions: u32,
    /// Who belongs to the cluster when the directory is created, and never looked at again. Empty for a node that is to be added.
    pub membership: Membership,
}

/// How much room storage takes. The defaults are right for a server; tests take less.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The page cache of the log, in bytes.
    pub log_cache_bytes: usize,
    /// The page cache of the state, in bytes.
    pub state_cache_bytes: usize,
    /// The most group commits kept as they were written.
    pub wal_blobs_max: usize,
    /// The most bytes of group commits kept as they were written.
    pub wal_bytes_max: usize,
    /// The most leftover rows of the state that are removed at once.
    pub leftover_rows_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_cache_bytes: limits::LOG_CACHE_BYTES_MAX,
            state_cache_bytes: limits::STATE_CACHE_BYTES_MAX,
            wal_blobs_max: limits::WAL_BLOBS_MAX,
            wal_bytes_max: limits::WAL_BYTES_MAX,
            leftover_rows_max: limits::LEFTOVER_ROWS_MAX,
        }
    }
}

/// An open data directory, or what a user brings in its place ([`crate::node::NodeBuilder::storage`]).
///
/// - `storage_id`, `earlier` and `initial_membership` are kept from the first start on, and `incarnation` is greater at each start, durably before
///   this value exists. A store that forgets any of them is to be a new node, with a new id.
/// - Once `remember_refusal` was called, the storage is not opened again.
pub struct Opened {
    /// The logs.
    pub log: Arc<dyn LogStore>,
    /// The rows of the state machines.
    pub state: Arc<dyn StateStore>,
    /// What the log has committed since now.
    pub log_counters: Arc<Counters>,
    /// Which directory this is.
    pub storage_id: StorageId,
    /// The life that begins now.
    pub incarnation: Incarnation,
    /// The lives before that, in order, as far as they are known.
    pub earlier: Vec<Incarnation>,
    /// The latest life of each peer that was ever met.
    pub peers: BTreeMap<NodeId, PeerLife>,
    /// Keeps such lives.
    pub remember_peer: RememberPeer,
    /// Keeps why peers refuse this disk: it will not be opened again.
    pub remember_refusal: RememberRefusal,
    /// Who belonged to the cluster when the directory was created, whatever is said today.
    pub initial_membership: Membership,
    /// Completes when every handle on `log` and `state`, snapshots too, is gone, what they were given is written, and both files are closed.
    pub closed: BoxFuture<'static, ()>,
}

/// Opens the data directory of `env`, or creates it, and starts its two writers.
///
/// `on_failure` is called once, with the first error after this returns; from then on nothing is completed any more.
///
/// # Errors
/// [`StorageError`] says which file, what is wrong, and what to do.
pub fn open(env: &Env, identity: &Identity, on_failure: FailureHandler) -> Result<Opened, StorageError> {
    open_with(env, identity, on_failure, Options::default())
}

/// The name of the cluster that the data directory of `env` belongs to, and how many partitions it has; none when it is new.
///
/// # Errors
/// As [`open`].
pub fn stored_identity(env: &Env) -> Result<Option<(String, u32)>, StorageError> {
    let log = NamedDatabase::open(&*env.disk, LOG_FILE, limits::LOG_CACHE_BYTES_MAX)?;
    let stored = {
        let transaction = log.begin_write()?;
        let meta = Meta::open(&log, &transaction)?;
        if meta.is_new()? { None } else { Some(meta.cluster()?) }
    };
    log.close();
    Ok(stored)
}

/// Opens a data directory with other options.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    env: &Env,
    identity: &Identity,
    on_failure: FailureHandler,
    options: Options,
) -> Result<Opened, StorageError> {
    let log = NamedDatabase::open(&*env.disk, LOG_FILE, options.log_cache_bytes)?;
    let start = start_log(env, &log, identity)?;
    let state = NamedDatabase::open(&*env.disk, STATE_FILE, options.state_cache_bytes)?;
    check_state(&state, identity, &start)?;
    if !start.has_state {
        remember_state(&log)?;
    }
    let on_failure = once(on_failure);
    let bounds = CollectBounds {
        blobs_max: options.wal_blobs_max,
        bytes_max: options.wal_bytes_max,
    };
    let (log, log_closed) = RedbLog::start(env, log, identity.partitions, bounds, Arc::clone(&on_failure))?;
    let (state, state_closed) = RedbState::start(env, state, options.leftover_rows_max, on_failure)?;
    Ok(Opened {
        log_counters: log.counters(),
        remember_peer: log.remember_peer(),
        remember_refusal: log.remember_refusal(),
        log: Arc::new(log),
        state: Arc::new(state),
        storage_id: start.storage_id,
        incarnation: start.incarnation,
        earlier: start.earlier,
        peers: start.peers,
        initial_membership: start.initial_membership,
        closed: Box::pin(async move {
            // An error says that the task was dropped, and with it the file.
            let _ = log_closed.await;
            let _ = state_closed.await;
        }),
    })
}

/// What the log's file says of this start.
struct Start {
    storage_id: StorageId,
    incarnation: Incarnation,
    earlier: Vec<Incarnation>,
    peers: BTreeMap<NodeId, PeerLife>,
    initial_membership: Membership,
    has_state: bool,
}

fn start_log(env: &Env, log: &NamedDatabase, identity: &Identity) -> Result<Start, StorageError> {
    let transaction = log.begin_write()?;
    let start = {
        let mut meta = Meta::open(log, &transaction)?;
        if meta.is_new()? {
            meta.create(identity, StorageId(env.rng("storage id").random()))?;
            meta.set_initial_membership(&identity.membership)?;
        }
        if let Some(reason) = meta.refusal()? {
            return Err(log.mismatch(format!(
                "is not what this node had when its peers last met it ({reason}); restore the disk that it had, or replace the node"
            )));
        }
        Start {
            storage_id: meta.check(identity)?,
            earlier: meta.lives()?,
            incarnation: meta.count_start(env.rng("incarnation").random())?,
            initial_membership: meta.initial_membership()?,
            peers: known_peers(&meta)?,
            has_state: meta.has_state()?,
        }
    };
    LogFile::create_tables(log, &transaction)?;
    log.commit(transaction)?;
    Ok(start)
}

/// What is known of every peer that was ever met.
fn known_peers(meta: &Meta<'_>) -> Result<BTreeMap<NodeId, PeerLife>, StorageError> {
    if mutants::on(Mutant::PeersForgotten) {
        return Ok(BTreeMap::new());
    }
    meta.peers()
}

fn check_state(state: &NamedDatabase, identity: &Identity, start: &Start) -> Result<(), StorageError> {
    let transaction = state.begin_write()?;
    {
        let mut meta = Meta::open(state, &transaction)?;
        if meta.is_new()? {
            if start.has_state {
                return Err(state.mismatch(format!(
                    "is empty, and {LOG_FILE} beside it says that it was written before; restore the file that was there"
                )));
            }
            meta.create(identity, start.storage_id)?;
        }
        let found = meta.check(identity)?;
        if found != start.storage_id {
            return Err(state.mismatch(format!(
                "belongs to storage {found}, and {LOG_FILE} beside it to storage {}; restore both files from the same copy",
                start.storage_id
            )));
        }
    }
    state_file::create_tables(state, &transaction)?;
    state.commit(transaction)
}

fn remember_state(log: &NamedDatabase) -> Result<(), StorageError> {
    let transaction = log.begin_write()?;
    Meta::open(log, &transaction)?.set_has_state()?;
    log.commit(transaction)
}

/// Both stores share one handler; it hears of the first error only.
fn once(on_failure: FailureHandler) -> FailureHandler {
    let failed = AtomicBool::new(false);
    Arc::new(move |error| {
        if !failed.swap(true, Ordering::SeqCst) {
            on_failure(error);
        }
    })
}
