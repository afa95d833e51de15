//! What the spectator sees: one line an event, with the time since the start, in columns.

use std::time::Instant;

use crate::shell::say;

/// Width of what stands before an event's text.
const MARGIN: usize = 22;

/// The running order of one demonstration.
pub(super) struct Screen {
    start: Instant,
}

impl Screen {
    /// The clock starts here.
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Seconds since the start.
    pub(super) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// One event at this moment: which part of the scene, and what it did.
    pub(super) fn tell(&self, part: &str, text: &str) {
        say(row(self.seconds(), part, text));
    }

    /// Further lines of the event before.
    pub(super) fn more(&self, text: &str) {
        for line in text.lines() {
            say(format_args!("{:MARGIN$}{line}", ""));
        }
    }
}

fn row(seconds: f64, part: &str, text: &str) -> String {
    format!("{seconds:>8.3} s  {part:<10} {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_lines_stand_below_the_first_ones_text() {
        let row = row(12.3456, "packets", "X");
        assert_eq!(row, "  12.346 s  packets    X");
        assert_eq!(row.find('X'), Some(MARGIN + 1));
    }
}
