//! One opened file: how far it was read, and what was read last.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use crate::source::position::{As, FileId, Finished, Position};

/// A file that is read.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    pub(super) id: FileId,
    /// Bytes that were read.
    pub(super) offset: u64,
    /// The latest position that was handed on, to see that the file was not written anew behind it.
    pub(super) read_to: Position,
}

impl Open {
    /// A file that is read from its beginning, and of which as many bytes as `read_before`, or as it has by now,
    /// may hold lines that were handed on before; `None` when nothing was.
    pub(super) fn new(file: File, read_before: Option<u64>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let id = FileId::of(&metadata);
        let read_to = Position {
            file: id,
            repeats_until: read_before.map_or(0, |read| read.max(metadata.len())),
            ..Position::default()
        };
        Ok(Self {
            file,
            id,
            offset: 0,
            read_to,
        })
    }

    /// Goes to where an earlier reader was, who knew how far lines may be repeated.
    pub(super) fn go_to(&mut self, position: &Position) -> io::Result<()> {
        self.read_to.repeats_until = position.repeats_until;
        self.seek(position.offset)
    }

    /// Goes to the beginning, because the file was written anew.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.read_to.repeats_until = self.read_to.repeatable().max(length);
        self.seek(0)
    }

    /// Goes behind the last line that has ended: one that is being written at this moment is new.
    pub(super) fn seek_to_last_line(&mut self) -> io::Result<()> {
        let mut end = self.file.metadata()?.len();
        let mut tail = [0; 4096];
        while end > 0 {
            let length = end.min(tail.len() as u64);
            let tail = &mut tail[..usize::try_from(length).unwrap_or(0)];
            self.file.read_exact_at(tail, end - length)?;
            if let Some(newline) = memchr::memrchr(b'\n', tail) {
                end = end - length + newline as u64 + 1;
                break;
            }
            end -= length;
        }
        self.seek(end)
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        self.hand_on(offset)
    }

    pub(super) fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(chunk)?;
        self.offset += count as u64;
        Ok(count)
    }

    /// Bytes that have not been read yet.
    pub(super) fn unread(&self) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        Ok(length.saturating_sub(self.offset))
    }

    /// Notes that everything before `offset` is handed on.
    pub(super) fn hand_on(&mut self, offset: u64) -> io::Result<()> {
        self.read_to = Position {
            repeats_until: self.read_to.repeats_until,
            ..Position::at(&self.file, self.id, offset)?
        };
        Ok(())
    }

    /// Whether it still holds what was handed on last.
    pub(super) fn is_as_it_was(&self) -> io::Result<bool> {
        self.read_to.is_in(&self.file)
    }

    /// The file as it is at its end.
    pub(super) fn finished(&self) -> io::Result<Finished> {
        Ok(Finished::of(&self.file.metadata()?))
    }

    pub(super) fn is_known_by(&self, position: &Position, as_what: As) -> io::Result<bool> {
        position.is_known_in(&self.file, self.id, as_what)
    }
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
