//! How far a file has been read: what a restart needs to go on at the same byte.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// Bytes before a position that are kept to know its file again: enough to hold the number or the time of the
/// last alert, as the ends of two lines are often the same.
pub const FINGERPRINT: usize = 1024;

/// What tells one file from another of the same name, as long as neither is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode number; the file system gives it to another file when this one is removed.
    pub inode: u64,
}

impl FileId {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// Files that were read to their ends are remembered, at most this many: more are not rotated within one tick of
/// a file system's clock.
pub const FINISHED_KEPT: usize = 16;

/// A file that was read to its end, as it was then. One that is otherwise was written since, or has come by the
/// inode of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The file.
    pub file: FileId,
    /// Its bytes.
    pub length: u64,
    /// When it was written last by the file system's clock, in nanoseconds after the beginning of 1970 in UTC.
    pub modified_ns: i64,
}

impl Finished {
    pub(super) fn of(file: &Metadata) -> Self {
        Self {
            file: FileId::of(file),
            length: file.len(),
            modified_ns: modified_ns(file),
        }
    }

    /// Adds one to those that are remembered.
    pub(super) fn remember(self, finished: &mut Vec<Self>) {
        finished.retain(|known| known.file != self.file);
        finished.push(self);
        let over = finished.len().saturating_sub(FINISHED_KEPT);
        finished.drain(..over);
    }
}

/// A time that does not fit stops at the ends of what 64 bits of nanoseconds hold.
pub(super) fn modified_ns(file: &Metadata) -> i64 {
    let seconds = file.mtime().saturating_mul(1_000_000_000);
    seconds.saturating_add(file.mtime_nsec())
}

/// A place in a file: everything before it has been handed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The file.
    pub file: FileId,
    /// Bytes before the place. It stands at the beginning of a line.
    pub offset: u64,
    /// The last of these bytes, at most [`FINGERPRINT`]: an inode number alone may have come to another file,
    /// and a truncated file may have grown again.
    pub before: Vec<u8>,
    /// Lines that begin before this offset may have been handed on before (AR-IMP-8): the file is read from its
    /// beginning after another of its name was, or after it was truncated, and may hold again what was read then.
    pub repeats_until: u64,
    /// When the file had been written last as the place was taken, in nanoseconds after the beginning of 1970 in UTC;
    /// `None` when that is not known. What was written later is not read yet, also when this file is gone.
    pub modified_ns: Option<i64>,
    /// Files that were read to their ends before, newest last: one that was written last in the same tick of the
    /// clock as this one cannot be told by its time from one that came after it.
    pub finished: Vec<Finished>,
}

/// What a file may be to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// The file in which the place was taken.
    Itself,
    /// One with the same text: made before the file was truncated, or moved to another file system.
    Copy,
}

impl Position {
    /// The place `offset` in an open file.
    pub(super) fn at(file: &File, id: FileId, offset: u64) -> io::Result<Self> {
        let length = offset.min(FINGERPRINT as u64);
        let mut before = vec![0; usize::try_from(length).unwrap_or(FINGERPRINT)];
        match file.read_exact_at(&mut before, offset - length) {
            Ok(()) => {}
            // Truncated since it was read: there is nothing to know it by, and it is too short.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => before.clear(),
            Err(error) => return Err(error),
        }
        Ok(Self {
            file: id,
            offset,
            before,
            modified_ns: Some(modified_ns(&file.metadata()?)),
            ..Self::default()
        })
    }

    /// How far a file that takes the place of this one's may hold again what was handed on.
    pub(super) fn repeatable(&self) -> u64 {
        self.offset.max(self.repeats_until)
    }

    /// Whether the file is long enough and holds, just before the place, what it held when the place was taken.
    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        if file.metadata()?.len() < self.offset {
            return Ok(false);
        }
        let length = self.before.len();
        let mut there = vec![0; length];
        match file.read_exact_at(&mut there, self.offset - length as u64) {
            Ok(()) => Ok(there == self.before),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a file is that of the place. Without a byte before the place, nothing tells a copy from a file
    /// that is alike: the beginning of a file is only found in the file itself.
    pub(super) fn is_known_in(&self, file: &File, id: FileId, as_what: As) -> io::Result<bool> {
        let asked_for = match as_what {
            As::Itself => id == self.file,
            As::Copy => id != self.file && !self.before.is_empty(),
        };
        Ok(asked_for && self.is_in(file)?)
    }
}
