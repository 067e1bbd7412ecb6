//! Growth, cause before effect, bounds and words of hybrid time.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const LIMIT: u64 = limits::HLC_AHEAD_MS_MAX;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn at(millis: u64, counter: u64) -> Hlc {
    Hlc(millis << COUNTER_BITS | counter)
}

#[test]
fn the_wall_is_shown_and_counted_on_from_when_it_stands_still_or_steps_back() {
    let mut clock = HybridClock::default();
    assert_eq!(clock.now(ms(500)), at(500, 0));
    assert_eq!(clock.now(ms(500)), at(500, 1));
    assert_eq!(clock.now(ms(100)), at(500, 2), "it stepped back");
    assert_eq!(clock.now(ms(501)), at(501, 0));
}

#[test]
fn a_full_counter_goes_on_in_the_next_millisecond() {
    assert_eq!(at(7, 0xffff).next(), at(8, 0));
    let mut clock = HybridClock::default();
    clock.observe(at(500, 0xffff), ms(500)).unwrap();
    assert_eq!(clock.now(ms(500)), at(501, 0));
    assert_eq!(clock.now(ms(501)), at(501, 1), "the wall has not passed it");
}

#[test]
fn nothing_comes_after_the_last_point() {
    assert_eq!(Hlc(u64::MAX).next(), Hlc(u64::MAX));
    let last = Hlc::of_wall(Duration::MAX);
    assert_eq!((last.millis(), last.counter()), (u64::MAX >> COUNTER_BITS, 0));
    assert_eq!(HybridClock::default().now(Duration::MAX), last);
}

#[test]
fn what_is_too_far_ahead_is_not_followed() {
    let mut clock = HybridClock::default();
    let far = at(1000 + LIMIT, 9);
    assert_eq!(
        clock.observe(far, ms(999)),
        Err(TooFarAhead {
            by_ms: LIMIT + 1,
            limit: LIMIT
        })
    );
    assert_eq!(clock.now(ms(999)), at(999, 0));
    assert_eq!(clock.observe(far, ms(1000)), Ok(()));
    assert_eq!(clock.now(ms(1000)), far.next());
    assert!(clock.observe(Hlc(u64::MAX), ms(1000)).is_err());
}

#[test]
fn a_point_is_told_in_utc_with_its_counter() {
    let told = |millis, counter| at(millis, counter).to_string();
    assert_eq!(told(0, 0), "1970-01-01T00:00:00.000Z+0");
    assert_eq!(told(951_868_799_999, 1), "2000-02-29T23:59:59.999Z+1");
    assert_eq!(told(1_795_687_200_123, 7), "2026-11-26T10:00:00.123Z+7");
    assert_eq!(told(4_107_542_400_000, 0), "2100-03-01T00:00:00.000Z+0");
    assert_eq!(Hlc(u64::MAX).to_string(), "10889-08-02T05:31:50.655Z+65535");
}

#[test]
fn days_follow_each_other_through_every_kind_of_year() {
    let dates: Vec<_> = (0..4 * 146_097).map(civil::date).collect();
    assert!(dates.is_sorted_by(|a, b| a < b));
    let leap_days: Vec<_> = dates
        .iter()
        .filter(|(_, month, day)| (*month, *day) == (2, 29))
        .collect();
    assert_eq!(leap_days.len(), 4 * 97);
    assert!(dates.contains(&(2000, 2, 29)) && !dates.contains(&(2100, 2, 29)));
    assert_eq!(dates[4 * 146_097 - 1], (3569, 12, 31));
}

/// Something that happens to a node of a group whose walls drift and step.
#[derive(Clone, Debug)]
enum Step {
    /// Its wall clock moves, in either direction.
    Wall { node: usize, by_ms: i64 },
    /// It does something and stamps it.
    Event { node: usize },
    /// It sends its stamp to another, who then does something.
    Message { from: usize, to: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..4_usize;
    let far = i64::try_from(LIMIT * 5).unwrap();
    prop_oneof![
        2 => (node(), 0..50_i64).prop_map(|(node, by_ms)| Step::Wall { node, by_ms }),
        1 => (node(), -far..far).prop_map(|(node, by_ms)| Step::Wall { node, by_ms }),
        4 => node().prop_map(|node| Step::Event { node }),
        4 => (node(), node()).prop_map(|(from, to)| Step::Message { from, to }),
    ]
}

/// A node, with the highest that its wall has shown and the latest stamp that it gave.
#[derive(Clone, Copy)]
struct Node {
    clock: HybridClock,
    wall: u64,
    wall_max: u64,
    last: Hlc,
}

impl Node {
    fn stamp(&mut self) -> Hlc {
        let stamp = self.clock.now(ms(self.wall));
        assert!(stamp > self.last, "it grows strictly");
        assert!(
            stamp.millis() <= self.wall_max + LIMIT,
            "it stays within the limit of what the own wall has shown"
        );
        self.last = stamp;
        stamp
    }
}

proptest! {
    #[test]
    fn stamps_grow_follow_cause_and_stay_near_the_wall(steps in prop::collection::vec(step(), 0..400)) {
        let start = 1_000_000;
        let node = Node { clock: HybridClock::default(), wall: start, wall_max: start, last: Hlc(0) };
        let mut nodes = [node; 4];
        for step in steps {
            match step {
                Step::Wall { node, by_ms } => {
                    let node = &mut nodes[node];
                    node.wall = node.wall.saturating_add_signed(by_ms);
                    node.wall_max = node.wall_max.max(node.wall);
                }
                Step::Event { node } => {
                    nodes[node].stamp();
                }
                Step::Message { from, to } => {
                    let sent = nodes[from].stamp();
                    let receiver = &mut nodes[to];
                    let followed = receiver.clock.observe(sent, ms(receiver.wall)).is_ok();
                    prop_assert_eq!(followed, sent.millis() <= receiver.wall + LIMIT);
                    let effect = receiver.stamp();
                    prop_assert!(!followed || effect > sent, "the effect comes after its cause");
                }
            }
        }
    }
}
