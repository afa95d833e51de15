//! When an alert was raised, as far as the ledger is concerned: when it is read, or for one that is read late, by
//! its own time stamp.
//!
//! A time stamp is believed only in the backlog, which was written while nobody read: there it tells how much
//! of a ban is over. Of an alert that is read as it comes, the time of reading is as good, and a writer whose
//! clock or zone is wrong shortens no ban. Believed is only a time stamp that names its zone, or OSSEC's
//! milliseconds, and that is not in the future.

use std::time::Duration;

use crate::alert::Context;
use crate::time::{Clocks, Moment, Wall};

/// An alert that is read this long after its own time stamp is late.
const LATE: Duration = Duration::from_secs(10);

/// When and how some lines were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) clocks: Clocks,
    pub(super) backlog: bool,
    pub(super) may_repeat: bool,
}

impl Arrival {
    /// The moment at which the lines were read.
    pub(super) fn now(&self) -> Moment {
        self.clocks.moment
    }

    /// When the alert was raised, if it is read late; from then on its ban lasts.
    pub(super) fn late(&self, context: &Context<'_>) -> Option<Moment> {
        if !self.backlog {
            return None;
        }
        let written_ns = context.written_at(None)?.as_nanosecond();
        let written = Wall::from_nanos(i64::try_from(written_ns).ok()?);
        let written = self.clocks.moment_at(written);
        (self.now().since(written) > LATE).then_some(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Alert;

    const NOW: Moment = Moment::from_nanos(3_600_000_000_000);

    /// An alert that is read at 01:43:30, and how many seconds late it is.
    #[track_caller]
    fn check(fields: &str, backlog: bool, expected: Option<u64>) {
        let arrival = Arrival {
            clocks: Clocks {
                moment: NOW,
                wall: Wall::from_nanos(1_732_412_610_000_000_000),
            },
            backlog,
            may_repeat: false,
        };
        let line = format!("{{{fields}}}");
        let alert = Alert::parse(line.as_bytes()).unwrap();
        let at = arrival.late(&alert.context);
        assert_eq!(at.map(|at| NOW.since(at).as_secs()), expected, "{fields}");
    }

    #[test]
    fn only_the_backlog_is_late_and_only_by_a_time_stamp_that_can_be_believed() {
        let late = r#""timestamp":"2024-11-24T01:43:00.000+0000""#;
        check(late, true, Some(30));
        check(late, false, None);
        check(r#""TimeStamp":1732412580000"#, true, Some(30));
        // Ten seconds are not late yet.
        check(r#""timestamp":"2024-11-24T01:43:20.000+0000""#, true, None);
        check(
            r#""timestamp":"2024-11-24T01:43:19.999+0000""#,
            true,
            Some(10),
        );
        // The future, a time without a zone, and what is no time.
        check(r#""timestamp":"2024-11-24T02:43:00.000+0000""#, true, None);
        check(r#""timestamp":"2024 Nov 24 01:43:00""#, true, None);
        check(r#""timestamp":"just now""#, true, None);
        check(r#""id":"1""#, true, None);
    }
}
