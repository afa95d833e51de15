//! A daemon that is dead for good: the kernel ends each ban at its time, not before and not a tick later.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use ar_ebpf::Ban;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::fault::{self, Tally};
use tests::support::kernel::{Kernel, coarse_ns, monotonic_ns};
use tests::support::packet;
use tests::support::pins;
use xtask::netns::{HOST_V4, HOST_V6, Link, offender_v4, offender_v6};
use xtask::traffic::{Receiver, Sender};

/// Lengths of the bans in seconds, each by a rule of its own.
const LENGTHS: std::ops::RangeInclusive<u32> = 4..=9;

/// Of so many one sends real packets.
const REAL: usize = 20;

fn conf() -> String {
    let section = |length: u32| {
        format!(
            "<active-response>
               <command>firewall-drop</command>
               <location>local</location>
               <rules_id>{}</rules_id>
               <timeout>{length}</timeout>
             </active-response>",
            rule(length)
        )
    };
    format!(
        "<ossec_config>
           <command>
             <name>firewall-drop</name>
             <executable>firewall-drop</executable>
             <timeout_allowed>yes</timeout_allowed>
           </command>
           {}
         </ossec_config>",
        LENGTHS.map(section).collect::<String>()
    )
}

fn rule(length: u32) -> u32 {
    100_000 + length
}

/// What was seen of one ban.
#[derive(Default)]
struct Seen {
    before: bool,
    after: bool,
    early: bool,
    late: bool,
}

#[test]
fn each_ban_ends_by_itself_at_its_time_when_the_daemon_is_dead_for_good() -> Result<()> {
    let mut tally = Tally::of("dead for good with bans of different ends");
    let (link, home) = (Link::new()?, Home::new(&conf())?);
    let mut daemon = home.start(&link, &[])?;
    let count = u16::try_from(fault::times(300, 3_000))?;
    let mut offenders = Vec::new();
    for number in 0..count {
        let length = LENGTHS.start() + u32::from(number) % 6;
        let address = if number % 2 == 0 {
            offender_v4(number)
        } else {
            offender_v6(number)
        };
        offenders.push(address);
        home.append(&alert::wazuh(
            rule(length),
            10,
            &["sshd"],
            &address.to_string(),
        ))?;
    }
    let bans = wait_for_bans(&home, count.into())?;
    daemon.crash()?;

    let kernel = Kernel::load_on(home.pin_dir())?;
    let (v4, v6) = (
        Receiver::start(&link.host, HOST_V4.into())?,
        Receiver::start(&link.host, HOST_V6.into())?,
    );
    let real: Vec<IpAddr> = offenders
        .iter()
        .copied()
        .step_by(offenders.len() / REAL)
        .collect();
    let receiver = |source: IpAddr| if source.is_ipv4() { &v4 } else { &v6 };
    let every = Duration::from_millis(20);
    let senders: Vec<Sender> = real
        .iter()
        .map(|&source| Sender::start(&link.offender, source, receiver(source).address(), every))
        .collect::<Result<_>>()?;

    let mut seen: BTreeMap<IpAddr, Seen> = BTreeMap::new();
    let end = bans
        .values()
        .map(|ban| ban.expires_at_ns)
        .max()
        .unwrap_or(0);
    while coarse_ns() < end || seen.values().any(|seen| !seen.after) {
        for (&address, ban) in &bans {
            let seen = seen.entry(address).or_default();
            if seen.after {
                continue;
            }
            let frame = packet::from(address, packet::udp());
            // The clock that the program reads, before and after it does.
            let begun = coarse_ns();
            let dropped = kernel.drops(&frame)?;
            let done = coarse_ns();
            seen.before |= dropped;
            seen.early |= !dropped && done < ban.expires_at_ns;
            seen.late |= dropped && begun >= ban.expires_at_ns;
            seen.after |= !dropped;
        }
        for &source in &real {
            let arrived = receiver(source).from(source).is_some();
            let is_early = arrived && monotonic_ns() < bans[&source].expires_at_ns;
            seen.entry(source).or_default().early |= is_early;
        }
    }
    for (address, seen) in &seen {
        tally.tried();
        tally.lost(
            seen.early.into(),
            format!("the ban of {address} ended early"),
        );
        tally.wrong(seen.late.into(), format!("the ban of {address} ended late"));
        tally.wrong(
            (!seen.before).into(),
            format!("{address} was never dropped"),
        );
    }
    for &source in &real {
        let arrives = receiver(source).wait_until(source, PATIENCE, |it| it.is_some());
        tally.wrong((!arrives).into(), format!("nothing arrives from {source}"));
    }
    for sender in senders {
        sender.stop()?;
    }
    ensure!(home.bans()?.is_empty(), "a ban is told that is over");
    ensure!(home.output(&["stop", "--release"])?.status.success());
    tally.end()
}

/// Waits until the kernel holds so many.
fn wait_for_bans(home: &Home, count: usize) -> Result<BTreeMap<IpAddr, Ban>> {
    for _ in 0..PATIENCE.as_millis() {
        let bans = pins::bans(home.pin_dir())?;
        if bans.len() >= count {
            return Ok(bans);
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    anyhow::bail!("the kernel does not hold {count} bans")
}
