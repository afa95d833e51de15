//! The log as records of systemd's journal: its native protocol, a datagram each, with the fields of an event as fields.
//!
//! The crate tracing-journald sends from the thread that logs, and would have the daemon wait for a journal that takes
//! nothing. Here a thread sends. What it has no room for is counted, and told once there is.

use std::fmt;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, OnceLock};

use rustix::fs::fstat;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FormatFields as _;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

/// Where the journal listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// What stands before the name of each field that is ours.
const PREFIX: &str = "ARFW_";

/// Bytes that the name of a field may have in the journal.
const MAX_NAME: usize = 64;

/// Whether a file is the one that `JOURNAL_STREAM` tells: device and inode of the stream to the journal.
pub(super) fn is_at(stream: &str, file: impl AsFd) -> bool {
    let numbers = stream.split_once(':');
    let told =
        numbers.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let found = fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino));
    told.is_some() && told == found
}

/// Hands events to the thread that sends them.
pub(super) struct Journal {
    records: NonBlocking,
}

impl Journal {
    /// Starts that thread. The guard sends what waits when it is dropped, but waits no longer than a second for it.
    pub(super) fn open() -> io::Result<(Self, WorkerGuard)> {
        let lost = Arc::new(OnceLock::new());
        let sender = Sender {
            socket: UnixDatagram::unbound()?,
            lost: Arc::clone(&lost),
            told: 0,
        };
        let (records, guard) = NonBlockingBuilder::default().lossy(true).finish(sender);
        let _ = lost.set(records.error_counter());
        Ok((Self { records }, guard))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Never fails and never waits.
        let _ = self.records.clone().write_all(&of(event));
    }
}

/// The thread's end.
struct Sender {
    socket: UnixDatagram,
    /// Records for which there was no room.
    lost: Arc<OnceLock<ErrorCounter>>,
    /// Of these, how many were told.
    told: usize,
}

impl Write for Sender {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.send(record);
        let lost = self.lost.get().map_or(0, ErrorCounter::dropped_lines);
        let untold = lost - self.told;
        if untold > 0 {
            let what = format!(
                "{untold} records of the log were lost, as the journal did not take them in time"
            );
            let mut record = begin(Level::ERROR, &what);
            put(&mut record, "ARFW_LOST", &untold.to_string());
            self.send(&record);
            self.told = lost;
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sender {
    /// By the path each time, as a journal that was started anew has another socket there. Without one the text goes to
    /// standard error.
    fn send(&self, record: &[u8]) {
        if self.socket.send_to(record, SOCKET).is_err() {
            // There is nowhere else to tell it.
            let _ = io::stderr().write_all(line(record).as_bytes());
        }
    }
}

/// An event as a record.
fn of(event: &Event<'_>) -> Vec<u8> {
    let mut message = String::new();
    // Writing to a string cannot fail.
    let _ = DefaultFields::new().format_fields(Writer::new(&mut message), event);
    let mut record = begin(*event.metadata().level(), &message);
    event.record(&mut Fields(&mut record));
    record
}

/// A record with a text and nothing else.
fn begin(level: Level, message: &str) -> Vec<u8> {
    // As sd-daemon(3) counts them.
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut record = Vec::with_capacity(512);
    put(&mut record, "PRIORITY", priority);
    put(&mut record, "SYSLOG_IDENTIFIER", "arfw");
    put(&mut record, "MESSAGE", message);
    record
}

/// A text with a line break is told with its length, so that it cannot begin another field.
fn put(record: &mut Vec<u8>, name: &str, value: &str) {
    record.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        record.push(b'\n');
        record.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        record.push(b'=');
    }
    record.extend_from_slice(value.as_bytes());
    record.push(b'\n');
}

/// The text of a record as a line, with its priority as journals read it from standard error.
fn line(record: &[u8]) -> String {
    // As `begin` has written them.
    let mut fields = record.splitn(3, |&byte| byte == b'\n');
    let priority = fields.next().and_then(|field| field.last());
    let message = fields.nth(1).unwrap_or_default();
    let length = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
    let text = match message.strip_prefix(b"MESSAGE\n") {
        Some(broken) => broken.split_at_checked(8).and_then(|(bytes, text)| {
            let length = usize::try_from(length(bytes)?).ok()?;
            text.get(..length)
        }),
        None => message
            .strip_prefix(b"MESSAGE=")
            .and_then(|text| text.split(|&byte| byte == b'\n').next()),
    };
    let text = String::from_utf8_lossy(text.unwrap_or_default());
    let priority = char::from(*priority.unwrap_or(&b'6'));
    format!("<{priority}>{}\n", text.replace('\n', "\\n"))
}

/// Puts the fields of an event into a record.
struct Fields<'a>(&'a mut Vec<u8>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // What is told of a line of another crate's log is in the text.
        if field.name() == "message" || field.name().starts_with("log.") {
            return;
        }
        let name = |byte: char| {
            if byte.is_ascii_alphanumeric() {
                byte.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        let name: String = PREFIX
            .chars()
            .chain(field.name().chars().map(name))
            .take(MAX_NAME)
            .collect();
        put(self.0, &name, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_is_told_is_the_journals() {
        let file = tempfile::tempfile().unwrap();
        let stat = fstat(&file).unwrap();
        let (device, inode) = (stat.st_dev, stat.st_ino);
        assert!(is_at(&format!("{device}:{inode}"), &file));
        for other in [
            format!("{device}:{}", inode + 1),
            format!("{}:{inode}", device + 1),
            format!("{device}"),
            "a:b".to_owned(),
            String::new(),
        ] {
            assert!(!is_at(&other, &file), "{other}");
        }
    }

    #[test]
    fn a_text_with_line_breaks_begins_no_field() {
        let mut record = begin(Level::WARN, "one\nPRIORITY=0");
        put(&mut record, "ARFW_WHY", "plain = text");
        let mut expected = b"PRIORITY=4\nSYSLOG_IDENTIFIER=arfw\nMESSAGE\n".to_vec();
        expected.extend_from_slice(b"\x0e\0\0\0\0\0\0\0one\nPRIORITY=0\nARFW_WHY=plain = text\n");
        assert_eq!(record, expected);
    }

    #[test]
    fn without_a_journal_a_record_is_a_line() {
        assert_eq!(line(&begin(Level::ERROR, "no room")), "<3>no room\n");
        let mut record = begin(Level::INFO, "ready a=1");
        put(&mut record, "ARFW_A", "1");
        assert_eq!(line(&record), "<6>ready a=1\n");
        let mut record = begin(Level::DEBUG, "one\n<0>two\n");
        put(&mut record, "ARFW_A", "1");
        assert_eq!(line(&record), "<7>one\\n<0>two\\n\n");
    }
}
