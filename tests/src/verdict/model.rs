//! The program against a naive model of it, over random frames.
//!
//! The model reads a frame byte by byte as the standards tell it, and shares no code with the program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ar_ebpf::{Outcome, flag};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tests::support::kernel::{Kernel, ban_for_good, ban_until};
use tests::support::packet::{
    self, Body, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Extension, Ipv4, Ipv6, TAG_SERVICE,
    TAG_VLAN, udp,
};

/// Last octets of the addresses that stand in the maps, and what a packet from there deserves.
const BANS: [(u8, Outcome); 6] = [
    (1, Outcome::Banned),
    (2, Outcome::Shadow),
    (3, Outcome::Expired),
    (4, Outcome::Banned),
    (5, Outcome::Shadow),
    (6, Outcome::Expired),
];

/// From this one on, they stand in the overflow.
const OVERFLOW: u8 = 4;

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, last)
}

fn v6(last: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, last.into())
}

fn load(load: fn() -> anyhow::Result<Kernel>) -> anyhow::Result<Kernel> {
    let mut kernel = load()?;
    for (last, outcome) in BANS {
        let ban = match outcome {
            Outcome::Shadow => ban_for_good(flag::SHADOW),
            Outcome::Expired => ban_until(1),
            _ => ban_for_good(0),
        };
        for address in [IpAddr::from(v4(last)), v6(last).into()] {
            if last < OVERFLOW {
                kernel.ban(address, ban)?;
            } else {
                kernel.ban_in_overflow(address, ban)?;
            }
        }
    }
    Ok(kernel)
}

/// What the program has to find out about `frame`.
fn model(frame: &[u8]) -> Outcome {
    match source(&mut frame.iter().copied()) {
        Some(Ok(source)) => BANS
            .into_iter()
            .find(|(last, _)| [IpAddr::from(v4(*last)), v6(*last).into()].contains(&source))
            .map_or(Outcome::Clean, |(_, outcome)| outcome),
        Some(Err(outcome)) => outcome,
        None => Outcome::Truncated,
    }
}

/// The source address, or why there is none; `None` when the bytes end before that is known.
fn source(bytes: &mut impl Iterator<Item = u8>) -> Option<Result<IpAddr, Outcome>> {
    let _destination_and_source: [u8; 12] = take(bytes)?;
    let mut tags = 0;
    loop {
        match take(bytes)? {
            [0x08, 0x00] => {
                let header: [u8; 20] = take(bytes)?;
                let possible = (0x45..=0x4f).contains(&header[0]);
                let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
                return Some(possible.then_some(source.into()).ok_or(Outcome::Malformed));
            }
            [0x86, 0xdd] => {
                let header: [u8; 40] = take(bytes)?;
                let possible = (0x60..=0x6f).contains(&header[0]);
                let source: [u8; 16] = std::array::from_fn(|index| header[8 + index]);
                return Some(possible.then_some(source.into()).ok_or(Outcome::Malformed));
            }
            [0x81, 0x00] | [0x88, 0xa8] if tags < 2 => tags += 1,
            _ => return Some(Err(Outcome::NotIp)),
        }
        let _tag_control: [u8; 2] = take(bytes)?;
    }
}

fn take<const N: usize>(bytes: &mut impl Iterator<Item = u8>) -> Option<[u8; N]> {
    bytes.take(N).collect::<Vec<_>>().try_into().ok()
}

/// For the TCX hook, the kernel does not run frames that could not come there: of an Ethernet header alone, or
/// whose IP header is cut.
fn can_run(kernel: &Kernel, frame: &[u8], expected: Outcome) -> bool {
    !kernel.is_tcx() || (frame.len() > 14 && expected != Outcome::Truncated)
}

/// Runs frames of `frames` in every program and compares with the model.
fn check(frames: &impl Strategy<Value = Vec<u8>>) -> anyhow::Result<()> {
    let kernels = [
        load(Kernel::load)?,
        load(Kernel::load_linear)?,
        load(Kernel::load_tcx)?,
    ];
    let config = ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config).run(frames, |frame| {
        let expected = model(&frame);
        for kernel in &kernels {
            if can_run(kernel, &frame, expected) {
                let outcome = kernel.run(&frame).expect("the kernel takes the frame");
                prop_assert_eq!(outcome, expected);
            }
        }
        Ok(())
    })?;
    Ok(())
}

#[test]
fn random_bytes_are_judged_as_the_model_says() -> anyhow::Result<()> {
    check(&vec(any::<u8>(), 14..200))
}

#[test]
fn random_frames_are_judged_as_the_model_says() -> anyhow::Result<()> {
    check(&frames())
}

#[test]
fn random_frames_that_were_cut_are_judged_as_the_model_says() -> anyhow::Result<()> {
    let cut = (frames(), 14_usize..120).prop_map(|(mut frame, len)| {
        frame.truncate(len);
        frame
    });
    check(&cut)
}

#[test]
fn random_frames_with_a_wrong_byte_are_judged_as_the_model_says() -> anyhow::Result<()> {
    let wrong = (frames(), 0_usize..80, any::<u8>()).prop_map(|(mut frame, at, byte)| {
        if let Some(place) = frame.get_mut(at) {
            *place = byte;
        }
        frame
    });
    check(&wrong)
}

/// Every length of frames with every depth of tags.
#[test]
fn every_cut_of_a_frame_is_judged_as_the_model_says() -> anyhow::Result<()> {
    let kernels = [
        load(Kernel::load)?,
        load(Kernel::load_linear)?,
        load(Kernel::load_tcx)?,
    ];
    let with_options = Ipv4 {
        words: 15,
        ..Ipv4::new(v4(1), udp())
    };
    let with_headers = Ipv6 {
        extensions: vec![Extension::HopByHop, Extension::Destination],
        ..Ipv6::new(v6(1), udp())
    };
    let tags = [TAG_SERVICE, TAG_VLAN, TAG_VLAN];
    for depth in 0..=tags.len() {
        for (ether_type, packet) in [
            (ETHERTYPE_IPV4, with_options.bytes()),
            (ETHERTYPE_IPV6, with_headers.bytes()),
            (ETHERTYPE_ARP, vec![0; 46]),
        ] {
            let frame = packet::tagged(&tags[..depth], ether_type, &packet);
            for len in 14..=frame.len() {
                let expected = model(&frame[..len]);
                for kernel in &kernels {
                    if !can_run(kernel, &frame[..len], expected) {
                        continue;
                    }
                    let outcome = kernel.run(&frame[..len])?;
                    assert_eq!(
                        outcome, expected,
                        "{len} of {ether_type:#x} under {depth} tags"
                    );
                }
            }
        }
    }
    Ok(())
}

/// Frames of which most are IP, from addresses in the maps and beside them.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let tag = select(vec![TAG_VLAN, TAG_SERVICE, 0x9100]);
    let typed = prop_oneof![
        8 => ipv4().prop_map(|packet| (ETHERTYPE_IPV4, packet.bytes())),
        8 => ipv6().prop_map(|packet| (ETHERTYPE_IPV6, packet.bytes())),
        1 => ipv4().prop_map(|packet| (ETHERTYPE_IPV6, packet.bytes())),
        1 => ipv6().prop_map(|packet| (ETHERTYPE_IPV4, packet.bytes())),
        1 => (any::<u16>(), vec(any::<u8>(), 0..60)),
    ];
    (vec(tag, 0..4), typed)
        .prop_map(|(tags, (ether_type, packet))| packet::tagged(&tags, ether_type, &packet))
}

fn body() -> impl Strategy<Value = Body> {
    (any::<u8>(), vec(any::<u8>(), 0..300)).prop_map(|(protocol, bytes)| Body { protocol, bytes })
}

fn ipv4() -> impl Strategy<Value = Ipv4> {
    let source = prop_oneof![4 => (0_u8..9).prop_map(v4), 1 => any::<Ipv4Addr>()];
    let version = prop_oneof![9 => Just(4), 1 => 0_u8..16];
    let words = prop_oneof![3 => Just(5), 1 => 0_u8..16];
    (source, version, words, any::<bool>(), 0_u16..0x2000, body()).prop_map(
        |(source, version, words, more_fragments, fragment_offset, body)| Ipv4 {
            source,
            version,
            words,
            more_fragments,
            fragment_offset,
            body,
        },
    )
}

fn ipv6() -> impl Strategy<Value = Ipv6> {
    let source = prop_oneof![4 => (0_u8..9).prop_map(v6), 1 => any::<Ipv6Addr>()];
    let version = prop_oneof![9 => Just(6), 1 => 0_u8..16];
    let extension = prop_oneof![
        Just(Extension::HopByHop),
        Just(Extension::Routing),
        Just(Extension::Destination),
        (0_u16..0x2000, any::<bool>())
            .prop_map(|(offset, more)| Extension::Fragment { offset, more }),
    ];
    (source, version, vec(extension, 0..4), body()).prop_map(
        |(source, version, extensions, body)| Ipv6 {
            source,
            version,
            extensions,
            body,
        },
    )
}
