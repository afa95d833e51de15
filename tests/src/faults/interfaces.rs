//! A named interface that goes and comes back: the others stay covered, it is told, and covered when it is back.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use arfw::control::view;
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, PATIENCE};
use tests::support::fault::{self, Tally};
use tests::support::pins::{self, Traces};
use xtask::netns::{INNER_V4, Link, Namespace};
use xtask::traffic::{Receiver, Sender};

use super::CONF;
use super::stream::Stream;

/// The host's interface to the machine behind it, and its address there.
const SECOND: &str = "veth1";
const SECOND_V4: &str = "198.19.1.1";

const BOTH: [&str; 2] = ["--interface", SECOND];

#[test]
fn an_interface_that_goes_is_told_and_the_others_stay_covered() -> Result<()> {
    let mut tally = Tally::of("an interface removed and added again");
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let inner = link.add_inner()?;
    let mut daemon = home.start(&link, &BOTH)?;
    let mut stream = Stream::start(&link)?;
    ban(&home, &mut daemon, Stream::offender())?;
    stream.is_banned(&home)?;
    ban(&home, &mut daemon, INNER_V4.into())?;
    is_dropped_behind(&link, &inner, &home)?;
    for round in 0..fault::times(2, 30) {
        modes(&home, ["native", "native"])?;
        let first = pins::Pinned::read(home.pin_dir())?;
        tally.tried();
        if round % 2 == 0 {
            goes_and_comes_back(&link, &inner, &home, &mut daemon)?;
            let passed = stream.passed()?;
            tally.lost(passed, format!("{passed} packets passed at the other one"));
            daemon.stop(Signal::TERM)?;
        } else {
            daemon.crash()?;
            ip(&["-n", link.host.name(), "link", "delete", SECOND])?;
            add_second(&link, &inner)?;
        }
        daemon = home.start(&link, &BOTH)?;
        is_dropped_behind(&link, &inner, &home)?;
        let passed = stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed at the restart"));
        let now = pins::Pinned::read(home.pin_dir())?;
        let same = |(name, link): &(&String, &u32)| now.links.get(*name) == Some(*link);
        ensure!(
            first.maps == now.maps
                && now.links.len() == 2
                && first.links.iter().filter(same).count() == 1,
            "{first:?} became {now:?}"
        );
    }
    let traces = Traces::of(home.pin_dir())?;
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    traces.are_gone()?;
    tally.end()
}

/// The second interface goes and comes back while the daemon runs.
fn goes_and_comes_back(
    link: &Link,
    inner: &Namespace,
    home: &Home,
    daemon: &mut Daemon,
) -> Result<()> {
    ip(&["-n", link.host.name(), "link", "delete", SECOND])?;
    let said = daemon.wait_for("NOT COVERED ANY MORE")?;
    ensure!(said.contains(SECOND), "{said}");
    let interfaces = modes(home, ["native", "none"])?;
    ensure!(
        interfaces[1].why.contains("the interface is gone"),
        "{interfaces:?}"
    );
    add_second(link, inner)?;
    let said = daemon.wait_for(" covered ")?;
    ensure!(said.contains(SECOND), "{said}");
    modes(home, ["native", "native"])?;
    is_dropped_behind(link, inner, home)
}

/// Nothing is covered any more, and everything else goes on.
#[test]
fn the_only_interface_goes_and_the_daemon_stays() -> Result<()> {
    let mut tally = Tally::of("the only interface removed while the daemon runs");
    for _ in 0..fault::times(1, 20) {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        let mut daemon = home.start(&link, &[])?;
        let traces = Traces::of(home.pin_dir())?;
        ip(&["-n", link.host.name(), "link", "delete", "veth0"])?;
        tally.tried();
        daemon.wait_for("NOT COVERED ANY MORE")?;
        ban(&home, &mut daemon, Stream::offender())?;
        let interfaces = home.status()?.interfaces;
        ensure!(
            interfaces.len() == 1 && interfaces[0].mode == "none",
            "{interfaces:?}"
        );
        ensure!(home.bans()?.len() == 1, "the ban is told");
        let offender = Stream::offender().to_string();
        ensure!(home.output(&["unban", &offender])?.status.success());
        daemon.stop(Signal::TERM)?;
        ensure!(!home.pin_dir().exists(), "pins are left");
        traces.are_gone()?;
    }
    tally.end()
}

fn ban(home: &Home, daemon: &mut Daemon, address: IpAddr) -> Result<()> {
    home.append(&alert::wazuh(5763, 10, &["sshd"], &address.to_string()))?;
    daemon.wait_for(" ban ")?;
    Ok(())
}

/// How both interfaces stand, in the order in which they were named.
fn modes(home: &Home, expected: [&str; 2]) -> Result<Vec<view::Interface>> {
    let interfaces = home.status()?.interfaces;
    let modes: Vec<&str> = interfaces.iter().map(|it| it.mode.as_str()).collect();
    ensure!(modes == expected, "{interfaces:?}");
    Ok(interfaces)
}

/// The machine behind the host is banned, and what it sends is dropped at the second interface.
fn is_dropped_behind(link: &Link, inner: &Namespace, home: &Home) -> Result<()> {
    let dropped = || -> Result<u64> {
        let ban = pins::bans(home.pin_dir())?.get(&INNER_V4.into()).copied();
        Ok(ban
            .context("the machine behind the host is banned")?
            .packets)
    };
    let before = dropped()?;
    let receiver = Receiver::start(&link.host, SECOND_V4.parse()?)?;
    let every = std::time::Duration::from_millis(1);
    let sender = Sender::start(inner, INNER_V4.into(), receiver.address(), every)?;
    for _ in 0..PATIENCE.as_millis() {
        if dropped()? > before + 10 {
            sender.stop()?;
            ensure!(receiver.from(INNER_V4.into()).is_none(), "a packet passed");
            return Ok(());
        }
        std::thread::park_timeout(every);
    }
    anyhow::bail!("nothing is dropped at {SECOND}")
}

/// Makes the cable to the machine behind the host anew.
fn add_second(link: &Link, inner: &Namespace) -> Result<()> {
    let (host, inner) = (link.host.name(), inner.name());
    let address = format!("{SECOND_V4}/24");
    let pair = [
        "link", "add", SECOND, "netns", host, "type", "veth", "peer", "name", "veth0", "netns",
        inner,
    ];
    ip(&pair)?;
    ip(&["-n", host, "addr", "add", &address, "dev", SECOND])?;
    ip(&["-n", host, "link", "set", SECOND, "up"])?;
    let address = format!("{INNER_V4}/24");
    ip(&["-n", inner, "addr", "add", &address, "dev", "veth0"])?;
    ip(&["-n", inner, "link", "set", "veth0", "up"])
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
