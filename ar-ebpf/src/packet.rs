//! Reads a frame's headers up to the source address. The only code that touches packet memory.
//!
//! Nothing here knows of bans, and nothing looks past the fixed IPv4 or IPv6 header: options, extension
//! headers, fragments and layer 4 do not change whose packet it is.

use ar_ebpf::{AddrV4, AddrV6, Outcome};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;

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

/// The fixed part of an IPv4 header.
const IPV4_LEN: usize = 20;
/// The smallest header length that an IPv4 header can announce, in words of four bytes.
const IPV4_MIN_WORDS: u8 = 5;
/// The fixed part of an IPv6 header.
const IPV6_LEN: usize = 40;

/// One frame, from its Ethernet header on.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    /// Address of the first byte.
    start: usize,
    /// Address after the last byte that can be read directly: the first buffer's end.
    end: usize,
    /// Bytes of the whole frame, all its buffers.
    len: u64,
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
        Self {
            // SAFETY: the pointer is the context with which the kernel called the program.
            len: unsafe { bpf_xdp_get_buff_len(ctx.as_ptr().cast()) },
            ..Self::of_linear_xdp(ctx)
        }
    }

    /// The frame of a program that gets each frame in one buffer.
    #[inline(always)]
    pub(crate) fn of_linear_xdp(ctx: &XdpContext) -> Self {
        let (start, end) = (ctx.data(), ctx.data_end());
        Self {
            start,
            end,
            len: (end - start) as u64,
        }
    }

    /// Bytes of the whole frame.
    #[inline(always)]
    pub(crate) fn len(self) -> u64 {
        self.len
    }

    /// Reads the source address; otherwise tells why there is none to judge.
    ///
    /// # Errors
    ///
    /// `Truncated` when the frame ends within a header, `Malformed` when an IP header contradicts its
    /// EtherType or itself, `NotIp` for anything else, also under more than two VLAN tags.
    #[inline(always)]
    pub(crate) fn source(self) -> Result<Source, Outcome> {
        let mut network = ETHERNET_LEN;
        let mut tags = 0;
        loop {
            match u16::from_be_bytes(self.read(network - 2)?) {
                ETHERTYPE_IPV4 => return self.source_v4(network),
                ETHERTYPE_IPV6 => return self.source_v6(network),
                ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN if tags < MAX_TAGS => {
                    tags += 1;
                    network += TAG_LEN;
                }
                _ => return Err(Outcome::NotIp),
            }
        }
    }

    #[inline(always)]
    fn source_v4(self, network: usize) -> Result<Source, Outcome> {
        let header: [u8; IPV4_LEN] = self.read(network)?;
        let [version_and_words, .., a, b, c, d, _, _, _, _] = header;
        if version_and_words >> 4 != 4 || version_and_words & 0xf < IPV4_MIN_WORDS {
            return Err(Outcome::Malformed);
        }
        Ok(Source::V4(AddrV4 {
            octets: [a, b, c, d],
        }))
    }

    #[inline(always)]
    fn source_v6(self, network: usize) -> Result<Source, Outcome> {
        let header: [u8; IPV6_LEN] = self.read(network)?;
        if header[0] >> 4 != 6 {
            return Err(Outcome::Malformed);
        }
        let mut octets = [0; 16];
        octets.copy_from_slice(&header[8..24]);
        Ok(Source::V6(AddrV6 { octets }))
    }

    /// Reads `N` bytes at `at`. Every header read goes through here.
    #[inline(always)]
    fn read<const N: usize>(self, at: usize) -> Result<[u8; N], Outcome> {
        let from = self.start + at;
        if from + N > self.end {
            return Err(Outcome::Truncated);
        }
        // SAFETY: `from..from + N` lies within `start..end`, which the kernel keeps in place and readable
        // while the program runs; an array of bytes needs no alignment and has no invalid value.
        Ok(unsafe { (from as *const [u8; N]).read() })
    }
}
