//! Keeps what the ledger remembers, over restarts and reboots (AR-IMP-1), and what was read of the alerts.
//!
//! One record per key, in wall time, in a database that is never left half written. Writing is a thread's
//! work: the daemon hands changes over and goes on. Enforcement never waits for a disk.

mod boot;
mod encoding;
mod file;
pub mod history;
#[cfg(test)]
mod power_cut;
mod quiet;
#[cfg(test)]
mod tests;
pub mod transfer;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, Table, TableDefinition};
use rustix::process::setpriority_process;

use crate::clock;
use crate::ledger::{Change, History, Key, Past, Record};
use crate::offender::Offender;
use crate::quiet::Quiet;
use crate::source::Position;
use crate::time::{Boot, Clocks, Spans, Wall};
use file::StoreFile;
use history::Reader;

/// A key's bytes to a record's bytes, both as `encoding` has them.
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// An alert file's path to a position's bytes.
const POSITIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("positions");

/// Hashes of the identifiers of alerts that were handled last (AR-IMP-8), those of one transaction together: the
/// number of the first, counted from the beginning, to their bytes. A transaction writes one of these, however
/// many there are, and removes what is older than the last [`HANDLED_KEPT`].
const HANDLED: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("handled");

/// Identifiers of alerts that are kept at least: a megabyte.
pub const HANDLED_KEPT: usize = 131_072;

/// What stands in the file, by name.
const ABOUT: TableDefinition<'_, &str, u64> = TableDefinition::new("about");

/// Version of the tables and of `encoding`.
const VERSION: u64 = 2;

/// The oldest version that can be read: without the table of the history, otherwise the same.
const OLDEST: u64 = 1;

/// Niceness of the writing thread, relative to nobody: 0 is usual, 19 the most patient.
const NICE: i32 = 5;

/// Pause after a failed write: a full disk is not to be asked a thousand times a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// From so many keys on, a transaction is followed by a rest that is as long as it took: one that holds more changes of
/// the same pages writes each of these once.
const MANY: usize = 4096;

/// The longest rest.
const REST: Duration = Duration::from_millis(200);

/// Failed writes from one reminder of them in the log to the next: about a minute.
const REMIND_EVERY: u64 = 60;

/// Records that are handed out together at the start: a MiB of them.
const CHUNK: usize = 1 << 13;

/// Chunks that are read ahead. So few that each is read into the memory of one before it: what is touched for the first
/// time costs more than what is in the cache.
const CHUNKS: usize = 4;

/// An open store. Dropping it writes what still waits.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    boot: Option<Boot>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// The writer is done with a transaction.
    written: Condvar,
    /// What is open at the moment. The writing thread owns it, and lets it go when it cannot be written.
    opened: Mutex<Weak<Database>>,
}

/// Quiet times that changed; `None` for one that is gone.
type Quieted = BTreeMap<Offender, Option<Quiet<Wall>>>;

/// What is not written yet: bounded by the keys that the ledger remembers, and by [`HANDLED_KEPT`] and
/// [`History::MOST`].
#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// The boot of the times in what is saved next, until it is.
    boot: Option<Boot>,
    /// Quiet times that go into what is saved next.
    quiet: Quieted,
    /// A transaction is under way.
    writing: bool,
    closing: bool,
    /// Somebody waits for what is not written yet.
    hurry: bool,
    /// Why nothing can be written at the moment.
    trouble: Option<Trouble>,
    /// How long commits took.
    commits: Spans,
}

/// Why nothing can be written. Bans go on, and what is not stored is read again after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When what could not be written was handed over, as far as is known.
    pub since: Option<Wall>,
    /// What the last attempt said.
    pub cause: String,
    /// Attempts so far, about one a second.
    pub attempts: u64,
    /// Keys that waited to be written after that attempt.
    pub waiting: usize,
}

/// What belongs into one transaction: what the ledger learned from the lines before the position.
#[derive(Debug, Default)]
struct Batch {
    changes: BTreeMap<Key, Option<Record<Wall>>>,
    positions: BTreeMap<PathBuf, Position>,
    handled: Vec<u64>,
    /// In which boot the times of all records are, from this transaction on.
    boot: Option<Boot>,
    quiet: Quieted,
    history: History<Wall>,
    /// When the first of it was handed over.
    since: Option<Wall>,
}

/// How far the alerts of a file are done with.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a Path,
    /// Where the next alert begins.
    pub position: Position,
    /// Hashes of the identifiers of alerts that led to offences since the last time, in their order (AR-IMP-8).
    pub handled: Vec<u64>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.positions.is_empty()
            && self.handled.is_empty()
            && self.boot.is_none()
            && self.quiet.is_empty()
            && self.history.is_empty()
    }

    /// Adds what came later.
    fn append(&mut self, mut later: Self) {
        self.since = self.since.or(later.since);
        self.boot = later.boot.or(self.boot);
        // `append` builds the whole map anew, which is the cheaper way only for much at once. While a transaction is under
        // way a million may wait, and a few come with each settling.
        if later.changes.len() < self.changes.len() / 8 {
            self.changes.extend(std::mem::take(&mut later.changes));
        } else {
            self.changes.append(&mut later.changes);
        }
        self.positions.append(&mut later.positions);
        self.quiet.append(&mut later.quiet);
        self.handled.append(&mut later.handled);
        self.history.append(later.history);
        // While the disk is full they gather; more than are kept would not be read again.
        let too_many = self.handled.len().saturating_sub(HANDLED_KEPT);
        self.handled.drain(..too_many);
    }
}

/// What a store held when it was opened.
#[derive(Debug, Default, PartialEq)]
pub struct Held {
    /// Bans and counters.
    pub records: Vec<Record<Wall>>,
    /// How far each alert file had been read, by its path.
    pub positions: BTreeMap<PathBuf, Position>,
    /// Hashes of the identifiers of alerts that were handled last, oldest first.
    pub handled: Vec<u64>,
    /// Quiet times, also those that are over.
    pub quiet: Vec<Quiet<Wall>>,
    /// Bans that are over, oldest first: only for an export, a daemon needs none of them.
    pub history: Vec<Past<Wall>>,
    /// Bans that ended before those.
    pub forgotten: u64,
}

/// Records while they are being read, many at a time, in the order of their keys. After an error there are no more.
#[derive(Debug)]
pub struct Records(mpsc::Receiver<anyhow::Result<Vec<Record<Wall>>>>);

impl Iterator for Records {
    type Item = anyhow::Result<Vec<Record<Wall>>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.recv().ok()
    }
}

impl Store {
    /// Opens `arfw.redb` in a directory, and makes both when they are not there. Gives what it holds.
    ///
    /// # Errors
    ///
    /// When the file is damaged, empty, another program's, of another version, in use, or cannot be written. It is
    /// never overwritten.
    pub fn open(state_dir: &Path) -> anyhow::Result<(Self, Held)> {
        let (store, mut held, records) = Self::start(state_dir)?;
        for some in records {
            held.records.append(&mut some?);
        }
        Ok((store, held))
    }

    /// The same, while the records are still being read by the store's thread: of a million it takes long enough
    /// to do something else meanwhile. The other part of what the store holds is there.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn start(state_dir: &Path) -> anyhow::Result<(Self, Held, Records)> {
        fs::create_dir_all(state_dir).with_context(|| {
            format!("cannot make the state directory `{}`", state_dir.display())
        })?;
        let path = state_dir.join(file::NAME);
        let mut file = StoreFile::open(&path)?;
        let shared = Arc::<Shared>::default();
        shared.note_open(file.database()?);
        let reading = || format!("cannot read the store `{}`", path.display());
        let held = read_progress(file.database()?).with_context(reading)?;
        let boot = boot::read(file.database()?).with_context(reading)?;
        let (sender, receiver) = mpsc::sync_channel(CHUNKS);
        let writer = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                let path = path.clone();
                move || {
                    let read = file
                        .database()
                        .and_then(|database| read_records(database, &sender))
                        .with_context(|| format!("cannot read the store `{}`", path.display()));
                    if let Err(error) = read {
                        // Whoever does not want them any more is not told.
                        let _ = sender.send(Err(error));
                    }
                    drop(sender);
                    // Where there are more threads than processors, packets come before the disk.
                    let _ = setpriority_process(None, NICE);
                    shared.write(file);
                }
            })
            .context("cannot start the store's thread")?;
        Ok((
            Self {
                shared,
                writer: Some(writer),
                boot,
            },
            held,
            Records(receiver),
        ))
    }

    /// The boot in which the records were written that it held when it was opened; `None` when that is not known.
    #[must_use]
    pub fn boot(&self) -> Option<Boot> {
        self.boot
    }

    /// Has the store remember the boot by which the times of all its records are to be read. What is saved next has
    /// to hold every record whose time is not so yet: both are written in one transaction.
    pub fn reckon(&self, boot: Boot) {
        self.shared.lock().boot = Some(boot);
    }

    /// Takes quiet times that changed, `None` for one that is gone. They are written in one transaction with what is
    /// saved next.
    pub fn keep_quiet(
        &self,
        changes: impl IntoIterator<Item = (Offender, Option<Quiet>)>,
        clocks: Clocks,
    ) {
        let written = |(offender, quiet): (_, Option<Quiet>)| {
            (offender, quiet.map(|it| it.on_the_wall(clocks)))
        };
        let changes = changes.into_iter().map(written);
        self.shared.lock().quiet.extend(changes);
    }

    /// Takes what the ledger learned, which bans ended by it, and how far the alerts are that led to it, to be written in
    /// one transaction. What comes later replaces what still waits.
    ///
    /// What has been handed over is on the disk after one or two fsyncs, a few milliseconds on most. Under a flood of changes
    /// it may rest before that, 200 ms at most, unless somebody [waits](Self::wait) for it.
    pub fn save(
        &self,
        changes: impl IntoIterator<Item = Change>,
        history: History,
        progress: Option<Progress<'_>>,
        clocks: Clocks,
    ) {
        let changes = changes
            .into_iter()
            .map(|Change { key, record }| (key, record.map(|record| record.on_the_wall(clocks))));
        let mut later = Batch {
            changes: changes.collect(),
            history: history.on_the_wall(clocks),
            since: Some(clocks.wall),
            ..Batch::default()
        };
        if let Some(progress) = progress {
            later
                .positions
                .insert(progress.file.to_owned(), progress.position);
            later.handled = progress.handled;
        }
        let mut waiting = self.shared.lock();
        later.boot = waiting.boot.take();
        later.quiet = std::mem::take(&mut waiting.quiet);
        if !later.is_empty() {
            waiting.batch.append(later);
            self.shared.changed.notify_one();
        }
    }

    /// What reads the history of what has been written.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.shared))
    }

    /// Why nothing can be written at the moment; `None` when all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.lock().trouble.clone()
    }

    /// How long commits took since the store was opened, each that succeeded.
    #[must_use]
    pub fn commits(&self) -> Spans {
        self.shared.lock().commits.clone()
    }

    /// Waits until all that was handed over is on the disk, for `limit` at most, and says whether it is.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        self.shared.wait(limit)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_one();
        if let Some(writer) = self.writer.take() {
            // It has nothing to report but a panic, which has been printed.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Both sides only insert and take whole values, so that a panic leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_open(&self, database: &Arc<Database>) {
        let opened = self.opened.lock();
        *opened.unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(database);
    }

    fn open(&self) -> Option<Arc<Database>> {
        let opened = self.opened.lock();
        opened.unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    /// Whether everything is written, after a wait of `limit` at most.
    fn wait(&self, limit: Duration) -> bool {
        let is_left = |waiting: &mut Waiting| waiting.writing || !waiting.batch.is_empty();
        let mut waiting = self.lock();
        waiting.hurry = true;
        self.changed.notify_one();
        let waited = self.written.wait_timeout_while(waiting, limit, is_left);
        let (waiting, result) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(waiting);
        !result.timed_out()
    }

    /// Writes until the store closes. While one transaction is being written, changes gather for the next.
    fn write(&self, mut file: StoreFile) {
        loop {
            let mut waiting = self.lock();
            while waiting.batch.is_empty() && !waiting.closing {
                waiting = self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            let batch = std::mem::take(&mut waiting.batch);
            let closing = waiting.closing;
            waiting.hurry = false;
            waiting.writing = true;
            drop(waiting);
            let begun = clock::now();
            let written = file.database().and_then(|database| {
                self.note_open(database);
                commit(database, &batch)
            });
            let took = clock::now().since(begun);
            let many = batch.changes.len() >= MANY;
            match written {
                Ok(()) => {
                    let mut waiting = self.lock();
                    waiting.commits.add(took, 1);
                    if waiting.trouble.take().is_some() {
                        tracing::warn!(
                            "the store can be written again, and nothing is missing in it"
                        );
                    }
                }
                Err(error) if closing => {
                    tracing::error!(
                        records = batch.changes.len(),
                        "not stored, and read again after the next start: {error:#}"
                    );
                }
                Err(error) => {
                    file.failed();
                    self.give_back(batch, &error);
                }
            }
            self.lock().writing = false;
            self.written.notify_all();
            if closing {
                return;
            }
            if many {
                self.rest(took.min(REST));
            }
        }
    }

    /// Lets changes gather for the next transaction, for `most` at most, unless somebody waits for them.
    fn rest(&self, most: Duration) {
        let may_rest = |waiting: &mut Waiting| !waiting.closing && !waiting.hurry;
        let rested = self.changed.wait_timeout_while(self.lock(), most, may_rest);
        drop(rested);
    }

    /// Puts back what could not be written, before what came later, and pauses.
    fn give_back(&self, mut batch: Batch, error: &anyhow::Error) {
        let mut waiting = self.lock();
        let trouble = waiting.trouble.take();
        let attempts = trouble.as_ref().map_or(0, |trouble| trouble.attempts);
        let since = trouble.map_or(batch.since, |trouble| trouble.since);
        batch.append(std::mem::take(&mut waiting.batch));
        if attempts.is_multiple_of(REMIND_EVERY) {
            tracing::error!(
                waiting = batch.changes.len(),
                "THE STORE CANNOT BE WRITTEN. Bans go on; what happens now is not remembered by a restart, which \
                 reads these alerts again: {error:#}"
            );
        }
        waiting.trouble = Some(Trouble {
            since,
            cause: format!("{error:#}"),
            attempts: attempts + 1,
            waiting: batch.changes.len(),
        });
        waiting.batch = batch;
        let pause = self
            .changed
            .wait_timeout_while(waiting, RETRY_AFTER, |waiting| !waiting.closing);
        drop(pause);
    }
}

/// All but the records.
fn read_progress(database: &Database) -> anyhow::Result<Held> {
    let transaction = database.begin_read()?;
    let mut held = Held::default();
    for entry in transaction.open_table(POSITIONS)?.iter()? {
        let (file, position) = entry?;
        let file = OsStr::from_bytes(file.value()).into();
        held.positions
            .insert(file, encoding::position(position.value())?);
    }
    for entry in transaction.open_table(HANDLED)?.iter()? {
        held.handled.extend(encoding::handled(entry?.1.value()));
    }
    held.quiet = quiet::read(&transaction)?;
    Ok(held)
}

/// Hands the records out in chunks.
fn read_records(
    database: &Database,
    chunks: &mpsc::SyncSender<anyhow::Result<Vec<Record<Wall>>>>,
) -> anyhow::Result<()> {
    let transaction = database.begin_read()?;
    let mut chunk = Vec::with_capacity(CHUNK);
    for entry in transaction.open_table(RECORDS)?.iter()? {
        let (key, value) = entry?;
        chunk.push(encoding::record(key.value(), value.value())?);
        if chunk.len() == CHUNK {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
            if chunks.send(Ok(full)).is_err() {
                return Ok(());
            }
        }
    }
    // Whoever does not want them any more is not told.
    let _ = chunks.send(Ok(chunk));
    Ok(())
}

fn commit(database: &Database, batch: &Batch) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    {
        let mut records = transaction.open_table(RECORDS)?;
        for (key, record) in &batch.changes {
            let key = encoding::key(key);
            match record {
                Some(record) => drop(records.insert(&*key, &*encoding::value(record)?)?),
                None => drop(records.remove(&*key)?),
            }
        }
        let mut positions = transaction.open_table(POSITIONS)?;
        for (file, position) in &batch.positions {
            let file = file.as_os_str().as_bytes();
            positions.insert(file, &*encoding::position_value(position)?)?;
        }
    }
    if let Some(boot) = batch.boot {
        boot::write(transaction.open_table(ABOUT)?, boot)?;
    }
    if !batch.handled.is_empty() {
        add_handled(transaction.open_table(HANDLED)?, &batch.handled)?;
    }
    quiet::write(&transaction, &batch.quiet)?;
    history::add(&transaction, &batch.history)?;
    Ok(transaction.commit()?)
}

fn add_handled(mut table: Table<'_, u64, &[u8]>, handled: &[u64]) -> anyhow::Result<()> {
    let end = |first: u64, bytes: &[u8]| first + bytes.len() as u64 / 8;
    let next = table
        .last()?
        .map_or(0, |(first, bytes)| end(first.value(), bytes.value()));
    table.insert(next, &*encoding::handled_value(handled))?;
    let count = next + handled.len() as u64;
    let kept_from = count.saturating_sub(HANDLED_KEPT as u64);
    while table
        .first()?
        .is_some_and(|(first, bytes)| end(first.value(), bytes.value()) <= kept_from)
    {
        table.pop_first()?;
    }
    Ok(())
}
