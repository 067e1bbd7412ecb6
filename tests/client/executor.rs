//! A world with its own time: tasks run until all of them wait, then the clock moves to the next timer.
//!
//! No real time passes and no thread is started, so a run of minutes takes milliseconds and is the same every time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use kapu::clock::{BoxFuture, Clock};
use kapu::env::Spawn;

/// A handle to the world: its clock and its tasks. Cheap to clone.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    suspended: Duration,
    timers: BTreeMap<(Duration, u64), Waker>,
    timer_ids: u64,
    spawned: Vec<BoxFuture<'static, ()>>,
    /// Tasks of this name are never run.
    stifled: Option<&'static str>,
}

struct Task {
    future: BoxFuture<'static, ()>,
    woken: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl World {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The machine sleeps for `duration`: timers stand still, the lease does not.
    pub fn suspend(&self, duration: Duration) {
        self.lock().suspended += duration;
    }

    /// From now on tasks called `name` are dropped.
    pub fn stifle(&self, name: &'static str) {
        self.lock().stifled = Some(name);
    }
}

impl Clock for World {
    fn now(&self) -> Duration {
        self.lock().now
    }

    fn now_with_suspend(&self) -> Duration {
        let state = self.lock();
        state.now + state.suspended
    }

    fn wall(&self) -> Duration {
        unreachable!("a client asks nobody for the time of day")
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.lock();
        state.timer_ids += 1;
        let key = (state.now.saturating_add(duration), state.timer_ids);
        let world = self.clone();
        Box::pin(Timer { world, key })
    }
}

impl Spawn for World {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        let stifled = self.lock().stifled == Some(name);
        if !stifled {
            self.lock().spawned.push(future);
        }
    }

    fn spawn_blocking(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        self.spawn(name, future);
    }
}

struct Timer {
    world: World,
    key: (Duration, u64),
}

impl Future for Timer {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.world.lock();
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        state.timers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.world.lock().timers.remove(&self.key);
    }
}

/// Runs the tasks of one world. After each step and each move of the clock it calls `check`.
pub struct Executor {
    pub world: World,
    tasks: Vec<Task>,
    check: Box<dyn FnMut()>,
}

impl Executor {
    pub fn new() -> Self {
        let (world, tasks, check) = (World::default(), Vec::new(), Box::new(|| {}));
        Self { world, tasks, check }
    }

    /// Has `check` called whenever something may have changed.
    pub fn check_with(&mut self, check: impl FnMut() + 'static) {
        self.check = Box::new(check);
    }

    /// Runs `future` to its end, with everything beside it.
    pub fn block_on<T: Send + 'static>(&mut self, future: impl Future<Output = T> + Send + 'static) -> T {
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        self.world.spawn(
            "main",
            Box::pin(async move { *slot.lock().unwrap() = Some(future.await) }),
        );
        loop {
            self.settle();
            if let Some(result) = result.lock().unwrap().take() {
                return result;
            }
            assert!(self.advance(Duration::MAX), "everything waits and no timer runs");
        }
    }

    /// Runs everything for `duration`.
    pub fn run_for(&mut self, duration: Duration) {
        let until = self.world.now() + duration;
        self.settle();
        while self.advance(until) {
            self.settle();
        }
        self.world.lock().now = until;
        (self.check)();
    }

    /// Polls whatever was woken until all wait.
    fn settle(&mut self) {
        loop {
            let spawned = std::mem::take(&mut self.world.lock().spawned);
            let woken = || Arc::new(Flag(AtomicBool::new(true)));
            self.tasks
                .extend(spawned.into_iter().map(|future| Task { future, woken: woken() }));
            let before = self
                .tasks
                .iter()
                .filter(|task| task.woken.0.load(Ordering::SeqCst))
                .count();
            if before == 0 {
                return;
            }
            self.tasks
                .retain_mut(|task| !task.woken.0.swap(false, Ordering::SeqCst) || task.is_pending());
            (self.check)();
        }
    }

    /// Moves the clock to the next timer, if there is one by `until`.
    fn advance(&mut self, until: Duration) -> bool {
        let mut state = self.world.lock();
        let Some((&(at, _), _)) = state.timers.first_key_value().filter(|((at, _), _)| *at <= until) else {
            return false;
        };
        state.now = at;
        while let Some(timer) = state.timers.first_entry().filter(|timer| timer.key().0 <= at) {
            timer.remove().wake();
        }
        drop(state);
        (self.check)();
        true
    }
}

impl Task {
    fn is_pending(&mut self) -> bool {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
    }
}
