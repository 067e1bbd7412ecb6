//! `kapu serve` on free ports, three or as many as there are, to be killed, stopped and started again, added and removed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use kapu::cli::view::{ClusterView, look};
use kapu::client::Client;
use kapu::limits::CAUGHT_UP_ENTRIES_MAX;
use kapu::types::{NodeId, Resource};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Process, kapu, run, stderr, until};

/// How many partitions a cluster of these tests has.
pub const PARTITIONS: u32 = 4;
/// How long one node may take to tell its status.
const ASK: Duration = Duration::from_secs(1);
/// How long a change of members may take.
const CHANGE: &str = "60s";

/// A loopback address that nobody has, below the range that the system takes ports of clients from: a node that is started again finds
/// its port as it left it.
pub fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 100 * 100).expect("below 10,000");
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let address = format!("127.0.0.1:{port}");
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
}

/// One node, running or not.
struct Node {
    id: u64,
    listen: String,
    peer_listen: String,
    /// How it comes to the cluster: the peers that it is created with, or a node to join.
    origin: [String; 2],
    process: Option<Process>,
}

impl Node {
    fn new(id: u64) -> Self {
        Self {
            id,
            listen: free_address(),
            peer_listen: free_address(),
            origin: Default::default(),
            process: None,
        }
    }
}

/// A cluster of real processes. Whatever still runs is killed when it is dropped.
pub struct Cluster {
    nodes: Vec<Node>,
    partitions: u32,
    directory: TempDir,
}

impl Cluster {
    /// Starts `count` nodes and waits until every partition has a leader.
    pub async fn start(count: u64) -> Self {
        Self::start_with(count, PARTITIONS).await
    }

    /// As [`Cluster::start`], with another number of partitions.
    pub async fn start_with(count: u64, partitions: u32) -> Self {
        let mut cluster = Self {
            nodes: (1..=count).map(Node::new).collect(),
            partitions,
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        cluster.introduce_all();
        cluster.start_all();
        cluster.ready().await;
        cluster
    }

    /// From now on the settings of every node say where all of them are.
    fn introduce_all(&mut self) {
        let peer = |node: &Node| format!("{}={}", node.id, node.peer_listen);
        let peers: Vec<_> = self.nodes.iter().map(peer).collect();
        for node in &mut self.nodes {
            node.origin = ["--peers".to_owned(), peers.join(",")];
        }
    }

    /// Gives every node other addresses, for clients and for peers, and has its settings say so. None of them may run.
    pub fn relocate_all(&mut self) {
        for node in &mut self.nodes {
            let Node {
                listen, peer_listen, ..
            } = Node::new(node.id);
            (node.listen, node.peer_listen) = (listen, peer_listen);
        }
        self.introduce_all();
    }

    /// Starts a new node that asks `through` to be added, and returns its id. It is a voter once [`Cluster::settled`] returns.
    pub fn add(&mut self, id: u64, through: NodeId) -> NodeId {
        let mut node = Node::new(id);
        node.origin = ["--join".to_owned(), self.endpoint(through).to_owned()];
        self.nodes.push(node);
        self.start_node(NodeId(id));
        NodeId(id)
    }

    /// Waits until `kapu node list` says that a node votes in every partition and has caught up.
    pub async fn settled(&mut self, id: NodeId) {
        let what = format!("node {id} is a voter of every partition and lacks nothing");
        until(&what, async || {
            self.check_running();
            self.is_settled(id).await.then_some(())
        })
        .await;
    }

    async fn is_settled(&self, id: NodeId) -> bool {
        let nodes = self.listed_nodes().await;
        let row = nodes.iter().find(|row| row["node"] == id.0);
        row.is_some_and(|row| {
            let has_caught_up = row["live"] == true && row["lacks"].as_u64() <= Some(CAUGHT_UP_ENTRIES_MAX);
            row["voter"] == self.partitions && has_caught_up
        })
    }

    /// The rows of `kapu node list`.
    pub async fn listed_nodes(&self) -> Vec<Value> {
        let output = self.tell(&["node", "list", "--output", "json"]).await;
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        list["nodes"].as_array().cloned().unwrap_or_default()
    }

    /// Removes a node, and checks that it says so itself and ends with code 0.
    pub async fn remove(&mut self, id: NodeId) {
        let output = self
            .tell(&["node", "remove", &id.to_string(), "--timeout", CHANGE])
            .await;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        if self.node(id).process.is_some() {
            assert_eq!(self.exit(id).await, Some(0), "{}", self.log(id));
            assert!(
                self.log(id).contains("was removed from its cluster"),
                "{}",
                self.log(id)
            );
        }
        self.nodes.retain(|node| node.id != id.0);
    }

    /// Runs `kapu` for this cluster to its end.
    pub async fn tell(&self, line: &[&str]) -> Output {
        run(&mut self.at(line)).await
    }

    /// `kapu`, to be run for this cluster.
    pub fn at(&self, line: &[&str]) -> Command {
        let mut command = kapu();
        command.env("KAPU_ENDPOINTS", self.endpoints().join(",")).args(line);
        command
    }

    pub fn ids(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|node| NodeId(node.id)).collect()
    }

    /// The command that runs a node, with its own settings.
    pub fn command(&self, id: NodeId) -> Command {
        let node = self.node(id);
        let mut command = kapu();
        command.args(["serve", "--node-id", &node.id.to_string(), "--listen", &node.listen]);
        command.args(["--peer-listen", &node.peer_listen]).args(&node.origin);
        command
            .args(["--partitions", &self.partitions.to_string()])
            .arg("--data-dir")
            .arg(self.data_dir(id));
        // No node outlives the test, however that ends.
        command.arg("--exit-with-parent").stdin(Stdio::piped());
        command.env("RUST_LOG", "info");
        command
    }

    pub fn data_dir(&self, id: NodeId) -> PathBuf {
        self.directory.path().join(format!("node-{id}"))
    }

    pub fn log(&self, id: NodeId) -> String {
        std::fs::read_to_string(log_path(self.directory.path(), id.0)).unwrap_or_default()
    }

    /// Starts every node that does not run.
    pub fn start_all(&mut self) {
        for id in self.ids() {
            if self.node(id).process.is_none() {
                self.start_node(id);
            }
        }
    }

    pub fn start_node(&mut self, id: NodeId) {
        self.start_as(id, self.command(id));
    }

    /// Starts a node that may write no file longer than `blocks` blocks of the shell: a disk that is soon full.
    pub fn start_with_small_disk(&mut self, id: NodeId, blocks: u32) {
        let node = self.command(id);
        let mut command = Command::new("sh");
        // Without the trap a write past the limit would kill; with it, it fails.
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &script])
            .arg(node.get_program())
            .args(node.get_args())
            .stdin(Stdio::piped());
        self.start_as(id, command);
    }

    fn start_as(&mut self, id: NodeId, mut command: Command) {
        #[expect(
            clippy::disallowed_methods,
            reason = "the logs of all lives of a node go into one file"
        )]
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log_path(self.directory.path(), id.0))
            .expect("a log file in a temporary directory");
        command.stdout(log.try_clone().expect("a file handle")).stderr(log);
        self.node_mut(id).process = Some(Process::start(&mut command));
    }

    /// Waits until every node that runs answers and every partition has a leader among them.
    pub async fn ready(&mut self) {
        let what = "every node answers and every partition has a leader";
        let running = self.nodes.iter().filter(|node| node.process.is_some()).count();
        until(what, async || {
            self.check_running();
            let view = self.view().await;
            let ready = view.is_ready() && view.partitions().len() == self.partitions as usize;
            (ready && view.statuses().count() == running).then_some(())
        })
        .await;
    }

    /// Fails with its log when a node has ended by itself.
    pub fn check_running(&mut self) {
        let ended = self.nodes.iter_mut().find_map(|node| {
            let ended = node.process.as_mut().is_some_and(|process| !process.is_running());
            ended.then_some(NodeId(node.id))
        });
        if let Some(id) = ended {
            panic!("node {id} ended by itself:\n{}", self.log(id));
        }
    }

    /// What the nodes say of themselves.
    pub async fn view(&self) -> ClusterView {
        look(&self.client_at(&self.endpoints()).await.with_timeout(ASK), ASK).await
    }

    /// The node that leads the partition of `resource`.
    pub async fn leader_of(&self, resource: &Resource) -> NodeId {
        let partition = resource.partition(self.partitions);
        until("a partition has a leader", async || self.view().await.leader(partition)).await
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.listen.clone()).collect()
    }

    pub fn endpoint(&self, id: NodeId) -> &str {
        &self.node(id).listen
    }

    pub fn peer_endpoint(&self, id: NodeId) -> &str {
        &self.node(id).peer_listen
    }

    pub async fn client(&self) -> Client {
        self.client_at(&self.endpoints()).await
    }

    async fn client_at(&self, endpoints: &[String]) -> Client {
        Client::connect(endpoints.iter().cloned())
            .await
            .expect("endpoints of the harness are sound")
    }

    /// The number of the process of a node that runs.
    pub fn pid(&self, id: NodeId) -> i32 {
        let process = self.node(id).process.as_ref().expect("the node runs");
        process.pid().as_raw_nonzero().get()
    }

    /// SIGKILL. The node does not run any more when this returns.
    pub fn kill(&mut self, id: NodeId) {
        self.node_mut(id).process.take().expect("the node runs").kill();
    }

    pub fn signal(&self, id: NodeId, signal: Signal) {
        self.node(id).process.as_ref().expect("the node runs").signal(signal);
    }

    /// SIGTERM, and the code that the node ends with.
    pub async fn terminate(&mut self, id: NodeId) -> Option<i32> {
        self.signal(id, Signal::TERM);
        self.exit(id).await
    }

    /// The code that the node ends with, by itself.
    pub async fn exit(&mut self, id: NodeId) -> Option<i32> {
        let mut process = self.node_mut(id).process.take().expect("the node runs");
        process.exit().await.code()
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes
            .iter()
            .find(|node| node.id == id.0)
            .expect("a node of this cluster")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes
            .iter_mut()
            .find(|node| node.id == id.0)
            .expect("a node of this cluster")
    }
}

fn log_path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("node-{id}.log"))
}
