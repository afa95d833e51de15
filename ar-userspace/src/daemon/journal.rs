//! What the daemon logs, and when: a ban is told after it was made, never before (AR-IMP-5).
//!
//! Text of an alert is escaped by whoever made it displayable; nothing here prints it raw.

mod clocks;
mod confirm;
mod events;
mod orders;
mod quiet;

use std::time::Duration;

use crate::alert::{Alert, Malformed};
use crate::config::Config;
use crate::control::Publisher;
use crate::enforcer::Enforcer;
use crate::ledger::{Action, Effect, Key, Ruling, Rung};
use crate::offender::Offender;
use crate::policy::{Guard, Offence, Reason, Refusal, Target};
use crate::source::file::Start;
use crate::time::{Expiry, Moment};

use super::Settings;

/// Malformed lines are told at most this often.
const MALFORMED_EVERY: Duration = Duration::from_secs(10);

/// Offences that wait to be told at most, apart from those of one batch: less than a tenth of a second's.
const WAITING: usize = 16_384;
/// Addresses that are told one by one when many become protected at once.
const PROTECTED_TOLD: usize = 16;

/// The log, and what waits to be told.
#[derive(Debug)]
pub(super) struct Journal {
    config_name: String,
    /// Line of each response, by its index.
    lines: Vec<(usize, usize)>,
    events: Publisher,
    waiting: Vec<Note>,
    malformed_told: Option<Moment>,
    malformed_untold: u64,
}

/// How far store and kernel were apart at the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Drift {
    /// Bans that the store remembers and that still run.
    pub(super) stored: usize,
    /// Of these, bans that the kernel did not hold, or with another end.
    pub(super) corrected: usize,
    /// Bans that only the kernel knew.
    pub(super) adopted: usize,
}

/// An offence that the ledger has ruled on.
#[derive(Debug)]
struct Note {
    told: Told,
    ruling: Ruling,
    failed: bool,
}

/// What is told of an offence.
#[derive(Clone, Debug)]
pub(super) struct Told {
    key: Key,
    rule_id: u32,
    /// Line of the section at that time: a reload moves sections.
    line: usize,
    alert_id: Option<Box<str>>,
}

impl Told {
    pub(super) fn key(&self) -> &Key {
        &self.key
    }
}

impl Journal {
    pub(super) fn new(settings: &Settings) -> Self {
        let name = settings
            .config_path
            .file_name()
            .unwrap_or(settings.config_path.as_os_str());
        Self {
            config_name: name.to_string_lossy().into_owned(),
            lines: lines(&settings.config),
            events: Publisher::default(),
            waiting: Vec::with_capacity(WAITING),
            malformed_told: None,
            malformed_untold: 0,
        }
    }

    /// The daemon follows its file and enforces.
    pub(super) fn ready(
        &self,
        settings: &Settings,
        enforcer: &dyn Enforcer,
        start: Start,
    ) -> anyhow::Result<()> {
        for place in enforcer.condition()?.places {
            place.tell();
        }
        let alerts = settings.alerts.display();
        if let Some(warning) = start.warning() {
            tracing::warn!(%alerts, "{warning}");
        }
        if !settings.config.enabled {
            tracing::warn!(
                config = %settings.config_path.display(),
                "active response is switched off by `disabled`: nobody will be banned"
            );
        }
        tracing::info!(
            config = %settings.config_path.display(),
            responses = settings.config.responses.len(),
            %alerts,
            enforcer = enforcer.name(),
            "ready"
        );
        Ok(())
    }

    /// What another enforcer had left is gone, or is not.
    pub(super) fn succeeded(&self, removed: anyhow::Result<()>) {
        match removed {
            Ok(()) => tracing::info!("removed what another enforcer had left in the kernel"),
            Err(error) => tracing::error!("what another enforcer left still bans: {error:#}"),
        }
    }

    /// What the start found in the store and in the kernel.
    pub(super) fn reconciled(&self, drift: Drift) {
        let Drift {
            stored,
            corrected,
            adopted,
        } = drift;
        if stored > 0 || adopted > 0 {
            tracing::info!(
                stored,
                corrected,
                adopted,
                "bans taken over from before the start"
            );
        }
    }

    /// A ban of the store that the enforcer does not take. It stays in the ledger, and a repeat tries again.
    pub(super) fn not_restored(&self, cause: &str) {
        tracing::error!("a ban of the store is not enforced: {cause}");
        self.failure_of(None, "restoring a ban of the store", cause);
    }

    /// Bans that stay when the daemon goes.
    pub(super) fn left(&self, count: usize) {
        if count > 0 {
            tracing::info!(
                count,
                "bans stay in the kernel until their time; `arfw stop --release` ends them"
            );
        }
    }

    pub(super) fn malformed(&mut self, malformed: &Malformed, now: Moment) {
        let silent = self
            .malformed_told
            .is_some_and(|told| now.since(told) < MALFORMED_EVERY);
        if silent {
            self.malformed_untold += 1;
            return;
        }
        let untold = std::mem::take(&mut self.malformed_untold);
        self.malformed_told = Some(now);
        tracing::warn!(untold, "skipped a malformed line: {malformed}");
    }

    pub(super) fn refused(&self, alert: &Alert<'_>, refusal: &Refusal) {
        self.refused_event(alert, refusal);
        let rule = alert.rule_id.unwrap_or(0);
        match refusal {
            // As expected: the configuration says so.
            Refusal::Disabled | Refusal::NoOffender => tracing::debug!(rule, "no ban: {refusal}"),
            Refusal::Injection { .. } => tracing::warn!(rule, "no ban: {refusal}"),
            _ => tracing::info!(rule, "no ban: {refusal}"),
        }
    }

    /// Who must stay reachable, at the start.
    pub(super) fn protects(&self, guard: &Guard) {
        for address in guard.hosts() {
            let reason = guard.reason(address);
            tracing::debug!(%address, "protected: {}", reason.map_or(String::new(), |it| it.to_string()));
        }
    }

    /// Who must stay reachable from here on and need not before.
    pub(super) fn protects_beyond(&self, guard: &Guard, older: &Guard) {
        let mut hosts = guard.hosts_beyond(older);
        for address in hosts.by_ref().take(PROTECTED_TOLD) {
            if let Some(reason) = guard.reason(address) {
                tracing::info!(%address, "protected from here on: {reason}");
            }
        }
        let untold = hosts.count();
        if untold > 0 {
            tracing::info!(untold, "further addresses are protected from here on");
        }
    }

    /// Somebody who is banned must be reachable from here on.
    pub(super) fn released(&self, offender: Offender, reason: &Reason) {
        tracing::warn!(address = %offender, "releasing a ban: the address is protected: {reason}");
    }

    /// An alert that fires, and that was handled before.
    pub(super) fn repeated(&self, alert: &Alert<'_>) {
        let rule = alert.rule_id.unwrap_or(0);
        tracing::debug!(rule, id = ?alert.id, "no offence: the alert was read before");
    }

    /// An offence that other hosts are to act on.
    pub(super) fn elsewhere(&self, offence: &Offence) {
        let target = match &offence.target {
            Target::Server => "this host".to_owned(),
            Target::Agent(agent) => format!("agent {}", agent.as_str()),
            Target::AllAgents => "all agents".to_owned(),
        };
        tracing::info!(
            address = %offence.offender,
            rule = offence.rule_id,
            section = self.section(self.line(offence.response)),
            target,
            "not for this host, and other hosts cannot be reached yet"
        );
    }

    /// An executable without state did its work: there is no ban.
    pub(super) fn ran(&self, key: &Key) {
        tracing::info!(address = %key.offender, by = key.executable.name(), "ran, without a ban");
    }

    /// An executable did not do what it was asked to do.
    pub(super) fn not_run(&self, key: &Key, action: Option<Action>, cause: &str) {
        tracing::error!(
            address = %key.offender,
            by = key.executable.name(),
            "{} failed: {cause}",
            action.map_or("a run", what)
        );
        self.failure(Some(key), action, cause);
    }

    /// A ban stays behind because its executable did not end in time.
    pub(super) fn not_reversed(&self, key: &Key) {
        tracing::error!(
            address = %key.offender,
            by = key.executable.name(),
            "not reversed before the end: the executable did not finish, reverse it by hand"
        );
        self.failure_of(
            Some(key),
            "unban",
            "the executable did not finish before the end",
        );
    }

    /// Keeps what will be told of an offence before it is handed to the ledger.
    pub(super) fn offence(&self, offence: &Offence) -> Told {
        Told {
            key: Key {
                offender: offence.offender,
                executable: offence.executable.clone(),
            },
            rule_id: offence.rule_id,
            line: self.line(offence.response),
            alert_id: offence.alert_id.clone(),
        }
    }

    /// What the ledger decided about it; told by [`Journal::flush`].
    pub(super) fn ruled(&mut self, told: Told, ruling: Ruling) {
        self.waiting.push(Note {
            told,
            ruling,
            failed: false,
        });
    }

    /// An effect was not performed: nothing that waits for it is told as done.
    pub(super) fn failed(&mut self, effect: &Effect, cause: &str) {
        tracing::error!(
            address = %effect.key.offender,
            by = effect.key.executable.name(),
            "{} failed: {cause}",
            what(effect.action)
        );
        self.failure(Some(&effect.key), Some(effect.action), cause);
        for note in self
            .waiting
            .iter_mut()
            .filter(|note| note.told.key == effect.key)
        {
            note.failed = true;
        }
    }

    /// An effect was performed. Bans are told with their offence by [`Journal::flush`].
    pub(super) fn performed(&self, effect: &Effect) {
        if effect.action == Action::Unban {
            tracing::info!(
                address = %effect.key.offender,
                by = effect.key.executable.name(),
                "unban"
            );
        }
    }

    /// Whether so much waits to be told that it should not wait longer.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    /// Tells what was ruled since the last time, now that it is done.
    pub(super) fn flush(&mut self, now: Moment) {
        if self.waiting.is_empty() {
            return;
        }
        // Room for all is memory only as far as it is used, and is never copied for want of it.
        for note in std::mem::replace(&mut self.waiting, Vec::with_capacity(WAITING)) {
            if !note.failed {
                self.tell(&note.told, note.ruling, now);
            }
        }
    }

    /// Tells what was ruled on an offence, which has been done.
    pub(super) fn tell(&self, told: &Told, ruling: Ruling, now: Moment) {
        self.ruled_event(told, ruling);
        let address = told.key.offender;
        let rule = told.rule_id;
        let by = told.key.executable.name();
        let section = self.section(told.line);
        let alert = told.alert_id.as_deref().unwrap_or("-");
        match ruling {
            Ruling::Banned { until, rung } => tracing::info!(
                %address, length = length(until, now), rule, offence = offence(rung), by, section, alert,
                "ban"
            ),
            Ruling::Moved { until, rung, .. } => tracing::info!(
                %address, length = length(until, now), rule, offence = offence(rung), by, section, alert,
                "moved the end of the ban"
            ),
            Ruling::AlreadyPermanent { .. } => tracing::debug!(
                %address, rule, by, section, alert,
                "banned for ever already"
            ),
            Ruling::OnlyCounted { rung } => tracing::info!(
                %address, rule, offence = rung.offence, by, section, alert,
                "counted; the ban that it asks for is over or another lasts longer"
            ),
            Ruling::Refused { limit, .. } => tracing::error!(
                %address, rule, by, section, alert,
                "no ban: {limit}"
            ),
            Ruling::Done { .. } => {}
        }
    }

    /// Takes the lines of another configuration.
    pub(super) fn configure(&mut self, config: &Config) {
        self.lines = lines(config);
    }

    pub(super) fn line(&self, response: usize) -> usize {
        self.lines
            .binary_search_by_key(&response, |&(index, _)| index)
            .map_or(0, |found| self.lines[found].1)
    }

    pub(super) fn section(&self, line: usize) -> String {
        format!("{}:{line}", self.config_name)
    }
}

fn lines(config: &Config) -> Vec<(usize, usize)> {
    config
        .responses
        .iter()
        .map(|response| (response.index, response.line))
        .collect()
}

fn what(action: Action) -> &'static str {
    match action {
        Action::Ban { .. } => "ban",
        Action::Move { .. } => "moving the end of a ban",
        Action::Unban => "unban",
        Action::Retract { .. } => "taking a change back",
    }
}

/// How long from here on, to the second; a ban was given its length a moment ago, hence the rounding.
fn length(until: Expiry, now: Moment) -> String {
    match until.left(now) {
        Some(left) => rounded(left).to_string(),
        None => "ever".to_owned(),
    }
}

fn rounded(duration: Duration) -> humantime::FormattedDuration {
    let seconds = duration
        .saturating_add(Duration::from_millis(500))
        .as_secs();
    humantime::format_duration(Duration::from_secs(seconds))
}

fn offence(rung: Option<Rung>) -> u32 {
    rung.map_or(0, |rung| rung.offence)
}
