//! What the kernel program does with one packet, shown by running it on packets in the real kernel.
//!
//! Frames shorter than the 14 bytes of an Ethernet header cannot be run this way: BPF_PROG_TEST_RUN
//! refuses them, and no driver delivers them.

mod counters;
mod model;
mod prefixes;
mod table;
mod time;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ar_ebpf::{Outcome, flag};
use tests::support::kernel::{Kernel, ban_for_good, ban_until};
use tests::support::packet::{
    self, Body, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Extension, Ipv4, Ipv6, TAG_SERVICE, TAG_VLAN, icmp,
    icmpv6, tcp, udp,
};

const BANNED_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);
/// In the /24 of [`BANNED_V4`].
const NEIGHBOUR_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 10);
const STRANGER_V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

const BANNED_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, 9);
/// In the /64 of [`BANNED_V6`].
const NEIGHBOUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, 10);
const STRANGER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 3, 0, 0, 0, 9);

/// A frame and the name it has in a comparison.
type Named<T> = (T, Vec<u8>);

/// A kernel that bans [`BANNED_V4`] and [`BANNED_V6`] for good.
fn kernel() -> anyhow::Result<Kernel> {
    banning(Kernel::load()?)
}

fn banning(mut kernel: Kernel) -> anyhow::Result<Kernel> {
    kernel.ban(BANNED_V4.into(), ban_for_good(0))?;
    kernel.ban(BANNED_V6.into(), ban_for_good(0))?;
    Ok(kernel)
}

/// Runs each frame and compares all outcomes at once.
fn check<T: Copy + std::fmt::Debug + PartialEq>(
    kernel: &Kernel,
    frames: &[Named<T>],
    expected: &[(T, Outcome)],
) -> anyhow::Result<()> {
    let mut outcomes = Vec::new();
    for (name, frame) in frames {
        outcomes.push((*name, kernel.run(frame)?));
    }
    assert_eq!(outcomes, expected);
    Ok(())
}

/// As [`check`], where every frame has the same outcome.
fn check_all<T: Copy + std::fmt::Debug + PartialEq>(
    kernel: &Kernel,
    frames: &[Named<T>],
    expected: Outcome,
) -> anyhow::Result<()> {
    let expected: Vec<_> = frames.iter().map(|(name, _)| (*name, expected)).collect();
    check(kernel, frames, &expected)
}

/// AR-IMP-3
#[test]
fn banned_sources_are_dropped_and_their_neighbours_are_not() -> anyhow::Result<()> {
    let sources: [IpAddr; 6] = [
        BANNED_V4.into(),
        NEIGHBOUR_V4.into(),
        STRANGER_V4.into(),
        BANNED_V6.into(),
        NEIGHBOUR_V6.into(),
        STRANGER_V6.into(),
    ];
    let frames = sources.map(|source| (source, packet::from(source, udp())));
    let expected = sources.map(|source| {
        let banned = [BANNED_V4.into(), BANNED_V6.into()].contains(&source);
        let outcome = if banned {
            Outcome::Banned
        } else {
            Outcome::Clean
        };
        (source, outcome)
    });
    check(&kernel()?, &frames, &expected)?;
    check(&banning(Kernel::load_linear()?)?, &frames, &expected)?;
    check(&banning(Kernel::load_tcx()?)?, &frames, &expected)
}

#[test]
fn a_banned_destination_does_not_matter() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    kernel.ban(packet::TO_IPV4.into(), ban_for_good(0))?;
    kernel.ban(packet::TO_IPV6.into(), ban_for_good(0))?;
    let sources: [IpAddr; 2] = [STRANGER_V4.into(), STRANGER_V6.into()];
    let frames = sources.map(|source| (source, packet::from(source, udp())));
    check_all(&kernel, &frames, Outcome::Clean)
}

#[test]
fn every_protocol_of_a_banned_source_is_dropped() -> anyhow::Result<()> {
    let inner = STRANGER_V4;
    let bodies = [udp(), tcp(), icmp(), icmpv6(), packet::gre(inner)];
    let unknown = Body {
        protocol: 253,
        bytes: Vec::new(),
    };
    let mut frames = Vec::new();
    for body in bodies.into_iter().chain([unknown]) {
        let protocol = body.protocol;
        frames.push((protocol, packet::from(BANNED_V4.into(), body.clone())));
        frames.push((protocol, packet::from(BANNED_V6.into(), body)));
    }
    check_all(&kernel()?, &frames, Outcome::Banned)
}

#[test]
fn a_tunnel_is_judged_by_its_outer_source() -> anyhow::Result<()> {
    let frames = [(47, packet::from(STRANGER_V4.into(), packet::gre(BANNED_V4)))];
    check_all(&kernel()?, &frames, Outcome::Clean)
}

#[test]
fn any_ipv4_header_length_is_read_and_impossible_ones_are_malformed() -> anyhow::Result<()> {
    let lengths: Vec<u8> = (0..16).collect();
    let frames: Vec<_> = lengths
        .iter()
        .map(|&words| {
            let packet = Ipv4 {
                words,
                ..Ipv4::new(BANNED_V4, udp())
            };
            (words, packet::ipv4(&packet))
        })
        .collect();
    let expected: Vec<_> = lengths
        .iter()
        .map(|&words| match words {
            0..5 => (words, Outcome::Malformed),
            _ => (words, Outcome::Banned),
        })
        .collect();
    check(&kernel()?, &frames, &expected)
}

#[test]
fn a_version_that_contradicts_the_ethertype_is_malformed() -> anyhow::Result<()> {
    let mut frames = Vec::new();
    for version in (0..16).filter(|version| *version != 4) {
        let packet = Ipv4 {
            version,
            ..Ipv4::new(BANNED_V4, udp())
        };
        frames.push(((4, version), packet::ipv4(&packet)));
    }
    for version in (0..16).filter(|version| *version != 6) {
        let packet = Ipv6 {
            version,
            ..Ipv6::new(BANNED_V6, udp())
        };
        frames.push(((6, version), packet::ipv6(&packet)));
    }
    check_all(&kernel()?, &frames, Outcome::Malformed)
}

#[test]
fn up_to_two_vlan_tags_are_read_over() -> anyhow::Result<()> {
    let stacks: [&[u16]; 6] = [
        &[TAG_VLAN],
        &[TAG_SERVICE],
        &[TAG_SERVICE, TAG_VLAN],
        &[TAG_VLAN, TAG_VLAN],
        &[TAG_SERVICE, TAG_SERVICE],
        &[TAG_VLAN, TAG_SERVICE],
    ];
    let kernel = kernel()?;
    check_all(
        &kernel,
        &under_tags(&stacks, BANNED_V4, BANNED_V6),
        Outcome::Banned,
    )?;
    check_all(
        &kernel,
        &under_tags(&stacks, STRANGER_V4, STRANGER_V6),
        Outcome::Clean,
    )
}

#[test]
fn a_frame_with_three_vlan_tags_is_not_ip() -> anyhow::Result<()> {
    let stacks: [&[u16]; 2] = [
        &[TAG_VLAN, TAG_VLAN, TAG_VLAN],
        &[TAG_SERVICE, TAG_SERVICE, TAG_VLAN],
    ];
    check_all(
        &kernel()?,
        &under_tags(&stacks, BANNED_V4, BANNED_V6),
        Outcome::NotIp,
    )
}

/// One frame of each family under each stack of tags.
fn under_tags<'a>(
    stacks: &[&'a [u16]],
    v4: Ipv4Addr,
    v6: Ipv6Addr,
) -> Vec<Named<(&'a [u16], u16)>> {
    let packets = [
        (ETHERTYPE_IPV4, Ipv4::new(v4, udp()).bytes()),
        (ETHERTYPE_IPV6, Ipv6::new(v6, udp()).bytes()),
    ];
    let mut frames = Vec::new();
    for tags in stacks {
        for (ether_type, packet) in &packets {
            let frame = packet::tagged(tags, *ether_type, packet);
            frames.push(((*tags, *ether_type), frame));
        }
    }
    frames
}

#[test]
fn first_and_later_fragments_of_a_banned_source_are_dropped() -> anyhow::Result<()> {
    let mut frames = Vec::new();
    for (offset, more) in [(0, true), (1, true), (185, true), (0x1fff, false)] {
        let v4 = Ipv4 {
            more_fragments: more,
            fragment_offset: offset,
            ..Ipv4::new(BANNED_V4, udp())
        };
        let v6 = Ipv6 {
            extensions: vec![Extension::Fragment { offset, more }],
            ..Ipv6::new(BANNED_V6, udp())
        };
        frames.push(((4, offset), packet::ipv4(&v4)));
        frames.push(((6, offset), packet::ipv6(&v6)));
    }
    check_all(&kernel()?, &frames, Outcome::Banned)
}

#[test]
fn extension_headers_hide_nothing() -> anyhow::Result<()> {
    let fragment = Extension::Fragment {
        offset: 0,
        more: true,
    };
    let chains = [
        vec![Extension::HopByHop],
        vec![Extension::Routing],
        vec![Extension::Destination],
        vec![
            Extension::HopByHop,
            Extension::Destination,
            Extension::Routing,
            fragment,
        ],
    ];
    let under = |source| {
        let frames: Vec<_> = (0..)
            .zip(&chains)
            .map(|(number, chain)| {
                let packet = Ipv6 {
                    extensions: chain.clone(),
                    ..Ipv6::new(source, tcp())
                };
                (number, packet::ipv6(&packet))
            })
            .collect();
        frames
    };
    let kernel = kernel()?;
    check_all(&kernel, &under(BANNED_V6), Outcome::Banned)?;
    check_all(&kernel, &under(NEIGHBOUR_V6), Outcome::Clean)
}

#[test]
fn neighbour_discovery_of_an_address_that_is_not_banned_passes() -> anyhow::Result<()> {
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    // The unspecified address is the source while a host asks whether its address is free.
    let sources: [IpAddr; 3] = [
        NEIGHBOUR_V6.into(),
        link_local.into(),
        Ipv6Addr::UNSPECIFIED.into(),
    ];
    let frames = sources.map(|source| {
        let solicitation = packet::neighbour_solicitation(BANNED_V6);
        (source, packet::from(source, solicitation))
    });
    check_all(&kernel()?, &frames, Outcome::Clean)
}

#[test]
fn what_is_not_ip_passes() -> anyhow::Result<()> {
    let lldp = packet::tagged(&[], 0x88cc, &[0; 50]);
    let ip = Ipv4::new(BANNED_V4, udp()).bytes();
    let frames = [
        ("arp", packet::arp(BANNED_V4)),
        ("lldp", lldp),
        ("pppoe", packet::tagged(&[], 0x8864, &ip)),
        ("802.3 length", packet::tagged(&[], 0x0026, &ip)),
        ("empty", packet::tagged(&[], 0, &[])),
    ];
    check_all(&kernel()?, &frames, Outcome::NotIp)
}

#[test]
fn a_frame_that_ends_within_its_headers_is_truncated() -> anyhow::Result<()> {
    let kernel = kernel()?;
    for (frame, whole_from) in [
        (packet::from(BANNED_V4.into(), udp()), 34),
        (packet::from(BANNED_V6.into(), udp()), 54),
    ] {
        let cuts: Vec<_> = (14..=frame.len())
            .map(|len| (len, frame[..len].to_vec()))
            .collect();
        let expected: Vec<_> = (14..=frame.len())
            .map(|len| match len < whole_from {
                true => (len, Outcome::Truncated),
                false => (len, Outcome::Banned),
            })
            .collect();
        check(&kernel, &cuts, &expected)?;
    }
    Ok(())
}

/// A driver may put only a part of the headers, or none of them, into the first buffer.
#[test]
fn a_ban_does_not_depend_on_where_buffers_are_cut() -> anyhow::Result<()> {
    let kernel = kernel()?;
    let body = Body {
        protocol: 17,
        bytes: vec![0; 400],
    };
    for (v4, v6, expected) in [
        (BANNED_V4, BANNED_V6, Outcome::Banned),
        (NEIGHBOUR_V4, NEIGHBOUR_V6, Outcome::Clean),
    ] {
        for (ether_type, packet) in [
            (ETHERTYPE_IPV4, Ipv4::new(v4, body.clone()).bytes()),
            (ETHERTYPE_IPV6, Ipv6::new(v6, body.clone()).bytes()),
        ] {
            let frame = packet::tagged(&[TAG_SERVICE, TAG_VLAN], ether_type, &packet);
            for first in 14..300 {
                // A first buffer of these sizes counts as the whole frame, to save a call.
                let counted = match first {
                    34..256 => first as usize,
                    _ => frame.len(),
                };
                let outcome = kernel.run_split(&frame, first, counted)?;
                assert_eq!(outcome, expected, "{first} bytes of {ether_type:#x} first");
            }
        }
    }
    Ok(())
}

#[test]
fn a_front_bit_without_a_ban_lets_packets_through() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let sources: [IpAddr; 2] = [STRANGER_V4.into(), STRANGER_V6.into()];
    for source in sources {
        kernel.set_front(source)?;
    }
    let frames = sources.map(|source| (source, packet::from(source, udp())));
    check_all(&kernel, &frames, Outcome::Clean)
}

/// A place where nobody stands holds the unspecified address, from which hosts ask for one.
#[test]
fn a_free_place_bans_nobody_and_hides_no_ban() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let sources: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    for source in sources {
        kernel.set_front(source)?;
    }
    let frames = sources.map(|source| (source, packet::from(source, udp())));
    check_all(&kernel, &frames, Outcome::Clean)?;
    for source in sources {
        kernel.ban_in_overflow(source, ban_for_good(0))?;
    }
    check_all(&kernel, &frames, Outcome::Banned)
}

#[test]
fn a_shadow_ban_passes_and_is_told_apart() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let sources: [IpAddr; 2] = [BANNED_V4.into(), BANNED_V6.into()];
    for source in sources {
        kernel.ban(source, ban_for_good(flag::SHADOW))?;
    }
    let frames = sources.map(|source| (source, packet::from(source, udp())));
    check_all(&kernel, &frames, Outcome::Shadow)
}

#[test]
fn a_shadow_ban_that_is_over_is_over() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let mut ban = ban_until(1);
    ban.flags = flag::SHADOW;
    kernel.ban(BANNED_V4.into(), ban)?;
    let frames = [((), packet::from(BANNED_V4.into(), udp()))];
    check_all(&kernel, &frames, Outcome::Expired)
}
