//! Lists of measured times, and the few numbers that are told of them.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

/// Times of one thing, measured again and again. Never empty.
pub(super) struct Times {
    sorted: Vec<Duration>,
}

impl Times {
    /// `None` when nothing was measured.
    pub(super) fn new(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        (!times.is_empty()).then_some(Self { sorted: times })
    }

    /// The smallest time that this many of a hundred do not exceed: a measured one, nothing between two.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted[rank - 1]
    }

    pub(super) fn best(&self) -> Duration {
        self.percentile(0)
    }

    pub(super) fn median(&self) -> Duration {
        self.percentile(50)
    }

    pub(super) fn worst(&self) -> Duration {
        self.percentile(100)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The head of a table of [`Times::row`]s.
    pub(super) const HEAD: &str = "      best    median       p90       p99     worst";

    /// One line of a table, in microseconds.
    pub(super) fn row(&self) -> String {
        let columns = [
            self.best(),
            self.median(),
            self.percentile(90),
            self.percentile(99),
            self.worst(),
        ];
        columns.map(|time| format!("{:>10}", Micros(time))).concat()
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "count": self.sorted.len(),
            "best_us": micros(self.best()),
            "median_us": micros(self.median()),
            "p90_us": micros(self.percentile(90)),
            "p99_us": micros(self.percentile(99)),
            "worst_us": micros(self.worst()),
        })
    }
}

/// A time in microseconds, to one tenth.
pub(super) fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

struct Micros(Duration);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1}", micros(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let check = |count: u64, percent, expected: u64| {
            let times = (1..=count).rev().map(Duration::from_micros).collect();
            let times = Times::new(times).unwrap();
            assert_eq!(
                times.percentile(percent),
                Duration::from_micros(expected),
                "{percent}% of {count}"
            );
        };
        check(200, 50, 100);
        check(200, 90, 180);
        check(200, 99, 198);
        check(200, 100, 200);
        check(3, 50, 2);
        check(1, 99, 1);
        check(5, 0, 1);
        assert!(Times::new(Vec::new()).is_none());
    }

    #[test]
    fn a_row_stands_below_its_head() {
        let times = Times::new(vec![Duration::from_nanos(12_345)]).unwrap();
        assert_eq!(times.row().len(), Times::HEAD.len());
        assert!(times.row().ends_with(" 12.3"), "{}", times.row());
    }
}
