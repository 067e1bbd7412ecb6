//! The behaviours of the Raft core, one golden script a sentence, and random schedules of everything that can go wrong.
//!
//! Each file of `tests/scripts/raft` is a story of a cluster: commands above the line, what came of them below it. Changed answers are
//! shown as a difference; `UPDATE_GOLDENFILES=1` writes them into the scripts, for a person to read.
//!
//! Disks, networks and clocks are pretended here; the real ones are the business of the simulation.

#[path = "raft/changes.rs"]
mod changes;
#[path = "raft/checks.rs"]
mod checks;
#[path = "raft/cluster.rs"]
mod cluster;
#[path = "raft/counts.rs"]
mod counts;
#[path = "raft/disk.rs"]
mod disk;
#[path = "raft/electable.rs"]
mod electable;
#[path = "raft/joins.rs"]
mod joins;
#[path = "raft/lab.rs"]
mod lab;
#[path = "raft/labs.rs"]
mod labs;
#[path = "raft/members.rs"]
mod members;
#[path = "raft/network.rs"]
mod network;
#[path = "raft/reads.rs"]
mod reads;
#[path = "raft/replica.rs"]
mod replica;
#[path = "raft/report.rs"]
mod report;
#[path = "raft/rest.rs"]
mod rest;
#[path = "raft/restarts.rs"]
mod restarts;
#[path = "raft/schedules.rs"]
mod schedules;
#[path = "raft/script.rs"]
mod script;
#[path = "raft/snapshots.rs"]
mod snapshots;
#[path = "raft/sweep.rs"]
mod sweep;
#[path = "raft/trace.rs"]
mod trace;
#[path = "raft/traffic.rs"]
mod traffic;

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
    a_bridge_between_two_halves_leads_or_follows
    a_call_to_campaign_from_another_than_the_leader_is_ignored
    a_candidate_as_up_to_date_as_the_voter_is_elected
    a_candidate_asks_for_votes_only_when_its_own_is_durable
    a_chain_of_five_with_a_full_middle_settles_after_its_leader_is_cut_off
    a_change_before_the_opening_entry_is_refused
    a_conflicting_suffix_is_truncated_only_from_the_conflict
    a_crash_before_the_new_log_is_durable_begins_it_anew
    a_crash_between_state_and_log_begins_the_log_anew
    a_crash_loses_only_what_is_not_durable
    a_delayed_append_does_not_truncate_what_follows_it
    a_deposed_leader_loses_what_was_not_committed
    a_doubled_first_append_does_not_bring_back_what_is_compacted
    a_follower_that_lost_its_data_acknowledges_nothing_it_lacks
    a_follower_that_restarts_during_a_transfer_is_offered_again
    a_follower_that_was_away_shortly_gets_its_entries
    a_follower_that_was_away_too_long_gets_a_snapshot
    a_follower_with_a_swapped_disk_commits_nothing_on_a_heartbeat
    a_full_pipeline_that_was_lost_ends_in_a_snapshot
    a_heartbeat_commits_nothing_that_the_follower_did_not_acknowledge
    a_joint_membership_commits_only_with_both_majorities
    a_joint_membership_found_on_disk_is_left_only_when_it_is_committed
    a_late_acknowledgement_does_not_lower_a_later_one
    a_late_completion_for_a_truncated_suffix_is_not_acknowledged
    a_late_write_from_before_a_snapshot_counts_for_nothing
    a_late_yes_to_an_earlier_pre_vote_does_not_count
    a_leader_on_its_way_out_may_still_be_needed
    a_leader_that_a_bare_majority_answers_stays
    a_leader_that_a_majority_does_not_answer_steps_down
    a_leader_that_half_of_four_answers_steps_down
    a_leader_that_is_heard_but_hears_nobody_is_replaced
    a_leader_that_is_removed_hands_over_and_steps_down
    a_leader_that_is_replaced_confirms_no_read
    a_leader_whose_disk_stalls_steps_down
    a_learner_counts_for_nothing
    a_learner_that_lacks_too_much_is_not_promoted
    a_lone_leader_has_nobody_to_hand_over_to
    a_lost_acknowledgement_is_found_by_heartbeats
    a_lost_append_is_found_by_heartbeats
    a_lost_read_round_is_carried_by_heartbeats
    a_new_leader_finishes_a_joint_change
    a_new_term_and_its_entries_share_a_write
    a_node_of_lower_priority_waits_longer
    a_node_that_crashed_as_candidate_may_ask_again_in_the_next_term
    a_node_that_hears_a_leader_refuses_to_vote
    a_node_that_hears_no_leader_is_elected
    a_node_that_hears_nobody_but_is_heard_does_not_disturb
    a_node_that_waits_to_be_added_takes_entries_and_never_campaigns
    a_node_that_was_cut_off_does_not_depose_the_leader
    a_node_with_an_old_log_and_a_higher_term_costs_one_election
    a_one_way_link_between_followers_does_not_matter
    a_one_way_link_from_the_leader_settles
    a_promoted_learner_that_does_not_know_it_votes
    a_read_needs_a_majority_that_answers_after_it_began
    a_read_waits_for_the_entry_that_opens_the_term
    a_read_while_handing_over_needs_a_majority_too
    a_refusal_tells_the_term
    a_rejection_commits_nothing
    a_removed_node_that_keeps_campaigning_deposes_nobody
    a_removed_node_with_a_higher_term_deposes_nobody
    a_retried_vote_request_is_granted_again
    a_second_change_is_refused_while_one_is_under_way
    a_single_node_commits_only_after_its_own_write
    a_single_node_confirms_a_read_by_itself
    a_single_node_leads_only_when_its_own_vote_is_durable
    a_single_node_reads_only_after_its_first_write
    a_slow_disk_that_moves_does_not_depose_the_leader
    a_slow_follower_is_fed_from_disk
    a_snapshot_brings_the_members_of_its_state
    a_snapshot_does_not_replace_a_log_that_got_further
    a_snapshot_leaves_nothing_of_a_conflicting_log
    a_snapshot_that_is_only_in_memory_is_acknowledged_when_durable
    a_split_vote_is_settled_in_a_later_term
    a_stale_rejection_changes_nothing
    a_truncated_membership_gives_way_to_the_one_before
    a_vote_goes_to_one_candidate_of_a_term
    a_vote_is_durable_before_it_is_answered
    a_vote_is_kept_over_a_restart
    a_vote_is_kept_when_stepping_down_in_the_same_term
    a_vote_overtaken_by_a_new_term_is_not_answered
    a_vote_that_was_not_durable_was_never_given
    an_answer_from_before_a_read_does_not_confirm_it
    an_answer_to_an_earlier_read_does_not_confirm_a_later_one
    an_append_commits_only_what_it_matched
    an_append_is_acknowledged_only_when_durable
    an_append_is_anchored_at_the_entry_before
    an_election_survives_lost_and_doubled_messages
    an_ex_leader_that_restarts_is_elected_again
    an_id_is_never_given_twice
    an_old_call_to_campaign_is_ignored
    an_older_snapshot_does_not_replace_a_newer_one
    an_update_keeps_a_learner_a_learner
    appends_in_flight_are_bounded_in_bytes
    appends_in_flight_are_bounded_in_number
    appends_of_a_deposed_leader_are_refused
    doubled_acknowledgements_count_once
    doubled_and_reordered_appends_are_harmless
    figure_7_brings_every_follower_in_line
    figure_8_an_entry_of_an_earlier_term_is_not_committed_by_counting
    figure_8_an_entry_of_the_own_term_commits_what_is_below
    five_nodes_commit_with_three
    five_nodes_with_two_bridges_settle_on_a_leader
    four_nodes_commit_with_three
    granting_a_pre_vote_is_no_leader_contact
    handing_over_gives_up_after_an_election_time
    handing_over_sends_everything_first
    late_acknowledgement_does_not_stop_a_restarted_leader
    late_writes_of_a_deposed_leader_are_not_counted
    leadership_goes_to_a_voter_and_never_to_a_learner
    leadership_goes_to_the_voter_that_is_preferred
    logs_meet_after_one_rejection_a_term
    of_equal_last_terms_the_longer_log_wins
    one_node_grows_to_two_and_shrinks_again
    only_a_leader_takes_proposals
    proposals_are_refused_when_too_much_is_not_committed
    proposals_are_refused_while_handing_over
    proposals_of_one_batch_share_a_write
    reads_fail_when_the_leader_steps_down
    restarted_follower_of_an_idle_group_learns_what_is_committed
    snapshots_in_quick_succession_are_installed_one_after_the_other
    the_last_voter_is_not_removed
    the_leader_is_not_counted_before_its_own_write_is_durable
    the_log_of_the_later_term_wins_though_it_is_shorter
    the_new_voters_alone_commit_nothing
    the_new_voters_alone_elect_nobody
    two_of_five_elect_nobody
    two_of_four_elect_nobody
    votes_of_strangers_are_ignored
    what_is_acknowledged_twice_is_only_what_is_durable
    write_of_an_earlier_leader_is_not_acknowledged_to_the_next
}
