//! Quiet times at work: an unban may begin one, alerts meet it, and a ban by hand ends it.

use super::view::{rfc3339, written};
use super::{Daemon, Widest};
use crate::clock;
use crate::control::{Asker, QuietOrder, UnbanOrder, view};
use crate::ledger::End;
use crate::offender::Offender;
use crate::policy::{self, Offence, Refusal};
use crate::quiet::{Quiet, Quiets};
use crate::store::Held;
use crate::time::{Clocks, Moment};

impl Daemon {
    /// Takes up the quiet times that a store kept, also those that are over: alerts of that time may still be read.
    pub(super) fn restore_quiet(&mut self, held: &mut Held) {
        let clocks = self.steps.boot.clocks(clock::now());
        let kept = std::mem::take(&mut held.quiet).into_iter();
        let kept = kept.map(|quiet| quiet.since_boot(clocks));
        self.quiet = Quiets::restore(kept, clocks.moment);
    }

    /// Ends bans, and begins or ends quiet times where that is asked for. Both are stored in one transaction.
    pub(super) fn unban(&mut self, asker: Asker, order: &UnbanOrder) -> Vec<view::Unbanned> {
        let end = End::Hand {
            uid: asker.uid,
            pid: asker.pid,
        };
        let now = clock::now();
        let mut unbanned = self.let_go_of(&order.offenders, end, now);
        if let Some(wanted) = &order.quiet {
            for (&offender, unbanned) in order.offenders.iter().zip(&mut unbanned) {
                unbanned.quiet = Some(self.quieten(offender, asker, wanted));
            }
        }
        self.store_now();
        unbanned
    }

    fn quieten(&mut self, offender: Offender, asker: Asker, wanted: &QuietOrder) -> view::Quieted {
        let quieted = |state, until| view::Quieted {
            state,
            until,
            cause: None,
        };
        let clocks = clock::clocks();
        let now = clocks.moment;
        let by = view::ByHand {
            uid: asker.uid,
            pid: asker.pid,
            reason: wanted.reason.clone(),
        };
        if wanted.lasts.is_zero() {
            let Some(ended) = self.quiet.end(offender, now) else {
                return quieted(view::QuietState::NotQuiet, None);
            };
            self.journal.quiet_ended(&ended, Some(&by));
            return quieted(view::QuietState::Ended, None);
        }
        let quiet = Quiet {
            offender,
            since: now,
            until: now.after(wanted.lasts),
            uid: asker.uid,
            pid: asker.pid,
            reason: wanted.reason.as_str().into(),
        };
        let begun = match too_wide(offender, self.settings.widest) {
            Some(why) => Err(why),
            None => self.quiet.begin(quiet.clone(), now).map_err(|full| {
                format!(
                    "{full}; `arfw unban ADDRESS --quiet 0` ends one, `arfw list --quiet` has them"
                )
            }),
        };
        match begun {
            Ok(before) => {
                self.journal.quiet_begun(&quiet, before.is_none());
                let until = Some(rfc3339(quiet.until, clocks));
                let state = match before {
                    None => view::QuietState::Begun,
                    Some(_) => view::QuietState::Moved,
                };
                quieted(state, until)
            }
            Err(why) => {
                self.journal.not_quiet(offender, &why);
                view::Quieted {
                    cause: Some(why),
                    ..quieted(view::QuietState::Refused, None)
                }
            }
        }
    }

    /// Ends the quiet times of what somebody has just banned, and says how many.
    pub(super) fn end_quiet_of(&mut self, banned: Offender, asker: Asker, reason: &str) -> usize {
        let by = view::ByHand {
            uid: asker.uid,
            pid: asker.pid,
            reason: reason.to_owned(),
        };
        let ended = self.quiet.end_within(banned.prefix(), clock::now());
        for quiet in &ended {
            self.journal.quiet_ended(quiet, Some(&by));
        }
        ended.len()
    }

    /// Why offences of an alert that was raised `at` lead to nothing on this host, when a quiet time holds.
    pub(super) fn quieted(
        &self,
        offences: &[Offence],
        at: Moment,
        clocks: Clocks,
    ) -> Option<Refusal> {
        policy::quieted(offences, &self.quiet, at, clocks)
    }

    /// Forgets quiet times that are over, once all is read that may have been raised in one of them.
    pub(super) fn forget_quiet(&mut self) {
        let is_readable = {
            let condition = self.condition.borrow();
            condition.trouble.is_none() && !condition.missing
        };
        if is_readable && self.load.behind_bytes() == 0 {
            for quiet in self.quiet.forget(clock::now()) {
                self.journal.quiet_ended(&quiet, None);
            }
        }
    }

    /// What `GET /v1/quiet` tells.
    pub(super) fn quiet_times(&self) -> Vec<view::Quiet> {
        let clocks = clock::clocks();
        let lasting = self.quiet.lasting(clocks.moment);
        lasting.map(|quiet| told(quiet, clocks)).collect()
    }

    /// The quiet time that holds for all of an address or network, as `arfw why` tells it.
    pub(super) fn quiet_of(&self, offender: Offender, clocks: Clocks) -> Option<view::Quiet> {
        let quiet = self.quiet.of(offender, clocks.moment);
        quiet.map(|quiet| told(quiet, clocks))
    }
}

/// Of a slip such as `/2`, everyone would be quiet.
fn too_wide(offender: Offender, widest: Widest) -> Option<String> {
    let prefix = offender.prefix();
    let widest = match prefix.addr().is_ipv4() {
        true => widest.v4,
        false => widest.v6,
    };
    let told = "name parts of it, or raise the bound of `arfw run`";
    (prefix.bits() < widest).then(|| format!("it is wider than /{widest}; {told}"))
}

fn told(quiet: &Quiet, clocks: Clocks) -> view::Quiet {
    view::Quiet {
        address: quiet.offender.to_string(),
        since: written(clocks.wall_at(quiet.since)),
        until: written(clocks.wall_at(quiet.until)),
        seconds_left: quiet.until.since(clocks.moment).as_secs_f64(),
        by_hand: view::ByHand {
            uid: quiet.uid,
            pid: quiet.pid,
            reason: quiet.reason.to_string(),
        },
    }
}
