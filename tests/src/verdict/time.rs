//! When a ban ends: at its expiry by the kernel's own clock, with nobody there to remove it.

use std::net::IpAddr;

use ar_ebpf::{Ban, NEVER, Outcome, flag};
use tests::support::kernel::{Kernel, ban_for_good, ban_until, coarse_ns, monotonic_ns};
use tests::support::packet::{self, udp};

use super::{BANNED_V4, BANNED_V6};

const SOURCES: [IpAddr; 2] = [IpAddr::V4(BANNED_V4), IpAddr::V6(BANNED_V6)];

fn check(expires_at_ns: u64, expected: Outcome) -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    for source in SOURCES {
        kernel.ban(source, ban_until(expires_at_ns))?;
        let outcome = kernel.run(&packet::from(source, udp()))?;
        assert_eq!(outcome, expected, "{source} until {expires_at_ns}");
    }
    Ok(())
}

#[test]
fn a_ban_with_time_left_drops() -> anyhow::Result<()> {
    check(monotonic_ns() + 3_600_000_000_000, Outcome::Banned)
}

/// AR-TIME-1
#[test]
fn a_ban_that_is_over_passes_though_it_is_still_in_the_map() -> anyhow::Result<()> {
    check(1, Outcome::Expired)?;
    check(2, Outcome::Expired)?;
    check(monotonic_ns() - 1_000_000_000, Outcome::Expired)
}

/// AR-TIME-2
#[test]
fn a_permanent_ban_drops() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    for source in SOURCES {
        kernel.ban(source, ban_for_good(0))?;
        assert_eq!(kernel.run(&packet::from(source, udp()))?, Outcome::Banned);
    }
    // The end decides, not the flag.
    check(NEVER, Outcome::Banned)
}

/// The end of IPv4 bans is kept in even nanoseconds, and rounded up to them.
///
/// AR-TIME-1
#[test]
fn a_ban_is_over_at_its_end_and_stands_one_nanosecond_before() -> anyhow::Result<()> {
    for flags in [0, flag::SHADOW] {
        let stands = match flags {
            0 => Outcome::Banned,
            _ => Outcome::Shadow,
        };
        for source in SOURCES {
            let outcome = |left_ns| outcome_with_left(source, flags, left_ns);
            assert_eq!(outcome(0)?, Outcome::Expired, "{source}");
            assert_eq!(outcome(1)?, stands, "{source}");
        }
    }
    Ok(())
}

/// The outcome of a packet at exactly `left_ns` nanoseconds before the end of its source's ban.
fn outcome_with_left(source: IpAddr, flags: u32, left_ns: u64) -> anyhow::Result<Outcome> {
    let mut kernel = Kernel::load()?;
    let frame = packet::from(source, udp());
    // The clock stands still between two ticks, each of at least a millisecond: a run within one reads
    // exactly the time that was read here. Of many tries nearly all are such runs.
    for _ in 0..1000 {
        let now = coarse_ns();
        let ban = Ban {
            flags,
            ..ban_until(now + left_ns)
        };
        kernel.ban(source, ban)?;
        let outcome = kernel.run(&frame)?;
        // An odd end that has come is rounded up to one that has not.
        if coarse_ns() == now && now.is_multiple_of(2) {
            return Ok(outcome);
        }
    }
    anyhow::bail!("no packet ran within one tick")
}

/// AR-TIME-1, AR-IMP-2
#[test]
fn a_ban_ends_by_itself_and_never_early() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    let frame = packet::from(BANNED_V4.into(), udp());
    let end = monotonic_ns() + 20_000_000;
    kernel.ban(BANNED_V4.into(), ban_until(end))?;
    let mut dropped = 0;
    loop {
        let before = coarse_ns();
        let outcome = kernel.run(&frame)?;
        let after = coarse_ns();
        match outcome {
            Outcome::Banned => {
                assert!(before < end, "dropped though over");
                dropped += 1;
            }
            Outcome::Expired => {
                assert!(after >= end, "passed {} ns early", end - after);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        dropped > 0,
        "the machine was too busy to run one packet in 20 ms"
    );
    Ok(())
}
