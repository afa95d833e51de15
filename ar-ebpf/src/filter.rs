//! From a frame to its outcome: the order of the look-ups, and the counting.
//!
//! Knows nothing of XDP, so that another hook can ask the same question. Decides on the source address
//! alone; what happens to the packet is the entry point's.

use ar_ebpf::Outcome;

use crate::maps::{self, BanEntry};
use crate::packet::{Frame, Source};

/// Finds out what `frame` deserves, and counts it.
#[inline(always)]
pub(crate) fn judge(frame: Frame) -> Outcome {
    let outcome = match frame.source() {
        Ok(source) => judge_source(source, frame.len()),
        Err(outcome) => outcome,
    };
    maps::count(outcome, frame.len());
    outcome
}

#[inline(always)]
fn judge_source(source: Source, len: u64) -> Outcome {
    let ban = match source {
        Source::V4(addr) if maps::front_v4(addr) => BanEntry::of_v4(addr),
        Source::V6(addr) if maps::front_v6(addr) => BanEntry::of_v6(addr),
        Source::V4(_) | Source::V6(_) => None,
    };
    ban.map_or(Outcome::Clean, |ban| judge_ban(&ban, len))
}

#[inline(always)]
fn judge_ban(ban: &BanEntry, len: u64) -> Outcome {
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
