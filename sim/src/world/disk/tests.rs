//! The disk does what it threatens.

use super::*;

const SECTOR: usize = 512;

fn platters(seed: u64) -> Platters {
    Platters::new(1, seed, Trace::new(None).unwrap())
}

/// The first byte of each sector after a crash in which four sectors were written over one that was synced.
fn survivors(seed: u64) -> Vec<u8> {
    let platters = platters(seed);
    let file = platters.boot().open("f").unwrap();
    file.write(0, &[1; SECTOR]).unwrap();
    file.sync_data().unwrap();
    file.write(0, &[2; 4 * SECTOR]).unwrap();
    platters.crash();
    let again = platters.boot().open("f").unwrap();
    let mut bytes = vec![0; usize::try_from(again.len().unwrap()).unwrap()];
    again.read(0, &mut bytes).unwrap();
    assert!(
        bytes
            .chunks(SECTOR)
            .all(|sector| sector.iter().all(|byte| *byte == sector[0]))
    );
    bytes.chunks(SECTOR).map(|sector| sector[0]).collect()
}

#[test]
fn a_crash_keeps_what_was_synced_and_any_subset_of_the_rest() {
    let seen: std::collections::BTreeSet<_> = (0..200).map(survivors).collect();
    assert!(seen.iter().all(|sectors| sectors[0] == 1 || sectors[0] == 2));
    assert!(
        seen.contains(&vec![1]) && seen.contains(&vec![2; 4]),
        "all or nothing happens too"
    );
    assert!(
        seen.contains(&vec![1, 0, 2]),
        "a hole, and a tail that is gone: {seen:?}"
    );
}

#[test]
fn a_handle_of_an_earlier_life_is_dead() {
    let platters = platters(1);
    let file = platters.boot().open("f").unwrap();
    platters.crash();
    assert!(file.write(0, b"x").is_err() && file.sync_data().is_err() && file.len().is_err());
    let file = platters.boot().open("f").unwrap();
    let _next = platters.boot();
    assert!(file.sync_data().is_err(), "also without a crash");
}

#[test]
fn a_failed_sync_saves_nothing() {
    let platters = platters(1);
    let file = platters.boot().open("f").unwrap();
    platters.ail(|ailment| ailment.sync_fails = true);
    file.write(0, b"x").unwrap();
    assert!(file.sync_data().is_err());
    assert_eq!(platters.done().errors, 1);
    let copy = platters.durable_copy(Trace::new(None).unwrap());
    assert_eq!(copy.boot().open("f").unwrap().len().unwrap(), 0);
}

#[test]
fn a_full_disk_takes_nothing_until_there_is_space() {
    let platters = platters(1);
    let file = platters.boot().open("f").unwrap();
    platters.ail(|ailment| ailment.is_full = true);
    assert_eq!(file.write(0, b"x").unwrap_err().kind(), io::ErrorKind::StorageFull);
    platters.heal();
    file.write(0, b"x").unwrap();
}
