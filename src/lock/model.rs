//! A naive lock table, and random histories that it and the real one must answer alike.
//!
//! The model is written to be obviously right and nothing else: a list, scanned from end to end, cleaned before every look. It saves
//! nothing and is never restored; that the real table can be is part of what is compared.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::referee::Referee;
use super::{Command, Outcome, Query, Table};
use crate::machine::Row;
use crate::types::{FencingToken, LogTime, Owner, Resource};

/// The naive table: what is held, in no order, and how many grants there were.
#[derive(Default)]
struct Model {
    held: Vec<(Resource, Owner, u64, u64)>,
    grants: u64,
}

impl Model {
    fn apply(&mut self, now: u64, command: &Command) -> Outcome {
        self.held.retain(|(.., end)| now < *end);
        let name = command.resource();
        let taken = self.held.iter().find(|(n, ..)| n == name).cloned();
        match (command, taken) {
            (Command::TryLock { owner, ttl_ms, .. }, None) => {
                self.grants += 1;
                self.held.push((name.clone(), owner.clone(), self.grants, now + ttl_ms));
                Outcome::Locked {
                    fencing_token: FencingToken(self.grants),
                    expires_in_ms: *ttl_ms,
                }
            }
            (Command::TryLock { owner, ttl_ms, .. }, Some((_, holder, token, end))) if *owner == holder => {
                let end = std::cmp::max(end, now + ttl_ms);
                self.held.retain(|(other, ..)| other != name);
                self.held.push((name.clone(), holder, token, end));
                Outcome::Locked {
                    fencing_token: FencingToken(token),
                    expires_in_ms: end - now,
                }
            }
            (Command::TryLock { .. }, Some((.., end))) => Outcome::Busy {
                expires_in_ms: end - now,
            },
            (_, None) => Outcome::LockDoesNotExist,
            (Command::Extend { owner, ttl_ms, .. }, Some((_, holder, token, _))) if *owner == holder => {
                self.held.retain(|(other, ..)| other != name);
                self.held.push((name.clone(), holder, token, now + ttl_ms));
                Outcome::Extended {
                    fencing_token: FencingToken(token),
                    expires_in_ms: *ttl_ms,
                }
            }
            (Command::Unlock { owner, .. }, Some((_, holder, ..))) if *owner == holder => {
                self.held.retain(|(other, ..)| other != name);
                Outcome::Unlocked
            }
            (_, Some(_)) => Outcome::InvalidOwner,
        }
    }

    fn get(&self, now: u64, resource: &Resource) -> Outcome {
        match self.held.iter().find(|(name, ..)| name == resource) {
            None => Outcome::LockDoesNotExist,
            Some((_, owner, token, end)) => Outcome::Got {
                owner: owner.clone(),
                fencing_token: FencingToken(*token),
                expires_in_ms: end.saturating_sub(now),
            },
        }
    }
}

/// The rows as a state store would hold them.
#[derive(Default)]
struct Saved(BTreeMap<Vec<u8>, Vec<u8>>);

impl Saved {
    fn write(&mut self, rows: Vec<Row>) {
        for row in rows {
            match row.value {
                Some(value) => self.0.insert(row.key.to_vec(), value.to_vec()),
                None => self.0.remove(&row.key[..]),
            };
        }
    }

    fn load(&self, now: LogTime) -> Table {
        let mut table = Table::default();
        for (key, value) in &self.0 {
            table.restore(key, value).unwrap();
        }
        table.advance(now);
        table
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Apply(Command),
    Advance,
    Get(Resource, u64),
    Save,
    Restart,
}

fn command() -> impl Strategy<Value = Command> {
    let resource = "[a-d]".prop_map(|name| Resource::new(&name).unwrap());
    let owner = "[x-z]".prop_map(|owner| Owner::new(owner.as_bytes()).unwrap());
    (resource, owner, 1..30_u64, 0..5).prop_map(|(resource, owner, ttl_ms, kind)| match kind {
        0 => Command::Unlock { resource, owner },
        1 | 2 => Command::Extend {
            resource,
            owner,
            ttl_ms,
        },
        _ => Command::TryLock {
            resource,
            owner,
            ttl_ms,
        },
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u64).prop_map(Step::Wait),
        1 => (100..1_000_000_u64).prop_map(Step::Wait),
        12 => command().prop_map(Step::Apply),
        2 => Just(Step::Advance),
        3 => ("[a-d]", 0..20_u64).prop_map(|(name, ahead)| Step::Get(Resource::new(&name).unwrap(), ahead)),
        2 => Just(Step::Save),
        1 => Just(Step::Restart),
    ]
}

/// One history: a table that is saved and restarted, a replica that never is, the model and the referee.
#[derive(Default)]
struct History {
    now: u64,
    table: Table,
    replica: Table,
    model: Model,
    referee: Referee,
    saved: Saved,
}

impl History {
    fn run(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = LogTime(self.now);
        match step {
            Step::Wait(ms) => self.now += ms,
            Step::Apply(command) => self.apply(now, command)?,
            Step::Advance => {
                self.table.advance(now);
                self.replica.advance(now);
                self.model.held.retain(|(.., end)| self.now < *end);
            }
            Step::Get(resource, ahead) => {
                let query = Query::Get {
                    resource: resource.clone(),
                };
                let expected = self.model.get(self.now + ahead, resource);
                prop_assert_eq!(self.table.query(now.after(*ahead), &query), expected);
            }
            Step::Save => self.saved.write(self.table.take_changes()),
            Step::Restart => {
                self.saved.write(self.table.take_changes());
                self.table = self.saved.load(LogTime::default());
            }
        }
        self.compare()
    }

    fn apply(&mut self, now: LogTime, command: &Command) -> Result<(), TestCaseError> {
        let outcome = self.table.apply(now, command);
        prop_assert_eq!(&outcome, &self.model.apply(now.0, command));
        prop_assert_eq!(&outcome, &self.replica.apply(now, command));
        self.referee.judge(now.0, command, &outcome)
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.table.digest(), self.replica.digest());
        let first_end = self.model.held.iter().map(|(.., end)| LogTime(*end)).min();
        prop_assert_eq!(self.table.next_deadline(), first_end);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_agree_with_the_model_and_the_referee(steps in prop::collection::vec(step(), 1..150)) {
        let mut history = History::default();
        for step in &steps {
            history.run(step)?;
        }
    }

    /// Equal digests are worth something only when different states have different ones.
    #[test]
    fn the_digest_changes_with_the_state(commands in prop::collection::vec(command(), 1..20)) {
        let (mut table, mut saved) = (Table::default(), Saved::default());
        for command in &commands {
            let (rows, digest) = (saved.0.clone(), table.digest());
            table.apply(LogTime(0), command);
            saved.write(table.take_changes());
            prop_assert_eq!(saved.0 == rows, table.digest() == digest);
        }
    }
}
