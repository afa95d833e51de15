//! The start: ledger and enforcer agree before anything new is read.

use std::collections::BTreeMap;
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
    /// adopted, never dropped in silence.
    pub(super) fn reconcile(&mut self) -> anyhow::Result<()> {
        let now = clock::now();
        let mut drift = Drift::default();
        let found: BTreeMap<Offender, Standing> = self
            .enforcer
            .enforced(clock::kernel_clock())?
            .into_iter()
            .map(|ban| (ban.offender, ban.standing))
            .collect();
        while self
            .ledger
            .next_deadline()
            .is_some_and(|deadline| deadline <= now)
        {
            self.ledger.handle_timeout(now);
            self.perform(now);
        }
        let differing: Vec<Hold> = self
            .ledger
            .standings(now)
            .filter(|(offender, wanted)| {
                drift.stored += 1;
                !found
                    .get(offender)
                    .is_some_and(|found| same_end(found.until, wanted.until))
            })
            .map(|(offender, standing)| Hold {
                offender,
                standing: Some(standing),
            })
            .collect();
        drift.corrected = differing.len();
        for failure in self.enforcer.hold(&differing, clock::kernel_clock()) {
            self.counts.failed += 1;
            self.journal.not_restored(&failure.cause);
        }
        for (offender, standing) in found {
            if self.ledger.standing(offender, now).is_none() {
                drift.adopted += 1;
                let adoption = adoption(offender, self.adopted_as(), standing);
                self.ledger.apply(ledger::Event::Adopt(adoption), now);
            }
        }
        self.perform(now);
        // What was only taken over is not counted as made.
        self.counts = Counts {
            failed: self.counts.failed,
            ..Counts::default()
        };
        self.programs
            .recall(self.ledger.bans(now), &self.settings.config);
        self.journal.reconciled(drift);
        // The white list may have grown while no daemon ran.
        self.release_white_listed(now);
        Ok(())
    }
}

/// A ban that only the kernel knew.
pub(super) fn adoption(offender: Offender, executable: Executable, standing: Standing) -> Adoption {
    let Standing {
        since,
        until,
        rule_id,
    } = standing;
    Adoption {
        key: Key {
            offender,
            executable,
        },
        since,
        until,
        rule_id,
    }
}

/// Whether two ends are the same one, converted from clock to clock at different times.
fn same_end(one: Expiry, other: Expiry) -> bool {
    const APART: Duration = Duration::from_millis(1);
    match (one, other) {
        (Expiry::At(one), Expiry::At(other)) => {
            one.since(other) <= APART && other.since(one) <= APART
        }
        _ => one == other,
    }
}
