//! How long things of one kind took, in classes: enough for a histogram, in memory that does not grow.

use std::time::Duration;

/// Upper ends of the classes, in seconds; one without an end follows.
const ENDS: [f64; 15] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0,
    10.0,
];

/// Spans of time that were counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    classes: [u64; ENDS.len()],
    count: u64,
    sum: Duration,
}

impl Spans {
    /// Counts a span so many times.
    pub fn add(&mut self, span: Duration, times: usize) {
        let times = times as u64;
        let class = ENDS.iter().position(|&end| span.as_secs_f64() <= end);
        if let Some(class) = class {
            self.classes[class] += times;
        }
        self.count += times;
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.sum = self.sum.saturating_add(span.saturating_mul(times));
    }

    /// For the upper end of each class, in seconds, how many spans were as long as that or shorter.
    pub fn up_to(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut below = 0;
        ENDS.into_iter().zip(self.classes).map(move |(end, count)| {
            below += count;
            (end, below)
        })
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_in_its_class_and_in_every_longer_one() {
        let mut spans = Spans::default();
        spans.add(Duration::from_millis(1), 2);
        spans.add(Duration::from_millis(1001), 1);
        spans.add(Duration::from_secs(11), 1);
        let found: Vec<_> = spans.up_to().filter(|(end, _)| *end >= 0.0005).collect();
        assert_eq!(found[..2], [(0.0005, 0), (0.001, 2)]);
        assert_eq!(found[9..], [(1.0, 2), (2.5, 3), (5.0, 3), (10.0, 3)]);
        assert_eq!(spans.count(), 4);
        assert_eq!(spans.sum(), Duration::from_millis(12_003));
    }
}
