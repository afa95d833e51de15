//! Clocks that are set and machines that sleep: a ban lasts as long as it was made for.
//!
//! The daemon's clocks are moved by `ARFW_TEST_CLOCKS`, a reboot is another boot identifier in a mount namespace of
//! the daemon's own, and time asleep while no daemon runs is a time namespace's. The machine's clocks stay.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::Ban;
use arfw::control::view::Quiet;
use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use serde_json::Value;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home};
use tests::support::pins;
use xtask::netns::Link;

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
    <timeout>600</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>5710</rules_id>
    <timeout>5</timeout>
  </active-response>
</ossec_config>
";

const BANNED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const SHORT: &str = "203.0.113.5";
const DAY_S: i64 = 86_400;
const SECOND_NS: u64 = 1_000_000_000;

/// How much of its ten minutes a ban may have lost by the end of a test.
const SLACK_S: f64 = 120.0;

struct Scene {
    link: Link,
    home: Home,
    daemon: Daemon,
    others: u8,
}

impl Scene {
    fn new() -> Result<Self> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        fs::write(home.dir().join("clocks"), "0 0")?;
        let daemon = start(&home, &link, &[])?;
        let mut scene = Self {
            link,
            home,
            daemon,
            others: 0,
        };
        scene.alert(5763, &BANNED.to_string(), " ban ")?;
        Ok(scene)
    }

    fn alert(&mut self, rule: u32, address: &str, text: &str) -> Result<String> {
        self.home
            .append(&alert::wazuh(rule, 10, &["sshd"], address))?;
        self.daemon.wait_for(text)
    }

    /// Sets the wall clock so far forward of the machine's, and has it slept so long since its boot, in seconds.
    fn shift(&self, wall_s: i64, slept_s: u64) -> Result<()> {
        let clocks = self.home.dir().join("clocks");
        let new = clocks.with_extension("new");
        fs::write(&new, format!("{wall_s} {slept_s}"))?;
        Ok(fs::rename(new, clocks)?)
    }

    /// Has the running daemon see what [`Scene::shift`] did, as any event does, and gives what it says.
    fn seen(&mut self, text: &str) -> Result<()> {
        self.others += 1;
        let other = format!("203.0.113.{}", 100 + self.others);
        self.home
            .append(&alert::wazuh(5763, 10, &["sshd"], &other))?;
        self.daemon.wait_for(text)?;
        Ok(())
    }

    /// Everything that was learned is on the disk.
    fn is_stored(&self) -> Result<()> {
        let forgiven = self.home.output(&["forgive", "192.0.2.1"])?;
        // It has none; the answer comes when all is stored.
        ensure!(forgiven.status.code() == Some(1), "{forgiven:?}");
        Ok(())
    }

    fn in_kernel(&self) -> Result<Ban> {
        let bans = pins::bans(self.home.pin_dir())?;
        let ban = bans.get(&IpAddr::V4(BANNED));
        ban.copied().context("it is not banned in the kernel")
    }

    /// The ban of ten minutes began during the test, but for so many seconds that are gone of it.
    fn is_banned_but_for(&self, gone_s: f64) -> Result<()> {
        let bans = self.home.bans()?;
        let ban = bans
            .iter()
            .find(|ban| ban.address == BANNED.to_string())
            .with_context(|| format!("it is not banned: {bans:?}"))?;
        let (left, most) = (ban.seconds_left.unwrap_or(f64::INFINITY), 600.0 - gone_s);
        ensure!((most - SLACK_S..=most).contains(&left), "{ban:?}");
        Ok(())
    }

    fn restart(&mut self, by: &[&OsStr]) -> Result<()> {
        self.daemon = start(&self.home, &self.link, by)?;
        Ok(())
    }

    /// What is left of the daemon by power that goes: its store. The next start is in another boot.
    fn reboot(&mut self, boot_id: &str) -> Result<()> {
        self.daemon.crash()?;
        arfw::enforcer::xdp::release(self.home.pin_dir())?;
        let file: PathBuf = self.home.dir().join("boot_id");
        fs::write(&file, boot_id)?;
        let script = "mount --bind \"$1\" /proc/sys/kernel/random/boot_id; shift; exec \"$@\"";
        let by = ["unshare", "--mount", "sh", "-ec", script, "sh"].map(OsStr::new);
        let by: Vec<_> = by.into_iter().chain([file.as_os_str()]).collect();
        self.restart(&by)
    }

    fn end(&mut self) -> Result<()> {
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        Ok(())
    }
}

fn start(home: &Home, link: &Link, by: &[&OsStr]) -> Result<Daemon> {
    let mut clocks = OsStr::new("ARFW_TEST_CLOCKS=").to_owned();
    clocks.push(home.dir().join("clocks"));
    let by: Vec<&OsStr> = ["env".as_ref(), clocks.as_ref()]
        .into_iter()
        .chain(by.iter().copied())
        .collect();
    home.start_by(link, &by, &[])
}

fn near(one_ns: u64, other_ns: u64) -> bool {
    one_ns.abs_diff(other_ns) < SECOND_NS
}

/// AR-TIME-1
#[test]
fn steps_of_the_wall_clock_by_days_change_no_running_ban() -> Result<()> {
    let mut scene = Scene::new()?;
    let end = scene.in_kernel()?.expires_at_ns;
    for (wall_s, told) in [
        (3 * DAY_S, "set forward by 3days"),
        (-4 * DAY_S, "set back by 7days"),
        (400 * DAY_S, "set forward by 1year"),
    ] {
        scene.alert(5710, SHORT, " ban ")?;
        scene.shift(wall_s, 0)?;
        scene.seen(told)?;
        ensure!(scene.in_kernel()?.expires_at_ns == end, "at {wall_s}");
        scene.is_banned_but_for(0.0)?;
        // Nor does one last longer.
        let line = scene.daemon.wait_for(" unban ")?;
        ensure!(line.contains(SHORT), "{line}");
    }
    scene.end()
}

/// AR-TIME-1, AR-IMP-1
#[test]
fn steps_of_the_wall_clock_by_days_while_no_daemon_runs_change_no_ban() -> Result<()> {
    let mut scene = Scene::new()?;
    let end = scene.in_kernel()?.expires_at_ns;
    scene.is_stored()?;
    for wall_s in [3 * DAY_S, -4 * DAY_S, 400 * DAY_S] {
        scene.daemon.crash()?;
        scene.shift(wall_s, 0)?;
        scene.restart(&[])?;
        let found = scene.in_kernel()?.expires_at_ns;
        ensure!(found == end, "at {wall_s}: {found}, was {end}");
        scene.is_banned_but_for(0.0)?;
        scene.daemon.stop(Signal::TERM)?;
        scene.shift(-wall_s, 0)?;
        scene.restart(&[])?;
        ensure!(scene.in_kernel()?.expires_at_ns == end, "at -{wall_s}");
        scene.is_banned_but_for(0.0)?;
        scene.is_stored()?;
    }
    scene.end()
}

/// AR-IMP-1
#[test]
fn a_step_that_was_seen_ends_no_ban_at_a_reboot_and_one_that_was_not_makes_none_longer()
-> Result<()> {
    let mut scene = Scene::new()?;
    scene.shift(3 * DAY_S, 0)?;
    scene.seen("set forward by 3days")?;
    scene.is_stored()?;
    scene.reboot("11111111-1111-1111-1111-111111111111")?;
    scene.is_banned_but_for(0.0)?;
    scene.is_stored()?;
    // The clock's battery is empty: the ban begins in the future, and its end is days away.
    scene.shift(-400 * DAY_S, 0)?;
    scene.reboot("22222222-2222-2222-2222-222222222222")?;
    scene.is_banned_but_for(0.0)?;
    scene.end()
}

impl Scene {
    /// An hour of quiet for an address.
    fn quieten(&self, address: &str) -> Result<()> {
        let output = self.home.output(&["unban", address, "--quiet", "1h"])?;
        let told = String::from_utf8(output.stdout)?;
        ensure!(told.contains("; quiet until "), "{told}");
        Ok(())
    }

    /// Somebody's hour of quiet began during the test.
    fn is_quiet(&self) -> Result<()> {
        let output = self.home.output(&["list", "--quiet", "--json"])?;
        let quiet: Vec<Quiet> = serde_json::from_slice(&output.stdout)?;
        let left = quiet.first().context("nobody is quiet")?.seconds_left;
        ensure!((3600.0 - SLACK_S..=3600.0).contains(&left), "{quiet:?}");
        Ok(())
    }
}

/// As of bans: what was seen and what was not, in one boot and in the next.
#[test]
fn a_quiet_time_lasts_as_long_as_it_was_asked_for_however_the_wall_clock_is_set() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.quieten(SHORT)?;
    scene.shift(3 * DAY_S, 0)?;
    scene.seen("set forward by 3days")?;
    scene.is_quiet()?;
    scene.is_stored()?;
    scene.daemon.crash()?;
    scene.restart(&[])?;
    scene.is_quiet()?;
    scene.daemon.crash()?;
    scene.shift(-4 * DAY_S, 0)?;
    scene.restart(&[])?;
    scene.is_quiet()?;
    scene.is_stored()?;
    scene.reboot("33333333-3333-3333-3333-333333333333")?;
    scene.is_quiet()?;
    scene.alert(5763, SHORT, "no ban: 203.0.113.5 is quiet")?;
    scene.shift(-400 * DAY_S, 0)?;
    scene.reboot("44444444-4444-4444-4444-444444444444")?;
    scene.is_quiet()?;
    scene.end()
}

/// No daemon ran while the quiet time lasted and ended; alerts of both are read by the next one, one of a later time first.
#[test]
fn alerts_of_a_quiet_time_that_are_read_after_it_ban_nobody() -> Result<()> {
    let mut scene = Scene::new()?;
    scene.quieten(SHORT)?;
    scene.daemon.crash()?;
    let hours = |hours: i64| SignedDuration::from_mins(hours * 60 + 5);
    for later in [hours(2), hours(0), hours(0)] {
        let written = Timestamp::now() + later;
        let line = alert::wazuh(5763, 10, &["sshd"], SHORT);
        let mut line: Value = serde_json::from_str(&line)?;
        line["timestamp"] = written
            .strftime("%Y-%m-%dT%H:%M:%S.%3f+0000")
            .to_string()
            .into();
        scene.home.append(&format!("{line}\n"))?;
    }
    scene.shift(0, 3 * 3600)?;
    scene.restart(&[])?;
    for _ in 0..2 {
        scene
            .daemon
            .wait_for("no ban: 203.0.113.5 is quiet until ")?;
    }
    let output = scene.home.output(&["list", "--quiet"])?;
    ensure!(output.stdout == b"nobody is quiet\n", "{output:?}");
    let counts = scene.home.status()?.counts;
    ensure!((counts.refused, counts.late) == (2, 3), "{counts:?}");
    // All is read, so that it is forgotten; only the alert that came after it was an offence.
    scene.daemon.wait_for("quiet no more")?;
    let line = scene.alert(5763, SHORT, " ban ")?;
    ensure!(line.contains("offence=2"), "{line}");
    scene.end()
}

/// AR-TIME-1
#[test]
fn a_ban_goes_on_while_the_machine_sleeps() -> Result<()> {
    let mut scene = Scene::new()?;
    let end = scene.in_kernel()?.expires_at_ns;
    scene.shift(0, 400)?;
    scene.seen("the machine slept for 6m 40s")?;
    let found = scene.in_kernel()?.expires_at_ns;
    ensure!(
        near(found, end - 400 * SECOND_NS),
        "the kernel would hold it until {found}, before the sleep until {end}"
    );
    scene.is_banned_but_for(400.0)?;
    scene.shift(0, 700)?;
    scene.seen(" unban ")?;
    let bans = pins::bans(scene.home.pin_dir())?;
    ensure!(!bans.contains_key(&IpAddr::V4(BANNED)), "it stays");
    scene.end()
}

/// AR-TIME-1, AR-IMP-2
#[test]
fn a_start_makes_up_for_a_sleep_while_no_daemon_ran() -> Result<()> {
    let mut scene = Scene::new()?;
    let end = scene.in_kernel()?.expires_at_ns;
    scene.is_stored()?;
    scene.daemon.crash()?;
    let slept = |seconds| {
        [
            "unshare",
            "--time",
            "--boottime",
            seconds,
            "--fork",
            "--kill-child",
            "--",
        ]
        .map(OsStr::new)
    };
    scene.restart(&slept("400"))?;
    let found = scene.in_kernel()?.expires_at_ns;
    ensure!(
        near(found, end - 400 * SECOND_NS),
        "the kernel holds it until {found}, before the sleep until {end}"
    );
    scene.is_banned_but_for(400.0)?;
    scene.is_stored()?;
    ensure!(scene.home.output(&["stop"])?.status.success());
    scene.restart(&slept("700"))?;
    ensure!(scene.home.bans()?.is_empty(), "{:?}", scene.home.bans());
    scene.end()
}
