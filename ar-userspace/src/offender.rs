//! A checked, canonical address or prefix: the only things that can be banned or allowed.
//!
//! Text becomes an [`Offender`] here and nowhere else (AR-OFF-2, AR-OFF-4). This module knows nothing
//! of alerts, of white lists, or of how a ban is enforced.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One address, or a prefix of many, in canonical form: an IPv4-mapped IPv6 address is its IPv4 address (AR-OFF-4).
///
/// The order is the numeric one, IPv4 before IPv6, a prefix before what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offender(Prefix);

/// The text is not a literal address (AR-OFF-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a literal IPv4 or IPv6 address")]
pub struct NotAnAddress;

impl Offender {
    /// Takes an address that is already one, and makes it canonical.
    #[must_use]
    pub fn new(addr: IpAddr) -> Self {
        let addr = addr.to_canonical();
        let len = if addr.is_ipv4() { 32 } else { 128 };
        Self(Prefix { addr, len })
    }

    /// Every address of a prefix at once; of a full length, the one address.
    #[must_use]
    pub fn network(prefix: Prefix) -> Self {
        Self(prefix)
    }

    /// The canonical address; of a prefix, its first.
    #[must_use]
    pub fn addr(self) -> IpAddr {
        self.0.addr
    }

    /// All addresses that are meant.
    #[must_use]
    pub fn prefix(self) -> Prefix {
        self.0
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self == Self::new(self.0.addr)
    }

    /// Why an address of this class must not be banned even without a white list (AR-OFF-5).
    ///
    /// Only what the address itself tells: the host's own addresses are the guard's to know.
    #[must_use]
    pub fn special(self) -> Option<Special> {
        if !self.is_host() {
            let mut classes = Special::networks().into_iter();
            return classes.find_map(|(class, special)| class.meets(self.0).then_some(special));
        }
        let special = match self.0.addr {
            IpAddr::V4(addr) if addr.is_unspecified() => Special::Unspecified,
            IpAddr::V4(addr) if addr.is_loopback() => Special::Loopback,
            IpAddr::V4(addr) if addr.is_multicast() => Special::Multicast,
            IpAddr::V4(addr) if addr.is_broadcast() => Special::Broadcast,
            IpAddr::V6(addr) if addr.is_unspecified() => Special::Unspecified,
            IpAddr::V6(addr) if addr.is_loopback() => Special::Loopback,
            IpAddr::V6(addr) if addr.is_multicast() => Special::Multicast,
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(special)
    }
}

impl FromStr for Offender {
    type Err = NotAnAddress;

    /// Reads four decimal octets or any valid IPv6 form; no zone, brackets, port, prefix or blank (AR-OFF-2).
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        text.parse().map(Self::new).map_err(|_| NotAnAddress)
    }
}

impl fmt::Display for Offender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            fmt::Display::fmt(&self.0.addr, f)
        } else {
            fmt::Display::fmt(&self.0, f)
        }
    }
}

/// A class of addresses that are never an attacker's own (AR-OFF-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// `0.0.0.0` or `::`.
    Unspecified,
    /// `127.0.0.0/8` or `::1`.
    Loopback,
    /// `224.0.0.0/4` or `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    Broadcast,
}

impl Special {
    /// The classes as networks.
    fn networks() -> [(Prefix, Self); 7] {
        let v4 = |a, b, len| Prefix {
            addr: Ipv4Addr::new(a, b, b, b).into(),
            len,
        };
        let v6 = |first, last, len| Prefix {
            addr: Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last).into(),
            len,
        };
        [
            (v4(0, 0, 32), Self::Unspecified),
            (v4(127, 0, 8), Self::Loopback),
            (v4(224, 0, 4), Self::Multicast),
            (v4(255, 255, 32), Self::Broadcast),
            (v6(0, 0, 128), Self::Unspecified),
            (v6(0, 1, 128), Self::Loopback),
            (v6(0xff00, 0, 8), Self::Multicast),
        ]
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
        })
    }
}

/// A network: an address with its host bits masked off, and a length in bits.
///
/// An IPv4 network covers no IPv6 address, and the other way round (AR-WL-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Hash for Prefix {
    /// In few words: each alert hashes an address several times.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.addr {
            IpAddr::V4(addr) => {
                state.write_u64(u64::from(addr.to_bits()) | u64::from(self.len) << 32);
            }
            IpAddr::V6(addr) => {
                state.write_u128(addr.to_bits());
                state.write_u8(self.len);
            }
        }
    }
}

/// The text is neither a literal address nor a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an address, or a network such as `192.0.2.0/24` or `2001:db8::/32`")]
pub struct NotAPrefix;

impl Prefix {
    /// The network of `len` bits that holds `addr`; `None` when the family has fewer bits.
    ///
    /// The address is taken as it is: `::ffff:0:0/96` stays an IPv6 network.
    #[must_use]
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        let addr = match addr {
            IpAddr::V4(addr) if len <= 32 => IpAddr::V4(Ipv4Addr::from_bits(
                addr.to_bits() & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0),
            )),
            IpAddr::V6(addr) if len <= 128 => IpAddr::V6(Ipv6Addr::from_bits(
                addr.to_bits() & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0),
            )),
            IpAddr::V4(_) | IpAddr::V6(_) => return None,
        };
        Some(Self { addr, len })
    }

    /// The network of one address.
    #[must_use]
    pub fn host(offender: Offender) -> Self {
        offender.0
    }

    /// Whether all of `offender` stands in this network.
    #[must_use]
    pub fn covers(self, offender: Offender) -> bool {
        self.len <= offender.0.len && self.holds(offender.0.addr)
    }

    /// Whether this network and another have an address in common: one holds the other.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.covers(Offender(other)) || other.covers(Offender(self))
    }

    /// The first address.
    #[must_use]
    pub fn addr(self) -> IpAddr {
        self.addr
    }

    fn holds(self, addr: IpAddr) -> bool {
        Self::new(addr, self.len).is_some_and(|network| network.addr == self.addr)
    }

    /// Length in bits: 0 covers the whole family.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.len
    }
}

impl FromStr for Prefix {
    type Err = NotAPrefix;

    /// Reads an address, or an address, `/` and a number of bits; host bits are masked off. A network of
    /// IPv4-mapped addresses is the IPv4 network (AR-OFF-4).
    fn from_str(text: &str) -> Result<Self, NotAPrefix> {
        let Some((address, bits)) = text.split_once('/') else {
            let offender = text.parse::<Offender>().map_err(|_| NotAPrefix)?;
            return Ok(Self::host(offender));
        };
        let address: IpAddr = address.parse().map_err(|_| NotAPrefix)?;
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let len: u8 = bits.parse().ok().filter(|_| digits).ok_or(NotAPrefix)?;
        let mapped = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) => len.checked_sub(96).map(|len| (v4, len)),
            _ => None,
        };
        let (address, len) = mapped.unwrap_or((address, len));
        Self::new(address, len).ok_or(NotAPrefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offender(text: &str) -> Option<String> {
        text.parse::<Offender>()
            .ok()
            .map(|offender| offender.to_string())
    }

    #[test]
    fn spellings_of_one_address_are_one_offender() {
        let canonical = Some("2001:db8::1".to_owned());
        assert_eq!(offender("2001:DB8:0:0:0:0:0:1"), canonical);
        assert_eq!(offender("2001:db8::0:1"), canonical);
        assert_eq!(
            offender("::ffff:198.51.100.9"),
            Some("198.51.100.9".to_owned())
        );
        assert_eq!(
            offender("::ffff:c633:6409"),
            Some("198.51.100.9".to_owned())
        );
    }

    #[test]
    fn only_literal_addresses_are_offenders() {
        for text in [
            "",
            "-",
            "UNKNOWN",
            "host.example",
            "198.51.100",
            "198.51.100.9.1",
            "010.008.1.1",
            "0x7f000001",
            "198.51.100.9/32",
            "198.51.100.9:22",
            "[2001:db8::1]",
            "fe80::1%eth0",
            " 198.51.100.9",
            "999.1.1.1",
        ] {
            assert_eq!(offender(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_prefix_is_read_from_its_text() {
        let read = |text: &str| text.parse::<Prefix>().ok().map(|found| found.to_string());
        for (text, expected) in [
            ("198.51.100.9", "198.51.100.9/32"),
            ("198.51.100.9/24", "198.51.100.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:DB8::9", "2001:db8::9/128"),
            ("2001:db8::9/32", "2001:db8::/32"),
            ("::ffff:198.51.100.9", "198.51.100.9/32"),
            ("::ffff:198.51.100.9/120", "198.51.100.0/24"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "/",
            "198.51.100.9/",
            "198.51.100.9/33",
            "198.51.100.9/+8",
            "host/24",
            "::/129",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_prefix_as_an_offender_is_told_apart_from_its_first_address() {
        let network = |text: &str| Offender::network(text.parse().unwrap());
        let (all, first) = (network("198.51.100.0/24"), network("198.51.100.0"));
        assert_eq!(first, "198.51.100.0".parse().unwrap());
        assert!(first.is_host() && !all.is_host() && all < first);
        assert_eq!(all.to_string(), "198.51.100.0/24");
        assert!(all.prefix().covers(first) && !first.prefix().covers(all));
        assert!(first.prefix().meets(all.prefix()));
        assert!(!network("198.51.101.0/24").prefix().meets(all.prefix()));
        for (text, expected) in [
            ("127.0.0.0/9", Some(Special::Loopback)),
            ("126.0.0.0/7", Some(Special::Loopback)),
            ("255.255.255.0/24", Some(Special::Broadcast)),
            ("128.0.0.0/2", None),
            ("::/20", Some(Special::Unspecified)),
            ("2001:db8::/32", None),
        ] {
            assert_eq!(network(text).special(), expected, "{text}");
        }
    }

    #[test]
    fn prefixes_mask_host_bits_and_keep_to_their_family() {
        let network = Prefix::new("198.51.100.9".parse().unwrap(), 24).unwrap();
        assert_eq!(network.to_string(), "198.51.100.0/24");
        assert!(network.covers("198.51.100.255".parse().unwrap()));
        assert!(!network.covers("198.51.101.0".parse().unwrap()));
        let all = Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap();
        assert!(all.covers("203.0.113.1".parse().unwrap()));
        assert!(!all.covers("2001:db8::1".parse().unwrap()));
        assert_eq!(Prefix::new("198.51.100.9".parse().unwrap(), 33), None);
    }
}
