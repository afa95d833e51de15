//! Owns the ledger in one task and loops over one closed `Event`: nothing else can wake it.
//!
//! Data flows one way: a batch of lines becomes alerts, offences, and effects, which are performed
//! before anything is logged or counted as done (AR-IMP-5).

mod guarding;
pub mod instance;
mod journal;
pub mod view;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::alert::{Alert, Malformed};
use crate::clock::{self, Alarm};
use crate::config::{Config, Enforcement, Executable};
use crate::control::{self, Request, view::Counts};
use crate::enforcer::{Enforcer, Leave};
use crate::ledger::{self, Action, Adoption, Effect, Key, Ledger, Limits, OnStop, Ruling};
use crate::policy::{Decision, Guard, Offence, Policy, Target};
use crate::source::{self, Batch, file::Follower};
use crate::surroundings::{self, Found, Sessions, Watch};
use crate::time::Moment;
use instance::Instance;
use journal::Journal;

/// The key that a ban found in the kernel is given: the kernel knows no executable.
const ADOPTED_AS: &str = "firewall-drop";

/// What the daemon is started with. Nothing of it has been touched yet.
#[derive(Debug)]
pub struct Settings {
    /// Where the configuration was read from, for messages.
    pub config_path: PathBuf,
    /// What it means.
    pub config: Config,
    /// The file to follow.
    pub alerts: PathBuf,
    /// Directory of the lock and the control socket.
    pub run_dir: PathBuf,
    /// Whether a stop lets everyone go.
    pub release_on_stop: bool,
    /// Who is protected besides those that are looked up.
    pub surroundings: surroundings::Settings,
}

/// Runs until it is told to stop. Must be called within a current-thread runtime with I/O.
///
/// `enforcer` is called once the run directory is taken, so that two daemons never load the program
/// side by side; it tells the enforcer and the bans of each family that it has room for.
///
/// # Errors
///
/// When something that is needed cannot be had, or the alerts cannot be followed any longer.
pub async fn run(
    settings: Settings,
    enforcer: impl FnOnce() -> anyhow::Result<(Box<dyn Enforcer>, Limits)>,
) -> anyhow::Result<()> {
    let instance = Instance::take(&settings.run_dir)?;
    let mut stops = Stops::listen()?;
    // Before the enforcer, so that alerts which are written while it starts are read.
    let follower = Follower::at_end(&settings.alerts)
        .with_context(|| format!("cannot follow `{}`", settings.alerts.display()))?;
    let alerts_found = follower.is_open();
    let (enforcer, limits) = enforcer()?;
    let (watch, found) = Watch::start(settings.surroundings.clone())?;
    let mut daemon = Daemon::new(settings, enforcer, limits, alerts_found)?;
    daemon.adopt()?;
    daemon.protect_first(found);

    let (batch_sender, mut batches) = mpsc::channel(source::QUEUE);
    let (request_sender, mut requests) = mpsc::channel(control::QUEUE);
    let socket = daemon.settings.run_dir.join("arfw.sock");
    let server = tokio::spawn(control::serve(&socket, request_sender)?);
    let mut follow = tokio::spawn(follower.follow(batch_sender));
    let (find_sender, mut finds) = mpsc::channel(1);
    let watching = tokio::spawn(watch.follow(find_sender));
    daemon
        .journal
        .ready(&daemon.settings, daemon.enforcer.as_ref(), alerts_found)?;

    let ended = loop {
        daemon
            .alarm
            .set(daemon.ledger.next_deadline())
            .context("cannot set the alarm")?;
        let event = tokio::select! {
            biased;
            name = stops.any() => Event::Stop(name),
            rung = daemon.alarm.ring() => {
                rung.context("cannot wait for the timer")?;
                Event::DeadlineReached
            }
            // Before the alerts: an address that has just become the host's own is not banned.
            Some(found) = finds.recv() => Event::SurroundingsFound(found),
            Some(request) = requests.recv() => Event::Asked(request),
            Some(batch) = batches.recv() => Event::Records(batch),
            ended = &mut follow => Event::SourceEnded(ended.map_err(io::Error::other).flatten()),
        };
        match event {
            Event::Records(batch) => daemon.read(&batch),
            Event::DeadlineReached => daemon.let_go(),
            Event::SurroundingsFound(found) => daemon.protect(found),
            Event::Asked(request) => daemon.answer(request),
            Event::SourceEnded(ended) => {
                break ended.with_context(|| {
                    format!(
                        "cannot follow `{}` any longer",
                        daemon.settings.alerts.display()
                    )
                });
            }
            Event::Stop(name) => {
                tracing::info!("stopping on {name}");
                break Ok(());
            }
        }
    };

    follow.abort();
    watching.abort();
    server.abort();
    // Somebody may have removed it; it is of no use to anyone any more.
    let _ = std::fs::remove_file(&socket);
    let closed = daemon.close();
    drop(instance);
    ended.and(closed)
}

/// All that can wake the daemon.
#[derive(Debug)]
enum Event {
    /// Lines of the followed file.
    Records(Batch),
    /// The ledger's next deadline has come.
    DeadlineReached,
    /// What must stay reachable has been looked up again.
    SurroundingsFound(Found),
    /// Somebody asks at the control socket.
    Asked(Request),
    /// The file cannot be followed any longer.
    SourceEnded(io::Result<()>),
    /// A signal asks for an orderly stop.
    Stop(&'static str),
}

struct Daemon {
    settings: Settings,
    policy: Policy,
    guard: Guard,
    sessions: Sessions,
    ledger: Ledger,
    enforcer: Box<dyn Enforcer>,
    limits: Limits,
    alarm: Alarm,
    counts: Counts,
    journal: Journal,
    started: Moment,
    alerts_found: bool,
}

impl Daemon {
    fn new(
        settings: Settings,
        enforcer: Box<dyn Enforcer>,
        limits: Limits,
        alerts_found: bool,
    ) -> anyhow::Result<Self> {
        let ledger = Ledger::new(ledger::Settings {
            repeated_offenders: settings.config.repeated_offenders.clone(),
            limits,
            ..ledger::Settings::default()
        });
        Ok(Self {
            policy: Policy::new(Arc::new(settings.config.clone())),
            guard: Guard::default(),
            sessions: Sessions::default(),
            ledger,
            enforcer,
            limits,
            alarm: Alarm::new().context("cannot make a timer")?,
            counts: Counts::default(),
            journal: Journal::new(&settings),
            started: clock::now(),
            settings,
            alerts_found,
        })
    }

    /// Takes over what an earlier daemon left in the kernel (AR-IMP-2).
    fn adopt(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let found = self.enforcer.enforced(clock::kernel_clock())?;
        for ban in &found {
            let key = Key {
                offender: ban.offender,
                executable: Executable::new(ADOPTED_AS),
            };
            let adoption = Adoption {
                key,
                since: ban.standing.since,
                until: ban.standing.until,
                rule_id: ban.standing.rule_id,
            };
            self.ledger.apply(ledger::Event::Adopt(adoption), now);
        }
        self.perform(now);
        self.journal.adopted(found.len());
        Ok(())
    }

    fn read(&mut self, batch: &Batch) {
        let now = clock::now();
        self.counts.too_long += batch.skipped_long;
        for line in batch.lines() {
            self.counts.lines += 1;
            self.read_line(line, now);
        }
        self.perform(now);
    }

    fn read_line(&mut self, line: &[u8], now: Moment) {
        match Alert::parse(line) {
            Ok(alert) => self.judge(&alert, now),
            // Bytes that an attacker put into a log must not hide his alert.
            Err(Malformed::NotUtf8 { .. }) => {
                self.read_line(String::from_utf8_lossy(line).as_bytes(), now);
            }
            Err(malformed) => {
                self.counts.malformed += 1;
                self.journal.malformed(&malformed, now);
            }
        }
    }

    fn judge(&mut self, alert: &Alert<'_>, now: Moment) {
        match self.decide(alert, now) {
            Decision::Unmatched => {}
            Decision::Refused { refusal, .. } => {
                self.counts.matched += 1;
                self.counts.refused += 1;
                self.journal.refused(alert, &refusal);
            }
            Decision::Fired(offences) => {
                self.counts.matched += 1;
                for offence in offences {
                    self.offend(offence, now);
                }
            }
        }
    }

    fn offend(&mut self, offence: Offence, now: Moment) {
        if offence.target != Target::Server {
            self.counts.elsewhere += 1;
            self.journal.elsewhere(&offence);
        } else if offence.enforcement != Enforcement::Kernel {
            self.counts.unsupported += 1;
            self.journal.unsupported(&offence);
        } else {
            let told = self.journal.offence(&offence);
            let ruling = self
                .ledger
                .apply(ledger::Event::Offence { offence, at: now }, now);
            if let Ruling::Refused { .. } = ruling {
                self.counts.over_limit += 1;
            }
            self.journal.ruled(told, ruling);
        }
    }

    fn let_go(&mut self) {
        let now = clock::now();
        self.ledger.handle_timeout(now);
        self.perform(now);
    }

    /// Performs what the ledger wants, and tells it what failed.
    fn perform(&mut self, now: Moment) {
        loop {
            let effects: Vec<Effect> = std::iter::from_fn(|| self.ledger.next_effect()).collect();
            if effects.is_empty() {
                break;
            }
            let failures = self.enforcer.perform(&effects, clock::kernel_clock());
            let mut failures = failures.into_iter().peekable();
            for (index, effect) in effects.into_iter().enumerate() {
                match failures.next_if(|failure| failure.effect == index) {
                    Some(failure) => {
                        self.counts.failed += 1;
                        self.journal.failed(&effect, &failure.cause);
                        self.ledger.apply(ledger::Event::Failed(effect), now);
                    }
                    None => {
                        self.count(&effect);
                        self.journal.performed(&effect);
                    }
                }
            }
        }
        self.journal.flush(now);
    }

    fn count(&mut self, effect: &Effect) {
        match effect.action {
            Action::Ban { .. } => self.counts.bans += 1,
            Action::Move { .. } => self.counts.moved += 1,
            Action::Unban => self.counts.unbans += 1,
            Action::Retract { .. } => {}
        }
    }

    fn answer(&self, request: Request) {
        match request {
            Request::Status(reply) => reply_with(reply, self.status()),
            Request::Bans(reply) => reply_with(reply, self.bans()),
        }
    }

    /// Ends the enforcement as the settings say. Without a ban there is nothing to leave behind.
    fn close(mut self) -> anyhow::Result<()> {
        let now = clock::now();
        if self.settings.release_on_stop {
            self.ledger
                .apply(ledger::Event::Stop(OnStop::ReleaseAll), now);
            self.perform(now);
        }
        let standing = self.ledger.standings(now).count();
        self.journal.left(standing);
        let leave = if standing == 0 {
            Leave::Nothing
        } else {
            Leave::Bans
        };
        self.enforcer.close(leave).context("cannot clean up")
    }
}

/// Answers; a reply that is dropped tells the client that there is no answer.
fn reply_with<T>(reply: oneshot::Sender<T>, answer: anyhow::Result<T>) {
    match answer {
        // Whoever asked may be gone by now, which is no concern of ours.
        Ok(answer) => drop(reply.send(answer)),
        Err(error) => tracing::error!("cannot answer at the control socket: {error:#}"),
    }
}

/// Signals that ask for an orderly stop.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
