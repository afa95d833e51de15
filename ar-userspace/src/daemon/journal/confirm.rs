//! What is told of changes by hand that wait to be confirmed.

use std::time::Duration;

use super::{Journal, events, rounded};
use crate::control::view::{End, EndedBy, Happening, Provisional, ReleaseState};
use crate::control::{Asker, view};
use crate::ledger::{Key, Past};
use crate::offender::Offender;

impl Journal {
    /// A change is made that is taken back unless it is confirmed.
    pub(in crate::daemon) fn waits(
        &self,
        address: Offender,
        change: Provisional,
        within: Duration,
    ) {
        let (what, within) = (word(change), rounded(within));
        tracing::info!(%address, "the {what} is taken back in {within} unless `arfw confirm` follows");
    }

    /// A ban does not stand, until that is confirmed or taken back.
    pub(in crate::daemon) fn lifted(&self, key: &Key, asker: Asker, within: Duration) {
        self.happened(|| Happening::Unban {
            address: key.offender.to_string(),
            executable: key.executable.name().to_owned(),
            end: End::Hand,
            ended_by: Some(by(asker)),
            state: ReleaseState::Ended,
            confirm_seconds: Some(within.as_secs_f64()),
        });
    }

    /// A change lasts.
    pub(in crate::daemon) fn confirmed(&self, key: &Key, change: Provisional, asker: Asker) {
        let executable = key.executable.name();
        tracing::info!(
            address = %key.offender,
            by = ?executable,
            uid = asker.uid,
            pid = asker.pid,
            "{} confirmed",
            word(change)
        );
        self.happened(|| Happening::Confirmed {
            address: key.offender.to_string(),
            executable: executable.to_owned(),
            change,
            confirmed_by: by(asker),
        });
    }

    /// A ban is over, because it was not confirmed. The event is that of any end.
    pub(in crate::daemon) fn not_confirmed(&self, past: &Past) {
        tracing::warn!(address = %past.key.offender, "the ban by hand is taken back: not confirmed");
    }

    /// A ban that was lifted stands again.
    pub(in crate::daemon) fn put_back(&self, past: &Past) {
        tracing::warn!(
            address = %past.key.offender,
            by = ?past.key.executable.name(),
            "the unban is taken back: not confirmed"
        );
        self.happened(|| {
            Happening::Ban(view::BanEvent {
                not_confirmed: true,
                ..events::banned(&past.key, &past.ban)
            })
        });
    }
}

fn by(asker: Asker) -> EndedBy {
    EndedBy {
        uid: asker.uid,
        pid: asker.pid,
    }
}

fn word(change: Provisional) -> &'static str {
    match change {
        Provisional::Ban => "ban",
        Provisional::Unban => "unban",
    }
}
