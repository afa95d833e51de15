//! The same as the log tells, as events for whoever listens at the control socket.

use std::time::Duration;

use super::{Journal, Told, what};
use crate::alert::Alert;
use crate::clock;
use crate::config::Enforcement;
use crate::control::Publisher;
use crate::control::view::{BanEvent, ByHand, Happening, Refused, ReleaseState};
use crate::daemon::history::{ended_by, named};
use crate::daemon::view::rfc3339;
use crate::ledger::{Action, Ban, End, Key, Limit, Past, Ruling};
use crate::offender::Offender;
use crate::policy::Refusal;
use crate::time::Expiry;

impl Journal {
    /// Hands something out to those who listen.
    pub(in crate::daemon) fn happened(&self, what: impl FnOnce() -> Happening) {
        self.events.tell(now, what);
    }

    /// Ends all streams.
    pub(in crate::daemon) fn hang_up(&mut self) {
        self.happened(|| Happening::Stop {});
        self.events = Publisher::default();
    }

    /// What happens from here on.
    pub(in crate::daemon) fn subscribe(&self) -> crate::control::Subscription {
        let begin = Happening::Begin {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        };
        self.events.subscribe(now(), begin)
    }

    /// Whether anybody listens.
    pub(in crate::daemon) fn is_heard(&self) -> bool {
        self.events.is_heard()
    }

    /// An interface is covered in another way than before.
    pub(in crate::daemon) fn covered(&self, interface: &str, mode: &str, why: &str) {
        self.happened(|| Happening::Interface {
            interface: interface.to_owned(),
            mode: mode.to_owned(),
            why: why.to_owned(),
        });
    }

    /// What was ruled on an offence, and has been done.
    pub(super) fn ruled_event(&self, told: &Told, ruling: Ruling) {
        let banned = |until: Expiry, rung: Option<crate::ledger::Rung>| BanEvent {
            address: told.key.offender.to_string(),
            executable: told.key.executable.name().to_owned(),
            seconds_left: until.left(clock::now()).map(|left| left.as_secs_f64()),
            rule_id: told.rule_id,
            alert_id: told.alert_id.as_deref().map(str::to_owned),
            offence: rung.map(|rung| rung.offence),
            section: Some(self.section(told.line)),
            by_hand: None,
            confirm_seconds: None,
            not_confirmed: false,
        };
        match ruling {
            Ruling::Banned { until, rung } => self.happened(|| Happening::Ban(banned(until, rung))),
            Ruling::Moved { until, rung, .. } => {
                self.happened(|| Happening::Moved(banned(until, rung)));
            }
            Ruling::Refused { limit, .. } => self.happened(|| Happening::Refusal {
                address: Some(told.key.offender.to_string()),
                by: Refused::Limit,
                cause: limit.to_string(),
                rule_id: told.rule_id,
                alert_id: told.alert_id.as_deref().map(str::to_owned),
            }),
            Ruling::AlreadyPermanent { .. } | Ruling::OnlyCounted { .. } | Ruling::Done { .. } => {}
        }
    }

    /// A ban by hand was made, or has another end. It may have to be confirmed within a time.
    pub(in crate::daemon) fn ban_by_hand_event(
        &self,
        key: &Key,
        ban: &Ban,
        is_new: bool,
        confirm: Option<Duration>,
    ) {
        self.happened(|| {
            let banned = BanEvent {
                confirm_seconds: confirm.map(|within| within.as_secs_f64()),
                ..banned(key, ban)
            };
            match is_new {
                true => Happening::Ban(banned),
                false => Happening::Moved(banned),
            }
        });
    }

    /// An alert that matched was refused. That responses are switched off, and that an alert names nobody, is nothing
    /// that happens to anyone.
    pub(super) fn refused_event(&self, alert: &Alert<'_>, refusal: &Refusal) {
        let (by, address) = match refusal {
            Refusal::Disabled | Refusal::NoOffender => return,
            Refusal::Injection { .. } | Refusal::NotAnAddress { .. } => (Refused::Offender, None),
            Refusal::Special { offender, .. } => (Refused::Special, Some(offender)),
            Refusal::Protected { offender, .. } => (Refused::Guard, Some(offender)),
            Refusal::WhiteListed { offender, .. } => (Refused::WhiteList, Some(offender)),
            Refusal::Quiet { offender, .. } => (Refused::Quiet, Some(offender)),
        };
        self.happened(|| Happening::Refusal {
            address: address.map(ToString::to_string),
            by,
            cause: refusal.to_string(),
            rule_id: alert.rule_id.unwrap_or(0),
            alert_id: alert.id.as_deref().map(str::to_owned),
        });
    }

    /// A ban by hand was refused, by one of the checks or for want of room.
    pub(in crate::daemon) fn order_refused(
        &self,
        address: Offender,
        limit: Option<Limit>,
        cause: &str,
    ) {
        self.happened(|| Happening::Refusal {
            address: Some(address.to_string()),
            by: limit.map_or(Refused::Order, |_| Refused::Limit),
            cause: cause.to_owned(),
            rule_id: 0,
            alert_id: None,
        });
    }

    /// A ban is over. That it was moved or could not be made is told as such.
    pub(in crate::daemon) fn ended(&self, past: &Past) {
        if matches!(past.end, End::Moved | End::Failed) {
            return;
        }
        self.happened(|| Happening::Unban {
            address: past.key.offender.to_string(),
            executable: past.key.executable.name().to_owned(),
            end: named(past.end),
            ended_by: ended_by(past.end),
            state: match past.ban.enforcement {
                Enforcement::Kernel => ReleaseState::Ended,
                Enforcement::Program => ReleaseState::Reversing,
            },
            confirm_seconds: None,
        });
    }

    /// Something was not done. `key` is whose it was, if it was somebody's.
    pub(in crate::daemon) fn failure(
        &self,
        key: Option<&Key>,
        action: Option<Action>,
        cause: &str,
    ) {
        let action = action.map_or("a run", what);
        self.failure_of(key, action, cause);
    }

    /// The same in words.
    pub(in crate::daemon) fn failure_of(&self, key: Option<&Key>, what: &str, cause: &str) {
        self.happened(|| Happening::Failure {
            address: key.map(|key| key.offender.to_string()),
            executable: key.map(|key| key.executable.name().to_owned()),
            what: what.to_owned(),
            cause: cause.to_owned(),
        });
    }
}

/// A ban apart from what it counted.
pub(super) fn banned(key: &Key, ban: &Ban) -> BanEvent {
    BanEvent {
        address: key.offender.to_string(),
        executable: key.executable.name().to_owned(),
        seconds_left: ban.until.left(clock::now()).map(|left| left.as_secs_f64()),
        rule_id: ban.rule_id,
        alert_id: (!ban.alert_id.is_empty()).then(|| ban.alert_id.to_string()),
        offence: None,
        section: None,
        by_hand: ban.by_hand.as_deref().map(|by| ByHand {
            uid: by.uid,
            pid: by.pid,
            reason: by.reason.to_string(),
        }),
        confirm_seconds: None,
        not_confirmed: false,
    }
}

fn now() -> String {
    let clocks = clock::clocks();
    rfc3339(clocks.moment, clocks)
}
