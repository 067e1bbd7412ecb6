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

/// Bytes of one file in which three sectors were synced one after the other, and a fourth left empty.
fn three_syncs(platters: &Platters) -> Vec<u8> {
    let file = platters.boot().open("f").unwrap();
    file.set_len(4 * SECTOR as u64).unwrap();
    for sector in 0..3 {
        file.write(sector * SECTOR as u64, &[7; SECTOR]).unwrap();
        file.sync_data().unwrap();
    }
    content(platters)
}

fn content(platters: &Platters) -> Vec<u8> {
    let file = platters.boot().open("f").unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read(0, &mut bytes).unwrap();
    bytes
}

#[test]
fn rot_changes_what_is_old_and_in_use_and_nothing_else() {
    let mut rotten = 0;
    for luck in 0..200 {
        let platters = platters(1);
        let before = three_syncs(&platters);
        let sectors = platters.rot(luck);
        let after = content(&platters);
        let bits: u32 = before.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(u64::from(bits), sectors, "a bit in each");
        assert_eq!(
            before[SECTOR..],
            after[SECTOR..],
            "what was written last, and what is empty"
        );
        rotten += sectors;
    }
    assert!(rotten > 0);
}

#[test]
fn another_image_takes_the_place_of_everything_that_is_there() {
    let platters = platters(1);
    let before = three_syncs(&platters);
    let image = platters.image();
    let file = platters.boot().open("f").unwrap();
    file.write(0, b"later").unwrap();
    file.sync_data().unwrap();
    platters.replace(image);
    assert!(file.sync_data().is_err(), "the handle is dead");
    assert_eq!(content(&platters), before);
    platters.replace(Image::default());
    assert_eq!(platters.boot().open("f").unwrap().len().unwrap(), 0);
}
