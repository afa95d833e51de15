//! Real packets against the real binary: bans begin, end, grow, and touch nobody else.

mod connections;
mod forwarded;
mod operate;
mod prefixes;
mod tagged;

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, PATIENCE};
use xtask::netns::{HOST_V4, HOST_V6, Link, offender_v4, offender_v6};
use xtask::traffic::{Receiver, Sender};

/// Two seconds, then one minute: long enough to see, short enough to wait for.
const CONF: &str = "
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>5763</rules_id>
    <timeout>2</timeout>
    <repeated_offenders>1</repeated_offenders>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>100100</rules_id>
    <timeout>600</timeout>
  </active-response>
</ossec_config>
";

const EVERY: Duration = Duration::from_millis(2);

/// One offender's and one neighbour's packets to the host.
struct Scene {
    link: Link,
    home: Home,
    daemon: Daemon,
    receiver: Receiver,
    offender: IpAddr,
    neighbour: IpAddr,
    senders: [Sender; 2],
}

impl Scene {
    fn new(v6: bool, arguments: &[&str]) -> Result<Self> {
        let link = Link::new()?;
        let host: IpAddr = if v6 { HOST_V6.into() } else { HOST_V4.into() };
        let receiver = Receiver::start(&link.host, host)?;
        Self::with(link, receiver, v6, arguments)
    }

    /// The two send to `receiver`, wherever that is.
    fn with(link: Link, receiver: Receiver, v6: bool, arguments: &[&str]) -> Result<Self> {
        let home = Home::new(CONF)?;
        let daemon = home.start(&link, arguments)?;
        let address = if v6 { offender_v6 } else { offender_v4 };
        // Of IPv4, neighbours in one /24: the front bitmap has one bit for both.
        let (offender, neighbour) = (address(7), address(8));
        let send = |source| Sender::start(&link.offender, source, receiver.address(), EVERY);
        let senders = [send(offender)?, send(neighbour)?];
        let scene = Self {
            link,
            home,
            daemon,
            receiver,
            offender,
            neighbour,
            senders,
        };
        scene.arrives(scene.offender)?;
        scene.arrives(scene.neighbour)?;
        Ok(scene)
    }

    fn alert(&self, rule: u32) -> Result<()> {
        self.home.append(&alert::wazuh(
            rule,
            10,
            &["sshd"],
            &self.offender.to_string(),
        ))
    }

    /// Something that is sent from here on arrives.
    fn arrives(&self, source: IpAddr) -> Result<()> {
        let before = self.count(source);
        let more = |arrivals: Option<xtask::traffic::Arrivals>| {
            arrivals.is_some_and(|arrivals| arrivals.count > before + 2)
        };
        ensure!(
            self.receiver.wait_until(source, PATIENCE, more),
            "nothing arrives from {source}"
        );
        Ok(())
    }

    fn count(&self, source: IpAddr) -> u64 {
        self.receiver
            .from(source)
            .map_or(0, |arrivals| arrivals.count)
    }

    /// Waits until the kernel has dropped `packets` of the offender's, and makes sure that none arrived meanwhile.
    fn is_dropped(&self, packets: u64) -> Result<()> {
        let mut arrived = None;
        for _ in 0..2_000 {
            let bans = self.home.bans()?;
            let ban = bans
                .iter()
                .find(|ban| ban.address == self.offender.to_string());
            let count = self.count(self.offender);
            match (ban, arrived) {
                // A packet may be under way from the kernel to the receiver when the ban begins.
                (Some(ban), None) if ban.packets > 0 => arrived = Some(count),
                (Some(ban), Some(before)) if ban.packets >= packets => {
                    ensure!(
                        count <= before + 1,
                        "{} arrived during the ban",
                        count - before
                    );
                    return Ok(());
                }
                _ => std::thread::park_timeout(EVERY),
            }
        }
        anyhow::bail!("the kernel did not drop {packets} packets")
    }

    /// Stops the daemon in order, lets `meanwhile` happen, and starts another.
    fn restart(&mut self, meanwhile: impl FnOnce(&Home) -> Result<()>) -> Result<()> {
        self.daemon.stop(Signal::INT)?;
        meanwhile(&self.home)?;
        self.daemon = self.home.start(&self.link, &[])?;
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        for sender in self.senders {
            sender.stop()?;
        }
        self.daemon.stop(Signal::TERM)?;
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        ensure!(!self.home.pin_dir().exists(), "pins are left");
        Ok(())
    }
}

fn ban_unban_and_escalation(v6: bool, arguments: &[&str]) -> Result<()> {
    let mut scene = Scene::new(v6, arguments)?;
    scene.alert(5763)?;
    let line = scene.daemon.wait_for(" ban ")?;
    ensure!(
        line.contains(&scene.offender.to_string()) && line.contains("rule=5763"),
        "{line}"
    );
    scene.is_dropped(50)?;
    scene.arrives(scene.neighbour)?;
    let before = scene.count(scene.offender);
    scene.daemon.wait_for(" unban ")?;
    scene.arrives(scene.offender)?;
    ensure!(
        scene.count(scene.offender) > before,
        "the first packet after the ban"
    );

    scene.alert(5763)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped(50)?;
    let [ban] = &scene.home.bans()?[..] else {
        anyhow::bail!("expected one ban");
    };
    let left = ban.seconds_left.unwrap_or(f64::INFINITY);
    ensure!(
        (50.0..=60.0).contains(&left),
        "the second offence is banned for {left} s"
    );
    ensure!(ban.by[0].offences == 2, "{ban:?}");
    scene.arrives(scene.neighbour)?;
    scene.end()
}

#[test]
fn an_ipv4_offender_is_dropped_let_go_and_then_dropped_longer() {
    ban_unban_and_escalation(false, &[]).unwrap();
}

#[test]
fn an_ipv6_offender_is_dropped_let_go_and_then_dropped_longer() {
    ban_unban_and_escalation(true, &[]).unwrap();
}

#[test]
fn generic_mode_does_the_same() {
    ban_unban_and_escalation(false, &["--xdp-mode", "generic"]).unwrap();
}

#[test]
fn tcx_mode_does_the_same() {
    ban_unban_and_escalation(false, &["--xdp-mode", "tcx"]).unwrap();
    ban_unban_and_escalation(true, &["--xdp-mode", "tcx"]).unwrap();
}

/// The daemon is not needed for a ban to end: the kernel obeys the expiry by itself.
#[test]
fn a_ban_ends_in_time_although_the_daemon_was_killed() {
    let killed = || -> Result<()> {
        let mut scene = Scene::new(false, &[])?;
        scene.alert(5763)?;
        scene.daemon.wait_for(" ban ")?;
        scene.is_dropped(5)?;
        scene.daemon.crash()?;
        let [ban] = &scene.home.bans()?[..] else {
            anyhow::bail!("expected the ban to be read from the kernel");
        };
        ensure!(
            ban.address == scene.offender.to_string() && ban.by.is_empty(),
            "{ban:?}"
        );
        scene.arrives(scene.offender)?;
        for sender in scene.senders {
            sender.stop()?;
        }
        ensure!(scene.home.output(&["stop", "--release"])?.status.success());
        ensure!(!scene.home.pin_dir().exists(), "pins are left");
        Ok(())
    };
    killed().unwrap();
}

/// After a reboot the kernel knows nothing, and the store everything (AR-IMP-1, AR-IMP-2).
#[test]
fn bans_and_counters_come_back_after_a_reboot() {
    let rebooted = || -> Result<()> {
        let mut scene = Scene::new(false, &[])?;
        scene.alert(100_100)?;
        scene.daemon.wait_for(" ban ")?;
        scene.restart(|home| arfw::enforcer::xdp::release(home.pin_dir()))?;
        scene.is_dropped(5)?;
        scene.alert(5763)?;
        scene.daemon.wait_for(" moved the end of the ban")?;
        let [ban] = &scene.home.bans()?[..] else {
            anyhow::bail!("expected one ban");
        };
        let left = ban.seconds_left.unwrap_or(f64::INFINITY);
        ensure!(
            ban.by[0].offences == 2 && (50.0..=60.0).contains(&left),
            "{ban:?}"
        );
        scene.end()
    };
    rebooted().unwrap();
}

/// What was let go stays free, also after the next start; counters stay (AR-TIME-8).
#[test]
fn a_stop_with_release_lets_everyone_go_for_good() {
    let released = || -> Result<()> {
        let mut scene = Scene::new(false, &[])?;
        scene.alert(100_100)?;
        scene.daemon.wait_for(" ban ")?;
        ensure!(scene.home.output(&["stop", "--release"])?.status.success());
        ensure!(!scene.home.pin_dir().exists(), "pins are left");
        scene.arrives(scene.offender)?;
        scene.daemon = scene.home.start(&scene.link, &[])?;
        ensure!(scene.home.bans()?.is_empty(), "the ban came back");
        scene.alert(5763)?;
        let line = scene.daemon.wait_for(" ban ")?;
        ensure!(line.contains("offence=2"), "{line}");
        scene.end()
    };
    released().unwrap();
}
