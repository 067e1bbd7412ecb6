//! Whose file this is: written when it is created, checked at every start.
//!
//! Text in one table, so that a person with redb's tools can read it. A difference is never repaired: a node on another node's disk, or on
//! an older copy of its own, may promise again what it has promised before. In the log's file, what is known of peers is kept beside it: whose
//! disk they had, and in which life they were, so that they too are held to that.

use std::collections::BTreeMap;
use std::fmt::Display;

use redb::{ReadableTable as _, Table, TableDefinition, WriteTransaction};

use super::database::NamedDatabase;
use crate::limits;
use crate::raft::Membership;
use crate::storage::{Identity, PeerLife, StorageError};
use crate::types::{Incarnation, NodeId, StorageId};

const META: TableDefinition<&str, &str> = TableDefinition::new("meta");
/// The format of both files. A later kapu that writes another one counts it up.
const FORMAT: u64 = 2;
/// In the log's file: the state's file exists too, so its absence is a loss.
const STATE_CREATED: &str = "state_created";
/// In the log's file: who belonged to the cluster when it was created, in hexadecimal.
const INITIAL_MEMBERSHIP: &str = "initial_membership";

/// The latest lives of the node on this disk, in order.
const LIVES: &str = "lives";
/// What a peer said when it refused this disk.
const REFUSED: &str = "refused";

/// The `meta` table of one file, in a transaction.
pub struct Meta<'t> {
    table: Table<'t, &'static str, &'static str>,
    database: &'t NamedDatabase,
}

impl<'t> Meta<'t> {
    /// Opens or creates the table.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn open(database: &'t NamedDatabase, transaction: &'t WriteTransaction) -> Result<Self, StorageError> {
        let table = transaction.open_table(META).map_err(|error| database.error(error))?;
        Ok(Self { table, database })
    }

    /// Whether nobody has used the file before.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn is_new(&self) -> Result<bool, StorageError> {
        Ok(self.get("format")?.is_none())
    }

    /// Writes whose file this is.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn create(&mut self, identity: &Identity, storage_id: StorageId) -> Result<(), StorageError> {
        self.set("format", &FORMAT.to_string())?;
        self.set("storage_id", &storage_id.to_string())?;
        for (name, value, _) in describe(identity) {
            self.set(name, &value)?;
        }
        Ok(())
    }

    /// Checks whose file this is, and returns its storage id.
    ///
    /// # Errors
    /// [`StorageError::Mismatch`] names the first difference, with both values and what to do.
    pub fn check(&self, identity: &Identity) -> Result<StorageId, StorageError> {
        let format: u64 = self.number("format")?;
        if format < FORMAT {
            return Err(self.database.mismatch(format!(
                "is of format {format}, of an older kapu, and this one reads and writes format {FORMAT} alone; start the kapu that wrote it, \
                 or create the whole cluster anew with empty data directories"
            )));
        }
        if format > FORMAT {
            return Err(self.database.mismatch(format!(
                "is of format {format}, and this kapu reads and writes format {FORMAT}; start the kapu that wrote it"
            )));
        }
        for (name, ours, advice) in describe(identity) {
            let theirs = self.text(name)?;
            if theirs != ours {
                let what = name.replace('_', " ");
                return Err(self.database.mismatch(format!(
                    "was created for {what} {theirs}, and this node was started for {what} {ours}; {advice}"
                )));
            }
        }
        Ok(StorageId(self.number("storage_id")?))
    }

    /// The cluster's name, and how many partitions it has.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails, or they cannot be what was written.
    pub fn cluster(&self) -> Result<(String, u32), StorageError> {
        let partitions = u32::try_from(self.number("partitions")?);
        let partitions = partitions.map_err(|_| self.database.corrupt("it has too many partitions"))?;
        Ok((self.text("cluster")?, partitions))
    }

    /// Begins another life, and returns it.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn count_start(&mut self, luck: u64) -> Result<Incarnation, StorageError> {
        let before = if self.get("incarnation")?.is_some() {
            self.number("incarnation")?
        } else {
            0
        };
        let incarnation = Incarnation(before).next(luck);
        self.set("incarnation", &incarnation.to_string())?;
        let mut lives = self.lives()?;
        lives.push(incarnation);
        let forgotten = lives.len().saturating_sub(limits::EARLIER_LIVES_MAX);
        let words: Vec<_> = lives[forgotten..].iter().map(ToString::to_string).collect();
        self.set(LIVES, &words.join(","))?;
        Ok(incarnation)
    }

    /// The latest lives, in order, as far as they are known.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails, or the row is no list of numbers.
    pub fn lives(&self) -> Result<Vec<Incarnation>, StorageError> {
        let text = self.get(LIVES)?.unwrap_or_default();
        let words = text.split(',').filter(|word| !word.is_empty());
        let lives = words
            .map(|word| word.parse().map(Incarnation))
            .collect::<Result<_, _>>();
        lives.map_err(|_| {
            self.database
                .corrupt(format!("its {LIVES} are {text:?}, which are no numbers"))
        })
    }

    /// Why peers refused this disk in an earlier life.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn refusal(&self) -> Result<Option<String>, StorageError> {
        self.get(REFUSED)
    }

    /// Remembers why peers refuse this disk: it is of no use any more.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn set_refusal(&mut self, reason: &str) -> Result<(), StorageError> {
        self.set(REFUSED, reason)
    }

    /// What was remembered of peers, each that was ever met.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails, or the rows are no numbers.
    pub fn peers(&self) -> Result<BTreeMap<NodeId, PeerLife>, StorageError> {
        let mut peers = BTreeMap::new();
        let rows = self.table.range(PEER..).map_err(|error| self.database.error(error))?;
        for row in rows {
            let (name, _) = row.map_err(|error| self.database.error(error))?;
            let Some(rest) = name.value().strip_prefix(PEER) else {
                break;
            };
            let Some(Ok(peer)) = rest.strip_suffix("_storage_id").map(str::parse) else {
                continue;
            };
            peers.insert(NodeId(peer), self.peer(NodeId(peer))?);
        }
        Ok(peers)
    }

    fn peer(&self, peer: NodeId) -> Result<PeerLife, StorageError> {
        let [storage_id, incarnation] = peer_rows(peer);
        Ok(PeerLife {
            storage_id: StorageId(self.number(&storage_id)?),
            incarnation: Incarnation(self.number(&incarnation)?),
        })
    }

    /// Remembers a life of `peer`, in the place of an earlier one.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn set_peer(&mut self, peer: NodeId, life: PeerLife) -> Result<(), StorageError> {
        let [storage_id, incarnation] = peer_rows(peer);
        self.set(&storage_id, &life.storage_id.to_string())?;
        self.set(&incarnation, &life.incarnation.to_string())
    }

    /// Remembers who belongs to the cluster when it is created.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn set_initial_membership(&mut self, membership: &Membership) -> Result<(), StorageError> {
        let hex: String = membership.encode().iter().map(|byte| format!("{byte:02x}")).collect();
        self.set(INITIAL_MEMBERSHIP, &hex)
    }

    /// Who belonged to the cluster when it was created.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] when it is missing, or cannot be what was written.
    pub fn initial_membership(&self) -> Result<Membership, StorageError> {
        let bad = |reason: String| {
            self.database
                .corrupt(format!("its initial membership is damaged: {reason}"))
        };
        let bytes = from_hex(&self.text(INITIAL_MEMBERSHIP)?).ok_or_else(|| bad("it is not hexadecimal".to_owned()))?;
        Membership::decode(&bytes).map_err(|error| bad(error.to_string()))
    }

    /// Whether the state's file has been created.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn has_state(&self) -> Result<bool, StorageError> {
        Ok(self.get(STATE_CREATED)?.is_some())
    }

    /// Remembers that the state's file has been created.
    ///
    /// # Errors
    /// [`StorageError`] when redb fails.
    pub fn set_has_state(&mut self) -> Result<(), StorageError> {
        self.set(STATE_CREATED, "yes")
    }

    fn number(&self, name: &str) -> Result<u64, StorageError> {
        let text = self.text(name)?;
        text.parse().map_err(|_| {
            self.database
                .corrupt(format!("its {name} is {text:?}, which is no number"))
        })
    }

    fn text(&self, name: &str) -> Result<String, StorageError> {
        self.get(name)?
            .ok_or_else(|| self.database.corrupt(format!("it has no {name}")))
    }

    fn get(&self, name: &str) -> Result<Option<String>, StorageError> {
        let value = self.table.get(name).map_err(|error| self.database.error(error))?;
        Ok(value.map(|value| value.value().to_owned()))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), StorageError> {
        self.table
            .insert(name, value)
            .map_err(|error| self.database.error(error))?;
        Ok(())
    }
}

/// How the names of a peer's rows begin.
const PEER: &str = "peer_";

/// The names of the two rows of a peer.
fn peer_rows(peer: NodeId) -> [String; 2] {
    ["storage_id", "incarnation"].map(|what| format!("{PEER}{peer}_{what}"))
}

/// Each part of an identity: its name, its value, and what to do where it differs.
fn describe(identity: &Identity) -> [(&'static str, String, &'static str); 3] {
    [
        (
            "cluster",
            identity.cluster.clone(),
            "choose the data directory of this cluster, or an empty one",
        ),
        (
            "node_id",
            text(identity.node_id),
            "choose the data directory of this node, or an empty one",
        ),
        (
            "partitions",
            text(identity.partitions),
            "the number of partitions is fixed when a cluster is created",
        ),
    ]
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn text(value: impl Display) -> String {
    value.to_string()
}
