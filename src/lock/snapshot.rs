//! The rows that a lock table is saved as.
//!
//! One row for the grant counter, one for each held lock. Made by hand and strict, because these bytes outlive the program that wrote them:
//! a row is read back exactly as some table wrote it, or refused with the reason. Which rows belong together is not checked here.
//!
//! ```text
//! key 'c'         value  version u8 = 1, last token u64
//! key 'l' name    value  version u8 = 1, token u64, lease end u64 (log time in ms), owner: the rest
//! ```
//!
//! Numbers are little-endian. `c` sorts before `l`, so a table meets its counter first.

use bytes::Bytes;

use super::holds::Hold;
use crate::machine::{RestoreError, Row};
use crate::types::{FencingToken, LogTime, Owner, Resource};

const COUNTER_KEY: &[u8] = b"c";
const LOCK_KEY_PREFIX: u8 = b'l';
const VERSION: u8 = 1;

/// A row, read back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Saved {
    /// The last token given.
    Counter(FencingToken),
    /// A held lock.
    Hold(Resource, Hold),
}

/// The row of the grant counter.
pub(super) fn encode_counter(last_token: FencingToken) -> Row {
    let mut value = vec![VERSION];
    value.extend(last_token.0.to_le_bytes());
    Row {
        key: Bytes::from_static(COUNTER_KEY),
        value: Some(value.into()),
    }
}

/// The row of a held lock.
pub(super) fn encode_hold(resource: &Resource, hold: &Hold) -> Row {
    let owner = hold.owner.as_bytes();
    let mut value = Vec::with_capacity(1 + 8 + 8 + owner.len());
    value.push(VERSION);
    value.extend(hold.fencing_token.0.to_le_bytes());
    value.extend(hold.lease_end.0.to_le_bytes());
    value.extend(owner);
    Row {
        key: lock_key(resource),
        value: Some(value.into()),
    }
}

/// The removal of the row of a lock that is no longer held.
pub(super) fn encode_free(resource: &Resource) -> Row {
    Row {
        key: lock_key(resource),
        value: None,
    }
}

fn lock_key(resource: &Resource) -> Bytes {
    let name = resource.as_str().as_bytes();
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(LOCK_KEY_PREFIX);
    key.extend(name);
    key.into()
}

/// Reads one row back.
///
/// # Errors
/// When it is not a row that [`encode_counter`] or [`encode_hold`] makes.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Saved, RestoreError> {
    let value = match value.split_first() {
        Some((&VERSION, rest)) => rest,
        Some((version, _)) => {
            return refuse(format!(
                "version {version} is not known; was it written by a newer node?"
            ));
        }
        None => return refuse("the value is empty"),
    };
    match key.split_first() {
        Some((&LOCK_KEY_PREFIX, name)) => decode_hold(name, value),
        _ if key == COUNTER_KEY => decode_counter(value),
        _ => refuse(format!("no row has the key \"{}\"", key.escape_ascii())),
    }
}

fn decode_counter(value: &[u8]) -> Result<Saved, RestoreError> {
    let (token, rest) = take_token(value)?;
    if rest.is_empty() {
        Ok(Saved::Counter(token))
    } else {
        refuse("the grant counter has bytes after its end")
    }
}

fn decode_hold(name: &[u8], value: &[u8]) -> Result<Saved, RestoreError> {
    let Ok(name) = std::str::from_utf8(name) else {
        return refuse(format!("the name \"{}\" is not UTF-8", name.escape_ascii()));
    };
    let (fencing_token, value) = take_token(value)?;
    let (lease_end, owner) = take_u64(value)?;
    let hold = Hold {
        owner: Owner::new(owner).or_else(|error| refuse(error.to_string()))?,
        fencing_token,
        lease_end: LogTime(lease_end),
    };
    let resource = Resource::new(name).or_else(|error| refuse(error.to_string()))?;
    Ok(Saved::Hold(resource, hold))
}

fn take_token(bytes: &[u8]) -> Result<(FencingToken, &[u8]), RestoreError> {
    match take_u64(bytes)? {
        (0, _) => refuse("a fencing token is never zero"),
        (token, rest) => Ok((FencingToken(token), rest)),
    }
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), RestoreError> {
    match bytes.split_first_chunk() {
        Some((number, rest)) => Ok((u64::from_le_bytes(*number), rest)),
        None => refuse("the value ends within a number"),
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, RestoreError> {
    Err(RestoreError(reason.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{OWNER_BYTES_MAX, RESOURCE_BYTES_MAX};

    fn hold(owner: &[u8]) -> Hold {
        Hold {
            owner: Owner::new(owner).unwrap(),
            fencing_token: FencingToken(7),
            lease_end: LogTime(u64::MAX),
        }
    }

    fn decode_row(row: &Row) -> Result<Saved, RestoreError> {
        decode(&row.key, row.value.as_ref().unwrap())
    }

    #[test]
    fn rows_at_the_limits_are_read_back() {
        for (name_len, owner_len) in [(1, 1), (RESOURCE_BYTES_MAX, OWNER_BYTES_MAX)] {
            let resource = Resource::new(&"n".repeat(name_len)).unwrap();
            let hold = hold(&vec![0xff; owner_len]);
            let row = encode_hold(&resource, &hold);
            assert_eq!(decode_row(&row), Ok(Saved::Hold(resource, hold)));
        }
        let token = FencingToken(u64::MAX);
        assert_eq!(decode_row(&encode_counter(token)), Ok(Saved::Counter(token)));
    }

    #[test]
    fn names_and_owners_over_the_limits_are_refused() {
        let row = encode_hold(&Resource::new("a").unwrap(), &hold(b"o"));
        let value = row.value.unwrap();
        let long_name = [&b"l"[..], &vec![b'n'; RESOURCE_BYTES_MAX + 1]].concat();
        assert!(decode(&long_name, &value).is_err());
        assert!(decode(b"l", &value).is_err());
        assert!(decode(b"l\xff", &value).is_err());
        let long_owner = [&value[..], &vec![b'o'; OWNER_BYTES_MAX]].concat();
        assert!(decode(b"la", &long_owner).is_err());
    }

    #[test]
    fn a_row_that_lost_its_tail_is_refused() {
        let hold_row = encode_hold(&Resource::new("a").unwrap(), &hold(b"o"));
        for row in [encode_counter(FencingToken(9)), hold_row] {
            let value = row.value.unwrap();
            for len in 0..value.len() {
                assert!(decode(&row.key, &value[..len]).is_err(), "{len} bytes of {:?}", row.key);
            }
        }
    }

    #[test]
    fn a_longer_counter_an_unknown_key_and_a_newer_version_are_refused() {
        let value = encode_counter(FencingToken(9)).value.unwrap();
        assert!(decode(b"c", &[&value[..], &[0]].concat()).is_err());
        assert!(decode(b"", &value).is_err());
        assert!(decode(b"cc", &value).is_err());
        assert!(decode(b"x", &value).is_err());
        assert!(decode(b"c", &[&[VERSION + 1], &value[1..]].concat()).is_err());
        assert!(decode(b"c", &[VERSION, 0, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is read back from any bytes at all is written as those bytes again: no second spelling of a row is accepted.
        #[test]
        fn any_bytes_are_read_back_exactly_or_refused(
            key in prop_oneof![Just(b"c".to_vec()), "l[a-z]{0,3}".prop_map(String::into_bytes), any::<Vec<u8>>()],
            version in prop_oneof![4 => Just(VERSION), 1 => any::<u8>()],
            tail in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..40),
        ) {
            let value = [&[version], &tail[..]].concat();
            let row = match decode(&key, &value) {
                Ok(Saved::Counter(token)) => encode_counter(token),
                Ok(Saved::Hold(resource, hold)) => encode_hold(&resource, &hold),
                Err(_) => return Ok(()),
            };
            prop_assert_eq!((&row.key[..], &row.value.unwrap()[..]), (&key[..], &value[..]));
        }
    }
}
