//! Builds frames as plain bytes: Ethernet, VLAN tags, IPv4, IPv6, and what they carry.
//!
//! Every field may be wrong on purpose, so nothing here checks that a frame makes sense. Checksums of
//! IPv4 headers are right; those of layer 4 are zero, since nothing that is tested looks at them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// Tag protocol of 802.1Q.
pub const TAG_VLAN: u16 = 0x8100;
/// Tag protocol of 802.1ad, the outer tag of QinQ.
pub const TAG_SERVICE: u16 = 0x88a8;

/// Destination of every IPv4 packet here.
pub const TO_IPV4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Destination of every IPv6 packet here.
pub const TO_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1);

/// What an IP header carries: its protocol number, and the bytes.
#[derive(Clone, Debug)]
pub struct Body {
    /// Protocol number, as in an IPv4 header or in the last "next header" of IPv6.
    pub protocol: u8,
    /// Everything after the IP header.
    pub bytes: Vec<u8>,
}

/// Some UDP datagram.
#[must_use]
pub fn udp() -> Body {
    let payload = b"payload";
    let len = u16::try_from(8 + payload.len()).expect("a short payload");
    let ports_len_checksum = [4000_u16, 53, len, 0].map(u16::to_be_bytes).concat();
    Body {
        protocol: 17,
        bytes: [ports_len_checksum, payload.to_vec()].concat(),
    }
}

/// Some TCP segment that opens a connection.
#[must_use]
pub fn tcp() -> Body {
    let ports = [4000_u16, 22].map(u16::to_be_bytes).concat();
    let numbers = [0x0102_0304_u32, 0].map(u32::to_be_bytes).concat();
    let offset_flags_window = vec![0x50, 0x02, 0xff, 0xff];
    Body {
        protocol: 6,
        bytes: [ports, numbers, offset_flags_window, vec![0; 4]].concat(),
    }
}

/// Some ICMP echo request.
#[must_use]
pub fn icmp() -> Body {
    Body {
        protocol: 1,
        bytes: vec![8, 0, 0, 0, 0, 1, 0, 1],
    }
}

/// Some ICMPv6 echo request.
#[must_use]
pub fn icmpv6() -> Body {
    Body {
        protocol: 58,
        bytes: vec![128, 0, 0, 0, 0, 1, 0, 1],
    }
}

/// A neighbour solicitation for `target`.
#[must_use]
pub fn neighbour_solicitation(target: Ipv6Addr) -> Body {
    let source_link_layer = [1, 1, 2, 0, 0, 0, 0, 1];
    Body {
        protocol: 58,
        bytes: [
            &[135, 0, 0, 0, 0, 0, 0, 0],
            &target.octets()[..],
            &source_link_layer,
        ]
        .concat(),
    }
}

/// A GRE tunnel's packet that carries an IPv4 packet from `inner`.
#[must_use]
pub fn gre(inner: Ipv4Addr) -> Body {
    Body {
        protocol: 47,
        bytes: [vec![0, 0, 8, 0], Ipv4::new(inner, udp()).bytes()].concat(),
    }
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Version field: 4 unless wrong on purpose. The low four bits count.
    pub version: u8,
    /// Header length in words of four bytes; the low four bits count. What exceeds 5 is filled with no-operation options.
    pub words: u8,
    /// Whether more fragments follow.
    pub more_fragments: bool,
    /// Fragment offset in units of eight bytes, below 2^13.
    pub fragment_offset: u16,
    /// What it carries.
    pub body: Body,
}

impl Ipv4 {
    /// A packet without options that is not a fragment.
    #[must_use]
    pub fn new(source: Ipv4Addr, body: Body) -> Self {
        Self {
            source,
            version: 4,
            words: 5,
            more_fragments: false,
            fragment_offset: 0,
            body,
        }
    }

    /// The packet from its IP header on.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let options = vec![1; usize::from(self.words.saturating_sub(5)) * 4];
        let len = u16::try_from(20 + options.len() + self.body.bytes.len()).expect("a short body");
        let fragment = u16::from(self.more_fragments) << 13 | self.fragment_offset;
        let mut header = vec![self.version << 4 | self.words & 0xf, 0];
        header.extend([len, 1, fragment].map(u16::to_be_bytes).concat());
        header.extend([64, self.body.protocol, 0, 0]);
        header.extend(self.source.octets());
        header.extend(TO_IPV4.octets());
        header.extend(options);
        let checksum = checksum(&header).to_be_bytes();
        header[10..12].copy_from_slice(&checksum);
        [header, self.body.bytes.clone()].concat()
    }
}

/// The Internet checksum of `header`, whose own checksum field is zero.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header
        .chunks_exact(2)
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("two folds fit")
}

/// An extension header of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// Options for every hop.
    HopByHop,
    /// A routing header of type 0.
    Routing,
    /// A fragment header.
    Fragment {
        /// Offset in units of eight bytes, below 2^13.
        offset: u16,
        /// Whether more fragments follow.
        more: bool,
    },
    /// Options for the destination.
    Destination,
}

impl Extension {
    fn number(self) -> u8 {
        match self {
            Self::HopByHop => 0,
            Self::Routing => 43,
            Self::Fragment { .. } => 44,
            Self::Destination => 60,
        }
    }

    /// The eight bytes of the header, which is followed by a header of number `next`.
    fn bytes(self, next: u8) -> Vec<u8> {
        match self {
            // One option that pads the header to eight bytes.
            Self::HopByHop | Self::Destination => vec![next, 0, 1, 4, 0, 0, 0, 0],
            Self::Routing => vec![next, 0, 0, 0, 0, 0, 0, 0],
            Self::Fragment { offset, more } => {
                let [high, low] = (offset << 3 | u16::from(more)).to_be_bytes();
                vec![next, 0, high, low, 0, 0, 0, 7]
            }
        }
    }
}

/// An IPv6 packet.
#[derive(Clone, Debug)]
pub struct Ipv6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Version field: 6 unless wrong on purpose. The low four bits count.
    pub version: u8,
    /// Extension headers in their order.
    pub extensions: Vec<Extension>,
    /// What it carries.
    pub body: Body,
}

impl Ipv6 {
    /// A packet without extension headers.
    #[must_use]
    pub fn new(source: Ipv6Addr, body: Body) -> Self {
        Self {
            source,
            version: 6,
            extensions: Vec::new(),
            body,
        }
    }

    /// The packet from its IP header on.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut next = self.body.protocol;
        let mut payload = self.body.bytes.clone();
        for extension in self.extensions.iter().rev() {
            payload = [extension.bytes(next), payload].concat();
            next = extension.number();
        }
        let len = u16::try_from(payload.len()).expect("a short body");
        let [high, low] = len.to_be_bytes();
        [
            &[self.version << 4, 0, 0, 0, high, low, next, 64],
            &self.source.octets()[..],
            &TO_IPV6.octets(),
            &payload,
        ]
        .concat()
    }
}

/// A frame with the VLAN tags of the given tag protocols, outermost first, and `payload` of type `ether_type`.
#[must_use]
pub fn tagged(tags: &[u16], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    for (id, tag) in (100_u16..).zip(tags) {
        frame.extend([*tag, id].map(u16::to_be_bytes).concat());
    }
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame
}

/// An untagged frame with `packet`.
#[must_use]
pub fn ipv4(packet: &Ipv4) -> Vec<u8> {
    tagged(&[], ETHERTYPE_IPV4, &packet.bytes())
}

/// An untagged frame with `packet`.
#[must_use]
pub fn ipv6(packet: &Ipv6) -> Vec<u8> {
    tagged(&[], ETHERTYPE_IPV6, &packet.bytes())
}

/// An untagged frame with `body` from `source`.
#[must_use]
pub fn from(source: IpAddr, body: Body) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => ipv4(&Ipv4::new(source, body)),
        IpAddr::V6(source) => ipv6(&Ipv6::new(source, body)),
    }
}

/// An ARP request from `sender`.
#[must_use]
pub fn arp(sender: Ipv4Addr) -> Vec<u8> {
    let payload = [
        &[0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1],
        &sender.octets()[..],
        &[0; 6],
        &TO_IPV4.octets(),
    ];
    tagged(&[], ETHERTYPE_ARP, &payload.concat())
}
