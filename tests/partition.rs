//! The partition's core by hand: events in, effects out, no clock, no disk, no network.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "partition/bench_top.rs"]
mod bench_top;

use std::time::Duration;

use bench_top::{Answer, Bench, replicas};
use kapu::limits;
use kapu::partition::{AdminRefusal, Refusal};
use kapu::raft::{Body, Role};
use kapu::types::Index;

#[test]
fn outcome_is_told_only_when_the_entry_is_durable() {
    let mut node = Bench::single();
    let answer = node.propose("a");
    node.flush();
    assert_eq!(answer.get(), None, "nothing is durable yet");
    node.persist_all();
    assert_eq!(answer.text(), "a applied as 1");
}

#[test]
fn commands_of_one_flush_share_one_entry() {
    let mut node = Bench::single();
    let before = node.core.status().last;
    let answers: Vec<_> = ["a", "b", "c"].iter().map(|command| node.propose(command)).collect();
    node.settle();
    assert_eq!(node.core.status().last, before.next());
    let texts: Vec<_> = answers.iter().map(Answer::text).collect();
    assert_eq!(texts, ["a applied as 1", "b applied as 2", "c applied as 3"]);
}

#[test]
fn commands_over_the_limit_of_an_entry_go_into_several() {
    let mut node = Bench::single();
    let before = node.core.status().last;
    let answers: Vec<_> = (0..limits::ENTRY_COMMANDS_MAX + 1).map(|_| node.propose("a")).collect();
    node.settle();
    assert_eq!(node.core.status().last, before.next().next());
    assert_eq!(
        answers.last().unwrap().text(),
        format!("a applied as {}", limits::ENTRY_COMMANDS_MAX + 1)
    );
}

#[test]
fn commands_over_the_bytes_of_an_entry_go_into_several() {
    let mut node = Bench::single();
    let before = node.core.status().last;
    let large = "x".repeat(limits::COMMAND_BYTES_MAX);
    let answers: Vec<_> = (0..5).map(|_| node.propose(&large)).collect();
    node.settle();
    assert_eq!(
        node.core.status().last.0,
        before.0 + 3,
        "two of the largest commands fit in one entry"
    );
    assert!(answers[4].text().ends_with("applied as 5"));
}

#[test]
fn replica_that_does_not_lead_refuses_and_names_the_leader() {
    let (mut follower, leader) = (Bench::of_three(1), bench_top::node(2));
    let answer = follower.propose("a");
    follower.settle();
    assert_eq!(answer.get(), Some(Err(Refusal::NotLeader(None))));
    follower.hear_leader(leader);
    let answer = follower.propose("a");
    let question = follower.query("count");
    follower.settle();
    assert_eq!(answer.get(), Some(Err(Refusal::NotLeader(Some(leader)))));
    assert_eq!(question.get(), Some(Err(Refusal::NotLeader(Some(leader)))));
}

#[test]
fn leader_serves_nothing_before_its_opening_entry_is_applied() {
    let mut node = Bench::fresh_single();
    node.tick_until(Role::Leader);
    let (answer, question) = (node.propose("a"), node.query("count"));
    node.flush();
    assert_eq!(answer.get(), Some(Err(Refusal::NotLeader(None))));
    assert_eq!(question.get(), Some(Err(Refusal::NotLeader(None))));
}

#[test]
fn leader_that_is_deposed_tells_its_callers_that_the_outcome_is_unknown() {
    let mut replicas = replicas();
    let leader = 0;
    replicas.elect(leader);
    let (answer, question) = (replicas.node(leader).propose("a"), replicas.node(leader).query("count"));
    replicas.node(leader).settle();
    let deposer = bench_top::node((leader as u64 + 1) % 3 + 1);
    let term = replicas.node(leader).core.status().term.next();
    replicas.node(leader).step(
        deposer,
        term,
        Body::Heartbeat {
            commit: Index(0),
            round: 0,
            compact: Index(0),
        },
    );
    replicas.node(leader).settle();
    assert!(
        matches!(answer.get(), Some(Err(Refusal::Unknown(_)))),
        "the entry may yet be committed"
    );
    assert!(
        matches!(question.get(), Some(Err(Refusal::NotLeader(_)))),
        "a read that was not confirmed did nothing"
    );
}

#[test]
fn read_waits_for_a_majority_and_sees_what_was_acknowledged_before() {
    let mut replicas = replicas();
    let leader = 0;
    replicas.elect(leader);
    let write = replicas.node(leader).propose("a");
    replicas.settle();
    assert_eq!(write.text(), "a applied as 1");
    let read = replicas.node(leader).query("count");
    replicas.node(leader).settle();
    assert_eq!(read.get(), None, "no majority has answered yet");
    replicas.settle();
    assert_eq!(read.text(), "count 1, alarms 0");
}

#[test]
fn log_time_follows_the_monotonic_clock_and_goes_on_at_the_next_leader() {
    let mut replicas = replicas();
    replicas.elect(0);
    replicas.node(0).now += Duration::from_secs(5);
    replicas.node(0).propose("a");
    replicas.settle();
    let then = replicas.node(0).log_time();
    assert!(then >= 5_000, "five seconds passed at the leader");
    // A long time passes, and nobody but the followers' clocks notices.
    (1..3).for_each(|follower| replicas.node(follower).now += Duration::from_secs(1_000_000));
    replicas.node(0).hand_over();
    replicas.settle();
    let second = replicas.leader();
    let write = replicas.node(second).propose("b");
    replicas.settle();
    assert_eq!(write.text(), "b applied as 2");
    assert_eq!(
        replicas.node(second).log_time(),
        then,
        "time without a leader does not count"
    );
}

#[test]
fn hybrid_time_grows_along_the_log_though_the_next_leader_is_an_hour_behind() {
    let mut replicas = replicas();
    replicas.elect(0);
    let ahead = replicas.node(0).wall;
    (1..3).for_each(|node| replicas.node(node).wall -= Duration::from_secs(3600));
    for leads in 0..2 {
        (0..3).for_each(|_| {
            let leader = replicas.leader();
            replicas.node(leader).propose("a");
            replicas.settle();
        });
        let leader = replicas.leader();
        if leads == 0 {
            replicas.node(leader).hand_over();
            replicas.settle();
            assert_ne!(replicas.leader(), leader);
        }
    }
    let leader = replicas.leader();
    for _ in 0..2 {
        replicas.node(leader).tick();
        replicas.settle();
    }
    for node in 0..3 {
        let stamps = &replicas.node(node).stamps;
        assert_eq!(stamps.len(), 6);
        assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
        assert_eq!(
            stamps[5].millis(),
            u64::try_from(ahead.as_millis()).unwrap(),
            "it counts on from where the first leader was"
        );
        let applied_at = stamps.last().copied();
        assert_eq!(replicas.node(node).core.status().applied_at, applied_at);
    }
}

#[test]
fn hybrid_time_grows_over_a_restart_that_replays_nothing() {
    let mut node = Bench::single();
    node.propose("a");
    node.save_state();
    let before = node.core.status().applied_at;
    assert!(before.is_some());
    let mut node = node.restart();
    node.wall -= Duration::from_secs(3600);
    node.tick_until(Role::Leader);
    node.settle();
    assert_eq!((node.replayed(), node.core.status().applied_at), (0, before));
    node.propose("b");
    node.settle();
    assert!(node.core.status().applied_at > before);
}

#[test]
fn step_of_the_wall_clock_moves_no_log_time() {
    let mut node = Bench::single();
    node.propose("alarm 700");
    node.settle();
    let then = node.log_time();
    node.wall += Duration::from_secs(24 * 3600);
    node.tick();
    assert_eq!(node.query_now("count"), "count 1, alarms 0");
    node.wall -= Duration::from_secs(48 * 3600);
    node.propose("a");
    node.settle();
    assert_eq!(node.log_time(), then);
}

#[test]
fn deadline_is_met_by_an_empty_entry_when_nobody_asks_for_anything() {
    let mut node = Bench::single();
    node.propose("alarm 700");
    node.settle();
    let before = node.core.status().last;
    node.now += Duration::from_millis(600);
    node.tick();
    assert_eq!(node.core.status().last, before, "too early");
    node.now += Duration::from_millis(200);
    node.tick();
    node.settle();
    assert_eq!(node.core.status().last, before.next());
    assert_eq!(node.query_now("count"), "count 1, alarms 1");
    node.tick();
    assert_eq!(node.core.status().last, before.next(), "one entry is enough");
}

#[test]
fn restart_replays_only_what_came_after_the_saved_rows() {
    let mut node = Bench::single();
    (0..50).for_each(|_| drop(node.propose("a")));
    node.settle();
    node.save_state();
    node.propose("b");
    node.settle();
    let digest = node.core.digest();
    let mut node = node.restart();
    node.tick_until(Role::Leader);
    node.settle();
    assert_eq!(node.core.digest(), digest);
    assert_eq!(node.replayed(), 1, "only b was applied again");
}

#[test]
fn log_is_compacted_only_below_saved_rows() {
    let mut node = Bench::single();
    for _ in 0..3_000 {
        node.propose("a");
        node.settle();
    }
    assert!(node.compacted.is_empty(), "no rows were saved yet");
    node.save_state();
    node.tick();
    let through = node
        .compacted
        .last()
        .expect("the log is compacted once the rows are saved")
        .index;
    assert!(through <= node.saved.applied.index);
    let mut node = node.restart();
    node.tick_until(Role::Leader);
    node.settle();
    assert_eq!(node.query_now("count"), "count 3000, alarms 0");
}

/// Three replicas of which the third lacks what the others have compacted.
fn replicas_with_one_behind() -> bench_top::Replicas {
    let mut replicas = replicas();
    replicas.elect(0);
    for _ in 0..4_000 {
        replicas.node(0).propose("a");
        replicas.settle_without(2);
    }
    for _ in 0..120 {
        replicas.node(0).tick();
        replicas.settle_without(2);
    }
    let base = replicas.node(0).core.status().base;
    assert!(base > replicas.node(2).core.status().last, "what it lacks is compacted");
    replicas
}

fn tick_leader(replicas: &mut bench_top::Replicas, times: usize) {
    for _ in 0..times {
        replicas.node(0).tick();
        replicas.settle();
    }
}

#[test]
fn follower_that_was_away_too_long_gets_a_snapshot_and_goes_on() {
    let mut replicas = replicas_with_one_behind();
    tick_leader(&mut replicas, 5);
    assert_eq!(replicas.node(2).installed, 1);
    replicas.node(0).propose("b");
    tick_leader(&mut replicas, 3);
    let (leader, follower) = (replicas.node(0).core.status(), replicas.node(2).core.status());
    assert_eq!(leader.applied, follower.applied);
    assert_eq!(replicas.node(0).core.digest(), replicas.node(2).core.digest());
    assert_eq!(replicas.node(2).installed, 1, "one is enough");
}

#[test]
fn follower_that_restarts_after_a_snapshot_is_where_it_was() {
    let mut replicas = replicas_with_one_behind();
    tick_leader(&mut replicas, 5);
    assert_eq!(replicas.node(2).installed, 1);
    replicas.restart(2);
    tick_leader(&mut replicas, 3);
    assert_eq!(replicas.node(0).core.digest(), replicas.node(2).core.digest());
    assert_eq!(replicas.node(2).installed, 0, "its log goes on after the snapshot");
}

#[test]
fn checkpoint_is_told_when_everything_applied_is_saved() {
    let mut node = Bench::single();
    node.propose("a");
    node.settle();
    let applied = node.core.status().applied;
    assert!(node.saved.applied.index < applied);
    assert!(node.checkpoint().is_set());
    assert!(node.saved.applied.index >= applied);
}

#[test]
fn checkpoint_lets_go_of_a_log_that_is_too_short_to_be_cut_by_itself() {
    let mut node = Bench::single();
    let ticks = |node: &mut Bench| {
        for _ in 0..5 {
            node.tick();
            node.settle();
        }
    };
    node.propose("a");
    node.settle();
    let applied = node.core.status().applied;
    node.save_state();
    ticks(&mut node);
    assert_eq!(node.core.status().base, Index(0), "a few entries stay");
    assert!(node.checkpoint().is_set(), "at once when everything is saved already");
    node.propose("b");
    ticks(&mut node);
    assert_eq!(node.core.status().base, applied, "and nothing after it");
}

#[test]
fn only_a_leader_that_a_majority_confirms_is_told_that_it_leads() {
    let mut replicas = replicas();
    replicas.elect(0);
    let confirmed = replicas.node(0).confirm();
    replicas.node(0).flush();
    assert_eq!(confirmed.get(), None, "nobody has confirmed it yet");
    replicas.settle();
    assert_eq!(confirmed.text(), "");
    let refused = replicas.node(1).confirm();
    replicas.settle();
    let leader = Some(bench_top::node(1));
    assert_eq!(refused.get(), Some(Err(Refusal::NotLeader(leader))));
}

#[test]
fn commands_are_told_only_while_somebody_listens() {
    let mut node = Bench::single();
    node.propose("a");
    node.settle();
    node.core.be_heard(true);
    let _answers = ["b", "c"].map(|command| node.propose(command));
    node.settle();
    node.core.be_heard(false);
    node.propose("d");
    node.settle();
    let told: Vec<_> = node.told.iter().map(|entry| entry.commands.to_vec()).collect();
    assert_eq!(told, [["b", "c"]]);
    assert_eq!(node.told[0].position.index.next(), node.core.status().applied);
}

#[test]
fn entry_of_a_newer_version_stops_the_partition() {
    let mut follower = Bench::of_three(1);
    let effects = follower.receive_entry(bench_top::node(2), b"\xff\xff\xff\xff not a batch");
    assert!(
        effects
            .unreadable
            .expect("it must not be skipped")
            .contains("cannot be read")
    );
}

#[test]
fn handing_over_ends_when_another_leads() {
    let mut replicas = replicas();
    let leader = 0;
    replicas.elect(leader);
    let done = replicas.node(leader).hand_over();
    replicas.settle();
    assert!(done.is_set());
    assert_ne!(replicas.node(leader).core.status().role, Role::Leader);
}

/// A leader that was removed under load left nobody behind who had everything: an election timeout passed without a leader.
#[test]
fn leader_that_is_to_be_removed_hands_over_and_the_next_one_removes_it() {
    let mut replicas = replicas();
    replicas.elect(0);
    assert_eq!(
        replicas.node(0).remove(bench_top::node(1)),
        Err(AdminRefusal::NotLeader(Some(bench_top::node(3))))
    );
    replicas.settle();
    let next = replicas.leader();
    assert_eq!(next, 2, "an election that nobody had to wait for");
    assert_eq!(replicas.node(next).remove(bench_top::node(1)), Ok(false));
    replicas.settle();
    assert_eq!(replicas.node(next).remove(bench_top::node(1)), Ok(true));
    assert_eq!(replicas.leader(), next);
}

#[test]
fn last_voter_cannot_be_removed_and_goes_on_leading() {
    let mut node = Bench::single();
    let refusal = node.remove(bench_top::node(1)).unwrap_err();
    assert!(refusal.to_string().contains("last voter"), "{refusal}");
    assert_eq!(node.propose("a").get(), None);
    node.settle();
    assert_eq!(node.core.status().role, Role::Leader);
}

#[test]
fn leadership_goes_back_by_itself_to_the_replica_that_is_preferred() {
    let mut replicas = replicas();
    replicas.elect(1);
    replicas.pass(4 * limits::BALANCE_TICKS);
    assert_eq!(replicas.leader(), 0);
}

/// A leader that was to be removed handed over, and got leadership back before the next one was asked to remove it.
#[test]
fn leader_that_was_just_elected_leads_for_a_while() {
    let mut replicas = replicas();
    replicas.elect(0);
    for _ in 1..limits::BALANCE_TICKS {
        (0..3).for_each(|node| replicas.node(node).tick());
        replicas.settle();
    }
    replicas.node(0).hand_over();
    replicas.settle();
    assert_eq!(replicas.leader(), 2);
    replicas.pass(limits::BALANCE_TICKS - 1);
    assert_eq!(replicas.leader(), 2);
    replicas.pass(1);
    assert_eq!(replicas.leader(), 0);
}

/// A handover that somebody had asked for was undone a second later, because the new leader was not the preferred one.
#[test]
fn leader_that_somebody_asked_for_stays_until_another_is_elected() {
    let mut replicas = replicas();
    replicas.elect(0);
    replicas.node(0).transfer_leader(bench_top::node(2));
    replicas.settle();
    assert_eq!(replicas.leader(), 1);
    replicas.pass(20 * limits::BALANCE_TICKS);
    assert_eq!(replicas.leader(), 1, "it stays");
    replicas.node(1).hand_over();
    replicas.settle();
    let next = replicas.leader();
    assert_ne!(next, 1);
    replicas.pass(4 * limits::BALANCE_TICKS);
    assert_eq!(replicas.leader(), 0, "nobody asked for the one after it");
}

#[test]
fn leader_that_somebody_asks_for_while_it_leads_stays_too() {
    let mut replicas = replicas();
    replicas.elect(1);
    replicas.node(1).transfer_leader(bench_top::node(2));
    replicas.pass(20 * limits::BALANCE_TICKS);
    assert_eq!(replicas.leader(), 1);
}

#[test]
fn single_node_has_nobody_to_hand_over_to() {
    let mut node = Bench::single();
    assert!(node.hand_over().is_set());
}
