//! When an alert was written, by its own time stamp. No clock is read, and a time zone is an argument.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::Context;

/// OSSEC's form: `2026 Nov 24 03:06:49`.
const OSSEC: &str = "%Y %b %d %H:%M:%S";

impl Context<'_> {
    /// The alert's own time; `None` when it has none that can be read.
    ///
    /// OSSEC's milliseconds count before text. Text that names no zone is of `zone`, and is no time without one.
    #[must_use]
    pub fn written_at(&self, zone: Option<&TimeZone>) -> Option<Timestamp> {
        let milliseconds = self
            .timestamp_ms
            .and_then(|it| Timestamp::from_millisecond(i64::try_from(it).ok()?).ok());
        milliseconds.or_else(|| {
            let text = self.timestamp?.decode();
            let zoned = text.parse::<Timestamp>().ok();
            zoned.or_else(|| {
                let local = DateTime::strptime(OSSEC, &*text)
                    .or_else(|_| text.parse())
                    .ok()?;
                zone?.to_timestamp(local).ok()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use crate::alert::Alert;

    use super::*;

    /// What a time stamp means two hours east, and what where no zone is known.
    #[track_caller]
    fn check(fields: &str, in_zone: Option<&str>, without: Option<&str>) {
        let line = format!("{{{fields}}}");
        let context = Alert::parse(line.as_bytes()).unwrap().context;
        let east = TimeZone::fixed(tz::offset(2));
        let read = |zone| context.written_at(zone).map(|time| time.to_string());
        assert_eq!(read(Some(&east)).as_deref(), in_zone, "{fields}");
        assert_eq!(read(None).as_deref(), without, "{fields}");
    }

    #[test]
    fn a_time_that_names_no_zone_is_none_where_none_is_known() {
        let same = |fields, time| check(fields, time, time);
        same(
            r#""timestamp":"2024-11-24T09:43:01.218+0800""#,
            Some("2024-11-24T01:43:01.218Z"),
        );
        same(
            r#""TimeStamp":1732412585000,"timestamp":"2024 Nov 24 09:00:00""#,
            Some("2024-11-24T01:43:05Z"),
        );
        same(r#""timestamp":"yesterday""#, None);
        same(r#""timestamp":7"#, None);
        same(r#""TimeStamp":99999999999999999"#, None);
        same(r#""id":"1""#, None);
        for local in ["2024 Nov 24 03:43:04", "2024-11-24T03:43:04"] {
            check(
                &format!(r#""timestamp":"{local}""#),
                Some("2024-11-24T01:43:04Z"),
                None,
            );
        }
    }
}
