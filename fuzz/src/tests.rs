//! A short run on the stable compiler: seeds, and seeds with the damage that files and logs really have.

use std::fs;
use std::path::PathBuf;

/// Damaged copies of each seed.
const COPIES: usize = 300;

/// What is put into a copy: beginnings and ends of what the readers know.
const PIECES: [&[u8]; 20] = [
    b"<",
    b">",
    b"</",
    b"<!--",
    b"-->",
    b"<![CDATA[",
    b"&#x110000;",
    b"&",
    b"]]>",
    b"\"",
    b"\\",
    b"\\u",
    b"{",
    b"}",
    b"[",
    b",",
    b":",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x98\x80",
];

/// Numbers without a pattern, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// The seeds and the finds of one target, by name.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    let entries = fs::read_dir(&directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn damage(bytes: &mut Vec<u8>, others: &[Vec<u8>], numbers: &mut Numbers) {
    let at = numbers.below(bytes.len() + 1);
    let end = (at + numbers.below(24)).min(bytes.len());
    match numbers.below(6) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => {
            let piece = PIECES[numbers.below(PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
        4 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << numbers.below(8);
            }
        }
        _ => {
            let other = &others[numbers.below(others.len())];
            let tail = other[numbers.below(other.len() + 1)..].to_vec();
            bytes.truncate(at);
            bytes.extend(tail);
        }
    }
}

fn check(target: &str, holds: fn(&[u8])) {
    let seeds = seeds(target);
    assert!(!seeds.is_empty(), "no seeds for {target}");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for seed in &seeds {
        holds(seed);
        for _ in 0..COPIES {
            let mut copy = seed.clone();
            for _ in 0..=numbers.below(4) {
                damage(&mut copy, &seeds, &mut numbers);
            }
            holds(&copy);
        }
    }
}

/// AR-CFG-18
#[test]
fn damaged_configurations_are_read_or_refused_with_a_place() {
    check("config", crate::config);
}

/// AR-ALERT-1, AR-OFF-3
#[test]
fn damaged_alerts_mean_what_their_tree_means() {
    check("alert", crate::alert);
}

/// AR-WIRE-3
#[test]
fn damaged_replies_name_the_keys_that_their_tree_names() {
    check("reply", crate::reply);
}
