//! Owns the ledger in one task and loops over one closed `Event`: nothing else can wake it.
//!
//! Data flows one way: a batch of lines becomes alerts, offences, and effects, which are performed
//! before anything is logged or counted as done (AR-IMP-5).

mod ahead;
mod arrival;
mod by_hand;
mod confirm;
mod drift;
mod guarding;
mod handled;
mod history;
pub mod instance;
mod journal;
mod lag;
mod links;
pub mod metrics;
mod orders;
mod perform;
mod programs;
mod quieting;
mod reconcile;
pub mod reload;
mod responses;
mod service;
mod shadow;
mod start;
mod steps;
pub mod view;
mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

use crate::alert::Alert;
use crate::clock::{self, Alarm};
use crate::config::{Config, Enforcement};
use crate::control::{self, Request, view::Counts};
use crate::enforcer::exec::{self, Programs, Report};
use crate::enforcer::sockets::Sockets;
use crate::enforcer::{Enforcer, Leave, Links};
use crate::ledger::{self, Key, Ledger, Limits, Ruling, Standing};
use crate::offender::Offender;
use crate::policy::{Decision, Guard, Offence, Policy, Refusal, Target};
use crate::quiet::Quiets;
use crate::recent::{Act, Deed, Recent};
use crate::responses_log::ResponsesLog;
use crate::source::{self, Batch, Condition, Load, Position};
use crate::store::Store;
use crate::surroundings::{self, Found, LinkWatch, Sessions, Watch};
use crate::time::Moment;
use ahead::{Ahead, Next};
use arrival::Arrival;
pub use by_hand::Widest;
use drift::Drift;
use handled::Handled;
use instance::Instance;
use journal::Journal;
use lag::Lag;
use metrics::Metrics;
use programs::Fired;
use reload::Reading;
use responses::Responses;
use service::Service;
pub use shadow::Shadow;
use start::{Remembered, Tools, given_up};
use steps::Steps;
use why::Lines as SectionLines;

/// The name that a ban found in the kernel is given where the settings name none: the kernel knows no executable.
const ADOPTED_AS: &str = "firewall-drop";

/// How long clients of the control socket may take for their last answers when the daemon stops.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// How often to see whether the enforcer still stands in the way of packets.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often, and for how long each time, a first start waits for its position to be on the disk.
const FIRST_POSITION_LOOKS: u32 = 200;
const FIRST_POSITION_LOOK: Duration = Duration::from_millis(50);

/// What the daemon is started with. Nothing of it has been touched yet.
#[derive(Debug)]
pub struct Settings {
    /// Where the configuration was read from, for messages.
    pub config_path: PathBuf,
    /// What it means.
    pub config: Config,
    /// The daemon's own settings file that is in force, if there is one; for `arfw status`.
    pub settings_path: Option<PathBuf>,
    /// The file to follow.
    pub alerts: PathBuf,
    /// Directory of the lock and the control socket.
    pub run_dir: PathBuf,
    /// Directory of the store.
    pub state_dir: PathBuf,
    /// How long a key is quiet until its counter is forgotten (AR-IMP-10); never without it.
    pub forgive_after: Option<Duration>,
    /// Within what time offences of a key count as one (AR-IMP-10); each counts without it.
    pub debounce: Option<Duration>,
    /// Whether a stop lets everyone go.
    pub release_on_stop: bool,
    /// Executables that the kernel stands in for.
    pub kernel_executables: Vec<String>,
    /// How the others are run.
    pub programs: exec::Settings,
    /// Where active responses are logged in Wazuh's form; nowhere without it.
    pub responses_log: Option<PathBuf>,
    /// Whether executables are logged there too, and not only the kernel's bans.
    pub log_programs: bool,
    /// The widest prefixes that may be banned.
    pub widest: Widest,
    /// How long after a look at all that is enforced the next one begins; none is taken without it.
    pub inspect_every: Option<Duration>,
    /// Whose packets are counted and not dropped.
    pub shadow: Shadow,
    /// Whom the control socket is for.
    pub access: control::Access,
    /// Where metrics are given over TCP too; nowhere without it.
    pub metrics_address: Option<SocketAddr>,
    /// Whether TCP sockets with a peer that has just been banned are destroyed.
    pub kill_sockets: bool,
    /// Who is protected besides those that are looked up.
    pub surroundings: surroundings::Settings,
    /// Gives the kernel all memory that is free.
    pub give_back: fn(),
}

/// An enforcer that has just been started.
pub struct Started {
    /// The enforcer.
    pub enforcer: Box<dyn Enforcer>,
    /// The bans of each family that it has room for.
    pub limits: Limits,
    /// What it found enforced, in no order that means anything.
    pub found: Vec<(Offender, Standing)>,
    /// Removes what an earlier daemon's other enforcer left, of which this one knows nothing; once the bans are held.
    pub succeeds: Option<Removal>,
}

/// Removes something from the kernel.
pub type Removal = Box<dyn FnOnce() -> anyhow::Result<()>>;

/// Runs until it is told to stop. Must be called within a current-thread runtime with I/O.
///
/// `source` reads the configuration once more when that is asked for. `enforcer` is called once the run
/// directory is taken, so that two daemons never load the program side by side.
///
/// # Errors
///
/// When something that is needed cannot be had, or the alerts cannot be followed any longer.
pub async fn run(
    settings: Settings,
    source: reload::Source,
    enforcer: impl FnOnce() -> anyhow::Result<Started>,
) -> anyhow::Result<()> {
    let instance = Instance::take(&settings.run_dir)?;
    let mut signals = Signals::listen()?;
    let log = responses::open(settings.responses_log.as_deref())?;
    // Before the enforcer: what cannot be had leaves nothing in the kernel.
    let metrics = match settings.metrics_address {
        Some(address) => Some(control::open_metrics(address).await?),
        None => None,
    };
    // Likewise: an interface that comes while it starts is covered.
    let mut links = LinkWatch::start();
    let surroundings = watch::Sender::new(settings.surroundings.clone());
    let (looking, found) = Watch::start(surroundings.subscribe())?;
    let sockets = settings.kill_sockets.then(Sockets::start).transpose()?;
    let tools = Tools {
        source,
        surroundings,
        service: Service::find().context("cannot reach the service manager")?,
        alarm: Alarm::new().context("cannot make a timer")?,
        lines: log.as_ref().and_then(ResponsesLog::lines),
    };
    let (started, remembered) = start::side_by_side(&settings, enforcer)?;
    let Started {
        enforcer,
        limits,
        found: enforced,
        succeeds,
    } = started;
    let Remembered {
        store,
        mut held,
        restored,
        follower,
        start,
    } = remembered;
    if let Some(warning) = clock::warning() {
        tracing::warn!("{warning}");
    }
    let first_start = !held.positions.contains_key(&settings.alerts);
    let (mut daemon, mut reports) = Daemon::new(settings, tools, store, restored, enforcer, limits);
    daemon.restore_quiet(&mut held);
    daemon.condition = follower.condition();
    daemon.handled = Handled::restore(held.handled);
    daemon.reconcile(enforced);
    if let Some(remove) = succeeds {
        daemon.journal.succeeded(remove());
    }
    daemon.sockets = sockets;
    daemon.protect_first(found);
    daemon.destroy_sockets_of_the_banned();
    // So that the next start knows what was there when this one began.
    daemon.read_to = follower.position();
    daemon.load = follower.load();
    daemon.tell_shadow();
    daemon.settle();
    if first_start {
        daemon.wait_for_the_store();
    }
    // What a start takes is more than what it keeps.
    (daemon.settings.give_back)();

    let (batch_sender, batches) = mpsc::channel(source::QUEUE);
    let mut ahead = match Ahead::start(batches) {
        Ok(ahead) => ahead,
        Err(error) => return Err(daemon.give_up(error)),
    };
    let (request_sender, mut requests) = mpsc::channel(control::QUEUE);
    let socket = daemon.settings.run_dir.join("arfw.sock");
    let (stop_server, server_stopped) = oneshot::channel::<()>();
    let scraped = metrics
        .map(|listener| tokio::spawn(control::serve_metrics(listener, request_sender.clone())));
    let access = daemon.settings.access.clone();
    let serving = control::serve(&socket, access, request_sender, async {
        // The sender is dropped, never used.
        let _ = server_stopped.await;
    });
    let mut server = match serving {
        Ok(serving) => tokio::spawn(serving),
        Err(error) => return Err(daemon.give_up(error)),
    };
    let mut follow = tokio::spawn(follower.follow(batch_sender));
    let (find_sender, mut finds) = mpsc::channel(1);
    let watching = tokio::spawn(looking.follow(find_sender));
    // The file is looked at once before this is told as ready: what is written from then on is not late.
    tokio::task::yield_now().await;
    if daemon.load.behind_bytes() == 0 && daemon.can_read() {
        daemon.lag.is_clear(clock::now());
    }
    let ready = daemon
        .journal
        .ready(&daemon.settings, daemon.enforcer.as_ref(), start);
    if let Err(error) = ready {
        return Err(daemon.give_up(error));
    }
    daemon.tell_ready();

    let mut source_ended = false;
    let mut more_links = false;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at once: the alerts are looked at first.
    looks.reset();
    let inspect_every = daemon.settings.inspect_every;
    let mut inspection = interval(inspect_every.unwrap_or(Duration::MAX));

    let ended = loop {
        daemon
            .alarm
            .set(daemon.ledger.next_deadline())
            .context("cannot set the alarm")?;
        let event = tokio::select! {
            biased;
            event = signals.any() => event,
            rung = daemon.alarm.ring() => {
                rung.context("cannot wait for the timer")?;
                Event::DeadlineReached
            }
            // Before the alerts, because a flood of them must not hide it.
            _ = looks.tick() => Event::LookDue,
            // Before the alerts: an address that has just become the host's own is not banned.
            Some(found) = finds.recv() => Event::SurroundingsFound(found),
            fresh = Reading::end(&mut daemon.reading) => Event::ConfigurationRead(fresh),
            Some(request) = requests.recv() => Event::Asked(request),
            Some(report) = reports.recv() => Event::Outcome(report),
            // Before the alerts: what comes in there is to meet the bans that stand.
            () = links.change(), if !more_links => Event::LinksChanged,
            () = std::future::ready(()), if more_links => Event::LinksChanged,
            // Before the alerts, or whoever makes many of them could keep it from being done.
            _ = inspection.tick(), if inspect_every.is_some() => Event::InspectionDue,
            next = ahead.next(), if !source_ended => Event::Records(next),
            ended = &mut follow => Event::SourceEnded(ended.map_err(io::Error::other).flatten()),
        };
        match event {
            Event::Records(Ok(Some(next))) => daemon.take_up(&next),
            Event::Records(Ok(None)) => source_ended = true,
            Event::Records(Err(error)) => break Err(error),
            Event::DeadlineReached => daemon.let_go(),
            Event::LookDue => {
                more_links |= daemon.look(links.is_listening());
                daemon.forget_quiet();
            }
            Event::LinksChanged => {
                more_links = daemon.follow_links(Links::Changed);
                // Many of them must keep nobody waiting: neither who reads the file, nor what was read.
                tokio::task::yield_now().await;
                match ahead.try_next() {
                    Ok(Some(next)) => daemon.take_up(&next),
                    Ok(None) => {}
                    Err(error) => break Err(error),
                }
            }
            Event::Outcome(report) => daemon.hear(report),
            Event::InspectionDue => {
                inspection.reset_after(daemon.inspect(inspect_every.unwrap_or(Duration::MAX)));
            }
            Event::SurroundingsFound(found) => daemon.protect(found),
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
            Event::Reload(name) => {
                tracing::info!("reload on {name}");
                daemon.begin_reload(None);
            }
            Event::ConfigurationRead(fresh) => daemon.reload(fresh),
            Event::Asked(Request::Stop(stop, reply)) => {
                tracing::info!(release = stop.release, "stopping on request");
                daemon.settings.release_on_stop |= stop.release;
                // Whoever asked may be gone by now.
                let _ = reply.send(());
                break Ok(());
            }
            Event::Asked(request) => daemon.answer(request),
        }
        // What packets wait for comes first: telling and storing wait while more alerts do, but not for long.
        if ahead.wants_more() && daemon.read_to.is_some() {
            // Only now can the file be read further.
            tokio::task::yield_now().await;
        }
        if ahead.is_empty() || daemon.has_waited() || daemon.journal.is_full() {
            daemon.settle();
        }
    };

    daemon.service.stopping();
    follow.abort();
    if let Some(scraped) = scraped {
        scraped.abort();
    }
    drop(requests);
    daemon.journal.hang_up();
    drop(stop_server);
    // A client that does not take its answer holds nobody up.
    let _ = tokio::time::timeout(ANSWER_WITHIN, &mut server).await;
    watching.abort();
    server.abort();
    // Somebody may have removed it; it is of no use to anyone any more.
    let _ = std::fs::remove_file(&socket);
    daemon.stop_programs(&mut reports).await;
    let closed = daemon.close();
    drop(instance);
    ended.and(closed)
}

/// All that can wake the daemon.
#[derive(Debug)]
enum Event {
    /// Lines of the followed file; none when there will be no more.
    Records(anyhow::Result<Option<Next>>),
    /// The ledger's next deadline has come.
    DeadlineReached,
    /// It is time to see whether the enforcer still stands in the way of packets.
    LookDue,
    /// It is time to look at some more of what is enforced.
    InspectionDue,
    /// An interface has come, gone, or changed.
    LinksChanged,
    /// What must stay reachable has been looked up again.
    SurroundingsFound(Found),
    /// Somebody asks at the control socket.
    Asked(Request),
    /// An executable says what it is about, or has ended.
    Outcome(Report),
    /// The file cannot be followed any longer.
    SourceEnded(io::Result<()>),
    /// The configuration has been read again, or cannot be.
    ConfigurationRead(anyhow::Result<reload::Fresh>),
    /// A signal asks for the configuration to be read again.
    Reload(&'static str),
    /// A signal asks for an orderly stop.
    Stop(&'static str),
}

/// An offence, and when its alert was raised.
#[derive(Clone, Debug)]
struct Raised {
    offence: Offence,
    at: Moment,
}

impl From<Raised> for ledger::Event {
    fn from(Raised { offence, at }: Raised) -> Self {
        Self::Offence { offence, at }
    }
}

struct Daemon {
    settings: Settings,
    source: reload::Source,
    reading: Option<Reading>,
    policy: Policy,
    guard: Guard,
    sessions: Sessions,
    /// Tells whoever looks who is protected besides.
    surroundings: watch::Sender<surroundings::Settings>,
    ledger: Ledger,
    /// Whom alerts lead to nothing about, until when.
    quiet: Quiets,
    store: Store,
    enforcer: Box<dyn Enforcer>,
    sockets: Option<Sockets>,
    programs: Programs,
    fired: Fired,
    responses: Responses,
    service: Service,
    limits: Limits,
    alarm: Alarm,
    counts: Counts,
    drift: Drift,
    /// How each interface was covered at the last look, while anybody listens.
    places: links::Places,
    /// Bans that ended, until the store is told.
    ended: ledger::History,
    /// Bans of which it was told that they ended, although that waits to be confirmed.
    told_lifted: BTreeSet<Key>,
    metrics: Metrics,
    handled: Handled,
    recent: Recent,
    section_lines: SectionLines,
    journal: Journal,
    /// How far it is behind the alert file.
    load: Arc<Load>,
    lag: Lag,
    /// How far the alerts were read, until the store is told.
    read_to: Option<Position>,
    /// How the followed file stands.
    condition: watch::Receiver<Condition>,
    /// Since when something waits to be told and stored.
    unsettled_since: Option<Moment>,
    /// Unbans that an enforcer did not perform, and why, while somebody wants to know.
    not_ended: Option<BTreeMap<Key, String>>,
    started: Moment,
    steps: Steps,
    /// When the configuration in force was put there.
    configured: Moment,
}

impl Daemon {
    /// Until the store holds the position: a start that finds none begins at the end of the file, so that a kill
    /// before would lose what was written meanwhile. A store in trouble holds nobody up.
    fn wait_for_the_store(&self) {
        for _ in 0..FIRST_POSITION_LOOKS {
            if self.store.wait(FIRST_POSITION_LOOK) || self.store.trouble().is_some() {
                return;
            }
        }
    }

    fn take_up(&mut self, next: &Next) {
        match next {
            Next::Lines(batch) => self.read(batch, |daemon, arrival| {
                for line in batch.cut.lines() {
                    daemon.counts.lines += 1;
                    daemon.read_line(line, arrival);
                }
            }),
            Next::Read(read) => self.read(read.batch(), |daemon, arrival| {
                for (line, alert) in read.lines() {
                    daemon.counts.lines += 1;
                    match alert {
                        Some(alert) => daemon.judge(alert, line, arrival),
                        None => daemon.read_line(line, arrival),
                    }
                }
            }),
        }
    }

    fn read(&mut self, batch: &Batch, judge: impl FnOnce(&mut Self, &Arrival)) {
        let arrival = Arrival {
            clocks: clock::clocks(),
            backlog: batch.backlog,
            may_repeat: batch.may_repeat,
        };
        self.metrics.take_up(Some(arrival.now()));
        if batch.backlog {
            self.lag.is_backlog();
        }
        self.counts.too_long += batch.cut.skipped_long;
        judge(self, &arrival);
        self.perform(arrival.now());
        self.metrics.take_up(None);
        self.read_to = Some(batch.position.clone());
        self.load.done(batch.cut.bytes());
        self.note_decided(batch, arrival.clocks);
    }

    fn read_line(&mut self, line: &[u8], arrival: &Arrival) {
        let mut mended = String::new();
        match Alert::parse_lossy(line, &mut mended) {
            Ok(alert) => self.judge(&alert, line, arrival),
            Err(malformed) => {
                self.counts.malformed += 1;
                self.metrics.malformed(malformed.word());
                self.journal.malformed(&malformed, arrival.now());
            }
        }
    }

    fn judge(&mut self, alert: &Alert<'_>, line: &[u8], arrival: &Arrival) {
        match self.decide(alert, arrival.now()) {
            Decision::Unmatched => self.recent.unmatched(alert, arrival.now()),
            Decision::Refused { refusal, .. } => {
                self.counts.matched += 1;
                self.refuse(alert, &refusal, arrival.now());
            }
            Decision::Fired(mut offences) => {
                self.counts.matched += 1;
                if !self.handled.note(alert.id.as_deref(), arrival.may_repeat) {
                    self.counts.repeated += 1;
                    self.journal.repeated(alert);
                    self.recent.repeated(alert, arrival.now());
                    return;
                }
                let (now, late) = (arrival.now(), arrival.late(&alert.context));
                self.counts.late += u64::from(late.is_some());
                let at = late.unwrap_or(now);
                let refusal = self.quieted(&offences, at, arrival.clocks);
                if refusal.is_some() {
                    offences.retain(|offence| offence.target != Target::Server);
                }
                // Not collected in the offences' own memory, which is more than these need for as long as they are kept.
                let mut acts = Vec::with_capacity(offences.len());
                for offence in offences {
                    let offence = self.settings.shadow.of(offence, &self.settings.config);
                    acts.push(self.offend(Raised { offence, at }, alert, line, now));
                }
                match refusal {
                    Some(refusal) => self.refuse(alert, &refusal, now),
                    None => self.recent.acted(alert, now, acts),
                }
            }
        }
    }

    fn refuse(&mut self, alert: &Alert<'_>, refusal: &Refusal, now: Moment) {
        self.counts.refused += 1;
        self.metrics.refused(refusal.word());
        self.journal.refused(alert, refusal);
        self.recent.refused(alert, now, refusal);
    }

    fn offend(&mut self, raised: Raised, alert: &Alert<'_>, line: &[u8], now: Moment) -> Act {
        let offence = &raised.offence;
        self.metrics.matched(offence.response);
        Act {
            response: offence.response,
            line: self.journal.line(offence.response),
            executable: offence.executable.clone(),
            deed: match offence.target {
                Target::Server => Deed::Ruled(self.rule(raised, alert, line, now)),
                ref elsewhere => {
                    let elsewhere = elsewhere.clone();
                    self.counts.elsewhere += 1;
                    self.journal.elsewhere(offence);
                    Deed::Elsewhere(elsewhere)
                }
            },
        }
    }

    fn rule(&mut self, raised: Raised, alert: &Alert<'_>, line: &[u8], now: Moment) -> Ruling {
        let offence = &raised.offence;
        if offence.enforcement == Enforcement::Program {
            let call = self.fired.call(offence, alert, line);
            return self.fire(raised, call, now);
        }
        let told = self.journal.offence(offence);
        let is_logged = self.responses.is_on() && !offence.executable.is_shadow();
        let call = is_logged.then(|| self.fired.call(offence, alert, line));
        let ruling = self.ledger.apply(raised.into(), now);
        if let Ruling::Refused { .. } = ruling {
            self.counts.over_limit += 1;
        }
        if let (Some(call), Ruling::Banned { .. } | Ruling::Moved { .. }) = (call, ruling) {
            self.responses.ruled(told.key().clone(), call);
        }
        self.journal.ruled(told, ruling);
        ruling
    }

    fn let_go(&mut self) {
        let now = clock::now();
        self.ledger.handle_timeout(now);
        self.perform(now);
    }

    /// Leaves in the kernel what an orderly stop does, when something else that a start needs cannot be had.
    fn give_up(self, cause: anyhow::Error) -> anyhow::Error {
        given_up(cause, self.close())
    }

    /// Ends the enforcement as the settings say. Without a ban there is nothing to leave behind.
    fn close(mut self) -> anyhow::Result<()> {
        let now = clock::now();
        self.settle();
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

/// The name of this host, as messages to executables and other hosts tell it.
#[must_use]
pub fn node() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

/// Answers; a reply that is dropped tells the client that there is no answer.
fn reply_with<T>(reply: oneshot::Sender<T>, answer: anyhow::Result<T>) {
    match answer {
        // Whoever asked may be gone by now, which is no concern of ours.
        Ok(answer) => drop(reply.send(answer)),
        Err(error) => tracing::error!("cannot answer at the control socket: {error:#}"),
    }
}

/// Signals that ask for something.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) -> Event {
        tokio::select! {
            _ = self.interrupt.recv() => Event::Stop("SIGINT"),
            _ = self.terminate.recv() => Event::Stop("SIGTERM"),
            _ = self.hangup.recv() => Event::Reload("SIGHUP"),
        }
    }
}
