//! Not one packet of a banned host passes while one daemon follows another, be it of the same version or not.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use arfw::enforcer::xdp::OBJECT;
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, binary};
use tests::support::fault::{self, Tally};
use tests::support::pins::Pinned;
use xtask::netns::Link;

use super::Dice;
use super::stream::{Stream, the_ban};

/// Long enough that nothing ends during the test.
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
    <rules_id>100100</rules_id>
    <timeout>3600</timeout>
  </active-response>
</ossec_config>
";

/// A daemon that has banned the host which sends.
struct Scene {
    link: Link,
    home: Home,
    arguments: &'static [&'static str],
    daemon: Daemon,
    stream: Stream,
}

impl Scene {
    /// Every daemon is started with `arguments`.
    fn new(arguments: &'static [&'static str]) -> Result<Self> {
        let link = Link::new()?;
        let home = Home::new(CONF)?;
        let mut daemon = home.start(&link, arguments)?;
        let mut stream = Stream::start(&link)?;
        let offender = Stream::offender().to_string();
        home.append(&alert::wazuh(100_100, 10, &["sshd"], &offender))?;
        daemon.wait_for(" ban ")?;
        stream.is_banned(&home)?;
        Ok(Self {
            link,
            home,
            arguments,
            daemon,
            stream,
        })
    }

    /// One daemon ends and the next one starts; tells what passed meanwhile.
    fn follow(&mut self, tally: &mut Tally, how: &str, kill: bool) -> Result<()> {
        let before = self.stream.sent();
        if kill {
            self.daemon.crash()?;
        } else {
            self.daemon.stop(Signal::TERM)?;
        }
        self.daemon = self.home.start(&self.link, self.arguments)?;
        tally.tried();
        let passed = self.stream.passed()?;
        let sent = self.stream.sent() - before;
        tally.lost(passed, format!("{passed} of {sent} packets passed {how}"));
        let ban = the_ban(&self.home)?;
        let is_the_same = ban.rule_id == 100_100
            && ban.by[0].offences == 1
            && ban.by[0].response == Some(0)
            && ban
                .seconds_left
                .is_some_and(|left| (3000.0..=3600.0).contains(&left));
        tally.wrong((!is_the_same).into(), format!("{how} the ban is {ban:?}"));
        Ok(())
    }

    fn end(self, tally: Tally) -> Result<()> {
        let Self {
            home,
            mut daemon,
            stream,
            ..
        } = self;
        stream.end(&home)?;
        daemon.stop(Signal::TERM)?;
        ensure!(home.output(&["stop", "--release"])?.status.success());
        ensure!(!home.pin_dir().exists(), "pins are left");
        tally.end()
    }
}

/// A restart opens no gap: the links stay, the new daemon adopts them and the ban.
#[test]
fn a_ban_stands_through_a_stop_and_a_start() -> Result<()> {
    let mut tally = Tally::of("a stop and a start under a banned host's packets");
    let mut scene = Scene::new(&[])?;
    let first = Pinned::read(scene.home.pin_dir())?;
    for _ in 0..fault::times(5, 100) {
        scene.follow(&mut tally, "during a stop and a start", false)?;
    }
    is_taken_over(&first, &Pinned::read(scene.home.pin_dir())?, true)?;
    scene.end(tally)
}

/// The same when nothing is told to the daemon before.
#[test]
fn a_ban_stands_through_a_crash_and_a_start() -> Result<()> {
    let mut tally = Tally::of("a crash and a start under a banned host's packets");
    let mut scene = Scene::new(&[])?;
    for _ in 0..fault::times(5, 100) {
        scene.follow(&mut tally, "during a crash and a start", true)?;
    }
    scene.end(tally)
}

/// Nor does a start that is killed, however far it came.
#[test]
fn a_ban_stands_through_starts_that_are_killed() -> Result<()> {
    let mut tally = Tally::of("killed while it starts under a banned host's packets");
    let mut scene = Scene::new(&[])?;
    scene.daemon.crash()?;
    let begun = Instant::now();
    scene.home.start(&scene.link, &[])?.crash()?;
    let whole = begun.elapsed();
    let mut dice = Dice(5);
    for round in 0..fault::times(8, 200) {
        let before = Pinned::read(scene.home.pin_dir())?;
        let begun = Instant::now();
        let after = whole * u32::try_from(dice.roll(100))? / 100;
        scene.home.kill_start(&scene.link, || {
            // At any time, or as soon as its program is in the place of the one before.
            if round % 2 == 0 {
                return begun.elapsed() >= after;
            }
            let now = Pinned::read(scene.home.pin_dir());
            now.is_ok_and(|now| now.programs != before.programs)
        })?;
        tally.tried();
        let passed = scene.stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed in round {round}"));
        let now = Pinned::read(scene.home.pin_dir())?;
        ensure!(
            before.maps == now.maps && before.links == now.links,
            "not the same maps and links: {before:?} and {now:?}"
        );
        ensure!(
            round % 2 == 0 || before.programs != now.programs,
            "the program was not replaced"
        );
    }
    scene.daemon = scene.home.start(&scene.link, &[])?;
    scene.follow(&mut tally, "afterwards", false)?;
    scene.end(tally)
}

/// The same where the driver does not run the program.
#[test]
fn a_ban_stands_through_stops_and_crashes_in_generic_mode() -> Result<()> {
    let mut tally = Tally::of("a stop or a crash and a start in generic mode");
    let mut scene = Scene::new(&["--xdp-mode", "generic"])?;
    for round in 0..fault::times(4, 100) {
        scene.follow(&mut tally, "in generic mode", round % 2 == 0)?;
    }
    scene.end(tally)
}

/// Another version's program is put in the place of the one that runs: same links, same maps, no gap.
#[test]
fn an_upgrade_replaces_the_program_in_place() -> Result<()> {
    let mut tally = Tally::of("an upgrade of the program under a banned host's packets");
    let mut scene = Scene::new(&[])?;
    let versions = [other_version(&scene.home)?, binary()];
    for round in 0..fault::times(4, 100) {
        let before = Pinned::read(scene.home.pin_dir())?;
        scene.home.install(versions[round as usize % 2].clone());
        scene.follow(&mut tally, "during an upgrade", round % 4 > 1)?;
        is_taken_over(&before, &Pinned::read(scene.home.pin_dir())?, false)?;
    }
    scene.end(tally)
}

/// Same maps and links as before, another program behind each link, with the same instructions or not.
fn is_taken_over(before: &Pinned, after: &Pinned, same_tag: bool) -> Result<()> {
    ensure!(
        before.maps == after.maps && before.links == after.links && !before.links.is_empty(),
        "not the same maps and links: {before:?} and {after:?}"
    );
    ensure!(
        before.programs != after.programs && (before.tags == after.tags) == same_tag,
        "the programs were {before:?} and are {after:?}"
    );
    Ok(())
}

/// A copy of the binary whose kernel program has other instructions, which do the same.
///
/// `r0 = 2`, with which the program passes a packet, sets the lower half alone in the copy: the kernel then
/// clears the upper one.
fn other_version(home: &Home) -> Result<PathBuf> {
    const SET_ALL: [u8; 8] = [0xb7, 0, 0, 0, 2, 0, 0, 0];
    const SET_HALF: [u8; 8] = [0xb4, 0, 0, 0, 2, 0, 0, 0];
    let mut binary = fs::read(binary())?;
    let object = find(&binary, OBJECT).context("the binary carries this kernel program")?;
    let mut changed = 0;
    for instruction in binary[object..object + OBJECT.len()].as_chunks_mut().0 {
        if *instruction == SET_ALL {
            *instruction = SET_HALF;
            changed += 1;
        }
    }
    ensure!(changed > 0, "the program has no such instruction");
    let path = home.dir().join("arfw");
    fs::copy(tests::support::daemon::binary(), &path)?;
    fs::write(&path, binary)?;
    Ok(path)
}

/// Where `part`, which is aligned as eight bytes are, stands in `whole`.
fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    let last = whole.len().checked_sub(part.len())?;
    (0..=last)
        .step_by(8)
        .find(|&at| whole[at..].starts_with(part))
}
