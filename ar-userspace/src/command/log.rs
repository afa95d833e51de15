//! Where the daemon's log goes: to standard error, or to the journal when that is where standard error goes.
//!
//! A thread writes, so that a burst of bans does not wait for a terminal or a journal.

mod journal;

use std::io;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::colours::Colours;
use journal::Journal;

/// Bytes that are written in one go.
const AT_ONCE: usize = 64 * 1024;

/// Levels by `ARFW_LOG`, in the syntax of `tracing`; `info` without it.
///
/// The value that is given writes the last lines when dropped.
pub(super) fn start() -> WorkerGuard {
    let filter = EnvFilter::try_from_env("ARFW_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    if journal::is_at(&stream, io::stderr())
        && let Ok((journal, guard)) = Journal::open()
    {
        let subscriber = tracing_subscriber::registry().with(filter).with(journal);
        subscriber.init();
        return guard;
    }
    // Lines that nobody takes slow the daemon down rather than being lost. The thread writes what has come until it finds
    // nothing more, and no line in two pieces.
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(false)
        .finish(io::BufWriter::with_capacity(AT_ONCE, io::stderr()));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(Colours::errors().is_on())
        .with_writer(writer)
        .init();
    guard
}
