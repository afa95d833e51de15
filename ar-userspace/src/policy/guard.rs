//! Addresses that are never banned on this host, whatever the configuration says (AR-OFF-5).
//!
//! The set is put together outside, from interfaces, routes and sessions; nothing here looks them up.

use std::collections::BTreeMap;
use std::fmt;

use crate::offender::{Offender, Prefix};

/// What must stay reachable, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guard {
    hosts: BTreeMap<Offender, Reason>,
    networks: Vec<(Prefix, Reason)>,
}

/// Why an address is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An address of this host.
    OwnAddress,
    /// A default gateway.
    Gateway,
    /// A resolver that this host asks.
    Resolver,
    /// The manager, without which no agent can be reached.
    Manager,
    /// The other end of an administrator's session.
    SshPeer,
    /// Anything else, in the operator's words.
    Other(Box<str>),
}

impl Guard {
    /// Protects one address. The first reason given for an address is kept.
    pub fn protect(&mut self, offender: Offender, reason: Reason) {
        self.hosts.entry(offender).or_insert(reason);
    }

    /// Protects a network. An address's own reason comes before that of its network.
    pub fn protect_network(&mut self, network: Prefix, reason: Reason) {
        self.networks.push((network, reason));
    }

    /// Why this address must not be banned; `None` when nothing protects it.
    #[must_use]
    pub fn reason(&self, offender: Offender) -> Option<&Reason> {
        self.hosts.get(&offender).or_else(|| {
            self.networks
                .iter()
                .find(|(network, _)| network.covers(offender))
                .map(|(_, reason)| reason)
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "an address of this host",
            Self::Gateway => "a default gateway",
            Self::Resolver => "a resolver of this host",
            Self::Manager => "the manager",
            Self::SshPeer => "the peer of an administrator's session",
            Self::Other(reason) => reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, text: &str, expected: Option<&Reason>) {
        assert_eq!(guard.reason(text.parse().unwrap()), expected, "{text}");
    }

    /// AR-OFF-5
    #[test]
    fn an_address_is_protected_in_every_spelling() {
        let mut guard = Guard::default();
        guard.protect("192.0.2.1".parse().unwrap(), Reason::Gateway);
        guard.protect("2001:db8::53".parse().unwrap(), Reason::Resolver);
        check(&guard, "192.0.2.1", Some(&Reason::Gateway));
        check(&guard, "::ffff:192.0.2.1", Some(&Reason::Gateway));
        check(&guard, "2001:DB8:0:0::53", Some(&Reason::Resolver));
        check(&guard, "192.0.2.2", None);
        check(&Guard::default(), "192.0.2.1", None);
    }

    #[test]
    fn the_nearest_and_the_first_reason_is_told() {
        let network = Prefix::new("192.0.2.0".parse().unwrap(), 24).unwrap();
        let other = Reason::Other("the office".into());
        let mut guard = Guard::default();
        guard.protect_network(network, other.clone());
        guard.protect_network(network, Reason::Manager);
        guard.protect("192.0.2.1".parse().unwrap(), Reason::Gateway);
        guard.protect("192.0.2.1".parse().unwrap(), Reason::SshPeer);
        check(&guard, "192.0.2.1", Some(&Reason::Gateway));
        check(&guard, "192.0.2.9", Some(&other));
        check(&guard, "192.0.3.9", None);
    }
}
