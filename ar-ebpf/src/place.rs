//! A table of two choices: what stands at a place, and at which places an address may stand.
//!
//! Two places are a bucket, and an address has two buckets. No entry ever moves, so that whoever looks into
//! one bucket and then into the other misses none. What finds both full stands in the overflow, a hash, which is
//! looked at only while it holds something.

use core::mem::offset_of;

use crate::{AddrV4, AddrV6, Ban, NEVER, flag};

/// Places of a bucket. Of IPv4, a bucket is a line of the cache; of IPv6, a place is.
pub const PLACES_OF_BUCKET: u32 = 2;

/// Least buckets of a table.
pub const MIN_BUCKETS: u32 = 32;

/// `map_flags` of arrays of places, of their details and of front bitmaps (`BPF_F_MMAPABLE`, linux/bpf.h): only then do
/// elements begin at a page, and places at a line of the cache, and only then can user space read them where they stand.
pub const MMAPABLE: u32 = 1 << 10;

/// Nanoseconds in a unit of [`PlaceV4::last_seen`], as a power of two: 1.07 s, so that 32 bits last for 146 years.
pub const SEEN_UNIT: u32 = 30;

/// The lower half of a word.
const LOW: u64 = 0xffff_ffff;

/// Places of a table for `max_bans`: half as many again, so that two thirds are taken at most.
#[must_use]
pub const fn places_for(max_bans: u32) -> u32 {
    let wanted = (max_bans as u64 * 3).div_ceil(4);
    // A number of buckets fits 31 bits, or the number of places would not fit 32.
    let most = (u32::MAX / PLACES_OF_BUCKET) as u64;
    let wanted = if wanted > most { most } else { wanted };
    let buckets = (wanted & LOW) as u32;
    PLACES_OF_BUCKET
        * if buckets < MIN_BUCKETS {
            MIN_BUCKETS
        } else {
            buckets
        }
}

/// Entries that the overflow of a table for `max_bans` has room for.
///
/// Bans that come and go while the most that there may be stand find both buckets full one time in eight; a sixth
/// leaves room for chance. A small table's overflow has room for all.
#[must_use]
pub const fn overflow_for(max_bans: u32) -> u32 {
    let share = max_bans.div_ceil(6);
    let small = if max_bans < 1024 { max_bans } else { 1024 };
    if share > small { share } else { small }
}

/// How the addresses of one family are spread over its table. Written before there is a ban, and then kept as long
/// as the table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashing {
    /// Random, so that nobody can choose addresses which share their buckets. All zero in maps that no daemon has
    /// taken over.
    pub secret: [u64; 6],
    /// Buckets of the table.
    pub buckets: u32,
    /// Not zero while the overflow may hold something.
    pub overflow: u32,
    /// Bans that the table was made for; user space alone reads it.
    pub room: u32,
    /// Always zero.
    pub zero: u32,
}

impl Hashing {
    /// Both buckets of an IPv4 address. They may be the same.
    #[must_use]
    #[inline(always)]
    pub const fn buckets_v4(&self, addr: AddrV4) -> [u32; 2] {
        self.buckets_of(u32::from_ne_bytes(addr.octets) as u64)
    }

    /// Both buckets of an IPv6 address. They may be the same.
    #[must_use]
    #[inline(always)]
    pub const fn buckets_v6(&self, addr: AddrV6) -> [u32; 2] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = addr.octets;
        let subnet = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let interface = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
        // Of the halves' products, two addresses share the sum by one secret in 2^32 ("NH" of RFC 4418).
        self.buckets_of(
            product(subnet, self.secret[3]).wrapping_add(product(interface, self.secret[4])),
        )
    }

    /// Mixes a number with the secret, so that neither bucket tells anything of the other.
    #[inline(always)]
    const fn buckets_of(&self, number: u64) -> [u32; 2] {
        let mixed = number
            .wrapping_add(self.secret[0])
            .wrapping_mul(self.secret[1] | 1);
        let mixed = (mixed ^ (mixed >> 32)).wrapping_mul(self.secret[2] | 1);
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(self.secret[5] | 1);
        [
            self.bucket(mixed >> 32),
            self.bucket((mixed ^ (mixed >> 32)) & LOW),
        ]
    }

    /// Brings 32 bits into the range of the buckets, of which there may be any number.
    #[inline(always)]
    const fn bucket(&self, hash: u64) -> u32 {
        ((hash * self.buckets as u64) >> 32) as u32
    }
}

#[inline(always)]
const fn product(half: u64, secret: u64) -> u64 {
    let low = ((half & LOW) as u32).wrapping_add((secret & LOW) as u32);
    let high = ((half >> 32) as u32).wrapping_add((secret >> 32) as u32);
    low as u64 * high as u64
}

/// What the packet path has to know of one banned IPv4 address: half a line of the cache.
///
/// Free when `expires_at_ns` is 0, whatever the rest is.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaceV4 {
    /// As [`Ban::expires_at_ns`], but even; odd, by one more, for a ban that does not drop. An end is rounded up,
    /// so that none comes early, and one that does not come is [`PlaceV4::NEVER`].
    pub expires_at_ns: u64,
    /// As [`Ban::packets`].
    pub packets: u64,
    /// As [`Ban::bytes`].
    pub bytes: u64,
    /// Who is banned.
    pub octets: [u8; 4],
    /// As [`Ban::last_seen_ns`], in whole units of 2^[`SEEN_UNIT`] ns; 0 before the first packet.
    pub last_seen: u32,
}

impl PlaceV4 {
    /// The even form of [`NEVER`].
    pub const NEVER: u64 = NEVER - 1;

    /// The place of a ban, and what stands at the same index in `DETAILS_V4`.
    #[must_use]
    pub const fn new(addr: AddrV4, ban: &Ban) -> (Self, DetailsV4) {
        let even = match ban.expires_at_ns {
            Self::NEVER..=NEVER => Self::NEVER,
            end => end + (end & 1),
        };
        let place = Self {
            expires_at_ns: even | (ban.flags & flag::SHADOW != 0) as u64,
            packets: ban.packets,
            bytes: ban.bytes,
            octets: addr.octets,
            last_seen: (ban.last_seen_ns >> SEEN_UNIT & LOW) as u32,
        };
        let details = DetailsV4 {
            banned_at_ns: ban.banned_at_ns,
            rule_id: ban.rule_id,
            flags: ban.flags,
        };
        (place, details)
    }

    /// Who is banned at the place and how; `None` when it is free.
    #[must_use]
    pub const fn ban(&self, details: &DetailsV4) -> Option<(AddrV4, Ban)> {
        if self.expires_at_ns == 0 {
            return None;
        }
        let addr = AddrV4 {
            octets: self.octets,
        };
        let shadow = if self.expires_at_ns & 1 == 0 {
            0
        } else {
            flag::SHADOW
        };
        let ban = Ban {
            expires_at_ns: match self.expires_at_ns {
                Self::NEVER..=NEVER => NEVER,
                end => end & !1,
            },
            packets: self.packets,
            bytes: self.bytes,
            last_seen_ns: (self.last_seen as u64) << SEEN_UNIT,
            banned_at_ns: details.banned_at_ns,
            rule_id: details.rule_id,
            // What the kernel goes by is what is told.
            flags: details.flags & !flag::SHADOW | shadow,
        };
        Some((addr, ban))
    }
}

/// What the packet path need not know of the ban of an IPv4 address. Means nothing while the place is free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DetailsV4 {
    /// As [`Ban::banned_at_ns`].
    pub banned_at_ns: u64,
    /// As [`Ban::rule_id`].
    pub rule_id: u32,
    /// As [`Ban::flags`].
    pub flags: u32,
}

/// One banned IPv6 address: a line of the cache. Free when `ban.expires_at_ns` is 0, whatever the rest is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceV6 {
    /// As in the overflow.
    pub ban: Ban,
    /// Who is banned.
    pub address: AddrV6,
}

const _: () = {
    assert!(size_of::<Hashing>() == 64);
    assert!(size_of::<PlaceV4>() == 32);
    // In one word with what stands beside it: user space counts on an address that is never half there.
    assert!(offset_of!(PlaceV4, octets) == 24);
    assert!(size_of::<DetailsV4>() == 16);
    assert!(size_of::<PlaceV6>() == 64);
    // User space tells a free place by its first word.
    assert!(offset_of!(PlaceV4, expires_at_ns) == 0);
    assert!(offset_of!(PlaceV6, ban.expires_at_ns) == 0);
};
