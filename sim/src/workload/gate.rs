//! The life of one client's process: it can stand still, and it can die, with everything that it has started.
//!
//! A client that is merely not asked for anything goes on renewing its locks; only a process that stands still lets them run out. So every
//! task of a client is started through here, and is polled only while its process runs. A dead process starts nothing more: the unlock
//! that a dropped guard would send never leaves. It knows nothing of locks, and stops no clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use kapu::clock::BoxFuture;
use kapu::env::Spawn;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Running,
    Still,
    Dead,
}

#[derive(Debug, Default)]
struct State {
    life: Life,
    started: u64,
    /// Of each task that has not ended, where to wake it.
    wakers: BTreeMap<u64, Waker>,
}

/// One process. Clones are the same process.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<State>>);

impl Gate {
    /// Everything stands still until [`Gate::resume`].
    pub fn pause(&self) {
        let mut state = self.state();
        if state.life == Life::Running {
            state.life = Life::Still;
        }
    }

    /// Everything goes on, unless it is dead.
    pub fn resume(&self) {
        let mut state = self.state();
        if state.life == Life::Still {
            state.life = Life::Running;
            wake_all(state);
        }
    }

    /// Everything ends where it is, for good.
    pub fn kill(&self) {
        let mut state = self.state();
        state.life = Life::Dead;
        wake_all(state);
    }

    /// A way to start tasks of this process beside the others that `spawn` runs.
    #[must_use]
    pub fn spawner(&self, spawn: Arc<dyn Spawn>) -> Arc<dyn Spawn> {
        let gate = self.clone();
        Arc::new(GatedSpawn { gate, spawn })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None when the process is dead.
    fn admit(&self, future: BoxFuture<'static, ()>) -> Option<Gated> {
        let mut state = self.state();
        if state.life == Life::Dead {
            return None;
        }
        state.started += 1;
        Some(Gated {
            gate: self.clone(),
            task: state.started,
            future: Some(future),
        })
    }
}

/// Wakers may poll what they wake, so none is called under the lock.
fn wake_all(state: MutexGuard<'_, State>) {
    let wakers: Vec<_> = state.wakers.values().cloned().collect();
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

struct GatedSpawn {
    gate: Gate,
    spawn: Arc<dyn Spawn>,
}

impl Spawn for GatedSpawn {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        if let Some(gated) = self.gate.admit(future) {
            self.spawn.spawn(name, Box::pin(gated));
        }
    }

    fn spawn_blocking(&self, name: &'static str, future: BoxFuture<'static, ()>) {
        if let Some(gated) = self.gate.admit(future) {
            self.spawn.spawn_blocking(name, Box::pin(gated));
        }
    }
}

/// A task that is polled only while its process runs.
struct Gated {
    gate: Gate,
    task: u64,
    future: Option<BoxFuture<'static, ()>>,
}

impl Future for Gated {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let life = {
            let mut state = self.gate.state();
            state.wakers.insert(self.task, context.waker().clone());
            state.life
        };
        match (life, &mut self.future) {
            (Life::Running, Some(future)) => future.as_mut().poll(context),
            (Life::Still, Some(_)) => Poll::Pending,
            (Life::Dead, _) | (_, None) => {
                self.future = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Gated {
    fn drop(&mut self) {
        self.gate.state().wakers.remove(&self.task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kapu::env::TokioSpawn;
    use tokio::sync::mpsc;
    use tokio::task::yield_now;

    /// A task of a process that hands on what it gets, so that one sees whether it runs.
    fn start(gate: &Gate) -> (mpsc::UnboundedSender<u8>, mpsc::UnboundedReceiver<u8>) {
        let (input, mut inputs) = mpsc::unbounded_channel();
        let (output, outputs) = mpsc::unbounded_channel();
        let echo = async move {
            while let Some(byte) = inputs.recv().await {
                output.send(byte).unwrap();
            }
        };
        gate.spawner(Arc::new(TokioSpawn)).spawn("echo", Box::pin(echo));
        (input, outputs)
    }

    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_stands_still_goes_on_where_it_was() {
        let gate = Gate::default();
        let (input, mut output) = start(&gate);
        settle().await;
        gate.pause();
        input.send(1).unwrap();
        settle().await;
        assert!(output.try_recv().is_err());
        gate.resume();
        settle().await;
        assert_eq!(output.try_recv(), Ok(1));
    }

    #[tokio::test]
    async fn the_dead_end_at_once_and_start_nothing() {
        let gate = Gate::default();
        let (input, mut output) = start(&gate);
        settle().await;
        gate.kill();
        settle().await;
        assert!(input.is_closed());
        assert_eq!(output.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        gate.resume();
        let (input, _output) = start(&gate);
        assert!(input.is_closed());
    }

    #[tokio::test]
    async fn one_process_does_not_stop_another() {
        let (still, running) = (Gate::default(), Gate::default());
        let (input, mut output) = start(&running);
        still.pause();
        input.send(1).unwrap();
        settle().await;
        assert_eq!(output.try_recv(), Ok(1));
    }
}
