//! What differs between the two address families: keys, places, front bits, and the names of the maps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ar_ebpf::place::{DetailsV4, Hashing, PlaceV4, PlaceV6};
use ar_ebpf::{AddrV4, AddrV6, Ban, FrontBit, NetworkV4, NetworkV6, map, setting};
use aya::Pod;

use crate::offender::Prefix;

/// A banned address, and what goes with its family.
pub(super) trait Address: Pod + Ord + Send {
    /// What stands at a place of the table.
    type Place: Pod + Eq;
    /// The octets of the address.
    type Octets: Copy + Default + Eq;
    /// The address part of a trie's key.
    type Network: Pod + Send;
    type FrontBits: IntoIterator<Item = FrontBit, IntoIter: Clone> + Clone;
    /// Bits of [`setting`]: that there are prefixes, and that there are allowed networks.
    const PREFIXES: u32;
    const ALLOW: u32;
    const MAPS: Maps;
    /// Whether the address stands in one word of its place, which is always written as a whole.
    const IN_ONE_WORD: bool;
    /// A place where nobody is banned.
    const FREE: Self::Place;

    fn octets(self) -> Self::Octets;
    fn of(octets: Self::Octets) -> Self;
    fn buckets(self, hashing: &Hashing) -> [u32; 2];
    /// A place with the ban, and the details where they stand apart.
    fn place(self, ban: &Ban) -> (Self::Place, DetailsV4);
    /// Who is banned at a place and how; `None` when it is free.
    fn ban_at(place: &Self::Place, details: &DetailsV4) -> Option<(Self, Ban)>;
    /// The bits that must all be set for a ban of the address to be found.
    fn front_bits(self) -> Self::FrontBits;
    fn addr(self) -> IpAddr;
    /// The trie's key for a network; `None` for one of the other family.
    fn network(addr: IpAddr) -> Option<Self::Network>;
    fn network_addr(network: Self::Network) -> IpAddr;
    /// The bits that must be set for a prefix to be found.
    fn front_bits_of(prefix: Prefix) -> Box<dyn Iterator<Item = FrontBit>>;
    /// Whether only the look at the bit of its /32 finds the prefix.
    fn is_wide(prefix: Prefix) -> bool;
}

/// Names of the maps of one family.
pub(super) struct Maps {
    pub(super) bans: &'static str,
    /// None where they stand at the place itself.
    pub(super) details: Option<&'static str>,
    pub(super) overflow: &'static str,
    pub(super) hashing: &'static str,
    pub(super) front: &'static str,
    pub(super) prefix_front: &'static str,
    pub(super) prefixes: &'static str,
    pub(super) allow: &'static str,
}

impl Address for AddrV4 {
    type Place = PlaceV4;
    type Octets = [u8; 4];
    type Network = NetworkV4;
    type FrontBits = [FrontBit; 1];
    const PREFIXES: u32 = setting::PREFIXES_V4;
    const ALLOW: u32 = setting::ALLOW_V4;
    const MAPS: Maps = Maps {
        bans: map::BANS_V4,
        details: Some(map::DETAILS_V4),
        overflow: map::OVERFLOW_V4,
        hashing: map::HASHING_V4,
        front: map::FRONT_V4,
        prefix_front: map::PREFIX_FRONT_V4,
        prefixes: map::PREFIXES_V4,
        allow: map::ALLOW_V4,
    };
    const IN_ONE_WORD: bool = true;
    const FREE: PlaceV4 = PlaceV4 {
        expires_at_ns: 0,
        packets: 0,
        bytes: 0,
        octets: [0; 4],
        last_seen: 0,
    };

    fn octets(self) -> [u8; 4] {
        self.octets
    }

    fn of(octets: [u8; 4]) -> Self {
        Self { octets }
    }

    fn buckets(self, hashing: &Hashing) -> [u32; 2] {
        hashing.buckets_v4(self)
    }

    fn place(self, ban: &Ban) -> (PlaceV4, DetailsV4) {
        PlaceV4::new(self, ban)
    }

    fn ban_at(place: &PlaceV4, details: &DetailsV4) -> Option<(Self, Ban)> {
        place.ban(details)
    }

    fn front_bits(self) -> [FrontBit; 1] {
        [FrontBit::of_v4(self)]
    }

    fn addr(self) -> IpAddr {
        Ipv4Addr::from(self.octets).into()
    }

    fn network(addr: IpAddr) -> Option<NetworkV4> {
        match addr {
            IpAddr::V4(addr) => Some(NetworkV4::new(addr.octets())),
            IpAddr::V6(_) => None,
        }
    }

    fn network_addr(network: NetworkV4) -> IpAddr {
        Ipv4Addr::from(network.octets).into()
    }

    /// One per /24.
    fn front_bits_of(prefix: Prefix) -> Box<dyn Iterator<Item = FrontBit>> {
        let IpAddr::V4(addr) = prefix.addr() else {
            return Box::new(std::iter::empty());
        };
        let first = addr.to_bits() >> 8;
        let count = 1_u32 << 24_u8.saturating_sub(prefix.bits());
        Box::new((0..count).map(move |number| {
            FrontBit::of_v4(AddrV4 {
                octets: ((first + number) << 8).to_be_bytes(),
            })
        }))
    }

    fn is_wide(_: Prefix) -> bool {
        false
    }
}

impl Address for AddrV6 {
    type Place = PlaceV6;
    type Octets = [u8; 16];
    type Network = NetworkV6;
    type FrontBits = [FrontBit; 2];
    const PREFIXES: u32 = setting::PREFIXES_V6;
    const ALLOW: u32 = setting::ALLOW_V6;
    const MAPS: Maps = Maps {
        bans: map::BANS_V6,
        details: None,
        overflow: map::OVERFLOW_V6,
        hashing: map::HASHING_V6,
        front: map::FRONT_V6,
        prefix_front: map::PREFIX_FRONT_V6,
        prefixes: map::PREFIXES_V6,
        allow: map::ALLOW_V6,
    };
    const IN_ONE_WORD: bool = false;
    const FREE: PlaceV6 = PlaceV6 {
        ban: Ban::NONE,
        address: Self { octets: [0; 16] },
    };

    fn octets(self) -> [u8; 16] {
        self.octets
    }

    fn of(octets: [u8; 16]) -> Self {
        Self { octets }
    }

    fn buckets(self, hashing: &Hashing) -> [u32; 2] {
        hashing.buckets_v6(self)
    }

    fn place(self, ban: &Ban) -> (PlaceV6, DetailsV4) {
        let place = PlaceV6 {
            ban: *ban,
            address: self,
        };
        (place, DetailsV4::default())
    }

    fn ban_at(place: &PlaceV6, _: &DetailsV4) -> Option<(Self, Ban)> {
        (place.ban.expires_at_ns != 0).then_some((place.address, place.ban))
    }

    fn front_bits(self) -> [FrontBit; 2] {
        FrontBit::of_v6(self)
    }

    fn addr(self) -> IpAddr {
        Ipv6Addr::from(self.octets).into()
    }

    fn network(addr: IpAddr) -> Option<NetworkV6> {
        match addr {
            IpAddr::V6(addr) => Some(NetworkV6 {
                octets: addr.octets(),
            }),
            IpAddr::V4(_) => None,
        }
    }

    fn network_addr(network: NetworkV6) -> IpAddr {
        Ipv6Addr::from(network.octets).into()
    }

    /// Those of its /64; for what is shorter, one per /32.
    fn front_bits_of(prefix: Prefix) -> Box<dyn Iterator<Item = FrontBit>> {
        let IpAddr::V6(addr) = prefix.addr() else {
            return Box::new(std::iter::empty());
        };
        let octets = addr.octets();
        if !Self::is_wide(prefix) {
            return Box::new(FrontBit::of_v6(Self { octets }).into_iter());
        }
        let first = addr.to_bits() >> 96;
        let count = 1_u128 << 32_u8.saturating_sub(prefix.bits());
        Box::new((0..count).map(move |number| {
            FrontBit::of_v6_wide(Self {
                octets: ((first + number) << 96).to_be_bytes(),
            })
        }))
    }

    fn is_wide(prefix: Prefix) -> bool {
        prefix.bits() < 64
    }
}
