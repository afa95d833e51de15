//! What is counted: in a ban what met it, and in the totals every packet.
//!
//! Every run of a packet in these tests compares the totals with the packet as well.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::thread;

use ar_ebpf::place::SEEN_UNIT;
use ar_ebpf::{Ban, FrontBit, Outcome, Total, flag};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq};
use proptest::test_runner::TestRunner;
use tests::support::kernel::{Kernel, ban_for_good, ban_until, coarse_ns};
use tests::support::packet::{self, Body, Ipv4, Ipv6, TAG_VLAN, udp};

use super::{BANNED_V4, BANNED_V6, NEIGHBOUR_V4};

/// A frame of `len` bytes, which is at least 54, from `source`.
fn frame_of(source: IpAddr, len: usize) -> Vec<u8> {
    let headers = packet::from(source, empty()).len();
    let body = Body {
        protocol: 17,
        bytes: vec![0; len - headers],
    };
    packet::from(source, body)
}

fn empty() -> Body {
    Body {
        protocol: 17,
        bytes: Vec::new(),
    }
}

#[test]
fn a_ban_counts_what_meets_it() -> anyhow::Result<()> {
    for flags in [0, flag::SHADOW, flag::MANUAL] {
        for source in [BANNED_V4.into(), BANNED_V6.into()] {
            let mut kernel = Kernel::load()?;
            let made = ban_for_good(flags);
            kernel.ban(source, made)?;
            let start = coarse_ns();
            let lens = [54, 60, 255, 256, 1514];
            for len in lens {
                kernel.run(&frame_of(source, len))?;
            }
            let end = coarse_ns();
            let ban = kernel.banned(source)?.expect("the ban stands");
            let last_seen_ns = ban.last_seen_ns;
            // Of IPv4, in whole units.
            let unit = if source.is_ipv4() { SEEN_UNIT } else { 0 };
            assert!((start >> unit..=end >> unit).contains(&(last_seen_ns >> unit)));
            assert_eq!(last_seen_ns, last_seen_ns >> unit << unit);
            let bytes = lens.iter().sum::<usize>() as u64;
            let expected = Ban {
                packets: 5,
                bytes,
                last_seen_ns,
                ..made
            };
            assert_eq!(ban, expected);
        }
    }
    Ok(())
}

#[test]
fn a_ban_counts_nothing_once_it_is_over() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let made = ban_until(2);
    kernel.ban(BANNED_V4.into(), made)?;
    kernel.run(&packet::from(BANNED_V4.into(), udp()))?;
    assert_eq!(kernel.banned(BANNED_V4.into())?, Some(made));
    Ok(())
}

#[test]
fn a_ban_counts_nothing_of_its_neighbours() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let made = ban_for_good(0);
    kernel.ban(BANNED_V4.into(), made)?;
    kernel.run(&packet::from(NEIGHBOUR_V4.into(), udp()))?;
    assert_eq!(kernel.banned(BANNED_V4.into())?, Some(made));
    Ok(())
}

#[test]
fn packets_on_several_cpus_at_once_are_all_counted() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    kernel.ban(BANNED_V4.into(), ban_for_good(0))?;
    let frame = frame_of(BANNED_V4.into(), 60);
    // Long enough that the runs overlap.
    let (threads, times) = (3, 500_000);
    thread::scope(|scope| {
        let runs: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| kernel.repeat(&frame, times)))
            .collect();
        runs.into_iter()
            .try_for_each(|run| run.join().expect("a run does not panic"))
    })?;
    let ban = kernel.banned(BANNED_V4.into())?.expect("the ban stands");
    let packets = threads * u64::from(times);
    assert_eq!((ban.packets, ban.bytes), (packets, packets * 60));
    Ok(())
}

#[test]
fn totals_add_up_every_packet_by_outcome() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    kernel.ban(BANNED_V4.into(), ban_for_good(0))?;
    let frame = frame_of(BANNED_V4.into(), 60);
    kernel.repeat(&frame, 1000)?;
    kernel.repeat(&packet::arp(BANNED_V4), 10)?;
    kernel.repeat(&frame[..20], 3)?;
    let mut expected = [Total::default(); Outcome::ALL.len()];
    for (outcome, packets, bytes) in [
        (Outcome::Banned, 1000, 60_000),
        (Outcome::NotIp, 10, 420),
        (Outcome::Truncated, 3, 60),
    ] {
        expected[outcome.index() as usize] = Total { packets, bytes };
    }
    assert_eq!(kernel.totals()?, expected);
    Ok(())
}

/// Frames of several pages do not fit into one buffer; their length is that of all buffers.
#[test]
fn jumbo_frames_count_with_their_whole_length() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    for source in [BANNED_V4.into(), BANNED_V6.into()] {
        kernel.ban(source, ban_for_good(0))?;
        kernel.run(&frame_of(source, 9014))?;
        let ban = kernel.banned(source)?.expect("the ban stands");
        assert_eq!((ban.packets, ban.bytes), (1, 9014));
    }
    Ok(())
}

#[test]
fn tags_and_options_count_as_bytes() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    kernel.ban(BANNED_V4.into(), ban_for_good(0))?;
    let packet = Ipv4 {
        words: 15,
        ..Ipv4::new(BANNED_V4, empty())
    };
    kernel.run(&packet::tagged(
        &[TAG_VLAN],
        packet::ETHERTYPE_IPV4,
        &packet.bytes(),
    ))?;
    let ban = kernel.banned(BANNED_V4.into())?.expect("the ban stands");
    assert_eq!(ban.bytes, 14 + 4 + 60);
    Ok(())
}

/// User space finds the bits that the program looks at: set, they show the ban; any of them cleared hides it,
/// whatever its neighbours in the word are.
#[test]
fn both_sides_agree_on_front_bits() -> anyhow::Result<()> {
    let kernel = std::cell::RefCell::new(Kernel::load()?);
    let config = ProptestConfig {
        cases: 1000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let addresses = any::<IpAddr>();
    TestRunner::new(config).run(&addresses, |source| {
        let mut kernel = kernel.borrow_mut();
        let frame = match source {
            IpAddr::V4(source) => packet::ipv4(&Ipv4::new(source, udp())),
            IpAddr::V6(source) => packet::ipv6(&Ipv6::new(source, udp())),
        };
        let mut outcome = || -> anyhow::Result<_> {
            kernel.ban(source, ban_for_good(0))?;
            let set = kernel.run(&frame)?;
            let mut cleared = Vec::new();
            for bit in kernel.front_bits(source) {
                kernel.clear_only(source, bit)?;
                cleared.push(kernel.run(&frame)?);
            }
            kernel.unban(source)?;
            Ok((set, cleared))
        };
        let (set, cleared) = outcome().expect("the kernel takes bans and packets");
        let bits = if source.is_ipv4() { 1 } else { 2 };
        prop_assert_eq!(
            (set, cleared),
            (Outcome::Banned, vec![Outcome::Clean; bits])
        );
        Ok(())
    })?;
    Ok(())
}

#[test]
fn front_bits_of_ipv6_spread() {
    // Neighbouring /64s of one provider must not share a few words, nor the two bits depend on each other.
    let bits = (0..4096).map(|subnet| {
        let addr = Ipv6Addr::new(0x2001, 0xdb8, 7, subnet, 0, 0, 0, 1);
        let octets = addr.octets();
        FrontBit::of_v6(ar_ebpf::AddrV6 { octets })
    });
    assert!(bits.clone().all(|[one, other]| one.word() == other.word()));
    let words: BTreeSet<_> = bits.clone().map(|[bit, _]| bit.word()).collect();
    assert!(words.len() > 3500, "{} words", words.len());
    let pairs: BTreeSet<_> = bits.map(|bits| bits.map(FrontBit::mask)).collect();
    // Of 4,096 pairs, so many that are drawn at random come at least once: 1 - 1/e.
    assert!(pairs.len() > 2400, "{} pairs", pairs.len());
}
