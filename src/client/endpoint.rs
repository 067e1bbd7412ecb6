//! Where a node answers its clients: `host:port`, checked once.
//!
//! Endpoints come from people, from the environment and from leader hints, that is off the wire: one check for all of them. No name is
//! resolved here.

use std::fmt;
use std::sync::Arc;

use super::ClientError;
use crate::limits;

/// A `host:port`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Reads `host:port` or `http://host:port`.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`] with the reason.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        check(text).map_err(|reason| ClientError::BadEndpoint {
            text: text.chars().take(limits::ENDPOINT_BYTES_MAX).collect(),
            reason,
        })
    }

    /// Reads a list: each text is one endpoint or several with commas between. Endpoints that are given twice count once.
    ///
    /// # Errors
    /// [`ClientError::BadEndpoint`] when one is bad, there is none, or there are more than [`limits::CLIENT_ENDPOINTS_MAX`].
    pub fn parse_all(texts: impl IntoIterator<Item = impl Into<String>>) -> Result<Vec<Self>, ClientError> {
        let mut endpoints = Vec::new();
        for text in texts {
            let text: String = text.into();
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                let endpoint = Self::parse(part)?;
                if endpoints.contains(&endpoint) {
                    continue;
                }
                if endpoints.len() == limits::CLIENT_ENDPOINTS_MAX {
                    return Err(bad(part, "there are too many endpoints; give at most 32"));
                }
                endpoints.push(endpoint);
            }
        }
        if endpoints.is_empty() {
            return Err(bad("", "there is none; give at least one host:port"));
        }
        Ok(endpoints)
    }

    /// The text, `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn bad(text: &str, reason: &'static str) -> ClientError {
    let text = text.to_owned();
    ClientError::BadEndpoint { text, reason }
}

fn check(text: &str) -> Result<Endpoint, &'static str> {
    let text = text.trim();
    if text.starts_with("https://") {
        return Err("TLS is not supported; give host:port or http://host:port");
    }
    let text = text.strip_prefix("http://").unwrap_or(text);
    let text = text.strip_suffix('/').unwrap_or(text);
    if text.len() > limits::ENDPOINT_BYTES_MAX {
        return Err("it is too long for a host and a port");
    }
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing; give host:port")?;
    check_host(host)?;
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(Endpoint(text.into())),
        _ => Err("the port is not a number from 1 to 65535"),
    }
}

fn check_host(host: &str) -> Result<(), &'static str> {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = bracketed {
        return match address.parse::<std::net::Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("what stands in brackets is not an IPv6 address"),
        };
    }
    match host {
        "" => Err("the host is missing; give host:port"),
        _ if host.contains(':') => Err("an IPv6 address needs brackets, as in [::1]:2070"),
        _ if host.bytes().all(is_name_byte) => Ok(()),
        _ => Err("the host has characters that no host name has"),
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> &'static str {
        match Endpoint::parse(text) {
            Err(ClientError::BadEndpoint { reason, .. }) => reason,
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn an_endpoint_is_the_same_with_and_without_a_scheme() {
        let bare = Endpoint::parse("127.0.0.1:2070").unwrap();
        assert_eq!(Endpoint::parse("http://127.0.0.1:2070").unwrap(), bare);
        assert_eq!(Endpoint::parse(" http://127.0.0.1:2070/ ").unwrap(), bare);
        assert_eq!(bare.as_str(), "127.0.0.1:2070");
        assert_eq!(Endpoint::parse("[::1]:2070").unwrap().as_str(), "[::1]:2070");
        assert!(Endpoint::parse("node-1.kapu_svc:1").is_ok());
    }

    #[test]
    fn what_is_wrong_with_an_endpoint_is_said() {
        assert!(reason("127.0.0.1").contains("port is missing"));
        assert!(reason(":2070").contains("host is missing"));
        assert!(reason("a:0").contains("1 to 65535"));
        assert!(reason("a:70000").contains("1 to 65535"));
        assert!(reason("https://a:1").contains("TLS"));
        assert!(reason("::1:2070").contains("brackets"));
        assert!(reason("[x]:2070").contains("IPv6"));
        assert!(reason("a/b:1").contains("characters"));
        assert!(reason("user@host:1").contains("characters"));
        assert!(reason("a\nb:1").contains("characters"));
    }

    #[test]
    fn an_endpoint_over_the_limit_is_refused_and_one_at_it_is_not() {
        let fits = format!("{}:65535", "a".repeat(limits::ENDPOINT_BYTES_MAX - 6));
        assert!(Endpoint::parse(&fits).is_ok());
        assert!(reason(&format!("a{fits}")).contains("too long"));
    }

    #[test]
    fn a_list_may_have_commas_and_repeats() {
        let list = Endpoint::parse_all(["a:1,b:2", " http://a:1 , c:3,"]).unwrap();
        let list: Vec<_> = list.iter().map(Endpoint::as_str).collect();
        assert_eq!(list, ["a:1", "b:2", "c:3"]);
    }

    #[test]
    fn a_list_of_none_or_of_too_many_is_refused() {
        assert!(Endpoint::parse_all([""]).is_err());
        assert!(Endpoint::parse_all(Vec::<String>::new()).is_err());
        let names = |count: usize| (0..count).map(|n| format!("n{n}:1"));
        assert!(Endpoint::parse_all(names(limits::CLIENT_ENDPOINTS_MAX)).is_ok());
        assert!(Endpoint::parse_all(names(limits::CLIENT_ENDPOINTS_MAX + 1)).is_err());
    }
}
