//! Other ways to hold the bans of addresses, for `cargo xtask bench data-plane` alone: with headers read, front bitmap,
//! clock and totals like the host's program, and nothing of prefixes. docs/decisions/0003 says what came of them.
//!
//! Each is a program for each family: where one serves both, the compiler hashes addresses in registers that hold
//! other things on the way of the other family, which the verifier refuses.

use core::arch::asm;

use ar_ebpf::{AddrV4, AddrV6, FRONT_WORDS, FrontBit, Outcome, Total};
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;

use crate::packet::{Frame, Packet, Source};

/// Nanoseconds in a unit of an end, as a power of two: 67 ms, so that 32 bits last for nine years.
const UNIT: u32 = 26;

/// One line of the cache.
type Line = [u64; 8];

#[map]
static DESIGN_FRONT: Array<u64> = Array::with_max_entries(FRONT_WORDS, 0);
#[map]
static DESIGN_STATS: PerCpuArray<Total> =
    PerCpuArray::with_max_entries(Outcome::ALL.len() as u32, 0);
/// The end and packets, so that an element of IPv4 is one line.
#[map]
static SMALL_V4: HashMap<AddrV4, [u32; 2]> = HashMap::with_max_entries(16, 0);
#[map]
static SMALL_V6: HashMap<AddrV6, [u32; 2]> = HashMap::with_max_entries(16, 0);
/// Buckets of a line each: eight of tag and end, whose details stand in `DETAILS`, or four of tag, end and counter.
#[map]
static BUCKETS: Array<Line> = Array::with_max_entries(16, 0);
#[map]
static DETAILS: Array<Line> = Array::with_max_entries(16, 0);
/// How many buckets there are, less one: a power of two less one.
#[map]
static BUCKET_MASK: Array<u32> = Array::with_max_entries(1, 0);

#[xdp(frags)]
fn hash_small_4(ctx: XdpContext) -> u32 {
    judge::<4>(&ctx, |source, _| match source {
        Source::V4(addr) => SMALL_V4.get_ptr_mut(addr).is_some_and(meets_small),
        Source::V6(_) => false,
    })
}

#[xdp(frags)]
fn hash_small_6(ctx: XdpContext) -> u32 {
    judge::<6>(&ctx, |source, _| match source {
        Source::V6(addr) => SMALL_V6.get_ptr_mut(addr).is_some_and(meets_small),
        Source::V4(_) => false,
    })
}

#[xdp(frags)]
fn bucket_details_4(ctx: XdpContext) -> u32 {
    judge::<4>(&ctx, |source, len| meets_bucket::<8>(source, len))
}

#[xdp(frags)]
fn bucket_details_6(ctx: XdpContext) -> u32 {
    judge::<6>(&ctx, |source, len| meets_bucket::<8>(source, len))
}

#[xdp(frags)]
fn bucket_4(ctx: XdpContext) -> u32 {
    judge::<4>(&ctx, |source, len| meets_bucket::<4>(source, len))
}

#[xdp(frags)]
fn bucket_6(ctx: XdpContext) -> u32 {
    judge::<6>(&ctx, |source, len| meets_bucket::<4>(source, len))
}

#[inline(always)]
fn judge<const FAMILY: u8>(ctx: &XdpContext, is_banned: impl Fn(Source, u64) -> bool) -> u32 {
    let frame = Frame::of_xdp(ctx);
    let outcome = match frame.source() {
        Ok(source) if matches!(source, Source::V4(_)) != (FAMILY == 4) => Outcome::NotIp,
        Ok(source) if is_front(source) && is_banned(source, frame.len()) => Outcome::Banned,
        Ok(_) => Outcome::Clean,
        Err(outcome) => outcome,
    };
    if let Some(total) = DESIGN_STATS.get_ptr_mut(outcome.index()) {
        // SAFETY: this CPU's own slot.
        unsafe {
            (*total).packets += 1;
            (*total).bytes += frame.len();
        }
    }
    if let Outcome::Banned = outcome {
        XDP_DROP
    } else {
        XDP_PASS
    }
}

#[inline(always)]
fn is_front(source: Source) -> bool {
    let bit = match source {
        Source::V4(addr) => FrontBit::of_v4(addr),
        // One bit, as when these designs were weighed.
        Source::V6(addr) => FrontBit::of_v6(addr)[0],
    };
    let word = DESIGN_FRONT.get_ptr(bit.word());
    // SAFETY: the pointer came from a look-up in an array; so do all in this file.
    word.is_some_and(|word| unsafe { word.read_volatile() & bit.mask() != 0 })
}

#[inline(always)]
fn meets_small(value: *mut [u32; 2]) -> bool {
    // SAFETY: elements of a hash are preallocated and stay in place.
    unsafe {
        if (&raw const (*value)[0]).read_volatile() <= now() {
            return false;
        }
        asm!(
            "lock *(u32 *)({counter} + 0) += {by}",
            counter = in(reg) &raw mut (*value)[1],
            by = in(reg) 1,
            options(nostack),
        );
    }
    true
}

#[inline(always)]
fn meets_bucket<const PLACES: usize>(source: Source, len: u64) -> bool {
    let (tag, hash) = mix(source);
    let Some(&mask) = BUCKET_MASK.get(0) else {
        return false;
    };
    let mut bucket = (hash >> 40) as u32 & mask;
    let mut choice = 0;
    while choice < 2 {
        let Some(line) = BUCKETS.get_ptr_mut(bucket) else {
            return false;
        };
        let mut place = 0;
        while place < PLACES {
            let word = place * (8 / PLACES);
            // SAFETY: as above; the word lies in the line.
            let entry = unsafe { (&raw const (*line)[word]).read_volatile() };
            if entry as u32 == tag {
                if (entry >> 32) as u32 <= now() {
                    return false;
                }
                if PLACES == 8 {
                    return meets_details(bucket * 8 + place as u32, len);
                }
                // SAFETY: as above; the counter is the word behind.
                unsafe { add(&raw mut (*line)[word + 1], 1 << 32 | len) };
                return true;
            }
            place += 1;
        }
        bucket = (hash >> 16) as u32 & mask;
        choice += 1;
    }
    false
}

#[inline(always)]
fn meets_details(index: u32, len: u64) -> bool {
    let Some(details) = DETAILS.get_ptr_mut(index) else {
        return false;
    };
    // SAFETY: as above.
    unsafe {
        add(&raw mut (*details)[0], 1);
        add(&raw mut (*details)[1], len);
        (&raw mut (*details)[2]).write_volatile(bpf_ktime_get_coarse_ns());
    }
    true
}

/// The tag and the hash of an address; the driver in user space does the same.
#[inline(always)]
fn mix(source: Source) -> (u32, u64) {
    const BY: u64 = 0x9E37_79B9_7F4A_7C15;
    match source {
        Source::V4(addr) => {
            let tag = u32::from_ne_bytes(addr.octets);
            (tag, u64::from(tag).wrapping_mul(BY))
        }
        Source::V6(addr) => {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = addr.octets;
            let subnet = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
            let interface = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
            let mixed = (subnet ^ interface.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)).wrapping_mul(BY);
            let hash = (mixed ^ (mixed >> 32)).wrapping_mul(BY);
            ((mixed >> 3) as u32, hash)
        }
    }
}

#[inline(always)]
fn now() -> u32 {
    // SAFETY: the helper takes nothing.
    unsafe { (bpf_ktime_get_coarse_ns() >> UNIT) as u32 }
}

/// As that of the host's program.
///
/// # Safety
///
/// `counter` must be valid for reads and writes and be aligned.
#[inline(always)]
unsafe fn add(counter: *mut u64, by: u64) {
    // SAFETY: the caller vouches.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {by}",
            counter = in(reg) counter,
            by = in(reg) by,
            options(nostack),
        );
    }
}
