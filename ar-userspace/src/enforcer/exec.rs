//! Runs the executables of responses that are not the kernel's, as Wazuh's execd does (AR-WIRE-3).
//!
//! The ledger rules first; what an executable then says about its keys confirms the ruling or moves it to another
//! key, which is the daemon's to decide. Nothing here waits: runs are made by a thread of their own, and
//! what comes of them is an [`Outcome`]. docs/executables.md says what an executable may expect.

pub mod holds;
mod lanes;
mod orphans;
pub mod place;
mod process;
mod recall;
mod turns;
pub mod wire;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::config::Executable;
use crate::ledger::{Action, Effect, Key, Ruling};
use crate::offender::Offender;
use crate::responses_log::Lines;
use holds::Holds;
use lanes::{Kind, Lanes};
use place::Place;
use wire::{Call, Said, Verb, Wire};
use worker::{Shop, Worker};

/// Keys other than addresses that are told apart: the ledger never forgets the name of an executable.
const MAX_NAMES: usize = 65_536;

/// Reports that may wait for the daemon; a run that reports waits for room.
const REPORTS: usize = 64;

/// What an operator decides about executables.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where they are.
    pub place: Place,
    /// How long one may take.
    pub limit: Duration,
    /// How many run at once.
    pub at_once: usize,
    /// How many bans may wait for their turn. Unbans wait in any case.
    pub queue: usize,
    /// How they are spoken to.
    pub wire: Wire,
}

/// One start of an executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId(u64);

/// What a run tells while it goes on, and at its end.
#[derive(Debug)]
pub enum Report {
    /// It said what it is about and waits for `Continue` or `Abort`.
    Keys {
        /// Which run.
        run: RunId,
        /// What it said.
        said: Said,
        /// Where it waits.
        answer: oneshot::Sender<Verb>,
    },
    /// It ended.
    Ended {
        /// Which run.
        run: RunId,
        /// How.
        ending: Ending,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It did what it was asked to do.
    Acted,
    /// It was told that the key is active, and did nothing.
    Aborted,
    /// It printed nothing: it acted once, and there is nothing to reverse.
    Stateless,
    /// It did not do what it was asked to do.
    Failed {
        /// Why, on one line.
        cause: String,
        /// It had been told to act, so that nobody knows how far it came.
        may_have_acted: bool,
    },
}

/// What became of one start.
#[derive(Debug)]
pub struct Outcome {
    /// Which.
    pub run: RunId,
    /// The ledger's key.
    pub key: Key,
    /// What the ledger wanted; `None` when it wanted nothing.
    pub effect: Option<Effect>,
    /// `Add` or `Delete`.
    pub verb: Verb,
    /// How it ended.
    pub ending: Ending,
    /// Whether it was left out because too many waited, or because the daemon stops.
    pub left_out: bool,
}

/// All executables of one configuration.
#[derive(Debug)]
pub struct Programs {
    shop: Arc<Shop>,
    lanes: Lanes<Turn>,
    runs: BTreeMap<RunId, Run>,
    last_run: u64,
    /// Starts that wait for the ledger's effect.
    requests: VecDeque<(RunId, Ruling)>,
    holds: Holds,
    outcomes: VecDeque<Outcome>,
    /// Executables whose key was the address when they last said so.
    by_address: BTreeSet<Executable>,
    /// Under which offender the ledger keeps a key that is no address.
    others: BTreeMap<Executable, Offender>,
    /// The run whose key is being moved.
    moving: Option<RunId>,
    worker: Option<Worker>,
    reports: mpsc::Sender<Report>,
}

#[derive(Debug)]
enum Turn {
    Begin(RunId),
    Answer(RunId, Verb, oneshot::Sender<Verb>),
}

#[derive(Debug)]
struct Run {
    key: Key,
    kind: Kind,
    /// `None` for an unban whose turn has not come.
    call: Option<Arc<Call>>,
    effect: Option<Effect>,
    /// Lanes that it holds.
    lanes: Vec<Key>,
}

impl Programs {
    /// Takes the settings and the name of this host. Nothing is started before the first run.
    #[must_use]
    pub fn new(
        settings: Settings,
        node: String,
        responses: Option<Lines>,
    ) -> (Self, mpsc::Receiver<Report>) {
        let (reports, inbox) = mpsc::channel(REPORTS);
        let Settings {
            place,
            limit,
            at_once,
            queue,
            wire,
        } = settings;
        let programs = Self {
            shop: Arc::new(Shop::new(place, limit, wire, node, responses)),
            lanes: Lanes::new(at_once, queue),
            runs: BTreeMap::new(),
            last_run: 0,
            requests: VecDeque::new(),
            holds: Holds::default(),
            outcomes: VecDeque::new(),
            by_address: BTreeSet::new(),
            others: BTreeMap::new(),
            moving: None,
            worker: None,
            reports,
        };
        (programs, inbox)
    }

    /// Takes a response that fired and on which the ledger ruled. It starts with its effect, or with
    /// [`Programs::flush`].
    pub fn request(&mut self, key: Key, call: Call, ruling: Ruling) -> RunId {
        let run = self.add_run(Run {
            key,
            kind: Kind::Add,
            call: Some(Arc::new(call)),
            effect: None,
            lanes: Vec::new(),
        });
        self.requests.push_back((run, ruling));
        run
    }

    /// Performs one effect of the ledger's, in their order.
    pub fn perform(&mut self, effect: Effect) {
        match effect.action {
            Action::Ban { .. } | Action::Move { .. } => self.start_with(effect),
            Action::Unban => {
                let run = self.add_run(Run {
                    key: effect.key.clone(),
                    kind: Kind::Delete,
                    call: None,
                    effect: Some(effect),
                    lanes: Vec::new(),
                });
                self.enqueue(run);
            }
            // What an executable has not done needs no reversal.
            Action::Retract { .. } => {}
        }
    }

    /// Starts what waits for no effect, and whatever else can start.
    pub fn flush(&mut self) {
        while let Some((run, _)) = self.requests.pop_front() {
            self.enqueue(run);
        }
        self.pump();
    }

    /// What became of starts since the last call, in order.
    pub fn next_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.pop_front()
    }

    /// The run ended.
    pub fn ended(&mut self, run: RunId, ending: Ending) {
        self.finish(run, ending, false);
        self.pump();
    }

    /// The ledger's key of a run, and the executable's own name; `None` when it has ended.
    #[must_use]
    pub fn key_of(&self, run: RunId) -> Option<(Key, Executable)> {
        let run = self.runs.get(&run)?;
        Some((run.key.clone(), run.call.as_ref()?.program.clone()))
    }

    /// Answers a run whose key is the ledger's: it acts when its ban is new.
    pub fn confirm(&mut self, run: RunId, said: &Said, answer: oneshot::Sender<Verb>) {
        let Some(found) = self.runs.get(&run) else {
            return;
        };
        let by_address = said.is_about(found.key.offender) && *said != Said::Other;
        if let Some(call) = found.call.as_ref().filter(|_| by_address) {
            self.by_address.insert(call.program.clone());
        }
        let verb = if found.is_new() {
            Verb::Continue
        } else {
            Verb::Abort
        };
        // A run that is gone has no use for an answer.
        let _ = answer.send(verb);
    }

    /// Under which offender the ledger keeps the key `name`, first heard of by `offender`; `None` when no
    /// more keys can be told apart.
    pub fn keeper(&mut self, name: &Executable, offender: Offender) -> Option<Offender> {
        let full = self.others.len() >= MAX_NAMES;
        match self.others.get(name) {
            Some(&keeper) => Some(keeper),
            None if full => None,
            None => {
                self.others.insert(name.clone(), offender);
                Some(offender)
            }
        }
    }

    /// Begins to give a run another key, and hands out the effect that is to be taken back. Effects for the
    /// new key are the run's until [`Programs::moved`].
    pub fn move_to(&mut self, run: RunId, key: Key) -> Option<Effect> {
        self.moving = Some(run);
        let found = self.runs.get_mut(&run)?;
        if let Some(call) = &found.call {
            self.by_address.remove(&call.program);
        }
        found.key = key;
        found.effect.take()
    }

    /// Ends the move, and answers the run: once nothing else goes on for its new key, when it is to act.
    pub fn moved(&mut self, run: RunId, verb: Verb, answer: oneshot::Sender<Verb>) {
        self.moving = None;
        let Some(found) = self.runs.get(&run) else {
            return;
        };
        if verb == Verb::Abort || found.lanes.contains(&found.key) {
            let _ = answer.send(verb);
            return;
        }
        let key = found.key.clone();
        let turn = Turn::Answer(run, verb, answer);
        // Only adds are refused.
        let _ = self.lanes.push(&key, Kind::Answer, turn);
        self.pump();
    }

    /// Leaves out every ban that waits: the daemon stops.
    pub fn drop_waiting(&mut self) {
        for turn in self.lanes.drop_adds() {
            if let Turn::Begin(run) = turn {
                self.leave_out(run, "the daemon stops");
            }
        }
        self.pump();
    }

    /// Executables that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.lanes.load().0
    }

    /// Runs that wait: for a place, or for an earlier one of the same key.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lanes.load().1
    }

    /// Whether nothing runs or waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// Keys whose bans have not been reversed although they should be, or whose executables go on.
    pub fn unfinished(&self) -> impl Iterator<Item = &Key> {
        self.runs.values().map(|run| &run.key)
    }
}

impl Run {
    /// Whether its ban is not there yet.
    fn is_new(&self) -> bool {
        let action = self.effect.as_ref().map(|effect| effect.action);
        matches!(action, Some(Action::Ban { .. }))
    }

    fn verb(&self) -> Verb {
        if self.kind == Kind::Delete {
            Verb::Delete
        } else {
            Verb::Add
        }
    }
}

#[cfg(test)]
mod tests;
