//! What an operator asks for at the control socket, and what it leads to.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Daemon, reply_with};
use crate::clock;
use crate::config::Enforcement;
use crate::control::{Request, view};
use crate::ledger::{self, End, Key, Record, Ruling, Whom};
use crate::offender::Offender;
use crate::time::Moment;

/// How long an answer waits for the disk: what an operator was told should outlive a crash.
const STORED_WITHIN: Duration = Duration::from_secs(1);

impl Daemon {
    /// Does what is asked for, and answers. A stop is for the loop to obey.
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Status(reply) => reply_with(reply, self.status()),
            Request::Metrics(reply) => reply_with(reply, self.metrics()),
            Request::Bans(reply) => reply_with(reply, self.bans()),
            Request::History(asked, reply) => self.tell_history(asked, reply),
            Request::Events(reply) => {
                self.places = self.places_now();
                reply_with(reply, Ok(self.journal.subscribe()));
            }
            Request::Why(text, reply) => self.tell_why(text, reply),
            Request::Reload(asker, reply) => {
                self.journal.asked("reload", asker);
                self.begin_reload(Some(reply));
            }
            Request::Ban(asker, order, reply) => {
                self.journal.asked("ban", asker);
                let banned = self.ban_by_hand(asker, &order);
                reply_with(reply, Ok(banned));
            }
            Request::Unban(asker, order, reply) => {
                self.journal.asked("unban", asker);
                let unbanned = self.unban(asker, &order);
                reply_with(reply, Ok(unbanned));
            }
            Request::Lift(asker, offenders, within, reply) => {
                self.journal.asked("unban", asker);
                let unbanned = self.lift(asker, &offenders, within);
                reply_with(reply, Ok(unbanned));
            }
            Request::Confirm(asker, whom, reply) => {
                self.journal.asked("confirmation", asker);
                let confirmed = self.confirm(asker, whom);
                reply_with(reply, Ok(confirmed));
            }
            Request::Quiet(reply) => reply_with(reply, Ok(self.quiet_times())),
            Request::Forgive(asker, whom, reply) => {
                self.journal.asked("forgiveness", asker);
                let forgiven = self.forgive(whom);
                self.journal.forgiven(&forgiven);
                reply_with(reply, Ok(forgiven));
            }
            // Whoever asked is told that there is no answer.
            Request::Stop(_, reply) => drop(reply),
        }
    }

    /// Ends every ban of these addresses before its time, and says for each address what became of them.
    /// Counters stay.
    ///
    /// What the kernel holds is over when this returns, or has failed (AR-IMP-5); what an executable has to
    /// reverse has only been begun.
    pub(super) fn release(
        &mut self,
        offenders: &[Offender],
        end: End,
        now: Moment,
    ) -> Vec<view::Unbanned> {
        let unbanned = self.let_go_of(offenders, end, now);
        self.store_now();
        unbanned
    }

    /// The same, and what changed is still to be stored.
    pub(super) fn let_go_of(
        &mut self,
        offenders: &[Offender],
        end: End,
        now: Moment,
    ) -> Vec<view::Unbanned> {
        // What was done before is told before.
        self.settle();
        let bans = |offender| -> Vec<(Key, Enforcement)> {
            let records = self.ledger.records_of(offender);
            let ban = |record: Record| {
                let ban = record.ban.filter(|ban| !ban.until.is_over(now))?;
                Some((record.key, ban.enforcement))
            };
            records.filter_map(ban).collect()
        };
        let banned: Vec<_> = offenders.iter().map(|&offender| bans(offender)).collect();
        let keys = banned.iter().flatten().map(|(key, _)| key).collect();
        self.fired.lift(&keys);
        for &offender in offenders {
            let whom = Whom::Offender(offender);
            self.ledger.apply(ledger::Event::Unban(whom, end), now);
        }
        self.not_ended = Some(BTreeMap::new());
        self.perform(now);
        let not_ended = self.not_ended.take().unwrap_or_default();
        let release = |(key, enforcement): (Key, Enforcement)| {
            let cause = not_ended.get(&key).cloned();
            let state = match (&cause, enforcement) {
                (Some(_), _) => view::ReleaseState::Failed,
                (None, Enforcement::Kernel) => view::ReleaseState::Ended,
                (None, Enforcement::Program) => view::ReleaseState::Reversing,
            };
            view::Release {
                executable: key.executable.name().to_owned(),
                state,
                cause,
            }
        };
        let unbanned = offenders.iter().zip(banned);
        unbanned
            .map(|(offender, banned)| view::Unbanned {
                address: offender.to_string(),
                released: banned.into_iter().map(release).collect(),
                confirm: None,
                quiet: None,
            })
            .collect()
    }

    /// Clears counters (AR-TIME-8). Bans stay.
    fn forgive(&mut self, whom: Vec<Whom>) -> view::Forgiven {
        let now = clock::now();
        let mut forgiven = view::Forgiven {
            counters: 0,
            addresses: Vec::new(),
        };
        for whom in whom {
            if let Whom::Offender(offender) = whom {
                forgiven.addresses.push(view::ForgivenAddress {
                    address: offender.to_string(),
                    counters: self.counters(offender, now),
                });
            }
            let event = ledger::Event::Forgive(whom);
            if let Ruling::Done { changed } = self.ledger.apply(event, now) {
                forgiven.counters += changed;
            }
        }
        self.perform(now);
        self.store_now();
        forgiven
    }

    /// Stores what changed before anybody is told of it, unless the disk is slow or full.
    pub(super) fn store_now(&mut self) {
        self.settle();
        if !self.store.wait(STORED_WITHIN) {
            self.journal.not_stored();
        }
    }

    fn counters(&self, offender: Offender, now: Moment) -> Vec<view::Counter> {
        let keys = self.ledger.records_of(offender).map(|record| record.key);
        let counter = |key: Key| view::Counter {
            offences: self.ledger.offence_count(&key, now),
            executable: key.executable.name().to_owned(),
        };
        let counters = keys.map(counter);
        counters.filter(|counter| counter.offences > 0).collect()
    }
}
