//! The trace hash of each seed, in a file: what one command wrote, another compares with.
//!
//! So a run alone can be held against the same seed inside of a sweep. One line a seed: the seed, a blank, the hash. It runs nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Hash by seed.
pub type Hashes = BTreeMap<u64, String>;

/// Writes them, replacing what was there.
///
/// # Errors
/// When the file cannot be written.
#[expect(clippy::disallowed_methods, reason = "the harness writes its own files")]
pub fn write(path: &Path, hashes: &Hashes) -> io::Result<()> {
    let lines: String = hashes.iter().map(|(seed, hash)| format!("{seed} {hash}\n")).collect();
    std::fs::write(path, lines)
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// When the file cannot be read or has another form.
pub fn read(path: &Path) -> io::Result<Hashes> {
    let text = std::fs::read_to_string(path)?;
    let parsed = text.lines().map(parse).collect::<Option<_>>();
    parsed.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no list of seeds and hashes"))
}

fn parse(line: &str) -> Option<(u64, String)> {
    let (seed, hash) = line.split_once(' ')?;
    Some((seed.parse().ok()?, hash.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let path = std::env::temp_dir().join(format!("kapu-sim-hashes-{}", std::process::id()));
        let hashes = Hashes::from([(7, "00ff".to_owned()), (12, "abcd".to_owned())]);
        write(&path, &hashes).unwrap();
        let read = read(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap(), hashes);
    }

    #[test]
    fn a_line_of_another_form_is_refused() {
        for line in ["", "7", "seven 00ff"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
