//! What becomes of bans when a clock is not as it was: nothing. What is written of them is written anew.
//!
//! The ledger counts on the boot-time clock, which is never set. But the kernel's ends stand on a clock that stands
//! still while the machine sleeps, and the store's on the wall clock. Both are looked at whenever something is
//! settled, a minute apart at most.

use std::time::Duration;

use super::Daemon;
use crate::clock;
use crate::enforcer::Hold;
use crate::ledger::Change;
use crate::time::{Boot, Clocks, KernelClock};

/// How the other clocks stood to moments when that was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// By which the store's times are to be read.
    pub(super) boot: Boot,
    slept: Duration,
}

impl Steps {
    pub(super) fn new(boot: Boot, kernel: KernelClock) -> Self {
        let slept = kernel.slept();
        Self { boot, slept }
    }

    /// By how many nanoseconds the wall clock was set since the last look.
    fn set(&mut self, clocks: Clocks) -> Option<i64> {
        let boot = Boot::of(self.boot.id, clocks);
        let step = boot.step_since(self.boot)?;
        self.boot = boot;
        Some(step)
    }

    /// How long the machine slept since the last look.
    fn slept(&mut self, kernel: KernelClock) -> Option<Duration> {
        let slept = kernel.slept().checked_sub(self.slept)?;
        if slept < Boot::STEP {
            return None;
        }
        self.slept = kernel.slept();
        Some(slept)
    }
}

impl Daemon {
    /// After a sleep, writes every end in the kernel anew: without that, a ban would outlast its end by the time
    /// slept if nobody were there to remove it.
    pub(super) fn look_at_sleep(&mut self) {
        let kernel = clock::kernel_clock();
        let Some(slept) = self.steps.slept(kernel) else {
            return;
        };
        let now = clock::now();
        let wanted: Vec<Hold> = self
            .ledger
            .standings(now)
            .map(|(offender, standing)| Hold {
                offender,
                standing: Some(standing),
            })
            .collect();
        let failures = self.enforcer.hold(&wanted, kernel);
        for failure in &failures {
            self.counts.failed += 1;
            self.journal.not_written_anew(&failure.cause);
        }
        self.journal.slept(slept, wanted.len() - failures.len());
    }

    /// After a step of the wall clock, every record with the times that the store has from then on; empty without one.
    /// The quiet times are to be stored anew too.
    pub(super) fn look_at_wall_clock(&mut self, clocks: Clocks) -> Vec<Change> {
        let Some(step_ns) = self.steps.set(clocks) else {
            return Vec::new();
        };
        self.store.reckon(self.steps.boot);
        self.journal.clock_set(step_ns);
        self.quiet.touch();
        let records = self.ledger.records();
        records
            .map(|record| Change {
                key: record.key.clone(),
                record: Some(record),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::{Moment, Wall};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_step_and_each_sleep_is_told_once() {
        let moment = |seconds: u32| Moment::default().after(SECOND * seconds);
        let wall =
            |seconds: i64| Wall::from_nanos(1_700_000_000_000_000_000 + seconds * 1_000_000_000);
        let at = |seconds, wall_seconds| Clocks {
            moment: moment(seconds),
            wall: wall(wall_seconds),
        };
        let asleep = |seconds, slept: u32| {
            KernelClock::new(moment(seconds), moment(seconds - slept).as_nanos())
        };
        let mut steps = Steps::new(Boot::of(1, at(10, 10)), asleep(10, 2));
        assert_eq!(steps.set(at(20, 20)), None);
        assert_eq!(steps.set(at(30, 30 + 86_400)), Some(86_400_000_000_000));
        assert_eq!(steps.set(at(40, 40 + 86_400)), None);
        assert_eq!(steps.set(at(50, 50)), Some(-86_400_000_000_000));
        assert_eq!(steps.slept(asleep(50, 2)), None);
        assert_eq!(steps.slept(asleep(60, 9)), Some(SECOND * 7));
        assert_eq!(steps.slept(asleep(70, 9)), None);
        // Many short sleeps are as good as a long one.
        let short = |tenths: u64| {
            let behind = SECOND * 9 + Duration::from_millis(100 * tenths);
            KernelClock::new(moment(80), moment(80).before(behind).as_nanos())
        };
        assert_eq!(steps.slept(short(4)), None);
        assert_eq!(steps.slept(short(8)), Some(Duration::from_millis(800)));
    }
}
