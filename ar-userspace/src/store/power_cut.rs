//! A power cut at any write: what the disk then holds is opened like any other store.

use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::sample::Index;
use redb::StorageBackend;

use super::tests::{CLOCKS, change, ended, quiet, record};
use super::*;
use crate::source::FileId;

/// Transactions of a run.
const COMMITS: u64 = 40;

/// What the disk keeps whole, whatever happens to the rest of a write.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Operation {
    Write { offset: u64, bytes: Vec<u8> },
    SetLength(u64),
    Sync,
}

/// A disk that remembers in which order it was written and synchronised.
#[derive(Clone, Debug, Default)]
struct Disk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    done: Vec<Operation>,
}

impl State {
    fn apply(&mut self, operation: Operation) {
        perform(&mut self.bytes, &operation);
        self.done.push(operation);
    }
}

fn perform(disk: &mut Vec<u8>, operation: &Operation) {
    match operation {
        Operation::Write { offset, bytes } => {
            let offset = usize::try_from(*offset).unwrap();
            let end = offset + bytes.len();
            disk.resize(disk.len().max(end), 0);
            disk[offset..end].copy_from_slice(bytes);
        }
        Operation::SetLength(length) => disk.resize(usize::try_from(*length).unwrap(), 0),
        Operation::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.state.lock().unwrap().bytes[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.state
            .lock()
            .unwrap()
            .apply(Operation::SetLength(length));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.state.lock().unwrap().apply(Operation::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let bytes = data.to_vec();
        self.state
            .lock()
            .unwrap()
            .apply(Operation::Write { offset, bytes });
        Ok(())
    }
}

/// Quiet times begin, get another end, and go.
fn quieted(number: u64) -> Quieted {
    let quieted = (0..number % 5).map(|one| {
        let quiet = quiet("198.51.100.7", number).on_the_wall(CLOCKS);
        let address = format!("192.0.2.{}", (number + one * 3) % 16);
        let offender = address.parse().unwrap();
        let lasts = !(number + one).is_multiple_of(3);
        (offender, lasts.then_some(Quiet { offender, ..quiet }))
    });
    quieted.collect()
}

/// Everything that a run did to the disk, and what the store held after each commit.
struct Run {
    done: Vec<Operation>,
    /// Operations done when the commit had returned, and the state that it made.
    commits: Vec<(usize, Held, Vec<Past<Wall>>)>,
}

/// All that is in it.
fn read(database: &Database) -> anyhow::Result<Held> {
    let mut held = read_progress(database)?;
    let (sender, receiver) = mpsc::sync_channel(CHUNKS);
    read_records(database, &sender)?;
    drop(sender);
    for chunk in receiver {
        held.records.append(&mut chunk?);
    }
    Ok(held)
}

/// Bans and quiet times come, move and go, the position and the history advance with each.
fn run() -> Run {
    let disk = Disk::default();
    let database = Database::builder()
        .create_with_backend(disk.clone())
        .unwrap();
    file::lay_out(&database).unwrap();
    let mut run = Run {
        done: Vec::new(),
        commits: Vec::new(),
    };
    let note = |run: &mut Run| {
        let done = disk.state.lock().unwrap().done.len();
        let history = history::all(&database).unwrap();
        run.commits.push((done, read(&database).unwrap(), history));
    };
    note(&mut run);
    for number in 1..=COMMITS {
        let changed = (0..20).map(|one| {
            let address = format!("198.51.100.{}", (number * 7 + one * 3) % 200);
            let offences = u32::try_from(number).unwrap();
            let Change { key, record } = change(&record(&address, offences, None));
            let kept = !(number + one).is_multiple_of(5);
            (
                key,
                record
                    .filter(|_| kept)
                    .map(|record| record.on_the_wall(CLOCKS)),
            )
        });
        let history = (0..number % 4).map(|one| ended(&format!("203.0.113.{}", number * 4 + one)));
        let history = history.collect();
        let position = Position {
            file: FileId::default(),
            offset: number * 1_000,
            before: vec![b'x'; 1024],
            ..Position::default()
        };
        let batch = Batch {
            changes: changed.collect(),
            positions: BTreeMap::from([("alerts.json".into(), position)]),
            handled: (number * 100..number * 100 + 20).collect(),
            boot: None,
            quiet: quieted(number),
            history,
            since: None,
        };
        commit(&database, &batch).unwrap();
        note(&mut run);
    }
    run.done.clone_from(&disk.state.lock().unwrap().done);
    run
}

/// What the disk holds when the power is cut after `cut` operations: all up to the last synchronisation, and
/// of what came later any part, sector by sector.
fn left(done: &[Operation], cut: usize, mut survives: impl FnMut() -> bool) -> Vec<u8> {
    let before = &done[..cut];
    let is_sync = |operation: &Operation| matches!(operation, Operation::Sync);
    let certain = before.iter().rposition(is_sync).map_or(0, |at| at + 1);
    let mut disk = Vec::new();
    for operation in &before[..certain] {
        perform(&mut disk, operation);
    }
    for operation in &before[certain..] {
        match operation {
            Operation::Write { offset, bytes } => {
                for (place, sector) in bytes.chunks(SECTOR).enumerate() {
                    if survives() {
                        let offset = offset + (place * SECTOR) as u64;
                        let bytes = sector.to_vec();
                        perform(&mut disk, &Operation::Write { offset, bytes });
                    }
                }
            }
            other if survives() => perform(&mut disk, other),
            _ => {}
        }
    }
    disk
}

/// AR-IMP-1, AR-IMP-8: bans, quiet times, positions, identifiers and the history are those of one commit, at or after the last that returned.
fn check(run: &Run, cut: usize, survives: impl FnMut() -> bool) {
    let returned = run.commits.iter().rposition(|(done, ..)| *done <= cut);
    let Some(returned) = returned else {
        // The first layout is made beside its place and not linked in before it is whole.
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let disk = left(&run.done, cut, survives);
    fs::write(directory.path().join(file::NAME), disk).unwrap();
    let (store, held) = Store::open(directory.path()).unwrap();
    drop(store);
    let database = Database::open(directory.path().join(file::NAME)).unwrap();
    let past = history::all(&database).unwrap();
    let possible = run.commits[returned..].iter().take(2);
    assert!(
        possible
            .clone()
            .any(|(_, state, history)| *state == held && *history == past),
        "after {cut} operations: neither commit {returned} nor the next, but the alerts up to {:?}",
        held.positions
            .values()
            .map(|position| position.offset)
            .max()
    );
}

fn cuts() -> u32 {
    match std::env::var("ARFW_FAULTS").as_deref() {
        Ok("long") => 2_000,
        _ => 150,
    }
}

#[test]
fn a_power_cut_at_any_write_leaves_a_whole_commit() {
    let run = run();
    let syncs = run
        .done
        .iter()
        .filter(|done| matches!(done, Operation::Sync));
    assert!(
        syncs.count() as u64 >= COMMITS,
        "commits are not synchronised"
    );
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: cuts(),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(
            &(any::<Index>(), prop::collection::vec(any::<bool>(), 1..64)),
            |(cut, survivors)| {
                let mut survivors = survivors.into_iter().cycle();
                check(&run, cut.index(run.done.len() + 1), || {
                    survivors.next().unwrap_or(false)
                });
                Ok(())
            },
        )
        .unwrap();
    tell(cuts());
}

/// A line for the table of `cargo xtask faults`, in the form of `tests/src/support/fault.rs`.
fn tell(tried: u32) {
    let Some(path) = std::env::var_os("ARFW_FAULTS_REPORT") else {
        return;
    };
    let line = serde_json::json!({
        "fault": "power cut at any write of the store",
        "tried": tried,
        "lost": 0,
        "doubled": 0,
        "wrong": 0,
    });
    let mut report = fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    io::Write::write_all(&mut report, format!("{line}\n").as_bytes()).unwrap();
}
