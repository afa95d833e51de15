//! Reads a frame's headers up to the source address. The only code that touches packet memory.
//!
//! Nothing here knows of bans, and nothing looks past the fixed IPv4 or IPv6 header: options, extension
//! headers, fragments and layer 4 do not change whose packet it is.

use core::mem::MaybeUninit;

use ar_ebpf::{AddrV4, AddrV6, Outcome};
use aya_ebpf::bindings::bpf_hdr_start_off::BPF_HDR_START_NET;
use aya_ebpf::bindings::{__sk_buff, xdp_md};
use aya_ebpf::helpers::generated::{
    bpf_skb_load_bytes_relative, bpf_skb_pull_data, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use aya_ebpf::programs::{TcContext, XdpContext};

/// Bytes of an Ethernet header; its last two are the EtherType.
const ETHERNET_LEN: usize = 14;
/// Bytes of a VLAN tag; its last two are the EtherType of what follows.
const TAG_LEN: usize = 4;
/// VLAN tags that are read over. A frame with more is not read as IP.
const MAX_TAGS: usize = 2;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// A tag of 802.1Q.
const ETHERTYPE_VLAN: u16 = 0x8100;
/// A service tag of 802.1ad.
const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;

/// The smallest length that an IPv4 header can announce, in words of four bytes.
const IPV4_MIN_WORDS: u8 = 5;

/// Sizes of a first buffer at which a frame is taken to end with it, so that its length costs nothing.
///
/// Drivers fill the first buffer before they begin a second, or put at least this much of the headers
/// there. A smaller one may hold no headers at all (mlx5 with a striding queue). A driver that begins a
/// second buffer after a first one of such a size has its frames counted with the first one's bytes.
const WHOLE: core::ops::Range<usize> = ETHERNET_LEN + size_of::<Ipv4Header>()..256;

/// Bytes from a frame's beginning that hold every header that is read: Ethernet, both tags, IPv6.
const HEADERS_LEN: u32 = (ETHERNET_LEN + MAX_TAGS * TAG_LEN + size_of::<Ipv6Header>()) as u32;

/// What is judged, whatever the hook.
pub(crate) trait Packet {
    /// Bytes of the frame, from its Ethernet header on.
    fn len(&self) -> u64;

    /// Index of the interface at which it came in.
    fn interface(&self) -> u32;

    /// Reads the source address; otherwise tells why there is none to judge.
    ///
    /// # Errors
    ///
    /// `Truncated` when the frame ends within a header, `Malformed` when an IP header contradicts its
    /// EtherType or itself, `NotIp` for anything else, also under more than two VLAN tags.
    fn source(&self) -> Result<Source, Outcome>;
}

/// One frame, from its Ethernet header on.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    first: FirstBuffer,
    all: Option<AllBuffers>,
    len: u64,
    ctx: *const xdp_md,
}

/// Where a packet says that it comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    V4(AddrV4),
    V6(AddrV6),
}

impl Frame {
    /// The frame of a program that takes multi-buffer frames.
    #[inline(always)]
    pub(crate) fn of_xdp(ctx: &XdpContext) -> Self {
        let first = FirstBuffer::of(ctx);
        let all = AllBuffers(ctx.ctx);
        Self {
            first,
            all: Some(all),
            len: if WHOLE.contains(&first.len()) {
                first.len() as u64
            } else {
                all.len()
            },
            ctx: ctx.ctx,
        }
    }

    /// The frame of a program that gets each frame in one buffer.
    #[inline(always)]
    pub(crate) fn of_linear_xdp(ctx: &XdpContext) -> Self {
        let first = FirstBuffer::of(ctx);
        Self {
            first,
            all: None,
            len: first.len() as u64,
            ctx: ctx.ctx,
        }
    }
}

impl Packet for Frame {
    #[inline(always)]
    fn len(&self) -> u64 {
        self.len
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the pointer is the context with which the kernel called the program.
        unsafe { (*self.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn source(&self) -> Result<Source, Outcome> {
        match (source(self.first), self.all) {
            // The headers may go on in another buffer, and a ban must not depend on where a driver cuts.
            (Err(Outcome::Truncated), Some(all)) => source(all),
            (found, _) => found,
        }
    }
}

/// A packet on its way into the network stack. The stack has found its network header, under an Ethernet header
/// or under none, and has put the first VLAN tag, if any, beside the data.
#[derive(Clone, Copy)]
pub(crate) struct Skb(*mut __sk_buff);

impl Skb {
    #[inline(always)]
    pub(crate) fn of(ctx: &TcContext) -> Self {
        Self(ctx.skb.skb)
    }

    #[inline(always)]
    fn has_tag_beside(self) -> bool {
        // SAFETY: the pointer is the context with which the kernel called the program.
        unsafe { (*self.0).vlan_present != 0 }
    }

    /// The EtherType of what stands at the network header.
    #[inline(always)]
    fn protocol(self) -> u16 {
        // SAFETY: as above. The field holds sixteen bits in network byte order.
        u16::from_be(unsafe { (*self.0).protocol } as u16)
    }

    /// Reads a `T` at `at` bytes from the network header, if it lies in the first buffer.
    #[inline(always)]
    fn read_linear<T: Wire>(self, at: usize) -> Option<T> {
        let mut header = MaybeUninit::<T>::uninit();
        let (at, size) = (at as u32, size_of::<T>() as u32);
        // SAFETY: as for `AllBuffers::read`.
        unsafe {
            let to = header.as_mut_ptr().cast();
            match bpf_skb_load_bytes_relative(self.0.cast(), at, to, size, BPF_HDR_START_NET) {
                0 => Some(header.assume_init()),
                _ => None,
            }
        }
    }
}

impl Read for Skb {
    #[inline(always)]
    fn read<T: Wire>(self, at: usize) -> Result<T, Outcome> {
        if let Some(header) = self.read_linear(at) {
            return Ok(header);
        }
        // Headers in another buffer: rare, and a ban must not depend on where a driver cuts.
        // SAFETY: the pointer is the program's context. No address of packet memory is kept over the call.
        unsafe { bpf_skb_pull_data(self.0, (*self.0).len.min(HEADERS_LEN)) };
        self.read_linear(at).ok_or(Outcome::Truncated)
    }
}

impl Packet for Skb {
    #[inline(always)]
    fn len(&self) -> u64 {
        // SAFETY: the pointer is the context with which the kernel called the program.
        let len = u64::from(unsafe { (*self.0).len });
        if self.has_tag_beside() {
            len + TAG_LEN as u64
        } else {
            len
        }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: as in `len`.
        unsafe { (*self.0).ifindex }
    }

    #[inline(always)]
    fn source(&self) -> Result<Source, Outcome> {
        let mut network = 0;
        let mut tags = usize::from(self.has_tag_beside());
        let mut protocol = self.protocol();
        loop {
            match protocol {
                ETHERTYPE_IPV4 => return source_v4(*self, network),
                ETHERTYPE_IPV6 => return source_v6(*self, network),
                ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN if tags < MAX_TAGS => {
                    tags += 1;
                    network += TAG_LEN;
                    protocol = u16::from_be_bytes(self.read(network - 2)?);
                }
                _ => return Err(Outcome::NotIp),
            }
        }
    }
}

#[inline(always)]
fn source(frame: impl Read) -> Result<Source, Outcome> {
    let mut network = ETHERNET_LEN;
    let mut tags = 0;
    loop {
        match u16::from_be_bytes(frame.read(network - 2)?) {
            ETHERTYPE_IPV4 => return source_v4(frame, network),
            ETHERTYPE_IPV6 => return source_v6(frame, network),
            ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN if tags < MAX_TAGS => {
                tags += 1;
                network += TAG_LEN;
            }
            _ => return Err(Outcome::NotIp),
        }
    }
}

#[inline(always)]
fn source_v4(frame: impl Read, network: usize) -> Result<Source, Outcome> {
    let header: Ipv4Header = frame.read(network)?;
    let version = header.version_and_words >> 4;
    let words = header.version_and_words & 0xf;
    if version != 4 || words < IPV4_MIN_WORDS {
        return Err(Outcome::Malformed);
    }
    let octets = header.source;
    Ok(Source::V4(AddrV4 { octets }))
}

#[inline(always)]
fn source_v6(frame: impl Read, network: usize) -> Result<Source, Outcome> {
    let header: Ipv6Header = frame.read(network)?;
    if header.version_and_class >> 4 != 6 {
        return Err(Outcome::Malformed);
    }
    // In two integers, since sixteen bytes would be copied one by one through the stack.
    let [subnet, interface] = header.source.map(u64::from_ne_bytes);
    Ok(Source::V6(AddrV6::from_halves(subnet, interface)))
}

/// A way to read headers out of a frame.
trait Read: Copy {
    /// Reads a `T` at `at` bytes from the frame's beginning.
    ///
    /// # Errors
    ///
    /// `Truncated` when not all of it is there.
    fn read<T: Wire>(self, at: usize) -> Result<T, Outcome>;
}

/// The part of a frame that lies in memory as one piece: addresses of its beginning and of its end.
#[derive(Clone, Copy)]
struct FirstBuffer {
    start: usize,
    end: usize,
}

impl FirstBuffer {
    #[inline(always)]
    fn of(ctx: &XdpContext) -> Self {
        Self {
            start: ctx.data(),
            end: ctx.data_end(),
        }
    }

    #[inline(always)]
    fn len(self) -> usize {
        self.end - self.start
    }
}

impl Read for FirstBuffer {
    #[inline(always)]
    fn read<T: Wire>(self, at: usize) -> Result<T, Outcome> {
        let from = self.start + at;
        if from + size_of::<T>() > self.end {
            return Err(Outcome::Truncated);
        }
        // SAFETY: `from..from + size_of::<T>()` lies within `start..end`, which the kernel keeps in place and
        // readable while the program runs; a `Wire` type needs no alignment and has no invalid value.
        Ok(unsafe { (from as *const T).read() })
    }
}

/// A frame in as many buffers as it has; the kernel checks the bounds, at the price of a call.
#[derive(Clone, Copy)]
struct AllBuffers(*mut xdp_md);

impl AllBuffers {
    #[inline(always)]
    fn len(self) -> u64 {
        // SAFETY: the pointer is the context with which the kernel called the program.
        unsafe { bpf_xdp_get_buff_len(self.0) }
    }
}

impl Read for AllBuffers {
    #[inline(always)]
    fn read<T: Wire>(self, at: usize) -> Result<T, Outcome> {
        let mut header = MaybeUninit::<T>::uninit();
        let (at, size) = (at as u32, size_of::<T>() as u32);
        // SAFETY: the first pointer is the program's context; the second is to `size` writable bytes. When
        // the helper reports success it has written all of them, and a `Wire` type has no invalid value.
        unsafe {
            match bpf_xdp_load_bytes(self.0, at, header.as_mut_ptr().cast(), size) {
                0 => Ok(header.assume_init()),
                _ => Err(Outcome::Truncated),
            }
        }
    }
}

/// What can stand in a frame.
///
/// # Safety
///
/// The type must be of alignment 1 and be valid with any bytes.
unsafe trait Wire {}

// SAFETY: an array of bytes.
unsafe impl Wire for [u8; 2] {}
// SAFETY: `repr(C)` of nothing but bytes and arrays of them.
unsafe impl Wire for Ipv4Header {}
// SAFETY: as for `Ipv4Header`.
unsafe impl Wire for Ipv6Header {}

/// The fixed part of an IPv4 header.
#[repr(C)]
struct Ipv4Header {
    version_and_words: u8,
    _to_source: [u8; 11],
    source: [u8; 4],
    _destination: [u8; 4],
}

/// The fixed part of an IPv6 header.
#[repr(C)]
struct Ipv6Header {
    version_and_class: u8,
    _to_source: [u8; 7],
    source: [[u8; 8]; 2],
    _destination: [u8; 16],
}

const _: () = {
    assert!(size_of::<Ipv4Header>() == 20 && align_of::<Ipv4Header>() == 1);
    assert!(size_of::<Ipv6Header>() == 40 && align_of::<Ipv6Header>() == 1);
};
