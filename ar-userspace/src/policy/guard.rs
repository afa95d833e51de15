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
    /// The users whose sessions have these peers. Apart, because they come and go without the others.
    sessions: BTreeMap<Offender, Box<str>>,
    networks: Vec<(Prefix, Reason)>,
}

/// Why an address is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An address of this host.
    OwnAddress,
    /// The broadcast address of a network of this host.
    Broadcast,
    /// A default gateway.
    Gateway,
    /// A resolver that this host asks.
    Resolver,
    /// The manager, without which no agent can be reached.
    Manager,
    /// The other end of an SSH session of this user, who administers the host.
    SshPeer(Box<str>),
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

    /// Protects the peers of administrators' sessions, with the user of each, and none that it did before.
    pub fn set_sessions(&mut self, sessions: BTreeMap<Offender, Box<str>>) {
        self.sessions = sessions;
    }

    /// The peers of administrators' sessions, with the user of each.
    #[must_use]
    pub fn sessions(&self) -> &BTreeMap<Offender, Box<str>> {
        &self.sessions
    }

    /// Why this address must not be banned; `None` when nothing protects it. An address's own reason comes
    /// before that of a session, and this before that of a network.
    #[must_use]
    pub fn reason(&self, offender: Offender) -> Option<Reason> {
        let own = self.hosts.get(&offender).cloned();
        own.or_else(|| self.sessions.get(&offender).cloned().map(Reason::SshPeer))
            .or_else(|| {
                let mut networks = self.networks.iter();
                let network = networks.find(|(network, _)| network.covers(offender));
                network.map(|(_, reason)| reason.clone())
            })
    }

    /// All that this guard protects, as networks.
    pub fn protected(&self) -> impl Iterator<Item = Prefix> {
        let hosts = self.hosts.keys().chain(self.sessions.keys());
        let networks = self.networks.iter().map(|(network, _)| *network);
        hosts.map(|host| host.prefix()).chain(networks)
    }

    /// Whom this guard protects by name, sessions apart.
    pub fn hosts(&self) -> impl Iterator<Item = Offender> {
        self.hosts.keys().copied()
    }

    /// Whom this guard protects by name and `older` does not.
    pub fn hosts_beyond(&self, older: &Self) -> impl Iterator<Item = Offender> {
        let hosts = self.hosts.keys().chain(self.sessions.keys());
        hosts
            .filter(|host| !older.hosts.contains_key(host) && !older.sessions.contains_key(host))
            .copied()
    }

    /// The networks that this guard protects and `older` does not.
    pub fn networks_beyond(&self, older: &Self) -> impl Iterator<Item = Prefix> {
        let networks = self.networks.iter().map(|(network, _)| *network);
        networks.filter(|network| older.networks.iter().all(|(old, _)| old != network))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnAddress => "an address of this host",
            Self::Broadcast => "the broadcast address of a network of this host",
            Self::Gateway => "a default gateway",
            Self::Resolver => "a resolver of this host",
            Self::Manager => "the manager",
            Self::SshPeer(user) => {
                return write!(f, "the peer of an SSH session of {}", user.escape_debug());
            }
            Self::Other(reason) => reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, text: &str, expected: Option<&Reason>) {
        let found = guard.reason(text.parse().unwrap());
        assert_eq!(found.as_ref(), expected, "{text}");
    }

    fn session(peer: &str) -> BTreeMap<Offender, Box<str>> {
        BTreeMap::from([(peer.parse().unwrap(), "root".into())])
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
        guard.protect("192.0.2.1".parse().unwrap(), Reason::Resolver);
        check(&guard, "192.0.2.1", Some(&Reason::Gateway));
        check(&guard, "192.0.2.9", Some(&other));
        check(&guard, "192.0.3.9", None);
        guard.set_sessions(session("192.0.2.9"));
        check(&guard, "192.0.2.9", Some(&Reason::SshPeer("root".into())));
    }

    #[test]
    fn sessions_protect_while_they_last() {
        let mut guard = Guard::default();
        guard.set_sessions(session("198.51.100.7"));
        check(
            &guard,
            "198.51.100.7",
            Some(&Reason::SshPeer("root".into())),
        );
        guard.set_sessions(session("198.51.100.8"));
        check(&guard, "198.51.100.7", None);
    }

    #[test]
    fn what_is_new_is_told_apart() {
        let network = |text: &str| Prefix::new(text.parse().unwrap(), 24).unwrap();
        let mut older = Guard::default();
        older.protect("192.0.2.1".parse().unwrap(), Reason::Gateway);
        older.protect_network(network("198.51.100.0"), Reason::Manager);
        older.set_sessions(session("203.0.113.5"));
        let mut guard = older.clone();
        assert_eq!(guard.hosts_beyond(&older).count(), 0);
        assert_eq!(guard.networks_beyond(&older).count(), 0);
        guard.protect("192.0.2.2".parse().unwrap(), Reason::OwnAddress);
        guard.protect("203.0.113.5".parse().unwrap(), Reason::OwnAddress);
        guard.set_sessions(session("203.0.113.6"));
        guard.protect_network(network("203.0.113.0"), Reason::Manager);
        let hosts: Vec<String> = guard
            .hosts_beyond(&older)
            .map(|host| host.to_string())
            .collect();
        assert_eq!(hosts, ["192.0.2.2", "203.0.113.6"]);
        let networks: Vec<_> = guard.networks_beyond(&older).collect();
        assert_eq!(networks, [network("203.0.113.0")]);
    }
}
