//! Free ports of this machine.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// `count` loopback addresses that nobody listens on, all different. Somebody else may take one before it is used.
///
/// # Errors
/// When the system has no more ports.
pub fn free_addresses(count: usize) -> io::Result<Vec<String>> {
    // All are bound before the first is given back, so that none comes twice.
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_addresses_differ_and_can_be_listened_on() {
        let addresses = free_addresses(6).unwrap();
        assert_eq!(addresses.iter().collect::<BTreeSet<_>>().len(), 6);
        assert!(addresses.iter().all(|address| TcpListener::bind(address).is_ok()));
    }
}
