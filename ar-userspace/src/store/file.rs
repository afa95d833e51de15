//! The store's file: made whole or not at all, opened only when it is ours, and never overwritten.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use redb::{Database, DatabaseError, ReadableDatabase as _, StorageError, TableHandle as _};

use super::history::HISTORY;
use super::{ABOUT, HANDLED, OLDEST, POSITIONS, RECORDS, VERSION};

/// Name of the file in the state directory.
pub(super) const NAME: &str = "arfw.redb";

/// Bytes of the file that are kept in memory at most; the kernel's cache has the others. Left to itself, the
/// database keeps a GiB, which is all of a store of a million bans.
const CACHE: usize = 8 << 20;

/// An open file, and what it takes to open the same one again.
pub(super) struct StoreFile {
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    /// `None` after a failure: a database that could not be written refuses everything until it is opened again.
    database: Option<Arc<Database>>,
}

impl StoreFile {
    /// Opens the file, or makes a new one when there is none.
    ///
    /// # Errors
    ///
    /// When it is damaged, empty, another program's, of another version, in use, or cannot be written.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.exists() {
            make(path).with_context(|| format!("cannot make the store `{}`", path.display()))?;
        }
        let database = open(path)?;
        Ok(Self {
            path: path.to_owned(),
            id: id(path)?,
            database: Some(Arc::new(database)),
        })
    }

    /// The database, opened again after a failure.
    ///
    /// # Errors
    ///
    /// When it cannot be opened, or another file stands in its place.
    pub(super) fn database(&mut self) -> anyhow::Result<&Arc<Database>> {
        if self.database.is_none() {
            ensure!(
                id(&self.path)? == self.id,
                "`{}` is not the file any more that was opened at the start",
                self.path.display()
            );
            self.database = Some(Arc::new(open(&self.path)?));
        }
        self.database.as_ref().context("the store is closed")
    }

    /// Has the next look at the database open it again, from its last commit.
    pub(super) fn failed(&mut self) {
        self.database = None;
    }
}

fn id(path: &Path) -> anyhow::Result<(u64, u64)> {
    let file = fs::metadata(path)
        .with_context(|| format!("cannot find the store `{}`", path.display()))?;
    Ok((file.dev(), file.ino()))
}

/// Makes a new store under another name and gives it its own when it is on the disk: a start that is cut off
/// leaves none, and one that somebody else made meanwhile stays.
fn make(path: &Path) -> anyhow::Result<()> {
    let new = path.with_extension("redb.new");
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let database = Database::create(&new)?;
    lay_out(&database)?;
    database.close()?;
    let linked = fs::hard_link(&new, path);
    fs::remove_file(&new)?;
    linked?;
    let directory = path.parent().context("it stands in no directory")?;
    File::open(directory)?.sync_all()?;
    Ok(())
}

/// Makes the tables that are not there, and notes the version, in one transaction.
pub(super) fn lay_out(database: &Database) -> anyhow::Result<()> {
    let transaction = database.begin_write()?;
    transaction.open_table(ABOUT)?.insert("version", VERSION)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(POSITIONS)?;
    transaction.open_table(HANDLED)?;
    transaction.open_table(HISTORY)?;
    Ok(transaction.commit()?)
}

/// Opens what is there after every page of it has been checked, and writes nothing into what is not ours.
fn open(path: &Path) -> anyhow::Result<Database> {
    let name = path.display();
    let refused = || format!("cannot use the store `{name}`, which is left as it is");
    // Checked first, because opening an empty file fills it.
    if fs::metadata(path).with_context(refused)?.len() == 0 {
        return Err(damaged("it is empty, and a store never is")).with_context(refused);
    }
    let database = Database::builder()
        .set_check_integrity_on_open(true)
        .set_cache_size(CACHE)
        .open(path)
        .map_err(explained)
        .with_context(refused)?;
    if recognise(&database).with_context(refused)? < VERSION {
        // What makes the tables of a new store adds to an old one those that it lacks.
        lay_out(&database)
            .with_context(|| format!("cannot bring the store `{name}` to version {VERSION}"))?;
    }
    Ok(database)
}

/// Makes sure that it is a store that can be read, and gives its version.
fn recognise(database: &Database) -> anyhow::Result<u64> {
    let transaction = database.begin_read()?;
    let tables: Vec<String> = transaction
        .list_tables()?
        .map(|table| table.name().to_owned())
        .collect();
    let is_ours = tables.iter().any(|table| table == "about");
    let version = match is_ours {
        true => transaction.open_table(ABOUT)?.get("version")?,
        false => None,
    };
    match version.map(|version| version.value()) {
        Some(version @ OLDEST..=VERSION) => Ok(version),
        Some(version) if version > VERSION => bail!(
            "it is of version {version}, and this arfw reads up to version {VERSION}: start the newer arfw that wrote it"
        ),
        Some(version) => {
            bail!("it is of version {version}, and this arfw reads versions {OLDEST} to {VERSION}")
        }
        None => bail!(
            "it is another program's: expected a table `about` with a version, found the tables [{}]; name another \
             directory with --state-dir, or move the file away",
            tables.join(", ")
        ),
    }
}

fn explained(error: DatabaseError) -> anyhow::Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen => anyhow::anyhow!(
            "another process has it open: stop that daemon with `arfw stop`, or name another directory with --state-dir"
        ),
        DatabaseError::Storage(StorageError::Io(error)) => match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
                anyhow::Error::from(error).context(
                    "it cannot be written: make its file system writable, or name another directory with --state-dir",
                )
            }
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => damaged(&error.to_string()),
            _ => error.into(),
        },
        DatabaseError::Storage(StorageError::Corrupted(why)) => damaged(&why),
        error => error.into(),
    }
}

fn damaged(why: &str) -> anyhow::Error {
    anyhow::anyhow!(
        "it is damaged: {why}; `arfw store export` saves what can be read of it, and `arfw store import` makes a new one \
         of that once it is moved away; without that, a start takes over the bans that the kernel holds, and knows no \
         offences from before"
    )
}
