//! The start: ledger and enforcer agree before anything new is read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Daemon;
use super::journal::Drift;
use crate::clock;
use crate::config::Executable;
use crate::control::view::Counts;
use crate::enforcer::Hold;
use crate::ledger::{self, Adoption, Key, Standing};
use crate::offender::Offender;
use crate::time::Expiry;

impl Daemon {
    /// Makes ledger and enforcer agree, whatever an earlier daemon left in either (AR-IMP-2).
    ///
    /// What the ledger remembers is held; what is overdue is released; a ban that only the kernel knows is
    /// adopted, never dropped in silence. `found` is in the order of offenders.
    pub(super) fn reconcile(&mut self, found: Vec<(Offender, Standing)>) {
        let now = clock::now();
        let mut drift = Drift::default();
        // In the kernel a ban outlasts its end by the time that the machine slept. It is released, not adopted.
        let is_due = self.ledger.next_deadline().is_some_and(|due| due <= now);
        let mut overdue: BTreeSet<Offender> = match is_due {
            true => self.ledger.overdue(now).collect(),
            false => BTreeSet::new(),
        };
        while self
            .ledger
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.ledger.handle_timeout(now);
            self.perform(now);
        }
        self.release_shadows(now);
        overdue.extend(self.take_back_unconfirmed(now));
        let grain = self.enforcer.grain();
        let mut differing = Vec::new();
        let mut unknown = Vec::new();
        // Both are in the order of offenders: a look-up of each would wait for memory a million times.
        let mut rest = found.into_iter().peekable();
        for (offender, wanted) in self.ledger.standings(now) {
            drift.stored += 1;
            while let Some(other) = rest.next_if(|&(other, _)| other < offender) {
                unknown.push(other);
            }
            let found = rest.next_if(|&(other, _)| other == offender);
            if !found.is_some_and(|(_, found)| is_same(found, wanted, grain)) {
                differing.push(Hold {
                    offender,
                    standing: Some(wanted),
                });
            }
        }
        unknown.extend(rest);
        unknown.retain(|(offender, _)| !overdue.contains(offender));
        drift.corrected = differing.len();
        for failure in self.enforcer.hold(&differing, clock::kernel_clock()) {
            self.counts.failed += 1;
            self.journal.not_restored(&failure.cause);
        }
        drift.adopted = unknown.len();
        for (offender, standing) in unknown {
            let adoption = adoption(offender, self.adopted_as(), standing);
            self.ledger.apply(ledger::Event::Adopt(adoption), now);
        }
        self.perform(now);
        // What was only taken over is not counted as made.
        self.counts = Counts {
            failed: self.counts.failed,
            ..Counts::default()
        };
        self.programs
            .recall(self.ledger.program_bans(now), &self.settings.config);
        self.journal.reconciled(drift);
        // The white list may have grown while no daemon ran.
        self.release_white_listed(now);
    }

    /// Has the enforcer hold every ban that stands, since it has lost them all.
    pub(super) fn hold_again(&mut self) {
        // If they could not be allowed before.
        self.allow_protected();
        let standings = self.ledger.standings(clock::now());
        let wanted: Vec<Hold> = standings
            .map(|(offender, standing)| Hold {
                offender,
                standing: Some(standing),
            })
            .collect();
        let failures = self.enforcer.hold(&wanted, clock::kernel_clock());
        for failure in &failures {
            self.counts.failed += 1;
            self.journal.not_restored(&failure.cause);
        }
        tracing::warn!(
            written_back = wanted.len() - failures.len(),
            "somebody else took the bans away, and what dropped by them: made again, with every ban that stands; \
             counters begin anew"
        );
    }
}

/// A ban that only the kernel knew.
pub(super) fn adoption(offender: Offender, executable: Executable, standing: Standing) -> Adoption {
    let Standing {
        since,
        until,
        rule_id,
        shadow,
    } = standing;
    Adoption {
        key: Key {
            offender,
            executable: match shadow {
                true => executable.in_shadow(),
                false => executable,
            },
        },
        since,
        until,
        rule_id,
    }
}

fn is_same(found: Standing, wanted: Standing, grain: Duration) -> bool {
    found.shadow == wanted.shadow && same_end(found.until, wanted.until, grain)
}

/// Whether two ends are the same one, as exactly as they are kept.
fn same_end(one: Expiry, other: Expiry, grain: Duration) -> bool {
    match (one, other) {
        (Expiry::At(one), Expiry::At(other)) => {
            one.since(other) <= grain && other.since(one) <= grain
        }
        _ => one == other,
    }
}
