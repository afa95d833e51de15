//! Follows one file by inotify: what is appended, what takes its place, and from where a start goes on.
//!
//! The file itself is watched for writes, because Wazuh writes `alerts.json` through another hard link,
//! in another directory. Its directory is watched for names that come and go.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::lines::{Batch, Cut, Lines};
use super::position::{As, FileId, Position};
use super::rotated;

/// Bytes that are read in one go.
pub const CHUNK: usize = 256 * 1024;

/// A file that is followed.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    // Not a pipe, but read like one: the runtime waits for any descriptor in the same way.
    inotify: pipe::Receiver,
    /// Files that were rotated away before the start and are read first, in this order.
    rotated: VecDeque<Open>,
    open: Option<Open>,
    lines: Lines,
    chunk: Box<[u8]>,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    /// Bytes that were read.
    offset: u64,
    /// The descriptor of the watch; a rotated file needs none.
    watch: Option<i32>,
    /// The latest position that was handed on, to see that the file was not written anew behind it.
    read_to: Position,
}

/// Where a start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the end of the file: nothing is known of it.
    AtEnd,
    /// The file is not there yet and is read from its beginning when it appears.
    NotThere,
    /// At the position, in the file or in one that it was before it was rotated.
    AtPosition,
    /// At the beginning of the file: what the position belongs to is not there any more.
    PositionLost,
}

impl Follower {
    /// Watches `path` and goes on at `position`, or at the present end when there is none. Must be called
    /// within a runtime.
    ///
    /// # Errors
    ///
    /// When the directory does not exist or cannot be watched, or the file cannot be read.
    pub fn start(path: &Path, position: Option<&Position>) -> io::Result<(Self, Start)> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let names = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, directory_of(path), names)?;
        let mut follower = Self {
            path: path.to_owned(),
            inotify: pipe::Receiver::from_owned_fd_unchecked(inotify)?,
            rotated: VecDeque::new(),
            open: None,
            lines: Lines::default(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
        };
        follower.open = follower.open_path()?;
        let start = follower.go_to(position)?;
        Ok((follower, start))
    }

    fn go_to(&mut self, position: Option<&Position>) -> io::Result<Start> {
        let Some(position) = position else {
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
                && position.is_known_in(&open.file, open.id, as_what)?
            {
                open.seek(position.offset)?;
                return Ok(Start::AtPosition);
            }
            for file in rotated::since(&self.path, position, as_what)? {
                self.rotated.push_back(Open::new(file, None)?);
            }
            if let Some(first) = self.rotated.front_mut() {
                first.seek(position.offset)?;
                return Ok(Start::AtPosition);
            }
        }
        Ok(match self.open {
            Some(_) => Start::PositionLost,
            None => Start::NotThere,
        })
    }

    /// Where the next line to be read begins. Before anything of a file that is not there yet, it is the
    /// default, which no file is known by: whatever appears is then new.
    #[must_use]
    pub fn position(&self) -> Position {
        let open = self.rotated.front().or(self.open.as_ref());
        open.map_or_else(Position::default, |open| open.read_to.clone())
    }

    /// Reads for ever and hands batches on; ends when nobody takes them, or on an error.
    ///
    /// # Errors
    ///
    /// When the file or the watch cannot be read.
    pub async fn follow(mut self, batches: mpsc::Sender<Batch>) -> io::Result<()> {
        loop {
            while let Some(batch) = self.read()? {
                if batches.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                changed = changed(&self.inotify) => changed?,
                () = batches.closed() => return Ok(()),
            }
        }
    }

    /// The next lines; `None` when there is nothing more for the present.
    fn read(&mut self) -> io::Result<Option<Batch>> {
        loop {
            let cut = match self.step()? {
                Step::Cut(cut) => cut,
                Step::Again => continue,
                Step::Nothing => return Ok(None),
            };
            let Some(open) = self.rotated.front_mut().or(self.open.as_mut()) else {
                return Ok(None);
            };
            let end = open.offset - self.lines.unfinished();
            open.read_to = Position::at(&open.file, open.id, end)?;
            if !cut.is_empty() {
                let position = open.read_to.clone();
                return Ok(Some(Batch { cut, position }));
            }
        }
    }

    fn step(&mut self) -> io::Result<Step> {
        if let Some(open) = self.rotated.front_mut() {
            let count = open.read(&mut self.chunk)?;
            if count > 0 {
                return Ok(Step::Cut(self.lines.push(&self.chunk[..count])));
            }
            return self.leave_rotated();
        }
        let Some(open) = &mut self.open else {
            self.open = self.open_path()?;
            return Ok(if self.open.is_some() {
                Step::Again
            } else {
                Step::Nothing
            });
        };
        if !open.read_to.is_in(&open.file)? {
            // Copied and truncated: what stands there is new from its first byte. What had not ended yet
            // is in the copy, and is handed on as far as it was read.
            let last = self.lines.finish();
            open.seek(0)?;
            return Ok(Step::Cut(last));
        }
        let count = open.read(&mut self.chunk)?;
        if count > 0 {
            return Ok(Step::Cut(self.lines.push(&self.chunk[..count])));
        }
        let replaced = match std::fs::metadata(&self.path) {
            Ok(there) => FileId::of(&there) != open.id,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !replaced {
            return Ok(Step::Nothing);
        }
        // The old file may have grown between its end and the look at the name.
        let count = open.read(&mut self.chunk)?;
        if count > 0 {
            return Ok(Step::Cut(self.lines.push(&self.chunk[..count])));
        }
        self.leave_replaced()
    }

    /// A rotated file is at its end: its last line has no successor that could finish it.
    fn leave_rotated(&mut self) -> io::Result<Step> {
        let last = self.lines.finish();
        if last.is_empty() {
            self.rotated.pop_front();
            return Ok(Step::Again);
        }
        Ok(Step::Cut(last))
    }

    /// The followed file was replaced. Others may have come and gone before the one that is there.
    fn leave_replaced(&mut self) -> io::Result<Step> {
        let last = self.lines.finish();
        if !last.is_empty() {
            return Ok(Step::Cut(last));
        }
        if let Some(open) = self.open.take() {
            if let Some(watch) = open.watch {
                // The kernel has dropped the watch by itself when the file is gone.
                let _ = inotify::remove_watch(&self.inotify, watch);
            }
            for file in rotated::since(&self.path, &open.read_to, As::Itself)?
                .into_iter()
                .skip(1)
            {
                self.rotated.push_back(Open::new(file, None)?);
            }
        }
        Ok(Step::Again)
    }

    fn open_path(&self) -> io::Result<Option<Open>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // The watch goes on the opened file and not on the name, which may mean another one by now.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = inotify::add_watch(&self.inotify, by_descriptor, WatchFlags::MODIFY)?;
        Open::new(file, Some(watch)).map(Some)
    }
}

/// What one look at the files gave.
enum Step {
    Cut(Cut),
    Again,
    Nothing,
}

impl Open {
    fn new(file: File, watch: Option<i32>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let id = FileId::of(&metadata);
        Ok(Self {
            file,
            id,
            offset: 0,
            watch,
            read_to: Position {
                file: id,
                ..Position::default()
            },
        })
    }

    fn seek(&mut self, offset: u64) -> io::Result<()> {
        self.offset = self.file.seek(SeekFrom::Start(offset))?;
        self.read_to = Position::at(&self.file, self.id, offset)?;
        Ok(())
    }

    /// Goes behind the last line that has ended: one that is being written at this moment is new.
    fn seek_to_last_line(&mut self) -> io::Result<()> {
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

    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(chunk)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// The directory in which a path stands.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Waits until anything that is watched changes, and takes the notices off the queue.
///
/// What they say does not matter: the reader looks at the file itself, so that an overflow of the
/// kernel's queue loses nothing.
async fn changed(inotify: &pipe::Receiver) -> io::Result<()> {
    loop {
        inotify.readable().await?;
        match inotify.try_read(&mut [0; 4096]) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
