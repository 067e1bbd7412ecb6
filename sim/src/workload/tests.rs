//! The whole workload against a small lock server that loses messages, without a cluster: on tokio's paused time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use kapu::client::CallError;
use kapu::clock::BoxFuture;
use kapu::env::TokioSpawn;
use kapu::error::RequestError;
use kapu::lock::{Command, Outcome, Query, Request};
use kapu::status::NodeStatus;
use kapu::types::{FencingToken, Owner, Resource};

use super::*;
use crate::history::Seen;

/// Time since it was made.
pub struct TestClock(tokio::time::Instant);

impl TestClock {
    pub fn start() -> Arc<Self> {
        Arc::new(Self(tokio::time::Instant::now()))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn now_with_suspend(&self) -> Duration {
        self.now()
    }

    fn wall(&self) -> Duration {
        self.now()
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own clock, on paused time")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

pub fn resource(name: &str) -> Resource {
    Resource::new(name).unwrap()
}

struct Hold {
    owner: Owner,
    token: u64,
    until: Duration,
}

/// One node that decides at once. Of every so many attempts one is lost before it is decided, another one after, and a third is refused.
struct Server {
    clock: Arc<TestClock>,
    holds: Mutex<BTreeMap<Resource, Hold>>,
    tokens: AtomicU64,
    attempts: AtomicU64,
    lose_every: u64,
}

impl Server {
    fn decide(&self, request: &Request) -> Outcome {
        let now = self.clock.now();
        let mut holds = self.holds.lock().unwrap();
        holds.retain(|_, hold| hold.until > now);
        let hold = holds.get_mut(request.resource());
        match (request, hold) {
            (Request::Command(Command::TryLock { owner, ttl_ms, .. }), None) => {
                let token = self.tokens.fetch_add(1, Ordering::Relaxed) + 1;
                let (owner, until) = (owner.clone(), now + Duration::from_millis(*ttl_ms));
                holds.insert(request.resource().clone(), Hold { owner, token, until });
                Outcome::Locked {
                    fencing_token: FencingToken(token),
                    expires_in_ms: *ttl_ms,
                }
            }
            (_, None) => Outcome::LockDoesNotExist,
            (Request::Query(Query::Get { .. }), Some(hold)) => Outcome::Got {
                owner: hold.owner.clone(),
                fencing_token: FencingToken(hold.token),
                expires_in_ms: 1,
            },
            (Request::Command(command), Some(hold)) => {
                let outcome = decide_held(command, hold, now);
                if outcome == Outcome::Unlocked {
                    holds.remove(request.resource());
                }
                outcome
            }
        }
    }
}

fn decide_held(command: &Command, hold: &mut Hold, now: Duration) -> Outcome {
    let fencing_token = FencingToken(hold.token);
    match command {
        Command::TryLock { owner, ttl_ms, .. } if *owner == hold.owner => {
            hold.until = hold.until.max(now + Duration::from_millis(*ttl_ms));
            let expires_in_ms = *ttl_ms;
            Outcome::Locked {
                fencing_token,
                expires_in_ms,
            }
        }
        Command::TryLock { .. } => Outcome::Busy { expires_in_ms: 50 },
        Command::Extend { owner, ttl_ms, .. } if *owner == hold.owner => {
            hold.until = now + Duration::from_millis(*ttl_ms);
            let expires_in_ms = *ttl_ms;
            Outcome::Extended {
                fencing_token,
                expires_in_ms,
            }
        }
        Command::Unlock { owner, .. } if *owner == hold.owner => Outcome::Unlocked,
        Command::Extend { .. } | Command::Unlock { .. } => Outcome::InvalidOwner,
    }
}

struct ServerCaller(Arc<Server>);

impl Caller for ServerCaller {
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let (server, endpoint) = (Arc::clone(&self.0), endpoint.to_owned());
        Box::pin(async move {
            let attempt = server.attempts.fetch_add(1, Ordering::Relaxed);
            let lost = attempt % server.lose_every;
            server.clock.sleep(Duration::from_millis(1 + attempt % 3)).await;
            if lost == 1 {
                return Err(RequestError::Stopping.into());
            }
            let outcome = (lost != 0).then(|| server.decide(&request));
            match outcome {
                Some(outcome) if lost != server.lose_every / 2 => Ok(outcome),
                _ => {
                    server.clock.sleep(timeout).await;
                    let reason = "lost".to_owned();
                    Err(CallError::Lost { endpoint, reason })
                }
            }
        })
    }

    fn status(&self, _: &str, _: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        Box::pin(std::future::pending())
    }
}

/// Never answers, and does not keep to the timeout.
struct DeafCaller;

impl Caller for DeafCaller {
    fn call(&self, _: &str, _: Request, _: Duration) -> BoxFuture<'static, Result<Outcome, CallError>> {
        Box::pin(std::future::pending())
    }

    fn status(&self, _: &str, _: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        Box::pin(std::future::pending())
    }
}

/// Loses everything at once.
struct LosingCaller;

impl Caller for LosingCaller {
    fn call(&self, endpoint: &str, _: Request, _: Duration) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let (endpoint, reason) = (endpoint.to_owned(), "lost".to_owned());
        Box::pin(std::future::ready(Err(CallError::Lost { endpoint, reason })))
    }

    fn status(&self, _: &str, _: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        Box::pin(std::future::pending())
    }
}

struct TestOutfitter(Arc<TestClock>, Arc<dyn Caller>);

impl Outfitter for TestOutfitter {
    fn outfit(&self, _: u64, _: Arc<dyn Spawn>) -> Outfit {
        let (clock, caller) = (Arc::clone(&self.0), Arc::clone(&self.1));
        Outfit { caller, clock }
    }
}

fn start(clock: Arc<TestClock>, caller: Arc<dyn Caller>) -> Workload {
    let load = Load {
        clients: 8,
        hot_names: 2,
        cold_names: 5,
        ttl_ms: (40, 600),
        think_ms: 10,
        watchers: 1,
        watch_ms: 20,
    };
    Workload::start(Setting {
        seed: 1,
        load,
        endpoints: vec!["a:1".to_owned()],
        truth: Arc::clone(&clock) as Arc<dyn Clock>,
        spawn: Arc::new(TokioSpawn),
        outfitter: Arc::new(TestOutfitter(clock, caller)),
    })
}

/// A workload that was busy for a minute, with its server losing one of ten messages, and what did not end.
async fn run() -> (Workload, Vec<String>) {
    run_with(20).await
}

/// The same with a server that loses two of so many messages.
async fn run_with(lose_every: u64) -> (Workload, Vec<String>) {
    let clock = TestClock::start();
    let server = Arc::new(Server {
        clock: Arc::clone(&clock),
        holds: Mutex::default(),
        tokens: AtomicU64::new(0),
        attempts: AtomicU64::new(1),
        lose_every,
    });
    let workload = start(Arc::clone(&clock), Arc::new(ServerCaller(server)));
    clock.sleep(Duration::from_secs(60)).await;
    let left = workload.stop_and_drain().await;
    (workload, left)
}

#[tokio::test(start_paused = true)]
async fn everything_that_clients_may_do_is_done_and_ends() {
    let (workload, left) = run().await;
    assert_eq!(left, Vec::<String>::new());
    let facts = workload.facts();
    for name in [
        "grants",
        "regrants",
        "busy",
        "extends",
        "unlocks",
        "gets",
        "invalid_owner",
        "does_not_exist",
        "unknown",
        "expiries",
        "retries_after_unknown",
        "resolved_retries",
        "late_writes",
        "late_writes_refused",
        "acquired",
        "acquisitions_busy",
        "guards_lost",
        "released",
        "leaves",
        "cancels",
        "stalls",
        "oversleeps",
        "vanished",
        "brinks",
        "shortened",
        "lingers",
        "refusals_trusted",
    ] {
        assert!(
            facts.get(name).is_some_and(|count| *count > 0),
            "no {name} in {facts:#?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_correct_server_refuses_no_write_of_who_holds() {
    let (workload, _) = run().await;
    let writes = workload.writes();
    assert!(writes.iter().any(|write| !write.accepted));
    let broken: Vec<_> = writes.iter().filter(|w| w.believed_held && !w.accepted).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_does_the_same() {
    let (first, second) = (run().await.0, run().await.0);
    assert_eq!(first.writes(), second.writes());
    let shift = second.operations()[0].call_ns - first.operations()[0].call_ns;
    assert_eq!(shift, 0);
    assert_eq!(first.operations(), second.operations());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_after_the_drain() {
    let (workload, _) = run().await;
    let before = workload.operations().len();
    TestClock::start().sleep(Duration::from_secs(60)).await;
    assert_eq!(workload.operations().len(), before);
}

#[tokio::test(start_paused = true)]
async fn the_last_look_sees_leases_before_their_end_and_after() {
    let (workload, _) = run_with(u64::MAX).await;
    let before = workload.operations().len();
    assert_eq!(workload.last_look().await, Vec::<String>::new());
    let seen = &workload.operations()[before..];
    let outcomes = |outcome| {
        let last = seen.iter().filter(|o| o.resource.starts_with("last-"));
        last.filter(|o| o.outcome == outcome).count()
    };
    let (locked, got, free) = (Seen::Locked, Seen::Got, Seen::LockDoesNotExist);
    assert_eq!([locked, got, free].map(outcomes), [16, 16, 16]);
    let others = workload.common.setting.load.names().count() as u64;
    assert_eq!(workload.facts()["free_at_last"], 16 + others);
}

#[tokio::test(start_paused = true)]
async fn a_last_look_without_an_answer_is_told_in_words() {
    let workload = start(TestClock::start(), Arc::new(LosingCaller));
    let told = workload.last_look().await;
    assert!(told[0].starts_with("the last look: "), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_is_told_in_words() {
    let clock = TestClock::start();
    let workload = start(Arc::clone(&clock), Arc::new(DeafCaller));
    clock.sleep(Duration::from_secs(1)).await;
    let left = workload.stop_and_drain().await;
    assert!(left.iter().any(|words| words.contains("has been at")), "{left:#?}");
    assert!(
        left.iter().any(|words| words.contains("waits for the answer to")),
        "{left:#?}"
    );
}
