//! The behaviours of the Raft core, one golden script a sentence, and random schedules of everything that can go wrong.
//!
//! Each file of `tests/scripts/raft` is a story of a cluster: commands above the line, what came of them below it. Changed answers are
//! shown as a difference; `UPDATE_GOLDENFILES=1` writes them into the scripts, for a person to read.
//!
//! Disks, networks and clocks are pretended here; the real ones are the business of the simulation.

#[path = "raft/checks.rs"]
mod checks;
#[path = "raft/cluster.rs"]
mod cluster;
#[path = "raft/disk.rs"]
mod disk;
#[path = "raft/network.rs"]
mod network;
#[path = "raft/schedules.rs"]
mod schedules;
#[path = "raft/script.rs"]
mod script;
#[path = "raft/trace.rs"]
mod trace;

use std::collections::BTreeSet;

use script::Script;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/raft");

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

scripts! {
    a_node_that_hears_no_leader_is_elected
    late_acknowledgement_does_not_stop_a_restarted_leader
    restarted_follower_of_an_idle_group_learns_what_is_committed
    write_of_an_earlier_leader_is_not_acknowledged_to_the_next
}
