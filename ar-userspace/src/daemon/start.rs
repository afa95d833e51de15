//! A daemon is put together from what was started before its enforcer, and from the store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, anyhow};
use foldhash::quality::RandomState;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::drift::Drift;
use super::handled::Handled;
use super::journal::Journal;
use super::lag::Lag;
use super::metrics::Metrics;
use super::programs::Fired;
use super::responses::Responses;
use super::service::Service;
use super::steps::Steps;
use super::{Daemon, SectionLines, Settings, Started, links, node, reload};
use crate::clock::{self, Alarm};
use crate::control::view::Counts;
use crate::enforcer::exec::{Programs, Report};
use crate::enforcer::{Enforcer, Leave};
use crate::ledger::{self, Ledger, Limits};
use crate::policy::{Guard, Policy};
use crate::quiet::Quiets;
use crate::recent::Recent;
use crate::responses_log::Lines;
use crate::source::Condition;
use crate::source::file::{Follower, Start};
use crate::store::{self, Held, Store};
use crate::surroundings::{self, Sessions};
use crate::time::{Boot, Clocks};

/// What a daemon needs besides, all of which is there before the enforcer starts.
pub(super) struct Tools {
    pub(super) source: reload::Source,
    pub(super) surroundings: watch::Sender<surroundings::Settings>,
    pub(super) service: Service,
    pub(super) alarm: Alarm,
    pub(super) lines: Option<Lines>,
}

/// Starts the enforcer while what is remembered is read: with a million bans, either takes half a second. Alerts that are
/// written meanwhile are read. What was found enforced is in the order of offenders.
///
/// # Errors
///
/// When either fails. An enforcer that has been started is closed, and leaves the bans that it has found.
pub(super) fn side_by_side(
    settings: &Settings,
    enforcer: impl FnOnce() -> anyhow::Result<Started>,
) -> anyhow::Result<(Started, Remembered)> {
    let runtime = Handle::current();
    let (started, remembered) = thread::scope(|threads| {
        let remembered = thread::Builder::new()
            .name("remember".to_owned())
            .spawn_scoped(threads, || {
                let _entered = runtime.enter();
                Remembered::read(settings)
            })
            .context("cannot start a thread")?;
        let mut started = enforcer()?;
        // As the ledger has its own, which is still being read.
        let found = &mut started.found;
        found.sort_unstable_by_key(|&(offender, _)| offender);
        let remembered = remembered.join();
        let remembered = remembered.map_err(|_| anyhow!("its thread panicked"));
        Ok::<_, anyhow::Error>((started, remembered.flatten()))
    })?;
    match remembered {
        Ok(remembered) => Ok((started, remembered)),
        Err(error) => {
            let leave = match started.found.is_empty() {
                true => Leave::Nothing,
                false => Leave::Bans,
            };
            Err(given_up(error, started.enforcer.close(leave)))
        }
    }
}

/// What the store remembers, and the alert file from where it was read to.
pub(super) struct Remembered {
    pub(super) store: Store,
    /// All but the records.
    pub(super) held: Held,
    pub(super) restored: Restored,
    pub(super) follower: Follower,
    pub(super) start: Start,
}

impl Remembered {
    /// Opens both.
    pub(super) fn read(settings: &Settings) -> anyhow::Result<Self> {
        let (store, held, records) = Store::start(&settings.state_dir)?;
        let alerts = &settings.alerts;
        let (follower, start) = Follower::start(alerts, held.positions.get(alerts))
            .with_context(|| format!("cannot follow `{}`", alerts.display()))?;
        let restored = Restored::new(settings, &store, records);
        Ok(Self {
            restored: restored.context("cannot restore the bans")?,
            store,
            held,
            follower,
            start,
        })
    }
}

/// What the records say.
pub(super) struct Restored {
    ledger: Ledger,
    /// That it was reckoned by.
    clocks: Clocks,
    boot: Boot,
}

impl Restored {
    /// The ledger as the store remembers it, which is still to be told of the enforcer's limits.
    fn new(settings: &Settings, store: &Store, records: store::Records) -> anyhow::Result<Self> {
        let ledger_settings = ledger::Settings {
            repeated_offenders: settings.config.repeated_offenders.clone(),
            limits: Limits::default(),
            forgive_after: settings.forgive_after,
            debounce: settings.debounce,
            shadow: settings.shadow.all,
        };
        let clocks = clock::clocks();
        let boot = clock::boot(clocks).reading(store.boot());
        store.reckon(boot);
        let stored = boot.clocks(clocks.moment);
        let mut unreadable = Ok(());
        let records = records.map_while(|some| some.map_err(|error| unreadable = Err(error)).ok());
        let records = records.flatten().map(|record| record.since_boot(stored));
        let mut ledger = Ledger::restore(ledger_settings, records, clocks.moment);
        unreadable?;
        ledger.track_changes();
        Ok(Self {
            ledger,
            clocks,
            boot,
        })
    }
}

impl Daemon {
    pub(super) fn new(
        settings: Settings,
        tools: Tools,
        store: Store,
        restored: Restored,
        enforcer: Box<dyn Enforcer>,
        limits: Limits,
    ) -> (Self, mpsc::Receiver<Report>) {
        let Tools {
            source,
            surroundings,
            service,
            alarm,
            lines,
        } = tools;
        let node = node();
        let for_programs = lines.clone().filter(|_| settings.log_programs);
        let (programs, reports) =
            Programs::new(settings.programs.clone(), node.clone(), for_programs);
        let Restored {
            mut ledger,
            clocks,
            boot,
        } = restored;
        ledger.limit(limits);
        let daemon = Self {
            programs,
            fired: Fired::new(&settings.config),
            responses: Responses::new(lines, node),
            policy: Policy::new(Arc::new(settings.config.clone())),
            guard: Guard::default(),
            sessions: Sessions::default(),
            ledger,
            quiet: Quiets::default(),
            store,
            enforcer,
            sockets: None,
            service,
            limits,
            alarm,
            counts: Counts::default(),
            drift: Drift::default(),
            places: links::Places::default(),
            ended: ledger::History::default(),
            told_lifted: BTreeSet::new(),
            metrics: Metrics::default(),
            handled: Handled::default(),
            recent: Recent::new(RandomState::default()),
            section_lines: SectionLines::new(&settings.config, clocks.moment),
            journal: Journal::new(&settings),
            load: Arc::default(),
            lag: Lag::default(),
            read_to: None,
            condition: watch::channel(Condition::default()).1,
            not_ended: None,
            unsettled_since: None,
            started: clocks.moment,
            steps: Steps::new(boot, clock::kernel_clock()),
            configured: clocks.moment,
            source,
            reading: None,
            surroundings,
            settings,
        };
        (daemon, reports)
    }
}

/// Why a start was given up, and what it could not clean up.
pub(super) fn given_up(cause: anyhow::Error, closed: anyhow::Result<()>) -> anyhow::Error {
    match closed {
        Ok(()) => cause,
        Err(left) => cause.context(format!("{left:#}")),
    }
}
