//! Tasks of the simulation, on the simulated machine of whoever starts them.
//!
//! What would block a thread in production is a task here, and takes no time but what it waits for. A task that panics ends alone, as a
//! task of tokio does; what it said is kept, so that a broken invariant is a finding and not the end of the harness.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use kapu::clock::BoxFuture;
use kapu::env::Spawn;

use crate::trace::Trace;

/// Starts tasks, and remembers which of them panicked. Clones share what they remember.
#[derive(Clone)]
pub struct SimSpawn {
    trace: Trace,
    panics: Arc<Mutex<Vec<String>>>,
}

impl SimSpawn {
    /// Nothing has panicked yet. `trace` is told which task is at work.
    #[must_use]
    pub fn new(trace: Trace) -> Self {
        let panics = Arc::default();
        Self { trace, panics }
    }

    /// A task of this machine whose panic is its end, and is kept.
    pub fn guarded(
        &self,
        name: &'static str,
        machine: u64,
        future: BoxFuture<'static, ()>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let spawner = self.clone();
        Guarded {
            name,
            machine,
            future,
            spawner,
        }
    }

    /// What tasks said when they panicked.
    #[must_use]
    pub fn panics(&self) -> Vec<String> {
        self.panics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Spawn for SimSpawn {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        // madsim shows its number only as text.
        let machine = madsim::plugin::node().to_string().parse().unwrap_or_default();
        madsim::task::spawn(self.guarded(name, machine, future));
    }

    fn spawn_blocking(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        self.spawn(name, future);
    }
}

/// A future whose panic is its end, and nobody else's.
struct Guarded {
    name: &'static str,
    machine: u64,
    future: BoxFuture<'static, ()>,
    spawner: SimSpawn,
}

impl Future for Guarded {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.spawner.trace.enter(self.name, self.machine);
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(context)));
        self.spawner.trace.leave();
        polled.unwrap_or_else(|panic| {
            let said = format!("{}: {}", self.name, words(&*panic));
            let panics = &self.spawner.panics;
            panics.lock().unwrap_or_else(PoisonError::into_inner).push(said);
            Poll::Ready(())
        })
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
