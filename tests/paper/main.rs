//! The sentences of the Raft paper that say what one server does, one test a sentence.
//!
//! The list is that of etcd's `raft_paper_test`, 26 tests of sections 5.1 to 5.4.2, with our names; the tests are our own. Each quotes its section. What
//! the paper leaves open is ours: a campaign first asks for pre-votes (thesis, section 9.6), votes count when they are durable, and a commit
//! index travels with the next append or heartbeat.
//!
//! One replica is looked at, and the test plays all others. What takes more than one is in `tests/raft.rs`.

mod elections;
mod one;
mod replication;
mod safety;
mod terms;
