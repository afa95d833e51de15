//! A configuration and alerts with their arrival times in; what one host would do, and when, out.
//!
//! Lines are read, decided, routed and ruled on by the code that the daemon uses, on a clock that stands
//! still until the next line or deadline. Nothing is performed, so nothing can fail: bans are as they would
//! be with an enforcer that does all it is told.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::alert::{Alert, Malformed};
use crate::config::Config;
use crate::ledger::{Effect, Event, Ledger, Limits, OnStop, Ruling, Settings};
use crate::policy::route::{self, Agent, Host};
use crate::policy::{Decision, Guard, Offence, Policy, Refusal};
use crate::time::Moment;

/// What a simulation begins with.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The configuration of the host that matches alerts.
    pub config: Config,
    /// The file of the host under test, where it has one of its own (AR-CFG-15, AR-ROUTE-6).
    pub agent_config: Option<Config>,
    /// The host under test: only what it does is told.
    pub host: Host,
    /// What must stay reachable.
    pub guard: Guard,
    /// How much the host's ledger holds.
    pub limits: Limits,
}

/// One host in virtual time.
#[derive(Debug)]
pub struct Simulation {
    policy: Policy,
    guard: Guard,
    ledger: Ledger,
    host: Host,
    /// The host under test, where it is an agent; it is always connected.
    agents: Vec<Agent>,
    now: Moment,
}

/// Something that came of a line, of a deadline or of a restart.
#[derive(Debug)]
pub enum Happening<'a> {
    /// The line is no alert.
    Malformed(Malformed),
    /// Responses match, and none may act.
    Refused {
        /// What was refused.
        alert: &'a Alert<'a>,
        /// Why.
        refusal: &'a Refusal,
        /// The sections that would have fired, as in [`Decision::Refused`].
        responses: &'a [usize],
    },
    /// Responses match; an [`Elsewhere`](Self::Elsewhere) or [`Ruled`](Self::Ruled) follows for each.
    Fired {
        /// The alert.
        alert: &'a Alert<'a>,
        /// One for each response.
        offences: &'a [Offence],
    },
    /// An offence that the host under test does not act on.
    Elsewhere(&'a Offence),
    /// An offence that its ledger has ruled on.
    Ruled {
        /// What fired, and for whom.
        offence: &'a Offence,
        /// What was decided.
        ruling: Ruling,
        /// When.
        at: Moment,
    },
    /// The state of a key changed.
    Changed(&'a Effect),
}

impl Simulation {
    /// A host that remembers nothing, at [`Moment::default`].
    #[must_use]
    pub fn new(scene: Scene) -> Self {
        let config = match &scene.agent_config {
            Some(agent) => scene.config.with_agent(agent),
            None => scene.config,
        };
        let agents = match &scene.host {
            Host::Server => Vec::new(),
            Host::Agent(id) => vec![Agent {
                id: id.clone(),
                connected: true,
                ar_disabled: !config.enabled,
            }],
        };
        let ledger = Ledger::new(Settings {
            repeated_offenders: config.repeated_offenders.clone(),
            limits: scene.limits,
            ..Settings::default()
        });
        Self {
            policy: Policy::new(Arc::new(config)),
            guard: scene.guard,
            ledger,
            host: scene.host,
            agents,
            now: Moment::default(),
        }
    }

    /// The configuration as the host under test applies it.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.policy.config()
    }

    /// Reads one line of `alerts.json` that arrives at `at`. A time before the last one is taken for that.
    pub fn read(&mut self, line: &[u8], at: Moment, tell: &mut impl FnMut(Happening<'_>)) {
        let mut mended = String::new();
        match Alert::parse_lossy(line, &mut mended) {
            Ok(alert) => self.judge(&alert, at, tell),
            Err(malformed) => {
                self.run_to(at, tell);
                tell(Happening::Malformed(malformed));
            }
        }
    }

    /// Takes an alert that is read already: the second half of [`read`](Self::read).
    pub fn judge(&mut self, alert: &Alert<'_>, at: Moment, tell: &mut impl FnMut(Happening<'_>)) {
        self.run_to(at, tell);
        match self.policy.decide(alert, &self.guard) {
            Decision::Unmatched => {}
            Decision::Refused { refusal, responses } => tell(Happening::Refused {
                alert,
                refusal: &refusal,
                responses: &responses,
            }),
            Decision::Fired(offences) => {
                tell(Happening::Fired {
                    alert,
                    offences: &offences,
                });
                for offence in &offences {
                    self.offend(offence, tell);
                }
            }
        }
    }

    /// Stops the program in order at `at` and starts it again with what it remembers (AR-TIME-9, AR-IMP-1).
    pub fn restart(&mut self, at: Moment, tell: &mut impl FnMut(Happening<'_>)) {
        self.run_to(at, tell);
        self.ledger
            .apply(Event::Stop(OnStop::ReleasePrograms), self.now);
        self.tell_effects(tell);
        let settings = self.ledger.settings().clone();
        self.ledger = Ledger::restore(settings, self.ledger.snapshot(), self.now);
    }

    /// Lets time run until nothing is pending: what is banned after it is banned for ever.
    pub fn finish(&mut self, tell: &mut impl FnMut(Happening<'_>)) {
        self.run_to(Moment::MAX, tell);
    }

    fn offend(&mut self, offence: &Offence, tell: &mut impl FnMut(Happening<'_>)) {
        let route = route::route(&offence.target, &self.agents);
        if !route.executors.contains(&self.host) {
            tell(Happening::Elsewhere(offence));
            return;
        }
        let event = Event::Offence {
            offence: offence.clone(),
            at: self.now,
        };
        let ruling = self.ledger.apply(event, self.now);
        tell(Happening::Ruled {
            offence,
            ruling,
            at: self.now,
        });
        self.tell_effects(tell);
    }

    /// Does at its own time what is due until `until`.
    fn run_to(&mut self, until: Moment, tell: &mut impl FnMut(Happening<'_>)) {
        while let Some(due) = self.ledger.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.ledger.handle_timeout(self.now);
            self.tell_effects(tell);
        }
        self.now = self.now.max(until);
    }

    fn tell_effects(&mut self, tell: &mut impl FnMut(Happening<'_>)) {
        while let Some(effect) = self.ledger.next_effect() {
            tell(Happening::Changed(&effect));
        }
    }
}
