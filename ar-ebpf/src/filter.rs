//! From a frame to its outcome: the order of the look-ups, and the counting.
//!
//! Knows nothing of a hook: XDP and TCX ask the same question. Decides on the source address
//! alone; what happens to the packet is the entry point's.

use ar_ebpf::{AddrV4, AddrV6, Outcome, setting};

use crate::maps::{self, BanEntry, Entry, PlaceEntryV4};
use crate::packet::{Packet, Source};

/// Finds out what `packet` deserves, and counts it.
#[inline(always)]
pub(crate) fn judge(packet: impl Packet) -> Outcome {
    let outcome = match packet.source() {
        Ok(source) => judge_source(source, packet.len()),
        Err(outcome) => outcome,
    };
    maps::count(outcome, packet.len(), packet.interface());
    outcome
}

#[inline(always)]
fn judge_source(source: Source, len: u64) -> Outcome {
    let (exact, is_behind_front) = match source {
        Source::V4(addr) if maps::front_v4(addr) => (judge_v4(addr, len), true),
        Source::V6(addr) if maps::front_v6(addr) => (judge_v6(addr, len), true),
        Source::V4(_) => return Outcome::Clean,
        // No address here is banned by itself. A prefix shorter than /64 may still hold it.
        Source::V6(_) => (Outcome::Clean, false),
    };
    if let Outcome::Banned = exact {
        return exact;
    }
    // A ban of the address that is over, or that is a shadow, does not keep a prefix's from dropping.
    let prefix = match source {
        Source::V4(addr) if is_in_prefix_v4(addr) => BanEntry::of_prefix_v4(addr),
        Source::V6(addr) if is_in_prefix_v6(addr, is_behind_front) => BanEntry::of_prefix_v6(addr),
        Source::V4(_) | Source::V6(_) => None,
    };
    match (exact, prefix.map(|ban| judge_prefix(source, &ban, len))) {
        (_, None) | (Outcome::Shadow, Some(Outcome::Allowed | Outcome::Expired)) => exact,
        (_, Some(prefix)) => prefix,
    }
}

#[inline(always)]
fn judge_v4(addr: AddrV4, len: u64) -> Outcome {
    let Some(hashing) = maps::hashing_v4() else {
        return Outcome::Clean;
    };
    if let Some(place) = PlaceEntryV4::of(addr, hashing) {
        return judge_ban(&place, len);
    }
    let overflow = maps::overflows(hashing).then(|| BanEntry::of_overflow_v4(addr));
    overflow
        .flatten()
        .map_or(Outcome::Clean, |ban| judge_ban(&ban, len))
}

#[inline(always)]
fn judge_v6(addr: AddrV6, len: u64) -> Outcome {
    let Some(hashing) = maps::hashing_v6() else {
        return Outcome::Clean;
    };
    let place = BanEntry::of_place_v6(addr, hashing).or_else(|| {
        let overflow = maps::overflows(hashing).then(|| BanEntry::of_overflow_v6(addr));
        overflow.flatten()
    });
    place.map_or(Outcome::Clean, |ban| judge_ban(&ban, len))
}

/// Whether a prefix may hold the address, whose front bit is set.
#[inline(always)]
fn is_in_prefix_v4(addr: AddrV4) -> bool {
    maps::is_on(setting::PREFIXES_V4) && maps::prefix_front_v4(addr)
}

/// Whether a prefix may hold the address. One of /64 and longer sets the front bit too, so that for most the bit of
/// the /32 alone is looked at, which is the same for many senders.
#[inline(always)]
fn is_in_prefix_v6(addr: AddrV6, is_behind_front: bool) -> bool {
    let settings = maps::settings();
    settings & setting::PREFIXES_V6 != 0
        && (settings & setting::WIDE_V6 != 0 && maps::prefix_front_wide_v6(addr)
            || is_behind_front && maps::prefix_front_v6(addr))
}

#[inline(always)]
fn judge_prefix(source: Source, ban: &BanEntry, len: u64) -> Outcome {
    if ban.is_over(maps::now_ns()) {
        return Outcome::Expired;
    }
    let is_allowed = match source {
        Source::V4(addr) => maps::is_on(setting::ALLOW_V4) && maps::is_allowed_v4(addr),
        Source::V6(addr) => maps::is_on(setting::ALLOW_V6) && maps::is_allowed_v6(addr),
    };
    if is_allowed {
        Outcome::Allowed
    } else {
        judge_ban(ban, len)
    }
}

#[inline(always)]
fn judge_ban(ban: &impl Entry, len: u64) -> Outcome {
    // The clock is read only here: most packets meet no ban and need none.
    let now_ns = maps::now_ns();
    if ban.is_over(now_ns) {
        return Outcome::Expired;
    }
    ban.hit(len, now_ns);
    if ban.is_shadow() {
        Outcome::Shadow
    } else {
        Outcome::Banned
    }
}
