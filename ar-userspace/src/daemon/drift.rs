//! Drift: what stands in the enforcer and ought not, or ought to and does not, while the daemon runs.
//!
//! Each step looks at some entries and puts them right in the same turn of the loop, so that nothing which the
//! daemon does itself comes in between. What was over before the start is swept away here too.

use std::time::Duration;

use super::Daemon;
use super::journal::Journal;
use super::reconcile::adoption;
use crate::clock;
use crate::config::Enforcement;
use crate::control::view;
use crate::enforcer::{Hold, Mended, Presence, Seen};
use crate::ledger::{self, Ruling, Standing};
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

/// Entries of one step: well under a few milliseconds.
const ENTRIES: usize = 512;

/// How long others have the loop between two steps.
const BETWEEN_STEPS: Duration = Duration::from_millis(10);

/// Entries of one pass that are logged one by one.
const TOLD: u64 = 16;

/// Ends that are no further apart are the same. Clocks are read one after the other, and the process may have to
/// wait in between.
const APART: Duration = Duration::from_secs(1);

/// What was found since the start, and in the pass that runs.
#[derive(Debug, Default)]
pub(super) struct Drift {
    pub(super) since_start: view::Drift,
    before: view::Drift,
    told: u64,
}

impl Drift {
    fn tell(&mut self, journal: &Journal, offender: Offender, what: &str) {
        self.told += 1;
        if self.told <= TOLD {
            tracing::warn!(address = %offender, "drift: {what}");
            journal.happened(|| view::Happening::Drift {
                address: offender.to_string(),
                what: what.to_owned(),
            });
        }
    }

    fn end_pass(&mut self) {
        let (now, before) = (&self.since_start, &self.before);
        let restored = now.restored - before.restored;
        let corrected = now.corrected - before.corrected;
        let adopted = now.adopted - before.adopted;
        let refused = now.refused - before.refused;
        let swept = now.swept - before.swept;
        if restored + corrected + adopted + refused > 0 {
            tracing::warn!(
                restored,
                corrected,
                adopted,
                refused,
                swept,
                "drift: somebody else changed the bans in the kernel, and they were put right"
            );
        } else if swept > 0 {
            tracing::info!(swept, "entries of bans that were over were removed");
        }
        self.before = self.since_start.clone();
        self.told = 0;
    }
}

impl Daemon {
    /// One step of a pass; after how long the next one is due, when passes are `every` so long.
    pub(super) fn inspect(&mut self, every: Duration) -> Duration {
        // Every end in the kernel is late by the time that the machine slept, and that is nobody's doing.
        self.look_at_sleep();
        let inspection = match self.enforcer.inspect(ENTRIES, clock::kernel_clock()) {
            Ok(inspection) => inspection,
            Err(error) => {
                tracing::error!("cannot inspect what is enforced: {error:#}");
                self.drift.end_pass();
                return every;
            }
        };
        // Behind the look: what has ended before it is not to be there.
        let now = clock::now();
        for seen in inspection.seen {
            self.compare(seen, now);
        }
        for mended in inspection.mended {
            let (count, network, what) = match mended {
                Mended::PutBack(network) => (
                    &mut self.drift.since_start.restored,
                    network,
                    "a network that bans of prefixes leave alone was gone; put back",
                ),
                Mended::Removed(network) => (
                    &mut self.drift.since_start.refused,
                    network,
                    "a network was let through bans of prefixes by somebody else; removed",
                ),
            };
            *count += 1;
            let network = Offender::network(network);
            self.drift.tell(&self.journal, network, what);
        }
        if !inspection.is_through {
            return BETWEEN_STEPS;
        }
        self.drift.end_pass();
        every
    }

    fn compare(&mut self, Seen { offender, presence }: Seen, now: Moment) {
        let wanted = self.ledger.standing(offender, now);
        match (presence, wanted) {
            (Presence::Standing(found), Some(wanted))
                if found.shadow == wanted.shadow && is_near(found.until, wanted.until) => {}
            // It is over this moment, and its deadline is the next event or so.
            (Presence::Over, Some(wanted)) if is_near(Expiry::At(now), wanted.until) => {}
            (_, None) if self.is_to_end(offender) => {}
            (Presence::Missing, Some(wanted)) => {
                if self.put(offender, Some(wanted)) {
                    self.drift.since_start.restored += 1;
                    self.drift.tell(
                        &self.journal,
                        offender,
                        "the entry of a ban was gone; put back",
                    );
                }
            }
            (Presence::Over | Presence::Standing(_), Some(wanted)) => {
                if self.put(offender, Some(wanted)) {
                    self.drift.since_start.corrected += 1;
                    self.drift.tell(
                        &self.journal,
                        offender,
                        "a ban had another end or did not do what it should; put right",
                    );
                }
            }
            // Its front bit may still be there.
            (Presence::Missing, None) => drop(self.put(offender, None)),
            (Presence::Over, None) => {
                if self.put(offender, None) {
                    self.drift.since_start.swept += 1;
                }
            }
            (Presence::Standing(found), None) => self.take_in(offender, found, now),
        }
    }

    /// A ban that nobody here made: as at the start, it is adopted, unless it must not be.
    fn take_in(&mut self, offender: Offender, found: Standing, now: Moment) {
        self.look_at_sessions();
        if let Some(why) = self.forbids(offender, true) {
            if self.put(offender, None) {
                self.drift.since_start.refused += 1;
                let what = format!("an unknown ban was removed: {why}");
                self.drift.tell(&self.journal, offender, &what);
            }
            return;
        }
        let adoption = adoption(offender, self.adopted_as(), found);
        let ruling = self.ledger.apply(ledger::Event::Adopt(adoption), now);
        // What was only taken over is not counted as made.
        let bans = self.counts.bans;
        self.perform(now);
        self.counts.bans = bans;
        if let Ruling::Done { changed: 1.. } = ruling {
            self.drift.since_start.adopted += 1;
            self.drift.tell(
                &self.journal,
                offender,
                "an unknown ban was adopted; `arfw unban` ends it",
            );
        }
    }

    /// Whether the ledger is about to end a ban of it.
    fn is_to_end(&self, offender: Offender) -> bool {
        let records = self.ledger.records_of(offender);
        let stand = records.filter(|record| !self.ledger.is_lifted(&record.key));
        let mut bans = stand.filter_map(|it| it.ban);
        bans.any(|ban| ban.enforcement == Enforcement::Kernel)
    }

    fn put(&mut self, offender: Offender, standing: Option<Standing>) -> bool {
        let hold = Hold { offender, standing };
        let failures = self.enforcer.hold(&[hold], clock::kernel_clock());
        for failure in &failures {
            self.counts.failed += 1;
            tracing::error!("drift cannot be put right: {}", failure.cause);
            self.journal
                .failure_of(None, "putting drift right", &failure.cause);
        }
        failures.is_empty()
    }
}

fn is_near(one: Expiry, other: Expiry) -> bool {
    match (one, other) {
        (Expiry::At(one), Expiry::At(other)) => {
            one.since(other) <= APART && other.since(one) <= APART
        }
        _ => one == other,
    }
}
