//! Another configuration for a daemon that runs (AR-CFG-18), and what it lets go (AR-IMP-7).
//!
//! It is read by a thread of its own, so that a file system that hangs holds up no ban, and swapped between two events,
//! whole or not at all. Bans, counters and positions stay; only a ban
//! whose address is on the white list ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::oneshot;

use super::Daemon;
use crate::clock;
use crate::config::{Change, Config};
use crate::control::{NotReloaded, view};
use crate::diagnostic::Located;
use crate::ledger::{self, End};
use crate::offender::Offender;
use crate::policy::Policy;
use crate::time::Moment;

/// Reads the configuration once more, from where it was read at the start and in the same way.
///
/// It fails when there is nothing to read; mistakes in what was read are in [`Fresh`].
pub type Source = Arc<dyn Fn() -> anyhow::Result<Fresh> + Send + Sync>;

/// Who asked for a reload waits here for what became of it.
pub(super) type Reply = oneshot::Sender<Result<view::Reload, NotReloaded>>;

/// A configuration that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    since: Moment,
    /// `None` when a signal asked.
    reply: Option<Reply>,
    fresh: oneshot::Receiver<anyhow::Result<Fresh>>,
}

impl Reading {
    /// Waits until it has been read; for ever when none is being read. Safe to drop and call again.
    pub(super) async fn end(reading: &mut Option<Self>) -> anyhow::Result<Fresh> {
        match reading {
            Some(reading) => {
                let read = (&mut reading.fresh).await;
                read.context("the thread that read the configuration broke down")
                    .flatten()
            }
            None => std::future::pending().await,
        }
    }
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// What it means; `None` when it has a mistake.
    pub config: Option<Config>,
    /// Every error and warning.
    pub diagnostics: Vec<Located>,
    /// The same for people.
    pub text: String,
    /// How many of each, on one line.
    pub summary: String,
}

impl Daemon {
    /// Has the configuration read again; [`Daemon::reload`] goes on when it has been. One at a time.
    pub(super) fn begin_reload(&mut self, reply: Option<Reply>) {
        let begun = match &self.reading {
            None => self.begin_reading(),
            Some(reading) => {
                let seconds = clock::now().since(reading.since).as_secs();
                Err(NotReloaded::UnderWay(format!(
                    "another reload has been reading `{}` for {seconds} s; ask again when it has ended",
                    self.settings.config_path.display()
                )))
            }
        };
        match (begun, reply) {
            (Ok(reading), reply) => {
                self.service.reloading();
                self.reading = Some(Reading { reply, ..reading });
            }
            (Err(why), reply) => {
                self.journal.not_reloaded(why.text());
                if let Some(reply) = reply {
                    // Whoever asked may be gone by now.
                    let _ = reply.send(Err(why));
                }
            }
        }
    }

    fn begin_reading(&self) -> Result<Reading, NotReloaded> {
        let (sender, fresh) = oneshot::channel();
        let source = Arc::clone(&self.source);
        // Nobody waits for its end: a stop must not hang with the file system.
        let thread = std::thread::Builder::new().name("config".to_owned());
        let begun = thread.spawn(move || drop(sender.send(source())));
        begun.map_err(|error| NotReloaded::Failed(format!("cannot start a thread: {error}")))?;
        Ok(Reading {
            since: clock::now(),
            reply: None,
            fresh,
        })
    }

    /// Puts in force what has been read, when it has no mistake, and answers.
    pub(super) fn reload(&mut self, read: anyhow::Result<Fresh>) {
        let reloaded = self.reload_read(read);
        self.tell_ready();
        let reading = self.reading.take();
        if let Some(reply) = reading.and_then(|reading| reading.reply) {
            // Whoever asked may be gone by now.
            let _ = reply.send(reloaded);
        }
    }

    fn reload_read(&mut self, read: anyhow::Result<Fresh>) -> Result<view::Reload, NotReloaded> {
        let fresh = read.map_err(|error| {
            let why = format!("{error:#}; the configuration in force stays");
            self.journal.not_reloaded(&why);
            NotReloaded::Failed(why)
        })?;
        let Fresh {
            config,
            diagnostics,
            text,
            summary,
        } = fresh;
        self.journal.diagnostics(&diagnostics);
        let applied = config.is_some();
        let (changes, released) = match config {
            Some(config) => self.put_in_force(config),
            None => {
                let why = "it has errors; the configuration in force stays";
                self.journal.not_reloaded(why);
                (Vec::new(), Vec::new())
            }
        };
        Ok(view::Reload {
            config: self.settings.config_path.display().to_string(),
            applied,
            diagnostics,
            text,
            summary,
            changes: changes.into_iter().map(told).collect(),
            released,
        })
    }

    fn put_in_force(&mut self, config: Config) -> (Vec<Change>, Vec<view::WhiteListed>) {
        // What was done before is told before.
        self.settle();
        let now = clock::now();
        let changes = self.settings.config.difference(&config);
        self.policy = Policy::new(Arc::new(config.clone()));
        self.fired.configure(&config);
        self.journal.configure(&config);
        self.metrics.configure();
        self.section_lines.add(&config, now);
        self.configured = now;
        let ledger_settings = ledger::Settings {
            repeated_offenders: config.repeated_offenders.clone(),
            ..self.ledger.settings().clone()
        };
        self.settings.config = config;
        self.protect_managers();
        self.allow_protected();
        self.ledger
            .apply(ledger::Event::Settings(ledger_settings), now);
        self.journal.reloaded(&self.settings, &changes);
        let released = self.release_white_listed(now);
        (changes, released)
    }

    /// Ends every ban, also a permanent one, whose address the white list covers. A pattern is tried on the
    /// canonical text: as which text an alert had the address is not remembered.
    pub(super) fn release_white_listed(&mut self, now: Moment) -> Vec<view::WhiteListed> {
        let white_list = &self.settings.config.white_list;
        if white_list.entries().is_empty() {
            return Vec::new();
        }
        let mut covered: BTreeMap<Offender, (String, usize)> = BTreeMap::new();
        for offender in self.ledger.banned(now) {
            if let Some(entry) = white_list.covers(offender, &offender.to_string()) {
                covered.insert(offender, (entry.text.clone(), entry.line));
            }
        }
        if covered.is_empty() {
            return Vec::new();
        }
        let offenders: Vec<Offender> = covered.keys().copied().collect();
        let released = self.release(&offenders, End::WhiteList, now).into_iter();
        let with_entries = released.zip(covered.into_values());
        let mut told = Vec::new();
        for (
            view::Unbanned {
                address, released, ..
            },
            (entry, line),
        ) in with_entries
        {
            self.journal.white_listed(&address, &released, &entry, line);
            told.push(view::WhiteListed {
                address,
                entry,
                line,
                released,
            });
        }
        told
    }
}

fn told(change: Change) -> view::Change {
    view::Change {
        subject: change.subject.name().to_owned(),
        kind: change.kind.name().to_owned(),
        line: change.line,
        old_line: change.old_line,
        detail: change.detail,
    }
}
