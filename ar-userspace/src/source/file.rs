//! Follows one file by inotify: what is appended, what takes its place, and from where a start goes on.
//!
//! The file itself is watched for writes, because Wazuh writes `alerts.json` through another hard link,
//! in another directory. Its directory is watched for names that come and go.
//!
//! A file or directory that is not there or cannot be read is waited for. What was read is kept until its
//! position is known, so that an error at any point neither loses a line nor hands one on twice.
//!
//! Not noticed at once: that a directory above the file's own was renamed or mounted over, and writes on another
//! host to a network file system. A look every few seconds makes up for it.

mod hand_over;
mod open;
mod start;
#[cfg(test)]
mod tests;
mod told;
mod watch;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as state};

use super::Load;
use super::condition::Condition;
use super::lines::{Batch, Cut, Lines};
use super::position::{As, FileId, Finished, Position};
use open::Open;
pub use start::Start;
use watch::Watch;

/// Bytes that are read in one go.
pub const CHUNK: usize = 256 * 1024;

/// How often a file is looked at that nobody tells of changes of: it may be on a network file system, or hidden by
/// one that was mounted.
const LOOK_ANYWAY: Duration = Duration::from_secs(5);

/// How often a file is looked at that is not there or cannot be read, besides at every change.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A file that is followed.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    watch: Watch,
    /// Where an earlier follower was.
    left_at: Option<Position>,
    /// The place where to go on was found.
    settled: bool,
    /// Files that were rotated away and are read first, in this order.
    rotated: VecDeque<Open>,
    open: Option<Open>,
    /// How far a file that appears may hold again what was handed on; `None` when nothing was.
    read_before: Option<u64>,
    lines: Lines,
    /// What was read and has no position yet, because the file could not be read again for it.
    cut: Option<Cut>,
    /// The end was not reached since the start, or since the file could not be read.
    backlog: bool,
    /// Files that were read to their ends.
    finished: Vec<Finished>,
    /// Compressed files that were told of.
    compressed: BTreeSet<PathBuf>,
    /// What others may know. Trouble and a missing file are looked at again from time to time.
    condition: state::Sender<Condition>,
    /// That nothing is there under the name of the file was told.
    told_missing: bool,
    chunk: Box<[u8]>,
    load: Arc<Load>,
}

impl Follower {
    /// Watches `path` and goes on at `position`, or at the present end when there is none. Must be called
    /// within a runtime.
    ///
    /// # Errors
    ///
    /// When `path` is a directory, or the runtime cannot wait for the kernel's notices.
    pub fn start(path: &Path, position: Option<&Position>) -> io::Result<(Self, Start)> {
        let mut follower = Self {
            path: path.to_owned(),
            watch: Watch::new()?,
            left_at: position.cloned(),
            settled: false,
            rotated: VecDeque::new(),
            open: None,
            read_before: position.map(Position::repeatable),
            lines: Lines::default(),
            cut: None,
            backlog: true,
            finished: position.map_or_else(Vec::new, |position| position.finished.clone()),
            compressed: BTreeSet::new(),
            condition: state::Sender::default(),
            told_missing: false,
            chunk: vec![0; CHUNK].into_boxed_slice(),
            load: Arc::default(),
        };
        follower.watch.watch_names(path);
        let start = match follower.settle() {
            Ok(start) => {
                // The caller tells of it.
                follower.told_missing = start == Start::NotThere;
                start
            }
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(error),
            Err(error) => {
                follower.trouble(&error);
                Start::Unreadable
            }
        };
        Ok((follower, start))
    }

    /// How far the daemon is behind, kept as long as the file is followed.
    #[must_use]
    pub fn load(&self) -> Arc<Load> {
        Arc::clone(&self.load)
    }
    /// Where the next line to be read begins; `None` when that cannot be found out for the present. Before
    /// anything of a file that is not there yet, it is of no file: whatever appears is then new.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        if !self.settled {
            return None;
        }
        let open = self.rotated.front().or(self.open.as_ref());
        Some(open.map_or_else(
            || Position {
                repeats_until: self.read_before.unwrap_or(0),
                finished: self.finished.clone(),
                ..Position::default()
            },
            |open| Position {
                finished: self.finished.clone(),
                ..open.read_to.clone()
            },
        ))
    }

    /// Reads for ever and hands batches on; ends when nobody takes them.
    ///
    /// A file that cannot be read is tried again at every change and each second, which is told once.
    ///
    /// # Errors
    ///
    /// When the kernel's notices cannot be read.
    pub async fn follow(mut self, batches: mpsc::Sender<Batch>) -> io::Result<()> {
        loop {
            match self.read() {
                Ok(Some(batch)) => {
                    if self.hand_over(batch, &batches).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Ok(None) => {
                    self.backlog = !self.settled;
                    self.note_unread();
                }
                Err(error) => self.trouble(&error),
            }
            if self.watch.is_blind() && self.watch.look_again(&self.path, self.open.as_ref()) {
                continue;
            }
            tokio::select! {
                noticed = self.watch.changed(self.looks_again_after()) => {
                    if !noticed? {
                        self.tell_missing();
                    }
                }
                () = batches.closed() => return Ok(()),
            }
        }
    }

    fn looks_again_after(&self) -> Duration {
        let condition = self.condition.borrow();
        match condition.missing || condition.trouble.is_some() {
            true => LOOK_AGAIN,
            false => LOOK_ANYWAY,
        }
    }

    /// The next lines; `None` when there is nothing more for the present.
    fn read(&mut self) -> io::Result<Option<Batch>> {
        if !self.settled {
            let start = self.settle()?;
            self.tell_start(start);
            if !self.settled {
                return Ok(None);
            }
        }
        let batch = loop {
            if let Some(batch) = self.batch()? {
                break Some(batch);
            }
            if let Step::Nothing = self.step()? {
                break None;
            }
        };
        // What was open already may be read all the while: only at its end is the name looked at.
        if batch.is_none() {
            self.can_be_read();
        }
        Ok(batch)
    }

    /// Makes a batch of what was cut, once its position is known.
    fn batch(&mut self) -> io::Result<Option<Batch>> {
        let Some(open) = self.rotated.front_mut().or(self.open.as_mut()) else {
            return Ok(None);
        };
        let Some(cut) = self.cut.take() else {
            return Ok(None);
        };
        let may_repeat = open.read_to.offset < open.read_to.repeats_until;
        if let Err(error) = open.hand_on(open.offset - self.lines.unfinished()) {
            self.cut = Some(cut);
            return Err(error);
        }
        Ok((!cut.is_empty()).then(|| Batch {
            cut,
            position: Position {
                finished: self.finished.clone(),
                ..open.read_to.clone()
            },
            backlog: self.backlog,
            may_repeat,
        }))
    }

    fn step(&mut self) -> io::Result<Step> {
        if let Some(open) = self.rotated.front_mut() {
            let count = open.read(&mut self.chunk)?;
            if count == 0 {
                self.leave_rotated()?;
            } else {
                self.cut = Some(self.lines.push(&self.chunk[..count]));
            }
            return Ok(Step::Again);
        }
        let Some(open) = &mut self.open else {
            self.open = self.open_path()?;
            self.is_missing(self.open.is_none());
            return Ok(match &self.open {
                None => Step::Nothing,
                Some(_) => Step::Again,
            });
        };
        if !open.is_as_it_was()? {
            self.begin_anew()?;
            return Ok(Step::Again);
        }
        let count = open.read(&mut self.chunk)?;
        if count > 0 {
            self.cut = Some(self.lines.push(&self.chunk[..count]));
            return Ok(Step::Again);
        }
        let there = match self.there()? {
            Some(there) => Some(there),
            None => {
                // Its directory may have gone, and another come that nobody watches yet.
                self.watch.watch_names(&self.path);
                self.there()?
            }
        };
        self.is_missing(there.is_none());
        let Some(open) = self
            .open
            .as_mut()
            .filter(|open| there.is_some_and(|it| it != open.id))
        else {
            return Ok(Step::Nothing);
        };
        // The old file may have grown between its end and the look at the name.
        let count = open.read(&mut self.chunk)?;
        if count > 0 {
            self.cut = Some(self.lines.push(&self.chunk[..count]));
        } else {
            self.leave_replaced()?;
        }
        Ok(Step::Again)
    }

    /// What stands under the name of the file.
    fn there(&self) -> io::Result<Option<FileId>> {
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(Some(FileId::of(&there))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file was copied and truncated, or written anew in its place: what stands there is read from its
    /// first byte. What was not read before is in the copy; without a copy, the line that had not ended is
    /// handed on as far as it was read.
    fn begin_anew(&mut self) -> io::Result<()> {
        let Some(read_to) = self.open.as_ref().map(|open| open.read_to.clone()) else {
            return Ok(());
        };
        let mut copies = self.find_rotated(&read_to, As::Copy)?.unwrap_or_default();
        if let Some(open) = &mut self.open {
            open.begin_anew()?;
        }
        let unfinished = self.lines.finish();
        if copies.is_empty() {
            self.cut = Some(unfinished);
        }
        self.rotated.append(&mut copies);
        Ok(())
    }

    /// A rotated file is at its end: its last line has no successor that could finish it.
    fn leave_rotated(&mut self) -> io::Result<()> {
        let last = self.lines.finish();
        if !last.is_empty() {
            self.cut = Some(last);
        } else if let Some(open) = self.rotated.front() {
            open.finished()?.remember(&mut self.finished);
            self.rotated.pop_front();
        }
        Ok(())
    }

    /// The followed file was replaced. Others may have come and gone before the one that is there.
    fn leave_replaced(&mut self) -> io::Result<()> {
        let last = self.lines.finish();
        if !last.is_empty() {
            self.cut = Some(last);
            return Ok(());
        }
        let Some(open) = &self.open else {
            return Ok(());
        };
        let (read_to, finished) = (open.read_to.clone(), open.finished()?);
        let between = self.find_rotated(&read_to, As::Itself)?;
        // The first is the file itself, which is read.
        self.rotated.extend(between.into_iter().flatten().skip(1));
        finished.remember(&mut self.finished);
        self.open = None;
        self.watch.leave_file();
        self.read_before = Some(read_to.repeatable());
        Ok(())
    }

    fn open_path(&mut self) -> io::Result<Option<Open>> {
        // Before the look, so that a file which comes after it gives notice.
        self.watch.watch_names(&self.path);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let open = Open::new(file, self.read_before)?;
        self.watch.watch_file(&open);
        Ok(Some(open))
    }
}

/// What one look at the files gave.
enum Step {
    /// Something, or there may be more.
    Again,
    /// Nothing more for the present.
    Nothing,
}

/// The directory in which a path stands.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
