//! From a start that is asked for to its outcome: whose turn it is, and what its end leaves to do.

use std::sync::Arc;

use super::lanes::Kind;
use super::wire::{Call, Verb, Wire};
use super::worker::{Job, Worker};
use super::{Ending, Outcome, Programs, Run, RunId, Turn};
use crate::confinement::unconfined;
use crate::ledger::{Effect, Key, Ruling};

impl Programs {
    /// Starts the request that the ledger answers with this effect, and those before it that it has no
    /// effect for. A key that the kernel already bans for needs no executable.
    pub(super) fn start_with(&mut self, effect: Effect) {
        if let Some(run) = self.moving.and_then(|run| self.runs.get_mut(&run))
            && run.key == effect.key
        {
            run.effect = Some(effect);
            return;
        }
        while let Some((run, ruling)) = self.requests.pop_front() {
            let answered = matches!(ruling, Ruling::Banned { .. } | Ruling::Moved { .. });
            let found = self.runs.get_mut(&run);
            if let Some(found) = found.filter(|found| answered && found.key == effect.key) {
                found.effect = Some(effect);
                self.enqueue(run);
                return;
            }
            self.enqueue(run);
        }
    }

    pub(super) fn add_run(&mut self, run: Run) -> RunId {
        self.last_run += 1;
        let id = RunId(self.last_run);
        self.runs.insert(id, run);
        id
    }

    pub(super) fn enqueue(&mut self, run: RunId) {
        let Some(found) = self.runs.get(&run) else {
            return;
        };
        if self.answer_is_known(found) {
            self.finish(run, Ending::Aborted, true);
            return;
        }
        let (key, kind) = (found.key.clone(), found.kind);
        if self.lanes.push(&key, kind, Turn::Begin(run)).is_err() {
            self.leave_out(run, "too many executables wait for their turn");
        }
    }

    /// Whether it would only be told that its key is active.
    fn answer_is_known(&self, run: &Run) -> bool {
        let by_address = |call: &Arc<Call>| self.by_address.contains(&call.program);
        let ossec = self.shop.wire == Wire::Ossec;
        run.kind == Kind::Add
            && !run.is_new()
            && run
                .call
                .as_ref()
                .is_some_and(|call| ossec || by_address(call))
    }

    pub(super) fn pump(&mut self) {
        while let Some((_, turn)) = self.lanes.next() {
            match turn {
                Turn::Begin(run) => self.begin(run),
                Turn::Answer(run, verb, answer) => {
                    if let Some(found) = self.runs.get_mut(&run) {
                        found.lanes.push(found.key.clone());
                        let _ = answer.send(verb);
                    }
                }
            }
        }
    }

    fn begin(&mut self, run: RunId) {
        let Some(found) = self.runs.get_mut(&run) else {
            return;
        };
        found.lanes.push(found.key.clone());
        if found.kind == Kind::Delete && found.call.is_none() {
            found.call = self.holds.take(&found.key);
        }
        let Some(call) = found.call.clone() else {
            // Its executable made no ban, because it failed or has no state: there is nothing to reverse.
            self.close(run);
            return;
        };
        let verb = found.verb();
        if self
            .runs
            .get(&run)
            .is_some_and(|run| self.answer_is_known(run))
        {
            self.finish(run, Ending::Aborted, false);
            return;
        }
        match self.worker() {
            Ok(worker) => worker.begin(Job { run, verb, call }),
            Err(error) => {
                let ending = Ending::Failed {
                    cause: format!("cannot start the thread of executables: {error}"),
                    may_have_acted: false,
                };
                self.finish(run, ending, false);
            }
        }
    }

    fn worker(&mut self) -> std::io::Result<&Worker> {
        match &mut self.worker {
            Some(worker) => Ok(worker),
            none => {
                let (shop, reports) = (Arc::clone(&self.shop), self.reports.clone());
                // Executables have all rights that the daemon was given, and not only those that it has kept.
                let worker = unconfined(|| Worker::start(shop, reports)).flatten()?;
                Ok(none.insert(worker))
            }
        }
    }

    pub(super) fn leave_out(&mut self, run: RunId, why: &str) {
        let ending = Ending::Failed {
            cause: why.to_owned(),
            may_have_acted: false,
        };
        self.finish(run, ending, true);
    }

    /// Takes note of a run's end and tells of it.
    pub(super) fn finish(&mut self, run: RunId, ending: Ending, left_out: bool) {
        let Some(found) = self.runs.get(&run) else {
            return;
        };
        let (key, verb) = (found.key.clone(), found.verb());
        let new = found.is_new();
        let call = found.call.clone();
        match (&ending, call) {
            (Ending::Acted, Some(call)) if verb == Verb::Add && new => {
                self.holds.keep(key.clone(), call);
            }
            (
                Ending::Failed {
                    may_have_acted: true,
                    ..
                },
                Some(call),
            ) if verb == Verb::Add => self.make_good(run, &key, call),
            _ => {}
        }
        let effect = self.close(run);
        self.outcomes.push_back(Outcome {
            run,
            key,
            effect,
            verb,
            ending,
            left_out,
        });
    }

    /// A ban that failed half way counts as not made: what there is of it is reversed before anything
    /// else is done for the key.
    fn make_good(&mut self, failed: RunId, key: &Key, call: Arc<Call>) {
        if !self
            .runs
            .get(&failed)
            .is_some_and(|run| run.lanes.contains(key))
        {
            return;
        }
        let run = self.add_run(Run {
            key: key.clone(),
            kind: Kind::Delete,
            call: Some(call),
            effect: None,
            lanes: Vec::new(),
        });
        self.lanes.push_first(key, Turn::Begin(run));
    }

    /// Forgets a run, and gives back what it holds and the effect that it was for.
    fn close(&mut self, run: RunId) -> Option<Effect> {
        let run = self.runs.remove(&run)?;
        if !run.lanes.is_empty() {
            self.lanes.ended(run.kind);
        }
        for lane in &run.lanes {
            self.lanes.release(lane);
        }
        run.effect
    }
}
