//! For how long the oldest of what waits may have waited, as far as that can be known.
//!
//! Nobody tells when a byte was written. Two things bound it: nothing that waits was there when nothing waited, and
//! it was written after the alert before it, which has a time stamp. A time stamp in the future is not believed, so
//! that a writer whose clock is ahead does not make what waits look young.

use jiff::Timestamp;

use super::Daemon;
use crate::alert::{Alert, Context};
use crate::source::Batch;
use crate::time::{Clocks, Moment, Wall};

/// What is known of what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// When nothing waited, the last time that this is sure; `None` when something was there before the daemon.
    clear: Option<Moment>,
    /// When nothing waited at the last look, as far as the reader had noticed by then.
    seems_clear: Option<Moment>,
    /// When the alert that was decided last was written, by its own time stamp.
    decided: Option<Moment>,
    /// When it was first seen that something waits.
    seen: Option<Moment>,
}

impl Lag {
    /// Nothing waits, and the file has just been looked at.
    pub(super) fn is_clear(&mut self, now: Moment) {
        self.clear = Some(now);
    }

    /// A look, now and then, at how many bytes wait in a file that can be read. What was written shortly before it
    /// may not have been noticed; by the next look it has been.
    pub(super) fn look(&mut self, behind: u64, now: Moment) {
        if behind == 0 {
            self.clear = self.seems_clear.replace(now).or(self.clear);
            self.seen = None;
        } else {
            self.seems_clear = None;
            self.seen = self.seen.or(Some(now));
        }
    }

    /// What waits was there before anybody read.
    pub(super) fn is_backlog(&mut self) {
        self.clear = None;
        self.seems_clear = None;
    }

    /// An alert was decided.
    pub(super) fn decided(&mut self, context: &Context<'_>, clocks: Clocks) {
        let written_ns = context.written_at(None).map(Timestamp::as_nanosecond);
        let written = written_ns.and_then(|it| i64::try_from(it).ok());
        let written = written.map(|ns| clocks.moment_at(Wall::from_nanos(ns)));
        self.decided = written.filter(|&at| at <= clocks.moment).or(self.decided);
    }

    /// Seconds. Without any bound it is what was seen of the wait.
    pub(super) fn seconds(&self, behind: u64, now: Moment) -> f64 {
        if behind == 0 {
            return 0.0;
        }
        let since = self.clear.max(self.decided).or(self.seen);
        since.map_or(0.0, |since| now.since(since).as_secs_f64())
    }
}

impl Daemon {
    /// Notes whether anything waits; not of a file that nobody can look at.
    pub(super) fn look_at_lag(&mut self, now: Moment) {
        if self.can_read() {
            self.lag.look(self.load.behind_bytes(), now);
        }
    }

    pub(super) fn can_read(&self) -> bool {
        let condition = self.condition.borrow();
        condition.trouble.is_none() && !condition.missing
    }

    /// Notes when the last alert of a batch was written; of no interest when nothing waits behind it.
    pub(super) fn note_decided(&mut self, batch: &Batch, clocks: Clocks) {
        if self.load.behind_bytes() == 0 {
            return;
        }
        let last = batch.cut.lines().last().unwrap_or_default();
        if let Ok(alert) = Alert::parse_lossy(last, &mut String::new()) {
            self.lag.decided(&alert.context, clocks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    /// An alert that was written at second `written` is decided at second `now`.
    fn decide(lag: &mut Lag, written: u64, now: u64) {
        let clocks = Clocks {
            moment: at(now),
            wall: Wall::from_nanos(i64::try_from(now).unwrap() * 1_000_000_000),
        };
        let line = format!(r#"{{"TimeStamp":{}}}"#, written * 1000);
        lag.decided(&Alert::parse(line.as_bytes()).unwrap().context, clocks);
    }

    #[track_caller]
    fn check(lag: &Lag, behind: u64, now: u64, expected: u64) {
        let seconds = std::time::Duration::from_secs_f64(lag.seconds(behind, at(now)));
        assert_eq!(seconds.as_secs(), expected, "{lag:?}");
    }

    #[test]
    fn what_waits_came_after_nothing_waited_and_after_what_was_decided() {
        let mut lag = Lag::default();
        lag.look(0, at(1000));
        // What was written before that look may be noticed after it, and yet before the next.
        assert_eq!(lag.clear, None);
        lag.look(0, at(1001));
        decide(&mut lag, 400, 1001);
        check(&lag, 0, 1005, 0);
        // The last alert is old; what waits is not.
        check(&lag, 7, 1005, 5);
        // A flood: nobody has been at its end for a long time, and is yet but a second behind.
        lag.look(7, at(1006));
        decide(&mut lag, 1059, 1060);
        check(&lag, 7, 1060, 1);
        // A clock that is ahead.
        decide(&mut lag, 1062, 1061);
        check(&lag, 7, 1061, 2);
        lag.look(0, at(1062));
        check(&lag, 0, 1062, 0);
        lag.look(0, at(1063));
        check(&lag, 7, 1065, 3);
        lag.is_clear(at(1066));
        check(&lag, 7, 1067, 1);
    }

    #[test]
    fn a_backlog_is_as_old_as_its_time_stamps_say() {
        let mut lag = Lag::default();
        lag.look(0, at(9999));
        lag.is_backlog();
        // Without a time stamp, only the wait itself is known.
        lag.look(7, at(10_000));
        lag.look(7, at(10_002));
        check(&lag, 7, 10_003, 3);
        decide(&mut lag, 6400, 10_003);
        check(&lag, 7, 10_003, 3603);
        lag.look(0, at(10_004));
        lag.look(0, at(10_005));
        check(&lag, 7, 10_005, 1);
    }
}
