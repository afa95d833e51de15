//! What stands in the table: its sets, its chain and the rules, and what they have counted.
//!
//! A network is banned in the set of its length, whose rule looks for the masked source address. So no two
//! elements overlap, each ends at its own time, and any that is there drops.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use super::wire::{Attributes, Request, all, find, text, u32, u64};
use crate::enforcer::Counters;
use crate::offender::{Offender, Prefix};

/// The one chain.
const CHAIN: &str = "prerouting";

/// Before everything that others have there: defragmentation is at -400, raw at -300, connection tracking at -200.
const PRIORITY: i32 = -450;

// `enum nf_tables_msg_types`.
const NEW_TABLE: u16 = 0;
const GET_TABLE: u16 = 1;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const LIST_RULES: u16 = 7;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const LIST_SETS: u16 = 10;

const FLAG_INTERVAL: u32 = 0x4;
const FLAG_TIMEOUT: u32 = 0x10;

const REGISTER_1: u32 = 1;
const REGISTER_VERDICT: u32 = 0;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
        }
    }

    fn octets(self) -> u8 {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// The source address's place in the header, in bytes.
    fn source(self) -> u32 {
        match self {
            Self::V4 => 12,
            Self::V6 => 8,
        }
    }

    /// `NFPROTO_IPV4` and `NFPROTO_IPV6`.
    fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// `ipv4_addr` and `ipv6_addr`, as the program `nft` numbers them.
    fn key_type(self) -> u32 {
        match self {
            Self::V4 => 7,
            Self::V6 => 8,
        }
    }

    /// The mask of the first `bits`.
    fn mask(self, bits: u8) -> Vec<u8> {
        let ones = match self {
            Self::V4 => Prefix::new(Ipv4Addr::BROADCAST.into(), bits),
            Self::V6 => Prefix::new(Ipv6Addr::from_bits(u128::MAX).into(), bits),
        };
        ones.map(|mask| octets(mask.addr())).unwrap_or_default()
    }
}

/// A set of the table, by what it is for. Displayed as its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    /// Banned addresses.
    Bans(Family),
    /// Banned networks of one length in bits.
    Prefixes(Family, u8),
    /// What is not dropped for the network it is in.
    Allow(Family),
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bans(family) => write!(f, "bans_{}", family.word()),
            Self::Prefixes(family, bits) => write!(f, "prefixes_{}_{bits}", family.word()),
            Self::Allow(family) => write!(f, "allow_{}", family.word()),
        }
    }
}

impl Set {
    /// The ones that are there from the start.
    pub(super) const FIRST: [Self; 4] = [
        Self::Bans(Family::V4),
        Self::Bans(Family::V6),
        Self::Allow(Family::V4),
        Self::Allow(Family::V6),
    ];

    /// Where an offender's ban stands.
    pub(super) fn of(offender: Offender) -> Self {
        let family = Family::of(offender.addr());
        if offender.is_host() {
            Self::Bans(family)
        } else {
            Self::Prefixes(family, offender.prefix().bits())
        }
    }

    /// The set of a name; `None` for one that is not ours.
    fn named(name: &str) -> Option<Self> {
        let family = match name.split('_').nth(1)? {
            "v4" => Family::V4,
            "v6" => Family::V6,
            _ => return None,
        };
        let bits = name.split('_').nth(2).and_then(|bits| bits.parse().ok());
        let mut sets = vec![Self::Bans(family), Self::Allow(family)];
        sets.extend(bits.map(|bits| Self::Prefixes(family, bits)));
        sets.into_iter().find(|set| set.to_string() == name)
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::Bans(family) | Self::Prefixes(family, _) | Self::Allow(family) => family,
        }
    }

    /// Who is banned by an element of this set; `None` when nobody is.
    pub(super) fn offender(self, addr: IpAddr) -> Option<Offender> {
        match self {
            _ if Family::of(addr) != self.family() => None,
            Self::Bans(_) => Some(Offender::new(addr)),
            Self::Prefixes(_, bits) => Prefix::new(addr, bits).map(Offender::network),
            Self::Allow(_) => None,
        }
    }

    /// Makes the set, if it is not there.
    pub(super) fn make(self, table: &str, size: u32) -> Request {
        let flags = match self {
            Self::Bans(_) | Self::Prefixes(..) => FLAG_TIMEOUT,
            Self::Allow(_) => FLAG_INTERVAL,
        };
        let family = self.family();
        let mut set = Attributes::default()
            .text(1, table)
            .text(2, &self.to_string())
            .u32(3, flags)
            .u32(4, family.key_type())
            .u32(5, family.octets().into());
        if let Self::Bans(_) = self {
            set = set.nest(9, Attributes::default().u32(1, size));
        }
        // A number for use within the transaction, which the kernel wants and names make needless.
        Request::new(NEW_SET, NLM_F_CREATE, set.u32(10, 1))
    }

    /// Drops what this set bans; behind the rules that are there. It goes on counting from `counted`.
    pub(super) fn rule(self, table: &str, counted: Counters) -> Option<Request> {
        let family = self.family();
        let load = Attributes::default()
            .u32(1, REGISTER_1)
            .u32(2, 1) // NFT_PAYLOAD_NETWORK_HEADER
            .u32(3, family.source())
            .u32(4, family.octets().into());
        let is_family = Attributes::default()
            .u32(1, REGISTER_1)
            .u32(2, 0) // NFT_CMP_EQ
            .value(3, &[family.number()]);
        let drop = Attributes::default().u32(1, 0); // NF_DROP
        let drop = Attributes::default()
            .u32(1, REGISTER_VERDICT)
            .nest(2, Attributes::default().nest(2, drop));
        let mut rule = Attributes::default()
            .expression(1, "meta", Attributes::default().u32(1, REGISTER_1).u32(2, 15)) // NFT_META_NFPROTO
            .expression(1, "cmp", is_family)
            .expression(1, "payload", load.clone());
        match self {
            Self::Bans(_) => rule = rule.expression(1, "lookup", look_up(self, false)),
            Self::Prefixes(_, bits) => {
                let mask = Attributes::default()
                    .u32(1, REGISTER_1)
                    .u32(2, REGISTER_1)
                    .u32(3, family.octets().into())
                    .value(4, &family.mask(bits))
                    .value(5, &vec![0; family.octets().into()]);
                rule = rule
                    .expression(1, "bitwise", mask)
                    .expression(1, "lookup", look_up(self, false))
                    .expression(1, "payload", load)
                    .expression(1, "lookup", look_up(Self::Allow(family), true));
            }
            Self::Allow(_) => return None,
        }
        let rule = rule
            .expression(1, "counter", counter(counted))
            .expression(1, "immediate", drop);
        let rule = Attributes::default()
            .text(1, table)
            .text(2, CHAIN)
            .nest(4, rule);
        Some(Request::new(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, rule))
    }
}

/// A match in a set, or its absence.
fn look_up(set: Set, is_absence: bool) -> Attributes {
    Attributes::default()
        .text(1, &set.to_string())
        .u32(2, REGISTER_1)
        .u32(5, is_absence.into())
}

/// What the expression `counter` is told.
pub(super) fn counter(counted: Counters) -> Attributes {
    Attributes::default()
        .u64(1, counted.bytes)
        .u64(2, counted.packets)
}

/// What the expression in these attributes has counted; `None` when it is no counter.
pub(super) fn counted(expression: &[u8]) -> Option<Counters> {
    if find(expression, 1).and_then(text) != Some("counter") {
        return None;
    }
    let counter = find(expression, 2)?;
    Some(Counters {
        bytes: find(counter, 1).and_then(u64)?,
        packets: find(counter, 2).and_then(u64)?,
    })
}

/// Makes the table and its chain, if they are not there, and takes the rules away that they have.
pub(super) fn make_empty(table: &str) -> [Request; 3] {
    let hook = Attributes::default()
        .u32(1, 0) // NF_INET_PRE_ROUTING
        .bytes(2, &PRIORITY.to_be_bytes());
    let chain = Attributes::default().text(1, table).text(3, CHAIN);
    let made = chain
        .nest(4, hook)
        .u32(5, 1) // NF_ACCEPT
        .text(7, "filter");
    let rules = Attributes::default().text(1, table).text(2, CHAIN);
    [
        Request::new(
            NEW_TABLE,
            NLM_F_CREATE,
            Attributes::default().text(1, table),
        ),
        Request::new(NEW_CHAIN, NLM_F_CREATE, made),
        Request::new(DELETE_RULE, 0, rules),
    ]
}

pub(super) fn get(table: &str) -> Request {
    Request::new(GET_TABLE, 0, Attributes::default().text(1, table))
}

pub(super) fn delete(table: &str) -> Request {
    Request::new(DELETE_TABLE, 0, Attributes::default().text(1, table))
}

pub(super) fn list_sets(table: &str) -> Request {
    Request::new(LIST_SETS, 0, Attributes::default().text(1, table))
}

/// A set of ours, and how many elements it may have, if that is bounded.
pub(super) fn read_set(attributes: &[u8]) -> Option<(Set, Option<u32>)> {
    let set = Set::named(find(attributes, 2).and_then(text)?)?;
    let size = find(attributes, 9).and_then(|description| find(description, 1));
    Some((set, size.and_then(u32)))
}

pub(super) fn list_rules(table: &str) -> Request {
    let rules = Attributes::default().text(1, table).text(2, CHAIN);
    Request::new(LIST_RULES, 0, rules)
}

/// The set that a rule drops by, and what it has dropped.
pub(super) fn read_rule(attributes: &[u8]) -> Option<(Set, Counters)> {
    let expressions = find(attributes, 4)?;
    let first_set = all(expressions, 1)
        .filter(|expression| find(expression, 1).and_then(text) == Some("lookup"))
        .find_map(|lookup| text(find(find(lookup, 2)?, 1)?))?;
    let counted = all(expressions, 1).find_map(counted)?;
    Some((Set::named(first_set)?, counted))
}

/// The transaction that makes the table as it has to be, keeping its elements: each step by what it does.
///
/// `old` are the rules that are there, with what they have counted.
pub(super) fn setup(
    table: &str,
    size: u32,
    sets: impl IntoIterator<Item = Set>,
    old: &BTreeMap<Set, Counters>,
) -> Vec<(String, Request)> {
    let [new_table, chain, no_rules] = make_empty(table);
    let mut steps = vec![
        ("make the table".to_owned(), new_table),
        ("make the chain".to_owned(), chain),
        ("clear the chain".to_owned(), no_rules),
    ];
    let mut rules = Vec::new();
    for set in sets {
        steps.push((format!("make the set `{set}`"), set.make(table, size)));
        let counted = old.get(&set).copied().unwrap_or_default();
        let rule = set.rule(table, counted);
        rules.extend(rule.map(|rule| (format!("make the rule of `{set}`"), rule)));
    }
    steps.append(&mut rules);
    steps
}

pub(super) fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(addr) => addr.octets().to_vec(),
        IpAddr::V6(addr) => addr.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_found_by_their_names() {
        let mut sets = Set::FIRST.to_vec();
        sets.extend([Set::Prefixes(Family::V4, 24), Set::Prefixes(Family::V6, 0)]);
        for set in sets {
            assert_eq!(Set::named(&set.to_string()), Some(set));
        }
        for name in [
            "bans",
            "bans_v5",
            "prefixes_v4",
            "prefixes_v4_024",
            "bans_v4_24",
        ] {
            assert_eq!(Set::named(name), None, "{name}");
        }
    }

    #[test]
    fn masks_have_their_first_bits_set() {
        assert_eq!(Family::V4.mask(0), [0, 0, 0, 0]);
        assert_eq!(Family::V4.mask(20), [255, 255, 240, 0]);
        assert_eq!(Family::V4.mask(32), [255; 4]);
        assert_eq!(Family::V6.mask(128), [255; 16]);
        assert_eq!(Family::V6.mask(9)[..3], [255, 128, 0]);
    }
}
