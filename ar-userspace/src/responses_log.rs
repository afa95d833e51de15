//! Wazuh's log of active responses, `logs/active-responses.log`: one line at a time, appended (AR-LOG-1).
//!
//! A thread of its own writes, so that a slow or full disk delays no ban. Knows the form of a line, and not
//! what is in it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::time::Wall;

/// Entries that may wait for the disk. More are dropped and counted.
const QUEUE: usize = 16_384;

/// The log, which is written to its end when this is dropped after its [`Lines`].
#[derive(Debug)]
pub struct ResponsesLog {
    lines: Option<Lines>,
    thread: Option<JoinHandle<()>>,
}

/// Where lines go in.
#[derive(Clone, Debug)]
pub struct Lines {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
    now: fn() -> Wall,
}

#[derive(Debug)]
struct Entry {
    at: Wall,
    program: String,
    texts: Vec<String>,
}

impl ResponsesLog {
    /// Opens or makes the file. `now` tells the time of each entry.
    ///
    /// # Errors
    ///
    /// When it cannot be opened for appending, or the thread cannot be started.
    pub fn open(path: &Path, now: fn() -> Wall) -> io::Result<Self> {
        let mut writer = Writer::open(path, TimeZone::system())?;
        let (entries, inbox) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Lines {
            entries,
            dropped: Arc::clone(&dropped),
            now,
        };
        let thread = std::thread::Builder::new()
            .name("responses-log".to_owned())
            .spawn(move || writer.work(&inbox, &dropped))?;
        Ok(Self {
            lines: Some(lines),
            thread: Some(thread),
        })
    }

    /// Where lines go in.
    #[must_use]
    pub fn lines(&self) -> Option<Lines> {
        self.lines.clone()
    }
}

impl Drop for ResponsesLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Lines {
    /// Writes one line for each text, in this order. Never waits: what there is no room for is counted.
    pub fn write(&self, program: String, texts: Vec<String>) {
        let entry = Entry {
            at: (self.now)(),
            program,
            texts,
        };
        if self.entries.try_send(entry).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writer {
    path: PathBuf,
    zone: TimeZone,
    file: Option<File>,
    /// The last write ended within a line.
    torn: bool,
    /// Lines that could not be written since the last one that could.
    lost: u64,
}

impl Writer {
    fn open(path: &Path, zone: TimeZone) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            zone,
            file: Some(open(path)?),
            torn: false,
            lost: 0,
        })
    }

    fn work(&mut self, inbox: &Receiver<Entry>, dropped: &AtomicU64) {
        for entry in inbox {
            for text in &entry.texts {
                let line = line(entry.at, &entry.program, text, &self.zone);
                self.write(&line);
            }
            let dropped = dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::error!(
                    dropped,
                    file = %self.path.display(),
                    "the log of active responses cannot keep up: entries were dropped"
                );
            }
        }
    }

    /// A line that cannot be written is lost, which is told once until one can be.
    fn write(&mut self, line: &str) {
        match self.try_write(line) {
            Ok(()) if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                tracing::warn!(
                    lost,
                    file = %self.path.display(),
                    "the log of active responses is written again; lines were lost"
                );
            }
            Ok(()) => {}
            Err(error) => {
                if self.lost == 0 {
                    tracing::error!(
                        file = %self.path.display(),
                        "cannot write the log of active responses: {error}"
                    );
                }
                self.lost += 1;
            }
        }
    }

    /// One write for a whole line, so that lines of other writers never stand within it.
    fn try_write(&mut self, line: &str) -> io::Result<()> {
        self.follow_rotation()?;
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let end = if self.torn { "\n" } else { "" };
        let whole = format!("{end}{line}\n");
        let written = file.write(whole.as_bytes())?;
        self.torn = written < whole.len();
        if self.torn {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// Opens the file anew when another has its name, or none does.
    fn follow_rotation(&mut self) -> io::Result<()> {
        let place = |found: fs::Metadata| (found.dev(), found.ino());
        let ours = match &self.file {
            Some(file) => Some(place(file.metadata()?)),
            None => None,
        };
        let named = fs::metadata(&self.path).ok().map(place);
        if ours.is_none() || named != ours {
            self.file = None;
            self.file = Some(open(&self.path)?);
            self.torn = false;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// A line without its end, in local time. Control characters are made visible: a line stays one line.
fn line(at: Wall, program: &str, text: &str, zone: &TimeZone) -> String {
    let time = Timestamp::from_nanosecond(i128::from(at.as_nanos())).unwrap_or_default();
    let time = time.to_zoned_datetime(zone.clone());
    let time = time.strftime("%Y/%m/%d %H:%M:%S");
    let mut line = format!("{time} {program}: ");
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_debug());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24 06:00:00 in UTC.
    const AT: Wall = Wall::from_nanos(1_795_500_000_000_000_000);

    fn writer(path: &Path) -> Writer {
        Writer::open(path, TimeZone::UTC).unwrap()
    }

    /// AR-LOG-1
    #[test]
    fn a_line_is_time_program_and_text() {
        let check = |text: &str, zone: TimeZone, expected: &str| {
            assert_eq!(line(AT, "active-response/bin/deny", text, &zone), expected);
        };
        check(
            "Starting",
            TimeZone::UTC,
            "2026/11/24 06:00:00 active-response/bin/deny: Starting",
        );
        check(
            "Ended",
            TimeZone::fixed(jiff::tz::offset(-7)),
            "2026/11/23 23:00:00 active-response/bin/deny: Ended",
        );
        check(
            "a\nb\u{1b}[31m \u{fc}",
            TimeZone::UTC,
            "2026/11/24 06:00:00 active-response/bin/deny: a\\nb\\u{1b}[31m \u{fc}",
        );
    }

    /// AR-LOG-1
    #[test]
    fn lines_follow_the_name_when_the_file_is_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("ar.log"), dir.path().join("ar.log.1"));
        fs::write(&path, "before\n").unwrap();
        let mut writer = writer(&path);
        writer.write("one");
        fs::rename(&path, &old).unwrap();
        writer.write("two");
        fs::remove_file(&path).unwrap();
        writer.write("three");
        File::options()
            .write(true)
            .truncate(true)
            .open(&path)
            .unwrap();
        writer.write("four");
        assert_eq!(fs::read_to_string(&old).unwrap(), "before\none\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_full_disk_loses_lines_and_nothing_else() {
        let mut writer = writer(Path::new("/dev/full"));
        writer.write("one");
        writer.write("two");
        assert_eq!(writer.lost, 2);
        let dir = tempfile::tempdir().unwrap();
        writer.path = dir.path().join("ar.log");
        writer.write("three");
        assert_eq!(writer.lost, 0);
        assert_eq!(fs::read_to_string(&writer.path).unwrap(), "three\n");
    }

    #[test]
    fn everything_is_written_when_the_log_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ar.log");
        let log = ResponsesLog::open(&path, || AT).unwrap();
        let lines = log.lines().unwrap();
        for _ in 0..1_000 {
            lines.write("p".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        }
        drop(lines);
        drop(log);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2_000);
    }
}
