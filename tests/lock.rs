//! The behaviours of the lock table, one golden script a sentence.
//!
//! Each file of `tests/scripts/lock` is a conversation with a table: commands above the line, what the table answered below it. A runner
//! holds one table, the log time, and the rows that a state store would have. Changed answers are shown as a difference; `ci/fix` writes
//! them into the scripts, for a person to read.
//!
//! What random histories do is tested beside the table, against a naive model.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use goldenscript::{ArgumentConsumer, Command as Line};
use kapu::lock::{Command, Outcome, Query, Table};
use kapu::types::{LogTime, Owner, Resource};

type Answer = Result<String, Box<dyn Error>>;

/// Declares one test for each script, and one that finds scripts without a test.
macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let path = format!("{SCRIPTS}/{}", stringify!($name));
                goldenscript::run(&mut Script::default(), path).expect("the script runs");
            }
        )*

        #[test]
        fn every_script_is_run() {
            let declared: BTreeSet<String> = [$(stringify!($name)),*].map(String::from).into();
            let entries = std::fs::read_dir(SCRIPTS).expect("the scripts are there");
            let found = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
            assert_eq!(found.collect::<BTreeSet<_>>(), declared);
        }
    };
}

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/lock");

scripts! {
    a_change_of_one_lock_leaves_the_others_alone
    a_free_lock_is_granted_with_the_next_token
    a_held_lock_is_busy_for_others_and_tells_what_is_left
    a_huge_ttl_never_ends_and_nothing_overflows
    a_jump_of_log_time_ends_what_it_passes_and_nothing_else
    a_lease_ends_at_its_exact_millisecond
    a_lock_that_ended_between_two_saves_leaves_no_row
    a_retried_acquire_keeps_the_token_and_never_shortens_the_lease
    a_retried_release_does_not_free_a_newer_hold
    a_zero_ttl_ends_at_once
    an_idle_lock_is_held_for_its_whole_lease
    an_unlock_by_another_owner_is_refused
    an_unlock_of_a_free_lock_says_so
    changed_rows_are_told_once
    damaged_rows_are_refused
    expired_lock_is_granted_to_the_next_with_a_greater_token
    extend_after_a_release_does_not_revive_the_lock
    extend_by_another_owner_is_refused_and_changes_nothing
    extend_cannot_revive_an_ended_lock
    extend_sets_exactly_the_new_lease_even_if_shorter
    get_names_the_holder_until_the_log_has_passed_the_lease_end
    log_time_never_goes_back
    restart_keeps_owner_token_lease_and_grant_counter
    sixty_thousand_leases_end_at_once_and_a_renewed_one_lives_on
    the_format_of_rows_is_pinned
    the_next_deadline_is_the_earliest_lease_end
    tokens_grow_over_release_expiry_and_restart
}

/// One table with what a partition would have around it.
#[derive(Default)]
struct Script {
    table: Table,
    now: u64,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl goldenscript::Runner for Script {
    fn run(&mut self, line: &Line) -> Answer {
        let mut args = line.consume_args();
        if let Some(now) = args.lookup_parse("at")? {
            self.now = now;
        }
        let answer = match line.name.as_str() {
            "try_lock" | "extend" | "unlock" => self.apply(&line.name, &mut args),
            "get" => self.get(&mut args),
            "advance" => self.advance(),
            "deadline" => Ok(self.table.next_deadline().map_or("none".into(), |end| end.to_string())),
            "fill" => self.fill(&mut args),
            "changes" => Ok(format!("{} rows", self.table.changes())),
            "save" => Ok(self.save()),
            "restart" => self.restart(),
            "restore" => self.restore(&mut args),
            other => Err(format!("unknown command {other}").into()),
        }?;
        args.reject_rest()?;
        Ok(answer)
    }
}

impl Script {
    /// `try_lock NAME OWNER TTL`, `extend NAME OWNER TTL`, `unlock NAME OWNER`: applies a command at the present log time.
    fn apply(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Answer {
        let resource = Resource::new(positional(args)?)?;
        let owner = Owner::new(positional(args)?.as_bytes())?;
        let command = match name {
            "unlock" => Command::Unlock { resource, owner },
            "extend" => Command::Extend {
                resource,
                owner,
                ttl_ms: positional(args)?.parse()?,
            },
            _ => Command::TryLock {
                resource,
                owner,
                ttl_ms: positional(args)?.parse()?,
            },
        };
        Ok(describe(&self.table.apply(LogTime(self.now), &command)))
    }

    /// `get NAME`: asks at the present log time, which does not bring the table forward.
    fn get(&self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let resource = Resource::new(positional(args)?)?;
        Ok(describe(&self.table.query(LogTime(self.now), &Query::Get { resource })))
    }

    /// `advance at=MS`: an entry without commands.
    fn advance(&mut self) -> Answer {
        self.table.advance(LogTime(self.now));
        Ok(String::new())
    }

    /// `fill COUNT TTL`: as many locks, each of its own owner.
    fn fill(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let (count, ttl_ms): (u64, u64) = (positional(args)?.parse()?, positional(args)?.parse()?);
        for i in 0..count {
            let (resource, owner) = (Resource::new(&format!("fill-{i}"))?, Owner::new(&i.to_le_bytes())?);
            self.table.apply(
                LogTime(self.now),
                &Command::TryLock {
                    resource,
                    owner,
                    ttl_ms,
                },
            );
        }
        Ok(String::new())
    }

    /// `save`: takes the changed rows into the store and shows them.
    fn save(&mut self) -> String {
        let mut lines = Vec::new();
        for row in self.table.take_changes() {
            let key = row.key.escape_ascii().to_string();
            match row.value {
                Some(value) => {
                    lines.push(format!("{key} = {}", value.escape_ascii()));
                    self.rows.insert(row.key.to_vec(), value.to_vec());
                }
                None => {
                    lines.push(format!("{key} removed"));
                    self.rows.remove(&row.key[..]);
                }
            }
        }
        lines.join("\n")
    }

    /// `restart`: a fresh table from the saved rows, brought forward to the log time beside them.
    fn restart(&mut self) -> Answer {
        self.table = Table::default();
        for (key, value) in &self.rows {
            self.table.restore(key, value)?;
        }
        self.table.advance(LogTime(self.now));
        Ok(String::new())
    }

    /// `restore KEY VALUE`: one row, as a store might hand it over.
    fn restore(&mut self, args: &mut ArgumentConsumer<'_>) -> Answer {
        let (key, value) = (positional(args)?, positional(args)?);
        let bytes = |text: &str| {
            text.chars()
                .map(|c| u8::try_from(u32::from(c)))
                .collect::<Result<Vec<u8>, _>>()
        };
        self.table.restore(&bytes(key)?, &bytes(value)?)?;
        Ok(String::new())
    }
}

fn positional<'a>(args: &mut ArgumentConsumer<'a>) -> Result<&'a str, Box<dyn Error>> {
    let argument = args.next_pos().ok_or("an argument is missing")?;
    Ok(&argument.value)
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Locked {
            fencing_token,
            expires_in_ms,
        } => format!("locked token={fencing_token} for {expires_in_ms} ms"),
        Outcome::Busy { expires_in_ms } => format!("busy for {expires_in_ms} ms"),
        Outcome::Extended {
            fencing_token,
            expires_in_ms,
        } => {
            format!("extended token={fencing_token} for {expires_in_ms} ms")
        }
        Outcome::Unlocked => "unlocked".into(),
        Outcome::Got {
            owner,
            fencing_token,
            expires_in_ms,
        } => {
            format!("{owner} token={fencing_token} for {expires_in_ms} ms")
        }
        Outcome::LockDoesNotExist => "lock does not exist".into(),
        Outcome::InvalidOwner => "invalid owner".into(),
    }
}
