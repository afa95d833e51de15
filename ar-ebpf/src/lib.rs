//! The map ABI: keys, values, map names, limits and the front bitmap's hash, built on both sides.
//!
//! Nothing here touches a packet or a map. Every type is `repr(C)` without implicit padding and its
//! size is asserted; a change of any of them, or of what a field means, raises [`ABI_VERSION`].
//! docs/maps.md describes the same for people who look with `bpftool`.

#![no_std]

#[cfg(feature = "user")]
pub mod batch;
#[cfg(feature = "user")]
pub mod mapped;
pub mod place;
pub mod slot;

/// Version of everything in this file, in [`place`] and in [`slot`]. User space brings pinned maps of an older one up to date, and refuses
/// those of any other.
pub const ABI_VERSION: u32 = 4;

/// Names of the maps, as the object file and `bpftool map show` have them.
///
/// A pin has the same name under the pin directory (`/sys/fs/bpf/arfw` unless told otherwise), in lower case.
pub mod map {
    /// Array of [`PlaceV4`](crate::place::PlaceV4).
    pub const BANS_V4: &str = "BANS_V4";
    /// Array of [`PlaceV6`](crate::place::PlaceV6).
    pub const BANS_V6: &str = "BANS_V6";
    /// Array of [`DetailsV4`](crate::place::DetailsV4), by the index of the place. No packet touches it.
    pub const DETAILS_V4: &str = "DETAILS_V4";
    /// Hash of [`AddrV4`](crate::AddrV4) to [`Ban`](crate::Ban), for addresses whose two buckets are full.
    pub const OVERFLOW_V4: &str = "OVERFLOW_V4";
    /// Hash of [`AddrV6`](crate::AddrV6) to [`Ban`](crate::Ban), for addresses whose two buckets are full.
    pub const OVERFLOW_V6: &str = "OVERFLOW_V6";
    /// Array of one [`Hashing`](crate::place::Hashing).
    pub const HASHING_V4: &str = "HASHING_V4";
    /// The same for IPv6.
    pub const HASHING_V6: &str = "HASHING_V6";
    /// LPM trie of a length and [`NetworkV4`](crate::NetworkV4) to [`PrefixBan`](crate::PrefixBan).
    pub const PREFIXES_V4: &str = "PREFIXES_V4";
    /// LPM trie of a length and [`NetworkV6`](crate::NetworkV6) to [`PrefixBan`](crate::PrefixBan).
    pub const PREFIXES_V6: &str = "PREFIXES_V6";
    /// LPM trie of networks that no ban of a prefix touches; the value says nothing.
    pub const ALLOW_V4: &str = "ALLOW_V4";
    /// The same for IPv6.
    pub const ALLOW_V6: &str = "ALLOW_V6";
    /// Array of one `u32`: bits of [`setting`](crate::setting).
    pub const SETTINGS: &str = "SETTINGS";
    /// Bitmap in an array of `u64`: a set bit says that something in that IPv4 /24 may be banned.
    ///
    /// A clear bit hides every ban behind it. So user space sets a bit before it inserts a ban, and clears
    /// it only after it has removed the last one behind it. The same holds for the next map.
    pub const FRONT_V4: &str = "FRONT_V4";
    /// Bitmap in an array of `u64`: both bits of a hash of an IPv6 /64 set say that something in it may be banned, and
    /// one of another hash, that a prefix shorter than /64 in that /32 is. The latter is for programs of version 2.
    pub const FRONT_V6: &str = "FRONT_V6";
    /// Bitmap as `FRONT_V4`, whose bits prefixes alone set: only behind one that is set the trie is searched.
    ///
    /// Prefixes set the bits of `FRONT_V4` too, which is looked at first.
    pub const PREFIX_FRONT_V4: &str = "PREFIX_FRONT_V4";
    /// Bitmap as `FRONT_V6`, whose bits prefixes alone set. The bit of a /32 is looked at here only.
    pub const PREFIX_FRONT_V6: &str = "PREFIX_FRONT_V6";
    /// Per-CPU array of [`Total`](crate::Total), indexed by [`slot::index`](crate::slot::index).
    pub const STATS: &str = "STATS";
    /// Array of `u32`, indexed by [`slot::cell`](crate::slot::cell): which slot of `STATS` is whose.
    pub const INTERFACES: &str = "INTERFACES";
    /// Array of one `u32`: the [`ABI_VERSION`](crate::ABI_VERSION) of the pinned maps; 0 until user space,
    /// which alone reads and writes it, has made them its own.
    pub const ABI: &str = "ABI";

    /// Every map, in the order in which they are described.
    pub const ALL: [&str; 19] = [
        BANS_V4,
        BANS_V6,
        DETAILS_V4,
        OVERFLOW_V4,
        OVERFLOW_V6,
        HASHING_V4,
        HASHING_V6,
        PREFIXES_V4,
        PREFIXES_V6,
        ALLOW_V4,
        ALLOW_V6,
        SETTINGS,
        FRONT_V4,
        FRONT_V6,
        PREFIX_FRONT_V4,
        PREFIX_FRONT_V6,
        STATS,
        INTERFACES,
        ABI,
    ];
}

/// Name of the XDP program in the object file. It takes multi-buffer frames, so that native mode is
/// possible with jumbo MTUs, and needs Linux 5.18.
pub const XDP_PROGRAM: &str = "arfw_xdp";

/// Name of the same program without multi-buffer frames: for Linux 5.15 to 5.17, which refuse the other one.
pub const XDP_PROGRAM_LINEAR: &str = "arfw_xdp_linear";

/// Name of the program for the TCX ingress hook, which takes the same decisions, in the object file: for interfaces
/// that take no XDP program of ours. Needs Linux 6.6.
pub const TCX_PROGRAM: &str = "arfw_tcx";

/// Bans per family that the maps are created for unless user space asks for another number.
pub const DEFAULT_MAX_BANS: u32 = 131_072;

/// Bans of prefixes per family that there is room for; memory is taken as they come.
pub const MAX_PREFIXES: u32 = 131_072;

/// Allowed networks per family that there is room for; memory is taken as they come.
pub const MAX_ALLOWED: u32 = 65_536;

/// Bits of a front bitmap: one per IPv4 /24, so 2^24.
pub const FRONT_BITS: u32 = 1 << 24;

/// `u64` words of a front bitmap.
pub const FRONT_WORDS: u32 = FRONT_BITS / 64;

/// An IPv4 source address, in network byte order. Aligned as the integer that the program handles it in.
#[repr(C, align(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddrV4 {
    /// The four octets as they stand in the packet.
    pub octets: [u8; 4],
}

/// An IPv6 source address, in network byte order. Aligned as the two integers that the program handles it in.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddrV6 {
    /// The sixteen octets as they stand in the packet.
    pub octets: [u8; 16],
}

impl AddrV6 {
    /// The address whose /64 and remainder are, as the octets stand in memory, these two integers.
    #[must_use]
    #[inline(always)]
    pub const fn from_halves(subnet: u64, interface: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = subnet.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = interface.to_ne_bytes();
        Self {
            octets: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p],
        }
    }
}

/// The address part of a key of an IPv4 trie, behind its length in bits (at most 32).
///
/// Eight bytes, so that the value behind them is aligned for counters, and is compared in one step.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkV4 {
    /// The four octets, those beyond the length zero.
    pub octets: [u8; 4],
    /// Always zero.
    pub zero: [u8; 4],
}

impl NetworkV4 {
    /// The network's first address.
    #[must_use]
    #[inline(always)]
    pub const fn new(octets: [u8; 4]) -> Self {
        Self {
            octets,
            zero: [0; 4],
        }
    }
}

/// The address part of a key of an IPv6 trie, behind its length in bits (at most 128).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NetworkV6 {
    /// The sixteen octets, those beyond the length zero.
    pub octets: [u8; 16],
}

/// What the kernel holds for one banned prefix.
///
/// A trie finds only the longest prefix that matches, yet any that is not over has to drop. So
/// `ban.expires_at_ns` is the latest end over this prefix and all that contain it; the rest of `ban` is
/// this prefix's own. Packets are counted at the longest prefix alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixBan {
    /// As for an address, except for its end.
    pub ban: Ban,
    /// The prefix's own end, on the clock of [`Ban::expires_at_ns`]; the program does not read it.
    pub own_expires_at_ns: u64,
}

/// Bits of `SETTINGS`.
pub mod setting {
    /// `PREFIXES_V4` holds something.
    pub const PREFIXES_V4: u32 = 1 << 0;
    /// `PREFIXES_V6` holds something.
    pub const PREFIXES_V6: u32 = 1 << 1;
    /// `PREFIXES_V6` holds a prefix shorter than /64, so that the front bit of the /32 counts too.
    pub const WIDE_V6: u32 = 1 << 2;
    /// `ALLOW_V4` holds something.
    pub const ALLOW_V4: u32 = 1 << 3;
    /// `ALLOW_V6` holds something.
    pub const ALLOW_V6: u32 = 1 << 4;
}

/// What the kernel holds for one ban. All integers in host byte order.
///
/// Of an IPv4 address it is in two parts, [`place::PlaceV4`] and [`place::DetailsV4`], unless it stands in the overflow.
///
/// User space can only write a value whole. It carries the counters over, and what is counted between
/// its look and its write is lost.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// First nanosecond of CLOCK_MONOTONIC at which the ban is over; [`NEVER`] for a permanent one.
    ///
    /// The program compares it with the coarse clock, which lags by up to a tick (1 to 10 ms): a ban
    /// ends that much late and never early. CLOCK_MONOTONIC stands still in suspend: the daemon,
    /// whose clock does not, removes the entry in time; with the daemon dead a ban lasts longer by the
    /// time slept.
    pub expires_at_ns: u64,
    /// Packets dropped (or, in a shadow ban, that would have been), since the ban was made.
    pub packets: u64,
    /// Bytes of those packets, from the Ethernet header on, without a frame check sequence.
    pub bytes: u64,
    /// CLOCK_MONOTONIC, coarse, of the last such packet; 0 before the first.
    pub last_seen_ns: u64,
    /// CLOCK_MONOTONIC when user space made the ban.
    pub banned_at_ns: u64,
    /// Identifier of the rule whose alert led to the ban; 0 when there is none.
    pub rule_id: u32,
    /// Bits of [`flag`].
    pub flags: u32,
}

impl Ban {
    /// None: over at any time, and of nobody.
    pub const NONE: Self = Self {
        expires_at_ns: 0,
        packets: 0,
        bytes: 0,
        last_seen_ns: 0,
        banned_at_ns: 0,
        rule_id: 0,
        flags: 0,
    };
}

/// `expires_at_ns` of a ban that does not end.
pub const NEVER: u64 = u64::MAX;

/// Bits of [`Ban::flags`].
pub mod flag {
    /// The ban is permanent; `expires_at_ns` is [`NEVER`](crate::NEVER) too.
    pub const PERMANENT: u32 = 1 << 0;
    /// Made by an operator.
    pub const MANUAL: u32 = 1 << 1;
    /// Counted, but not dropped.
    pub const SHADOW: u32 = 1 << 2;
}

/// Packets and bytes of one outcome on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// What the program found out about one packet: the index into a slot of `STATS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// IP, and its source is not banned.
    Clean = 0,
    /// The source is banned: dropped.
    Banned = 1,
    /// The source is banned in shadow: passed.
    Shadow = 2,
    /// The source's ban is over, but still in the map: passed.
    Expired = 3,
    /// Not IP (ARP, LLDP, ...): passed.
    NotIp = 4,
    /// Ends within the Ethernet header, a VLAN tag, or the fixed part of an IP header: passed.
    Truncated = 5,
    /// Announced as IP, but its version is another, or its IPv4 header is shorter than one can be: passed.
    ///
    /// The network stack discards such a packet by itself, so passing it lets nobody through.
    Malformed = 6,
    /// Under the ban of a prefix, but the source is allowed: passed.
    Allowed = 7,
}

impl Outcome {
    /// Every outcome, in the order of its index.
    pub const ALL: [Self; 8] = [
        Self::Clean,
        Self::Banned,
        Self::Shadow,
        Self::Expired,
        Self::NotIp,
        Self::Truncated,
        Self::Malformed,
        Self::Allowed,
    ];

    /// Index into a slot of `STATS`.
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }
}

/// A place in a front bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrontBit(u32);

impl FrontBit {
    /// The bit of an IPv4 address: that of its /24.
    #[must_use]
    #[inline(always)]
    pub const fn of_v4(addr: AddrV4) -> Self {
        let [a, b, c, _] = addr.octets;
        Self(u32::from_be_bytes([0, a, b, c]))
    }

    /// The bits of an IPv6 address: two in one word, by a hash of its /64. They may be the same.
    ///
    /// With a million bans, one bit would be set by somebody else's for one address in sixteen, and both are for one in
    /// sixty. Collisions cost a look-up and decide nothing, so a multiplication is enough of a hash.
    #[must_use]
    #[inline(always)]
    pub const fn of_v6(addr: AddrV6) -> [Self; 2] {
        let [a, b, c, d, e, f, g, h, ..] = addr.octets;
        let subnet = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let mixed = (subnet ^ (subnet >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let first = (mixed >> 40) as u32;
        let within = ((mixed ^ (mixed >> 32)) & 63) as u32;
        [Self(first), Self(first & !63 | within)]
    }

    /// The bit of an IPv6 address for prefixes shorter than /64: a hash of its /32.
    #[must_use]
    #[inline(always)]
    pub const fn of_v6_wide(addr: AddrV6) -> Self {
        let [a, b, c, d, ..] = addr.octets;
        let site = u32::from_ne_bytes([a, b, c, d]) as u64;
        let mixed = (site ^ 0x5bd1_e995).wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
        Self((mixed >> 40) as u32)
    }

    /// Index of the word that holds the bit.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u32 {
        self.0 / 64
    }

    /// The bit within its word.
    #[must_use]
    #[inline(always)]
    pub const fn mask(self) -> u64 {
        1 << (self.0 % 64)
    }
}

const _: () = {
    assert!(size_of::<AddrV4>() == 4);
    assert!(size_of::<AddrV6>() == 16);
    assert!(size_of::<Ban>() == 48);
    assert!(size_of::<NetworkV4>() == 8);
    assert!(size_of::<NetworkV6>() == 16);
    assert!(size_of::<PrefixBan>() == 56);
    assert!(size_of::<Total>() == 16);
};

#[cfg(feature = "user")]
mod pod {
    use super::place::{DetailsV4, Hashing, PlaceV4, PlaceV6};
    use super::{AddrV4, AddrV6, Ban, NetworkV4, NetworkV6, PrefixBan, Total};

    // SAFETY: `repr(C)`, integers and byte arrays only, and the assertions above leave no room for padding.
    unsafe impl aya::Pod for AddrV4 {}
    // SAFETY: as for `AddrV4`.
    unsafe impl aya::Pod for AddrV6 {}
    // SAFETY: as for `AddrV4`: five `u64` and two `u32` are the asserted 48 bytes.
    unsafe impl aya::Pod for Ban {}
    // SAFETY: as for `AddrV4`.
    unsafe impl aya::Pod for NetworkV4 {}
    // SAFETY: as for `AddrV4`.
    unsafe impl aya::Pod for NetworkV6 {}
    // SAFETY: as for `AddrV4`: a `Ban` and a `u64` are the asserted 56 bytes.
    unsafe impl aya::Pod for PrefixBan {}
    // SAFETY: as for `AddrV4`: two `u64` are the asserted 16 bytes.
    unsafe impl aya::Pod for Total {}
    // SAFETY: as for `AddrV4`: three `u64`, four octets and a `u32` are the 32 bytes that `place` asserts.
    unsafe impl aya::Pod for PlaceV4 {}
    // SAFETY: as for `AddrV4`: a `u64` and two `u32` are the 16 bytes that `place` asserts.
    unsafe impl aya::Pod for DetailsV4 {}
    // SAFETY: as for `AddrV4`: 48 bytes of a `Ban` and sixteen octets are the 64 bytes that `place` asserts.
    unsafe impl aya::Pod for PlaceV6 {}
    // SAFETY: as for `AddrV4`: six `u64` and four `u32` are the 64 bytes that `place` asserts.
    unsafe impl aya::Pod for Hashing {}
}
