//! Executables and the ledger: what fires is run, and what comes of a run changes the ledger (AR-WIRE-3).
//!
//! A run's ban is told and counted once the executable has done it, never before (AR-IMP-5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::journal::Told;
use super::{Daemon, Raised};
use crate::alert::Alert;
use crate::clock;
use crate::config::{Config, Executable};
use crate::enforcer::exec::wire::{Call, Said, Verb};
use crate::enforcer::exec::{Ending, Outcome, Report, RunId};
use crate::ledger::{self, Action, AlertId, Key, OnStop, Ruling, Whom};
use crate::policy::Offence;
use crate::time::Moment;

/// How long an orderly stop waits for executables that reverse bans. Less than `arfw stop` waits.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// What is needed of the responses and the runs between a start and its outcome.
#[derive(Debug, Default)]
pub(super) struct Fired {
    extra_args: BTreeMap<usize, Arc<[String]>>,
    runs: BTreeMap<RunId, (Raised, Told, Ruling)>,
    /// Runs whose bans were ended by hand before they said what they are about.
    lifted: BTreeSet<RunId>,
    /// The daemon is about to end: nothing new is begun.
    stopping: bool,
}

impl Fired {
    pub(super) fn new(config: &Config) -> Self {
        let mut fired = Self::default();
        fired.configure(config);
        fired
    }

    /// Takes the arguments of another configuration. Runs keep those that they began with.
    pub(super) fn configure(&mut self, config: &Config) {
        let extra_args = |response: &crate::config::Response| {
            (response.index, response.extra_args.as_slice().into())
        };
        self.extra_args = config.responses.iter().map(extra_args).collect();
    }

    /// Takes note that bans of these keys were ended by hand: what runs for them may not ban under another key.
    pub(super) fn lift(&mut self, keys: &BTreeSet<&Key>) {
        let runs = self.runs.iter();
        let lifted = runs.filter(|(_, (_, told, _))| keys.contains(told.key()));
        self.lifted.extend(lifted.map(|(&run, _)| run));
    }

    /// What an executable, or the log in its place, is told about an offence.
    pub(super) fn call(&self, offence: &Offence, alert: &Alert<'_>, line: &[u8]) -> Call {
        let extra_args = self.extra_args.get(&offence.response).cloned();
        Call {
            program: offence.executable.clone(),
            extra_args: extra_args.unwrap_or_else(|| Arc::new([])),
            alert: String::from_utf8_lossy(line).trim().into(),
            offender: offence.offender,
            user: alert.dstuser.as_deref().map(Box::from),
            rule_id: offence.rule_id,
            alert_id: AlertId::new(offence.alert_id.as_deref().unwrap_or_default()),
        }
    }
}

impl Daemon {
    /// A response fired whose executable is to be run; what the ledger decided, which the run may yet undo.
    pub(super) fn fire(&mut self, raised: Raised, call: Call, now: Moment) -> Ruling {
        let told = self.journal.offence(&raised.offence);
        let key = told.key().clone();
        let fired = raised.clone();
        let ruling = self.ledger.apply(raised.into(), now);
        match ruling {
            Ruling::Refused { .. } => self.counts.over_limit += 1,
            Ruling::OnlyCounted { .. } | Ruling::Done { .. } => {}
            Ruling::Banned { .. } | Ruling::Moved { .. } | Ruling::AlreadyPermanent { .. } => {
                let run = self.programs.request(key, call, ruling);
                self.fired.runs.insert(run, (fired, told, ruling));
                return ruling;
            }
        }
        self.journal.ruled(told, ruling);
        ruling
    }

    /// Hears what a run tells.
    pub(super) fn hear(&mut self, report: Report) {
        let now = clock::now();
        match report {
            Report::Keys { run, said, answer } => self.hear_keys(run, &said, answer, now),
            Report::Ended { run, ending } => self.programs.ended(run, ending),
        }
        self.perform(now);
    }

    /// An executable says which key it is about: the ledger's own, or another, which the ban then follows.
    fn hear_keys(&mut self, run: RunId, said: &Said, answer: oneshot::Sender<Verb>, now: Moment) {
        let Some((key, program)) = self.programs.key_of(run) else {
            return;
        };
        if said.is_about(key.offender) {
            self.programs.confirm(run, said, answer);
            return;
        }
        let name = said.key_name(&program);
        match self.programs.keeper(&name, key.offender) {
            None => {
                self.counts.over_limit += 1;
                self.journal
                    .not_run(&key, None, "too many keys to tell them apart");
                self.move_ban(run, &key, None, answer, now);
            }
            Some(offender) if offender == key.offender && name == key.executable => {
                self.programs.confirm(run, said, answer);
            }
            Some(offender) => {
                let other = Key {
                    offender,
                    executable: name,
                };
                self.move_ban(run, &key, Some(other), answer, now);
            }
        }
    }

    /// Takes back what was ruled for the address, and has the ledger rule for the other key; without one the
    /// run is told to do nothing.
    fn move_ban(
        &mut self,
        run: RunId,
        key: &Key,
        other: Option<Key>,
        answer: oneshot::Sender<Verb>,
        now: Moment,
    ) {
        let new_key = other.clone().unwrap_or_else(|| key.clone());
        if let Some(effect) = self.programs.move_to(run, new_key) {
            self.ledger.apply(ledger::Event::NotMade(effect), now);
        }
        // It was no offence of the address's.
        let whom = Whom::Key(key.clone());
        self.ledger.apply(ledger::Event::Forgive(whom), now);
        self.perform_effects(now);
        let ruling = other
            .filter(|_| !self.fired.stopping && !self.fired.lifted.contains(&run))
            .and_then(|other| self.rule_again(run, other, now));
        let verb = match ruling {
            Some(Ruling::Banned { .. }) => Verb::Continue,
            _ => Verb::Abort,
        };
        self.programs.moved(run, verb, answer);
    }

    fn rule_again(&mut self, run: RunId, other: Key, now: Moment) -> Option<Ruling> {
        let (raised, told, ruled) = self.fired.runs.get_mut(&run)?;
        raised.offence.executable = other.executable;
        raised.offence.offender = other.offender;
        *told = self.journal.offence(&raised.offence);
        let ruling = self.ledger.apply(raised.clone().into(), now);
        *ruled = ruling;
        self.perform_effects(now);
        Some(ruling)
    }

    /// Takes note of what became of runs. What was not done is taken back in the ledger.
    pub(super) fn take_outcomes(&mut self, now: Moment) -> bool {
        let mut any = false;
        while let Some(outcome) = self.programs.next_outcome() {
            any = true;
            let fired = self.fired.runs.remove(&outcome.run);
            self.fired.lifted.remove(&outcome.run);
            match outcome.verb {
                Verb::Delete => self.deleted(outcome),
                _ => self.added(outcome, fired, now),
            }
        }
        any
    }

    fn added(&mut self, outcome: Outcome, fired: Option<(Raised, Told, Ruling)>, now: Moment) {
        let Outcome {
            key,
            effect,
            ending,
            left_out,
            ..
        } = outcome;
        self.counts.runs += u64::from(!left_out);
        match ending {
            Ending::Acted | Ending::Aborted => {
                let ruled_at = effect.as_ref().map_or(now, |effect| effect.at);
                // The ban that it would have moved may have failed in the meantime.
                let stands = || {
                    let mut records = self.ledger.records_of(key.offender);
                    records.any(|record| record.key == key && record.ban.is_some())
                };
                if let Some((_, told, ruling)) = fired
                    && (ending == Ending::Acted || stands())
                {
                    self.journal.tell(&told, ruling, ruled_at);
                    if let Some(effect) = &effect {
                        self.count(effect);
                    }
                }
            }
            Ending::Stateless => {
                self.journal.ran(&key);
                self.forget(effect, key, now);
            }
            Ending::Failed { cause, .. } => {
                self.counts.failed += 1;
                self.counts.left_out += u64::from(left_out);
                let action = effect.as_ref().map(|effect| effect.action);
                self.journal.not_run(&key, action, &cause);
                if let Some(effect) = effect {
                    self.ledger.apply(ledger::Event::Failed(effect), now);
                }
            }
        }
    }

    fn deleted(&mut self, outcome: Outcome) {
        match (outcome.ending, outcome.effect) {
            (Ending::Failed { cause, .. }, _) => {
                self.counts.failed += 1;
                self.journal
                    .not_run(&outcome.key, Some(Action::Unban), &cause);
            }
            (_, Some(effect)) => {
                self.counts.runs += 1;
                self.count(&effect);
                self.journal.performed(&effect);
            }
            // A ban that had failed half way was made good.
            (_, None) => self.counts.runs += 1,
        }
    }

    /// An executable without state made no ban, and there is nothing to count against the key.
    fn forget(&mut self, effect: Option<ledger::Effect>, key: Key, now: Moment) {
        if let Some(effect) = effect {
            self.ledger.apply(ledger::Event::NotMade(effect), now);
        }
        self.ledger
            .apply(ledger::Event::Forgive(Whom::Key(key)), now);
    }

    /// Reverses what executables have to reverse, for a limited time (AR-TIME-9).
    pub(super) async fn stop_programs(
        &mut self,
        reports: &mut tokio::sync::mpsc::Receiver<Report>,
    ) {
        let now = clock::now();
        self.fired.stopping = true;
        self.programs.drop_waiting();
        let on_stop = if self.settings.release_on_stop {
            OnStop::ReleaseAll
        } else {
            OnStop::ReleasePrograms
        };
        self.ledger.apply(ledger::Event::Stop(on_stop), now);
        self.perform(now);
        let deadline = sleep(STOP_WITHIN);
        tokio::pin!(deadline);
        while !self.programs.is_idle() {
            tokio::select! {
                Some(report) = reports.recv() => self.hear(report),
                () = &mut deadline => break,
            }
        }
        for key in self.programs.unfinished() {
            self.journal.not_reversed(key);
        }
    }

    /// The first of the executables that the kernel stands in for: bans that are found there get its name.
    pub(super) fn adopted_as(&self) -> Executable {
        let first = self.settings.kernel_executables.first();
        Executable::new(first.map_or(super::ADOPTED_AS, String::as_str))
    }
}
