//! What metrics tell of each interface, while it comes, goes and the daemon is started again; and that nothing is missing
//! in the totals.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::metrics;
use tests::support::packet::{Ipv4, ipv4, udp};
use xtask::netns::{Link, Namespace};

use super::CONF;
use super::tagged::transmit;

const BANNED: &str = "198.18.0.7";
const HONEST: &str = "198.18.0.8";

/// Packets of the two sources that an interface has seen.
type Seen = (u64, u64);

/// Packets and bytes by interface and outcome.
type Told = BTreeMap<(String, String), (u64, u64)>;

struct Scene {
    link: Link,
    home: Home,
    inner: Namespace,
}

impl Scene {
    /// Nobody but the test sends to the host.
    fn new() -> Result<Self> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        let inner = link.add_inner()?;
        for namespace in [&link.offender, &inner] {
            namespace.run(|| {
                let write =
                    |of| fs::write(format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6"), "1");
                write("default").and_then(|()| write("all"))
            })??;
        }
        Ok(Self { link, home, inner })
    }

    fn frame(source: &str) -> Result<Vec<u8>> {
        Ok(ipv4(&Ipv4::new(source.parse()?, udp())))
    }

    fn send(from: &Namespace, (banned, honest): Seen) -> Result<()> {
        transmit(from, &Self::frame(BANNED)?, banned)?;
        transmit(from, &Self::frame(HONEST)?, honest)
    }

    /// Metrics come to tell exactly this, also in the sum; `before` is what interfaces have counted that are gone.
    fn are_told(&self, expected: &[(&str, Seen)], before: Seen) -> Result<()> {
        let (banned, honest) = (Self::frame(BANNED)?.len(), Self::frame(HONEST)?.len());
        let mut wanted = Told::new();
        for &(interface, seen) in [("other", (0, 0))].iter().chain(expected) {
            for (outcome, packets, len) in [("banned", seen.0, banned), ("passed", seen.1, honest)]
            {
                let series = (interface.to_owned(), outcome.to_owned());
                wanted.insert(series, (packets, packets * len as u64));
            }
        }
        let sum =
            |of: fn(&Seen) -> u64| of(&before) + expected.iter().map(|(_, it)| of(it)).sum::<u64>();
        let sums = (sum(|it| it.0), sum(|it| it.1));
        let mut found = (Told::new(), (0, 0));
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            let text = metrics::ask(&self.home)?.answer()?;
            found = (by_interface(&text)?, totals(&text)?);
            if found == (wanted.clone(), sums) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        ensure!(found.0 == wanted, "{:?} and not {wanted:?}", found.0);
        ensure!(found.1 == sums, "{:?} in all and not {sums:?}", found.1);
        Ok(())
    }
}

/// What stands in `label="..."`.
fn label<'a>(labels: &'a str, name: &str) -> Result<&'a str> {
    let start = format!("{name}=\"");
    let value = labels
        .split_once(&start)
        .and_then(|(_, rest)| rest.split_once('"'));
    Ok(value.with_context(|| format!("no {name} in {labels}"))?.0)
}

fn series<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    text.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(name)?.split_once(' ')?;
        Some((labels, value.parse().ok()?))
    })
}

fn by_interface(text: &str) -> Result<Told> {
    let mut told = Told::new();
    let key = |labels| -> Result<_> {
        Ok((
            label(labels, "interface")?.to_owned(),
            label(labels, "outcome")?.to_owned(),
        ))
    };
    for (labels, packets) in series(text, "arfw_interface_packets_total") {
        told.entry(key(labels)?).or_default().0 = packets;
    }
    for (labels, bytes) in series(text, "arfw_interface_bytes_total") {
        told.entry(key(labels)?).or_default().1 = bytes;
    }
    Ok(told)
}

/// Packets of all interfaces, dropped and passed.
fn totals(text: &str) -> Result<Seen> {
    let (mut dropped, mut passed) = (0, 0);
    for (labels, packets) in series(text, "arfw_packets_total") {
        match label(labels, "outcome")? {
            "banned" => dropped += packets,
            _ => passed += packets,
        }
    }
    Ok((dropped, passed))
}

fn are_counted_apart(mode: &str) -> Result<()> {
    let scene = Scene::new()?;
    let (link, home) = (&scene.link, &scene.home);
    let arguments = ["--interface", "veth1", "--xdp-mode", mode];
    let mut daemon = home.start(link, &arguments)?;
    home.append(&alert::wazuh(100_100, 10, &["sshd"], BANNED))?;
    daemon.wait_for(" ban ")?;
    scene.are_told(&[("veth0", (0, 0)), ("veth1", (0, 0))], (0, 0))?;
    Scene::send(&link.offender, (20, 30))?;
    Scene::send(&scene.inner, (5, 7))?;
    scene.are_told(&[("veth0", (20, 30)), ("veth1", (5, 7))], (0, 0))?;

    // The totals keep what an interface that is gone has counted, and nobody else is told to have.
    let ip = |words: &str| -> Result<()> {
        let done = std::process::Command::new("ip")
            .args(words.split(' '))
            .status()?;
        ensure!(done.success(), "ip {words}");
        Ok(())
    };
    let (host, inner) = (link.host.name(), scene.inner.name());
    ip(&format!("-n {host} link delete veth1"))?;
    daemon.wait_for("NOT COVERED ANY MORE")?;
    scene.are_told(&[("veth0", (20, 30))], (5, 7))?;
    ip(&format!(
        "-n {host} link add veth1 type veth peer name veth0 netns {inner}"
    ))?;
    ip(&format!("-n {inner} link set veth0 up"))?;
    ip(&format!("-n {host} link set veth1 up"))?;
    daemon.wait_for(" covered ")?;
    scene.are_told(&[("veth0", (20, 30)), ("veth1", (0, 0))], (5, 7))?;
    Scene::send(&scene.inner, (3, 2))?;
    scene.are_told(&[("veth0", (20, 30)), ("veth1", (3, 2))], (5, 7))?;

    daemon.stop(Signal::TERM)?;
    Scene::send(&link.offender, (1, 4))?;
    let mut daemon = home.start(link, &arguments)?;
    scene.are_told(&[("veth0", (21, 34)), ("veth1", (3, 2))], (5, 7))?;
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

#[test]
fn packets_and_bytes_of_each_interface_are_told_in_every_mode() {
    for mode in ["native", "generic", "tcx"] {
        are_counted_apart(mode).unwrap_or_else(|error| panic!("{mode}: {error:#}"));
    }
}
