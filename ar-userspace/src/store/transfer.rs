//! A store as lines of JSON and back, and what of a damaged one can be read. Never changes a store that is there.

mod line;
mod past;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, Key as TableKey, ReadOnlyDatabase, ReadTransaction, ReadableDatabase,
    ReadableTable as _, StorageBackend as _, TableDefinition, TableError, TableHandle as _, Value,
};
use serde::Serialize;

use self::line::{Handled, Header, Line, StoredPosition, StoredQuiet, StoredRecord};
use self::past::StoredPast;
use super::file::{self, StoreFile};
use super::history::HISTORY;
use super::quiet::QUIET;
use super::{ABOUT, Batch, HANDLED, Held, OLDEST, POSITIONS, RECORDS, VERSION, commit, encoding};
use crate::ledger::History;
use crate::quiet::Quiet;

/// Identifiers on one line, and in one row of an imported store.
const HANDLED_PER_LINE: usize = 1024;

/// What can be read of a store.
#[derive(Debug, Default)]
pub struct Contents {
    /// What could be read.
    pub held: Held,
    /// What could not, and why: one sentence each.
    pub damage: Vec<String>,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// It was closed: otherwise the program or the machine ended before, which harms nothing.
    pub closed: bool,
}

/// Reads the store in a directory without writing to it, as much as can be read.
///
/// One that was not closed is copied into memory and mended there, so that this too writes nothing.
///
/// # Errors
///
/// When there is none, a daemon uses it, it is another program's or of another version, or nothing of it can be read.
pub fn read(state_dir: &Path) -> anyhow::Result<Contents> {
    let path = state_dir.join(file::NAME);
    let file_bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no store `{}`", path.display())
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", path.display()));
        }
    };
    let mut contents = Contents {
        file_bytes,
        ..Contents::default()
    };
    // Of damaged pages the database panics, also when it is dropped after that.
    match catch_unwind(AssertUnwindSafe(|| contents.read(&path))) {
        Ok(read) => read?,
        Err(_) if contents.damage.is_empty() => bail!(unreadable(&path)),
        Err(_) => {}
    }
    Ok(contents)
}

fn mended_copy(path: &Path) -> anyhow::Result<Database> {
    let bytes = fs::read(path)?;
    // A daemon that began meanwhile has it open, or closed it: then the copy may be half of each.
    match ReadOnlyDatabase::open(path) {
        Err(DatabaseError::RepairAborted) => {}
        Err(error) => return Err(refused(error, path)),
        Ok(_) => bail!("it changed while it was read; try again"),
    }
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, &bytes)?;
    drop(bytes);
    Ok(Database::builder().create_with_backend(copy)?)
}

fn refused(error: DatabaseError, path: &Path) -> anyhow::Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => anyhow::anyhow!(
            "the store `{}` is in use: stop the daemon first, with `arfw stop`; bans stand meanwhile",
            path.display()
        ),
        error => anyhow::Error::new(error).context(unreadable(path)),
    }
}

fn unreadable(path: &Path) -> String {
    format!(
        "nothing of the store `{}` can be read: it is damaged or another program's; a new one is made when it is \
         moved away",
        path.display()
    )
}

impl Contents {
    fn read(&mut self, path: &Path) -> anyhow::Result<()> {
        match ReadOnlyDatabase::open(path) {
            Ok(database) => {
                self.closed = true;
                self.fill(&database.begin_read()?)
            }
            Err(DatabaseError::RepairAborted) => {
                let database = mended_copy(path).with_context(|| unreadable(path))?;
                self.fill(&database.begin_read()?)
            }
            Err(error) => Err(refused(error, path)),
        }
    }

    fn fill(&mut self, transaction: &ReadTransaction) -> anyhow::Result<()> {
        let about = transaction
            .open_table(ABOUT)
            .context("it is another program's")?;
        match about.get("version")?.map(|version| version.value()) {
            Some(OLDEST..=VERSION) => {}
            found => bail!(
                "expected a store of version {OLDEST} to {VERSION}, found {}",
                found.map_or("none".to_owned(), |version| version.to_string())
            ),
        }
        let Self { held, damage, .. } = self;
        let mut keys = BTreeSet::new();
        each(transaction, RECORDS, damage, |key, value| {
            let record = encoding::record(key, value)
                .with_context(|| format!("the record with key {} is damaged", hex(key)))?;
            // A damaged page may show a record twice.
            if !keys.insert(record.key.clone()) {
                bail!("the record with key {} is there twice", hex(key));
            }
            held.records.push(record);
            Ok(())
        });
        each(transaction, POSITIONS, damage, |file, value| {
            let file = PathBuf::from(OsStr::from_bytes(file));
            let position = encoding::position(value)
                .with_context(|| format!("the position of `{}` is damaged", file.display()))?;
            held.positions.insert(file, position);
            Ok(())
        });
        each(transaction, HANDLED, damage, |first, value| {
            if !value.len().is_multiple_of(8) {
                bail!("the handled alerts from number {first} on are damaged");
            }
            held.handled.extend(encoding::handled(value));
            Ok(())
        });
        let mut offenders = BTreeSet::new();
        each(transaction, QUIET, damage, |key, value| {
            let quiet = encoding::quiet(key, value)
                .with_context(|| format!("the quiet time with key {} is damaged", hex(key)))?;
            if !offenders.insert(quiet.offender) {
                bail!("the quiet time with key {} is there twice", hex(key));
            }
            held.quiet.push(quiet);
            Ok(())
        });
        let mut rows = BTreeMap::new();
        each(transaction, HISTORY, damage, |first, row| {
            let entries = encoding::history(row)
                .with_context(|| format!("the history from number {first} on is damaged"))?;
            rows.insert(first, entries);
            Ok(())
        });
        held.forgotten = rows.first_key_value().map_or(0, |(&first, _)| first);
        held.history = rows.into_values().flatten().collect();
        Ok(())
    }
}

/// Hands on every entry of a table that can be read, from both ends when something between cannot.
fn each<K: TableKey + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
    damage: &mut Vec<String>,
    mut take: impl for<'a> FnMut(K::SelfType<'a>, V::SelfType<'a>) -> anyhow::Result<()>,
) {
    let mut last = None;
    for backwards in [false, true] {
        let attempt = catch_unwind(AssertUnwindSafe(|| -> anyhow::Result<()> {
            let table = match transaction.open_table(definition) {
                // Opening the store makes it.
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                table => table?,
            };
            let mut entries = table.iter()?;
            while let Some(entry) = if backwards {
                entries.next_back()
            } else {
                entries.next()
            } {
                let (key, value) = entry?;
                let bytes = K::as_bytes(&key.value()).as_ref().to_vec();
                if backwards {
                    if last
                        .as_ref()
                        .is_some_and(|last: &Vec<u8>| K::compare(&bytes, last).is_le())
                    {
                        break;
                    }
                } else {
                    last = Some(bytes);
                }
                if let Err(error) = take(key.value(), value.value()) {
                    damage.push(format!("{error:#}"));
                }
            }
            Ok(())
        }));
        let why = match attempt {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "a page is damaged".to_owned(),
        };
        if !backwards {
            damage.push(format!(
                "a part of the table `{}` cannot be read: {why}",
                definition.name()
            ));
        }
    }
}

/// Writes what a store holds as lines of JSON.
///
/// # Errors
///
/// When `out` takes no more.
pub fn export(held: &Held, mut out: impl Write) -> anyhow::Result<()> {
    write_line(&mut out, &Header::of(held))?;
    for record in &held.records {
        write_line(&mut out, &Line::Record(StoredRecord::from(record)))?;
    }
    for (file, position) in &held.positions {
        write_line(
            &mut out,
            &Line::Position(StoredPosition::new(file, position)),
        )?;
    }
    for handled in held.handled.chunks(HANDLED_PER_LINE) {
        write_line(
            &mut out,
            &Line::Handled(handled.iter().copied().map(Handled).collect()),
        )?;
    }
    for quiet in &held.quiet {
        write_line(&mut out, &Line::Quiet(StoredQuiet::from(quiet)))?;
    }
    for past in &held.history {
        write_line(&mut out, &Line::Past(StoredPast::from(past)))?;
    }
    out.flush()?;
    Ok(())
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> anyhow::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(out.write_all(&bytes)?)
}

/// Reads what [`export`] wrote; `Err` has every mistake as `line:column: expected ..., found ...`.
///
/// # Errors
///
/// When anything is wrong with any line.
pub fn parse(text: &[u8]) -> Result<Held, Vec<String>> {
    let mut lines = text.split(|&byte| byte == b'\n').zip(1..);
    let header = lines.next().map(|(first, _)| serde_json::from_slice(first));
    let header: Header = match header {
        Some(Ok(header)) => header,
        Some(Err(error)) => return Err(vec![line::told(&error, 1)]),
        None => return Err(Vec::new()),
    };
    let mut mistakes = Vec::new();
    let mut held = Held {
        forgotten: header.forgotten,
        ..Held::default()
    };
    let mut keys = BTreeSet::new();
    let mut quiet_times = BTreeSet::new();
    if !(OLDEST..=VERSION).contains(&header.arfw_store) {
        mistakes.push(format!(
            "1:1: expected `arfw_store` {OLDEST} to {VERSION}, found {}",
            header.arfw_store
        ));
    }
    for (text, number) in lines.filter(|(text, _)| !text.is_empty()) {
        match serde_json::from_slice(text) {
            Ok(Line::Record(record)) => {
                let record = crate::ledger::Record::from(record);
                if !keys.insert(record.key.clone()) {
                    mistakes.push(format!(
                        "{number}:1: expected each address and executable once, found {} and {} again",
                        record.key.offender, record.key.executable
                    ));
                }
                held.records.push(record);
            }
            Ok(Line::Position(position)) => {
                let (file, position) = position.into();
                if held.positions.insert(file.clone(), position).is_some() {
                    mistakes.push(format!(
                        "{number}:1: expected each file once, found `{}` again",
                        file.display()
                    ));
                }
            }
            Ok(Line::Handled(handled)) => {
                held.handled
                    .extend(handled.into_iter().map(|Handled(id)| id));
            }
            Ok(Line::Quiet(quiet)) => {
                let quiet = Quiet::from(quiet);
                if !quiet_times.insert(quiet.offender) {
                    mistakes.push(format!(
                        "{number}:1: expected one quiet time for each address, found {} again",
                        quiet.offender
                    ));
                }
                held.quiet.push(quiet);
            }
            Ok(Line::Past(past)) => held.history.push(past.into()),
            Err(error) => mistakes.push(line::told(&error, number)),
        }
    }
    let found = Header {
        arfw_store: header.arfw_store,
        ..Header::of(&held)
    };
    if mistakes.is_empty() && header != found {
        mistakes.push(format!(
            "1:1: expected {} records, {} positions, {} handled alerts, {} quiet times and {} past bans as this line \
             says, found {}, {}, {}, {} and {}",
            header.records,
            header.positions,
            header.handled,
            header.quiet,
            header.past,
            found.records,
            found.positions,
            found.handled,
            found.quiet,
            found.past
        ));
    }
    if mistakes.is_empty() {
        Ok(held)
    } else {
        Err(mistakes)
    }
}

/// Makes a store of this in a directory where there is none; there is all of it then, or nothing.
///
/// # Errors
///
/// When one is there, or it cannot be written.
pub fn import(state_dir: &Path, held: &Held) -> anyhow::Result<()> {
    fs::create_dir_all(state_dir)
        .with_context(|| format!("cannot make the state directory `{}`", state_dir.display()))?;
    let path = state_dir.join(file::NAME);
    if path.try_exists()? {
        return Err(there_is_one(&path));
    }
    let new = state_dir.join(format!("arfw.redb.import-{}", std::process::id()));
    let made = make(&new, held).and_then(|()| {
        // Unlike a renaming, this replaces nothing.
        match fs::hard_link(&new, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(there_is_one(&path)),
            linked => Ok(linked?),
        }
    });
    let removed = fs::remove_file(&new);
    made.with_context(|| format!("cannot make the store `{}`", path.display()))?;
    removed?;
    Ok(File::open(state_dir)?.sync_all()?)
}

fn make(path: &Path, held: &Held) -> anyhow::Result<()> {
    let mut file = StoreFile::open(path)?;
    let database = file.database()?;
    let records = held.records.iter().cloned();
    let mut history = History::after(held.forgotten);
    for past in &held.history {
        history.push(past.clone());
    }
    let mut batch = Batch {
        changes: records
            .map(|record| (record.key.clone(), Some(record)))
            .collect(),
        positions: held.positions.clone(),
        quiet: held
            .quiet
            .iter()
            .cloned()
            .map(|it| (it.offender, Some(it)))
            .collect(),
        history,
        ..Batch::default()
    };
    commit(database, &batch)?;
    batch.changes.clear();
    batch.history = History::default();
    for handled in held.handled.chunks(HANDLED_PER_LINE) {
        batch.handled = handled.to_vec();
        commit(database, &batch)?;
    }
    Ok(())
}

fn there_is_one(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "there is a store `{}`; an import makes a new one: move that away first",
        path.display()
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
