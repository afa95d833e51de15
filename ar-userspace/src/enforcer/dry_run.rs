//! Says what would be done, and keeps it in memory: nothing reaches the kernel.

use std::collections::BTreeMap;

use super::{
    Condition, Counters, Enforced, Enforcer, Failure, Hold, Inspection, Leave, Links, Look, Place,
};
use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::{KernelClock, Moment};

/// An enforcer without consequences.
#[derive(Debug, Default)]
pub struct DryRun {
    standing: BTreeMap<Offender, Standing>,
}

impl Enforcer for DryRun {
    fn name(&self) -> &'static str {
        "dry-run"
    }

    fn hold(&mut self, wanted: &[Hold], _clock: KernelClock) -> Vec<Failure> {
        for hold in wanted {
            match hold.standing {
                Some(standing) => self.standing.insert(hold.offender, standing),
                None => self.standing.remove(&hold.offender),
            };
        }
        Vec::new()
    }

    fn allow(&mut self, _networks: &[Prefix]) -> anyhow::Result<()> {
        Ok(())
    }

    fn enforced(&self, _clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        let enforced = |(&offender, &standing)| Enforced {
            offender,
            standing,
            counters: Counters::default(),
            last_seen: None,
        };
        Ok(self.standing.iter().map(enforced).collect())
    }

    /// Nobody else can reach what is held here.
    fn inspect(&mut self, _budget: usize, _clock: KernelClock) -> anyhow::Result<Inspection> {
        Ok(Inspection {
            is_through: true,
            ..Inspection::default()
        })
    }

    fn condition(&self) -> anyhow::Result<Condition> {
        let place = Place {
            interface: "-".to_owned(),
            mode: "none",
            why: "dry run: nothing is dropped".to_owned(),
            since: None,
        };
        Ok(Condition {
            places: vec![place],
            totals: Vec::new(),
        })
    }

    fn look(&mut self) -> Look {
        Look::AsBefore
    }

    fn follow_links(&mut self, _links: Links, _now: Moment) -> bool {
        false
    }

    fn close(self: Box<Self>, _leave: Leave) -> anyhow::Result<()> {
        Ok(())
    }
}
