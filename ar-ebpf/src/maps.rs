//! The maps, as the loader creates them, and the few things that the program does with them.
//!
//! Their layout is the library's; what a look-up means for a packet is `filter`'s.

use core::arch::asm;

use ar_ebpf::{AddrV4, AddrV6, Ban, DEFAULT_MAX_BANS, FRONT_WORDS, FrontBit, Outcome, Total, flag};
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray};
use aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns;
use aya_ebpf::macros::btf_map;

#[btf_map]
static BANS_V4: HashMap<AddrV4, Ban, { DEFAULT_MAX_BANS as usize }> = HashMap::new();

#[btf_map]
static BANS_V6: HashMap<AddrV6, Ban, { DEFAULT_MAX_BANS as usize }> = HashMap::new();

#[btf_map]
static FRONT_V4: Array<u64, { FRONT_WORDS as usize }> = Array::new();

#[btf_map]
static FRONT_V6: Array<u64, { FRONT_WORDS as usize }> = Array::new();

#[btf_map]
static STATS: PerCpuArray<Total, { Outcome::ALL.len() }> = PerCpuArray::new();

/// Written and read by user space alone; here so that the object describes it.
#[btf_map]
static ABI: Array<u32, 1> = Array::new();

/// One ban in its map.
pub(crate) struct BanEntry(*mut Ban);

impl BanEntry {
    /// The entry of an IPv4 address.
    #[inline(always)]
    pub(crate) fn of_v4(addr: AddrV4) -> Option<Self> {
        BANS_V4.get_ptr_mut(addr).map(Self)
    }

    /// The entry of an IPv6 address.
    #[inline(always)]
    pub(crate) fn of_v6(addr: AddrV6) -> Option<Self> {
        BANS_V6.get_ptr_mut(addr).map(Self)
    }

    /// Whether the ban is over at `now_ns`. A ban ends at its expiry, not after it.
    #[inline(always)]
    pub(crate) fn is_over(&self, now_ns: u64) -> bool {
        // SAFETY: the pointer came from a look-up, so it points to a whole `Ban`, and the entry's memory
        // stays in place while the program runs: elements are preallocated. User space may write the
        // field meanwhile; a volatile read takes it in one load. The target has no atomic loads. Should the
        // entry be removed and given to another ban within this run, one packet is judged as that ban's.
        let expires_at_ns = unsafe { (&raw const (*self.0).expires_at_ns).read_volatile() };
        expires_at_ns <= now_ns
    }

    /// Whether the ban counts and does not drop.
    #[inline(always)]
    pub(crate) fn is_shadow(&self) -> bool {
        // SAFETY: as in `is_over`.
        let flags = unsafe { (&raw const (*self.0).flags).read_volatile() };
        flags & flag::SHADOW != 0
    }

    /// Counts one packet of `len` bytes that met the ban at `now_ns`.
    #[inline(always)]
    pub(crate) fn hit(&self, len: u64, now_ns: u64) {
        // SAFETY: as in `is_over`: three aligned fields of an entry that stays in place. Other CPUs write
        // them meanwhile, hence the atomic additions and the store in one piece.
        unsafe {
            add(&raw mut (*self.0).packets, 1);
            add(&raw mut (*self.0).bytes, len);
            // CPUs may overtake each other by a tick; nobody can tell, and an exchange would cost more.
            (&raw mut (*self.0).last_seen_ns).write_volatile(now_ns);
        }
    }
}

/// Adds to a counter that other CPUs add to at the same time.
///
/// The target has no compare-and-swap, so `core` gives it no `fetch_add`; the machine has the addition.
///
/// # Safety
///
/// `counter` must be valid for reads and writes and be aligned.
#[inline(always)]
unsafe fn add(counter: *mut u64, by: u64) {
    // SAFETY: the instruction reads and writes the eight bytes at `counter`, for which the caller vouches.
    unsafe {
        asm!(
            "lock *(u64 *)({counter} + 0) += {by}",
            counter = in(reg) counter,
            by = in(reg) by,
            options(nostack),
        );
    }
}

/// Whether something in the /24 of `addr` may be banned.
#[inline(always)]
pub(crate) fn front_v4(addr: AddrV4) -> bool {
    is_set(
        FRONT_V4.get_ptr(FrontBit::of_v4(addr).word()),
        FrontBit::of_v4(addr),
    )
}

/// Whether something in an IPv6 /64 that shares the hash of `addr` may be banned.
#[inline(always)]
pub(crate) fn front_v6(addr: AddrV6) -> bool {
    is_set(
        FRONT_V6.get_ptr(FrontBit::of_v6(addr).word()),
        FrontBit::of_v6(addr),
    )
}

#[inline(always)]
fn is_set(word: Option<*const u64>, bit: FrontBit) -> bool {
    word.is_some_and(|word| {
        // SAFETY: the pointer came from a look-up in an array map, whose elements are aligned to their size
        // and live as long as the program. A volatile read takes the word once while user space sets bits.
        unsafe { word.read_volatile() & bit.mask() != 0 }
    })
}

/// Counts one packet of `len` bytes in this CPU's totals.
#[inline(always)]
pub(crate) fn count(outcome: Outcome, len: u64) {
    if let Some(total) = STATS.get_ptr_mut(outcome.index()) {
        // SAFETY: the slot is this CPU's own, and the program runs with bottom halves disabled, so that no
        // second run begins on a CPU before the first ends; user space only reads.
        unsafe {
            (*total).packets += 1;
            (*total).bytes += len;
        }
    }
}

/// CLOCK_MONOTONIC as of the last tick.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper takes nothing and is callable from every program type.
    unsafe { bpf_ktime_get_coarse_ns() }
}
