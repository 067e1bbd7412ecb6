//! Which endpoint to ask about which lock.
//!
//! Clients learn the cluster from the refusals of nodes that do not lead: those tell the number of partitions and where the leader was
//! last seen; and from what nodes say of each other. The rest is rotation. Nothing here waits or reads a clock, and nothing grows with what nodes say: endpoints and partitions
//! are both bounded.

use super::CallError;
use super::endpoint::Endpoint;
use crate::error::{LeaderHint, RequestError};
use crate::limits;
use crate::types::Resource;

/// An endpoint, and whether the last attempt there failed without an answer.
struct Known {
    endpoint: Endpoint,
    suspect: bool,
}

/// Where to send a request.
#[derive(Debug)]
pub struct Route {
    /// The endpoint to ask.
    pub endpoint: Endpoint,
    /// An answer from there tells nothing new: [`Router::answered`] need not hear of it.
    pub expected: bool,
}

/// What a client knows of a cluster.
///
/// - The endpoints that it was given come first and are never forgotten; learnt ones may be, for newer ones.
/// - A suspect is asked in its turn, but no hint makes it a leader before it has answered again: a follower goes on naming a leader
///   that hangs until the next one is elected.
pub struct Router {
    known: Vec<Known>,
    given: usize,
    replaced: usize,
    start: usize,
    /// By partition: the place of its leader in `known`. Empty until the number of partitions is known.
    leaders: Vec<Option<usize>>,
}

impl Router {
    /// Knows the given endpoints, at least one, and nothing of partitions.
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        assert!(!endpoints.is_empty(), "a client has at least one endpoint");
        let given = endpoints.len();
        let known = endpoints.into_iter().map(|endpoint| Known {
            endpoint,
            suspect: false,
        });
        let (known, leaders) = (known.collect(), Vec::new());
        Self {
            known,
            given,
            replaced: 0,
            start: 0,
            leaders,
        }
    }

    /// Where to send a request about `resource`: to the leader, or else to the endpoint after the one `tried` last.
    pub fn route(&self, resource: &Resource, tried: Option<&Endpoint>) -> Route {
        let leader = self.leader(resource);
        let next = || {
            tried
                .and_then(|tried| self.place(tried))
                .map_or(self.start, |at| self.after(at))
        };
        let at = leader.unwrap_or_else(next);
        let known = &self.known[at];
        let expected = !known.suspect && (leader.is_some() || self.leaders.is_empty() && at == self.start);
        let endpoint = known.endpoint.clone();
        Route { endpoint, expected }
    }

    /// Hears that `endpoint` gave an outcome, so it leads the partition of `resource`.
    pub fn answered(&mut self, resource: &Resource, endpoint: &Endpoint) {
        let Some(at) = self.place(endpoint) else { return };
        self.known[at].suspect = false;
        if self.leaders.is_empty() {
            self.start = at;
        }
        self.set_leader(resource, Some(at));
    }

    /// Hears that an attempt at `endpoint` failed. Returns whether the answer names somebody better to ask.
    pub fn failed(&mut self, resource: &Resource, endpoint: &Endpoint, error: &CallError) -> bool {
        match error {
            CallError::Unreachable { .. } | CallError::Lost { .. } | CallError::Request(RequestError::Stopping) => {
                self.suspect(endpoint);
                false
            }
            CallError::Request(RequestError::NotLeader(error)) => {
                self.resize(error.partitions);
                self.redirected(resource, endpoint, error.leader.as_ref())
            }
            // It may have lost its leadership while the request was under way.
            CallError::Request(RequestError::Unknown(_)) => {
                self.set_leader(resource, None);
                false
            }
            CallError::Request(RequestError::Overloaded(_) | RequestError::InvalidInput(_)) => false,
        }
    }

    /// Hears where nodes are. What is no endpoint is passed over.
    pub fn hear_of<'a>(&mut self, addresses: impl Iterator<Item = &'a str>) {
        for endpoint in addresses.filter_map(|address| Endpoint::parse(address).ok()) {
            self.learn(endpoint);
        }
    }

    /// Follows a hint of `endpoint`, if it leads anywhere.
    fn redirected(&mut self, resource: &Resource, endpoint: &Endpoint, hint: Option<&LeaderHint>) -> bool {
        if let Some(at) = self.place(endpoint) {
            self.known[at].suspect = false;
        }
        let named = hint.and_then(|hint| Endpoint::parse(&hint.address).ok());
        let named = named
            .filter(|named| named != endpoint)
            .and_then(|named| self.learn(named));
        let named = named.filter(|at| !self.known[*at].suspect);
        self.set_leader(resource, named);
        named.is_some()
    }

    /// Forgets every leadership of an endpoint that does not answer.
    fn suspect(&mut self, endpoint: &Endpoint) {
        let Some(at) = self.place(endpoint) else { return };
        if !self.known[at].suspect {
            self.forget_leader(at);
        }
        self.known[at].suspect = true;
        if self.start == at {
            self.start = self.after(at);
        }
    }

    /// Takes the number of partitions; a number that no cluster has is ignored.
    fn resize(&mut self, partitions: u32) {
        let count = usize::try_from(partitions).unwrap_or(usize::MAX);
        if (1..=limits::PARTITIONS_MAX).contains(&partitions) && count != self.leaders.len() {
            self.leaders = vec![None; count];
        }
    }

    /// The place of `endpoint`, which may be new. A new one that finds no room takes the place of an older learnt one.
    fn learn(&mut self, endpoint: Endpoint) -> Option<usize> {
        if let Some(at) = self.place(&endpoint) {
            return Some(at);
        }
        let known = Known {
            endpoint,
            suspect: false,
        };
        if self.known.len() < limits::CLIENT_ENDPOINTS_MAX {
            self.known.push(known);
            return Some(self.known.len() - 1);
        }
        let at = self.given + self.replaced.checked_rem(self.known.len() - self.given)?;
        self.replaced += 1;
        self.forget_leader(at);
        self.known[at] = known;
        Some(at)
    }

    fn forget_leader(&mut self, at: usize) {
        self.leaders
            .iter_mut()
            .filter(|leader| **leader == Some(at))
            .for_each(|leader| *leader = None);
    }

    fn leader(&self, resource: &Resource) -> Option<usize> {
        self.leaders.get(self.partition(resource)?).copied().flatten()
    }

    fn set_leader(&mut self, resource: &Resource, leader: Option<usize>) {
        if let Some(partition) = self.partition(resource) {
            self.leaders[partition] = leader;
        }
    }

    fn partition(&self, resource: &Resource) -> Option<usize> {
        let partitions = u32::try_from(self.leaders.len()).expect("at most PARTITIONS_MAX");
        (partitions > 0).then(|| resource.partition(partitions).0 as usize)
    }

    fn place(&self, endpoint: &Endpoint) -> Option<usize> {
        self.known.iter().position(|known| known.endpoint == *endpoint)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) % self.known.len()
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
