//! Bans that an operator asks for: what forbids them, and what became of them.

use super::{Daemon, confirm};
use crate::clock;
use crate::config::Executable;
use crate::control::{Asker, Order, view};
use crate::ledger::{self, ByHand, End, HandBan, Key, Ruling, Whom};
use crate::offender::{Offender, Prefix};
use crate::time::{Expiry, Moment};

/// The name under which a ban by hand stands, where others have their executable's.
const MANUAL: &str = "manual";

/// The same of an address that the guard protects: it was asked for by force, and the guard leaves it.
const FORCED: &str = "manual-forced";

/// As which both stand until they are confirmed.
pub(super) const UNCONFIRMED: [&str; 2] = ["manual-unconfirmed", "manual-forced-unconfirmed"];

/// The shortest prefixes that may be banned, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widest {
    /// Of IPv4.
    pub v4: u8,
    /// Of IPv6.
    pub v6: u8,
}

impl Daemon {
    /// Bans each in turn, and says for each what became of it.
    pub(super) fn ban_by_hand(&mut self, asker: Asker, order: &Order) -> Vec<view::Banned> {
        self.settle();
        // Who is logged in at this moment is not locked out.
        self.look_at_sessions();
        let now = clock::now();
        let banned = order.offenders.iter();
        let banned = banned.map(|&offender| self.ban_one(offender, asker, order, now));
        let banned = banned.collect();
        self.store_now();
        banned
    }

    fn ban_one(
        &mut self,
        offender: Offender,
        asker: Asker,
        order: &Order,
        now: Moment,
    ) -> view::Banned {
        let refused = |cause: String| view::Banned {
            address: offender.to_string(),
            state: view::BanState::Refused,
            cause: Some(cause),
            confirm: None,
            quiet_ended: 0,
        };
        // An address only: a network within a protected one would be left alone in the kernel all the same.
        let protected = self.guard.reason(offender).map(|reason| reason.to_string());
        let forced = protected.filter(|_| order.force && offender.is_host());
        let forbidden = self
            .forbids_ever(offender)
            .or_else(|| match forced.is_some() {
                true => None,
                false => self.forbids(offender, order.force),
            });
        if let Some(why) = forbidden {
            self.journal.not_banned(offender, &why);
            self.journal.order_refused(offender, None, &why);
            return refused(why);
        }
        let named = |name| Key {
            offender,
            executable: Executable::new(name),
        };
        let is_forced = usize::from(forced.is_some());
        let unconfirmed = named(UNCONFIRMED[is_forced]);
        let last = named([MANUAL, FORCED][is_forced]);
        let ban = HandBan {
            key: last.clone(),
            until: order
                .lasts
                .map_or(Expiry::Never, |lasts| Expiry::At(now.after(lasts))),
            by: ByHand {
                uid: asker.uid,
                pid: asker.pid,
                reason: order.reason.as_str().into(),
            },
        };
        let confirm_by = order.confirm.map(|within| now.after(within));
        let (key, event) = match confirm_by {
            Some(confirm_by) => {
                let key = unconfirmed.clone();
                let propose = ledger::Event::Propose {
                    ban,
                    key,
                    confirm_by,
                };
                (unconfirmed, propose)
            }
            None => (last, ledger::Event::Ban(ban)),
        };
        let ruling = self.ledger.apply(event, now);
        if confirm_by.is_none() && !matches!(ruling, Ruling::Refused { .. }) {
            // The last word is this one: what was to be confirmed is not any more.
            for name in UNCONFIRMED {
                let unban = ledger::Event::Unban(Whom::Key(named(name)), End::Moved);
                self.ledger.apply(unban, now);
            }
        }
        self.perform(now);
        let state = match ruling {
            Ruling::Refused { limit, .. } => {
                let cause = format!("{limit}; `arfw unban` makes room");
                self.journal.order_refused(offender, Some(limit), &cause);
                return refused(cause);
            }
            Ruling::Moved { .. } => view::BanState::Moved,
            _ if self.ledger.standing(offender, now).is_none() => {
                return refused("the enforcer could not make it; the log says why".to_owned());
            }
            _ => view::BanState::Banned,
        };
        self.journal.banned_by_hand(offender, asker, &order.reason);
        // What may be taken back changes nothing that would stay changed.
        let quiet_ended = match order.confirm {
            None => self.end_quiet_of(offender, asker, &order.reason),
            Some(_) => 0,
        };
        let mut records = self.ledger.records_of(offender);
        let made = records.find(|record| record.key == key);
        if let Some(ban) = made.and_then(|record| record.ban) {
            let is_new = state == view::BanState::Banned;
            self.journal
                .ban_by_hand_event(&key, &ban, is_new, order.confirm);
        }
        if let Some(within) = order.confirm {
            self.journal.waits(offender, view::Provisional::Ban, within);
        }
        view::Banned {
            address: offender.to_string(),
            state,
            cause: forced.map(|reason| format!("it must stay reachable: {reason}")),
            confirm: confirm_by.map(|confirm_by| confirm::deadline(confirm_by, clock::clocks())),
            quiet_ended,
        }
    }

    /// Whether this ban was made by force although the guard protects its address: then the guard does not end it.
    pub(super) fn is_forced(record: &ledger::Record) -> bool {
        let ban = record.ban.as_ref();
        let is_forced = [FORCED, UNCONFIRMED[1]].contains(&record.key.executable.name());
        is_forced && ban.is_some_and(|ban| ban.by_hand.is_some())
    }

    /// Why this must not be banned, not by force either, and what to do about it.
    fn forbids_ever(&self, offender: Offender) -> Option<String> {
        let prefix = offender.prefix();
        let widest = match prefix.addr().is_ipv4() {
            true => self.settings.widest.v4,
            false => self.settings.widest.v6,
        };
        if prefix.bits() < widest {
            return Some(format!(
                "it is wider than /{widest}; ban parts of it, or raise the bound of `arfw run`"
            ));
        }
        if let Some(special) = offender.special() {
            return Some(format!("it has {special} addresses, which are nobody's"));
        }
        let white_list = &self.settings.config.white_list;
        if let Some(entry) = white_list.covers(offender, &offender.to_string()) {
            return Some(format!(
                "the white list has {} in line {}; take it out and `arfw reload`",
                crate::diagnostic::quote(&entry.text),
                entry.line
            ));
        }
        None
    }

    /// Why this must not be banned, and what to do about it. With `force`, a network may hold what is protected.
    pub(super) fn forbids(&self, offender: Offender, force: bool) -> Option<String> {
        if let Some(why) = self.forbids_ever(offender) {
            return Some(why);
        }
        if let Some(reason) = self.guard.reason(offender) {
            let remedy = match offender.is_host() {
                true => "`--force` bans it all the same",
                false => "`--force` bans single addresses of it",
            };
            return Some(format!("it must stay reachable: {reason}; {remedy}"));
        }
        if force {
            return None;
        }
        let prefix = offender.prefix();
        let white_list = &self.settings.config.white_list;
        let mut protected = self.guard.protected().chain(white_list.networks());
        let held = protected.find(|held| held.meets(prefix))?;
        Some(format!(
            "it holds {}, which must stay reachable: {}; `--force` bans the rest of it",
            Offender::network(held),
            self.why_protected(held)
        ))
    }

    fn why_protected(&self, held: Prefix) -> String {
        let reason = self.guard.reason(Offender::network(held));
        reason.map_or("the white list has it".to_owned(), |reason| {
            reason.to_string()
        })
    }
}
