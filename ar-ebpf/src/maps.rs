//! The maps, as the loader creates them, and the few things that the program does with them.
//!
//! Their layout is the library's; what a look-up means for a packet is `filter`'s.

use core::arch::asm;

use ar_ebpf::place::{
    DetailsV4, Hashing, MMAPABLE, PLACES_OF_BUCKET, PlaceV4, PlaceV6, SEEN_UNIT, overflow_for,
    places_for,
};
use ar_ebpf::{
    AddrV4, AddrV6, Ban, DEFAULT_MAX_BANS, FRONT_WORDS, FrontBit, MAX_ALLOWED, MAX_PREFIXES,
    NetworkV4, NetworkV6, Outcome, PrefixBan, Total, flag, slot,
};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_ktime_get_coarse_ns, bpf_map_lookup_elem};
use aya_ebpf::macros::btf_map;

const PLACES: usize = places_for(DEFAULT_MAX_BANS) as usize;
const OVERFLOW: usize = overflow_for(DEFAULT_MAX_BANS) as usize;

#[btf_map]
static BANS_V4: Array<PlaceV4, PLACES, { MMAPABLE as usize }> = Array::new();

#[btf_map]
static BANS_V6: Array<PlaceV6, PLACES, { MMAPABLE as usize }> = Array::new();

/// Written and read by user space alone; here so that the object describes it.
#[btf_map]
static DETAILS_V4: Array<DetailsV4, PLACES, { MMAPABLE as usize }> = Array::new();

#[btf_map]
static OVERFLOW_V4: HashMap<AddrV4, Ban, OVERFLOW> = HashMap::new();

#[btf_map]
static OVERFLOW_V6: HashMap<AddrV6, Ban, OVERFLOW> = HashMap::new();

#[btf_map]
static HASHING_V4: Array<Hashing, 1> = Array::new();

#[btf_map]
static HASHING_V6: Array<Hashing, 1> = Array::new();

#[btf_map]
static PREFIXES_V4: LpmTrie<NetworkV4, PrefixBan, { MAX_PREFIXES as usize }> = LpmTrie::new();

#[btf_map]
static PREFIXES_V6: LpmTrie<NetworkV6, PrefixBan, { MAX_PREFIXES as usize }> = LpmTrie::new();

#[btf_map]
static ALLOW_V4: LpmTrie<NetworkV4, u32, { MAX_ALLOWED as usize }> = LpmTrie::new();

#[btf_map]
static ALLOW_V6: LpmTrie<NetworkV6, u32, { MAX_ALLOWED as usize }> = LpmTrie::new();

#[btf_map]
static SETTINGS: Array<u32, 1> = Array::new();

/// One of the front bitmaps.
type Bitmap = Array<u64, { FRONT_WORDS as usize }, { MMAPABLE as usize }>;

#[btf_map]
static FRONT_V4: Bitmap = Array::new();

#[btf_map]
static FRONT_V6: Bitmap = Array::new();

#[btf_map]
static PREFIX_FRONT_V4: Bitmap = Array::new();

#[btf_map]
static PREFIX_FRONT_V6: Bitmap = Array::new();

#[btf_map]
static STATS: PerCpuArray<Total, { slot::TOTALS as usize }> = PerCpuArray::new();

#[btf_map]
static INTERFACES: Array<u32, { slot::CELLS as usize }> = Array::new();

/// Written and read by user space alone; here so that the object describes it.
#[btf_map]
static ABI: Array<u32, 1> = Array::new();

/// Whoever may be told about a packet that met a ban.
pub(crate) trait Entry {
    /// Whether the ban is over at `now_ns`. A ban ends at its expiry, not after it.
    fn is_over(&self, now_ns: u64) -> bool;
    /// Whether the ban counts and does not drop.
    fn is_shadow(&self) -> bool;
    /// Counts one packet of `len` bytes that met the ban at `now_ns`.
    fn hit(&self, len: u64, now_ns: u64);
}

/// The ban of an IPv4 address at its place.
#[derive(Clone, Copy)]
pub(crate) struct PlaceEntryV4(*mut PlaceV4);

impl PlaceEntryV4 {
    /// The place of an address, in the first of its buckets that has it.
    #[inline(always)]
    pub(crate) fn of(addr: AddrV4, hashing: &Hashing) -> Option<Self> {
        let [first, second] = hashing.buckets_v4(addr);
        Self::of_bucket(addr, first).or_else(|| Self::of_bucket(addr, second))
    }

    #[inline(always)]
    fn of_bucket(addr: AddrV4, bucket: u32) -> Option<Self> {
        let place = bucket * PLACES_OF_BUCKET;
        Self::at(addr, place).or_else(|| Self::at(addr, place + 1))
    }

    #[inline(always)]
    fn at(addr: AddrV4, place: u32) -> Option<Self> {
        let place = BANS_V4.get_ptr_mut(place).map(Self)?;
        // SAFETY: as in `expires_at_ns`.
        let octets = unsafe { (&raw const (*place.0).octets).cast::<u32>().read_volatile() };
        // One whose end is 0 is free, or about to be written.
        (octets == u32::from_ne_bytes(addr.octets) && place.expires_at_ns() != 0).then_some(place)
    }

    #[inline(always)]
    fn expires_at_ns(self) -> u64 {
        // SAFETY: the pointer came from a look-up in an array, whose elements are aligned to eight bytes at least and
        // stay in place. User space may write the field meanwhile; a volatile read takes it in one load. The target has
        // no atomic loads. Should the place be given to another ban within this run, one packet is judged as that ban's.
        unsafe { (&raw const (*self.0).expires_at_ns).read_volatile() }
    }
}

impl Entry for PlaceEntryV4 {
    #[inline(always)]
    fn is_over(&self, now_ns: u64) -> bool {
        self.expires_at_ns() & !1 <= now_ns
    }

    #[inline(always)]
    fn is_shadow(&self) -> bool {
        self.expires_at_ns() & 1 != 0
    }

    #[inline(always)]
    fn hit(&self, len: u64, now_ns: u64) {
        // SAFETY: as in `BanEntry::hit`.
        unsafe {
            add(&raw mut (*self.0).packets, 1);
            add(&raw mut (*self.0).bytes, len);
            (&raw mut (*self.0).last_seen).write_volatile((now_ns >> SEEN_UNIT) as u32);
        }
    }
}

/// How IPv4 addresses are spread over their table.
#[inline(always)]
pub(crate) fn hashing_v4() -> Option<&'static Hashing> {
    HASHING_V4.get(0)
}

/// How IPv6 addresses are spread over their table.
#[inline(always)]
pub(crate) fn hashing_v6() -> Option<&'static Hashing> {
    HASHING_V6.get(0)
}

/// Whether the overflow may hold something.
#[inline(always)]
pub(crate) fn overflows(hashing: &Hashing) -> bool {
    // SAFETY: a reference is valid. User space writes the field meanwhile, hence the one load; the others it writes
    // with the bytes that they have.
    unsafe { (&raw const hashing.overflow).read_volatile() != 0 }
}

/// One ban in a map whose value it begins.
pub(crate) struct BanEntry(*mut Ban);

impl BanEntry {
    /// The place of an IPv6 address, in the first of its buckets that has it.
    #[inline(always)]
    pub(crate) fn of_place_v6(addr: AddrV6, hashing: &Hashing) -> Option<Self> {
        let [first, second] = hashing.buckets_v6(addr);
        Self::of_bucket_v6(addr, first).or_else(|| Self::of_bucket_v6(addr, second))
    }

    #[inline(always)]
    fn of_bucket_v6(addr: AddrV6, bucket: u32) -> Option<Self> {
        let place = bucket * PLACES_OF_BUCKET;
        Self::at_place_v6(addr, place).or_else(|| Self::at_place_v6(addr, place + 1))
    }

    #[inline(always)]
    fn at_place_v6(addr: AddrV6, place: u32) -> Option<Self> {
        let place = BANS_V6.get_ptr_mut(place)?;
        // SAFETY: as in `PlaceEntryV4::expires_at_ns`: the address stands at a multiple of eight.
        let found = unsafe {
            (&raw const (*place).address)
                .cast::<[u64; 2]>()
                .read_volatile()
        };
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = addr.octets;
        let subnet = u64::from_ne_bytes([a, b, c, d, e, f, g, h]);
        let interface = u64::from_ne_bytes([i, j, k, l, m, n, o, p]);
        let entry = Self(place.cast());
        // As for IPv4.
        (found[0] == subnet && found[1] == interface && entry.expires_at_ns() != 0).then_some(entry)
    }

    /// The entry of an IPv4 address in the overflow.
    #[inline(always)]
    pub(crate) fn of_overflow_v4(addr: AddrV4) -> Option<Self> {
        OVERFLOW_V4.get_ptr_mut(addr).map(Self)
    }

    /// The entry of an IPv6 address in the overflow.
    #[inline(always)]
    pub(crate) fn of_overflow_v6(addr: AddrV6) -> Option<Self> {
        OVERFLOW_V6.get_ptr_mut(addr).map(Self)
    }

    /// The entry of the longest prefix that holds an IPv4 address.
    #[inline(always)]
    pub(crate) fn of_prefix_v4(addr: AddrV4) -> Option<Self> {
        let key = key_v4(addr);
        // SAFETY: the first pointer is to a map whose keys are of the second's type; both live through the
        // call. A value begins with its `Ban`. The trie frees a removed element only when no program that
        // may have found it runs any more, so what `expires_at_ns` says of preallocated elements holds here too.
        unsafe {
            Self::at(bpf_map_lookup_elem(
                (&raw const PREFIXES_V4).cast_mut().cast(),
                (&raw const key.key).cast(),
            ))
        }
    }

    /// The entry of the longest prefix that holds an IPv6 address.
    #[inline(always)]
    pub(crate) fn of_prefix_v6(addr: AddrV6) -> Option<Self> {
        let key = key_v6(addr);
        // SAFETY: as in `of_prefix_v4`.
        unsafe {
            Self::at(bpf_map_lookup_elem(
                (&raw const PREFIXES_V6).cast_mut().cast(),
                (&raw const key.key).cast(),
            ))
        }
    }

    /// # Safety
    ///
    /// `value` must be null or point to what begins with a `Ban` and stays while the program runs.
    #[inline(always)]
    unsafe fn at(value: *mut core::ffi::c_void) -> Option<Self> {
        (!value.is_null()).then_some(Self(value.cast()))
    }

    #[inline(always)]
    fn expires_at_ns(&self) -> u64 {
        // SAFETY: the pointer came from a look-up, so it points to a whole `Ban`, and the entry's memory
        // stays in place while the program runs: elements are preallocated. User space may write the
        // field meanwhile; a volatile read takes it in one load. The target has no atomic loads. Should the
        // entry be removed and given to another ban within this run, one packet is judged as that ban's.
        unsafe { (&raw const (*self.0).expires_at_ns).read_volatile() }
    }
}

impl Entry for BanEntry {
    #[inline(always)]
    fn is_over(&self, now_ns: u64) -> bool {
        self.expires_at_ns() <= now_ns
    }

    #[inline(always)]
    fn is_shadow(&self) -> bool {
        // SAFETY: as in `expires_at_ns`.
        let flags = unsafe { (&raw const (*self.0).flags).read_volatile() };
        flags & flag::SHADOW != 0
    }

    #[inline(always)]
    fn hit(&self, len: u64, now_ns: u64) {
        // SAFETY: as in `expires_at_ns`: three aligned fields of an entry that stays in place. Other CPUs write
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

/// Whether no ban of a prefix touches this IPv4 address.
#[inline(always)]
pub(crate) fn is_allowed_v4(addr: AddrV4) -> bool {
    ALLOW_V4.get(&key_v4(addr).key).is_some()
}

/// Whether no ban of a prefix touches this IPv6 address.
#[inline(always)]
pub(crate) fn is_allowed_v6(addr: AddrV6) -> bool {
    ALLOW_V6.get(&key_v6(addr).key).is_some()
}

/// A trie's key at a place where its address, behind four bytes of length, is aligned: the compiler writes
/// it in pieces of eight bytes, and the verifier takes no unaligned ones.
#[repr(C, align(8))]
struct Aligned<N> {
    _before: u32,
    key: Key<N>,
}

impl<N> Aligned<N> {
    /// The key of one address, which has `bits`.
    #[inline(always)]
    fn new(bits: u32, network: N) -> Self {
        Self {
            _before: 0,
            key: Key::new(bits, network),
        }
    }
}

#[inline(always)]
fn key_v4(addr: AddrV4) -> Aligned<NetworkV4> {
    Aligned::new(32, NetworkV4::new(addr.octets))
}

#[inline(always)]
fn key_v6(addr: AddrV6) -> Aligned<NetworkV6> {
    let octets = addr.octets;
    Aligned::new(128, NetworkV6 { octets })
}

/// The bits of [`ar_ebpf::setting`] that are set.
#[inline(always)]
pub(crate) fn settings() -> u32 {
    SETTINGS.get_ptr(0).map_or(0, |settings| {
        // SAFETY: as in `is_set`.
        unsafe { settings.read_volatile() }
    })
}

/// Whether this bit of [`ar_ebpf::setting`] is set.
#[inline(always)]
pub(crate) fn is_on(setting: u32) -> bool {
    settings() & setting != 0
}

/// Whether something in the /24 of `addr` may be banned.
#[inline(always)]
pub(crate) fn front_v4(addr: AddrV4) -> bool {
    is_set(&FRONT_V4, FrontBit::of_v4(addr))
}

/// Whether something in an IPv6 /64 that shares the hash of `addr` may be banned.
#[inline(always)]
pub(crate) fn front_v6(addr: AddrV6) -> bool {
    are_set(&FRONT_V6, FrontBit::of_v6(addr))
}

/// Whether a prefix may be banned that holds something of the /24 of `addr`.
#[inline(always)]
pub(crate) fn prefix_front_v4(addr: AddrV4) -> bool {
    is_set(&PREFIX_FRONT_V4, FrontBit::of_v4(addr))
}

/// Whether a prefix of /64 or longer may be banned in an IPv6 /64 that shares the hash of `addr`.
#[inline(always)]
pub(crate) fn prefix_front_v6(addr: AddrV6) -> bool {
    are_set(&PREFIX_FRONT_V6, FrontBit::of_v6(addr))
}

/// Whether a prefix shorter than /64 may be banned in an IPv6 /32 that shares the hash of `addr`.
#[inline(always)]
pub(crate) fn prefix_front_wide_v6(addr: AddrV6) -> bool {
    is_set(&PREFIX_FRONT_V6, FrontBit::of_v6_wide(addr))
}

#[inline(always)]
fn is_set(bitmap: &Bitmap, bit: FrontBit) -> bool {
    are_set(bitmap, [bit, bit])
}

/// Whether both bits, which are of one word, are set.
#[inline(always)]
fn are_set(bitmap: &Bitmap, bits: [FrontBit; 2]) -> bool {
    let mask = bits[0].mask() | bits[1].mask();
    bitmap.get_ptr(bits[0].word()).is_some_and(|word| {
        // SAFETY: the pointer came from a look-up in an array map, whose elements are aligned to their size
        // and live as long as the program. A volatile read takes the word once while user space sets bits.
        unsafe { word.read_volatile() & mask == mask }
    })
}

/// Counts one packet of `len` bytes, which came in at `interface`, in this CPU's totals.
#[inline(always)]
pub(crate) fn count(outcome: Outcome, len: u64, interface: u32) {
    let slot = match INTERFACES.get_ptr(slot::cell(interface)) {
        // SAFETY: as in `is_set`.
        Some(held) => slot::of(unsafe { held.read_volatile() }, interface),
        None => slot::OTHERS,
    };
    if let Some(total) = STATS.get_ptr_mut(slot::index(slot, outcome)) {
        // SAFETY: the slot is this CPU's own, and the program runs with bottom halves disabled, so that no
        // second run begins on a CPU before the first ends; user space writes only slots that no packet is counted in.
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
