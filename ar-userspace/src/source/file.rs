//! Follows one file by inotify: what is appended, and what takes its place.
//!
//! The file itself is watched for writes, because Wazuh writes `alerts.json` through another hard link,
//! in another directory. Its directory is watched for names that come and go.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::lines::{Batch, Lines};

/// Bytes that are read in one go.
pub const CHUNK: usize = 256 * 1024;

/// A file that is followed.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    // Not a pipe, but read like one: the runtime waits for any descriptor in the same way.
    inotify: pipe::Receiver,
    open: Option<Open>,
    lines: Lines,
    chunk: Box<[u8]>,
}

#[derive(Debug)]
struct Open {
    file: File,
    id: FileId,
    offset: u64,
    watch: i32,
}

/// What tells one file from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(file: &std::fs::Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

impl Follower {
    /// Watches `path` and stands at its present end. Must be called within a runtime.
    ///
    /// The file need not exist: it is then read from its beginning as soon as it appears.
    ///
    /// # Errors
    ///
    /// When the directory does not exist or cannot be watched, or the file cannot be opened.
    pub fn at_end(path: &Path) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        inotify::add_watch(
            &inotify,
            directory,
            WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR,
        )?;
        let mut follower = Self {
            path: path.to_owned(),
            inotify: pipe::Receiver::from_owned_fd_unchecked(inotify)?,
            open: None,
            lines: Lines::default(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
        };
        follower.open = follower.open_path()?;
        if let Some(open) = &mut follower.open {
            open.offset = open.file.seek(SeekFrom::End(0))?;
        }
        Ok(follower)
    }

    /// Whether the file was there when last looked for.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Reads for ever and hands batches on; ends when nobody takes them, or on an error.
    ///
    /// # Errors
    ///
    /// When the file or the watch cannot be read.
    pub async fn follow(mut self, batches: mpsc::Sender<Batch>) -> io::Result<()> {
        loop {
            while let Some(batch) = self.read()? {
                if !batch.is_empty() && batches.send(batch).await.is_err() {
                    return Ok(());
                }
            }
            tokio::select! {
                changed = changed(&self.inotify) => changed?,
                () = batches.closed() => return Ok(()),
            }
        }
    }

    /// The next bytes as a batch; `None` when there is nothing more for the present.
    fn read(&mut self) -> io::Result<Option<Batch>> {
        loop {
            let Some(open) = &mut self.open else {
                self.open = self.open_path()?;
                if self.open.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let count = open.file.read(&mut self.chunk)?;
            if count > 0 {
                open.offset += count as u64;
                return Ok(Some(self.lines.push(&self.chunk[..count], open.offset)));
            }
            if open.file.metadata()?.len() < open.offset {
                // Copied and truncated: what stands there is new from its first byte.
                let last = self.lines.finish(open.offset);
                open.offset = open.file.seek(SeekFrom::Start(0))?;
                return Ok(Some(last));
            }
            let replaced = match std::fs::metadata(&self.path) {
                Ok(there) => FileId::of(&there) != open.id,
                Err(error) if error.kind() == io::ErrorKind::NotFound => false,
                Err(error) => return Err(error),
            };
            if !replaced {
                return Ok(None);
            }
            // The old file may have grown between its end and the look at the name.
            let count = open.file.read(&mut self.chunk)?;
            if count > 0 {
                open.offset += count as u64;
                return Ok(Some(self.lines.push(&self.chunk[..count], open.offset)));
            }
            let last = self.lines.finish(open.offset);
            // The kernel has dropped the watch by itself when the file is gone.
            let _ = inotify::remove_watch(&self.inotify, open.watch);
            self.open = None;
            return Ok(Some(last));
        }
    }

    fn open_path(&self) -> io::Result<Option<Open>> {
        let not_found = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(None),
            _ => Err(error),
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) => return not_found(error),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // The watch goes on the opened file and not on the name, which may mean another one by now.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watch = inotify::add_watch(&self.inotify, by_descriptor, WatchFlags::MODIFY)?;
        Ok(Some(Open {
            file,
            id: FileId::of(&metadata),
            offset: 0,
            watch,
        }))
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    struct Followed {
        directory: tempfile::TempDir,
        batches: mpsc::Receiver<Batch>,
        task: tokio::task::JoinHandle<io::Result<()>>,
    }

    impl Followed {
        fn start(directory: tempfile::TempDir) -> Self {
            let (sender, batches) = mpsc::channel(super::super::QUEUE);
            let follower = Follower::at_end(&directory.path().join("alerts.json")).unwrap();
            Self {
                directory,
                batches,
                task: tokio::spawn(follower.follow(sender)),
            }
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("alerts.json")
        }

        fn append(&self, text: &str) {
            append(&self.path(), text);
        }

        async fn expect(&mut self, lines: &[&str]) {
            let mut seen = Vec::new();
            while seen.len() < lines.len() {
                let batch = tokio::time::timeout(Duration::from_secs(10), self.batches.recv())
                    .await
                    .expect("a batch within ten seconds")
                    .expect("the follower still runs");
                seen.extend(
                    batch
                        .lines()
                        .map(|line| String::from_utf8(line.to_vec()).unwrap()),
                );
            }
            assert_eq!(seen, lines);
        }

        async fn stop(mut self) {
            self.batches.close();
            assert!(
                self.batches.recv().await.is_none(),
                "a line that nobody wrote"
            );
            self.task.await.unwrap().unwrap();
        }
    }

    fn append(path: &Path, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[tokio::test(flavor = "current_thread")]
    async fn only_what_is_appended_is_read() {
        let directory = tempfile::tempdir().unwrap();
        append(&directory.path().join("alerts.json"), "old\n");
        let mut followed = Followed::start(directory);
        followed.append("one\ntwo\nthr");
        followed.expect(&["one", "two"]).await;
        followed.append("ee\n");
        followed.expect(&["three"]).await;
        followed.stop().await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_file_that_appears_later_is_read_from_its_beginning() {
        let mut followed = Followed::start(tempfile::tempdir().unwrap());
        followed.append("first\n");
        followed.expect(&["first"]).await;
        followed.stop().await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_renamed_file_is_drained_before_its_successor() {
        let mut followed = Followed::start(tempfile::tempdir().unwrap());
        followed.append("one\n");
        followed.expect(&["one"]).await;
        followed.append("two\nunfinished");
        fs::rename(
            followed.path(),
            followed.directory.path().join("alerts.json.1"),
        )
        .unwrap();
        followed.append("three\n");
        followed.expect(&["two", "unfinished", "three"]).await;
        followed.append("four\n");
        followed.expect(&["four"]).await;
        followed.stop().await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_truncated_file_is_read_from_its_beginning() {
        let mut followed = Followed::start(tempfile::tempdir().unwrap());
        followed.append("a line that is longer than the next\n");
        followed
            .expect(&["a line that is longer than the next"])
            .await;
        File::create(followed.path()).unwrap();
        followed.append("short\n");
        followed.expect(&["short"]).await;
        followed.stop().await;
    }

    /// Wazuh writes a dated file and makes `alerts.json` a hard link of it, anew each day.
    #[tokio::test(flavor = "current_thread")]
    async fn a_hard_link_that_another_directory_writes_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let dated = directory.path().join("2026");
        fs::create_dir(&dated).unwrap();
        append(&dated.join("day-1.json"), "");
        fs::hard_link(
            dated.join("day-1.json"),
            directory.path().join("alerts.json"),
        )
        .unwrap();
        let mut followed = Followed::start(directory);
        append(&dated.join("day-1.json"), "one\n");
        followed.expect(&["one"]).await;
        append(&dated.join("day-1.json"), "two\n");
        fs::remove_file(followed.path()).unwrap();
        append(&dated.join("day-2.json"), "three\n");
        fs::hard_link(dated.join("day-2.json"), followed.path()).unwrap();
        followed.expect(&["two", "three"]).await;
        append(&dated.join("day-2.json"), "four\n");
        followed.expect(&["four"]).await;
        followed.stop().await;
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_directory_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nowhere").join("alerts.json");
        assert_eq!(
            Follower::at_end(&path).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
