//! An alert and a configuration in; the offences that follow from them, or why there are none, out.
//!
//! Matching (AR-MATCH), the offender's checks (AR-OFF), the white list (AR-WL) and routing (AR-ROUTE) are
//! decided here. Nothing here remembers an earlier alert: that is the ledger's.

#[cfg(test)]
mod agreement;
pub mod explain;
mod groups;
mod guard;
mod index;
mod memo;
mod refusal;
pub mod route;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::alert::Alert;
use crate::config::{AgentId, Config, Enforcement, Executable, Location, Response};
use crate::offender::Offender;
use crate::quiet::Quiets;
use crate::time::{Clocks, Moment};
pub use guard::{Guard, Reason};
use index::Index;
use memo::Memo;
pub use refusal::Refusal;
use refusal::judge;

/// A configuration, made ready so that an alert costs the same with one section and with a thousand.
#[derive(Debug)]
pub struct Policy {
    config: Arc<Config>,
    index: Index,
    memo: Memo,
}

/// What follows from one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No response matches. The offender was not looked at.
    Unmatched,
    /// Responses match, and none may act. One reason holds for all of them.
    Refused {
        /// The first of the checks that failed, in the order of [`Refusal`]'s variants.
        refusal: Refusal,
        /// The sections that would have fired, counted like [`Offence::response`], in document order.
        responses: Vec<usize>,
    },
    /// One offence for each response that fires, in document order, never empty (AR-MATCH-7).
    Fired(Vec<Offence>),
}

/// One response that fires for one alert: the ledger's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// Which section, counted over all `<active-response>` elements from 0.
    pub response: usize,
    /// What enforces it.
    pub executable: Executable,
    /// Whether the kernel does so in the executable's place.
    pub enforcement: Enforcement,
    /// Who.
    pub offender: Offender,
    /// How long a first offence is banned; `None` for ever.
    pub timeout: Option<Duration>,
    /// The rule of the alert; 0 when it has none.
    pub rule_id: u32,
    /// The alert's own identifier.
    pub alert_id: Option<Box<str>>,
    /// Which hosts act.
    pub target: Target,
}

/// Which hosts act on an offence, once the alert's agent is known (AR-ROUTE-1 to 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The manager.
    Server,
    /// One agent.
    Agent(AgentId),
    /// Every connected agent, never the manager.
    AllAgents,
}

impl Policy {
    /// Makes a configuration ready. Costs time and memory in proportion to its text.
    #[must_use]
    pub fn new(config: Arc<Config>) -> Self {
        let index = Index::new(&config.responses);
        let memo = Memo::default();
        Self {
            config,
            index,
            memo,
        }
    }

    /// The configuration that is applied.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Decides one alert. `guard` holds what must stay reachable at this moment.
    ///
    /// Matching comes first, so that an alert that concerns no section is neither checked nor reported
    /// as refused. The checks of [`Refusal`] follow in its order. What matched is remembered, which only saves time.
    #[must_use]
    pub fn decide(&mut self, alert: &Alert<'_>, guard: &Guard) -> Decision {
        let places = self.memo.matching(alert, &self.index);
        if places.is_empty() {
            return Decision::Unmatched;
        }
        let matching = places
            .iter()
            .filter_map(|place| self.config.responses.get(*place));
        match judge(&self.config, alert, guard) {
            Ok(offender) => Decision::Fired(
                matching
                    .map(|response| offence(response, alert, offender))
                    .collect(),
            ),
            Err(refusal) => Decision::Refused {
                refusal,
                responses: matching.map(|response| response.index).collect(),
            },
        }
    }
}

/// Why the offences of one alert, which was raised `at` and is read now, lead to nothing on this host, when somebody asked
/// that their offender be left in peace. What other hosts are to do is not looked at.
#[must_use]
pub fn quieted(
    offences: &[Offence],
    quiets: &Quiets,
    at: Moment,
    clocks: Clocks,
) -> Option<Refusal> {
    let here = |offence: &&Offence| offence.target == Target::Server;
    let offender = offences.iter().find(here)?.offender;
    let quiet = quiets.of_alert(offender, at, clocks.moment)?;
    Some(Refusal::Quiet {
        offender,
        quiet: Box::new(quiet.clone().on_the_wall(clocks)),
    })
}

fn offence(response: &Response, alert: &Alert<'_>, offender: Offender) -> Offence {
    Offence {
        response: response.index,
        executable: response.executable.clone(),
        offender,
        timeout: response.timeout,
        enforcement: response.enforcement,
        rule_id: alert.rule_id.unwrap_or(0),
        alert_id: alert.id.as_deref().map(Box::from),
        target: route::target(&response.location, alert.agent_id.as_deref()),
    }
}

/// Whether a response asks for the manager by number, and so never fires (AR-CFG-9).
fn asks_for_manager_by_number(response: &Response) -> bool {
    matches!(&response.location, Location::DefinedAgent(agent) if agent.is_manager())
}
