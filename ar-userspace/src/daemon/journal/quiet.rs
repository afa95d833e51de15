//! What is told of quiet times.

use super::Journal;
use crate::clock;
use crate::control::view::{ByHand, Happening, QuietChange};
use crate::offender::Offender;
use crate::quiet::Quiet;

impl Journal {
    /// A quiet time has begun, or one that ran has another end.
    pub(in crate::daemon) fn quiet_begun(&self, quiet: &Quiet, is_new: bool) {
        let left = quiet.until.since(clock::now());
        tracing::info!(
            address = %quiet.offender,
            length = %super::rounded(left),
            uid = quiet.uid,
            pid = quiet.pid,
            reason = ?quiet.reason,
            "{}",
            if is_new { "quiet" } else { "moved the end of the quiet time" }
        );
        self.happened(|| Happening::Quiet {
            address: quiet.offender.to_string(),
            change: match is_new {
                true => QuietChange::Begun,
                false => QuietChange::Moved,
            },
            seconds_left: left.as_secs_f64(),
            by_hand: Some(ByHand {
                uid: quiet.uid,
                pid: quiet.pid,
                reason: quiet.reason.to_string(),
            }),
        });
    }

    /// A quiet time is over; `by` is who ended it, if somebody did.
    pub(in crate::daemon) fn quiet_ended(&self, quiet: &Quiet, by: Option<&ByHand>) {
        tracing::info!(
            address = %quiet.offender,
            uid = by.map(|by| by.uid),
            pid = by.and_then(|by| by.pid),
            "quiet no more"
        );
        self.happened(|| Happening::Quiet {
            address: quiet.offender.to_string(),
            change: QuietChange::Ended,
            seconds_left: 0.0,
            by_hand: by.cloned(),
        });
    }

    /// A quiet time is refused.
    pub(in crate::daemon) fn not_quiet(&self, offender: Offender, why: &str) {
        tracing::warn!(address = %offender, "not quiet: {why}");
    }
}
