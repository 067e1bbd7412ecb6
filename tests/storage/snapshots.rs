//! State, staging and snapshots against the model, on every store; and what a snapshot keeps open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kapu::storage::memory::MemoryState;
use kapu::storage::{self, Opened, StateSnapshot, StateStore};
use kapu::types::PartitionId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::Platters;
use crate::state_model::{Rows, StateModel, StateOp, leftovers, rows_of};
use crate::support::{env_with_tasks, identity, no_failure, runtime, small_options};

const PARTITIONS: u32 = 2;
const SEEDS: u64 = 60;
const OPERATIONS: usize = 80;

/// The model of each partition, and the snapshots that are open with what they must hold.
#[derive(Default)]
struct Workload {
    models: [StateModel; PARTITIONS as usize],
    snapshots: Vec<(Box<dyn StateSnapshot>, StateModel)>,
    installs: usize,
    overtaken: usize,
}

impl Workload {
    /// One operation, and then everything is compared.
    async fn step(&mut self, state: &dyn StateStore, rng: &mut StdRng) {
        let place = rng.random_range(0..self.models.len());
        let partition = PartitionId(u32::try_from(place).unwrap());
        let model = &mut self.models[place];
        let op = model.draw(rng);
        self.installs += usize::from(matches!(op, StateOp::Install(_)));
        self.overtaken +=
            usize::from(matches!((&op, &model.staging), (StateOp::Stage(at, _), Some((was, _))) if at != was));
        model.apply(&op);
        let completed = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&completed);
        op.submit(state, partition, Box::new(move || done.store(true, Ordering::SeqCst)));
        while !completed.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        assert_eq!(StateModel::found(state, partition).unwrap(), *model);
        if rng.random_bool(0.2) {
            self.snapshots.push((state.snapshot(partition).unwrap(), model.clone()));
        }
        for (snapshot, model) in &self.snapshots {
            assert_eq!(*snapshot.mark(), model.loaded.mark);
            assert_eq!(rows_of(&**snapshot, rng.random_range(0..5000)), Ok(model.rows.clone()));
        }
        if self.snapshots.len() > 3 {
            self.snapshots.swap_remove(rng.random_range(0..3));
        }
    }
}

#[test]
fn the_state_in_memory_agrees_with_the_model() {
    runtime().block_on(async {
        for seed in 0..SEEDS {
            println!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let (state, mut workload) = (MemoryState::default(), Workload::default());
            for _ in 0..OPERATIONS {
                workload.step(&state, &mut rng).await;
            }
            assert!(workload.installs > 0 && workload.overtaken > 0);
        }
    });
}

#[test]
fn the_state_on_redb_agrees_with_the_model_also_when_it_is_reopened() {
    runtime().block_on(async {
        for seed in 0..SEEDS {
            println!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let (platters, mut workload) = (Platters::default(), Workload::default());
            let mut opened = open(&platters);
            for _ in 0..OPERATIONS {
                workload.step(&*opened.state, &mut rng).await;
                if rng.random_bool(0.05) {
                    workload.snapshots.clear();
                    close(opened).await;
                    opened = open(&platters);
                }
            }
            workload.snapshots.clear();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            close(opened).await;
            assert_eq!(leftovers(&platters), 0);
            assert!(workload.installs > 0 && workload.overtaken > 0);
        }
    });
}

fn open(platters: &Platters) -> Opened {
    let env = env_with_tasks(platters.boot(None));
    storage::open_with(&env, &identity(PARTITIONS), no_failure(), small_options()).unwrap()
}

async fn close(opened: Opened) {
    let Opened { log, state, closed, .. } = opened;
    drop((log, state));
    closed.await;
}

#[test]
fn a_snapshot_holds_the_store_open_until_it_is_let_go() {
    runtime().block_on(async {
        let opened = open(&Platters::default());
        let Opened {
            log, state, mut closed, ..
        } = opened;
        let snapshot = state.snapshot(PartitionId(0)).unwrap();
        drop((log, state));
        for _ in 0..50 {
            let now = std::future::poll_fn(|context| std::task::Poll::Ready(closed.as_mut().poll(context).is_ready()));
            assert!(!now.await, "it is closed while somebody reads");
            tokio::task::yield_now().await;
        }
        assert_eq!(rows_of(&*snapshot, 0), Ok(Rows::new()), "and can be read");
        drop(snapshot);
        closed.await;
    });
}
