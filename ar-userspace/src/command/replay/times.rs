//! From an alert's own time stamp to a moment of the simulation, and back to a time that people read.
//!
//! No clock is read: the first time stamp is the beginning.

use jiff::tz::TimeZone;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};

use crate::alert::Context;
use crate::time::Moment;

/// Where the replay stands.
#[derive(Debug)]
pub(super) struct Times {
    zone: TimeZone,
    /// The first time stamp, which is [`Moment::default`].
    first: Option<Timestamp>,
    now: Moment,
    /// Alerts without a usable time stamp; they take that of the line before.
    pub(super) without: u64,
    /// Alerts whose time stamp is before that of a line above; they take the later one.
    pub(super) backwards: u64,
}

impl Times {
    /// `zone` is that of time stamps which name none.
    pub(super) fn in_zone(zone: TimeZone) -> Self {
        Self {
            zone,
            first: None,
            now: Moment::default(),
            without: 0,
            backwards: 0,
        }
    }

    /// When an alert arrives: never before the one that was asked for last.
    pub(super) fn of(&mut self, context: &Context<'_>) -> Moment {
        match context.written_at(Some(&self.zone)) {
            None => self.without += 1,
            Some(time) => {
                let since = time.duration_since(*self.first.get_or_insert(time));
                let at = match since.try_into() {
                    Ok(since) => Moment::default().after(since),
                    Err(_) => Moment::default(),
                };
                if since.is_negative() || at < self.now {
                    self.backwards += 1;
                }
                self.now = self.now.max(at);
            }
        }
        self.now
    }

    /// The wall time at a moment; `None` before the first time stamp.
    pub(super) fn wall(&self, at: Moment) -> Option<Timestamp> {
        let since = SignedDuration::try_from(at.since(Moment::default())).ok()?;
        Some(self.first?.checked_add(since).unwrap_or(Timestamp::MAX))
    }

    /// The first time stamp, and the latest.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.wall(Moment::default())?, self.wall(self.now)?))
    }
}

/// A time as people read it: to the second, which is not rounded up.
pub(super) fn to_the_second(time: Timestamp) -> String {
    let round = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Trunc);
    time.round(round).unwrap_or(time).to_string()
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;
    use crate::alert::Alert;

    /// Each alert beside the time that it is given, in a zone two hours east.
    fn check(alerts: &[(&str, &str)]) {
        let mut times = Times::in_zone(TimeZone::fixed(tz::offset(2)));
        for (fields, expected) in alerts {
            let line = format!("{{{fields}}}");
            let alert = Alert::parse(line.as_bytes()).unwrap();
            let at = times.of(&alert.context);
            let told = times.wall(at).map_or("-".to_owned(), to_the_second);
            assert_eq!(told, *expected, "{fields}");
        }
    }

    #[test]
    fn every_form_of_time_stamp_is_read() {
        check(&[
            (
                r#""timestamp":"2024-11-24T01:43:00.218+0000""#,
                "2024-11-24T01:43:00Z",
            ),
            (
                r#""timestamp":"2024-11-24T09:43:01.000+0800""#,
                "2024-11-24T01:43:01Z",
            ),
            (
                r#""timestamp":"2024-11-24T01:43:02+00:00""#,
                "2024-11-24T01:43:02Z",
            ),
            (
                r#""timestamp":"2024-11-24T01:43:03Z""#,
                "2024-11-24T01:43:03Z",
            ),
            (
                r#""timestamp":"2024 Nov 24 03:43:04""#,
                "2024-11-24T01:43:04Z",
            ),
            (
                r#""TimeStamp":1732412585000,"timestamp":"2024 Nov 24 09:00:00""#,
                "2024-11-24T01:43:05Z",
            ),
        ]);
    }

    #[test]
    fn without_a_time_of_its_own_an_alert_takes_the_time_before() {
        check(&[
            (r#""id":"1""#, "-"),
            (
                r#""timestamp":"2024-11-24T01:43:00Z""#,
                "2024-11-24T01:43:00Z",
            ),
            (r#""timestamp":"yesterday""#, "2024-11-24T01:43:00Z"),
            (r#""timestamp":7"#, "2024-11-24T01:43:00Z"),
            (r#""TimeStamp":99999999999999999"#, "2024-11-24T01:43:00Z"),
        ]);
    }

    #[test]
    fn time_never_runs_backwards() {
        check(&[
            (
                r#""timestamp":"2024-11-24T01:43:00Z""#,
                "2024-11-24T01:43:00Z",
            ),
            (
                r#""timestamp":"2024-11-24T01:42:00Z""#,
                "2024-11-24T01:43:00Z",
            ),
            (
                r#""timestamp":"2024-11-24T01:44:00Z""#,
                "2024-11-24T01:44:00Z",
            ),
            (
                r#""timestamp":"2024-11-24T01:43:30Z""#,
                "2024-11-24T01:44:00Z",
            ),
        ]);
    }
}
