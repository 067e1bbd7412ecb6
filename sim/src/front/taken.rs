//! The memory of a node's end for requests that it has taken, so that a doubled datagram is one request.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// How many exchanges of one client are remembered. A datagram that comes later than so many others is dropped.
const REMEMBERED_MAX: usize = 4_096;

/// Which requests were taken already.
#[derive(Debug, Default)]
pub struct Taken(BTreeMap<SocketAddr, BTreeSet<u64>>);

impl Taken {
    /// Whether this one was not, so that it is now. Older ones than are remembered count as taken.
    pub fn is_new(&mut self, from: SocketAddr, id: u64) -> bool {
        let ids = self.0.entry(from).or_default();
        let forgotten = ids.len() >= REMEMBERED_MAX && ids.first().is_some_and(|oldest| id < *oldest);
        let is_new = !forgotten && ids.insert(id);
        if ids.len() > REMEMBERED_MAX {
            ids.pop_first();
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_once_however_late_it_comes_again() {
        let (a, b) = (SocketAddr::from(([1; 4], 1)), SocketAddr::from(([2; 4], 1)));
        let mut taken = Taken::default();
        assert!(taken.is_new(a, 7) && taken.is_new(b, 7) && taken.is_new(a, 6));
        assert!(!taken.is_new(a, 7) && !taken.is_new(a, 6));
        for id in 8..10_000 {
            assert!(taken.is_new(a, id));
        }
        assert!(!taken.is_new(a, 7));
        assert_eq!(taken.0[&a].len(), REMEMBERED_MAX);
    }
}
