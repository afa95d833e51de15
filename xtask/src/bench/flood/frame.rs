//! What the flood is made of: the shortest frames of UDP over IPv4, of which there is a pool to send from.

use std::net::Ipv4Addr;

use xtask::netns::{HOST_V4, offender_v4};

/// Bytes of a frame, without the check sum that a wire adds: no Ethernet frame is shorter.
pub(super) const LENGTH: usize = 60;

/// One packet as it is sent.
pub(super) type Frame = [u8; LENGTH];

/// Frames of a pool: more than there are bans, and few enough to stay in the second cache.
const POOL: u32 = 16_384;

/// Addresses of the two ends of a `Link`.
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OFFENDER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

const ETHERNET: usize = 14;
const IPV4: usize = 20;

/// A datagram of zeros from `source` to `port` of the host.
pub(super) fn datagram(source: Ipv4Addr, port: u16) -> Frame {
    const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
    const SOURCE_PORT: u16 = 40_000;
    const UDP: u8 = 17;
    let [whole, payload] = [LENGTH - ETHERNET, LENGTH - ETHERNET - IPV4]
        .map(|length| u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    let mut ip = [0; IPV4];
    // Version and words of the header; "don't fragment"; hops that are left.
    (ip[0], ip[6], ip[8], ip[9]) = (0x45, 0x40, 64, UDP);
    ip[2..4].copy_from_slice(&whole);
    ip[12..16].copy_from_slice(&source.octets());
    ip[16..].copy_from_slice(&HOST_V4.octets());
    let sum = check_sum(&ip).to_be_bytes();
    ip[10..12].copy_from_slice(&sum);

    let mut frame = [0; LENGTH];
    frame[..6].copy_from_slice(&HOST_MAC);
    frame[6..12].copy_from_slice(&OFFENDER_MAC);
    frame[12..ETHERNET].copy_from_slice(&IPV4_TYPE);
    frame[ETHERNET..][..IPV4].copy_from_slice(&ip);
    // A check sum of zero means none.
    let udp = &mut frame[ETHERNET + IPV4..][..6];
    udp[..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    udp[2..4].copy_from_slice(&port.to_be_bytes());
    udp[4..].copy_from_slice(&payload);
    frame
}

/// Frames of sources taken at random, the same ones in every run, from the first `bans` addresses of the offender.
pub(super) fn pool(bans: u16, port: u16) -> Vec<Frame> {
    let mut random = 0x2545_F491_u32;
    let sources = (0..POOL).map(|_| {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        offender(pick(random, bans))
    });
    sources.map(|source| datagram(source, port)).collect()
}

/// One number below `bans` for each number of 32 bits, all about as often.
fn pick(random: u32, bans: u16) -> u16 {
    let share = (u64::from(random) * u64::from(bans)) >> 32;
    u16::try_from(share).unwrap_or(0)
}

/// An address of the offender, as what it is.
pub(super) fn offender(number: u16) -> Ipv4Addr {
    match offender_v4(number) {
        std::net::IpAddr::V4(address) => address,
        std::net::IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    }
}

/// The Internet's sum of 16-bit words, over bytes of an even number.
fn check_sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let [_, _, high, low] = (folded + (folded >> 16)).to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn source(frame: &Frame) -> Ipv4Addr {
        let bytes = frame.as_chunks::<2>().0[13..15].as_flattened();
        Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])
    }

    #[test]
    fn a_check_sum_is_that_of_an_example_of_others() {
        // RFC 1071, section 3.
        assert_eq!(
            check_sum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]),
            !0xDDF2
        );
    }

    #[test]
    fn a_frame_is_a_whole_datagram_from_its_source() {
        let frame = datagram(offender(259), 4_711);
        assert_eq!(source(&frame), Ipv4Addr::new(198, 18, 1, 3));
        // A sum over a header with its own check sum comes out as nothing.
        assert_eq!(check_sum(&frame[14..34]), 0);
        assert_eq!(frame[16..18], 46_u16.to_be_bytes());
        assert_eq!(frame[36..38], 4_711_u16.to_be_bytes());
        assert_eq!(frame[38..40], 26_u16.to_be_bytes());
    }

    #[test]
    fn sources_of_a_pool_are_all_over_the_banned_and_nobody_else() {
        let of = |bans| -> BTreeSet<_> { pool(bans, 1).iter().map(source).collect() };
        assert_eq!(of(1), BTreeSet::from([offender(0)]));
        let thousand = of(1_000);
        assert_eq!(thousand, (0..1_000).map(offender).collect::<BTreeSet<_>>());
        let many = of(10_000);
        assert!(many.iter().all(|&source| source < offender(10_000)));
        // Of 16,384 picks about 8,060 differ.
        assert!((7_800..8_300).contains(&many.len()), "{}", many.len());
    }

    #[test]
    fn what_is_picked_is_below_the_number_of_bans() {
        assert_eq!(pick(u32::MAX, 10_000), 9_999);
        assert_eq!(pick(0, 10_000), 0);
        assert_eq!(pick(u32::MAX, 1), 0);
    }
}
