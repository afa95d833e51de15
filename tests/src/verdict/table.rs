//! Thousands of bans of addresses as the enforcer writes them and the program obeys, some of them in the overflow.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use ar_ebpf::Outcome;
use arfw::clock;
use arfw::enforcer::xdp::Xdp;
use arfw::enforcer::{Counters, Enforced, Enforcer as _, Hold};
use arfw::offender::Offender;
use tests::support::kernel::MAX_BANS;
use tests::support::packet::{self, udp};
use tests::support::pins;

use super::prefixes::{Scene, for_an_hour, settings};

/// Nearly as many as there is room for.
const MANY: u32 = MAX_BANS - 96;

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

fn v6(number: u32) -> IpAddr {
    Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | u128::from(number)).into()
}

#[test]
fn thousands_of_bans_are_obeyed_and_ended_one_by_one() -> Result<()> {
    for address in [v4, v6] {
        let mut scene = Scene::new()?;
        let wanted: Vec<Hold> = (0..MANY)
            .map(|number| Hold {
                offender: Offender::new(address(3 * number)),
                standing: for_an_hour(),
            })
            .collect();
        let failures = scene.enforcer.hold(&wanted, clock::kernel_clock());
        ensure!(failures.is_empty(), "{:?}", failures[0]);
        let overflowed = pins::overflowed(&scene.pin_dir)?;
        ensure!(overflowed > 10, "{overflowed} in the overflow");
        for number in 0..3 * MANY {
            let expected = match number % 3 {
                0 => Outcome::Banned,
                _ => Outcome::Clean,
            };
            let source = address(number);
            let outcome = scene.outcome(source);
            ensure!(outcome == expected, "{source} is {outcome:?}");
        }
        let bytes = packet::from(address(0), udp()).len() as u64;
        let counters = Counters { packets: 1, bytes };
        let is_whole = |ban: &Enforced| ban.counters == counters && ban.last_seen.is_some();
        let enforced = scene.enforced();
        ensure!(enforced.len() == MANY as usize && enforced.values().all(is_whole));

        for hold in wanted.iter().step_by(2) {
            scene.hold(hold.offender, None);
        }
        let (enforcer, found) = Xdp::start(&settings(&scene.pin_dir), clock::kernel_clock())?;
        scene.enforcer = enforcer;
        let found: BTreeSet<Offender> = found.iter().map(|(offender, _)| *offender).collect();
        let left = wanted.iter().skip(1).step_by(2).map(|hold| hold.offender);
        ensure!(found == left.collect(), "{} are found", found.len());
        for (place, hold) in wanted.iter().enumerate() {
            let is_left = place % 2 == 1;
            let outcome = scene.outcome(hold.offender.addr());
            ensure!(
                (outcome == Outcome::Banned) == is_left,
                "{} is {outcome:?}",
                hold.offender
            );
            if is_left {
                scene.hold(hold.offender, None);
            }
        }
        ensure!(scene.enforced().is_empty() && scene.is_front_empty());
        ensure!(pins::overflowed(&scene.pin_dir)? == 0);
    }
    Ok(())
}
