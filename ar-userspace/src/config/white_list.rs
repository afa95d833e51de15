//! Who is never banned: addresses, networks and patterns (AR-WL-1 to 7).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use crate::offender::{Offender, Prefix};

/// Who is never banned (AR-WL-1 to 7). Networks are looked up, patterns are tried one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhiteList {
    entries: Vec<WhiteListEntry>,
    /// Index of the first entry of each network.
    networks: BTreeMap<Prefix, usize>,
    /// The lengths that stand in `networks`, of both families, rising.
    lengths: Vec<u8>,
    /// Indices of the entries that are patterns.
    patterns: Vec<usize>,
}

/// One entry of a white list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhiteListEntry {
    /// Line of the text where the entry stands, from 1.
    pub line: usize,
    /// Bytes of the text that are the entry's value.
    pub span: Range<usize>,
    /// The entry as written.
    pub text: String,
    /// What it covers.
    pub kind: EntryKind,
}

/// What an entry of a white list covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// An address or a network, of either family.
    Network(Prefix),
    /// Anything else: a pattern over the offender's text (AR-WL-3).
    Pattern(Pattern),
}

/// A white-list pattern: alternatives of plain text, each perhaps tied to an end (AR-WL-3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    alternatives: Vec<Alternative>,
}

/// One alternative of a pattern, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alternative {
    text: String,
    at_start: bool,
    at_end: bool,
}

/// Why an entry that looks like an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadEntry {
    /// A `!` in front, which would mean the opposite (AR-WL-2).
    Negated,
    /// Not four octets from 0 to 255.
    Address,
    /// No length, or one that the family does not have.
    Length,
    /// A mask with a hole.
    Mask,
}

impl WhiteList {
    /// Takes the entries in document order.
    #[must_use]
    pub fn new(entries: Vec<WhiteListEntry>) -> Self {
        let mut list = Self::default();
        for (index, entry) in entries.iter().enumerate() {
            match &entry.kind {
                EntryKind::Pattern(_) => list.patterns.push(index),
                EntryKind::Network(prefix) => {
                    list.networks.entry(*prefix).or_insert(index);
                    if let Err(at) = list.lengths.binary_search(&prefix.bits()) {
                        list.lengths.insert(at, prefix.bits());
                    }
                }
            }
        }
        list.entries = entries;
        list
    }

    /// The entry that keeps `offender` from being banned. `as_received` is its text in the alert: patterns
    /// are tried on it and on the canonical text (AR-WL-3, AR-WL-4).
    ///
    /// Among several, the widest network comes first, then the first pattern.
    #[must_use]
    pub fn covers(&self, offender: Offender, as_received: &str) -> Option<&WhiteListEntry> {
        let network = self.network_of(offender);
        let index = network.or_else(|| self.pattern_of(offender, as_received))?;
        self.entries.get(index)
    }

    /// The entries in document order.
    #[must_use]
    pub fn entries(&self) -> &[WhiteListEntry] {
        &self.entries
    }

    /// The addresses and networks, in numeric order, each once.
    pub fn networks(&self) -> impl Iterator<Item = Prefix> {
        self.networks.keys().copied()
    }

    fn network_of(&self, offender: Offender) -> Option<usize> {
        let lengths = self.lengths.iter();
        let mut lengths = lengths.take_while(|&&len| len <= offender.prefix().bits());
        lengths.find_map(|&len| {
            let network = Prefix::new(offender.addr(), len)?;
            self.networks.get(&network).copied()
        })
    }

    fn pattern_of(&self, offender: Offender, as_received: &str) -> Option<usize> {
        if self.patterns.is_empty() {
            return None;
        }
        let received = as_received.to_ascii_lowercase();
        let canonical = offender.to_string();
        let mut patterns = self.patterns.iter().copied();
        patterns.find(|&index| match &self.entries[index].kind {
            EntryKind::Pattern(pattern) => {
                pattern.matches_lower(&received) || pattern.matches_lower(&canonical)
            }
            EntryKind::Network(_) => false,
        })
    }
}

impl Pattern {
    /// Reads alternatives parted by `|`. An empty one matches every text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let alternatives = text.split('|').map(Alternative::new).collect();
        Self { alternatives }
    }

    /// Whether one alternative matches `text`, without regard to case.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.matches_lower(&text.to_ascii_lowercase())
    }

    fn matches_lower(&self, text: &str) -> bool {
        let mut alternatives = self.alternatives.iter();
        alternatives.any(|alternative| alternative.matches(text))
    }
}

impl Alternative {
    fn new(text: &str) -> Self {
        let (at_start, text) = match text.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (at_end, text) = match text.strip_suffix('$') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        Self {
            text: text.to_ascii_lowercase(),
            at_start,
            at_end,
        }
    }

    fn matches(&self, text: &str) -> bool {
        let wanted = self.text.as_str();
        match (self.at_start, self.at_end) {
            (false, false) => text.contains(wanted),
            (true, false) => text.starts_with(wanted),
            (false, true) => text.ends_with(wanted),
            (true, true) => text == wanted,
        }
    }
}

/// Reads one entry that is not empty (AR-WL-1 to 5).
pub(super) fn entry_kind(text: &str) -> Result<EntryKind, BadEntry> {
    if text.starts_with('!') {
        return Err(BadEntry::Negated);
    }
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    if looks_like_v4(address, length) {
        let addr: Ipv4Addr = address.parse().map_err(|_| BadEntry::Address)?;
        let len = length.map_or(Ok(32), v4_length)?;
        return network(IpAddr::V4(addr), len);
    }
    match address.parse::<Ipv6Addr>() {
        Ok(addr) => v6_network(addr, length),
        Err(_) => Ok(EntryKind::Pattern(Pattern::new(text))),
    }
}

/// Whether a text is meant as IPv4 rather than as a part of one: with a slash, or with four groups of
/// digits. `.113.` and `10.1.` are patterns.
fn looks_like_v4(address: &str, length: Option<&str>) -> bool {
    let digits_and_dots = address
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let groups = address.split('.').filter(|group| !group.is_empty()).count();
    let whole = address.split('.').all(|group| !group.is_empty());
    digits_and_dots && groups > 0 && (length.is_some() || (whole && groups >= 4))
}

fn v4_length(text: &str) -> Result<u8, BadEntry> {
    if !text.contains('.') {
        return small_number(text).ok_or(BadEntry::Length);
    }
    let mask: Ipv4Addr = text.parse().map_err(|_| BadEntry::Mask)?;
    let bits = mask.to_bits();
    let len = bits.leading_ones();
    if bits.count_ones() != len {
        return Err(BadEntry::Mask);
    }
    u8::try_from(len).map_err(|_| BadEntry::Mask)
}

fn v6_network(addr: Ipv6Addr, length: Option<&str>) -> Result<EntryKind, BadEntry> {
    let len = match length {
        Some(text) => small_number(text).ok_or(BadEntry::Length)?,
        None => 128,
    };
    // Offenders that are IPv4 addresses in IPv6 form are compared as IPv4 (AR-WL-4), and so are entries.
    match (addr.to_ipv4_mapped(), len.checked_sub(96)) {
        (Some(mapped), Some(len)) => network(IpAddr::V4(mapped), len),
        _ => network(IpAddr::V6(addr), len),
    }
}

fn network(addr: IpAddr, len: u8) -> Result<EntryKind, BadEntry> {
    Prefix::new(addr, len)
        .map(EntryKind::Network)
        .ok_or(BadEntry::Length)
}

fn small_number(text: &str) -> Option<u8> {
    super::fields::decimal(text).and_then(|number| u8::try_from(number).ok())
}

#[cfg(test)]
mod tests;
