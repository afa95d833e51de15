//! Changes by hand that are taken back unless they are confirmed. When that is, the ledger knows.
//!
//! None outlives the daemon: a stop takes them back, and after a crash the start does, as the store has what was before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Daemon;
use super::by_hand::UNCONFIRMED;
use super::view::rfc3339;
use crate::clock;
use crate::config::{Enforcement, Executable};
use crate::control::{Asker, view};
use crate::ledger::{self, End, Key, Past, Pending, Provisional, Record, Ruling, Whom};
use crate::offender::Offender;
use crate::store::history::{Answer, Told};
use crate::time::{Clocks, Moment, Wall};

/// Bans that do not stand, and since when by the wall clock, although the store has them.
#[derive(Debug, Default)]
pub(super) struct Lifted(BTreeMap<Key, (Wall, End)>);

impl Lifted {
    /// The answer of the store as it is at the moment.
    pub(super) fn mark(&self, mut answer: Answer) -> Answer {
        for told in &mut answer.told {
            let Told::Running(Record {
                key,
                ban: Some(ban),
                ..
            }) = told
            else {
                continue;
            };
            if let Some(&(at, end)) = self.0.get(key) {
                *told = Told::Past(Past {
                    key: key.clone(),
                    ban: ban.clone(),
                    at,
                    end,
                    line: None,
                });
            }
        }
        answer
    }
}

impl Daemon {
    /// Ends every ban of these addresses for so long, or for good if that is confirmed, and says for each address what
    /// became of them. What an executable made stays.
    pub(super) fn lift(
        &mut self,
        asker: Asker,
        offenders: &[Offender],
        within: Duration,
    ) -> Vec<view::Unbanned> {
        self.settle();
        let now = clock::now();
        let confirm_by = now.after(within);
        self.not_ended = Some(BTreeMap::new());
        let lifted = offenders.iter();
        let lifted: Vec<_> = lifted
            .map(|&offender| (offender, self.lift_one(offender, asker, confirm_by, now)))
            .collect();
        self.perform(now);
        let not_ended = self.not_ended.take().unwrap_or_default();
        let unbanned = lifted.into_iter().map(|(offender, (keys, refused))| {
            let release = |key: &Key| {
                let cause = refused.clone().or_else(|| not_ended.get(key).cloned());
                if cause.is_none() && self.ledger.is_lifted(key) {
                    self.journal.lifted(key, asker, within);
                    self.told_lifted.insert(key.clone());
                }
                view::Release {
                    executable: key.executable.name().to_owned(),
                    state: match cause {
                        Some(_) => view::ReleaseState::Failed,
                        None => view::ReleaseState::Ended,
                    },
                    cause,
                }
            };
            let released: Vec<_> = keys.iter().map(release).collect();
            let waits = keys.iter().any(|key| self.ledger.is_lifted(key)) && refused.is_none();
            if waits {
                self.journal
                    .waits(offender, view::Provisional::Unban, within);
            }
            view::Unbanned {
                address: offender.to_string(),
                released,
                confirm: waits.then(|| deadline(confirm_by, clock::clocks())),
                quiet: None,
            }
        });
        let unbanned = unbanned.collect();
        self.store_now();
        unbanned
    }

    /// Which keys were to be lifted, and why none was.
    fn lift_one(
        &mut self,
        offender: Offender,
        asker: Asker,
        confirm_by: Moment,
        now: Moment,
    ) -> (Vec<Key>, Option<String>) {
        let records = self.ledger.records_of(offender);
        let bans = records.filter_map(|record| {
            let ban = record.ban.filter(|ban| !ban.until.is_over(now))?;
            Some((record.key, ban.enforcement))
        });
        let bans: Vec<_> = bans.collect();
        let mut programs = bans.iter();
        let program = programs.find(|(_, enforcement)| *enforcement == Enforcement::Program);
        let refused = program.map(|(key, _)| {
            format!(
                "nothing was changed, as {} is no ban of the kernel's and could not be put back as it was; unban it without \
                 `--confirm`",
                key.executable.name()
            )
        });
        let keys = bans.into_iter().map(|(key, _)| key).collect();
        if refused.is_some() {
            return (keys, refused);
        }
        let lift = ledger::Event::Lift {
            offender,
            uid: asker.uid,
            pid: asker.pid,
            confirm_by,
        };
        let refused = match self.ledger.apply(lift, now) {
            Ruling::Refused { limit, .. } => Some(format!("{limit}; `arfw confirm` makes room")),
            _ => None,
        };
        (keys, refused)
    }

    /// Makes changes that wait last, and says which.
    pub(super) fn confirm(&mut self, asker: Asker, whom: Vec<Whom>) -> Vec<view::Confirmed> {
        self.settle();
        let now = clock::now();
        // What is due is taken back, and not confirmed.
        self.ledger.handle_timeout(now);
        self.perform(now);
        let mut told: BTreeMap<Offender, Vec<view::ConfirmedChange>> = BTreeMap::new();
        for whom in whom {
            if let Whom::Offender(offender) = whom {
                told.entry(offender).or_default();
            }
            let waiting = self.ledger.pending();
            let waiting = waiting.filter(|(key, _)| match &whom {
                Whom::Offender(offender) => key.offender == *offender,
                _ => true,
            });
            let waiting = waiting.map(|(key, pending)| {
                let (change, key) = named(key, pending);
                (change, self.stands(&key), key)
            });
            let waiting: Vec<_> = waiting.collect();
            let confirm = ledger::Event::Confirm {
                whom,
                uid: asker.uid,
                pid: asker.pid,
            };
            self.ledger.apply(confirm, now);
            self.perform(now);
            for (change, stood, key) in waiting {
                let told = told.entry(key.offender).or_default();
                told.push(self.tell_confirmed(change, &key, stood, asker));
            }
        }
        self.store_now();
        let told = told.into_iter();
        told.map(|(offender, changes)| view::Confirmed {
            address: offender.to_string(),
            changes,
        })
        .collect()
    }

    fn stands(&self, key: &Key) -> bool {
        let mut records = self.ledger.records_of(key.offender);
        records.any(|record| record.key == *key && record.ban.is_some())
    }

    fn tell_confirmed(
        &self,
        change: view::Provisional,
        key: &Key,
        stood: bool,
        asker: Asker,
    ) -> view::ConfirmedChange {
        let mut records = self.ledger.records_of(key.offender);
        let ban = records.find(|record| record.key == *key);
        let ban = ban.and_then(|record| record.ban);
        let mut waiting = self.ledger.pending();
        let still = waiting.any(|(at, pending)| named(at, pending) == (change, key.clone()));
        let cause = match (change, &ban) {
            _ if still => Some("there is no room for one more ban; `arfw unban` makes room"),
            (view::Provisional::Ban, None) => {
                Some("the enforcer could not make it; the log says why")
            }
            _ => None,
        };
        if cause.is_none() {
            if let Some(ban) = ban.filter(|_| change == view::Provisional::Ban) {
                self.journal.ban_by_hand_event(key, &ban, !stood, None);
            }
            self.journal.confirmed(key, change, asker);
        }
        view::ConfirmedChange {
            change,
            executable: key.executable.name().to_owned(),
            cause: cause.map(str::to_owned),
        }
    }

    /// What waits to be confirmed, as the status tells it.
    pub(super) fn pending(&self) -> Vec<view::Pending> {
        let clocks = clock::clocks();
        let pending = self.ledger.pending().map(|(key, pending)| {
            let by = match &pending.change {
                Provisional::Ban(ban) => view::EndedBy {
                    uid: ban.by.uid,
                    pid: ban.by.pid,
                },
                &Provisional::Unban { uid, pid, .. } => view::EndedBy { uid, pid },
            };
            let confirm = deadline(pending.confirm_by, clocks);
            let (change, key) = named(key, pending);
            view::Pending {
                address: key.offender.to_string(),
                change,
                executable: key.executable.name().to_owned(),
                confirm,
                by,
            }
        });
        pending.collect()
    }

    /// Bans that the store has and that do not stand.
    pub(super) fn lifted(&self) -> Lifted {
        let clocks = clock::clocks();
        let lifted = self.ledger.pending().filter_map(|(key, pending)| {
            let Provisional::Unban { uid, pid, at } = pending.change else {
                return None;
            };
            Some((key.clone(), (clocks.wall_at(at), End::Lifted { uid, pid })))
        });
        Lifted(lifted.collect())
    }

    /// At a start: ends bans of the daemon before that nobody can confirm any more, and says whose.
    pub(super) fn take_back_unconfirmed(&mut self, now: Moment) -> Vec<Offender> {
        let held = UNCONFIRMED.map(|name| self.ledger.held_by(&Executable::new(name)));
        let held: Vec<Key> = held.into_iter().flatten().collect();
        for key in &held {
            let whom = Whom::Key(key.clone());
            let unban = ledger::Event::Unban(whom, End::NotConfirmed);
            self.ledger.apply(unban, now);
        }
        self.perform(now);
        held.into_iter().map(|key| key.offender).collect()
    }

    /// Tells of an end that has to do with a confirmation, and says whether it is no end like others.
    pub(super) fn is_told_otherwise(&mut self, past: &Past) -> bool {
        match past.end {
            End::NotConfirmed => self.journal.not_confirmed(past),
            End::Lifted { .. } => {
                self.told_lifted.remove(&past.key);
                // The enforcer may have refused it.
                if self.stands(&past.key) {
                    self.journal.put_back(past);
                    self.responses.put_back(&past.key);
                }
                return true;
            }
            // It was told when it was lifted.
            End::Hand { .. } => return self.told_lifted.remove(&past.key),
            _ => {}
        }
        false
    }
}

/// What a change is, and the key that it is about.
fn named(key: &Key, pending: &Pending) -> (view::Provisional, Key) {
    match &pending.change {
        Provisional::Ban(ban) => (view::Provisional::Ban, ban.key.clone()),
        Provisional::Unban { .. } => (view::Provisional::Unban, key.clone()),
    }
}

pub(super) fn deadline(confirm_by: Moment, clocks: Clocks) -> view::Deadline {
    view::Deadline {
        seconds_left: confirm_by.since(clocks.moment).as_secs_f64(),
        at: rfc3339(confirm_by, clocks),
    }
}
