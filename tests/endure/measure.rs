//! What is measured: time, the memory and the disk of each node, and how the load fares.

use std::path::Path;
use std::time::Duration;

use kapu::clock::{Clock, SystemClock};
use kapu::types::NodeId;

use crate::harness::Cluster;
use crate::load::Load;

const MIB: u64 = 1024 * 1024;

/// A part of the measurement, and when its present phase began.
pub struct Phases {
    part: &'static str,
    began: Duration,
}

impl Phases {
    pub fn of(part: &'static str) -> Self {
        let began = SystemClock.now();
        Self { part, began }
    }

    /// Prints a line.
    pub fn say(&self, words: impl std::fmt::Display) {
        println!("{}: {words}", self.part);
    }

    /// Begins a phase: what the load did until now belongs to no phase.
    pub fn begin(&mut self, load: &Load) {
        drop(load.take_window());
        self.began = SystemClock.now();
    }

    /// Ends a phase, and prints how the load fared in it. The next one begins.
    pub fn end(&mut self, load: &Load, name: &str) {
        let (window, now) = (load.take_window(), SystemClock.now());
        let took = (now - self.began).as_secs_f64();
        self.began = now;
        let lock = window.lock.summary();
        self.say(format_args!(
            "{name}: {took:.1} s, {:.0} cycles/s, lock p50 {:.2} ms p99 {:.2} ms max {:.0} ms, without outcome {}",
            as_f64(window.cycles) / took,
            as_f64(lock.p50_us) / 1e3,
            as_f64(lock.p99_us) / 1e3,
            as_f64(lock.max_us) / 1e3,
            window.failures,
        ));
    }

    /// Lets the load run for `length`, as a phase of its own.
    pub async fn pass(&mut self, load: &Load, name: &str, length: Duration) {
        self.begin(load);
        SystemClock.sleep(length).await;
        self.end(load, name);
    }

    /// Prints what every node takes.
    pub fn sizes(&self, cluster: &Cluster, name: &str) {
        let sizes = |id: NodeId| {
            format!(
                "node {id} {} MiB of memory {} MiB of disk",
                memory(cluster, id),
                disk(cluster, id)
            )
        };
        let all: Vec<_> = cluster.ids().into_iter().map(sizes).collect();
        self.say(format_args!("{name}: {}", all.join(", ")));
    }
}

/// The memory that a node has resident, in MiB.
pub fn memory(cluster: &Cluster, id: NodeId) -> u64 {
    let path = format!("/proc/{}/status", cluster.pid(id));
    let status = std::fs::read_to_string(path).expect("the node runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .expect("a number of kB")
        / 1024
}

/// What a node's data takes on the disk, in MiB.
fn disk(cluster: &Cluster, id: NodeId) -> u64 {
    bytes_in(&cluster.data_dir(id)) / MIB
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("the node has a data directory");
    let files = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    files.map(|file| file.len()).sum()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a figure for people; counts stay far below 2^52"
)]
pub fn as_f64(count: u64) -> f64 {
    count as f64
}
