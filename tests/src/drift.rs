//! What others change in the pinned maps is noticed and put right, and what was over is swept away.

mod prefixes;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::{AddrV4, Ban, NEVER};
use arfw::control::view;
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Enforcer, Home, PATIENCE};
use tests::support::pins;
use xtask::netns::{HOST_V4, Link};
use xtask::traffic::{Receiver, Sender};

const CONF: &str = "
<ossec_config>
  <global>
    <white_list>198.18.0.99</white_list>
  </global>
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
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>100100</rules_id>
    <timeout>600</timeout>
  </active-response>
</ossec_config>
";

const OFTEN: [&str; 2] = ["--inspect-every", "20ms"];
const OFFENDER: AddrV4 = at(7);

const fn at(last: u8) -> AddrV4 {
    AddrV4 {
        octets: [198, 18, 0, last],
    }
}

/// Entries that others leave.
const LEFTOVERS: u16 = 2_000;

fn leftover(n: u16) -> AddrV4 {
    let [high, low] = n.to_be_bytes();
    AddrV4 {
        octets: [198, 19, high, low],
    }
}

fn text(address: AddrV4) -> String {
    Ipv4Addr::from(address.octets).to_string()
}

/// A daemon that looks often, and that has banned the offender for ten minutes.
struct Scene {
    link: Link,
    home: Home,
    daemon: Daemon,
}

impl Scene {
    fn new() -> Result<Self> {
        let link = Link::new()?;
        let home = Home::new(CONF)?;
        let mut daemon = home.start(&link, &OFTEN)?;
        home.append(&alert::wazuh(100_100, 10, &["sshd"], &text(OFFENDER)))?;
        daemon.wait_for(" ban ")?;
        Ok(Self { link, home, daemon })
    }

    fn entry(&self, address: AddrV4) -> Result<Option<Ban>> {
        let address: IpAddr = address.octets.into();
        Ok(pins::bans(self.home.pin_dir())?.get(&address).copied())
    }

    fn write(&self, address: AddrV4, ban: Ban) -> Result<()> {
        pins::bans_v4(self.home.pin_dir())?.insert(address, ban)
    }

    /// Writes entries that are over and of nobody: more than one step takes, some of them into the overflow.
    fn leave_many(&self) -> Result<u16> {
        let ban = self.entry(OFFENDER)?.context("banned")?;
        let over = Ban {
            expires_at_ns: ban.banned_at_ns,
            ..ban
        };
        let mut bans = pins::bans_v4(self.home.pin_dir())?;
        for n in 0..LEFTOVERS {
            match n % 10 {
                0 => bans.insert_in_overflow(leftover(n), over)?,
                _ => bans.insert(leftover(n), over)?,
            }
        }
        Ok(LEFTOVERS)
    }

    fn only_the_offender_is_left(&self, leftovers: u16) -> Result<()> {
        let pins = self.home.pin_dir();
        let left = pins::bans(pins)?;
        ensure!(left.len() == 1, "{} are left", left.len());
        for n in 0..leftovers {
            ensure!(!pins::has_front_bit(pins, leftover(n))?, "a bit stays");
        }
        ensure!(
            pins::has_front_bit(pins, OFFENDER)?,
            "a standing ban is hidden"
        );
        Ok(())
    }

    fn drift_is(&self, expected: &view::Drift) -> Result<()> {
        until("the drift is counted", || {
            Ok(self.home.status()?.drift == *expected)
        })
        .with_context(|| format!("{:?}", self.home.status().map(|status| status.drift)))
    }

    /// Ends in order, with so much drift and no more.
    fn ends_with(mut self, expected: &view::Drift) -> Result<Vec<String>> {
        self.drift_is(expected)?;
        let said = self.daemon.stop(Signal::TERM)?;
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        Ok(said)
    }
}

fn until(what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is()? {
        ensure!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

#[test]
fn an_entry_that_is_deleted_by_hand_is_put_back_and_drops() {
    let put_back = || -> Result<()> {
        let scene = Scene::new()?;
        let receiver = Receiver::start(&scene.link.host, HOST_V4.into())?;
        pins::bans_v4(scene.home.pin_dir())?.remove(OFFENDER)?;
        let restored = view::Drift {
            restored: 1,
            ..view::Drift::default()
        };
        scene.drift_is(&restored)?;
        let source = OFFENDER.octets.into();
        let every = Duration::from_millis(2);
        let sender = Sender::start(&scene.link.offender, source, receiver.address(), every)?;
        until("the kernel drops", || {
            Ok(scene.entry(OFFENDER)?.is_some_and(|ban| ban.packets > 5))
        })?;
        ensure!(receiver.from(source).is_none(), "packets have arrived");
        sender.stop()?;
        let said = scene.ends_with(&restored)?.join("\n");
        ensure!(said.contains("the entry of a ban was gone"), "{said}");
        Ok(())
    };
    put_back().unwrap();
}

#[test]
fn an_end_that_is_changed_by_hand_is_put_right() {
    let put_right = || -> Result<()> {
        let scene = Scene::new()?;
        let before = scene.entry(OFFENDER)?.context("banned")?;
        let mut corrected = view::Drift::default();
        for expires_at_ns in [NEVER, before.expires_at_ns + 3_600_000_000_000, 1] {
            let ban = Ban {
                expires_at_ns,
                ..before
            };
            scene.write(OFFENDER, ban)?;
            until("the end is put right", || {
                let end = scene.entry(OFFENDER)?.context("banned")?.expires_at_ns;
                Ok(end.abs_diff(before.expires_at_ns) < 1_000_000_000)
            })?;
            corrected.corrected += 1;
            scene.drift_is(&corrected)?;
        }
        let said = scene.ends_with(&corrected)?.join("\n");
        ensure!(said.contains("a ban had another end"), "{said}");
        Ok(())
    };
    put_right().unwrap();
}

/// Without its front bit such an entry does nothing: adopting it sets that too.
#[test]
fn an_entry_that_is_added_by_hand_is_adopted_and_ends_in_time() {
    let adopted = || -> Result<()> {
        let scene = Scene::new()?;
        let stranger = AddrV4 {
            octets: [198, 18, 1, 8],
        };
        let pins = scene.home.pin_dir();
        let model = scene.entry(OFFENDER)?.context("banned")?;
        // Six seconds instead of ten minutes.
        let ban = Ban {
            expires_at_ns: model.banned_at_ns + 6_000_000_000,
            ..model
        };
        ensure!(!pins::has_front_bit(pins, stranger)?, "a bit before");
        scene.write(stranger, ban)?;
        let adopted = view::Drift {
            adopted: 1,
            ..view::Drift::default()
        };
        scene.drift_is(&adopted)?;
        ensure!(pins::has_front_bit(pins, stranger)?, "the bit is missing");
        let bans = scene.home.bans()?;
        let listed = bans.iter().find(|ban| ban.address == text(stranger));
        let left = listed.context("not listed")?.seconds_left;
        ensure!(left.is_some_and(|left| left <= 6.0), "{left:?}");
        until("it ends", || Ok(scene.entry(stranger)?.is_none()))?;
        ensure!(!pins::has_front_bit(pins, stranger)?, "the bit stays");
        ensure!(scene.entry(OFFENDER)?.is_some(), "the other stands");
        scene.ends_with(&adopted)?;
        Ok(())
    };
    adopted().unwrap();
}

#[test]
fn an_entry_of_a_white_listed_address_is_removed() {
    let removed = || -> Result<()> {
        let scene = Scene::new()?;
        let ban = scene.entry(OFFENDER)?.context("banned")?;
        scene.write(at(99), ban)?;
        until("it is gone", || Ok(scene.entry(at(99))?.is_none()))?;
        let refused = view::Drift {
            refused: 1,
            ..view::Drift::default()
        };
        let said = scene.ends_with(&refused)?.join("\n");
        ensure!(said.contains("an unknown ban was removed"), "{said}");
        Ok(())
    };
    removed().unwrap();
}

/// A store that is lost takes with it who was banned: nobody but the map knows the entries.
#[test]
fn what_was_over_before_the_start_is_freed_by_it() {
    let freed = || -> Result<()> {
        let mut scene = Scene::new()?;
        scene.daemon.crash()?;
        let many = scene.leave_many()?;
        fs::remove_dir_all(scene.home.state_dir())?;
        scene.daemon = scene.home.start(&scene.link, &OFTEN)?;
        scene.only_the_offender_is_left(many)?;
        scene.ends_with(&view::Drift::default())?;
        Ok(())
    };
    freed().unwrap();
}

#[test]
fn what_others_write_that_is_over_is_swept_away() {
    let swept = || -> Result<()> {
        let scene = Scene::new()?;
        let many = scene.leave_many()?;
        let swept = view::Drift {
            swept: many.into(),
            ..view::Drift::default()
        };
        scene.drift_is(&swept)?;
        scene.only_the_offender_is_left(many)?;
        scene.ends_with(&swept)?;
        Ok(())
    };
    swept().unwrap();
}

#[test]
fn what_the_daemon_does_itself_is_no_drift() {
    is_no_drift(Enforcer::Native).unwrap();
}

#[test]
fn what_the_daemon_does_itself_in_nftables_is_no_drift() {
    is_no_drift(Enforcer::Nftables).unwrap();
}

fn is_no_drift(enforcer: Enforcer) -> Result<()> {
    let link = Link::new()?;
    let home = Home::new(CONF)?;
    let often = [enforcer.flags(), &["--inspect-every", "1ms"]].concat();
    let mut daemon = home.start(&link, &often)?;
    let mut made = 0;
    for round in 1..=4_u8 {
        for last in 0..=250_u8 {
            let address = Ipv4Addr::new(198, 19, round, last).to_string();
            home.append(&alert::wazuh(5763, 10, &["sshd"], &address))?;
            made += 1;
        }
    }
    until(
        "all have ended",
        || Ok(home.status()?.counts.unbans == made),
    )?;
    for last in 0..=99_u8 {
        let address = Ipv4Addr::new(198, 19, 9, last).to_string();
        for order in [&["ban", &address, "--for", "10m"][..], &["unban", &address]] {
            let output = home.output(order)?;
            ensure!(output.status.success(), "{output:?}");
        }
        made += 1;
    }
    let status = home.status()?;
    ensure!(status.counts.bans == made, "{:?}", status.counts);
    ensure!(status.drift == view::Drift::default(), "{:?}", status.drift);
    daemon.stop(Signal::TERM)?;
    Ok(())
}
