//! Follows one file by inotify: what is appended, what takes its place, and from where a start goes on.
//!
//! The file itself is watched for writes, because Wazuh writes `alerts.json` through another hard link,
//! in another directory. Its directory is watched for names that come and go.
//!
//! A file or directory that is not there or cannot be read is waited for. What was read is kept until its
//! position is known, so that an error at any point neither loses a line nor hands one on twice.
//!
//! Not noticed at once: that a directory above the file's own was renamed, and writes on another host to a
//! network file system. The next change that the kernel tells of makes up for both.

mod open;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::lines::{Batch, Cut, Lines};
use super::position::{As, FileId, Position};
use super::rotated;
use open::Open;
use watch::Watch;

/// Bytes that are read in one go.
pub const CHUNK: usize = 256 * 1024;

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
    /// Nothing is there under the name of the file.
    missing: bool,
    /// The file cannot be read, and that was told.
    in_trouble: bool,
    chunk: Box<[u8]>,
}

/// Where a start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the end of the file: nothing is known of it.
    AtEnd,
    /// The file, or its directory, is not there yet. It is read from its beginning when it appears.
    NotThere,
    /// At the position, in the file or in one that it was before it was rotated.
    AtPosition,
    /// At the beginning of the file: what the position belongs to is not there any more.
    PositionLost,
    /// The file cannot be read for the present, which the follower tells.
    Unreadable,
}

impl Start {
    /// What an operator has to know about it.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::AtEnd | Self::AtPosition | Self::Unreadable => None,
            Self::NotThere => Some("the alert file is not there yet; it is read when it appears"),
            Self::PositionLost => Some(
                "the file that was read before is gone; this one is read from its beginning, \
                 and alerts between the two may be missing",
            ),
        }
    }
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
            missing: false,
            in_trouble: false,
            chunk: vec![0; CHUNK].into_boxed_slice(),
        };
        follower.watch.watch_names(path);
        let start = match follower.settle() {
            Ok(start) => {
                // What comes behind the present end comes as it is written.
                follower.backlog = start != Start::AtEnd;
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

    /// Finds the place where to go on. After an error it can be tried again.
    fn settle(&mut self) -> io::Result<Start> {
        self.open = self.open_path()?;
        let start = self.go_to()?;
        self.settled = true;
        Ok(start)
    }

    fn go_to(&mut self) -> io::Result<Start> {
        let Some(position) = &self.left_at else {
            return match &mut self.open {
                Some(open) => {
                    open.seek_to_last_line()?;
                    Ok(Start::AtEnd)
                }
                None => Ok(Start::NotThere),
            };
        };
        // Whatever is the file itself comes before anything that is only like it.
        for as_what in [As::Itself, As::Copy] {
            if let Some(open) = &mut self.open
                && open.is_known_by(position, as_what)?
            {
                open.go_to(position)?;
                return Ok(Start::AtPosition);
            }
            self.rotated = self.find_rotated(position, as_what)?;
            if !self.rotated.is_empty() {
                return Ok(Start::AtPosition);
            }
        }
        Ok(match self.open {
            Some(_) => Start::PositionLost,
            None => Start::NotThere,
        })
    }

    /// The file of the position, and those that came between it and the present one; empty when it is not found.
    fn find_rotated(&self, position: &Position, as_what: As) -> io::Result<VecDeque<Open>> {
        let mut found = VecDeque::new();
        for file in rotated::since(&self.path, position, as_what)? {
            let mut open = Open::new(file, Some(position.repeatable()))?;
            if found.is_empty() {
                open.go_to(position)?;
            }
            found.push_back(open);
        }
        Ok(found)
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
                ..Position::default()
            },
            |open| open.read_to.clone(),
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
                    if batches.send(batch).await.is_err() {
                        return Ok(());
                    }
                    continue;
                }
                Ok(None) => self.backlog = false,
                Err(error) => self.trouble(&error),
            }
            if self.watch.is_blind() && self.watch.look_again(&self.path, self.open.as_ref()) {
                continue;
            }
            let waits_for_it = self.in_trouble || self.missing;
            tokio::select! {
                changed = self.watch.changed(waits_for_it.then_some(LOOK_AGAIN)) => changed?,
                () = batches.closed() => return Ok(()),
            }
        }
    }

    fn trouble(&mut self, error: &io::Error) {
        self.backlog = true;
        if !std::mem::replace(&mut self.in_trouble, true) {
            let path = self.path.display();
            tracing::error!("cannot read `{path}`, trying again until it can be read: {error}");
        }
    }

    /// The next lines; `None` when there is nothing more for the present.
    fn read(&mut self) -> io::Result<Option<Batch>> {
        if !self.settled {
            let start = self.settle()?;
            if let Some(warning) = start.warning() {
                tracing::warn!(alerts = %self.path.display(), "{warning}");
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
        if batch.is_none() && !self.missing && std::mem::take(&mut self.in_trouble) {
            tracing::info!("`{}` can be read again", self.path.display());
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
            position: open.read_to.clone(),
            backlog: self.backlog,
            may_repeat,
        }))
    }

    fn step(&mut self) -> io::Result<Step> {
        if let Some(open) = self.rotated.front_mut() {
            let count = open.read(&mut self.chunk)?;
            if count == 0 {
                self.leave_rotated();
            } else {
                self.cut = Some(self.lines.push(&self.chunk[..count]));
            }
            return Ok(Step::Again);
        }
        let Some(open) = &mut self.open else {
            self.open = self.open_path()?;
            self.missing = self.open.is_none();
            return Ok(match self.missing {
                true => Step::Nothing,
                false => Step::Again,
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
        self.missing = there.is_none();
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
        let mut copies = self.find_rotated(&read_to, As::Copy)?;
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
    fn leave_rotated(&mut self) {
        let last = self.lines.finish();
        if last.is_empty() {
            self.rotated.pop_front();
        } else {
            self.cut = Some(last);
        }
    }

    /// The followed file was replaced. Others may have come and gone before the one that is there.
    fn leave_replaced(&mut self) -> io::Result<()> {
        let last = self.lines.finish();
        if !last.is_empty() {
            self.cut = Some(last);
            return Ok(());
        }
        let Some(read_to) = self.open.as_ref().map(|open| &open.read_to) else {
            return Ok(());
        };
        let repeatable = read_to.repeatable();
        let mut between = self.find_rotated(read_to, As::Itself)?;
        between.pop_front();
        self.rotated.append(&mut between);
        self.open = None;
        self.watch.leave_file();
        self.read_before = Some(repeatable);
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
