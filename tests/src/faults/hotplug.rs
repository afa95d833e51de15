//! Interfaces that come, go and change their names while the daemon runs: the first packet of one is dropped already.
//!
//! A banned host sends without a break at the interface that was there from the start: nothing of it passes meanwhile.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use arfw::control::view::Interface;
use aya::programs::links::{FdLink, PinnedLink};
use rustix::process::{Signal, kill_process};
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, PATIENCE};
use tests::support::pins::{self, Pinned, Traces};
use xtask::netns::{HOST_V4, INNER_V4, INTERFACE, Link, Namespace};
use xtask::traffic::{Receiver, Sender};

use super::CONF;
use super::stream::Stream;

/// The host's address at the interface that comes and goes.
const SECOND_V4: &str = "198.19.1.1";

const EVERY: Duration = Duration::from_millis(1);

const HOT: [&str; 4] = ["--interface", "hot*", "--exclude-interface", "*x"];

/// Two banned hosts: one at the interface that stays, one behind an interface that does not.
struct Scene {
    link: Link,
    inner: Namespace,
    home: Home,
    daemon: Daemon,
    stream: Stream,
}

impl Scene {
    /// Nothing is there yet but the interface that stays.
    fn new(start: impl FnOnce(&Home, &Link) -> Result<Daemon>) -> Result<Self> {
        let link = Link::new()?;
        let inner = link.add_inner()?;
        ip(&["-n", link.host.name(), "link", "delete", "veth1"])?;
        let home = Home::new(CONF)?;
        let mut daemon = start(&home, &link)?;
        let mut stream = Stream::start(&link)?;
        for address in [Stream::offender(), INNER_V4.into()] {
            home.append(&alert::wazuh(5763, 10, &["sshd"], &address.to_string()))?;
            daemon.wait_for(" ban ")?;
        }
        stream.is_banned(&home)?;
        Ok(Self {
            link,
            inner,
            home,
            daemon,
            stream,
        })
    }

    /// An interface appears, with an address and down; what is behind it is up.
    fn add(&self, name: &str) -> Result<()> {
        self.add_pair(name)?;
        self.furnish(name)
    }

    fn furnish(&self, name: &str) -> Result<()> {
        self.host(&["addr", "add", &format!("{SECOND_V4}/24"), "dev", name])?;
        let inner = self.inner.name();
        let address = format!("{INNER_V4}/24");
        ip(&["-n", inner, "addr", "add", &address, "dev", "veth0"])?;
        ip(&["-n", inner, "link", "set", "veth0", "up"])?;
        ip(&["-n", inner, "route", "add", "default", "via", SECOND_V4])
    }

    fn add_pair(&self, name: &str) -> Result<()> {
        let (host, inner) = (self.link.host.name(), self.inner.name());
        let pair = [
            "link", "add", name, "netns", host, "type", "veth", "peer", "name", "veth0", "netns",
            inner,
        ];
        ip(&pair)
    }

    /// `ip` in the host's namespace.
    fn host(&self, arguments: &[&str]) -> Result<()> {
        ip(&[&["-n", self.link.host.name()], arguments].concat())
    }

    fn interface(&self, name: &str) -> Result<Option<Interface>> {
        let mut interfaces = self.home.status()?.interfaces.into_iter();
        Ok(interfaces.find(|interface| interface.name == name))
    }

    /// Waits until `arfw status` tells of the interface what is expected.
    fn wait(&self, name: &str, is: impl Fn(Option<&Interface>) -> bool) -> Result<()> {
        for _ in 0..PATIENCE.as_millis() / 10 {
            if is(self.interface(name)?.as_ref()) {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        bail!(
            "`{name}` stands otherwise: {:?}",
            self.home.status()?.interfaces
        )
    }

    fn wait_until_covered(&self, name: &str) -> Result<()> {
        let is_covered = |it: &Interface| it.mode == "native" && it.since.is_some();
        self.wait(name, |interface| interface.is_some_and(is_covered))
    }

    fn wait_until_let_go(&self, name: &str) -> Result<()> {
        self.wait(name, |interface| interface.is_none())
    }

    fn dropped_behind(&self) -> Result<u64> {
        let bans = pins::bans(self.home.pin_dir())?;
        let ban = bans.get(&IpAddr::from(INNER_V4));
        Ok(ban.context("the host behind is banned")?.packets)
    }

    /// The host behind sends, then the interface comes up: the kernel drops, and nothing arrives.
    fn is_covered_from_the_first_packet(&self, name: &str) -> Result<()> {
        let before = self.dropped_behind()?;
        let receiver = Receiver::start(&self.link.host, HOST_V4.into())?;
        let sender = Sender::start(&self.inner, INNER_V4.into(), receiver.address(), EVERY)?;
        self.host(&["link", "set", name, "up"])?;
        for _ in 0..PATIENCE.as_millis() {
            if self.dropped_behind()? > before + 20 {
                sender.stop()?;
                let arrived = receiver.from(INNER_V4.into());
                ensure!(arrived.is_none(), "passed at `{name}`: {arrived:?}");
                return Ok(());
            }
            std::thread::park_timeout(EVERY);
        }
        bail!("nothing is dropped at `{name}`")
    }

    /// What the host behind sends arrives: the way is open, and nobody drops there.
    fn is_open(&self, name: &str) -> Result<()> {
        self.host(&["link", "set", name, "up"])?;
        let receiver = Receiver::start(&self.link.host, HOST_V4.into())?;
        let _sender = Sender::start(&self.inner, INNER_V4.into(), receiver.address(), EVERY)?;
        let arrives = receiver.wait_until(INNER_V4.into(), PATIENCE, |arrived| arrived.is_some());
        ensure!(arrives, "nothing arrives at `{name}`");
        Ok(())
    }

    /// Not one packet has passed at the interface that stays.
    fn the_other_stayed_covered(&mut self) -> Result<()> {
        let passed = self.stream.passed()?;
        ensure!(passed == 0, "{passed} packets passed at `{INTERFACE}`");
        let interface = self.interface(INTERFACE)?.context("it is told")?;
        ensure!(interface.mode == "native", "{interface:?}");
        Ok(())
    }

    /// Stops with everyone let go: nothing is left.
    fn end(mut self) -> Result<()> {
        self.the_other_stayed_covered()?;
        let traces = Traces::of(self.home.pin_dir())?;
        self.daemon.stop(Signal::TERM)?;
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        ensure!(!self.home.pin_dir().exists(), "pins are left");
        traces.are_gone()
    }

    /// The kernel's numbers of the links of this daemon.
    fn links(&self) -> Result<Vec<u32>> {
        Ok(Pinned::read(self.home.pin_dir())?
            .links
            .into_values()
            .collect())
    }
}

fn with_patterns(home: &Home, link: &Link) -> Result<Daemon> {
    home.start(link, &HOT)
}

#[test]
fn the_first_packet_of_an_interface_that_comes_is_dropped() -> Result<()> {
    let mut scene = Scene::new(with_patterns)?;
    ensure!(
        scene.home.status()?.interfaces.len() == 1,
        "only one is there"
    );
    scene.add("hot0")?;
    scene.wait_until_covered("hot0")?;
    scene.is_covered_from_the_first_packet("hot0")?;
    scene.the_other_stayed_covered()?;
    // It was dropped, and not lost for another cause.
    let unban = scene.home.output(&["unban", &INNER_V4.to_string()])?;
    ensure!(unban.status.success());
    scene.is_open("hot0")?;
    scene.end()
}

#[test]
fn an_interface_that_goes_is_let_go_and_covered_when_it_is_back() -> Result<()> {
    let mut scene = Scene::new(with_patterns)?;
    for _ in 0..3 {
        let start = Instant::now();
        scene.add_pair("hot0")?;
        while scene.links()?.len() < 2 {
            ensure!(start.elapsed() < PATIENCE, "not covered");
        }
        println!("covered {:?} after `ip` was called", start.elapsed());
        scene.furnish("hot0")?;
        scene.wait_until_covered("hot0")?;
        scene.is_covered_from_the_first_packet("hot0")?;
        let links = scene.links()?;
        ensure!(links.len() == 2, "{links:?}");
        scene.host(&["link", "delete", "hot0"])?;
        scene.wait_until_let_go("hot0")?;
        let left = scene.links()?;
        ensure!(
            left.len() == 1 && links.contains(&left[0]),
            "{links:?} became {left:?}"
        );
        scene.the_other_stayed_covered()?;
    }
    scene.end()
}

/// The daemon stands still in between: it sees an interface of that name and number before, and one after.
#[test]
fn an_interface_that_goes_and_is_back_at_once_is_covered() -> Result<()> {
    let scene = Scene::new(with_patterns)?;
    scene.add("hot0")?;
    scene.wait_until_covered("hot0")?;
    let index = || -> Result<String> {
        let shown = output(&["-n", scene.link.host.name(), "-o", "link", "show", "hot0"])?;
        Ok(shown.split(':').next().context("an index")?.to_owned())
    };
    let first = index()?;
    let (host, inner) = (scene.link.host.name(), scene.inner.name());
    kill_process(scene.daemon.pid(), Signal::STOP)?;
    // Under its name and its number, so that nothing but the link tells the two apart.
    let again = format!(
        "link delete hot0\nlink add hot0 index {first} type veth peer name veth0 netns {inner}\n"
    );
    let made = batch(host, &again);
    kill_process(scene.daemon.pid(), Signal::CONT)?;
    made?;
    ensure!(index()? == first, "another number");
    scene.furnish("hot0")?;
    for _ in 0..PATIENCE.as_millis() {
        if output(&["-n", host, "link", "show", "hot0"])?.contains("prog/xdp") {
            break;
        }
    }
    scene.is_covered_from_the_first_packet("hot0")?;
    scene.end()
}

#[test]
fn an_interface_is_followed_into_and_out_of_the_patterns() -> Result<()> {
    let mut scene = Scene::new(with_patterns)?;
    scene.add("cold0")?;
    scene.is_open("cold0")?;
    let rename = |scene: &Scene, old: &str, new: &str| {
        scene.host(&["link", "set", old, "down"])?;
        scene.host(&["link", "set", old, "name", new])
    };
    rename(&scene, "cold0", "hot0")?;
    scene.wait_until_covered("hot0")?;
    scene.is_covered_from_the_first_packet("hot0")?;
    let links = scene.links()?;
    rename(&scene, "hot0", "hot1")?;
    scene.wait_until_covered("hot1")?;
    scene.wait_until_let_go("hot0")?;
    ensure!(scene.links()? == links, "the link was made anew");
    scene.is_covered_from_the_first_packet("hot1")?;
    rename(&scene, "hot1", "hot1x")?;
    scene.wait_until_let_go("hot1")?;
    ensure!(scene.interface("hot1x")?.is_none(), "it is left out");
    ensure!(scene.links()?.len() == 1, "a link is left");
    scene.is_open("hot1x")?;
    scene.the_other_stayed_covered()?;
    rename(&scene, "hot1x", "hot2")?;
    scene.wait_until_covered("hot2")?;
    scene.is_covered_from_the_first_packet("hot2")?;
    scene.end()
}

#[test]
fn an_interface_that_is_left_out_is_not_touched() -> Result<()> {
    let scene = Scene::new(with_patterns)?;
    scene.add("hot0x")?;
    scene.host(&[
        "link", "add", "hot1", "type", "veth", "peer", "name", "cold1",
    ])?;
    // It came later, so the other one has been seen.
    scene.wait("hot1", |interface| {
        interface.is_some_and(|it| it.mode != "none")
    })?;
    ensure!(scene.interface("hot0x")?.is_none(), "it is left out");
    scene.is_open("hot0x")?;
    scene.end()
}

#[test]
fn an_interface_that_moves_to_another_namespace_is_let_go() -> Result<()> {
    let scene = Scene::new(with_patterns)?;
    scene.add("hot0")?;
    scene.wait_until_covered("hot0")?;
    let inner = scene.inner.name();
    scene.host(&["link", "set", "hot0", "netns", inner])?;
    scene.wait_until_let_go("hot0")?;
    let shown = output(&["-n", inner, "link", "show", "hot0"])?;
    ensure!(!shown.contains("prog/xdp"), "{shown}");
    ensure!(scene.links()?.len() == 1, "a link is left");
    scene.end()
}

/// Of what is there at the start and what comes, up or not, only loopback is left alone.
#[test]
fn all_interfaces_are_covered_before_they_are_up() -> Result<()> {
    let started = |home: &Home, link: &Link| {
        ip(&[
            "-n",
            link.host.name(),
            "link",
            "add",
            "down0",
            "type",
            "veth",
            "peer",
            "name",
            "down1",
        ])?;
        home.start_on(link, &[])
    };
    let scene = Scene::new(started)?;
    let names = || -> Result<Vec<String>> {
        let interfaces = scene.home.status()?.interfaces;
        let covered = interfaces.into_iter().filter(|it| it.mode != "none");
        Ok(covered.map(|it| it.name).collect())
    };
    let mut at_start = names()?;
    at_start.sort();
    ensure!(at_start == ["down0", "down1", INTERFACE], "{at_start:?}");
    scene.add("any0")?;
    scene.wait_until_covered("any0")?;
    scene.is_covered_from_the_first_packet("any0")?;
    ensure!(names()?.len() == 4, "{:?}", names()?);
    scene.end()
}

/// The programs at the XDP hooks read an Ethernet header, which the frames of such an interface do not have.
#[test]
fn an_interface_without_ethernet_is_covered_at_the_tcx_hook() -> Result<()> {
    let scene = Scene::new(with_patterns)?;
    scene.host(&["tuntap", "add", "dev", "hot0", "mode", "tun"])?;
    scene.host(&["tuntap", "add", "dev", "hot1", "mode", "tap"])?;
    for (name, expected) in [("hot0", "tcx"), ("hot1", "native")] {
        scene.wait(name, |interface| {
            interface.is_some_and(|it| it.mode == expected)
        })?;
    }
    let why = scene.interface("hot0")?.context("it is told")?.why;
    ensure!(why.contains("no Ethernet header"), "{why}");
    scene.end()
}

/// More than are covered in one go.
#[test]
fn many_interfaces_come_and_go_at_once() -> Result<()> {
    const PAIRS: usize = 12;
    let mut scene = Scene::new(with_patterns)?;
    let pairs = (0..PAIRS).map(|n| format!("link add hot{n} type veth peer name hotter{n}\n"));
    batch(scene.link.host.name(), &pairs.collect::<String>())?;
    let count = |scene: &Scene, expected: usize| -> Result<()> {
        for _ in 0..PATIENCE.as_millis() / 10 {
            let interfaces = scene.home.status()?.interfaces;
            let covered = interfaces.iter().filter(|it| it.mode == "native").count();
            if covered == expected && interfaces.len() == expected {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        bail!("not {expected}: {:?}", scene.home.status()?.interfaces)
    };
    count(&scene, 2 * PAIRS + 1)?;
    ensure!(scene.links()?.len() == 2 * PAIRS + 1, "a link for each");
    let pairs = (0..PAIRS).map(|n| format!("link delete hot{n}\n"));
    batch(scene.link.host.name(), &pairs.collect::<String>())?;
    count(&scene, 1)?;
    ensure!(scene.links()?.len() == 1, "a link is left");
    scene.the_other_stayed_covered()?;
    scene.end()
}

/// Somebody takes the program off: it is told, and covered again.
#[test]
fn an_interface_whose_program_is_taken_off_is_covered_again() -> Result<()> {
    let mut scene = Scene::new(with_patterns)?;
    let first = Pinned::read(scene.home.pin_dir())?.links;
    scene.add("hot0")?;
    scene.wait_until_covered("hot0")?;
    let before = Pinned::read(scene.home.pin_dir())?.links;
    let mut pins = before.keys().filter(|name| !first.contains_key(*name));
    let pin = scene.home.pin_dir().join(pins.next().context("a link")?);
    // The link itself must not be held.
    let id = FdLink::from(PinnedLink::from_pin(pin)?).info()?.id();
    let detached = Command::new("bpftool")
        .args(["link", "detach", "id", &id.to_string()])
        .output();
    let Ok(detached) = detached else {
        bail!("`bpftool` is not there");
    };
    ensure!(detached.status.success(), "{detached:?}");
    scene.daemon.wait_for("NOT COVERED ANY MORE")?;
    scene.daemon.wait_for("covered")?;
    let after = Pinned::read(scene.home.pin_dir())?.links;
    ensure!(
        after.len() == 2 && after != before,
        "{before:?} became {after:?}"
    );
    scene.end()
}

fn ip(arguments: &[&str]) -> Result<()> {
    output(arguments).map(drop)
}

fn output(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).output()?;
    ensure!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// Lines of `ip` in one process, so that little time is in between.
fn batch(namespace: &str, lines: &str) -> Result<()> {
    use std::io::Write as _;
    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("it is piped")?;
    stdin.write_all(lines.as_bytes())?;
    drop(stdin);
    ensure!(child.wait()?.success(), "ip failed at {lines}");
    Ok(())
}
