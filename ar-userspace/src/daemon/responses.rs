//! The kernel's bans in the log of active responses, as if the stock executable had run (AR-LOG-1).
//!
//! So the stock decoders and rules go on telling of bans and their ends. Costs nothing without a log.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::clock;
use crate::confinement::unconfined;
use crate::enforcer::exec::holds::Holds;
use crate::enforcer::exec::wire::{Call, Verb, check_keys, reduced};
use crate::ledger::{Action, AlertId, Effect, Key};
use crate::responses_log::{Lines, ResponsesLog};

/// Opens the log, when there is to be one.
pub(super) fn open(path: Option<&Path>) -> anyhow::Result<Option<ResponsesLog>> {
    let open = |path: &Path| {
        let file = path.to_owned();
        // Its file and directory are Wazuh's and not root's.
        let log = unconfined(move || ResponsesLog::open(&file, || clock::clocks().wall));
        log.flatten()
            .with_context(|| format!("cannot open the log of responses `{}`", path.display()))
    };
    path.map(open).transpose()
}

/// The log, and the alerts that its lines need.
#[derive(Debug)]
pub(super) struct Responses {
    lines: Option<Lines>,
    node: String,
    /// Offences whose effects have not been performed.
    waiting: VecDeque<(Key, Arc<Call>)>,
    holds: Holds,
}

impl Responses {
    pub(super) fn new(lines: Option<Lines>, node: String) -> Self {
        Self {
            lines,
            node,
            waiting: VecDeque::new(),
            holds: Holds::default(),
        }
    }

    /// Whether anything is written.
    pub(super) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// An offence on which the ledger ruled that the kernel is to ban, or to ban longer.
    pub(super) fn ruled(&mut self, key: Key, call: Call) {
        self.waiting.push_back((key, Arc::new(call)));
    }

    /// The effect was performed or not; what failed is not told as done (AR-IMP-5).
    pub(super) fn performed(&mut self, effect: &Effect, done: bool) {
        if !self.is_on() {
            return;
        }
        let key = &effect.key;
        match effect.action {
            Action::Ban { .. } => {
                if let Some(call) = self.waiting_for(key).filter(|_| done) {
                    self.write(&call, &[Verb::Add, Verb::Continue], "Ended");
                    self.holds.keep(key.clone(), call);
                }
            }
            Action::Move { .. } => {
                if let Some(call) = self.waiting_for(key).filter(|_| done) {
                    self.write(&call, &[Verb::Add, Verb::Abort], "Aborted");
                }
            }
            Action::Unban => {
                let call = self.holds.take(key);
                let call = call.unwrap_or_else(|| Arc::new(unknown(key)));
                if done {
                    self.write(&call, &[Verb::Delete], "Ended");
                }
            }
            Action::Retract { until } => {
                if until.is_none() {
                    self.holds.take(key);
                }
            }
        }
    }

    /// A ban that was lifted stands again. What it was for was told before.
    pub(super) fn put_back(&mut self, key: &Key) {
        if self.is_on() {
            let call = Arc::new(unknown(key));
            self.write(&call, &[Verb::Add, Verb::Continue], "Ended");
            self.holds.keep(key.clone(), call);
        }
    }

    /// The offence that the effect is for: effects come in the order of the rulings.
    fn waiting_for(&mut self, key: &Key) -> Option<Arc<Call>> {
        let at = self
            .waiting
            .iter()
            .position(|(waiting, _)| waiting == key)?;
        self.waiting.remove(at).map(|(_, call)| call)
    }

    fn write(&self, call: &Call, verbs: &[Verb], end: &str) {
        let Some(lines) = &self.lines else { return };
        let mut texts = vec!["Starting".to_owned()];
        for &verb in verbs {
            texts.push(call.message(&self.node, verb));
            if verb == Verb::Add {
                texts.push(check_keys(&call.program, call.offender));
            }
        }
        texts.push(end.to_owned());
        lines.write(call.path(), texts);
    }
}

/// What is known of a ban that an earlier daemon made.
fn unknown(key: &Key) -> Call {
    Call {
        program: key.executable.clone(),
        extra_args: Arc::new([]),
        alert: reduced(0, &AlertId::default(), Some(key.offender), None).into(),
        offender: key.offender,
        user: None,
        rule_id: 0,
        alert_id: AlertId::default(),
    }
}
