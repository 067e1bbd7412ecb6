//! A cluster in memory that tells the truth about its locks and loses, delays and misdirects everything else.
//!
//! It decides at once and alone: what the real one does to agree is not under test here. Its clock may run at another rate than the
//! clients'.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kapu::client::{CallError, Caller};
use kapu::clock::{BoxFuture, Clock};
use kapu::env::{Spawn, rng};
use kapu::error::{LeaderHint, NotLeader, RequestError};
use kapu::lock::{Command, Outcome, Query, Request};
use kapu::status::{NodeInfo, NodeStatus};
use kapu::types::{FencingToken, NodeId, Owner, PartitionId, Resource};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::executor::World;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    Up,
    /// Connections are refused.
    Down,
    /// It takes requests and answers when it is up again.
    Hung,
}

/// What happens to attempts, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The request never takes effect, and the client does not know.
    pub request_lost: u32,
    /// The request takes effect, and the client does not know.
    pub reply_lost: u32,
    /// The node answers that it cannot tell; half of these take effect.
    pub unknown: u32,
    /// The node names a random leader.
    pub misdirected: u32,
    /// Each node names the next one.
    pub circle: bool,
}

#[derive(Clone)]
struct Hold {
    owner: Owner,
    fencing_token: FencingToken,
    ends: Duration,
}

pub struct State {
    pub health: Vec<Health>,
    /// By partition: the place of its leader, if it has one.
    pub leaders: Vec<Option<usize>>,
    pub faults: Faults,
    pub latency: Duration,
    /// Cluster time runs faster by so many thousandths.
    pub fast_per_mille: u32,
    /// Every attempt: the endpoint and the request.
    pub attempts: Vec<(String, Request)>,
    holds: BTreeMap<Resource, Hold>,
    grants: u64,
    rng: StdRng,
}

/// The cluster, and the caller to it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    world: World,
    state: Arc<Mutex<State>>,
}

pub fn address(node: usize) -> String {
    format!("node-{node}:2070")
}

impl Cluster {
    /// Three healthy nodes, of which node 0 leads all partitions.
    pub fn new(world: &World, partitions: usize, seed: u64) -> Self {
        let state = State {
            health: vec![Health::Up; 3],
            leaders: vec![Some(0); partitions],
            faults: Faults::default(),
            latency: Duration::from_millis(1),
            fast_per_mille: 0,
            attempts: Vec::new(),
            holds: BTreeMap::new(),
            grants: 0,
            rng: rng(seed, "cluster"),
        };
        let (world, state) = (world.clone(), Arc::new(Mutex::new(state)));
        Self { world, state }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn time(&self, state: &State) -> Duration {
        self.world.now_with_suspend() * (1000 + state.fast_per_mille) / 1000
    }

    /// Who truly holds `name` now.
    pub fn holder(&self, name: &str) -> Option<(Owner, FencingToken)> {
        let mut state = self.lock();
        let now = self.time(&state);
        state.expire(now);
        let hold = state.holds.get(&Resource::new(name).unwrap())?;
        Some((hold.owner.clone(), hold.fencing_token))
    }

    /// How many locks are truly held now.
    pub fn held(&self) -> usize {
        let mut state = self.lock();
        let now = self.time(&state);
        state.expire(now);
        state.holds.len()
    }

    /// Ends the hold of `name`, as an operator would.
    pub fn force_unlock(&self, name: &str) {
        self.lock().holds.remove(&Resource::new(name).unwrap());
    }

    /// Applies a request as a leader would, without any network.
    pub fn apply(&self, request: &Request) -> Outcome {
        let mut state = self.lock();
        let now = self.time(&state);
        state.expire(now);
        state.apply(request, now)
    }

    /// What a node does with a request that reached it; `None` when no answer comes back.
    async fn serve(self, node: usize, request: Request) -> Option<Result<Outcome, RequestError>> {
        let latency = self.lock().latency;
        self.world.sleep(latency).await;
        if self.lock().happens(|faults| faults.request_lost) {
            return None;
        }
        while self.lock().health[node] == Health::Hung {
            self.world.sleep(Duration::from_millis(10)).await;
        }
        let answer = self.answer(node, &request);
        if self.lock().happens(|faults| faults.reply_lost) || self.lock().health[node] == Health::Down {
            return None;
        }
        self.world.sleep(latency).await;
        Some(answer)
    }

    fn answer(&self, node: usize, request: &Request) -> Result<Outcome, RequestError> {
        let mut state = self.lock();
        state.refuse(node, request.resource())?;
        let unknown = state.happens(|faults| faults.unknown);
        let takes_effect = !unknown || state.rng.random_bool(0.5);
        drop(state);
        let outcome = takes_effect.then(|| self.apply(request));
        outcome
            .filter(|_| !unknown)
            .ok_or(RequestError::Unknown("leadership was lost"))
    }

    /// What every node says of all of them.
    fn nodes(&self) -> Vec<NodeInfo> {
        let info = |node| NodeInfo {
            node: NodeId(node as u64 + 1),
            client_address: address(node),
            peer_address: String::new(),
            priority: 1,
        };
        (0..self.lock().health.len()).map(info).collect()
    }

    fn node(endpoint: &str) -> Option<usize> {
        (0..9).find(|node| address(*node) == endpoint)
    }
}

impl State {
    fn happens(&mut self, percent: impl Fn(&Faults) -> u32) -> bool {
        let percent = percent(&self.faults);
        self.rng.random_range(0..100) < percent
    }

    /// Refuses, unless `node` leads the partition of `resource`.
    fn refuse(&mut self, node: usize, resource: &Resource) -> Result<(), RequestError> {
        let partitions = u32::try_from(self.leaders.len()).unwrap();
        let partition = resource.partition(partitions);
        let leader = self.leaders[partition.0 as usize];
        let misdirected = self.happens(|faults| faults.misdirected);
        if leader == Some(node) && !misdirected && !self.faults.circle {
            return Ok(());
        }
        let named = match leader {
            _ if self.faults.circle => Some((node + 1) % self.health.len()),
            _ if misdirected => Some(self.rng.random_range(0..4)),
            leader => leader,
        };
        let leader = named.map(|node| LeaderHint {
            node: NodeId(node as u64 + 1),
            address: address(node),
        });
        Err(RequestError::NotLeader(NotLeader {
            partition: PartitionId(partition.0),
            partitions,
            leader,
        }))
    }

    fn expire(&mut self, now: Duration) {
        self.holds.retain(|_, hold| hold.ends > now);
    }

    fn apply(&mut self, request: &Request, now: Duration) -> Outcome {
        match request {
            Request::Command(Command::TryLock {
                resource,
                owner,
                ttl_ms,
            }) => self.try_lock(resource, owner, *ttl_ms, now),
            Request::Command(Command::Extend {
                resource,
                owner,
                ttl_ms,
            }) => self.extend(resource, owner, *ttl_ms, now),
            Request::Command(Command::Unlock { resource, owner }) => match self.holds.get(resource) {
                None => Outcome::LockDoesNotExist,
                Some(hold) if hold.owner != *owner => Outcome::InvalidOwner,
                Some(_) => {
                    self.holds.remove(resource);
                    Outcome::Unlocked
                }
            },
            Request::Query(Query::Get { resource }) => match self.holds.get(resource) {
                None => Outcome::LockDoesNotExist,
                Some(hold) => {
                    let (owner, fencing_token) = (hold.owner.clone(), hold.fencing_token);
                    Outcome::Got {
                        owner,
                        fencing_token,
                        expires_in_ms: left(hold, now),
                    }
                }
            },
        }
    }

    fn try_lock(&mut self, resource: &Resource, owner: &Owner, ttl_ms: u64, now: Duration) -> Outcome {
        let ends = now + Duration::from_millis(ttl_ms);
        if !self.holds.contains_key(resource) {
            self.grants += 1;
            let hold = Hold {
                owner: owner.clone(),
                fencing_token: FencingToken(self.grants),
                ends,
            };
            self.holds.insert(resource.clone(), hold);
        }
        let hold = self.holds.get_mut(resource).unwrap();
        if hold.owner != *owner {
            return Outcome::Busy {
                expires_in_ms: left(hold, now),
            };
        }
        hold.ends = hold.ends.max(ends);
        Outcome::Locked {
            fencing_token: hold.fencing_token,
            expires_in_ms: left(hold, now),
        }
    }

    fn extend(&mut self, resource: &Resource, owner: &Owner, ttl_ms: u64, now: Duration) -> Outcome {
        match self.holds.get_mut(resource) {
            None => Outcome::LockDoesNotExist,
            Some(hold) if hold.owner != *owner => Outcome::InvalidOwner,
            Some(hold) => {
                hold.ends = now + Duration::from_millis(ttl_ms);
                Outcome::Extended {
                    fencing_token: hold.fencing_token,
                    expires_in_ms: ttl_ms,
                }
            }
        }
    }
}

fn left(hold: &Hold, now: Duration) -> u64 {
    u64::try_from(hold.ends.saturating_sub(now).as_millis()).unwrap()
}

impl Caller for Cluster {
    fn call(
        &self,
        endpoint: &str,
        request: Request,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Outcome, CallError>> {
        let (endpoint, cluster, timer) = (endpoint.to_owned(), self.clone(), self.world.sleep(timeout));
        self.lock().attempts.push((endpoint.clone(), request.clone()));
        let node =
            Self::node(&endpoint).filter(|node| self.lock().health.get(*node).is_some_and(|h| *h != Health::Down));
        let Some(node) = node else {
            let reason = "connection refused".to_owned();
            return Box::pin(async move { Err(CallError::Unreachable { endpoint, reason }) });
        };
        let (sender, answer) = oneshot::channel();
        // Beside the call: what has left takes its way, whether the client still waits or not.
        let serve = async move {
            if let Some(result) = cluster.serve(node, request).await {
                let _ = sender.send(result);
            }
        };
        self.world.spawn("node", Box::pin(serve));
        Box::pin(async move {
            let lost = |reason: &str| CallError::Lost {
                endpoint,
                reason: reason.to_owned(),
            };
            tokio::select! {
                biased;
                result = answer => result.map_err(|_| lost("the connection broke"))?.map_err(CallError::Request),
                () = timer => Err(lost("the time is over")),
            }
        })
    }

    fn status(&self, endpoint: &str, timeout: Duration) -> BoxFuture<'static, Result<NodeStatus, CallError>> {
        let (endpoint, cluster, timer) = (endpoint.to_owned(), self.clone(), self.world.sleep(timeout));
        Box::pin(async move {
            let node = Self::node(&endpoint).unwrap();
            let nodes = cluster.nodes();
            let health = cluster.lock().health[node];
            let reason = "it does not answer".to_owned();
            match health {
                Health::Up => Ok(NodeStatus {
                    cluster: "test".to_owned(),
                    node_id: NodeId(node as u64 + 1),
                    client_address: endpoint,
                    nodes,
                    partitions: Vec::new(),
                    clocks_ahead: Vec::new(),
                }),
                Health::Down => Err(CallError::Unreachable { endpoint, reason }),
                Health::Hung => {
                    timer.await;
                    Err(CallError::Lost { endpoint, reason })
                }
            }
        })
    }
}
