//! An alert and a configuration in; the offences that follow from them, or why there are none, out.
//!
//! Matching (AR-MATCH), the offender's checks (AR-OFF), the white list (AR-WL) and routing (AR-ROUTE) are
//! decided here. Nothing here remembers an earlier alert: that is the ledger's.

use std::time::Duration;

use crate::config::{AgentId, Enforcement, Executable};
use crate::offender::Offender;

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
