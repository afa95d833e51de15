//! What is told of clocks that are not as they were.

use std::time::Duration;

use super::{Journal, rounded};

impl Journal {
    /// An end that the kernel does not take after a sleep; the one before it stands there, and the daemon keeps to
    /// the true one.
    pub(in crate::daemon) fn not_written_anew(&self, cause: &str) {
        tracing::error!("the end of a ban cannot be written anew: {cause}");
    }

    /// The machine slept.
    pub(in crate::daemon) fn slept(&self, slept: Duration, bans: usize) {
        let slept = rounded(slept);
        tracing::info!(
            bans,
            "the machine slept for {slept}; bans went on, and the kernel has their ends"
        );
    }

    /// The wall clock was set.
    pub(in crate::daemon) fn clock_set(&self, step_ns: i64) {
        let step = rounded(Duration::from_nanos(step_ns.unsigned_abs()));
        let way = if step_ns < 0 { "back" } else { "forward" };
        tracing::warn!("the wall clock was set {way} by {step}; no ban ends earlier or later");
    }
}
