//! Which hosts act: first from the alert alone, then from the agents that are known (AR-ROUTE).
//!
//! Pure arithmetic over lists that are handed in. Nothing is sent from here.

use std::fmt;

use super::Target;
use crate::config::{AgentId, Location};

/// An agent that the manager knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Its number. `000`, the manager itself, is not an agent and is passed over.
    pub id: AgentId,
    /// Whether it can be reached at this moment.
    pub connected: bool,
    /// Whether its own file says `disabled` `yes` (AR-ROUTE-6).
    pub ar_disabled: bool,
}

/// A host that can execute a response.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// The manager.
    Server,
    /// An agent.
    Agent(AgentId),
}

/// Who executes, and who was meant to but does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The hosts that really execute, in the order of the list of agents.
    pub executors: Vec<Host>,
    /// The agents that do not, with the reason. Nothing is kept for them (AR-ROUTE-5).
    pub unreached: Vec<(AgentId, Unreached)>,
}

/// Why an agent does not execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// No agent has this number (AR-ROUTE-3).
    Unknown,
    /// It is not connected (AR-ROUTE-5).
    Disconnected,
    /// It ignores requests (AR-ROUTE-6).
    Disabled,
}

/// The target of a response for an alert of the agent `agent_id` (AR-ROUTE-1 to 4).
///
/// An alert without an agent, or with one that is no decimal number, belongs to the manager.
#[must_use]
pub fn target(location: &Location, agent_id: Option<&str>) -> Target {
    match location {
        // Most alerts are the manager's own, and need no number of their own.
        Location::Local => match agent_id
            .filter(|id| *id != AgentId::MANAGER)
            .and_then(AgentId::parse)
        {
            Some(agent) if !agent.is_manager() => Target::Agent(agent),
            _ => Target::Server,
        },
        Location::Server => Target::Server,
        Location::DefinedAgent(agent) => Target::Agent(agent.clone()),
        Location::All => Target::AllAgents,
    }
}

/// The hosts that execute, given the agents known at this moment (AR-ROUTE-3, 5 and 6).
#[must_use]
pub fn route(target: &Target, agents: &[Agent]) -> Route {
    let mut route = Route::default();
    match target {
        Target::Server => route.executors.push(Host::Server),
        Target::Agent(id) => match agents.iter().find(|agent| agent.id == *id) {
            Some(agent) if !agent.id.is_manager() => route.ask(agent),
            _ => route.unreached.push((id.clone(), Unreached::Unknown)),
        },
        Target::AllAgents => agents
            .iter()
            .filter(|agent| !agent.id.is_manager())
            .for_each(|agent| route.ask(agent)),
    }
    route
}

impl Route {
    fn ask(&mut self, agent: &Agent) {
        let id = agent.id.clone();
        match (agent.connected, agent.ar_disabled) {
            (false, _) => self.unreached.push((id, Unreached::Disconnected)),
            (true, true) => self.unreached.push((id, Unreached::Disabled)),
            (true, false) => self.executors.push(Host::Agent(id)),
        }
    }
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no such agent",
            Self::Disconnected => "not connected",
            Self::Disabled => "active response is disabled there",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agents() -> Vec<Agent> {
        let agent = |number, connected, ar_disabled| Agent {
            id: AgentId::new(number),
            connected,
            ar_disabled,
        };
        vec![
            agent(0, true, false),
            agent(1, true, false),
            agent(2, true, true),
            agent(3, false, true),
            agent(32, true, false),
        ]
    }

    /// `expected` is the executors, a bar, and who is not reached.
    fn check(location: &Location, agent_id: Option<&str>, expected: &str) {
        let route = route(&target(location, agent_id), &agents());
        let executors = route.executors.iter().map(|host| match host {
            Host::Server => "server",
            Host::Agent(id) => id.as_str(),
        });
        let unreached = route
            .unreached
            .iter()
            .map(|(id, why)| format!("{}: {why}", id.as_str()));
        let found = format!(
            "{} | {}",
            executors.collect::<Vec<_>>().join(" "),
            unreached.collect::<Vec<_>>().join(", ")
        );
        assert_eq!(found, expected, "{location:?} {agent_id:?}");
    }

    /// AR-ROUTE-1, AR-ROUTE-5, AR-ROUTE-6
    #[test]
    fn local_is_the_agent_of_the_alert() {
        check(&Location::Local, Some("001"), "001 | ");
        check(&Location::Local, Some("32"), "032 | ");
        check(&Location::Local, Some("000"), "server | ");
        check(&Location::Local, None, "server | ");
        check(&Location::Local, Some("web"), "server | ");
        check(&Location::Local, Some("+1"), "server | ");
        check(&Location::Local, Some("003"), " | 003: not connected");
        check(&Location::Local, Some("004"), " | 004: no such agent");
        check(
            &Location::Local,
            Some("002"),
            " | 002: active response is disabled there",
        );
    }

    /// AR-ROUTE-2
    #[test]
    fn server_is_the_manager_whatever_the_agent() {
        check(&Location::Server, Some("001"), "server | ");
        check(&Location::Server, None, "server | ");
    }

    /// AR-ROUTE-3
    #[test]
    fn a_defined_agent_acts_whatever_the_agent_of_the_alert() {
        let agent = |number| Location::DefinedAgent(AgentId::new(number));
        check(&agent(32), Some("001"), "032 | ");
        check(&agent(32), None, "032 | ");
        check(&agent(77), Some("001"), " | 077: no such agent");
        check(&agent(3), Some("001"), " | 003: not connected");
        check(&agent(0), Some("001"), " | 000: no such agent");
    }

    /// AR-ROUTE-4
    #[test]
    fn all_is_every_connected_agent_and_never_the_manager() {
        let expected = "001 032 | 002: active response is disabled there, 003: not connected";
        check(&Location::All, Some("001"), expected);
        check(&Location::All, Some("000"), expected);
    }
}
