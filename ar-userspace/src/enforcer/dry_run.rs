//! Says what would be done, and keeps it in memory: nothing reaches the kernel.

use std::collections::BTreeMap;

use super::{Condition, Counters, Enforced, Enforcer, Failure, Leave, Place};
use crate::ledger::{Effect, Standing};
use crate::offender::Offender;
use crate::time::KernelClock;

/// An enforcer without consequences.
#[derive(Debug, Default)]
pub struct DryRun {
    standing: BTreeMap<Offender, Standing>,
}

impl Enforcer for DryRun {
    fn name(&self) -> &'static str {
        "dry-run"
    }

    fn perform(&mut self, effects: &[Effect], _clock: KernelClock) -> Vec<Failure> {
        for effect in effects {
            match effect.standing {
                Some(standing) => self.standing.insert(effect.key.offender, standing),
                None => self.standing.remove(&effect.key.offender),
            };
        }
        Vec::new()
    }

    fn enforced(&self, _clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        let enforced = |(&offender, &standing)| Enforced {
            offender,
            standing,
            counters: Counters::default(),
        };
        Ok(self.standing.iter().map(enforced).collect())
    }

    fn condition(&self) -> anyhow::Result<Condition> {
        let place = Place {
            interface: "-".to_owned(),
            mode: "none",
            why: "dry run: nothing is dropped".to_owned(),
        };
        Ok(Condition {
            places: vec![place],
            totals: Vec::new(),
        })
    }

    fn close(self: Box<Self>, _leave: Leave) -> anyhow::Result<()> {
        Ok(())
    }
}
