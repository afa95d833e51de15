//! What this machine allows at best: how soon anybody can know of a write, and what starting a program costs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::probe::Probe;
use crate::interrupt::Interrupt;

/// The least that a follower of a file has to do: it waits for inotify, reads what was appended, and does nothing.
pub(super) struct Reader {
    path: PathBuf,
    file: File,
    seen: Receiver<Instant>,
    seen_flag: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Reader {
    /// Makes a file at `path` and waits for its growth on a thread.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let watch = inotify::init(CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, path, WatchFlags::MODIFY)?;
        let mut watch = File::from(watch);
        let mut followed = File::open(path)?;
        let (sender, seen) = mpsc::channel();
        let (seen_flag, stop) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let thread = thread::spawn({
            let (seen_flag, stop) = (seen_flag.clone(), stop.clone());
            move || {
                let mut buffer = vec![0; 256 * 1024];
                loop {
                    // What they say does not matter; an event and a line are small enough for one read.
                    let _notice = watch.read(&mut buffer)?;
                    let _line = followed.read(&mut buffer)?;
                    let at = Instant::now();
                    if stop.load(Ordering::Acquire) || sender.send(at).is_err() {
                        return Ok(());
                    }
                    seen_flag.store(true, Ordering::Release);
                }
            }
        });
        Ok(Self {
            path: path.to_owned(),
            file,
            seen,
            seen_flag,
            stop,
            thread: Some(thread),
        })
    }

    /// Appends `line` and returns how long after the start of the write the other thread had it.
    ///
    /// Meanwhile this thread sends through `probe`, as it does while a ban is awaited.
    pub(super) fn time(
        &mut self,
        line: &str,
        probe: &mut Probe,
        interrupt: &Interrupt,
    ) -> Result<Duration> {
        self.seen_flag.store(false, Ordering::Release);
        let start = Instant::now();
        self.file.write_all(line.as_bytes())?;
        while !self.seen_flag.load(Ordering::Acquire) {
            interrupt.check()?;
            probe.send()?;
        }
        let seen = self.seen.recv().context("the reader has ended")?;
        Ok(seen - start)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes it up. When that fails, waiting for it would be for ever.
        if self.file.write_all(b"\n").is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// How long it takes to start the program `true` and to see it end: what an executable per alert costs at least.
pub(super) fn run_true() -> Result<Duration> {
    let start = Instant::now();
    let mut command = Command::new("true");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().context("cannot start `true`")?;
    Ok(start.elapsed())
}
