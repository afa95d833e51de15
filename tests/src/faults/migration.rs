//! Pins of an older version: its bans stand, with what they counted, until and after the new program takes over.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Result, ensure};
use ar_ebpf::{ABI_VERSION, Ban, Outcome, map, slot};
use rustix::process::Signal;
use tests::support::daemon::Home;
use tests::support::fault::{self, Tally};
use tests::support::kernel::{ban_for_good, ban_until, key_v6, monotonic_ns};
use tests::support::pins::{self, Pinned};
use tests::support::{daemon, old_pins};
use xtask::netns::{Link, offender_v4, offender_v6};

use super::stream::Stream;
use super::{CONF, Dice};

const HOUR_NS: u64 = 3_600_000_000_000;

/// What an older version has left, under a banned host's packets.
struct Scene {
    link: Link,
    home: Home,
    stream: Stream,
    before: Pinned,
    bans: BTreeMap<IpAddr, Ban>,
    dropped: u64,
}

impl Scene {
    fn new(version: u32) -> Result<Self> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        let now = monotonic_ns();
        let counted = Ban {
            packets: 40,
            bytes: 4_000,
            last_seen_ns: now,
            banned_at_ns: now,
            ..ban_until(now + HOUR_NS)
        };
        let bans = [
            (Stream::offender(), ban_until(now + HOUR_NS)),
            (offender_v4(300), counted),
            (offender_v4(301), ban_for_good(0)),
            (offender_v6(9), counted),
        ];
        old_pins::make(version, home.pin_dir(), &link, &bans)?;
        let mut stream = Stream::start_banned(&link)?;
        stream.is_banned(&home)?;
        let scene = Self {
            before: Pinned::read(home.pin_dir())?,
            bans: pins::bans(home.pin_dir())?,
            dropped: old_pins::total(home.pin_dir(), Outcome::Banned)?.0,
            link,
            home,
            stream,
        };
        let pinned = old_pins::maps(version).len();
        ensure!(scene.dropped > 0 && scene.before.maps.len() == pinned);
        ensure!(old_pins::version(scene.home.pin_dir())? == version);
        ensure!(scene.bans.len() == bans.len());
        Ok(scene)
    }

    /// The new version runs: nothing passed, nothing is missing.
    fn is_taken_over(&mut self, tally: &mut Tally) -> Result<()> {
        let passed = self.stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed"));
        let pin_dir = self.home.pin_dir();
        let after = Pinned::read(pin_dir)?;
        for name in [map::FRONT_V4, map::FRONT_V6] {
            let name = name.to_lowercase();
            ensure!(
                self.before.maps[&name] == after.maps[&name],
                "another map `{name}`"
            );
        }
        ensure!(
            self.before.links == after.links && self.before.programs != after.programs,
            "{:?} and {after:?}",
            self.before
        );
        let mut names: Vec<String> = map::ALL.map(str::to_lowercase).into();
        names.sort();
        ensure!(
            after.maps.keys().eq(&names),
            "the pins are {:?}",
            after.maps
        );
        ensure!(old_pins::version(pin_dir)? == ABI_VERSION);
        let (dropped, totals) = old_pins::total(pin_dir, Outcome::Banned)?;
        ensure!(
            dropped >= self.dropped && totals == slot::TOTALS,
            "{dropped} are told as dropped by {totals} totals, {} were",
            self.dropped
        );
        let bans = pins::bans(pin_dir)?;
        for (address, old) in &self.bans {
            let Some(new) = bans.get(address) else {
                tally.lost(1, format!("{address} is not banned"));
                continue;
            };
            let is_kept = new.packets >= old.packets
                && new.bytes >= old.bytes
                // An odd end is rounded up.
                && new.expires_at_ns - old.expires_at_ns <= 1
                && (new.banned_at_ns, new.rule_id, new.flags)
                    == (old.banned_at_ns, old.rule_id, old.flags);
            tally.wrong(
                (!is_kept).into(),
                format!("{address}: {old:?} became {new:?}"),
            );
        }
        let v6 = self.bans.keys().filter_map(|address| match address {
            IpAddr::V6(address) => Some(key_v6(*address)),
            IpAddr::V4(_) => None,
        });
        for address in v6 {
            ensure!(pins::has_front_bits(pin_dir, address)?, "a bit is missing");
        }
        let told = self.home.bans()?.len();
        tally.wrong(
            (told != self.bans.len()).into(),
            format!("{told} bans are told"),
        );
        Ok(())
    }

    fn end(self, mut daemon: daemon::Daemon) -> Result<()> {
        // What the older program counted after a ban was copied is lost.
        self.stream.stop()?;
        daemon.stop(Signal::TERM)?;
        let released = self.home.output(&["stop", "--release"])?;
        ensure!(released.status.success(), "{released:?}");
        ensure!(!self.home.pin_dir().exists(), "pins are left");
        Ok(())
    }
}

#[test]
fn bans_of_the_version_before_stand_while_it_is_brought_up_to_date() -> Result<()> {
    stand_while_brought_up_to_date(3)
}

#[test]
fn bans_of_an_older_version_stand_while_it_is_brought_up_to_date() -> Result<()> {
    stand_while_brought_up_to_date(2)
}

#[test]
fn bans_of_the_oldest_version_stand_while_it_is_brought_up_to_date() -> Result<()> {
    stand_while_brought_up_to_date(1)
}

fn stand_while_brought_up_to_date(version: u32) -> Result<()> {
    let mut tally = Tally::of(match version {
        1 => "an upgrade from maps of version 1 under a banned host's packets",
        3 => "an upgrade from maps of version 3 under a banned host's packets",
        _ => "an upgrade from maps of version 2 under a banned host's packets",
    });
    for _ in 0..fault::times(2, 50) {
        let mut scene = Scene::new(version)?;
        ensure!(
            scene.home.bans()?.len() == scene.bans.len(),
            "they are told without a daemon"
        );
        let mut daemon = scene.home.start(&scene.link, &[])?;
        tally.tried();
        scene.is_taken_over(&mut tally)?;
        // And what came since works.
        let banned = ["ban", "--for", "1h", "198.18.2.0/24"];
        let output = scene.home.output(&banned)?;
        ensure!(output.status.success(), "{output:?}");
        daemon.stop(Signal::TERM)?;
        let daemon = scene.home.start(&scene.link, &[])?;
        let passed = scene.stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed afterwards"));
        ensure!(
            scene.home.bans()?.len() == scene.bans.len() + 1,
            "a ban went"
        );
        scene.end(daemon)?;
    }
    tally.end()
}

#[test]
fn an_upgrade_that_is_cut_short_is_finished_by_the_next_start() -> Result<()> {
    is_finished_by_the_next_start(2)
}

#[test]
fn an_upgrade_from_the_oldest_version_that_is_cut_short_is_finished_by_the_next_start() -> Result<()>
{
    is_finished_by_the_next_start(1)
}

/// Whatever a start had done when it was killed, the next one does the rest.
fn is_finished_by_the_next_start(version: u32) -> Result<()> {
    let mut tally = Tally::of(match version {
        1 => "killed while maps of version 1 are brought up to date",
        _ => "killed while maps of version 2 are brought up to date",
    });
    let mut dice = Dice(4);
    let mut half_done = 0;
    let whole = {
        let scene = Scene::new(version)?;
        let begun = Instant::now();
        let daemon = scene.home.start(&scene.link, &[])?;
        let whole = begun.elapsed();
        scene.end(daemon)?;
        whole
    };
    for _ in 0..fault::times(3, 50) {
        let mut scene = Scene::new(version)?;
        let pin_dir = scene.home.pin_dir();
        // Some of the new maps are there.
        let pins = scene.before.maps.len() + scene.before.links.len();
        let some = pins + 1 + usize::try_from(dice.roll(5))?;
        scene.home.kill_start(&scene.link, || {
            fs::read_dir(pin_dir).is_ok_and(|pins| pins.count() >= some)
        })?;
        half_done += u32::from(old_pins::version(pin_dir)? == version);
        ensure!(
            old_pins::version(pin_dir)? == ABI_VERSION
                || scene.home.bans()?.len() == scene.bans.len(),
            "they are not told half-way"
        );
        // At any time.
        let (begun, after) = (Instant::now(), dice.roll(100));
        let after = whole * u32::try_from(after)? / 100;
        scene
            .home
            .kill_start(&scene.link, || begun.elapsed() >= after)?;
        // As soon as the older bans have been let go of, or the version is the new one.
        let aside = ["bans_v4", "bans_v6"].map(|name| pin_dir.join(format!("{name}_{version}")));
        let mut were_aside = false;
        scene.home.kill_start(&scene.link, || {
            let are_aside = aside.iter().all(|pin| pin.exists());
            were_aside |= are_aside;
            were_aside && !are_aside || old_pins::version(pin_dir).is_ok_and(|it| it == ABI_VERSION)
        })?;
        half_done += u32::from(old_pins::version(pin_dir)? == version);
        (0..3).for_each(|_| tally.tried());
        let passed = scene.stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed before"));
        let daemon = scene.home.start(&scene.link, &[])?;
        scene.is_taken_over(&mut tally)?;
        scene.end(daemon)?;
    }
    ensure!(half_done > 0, "none was killed in the middle");
    tally.end()
}

/// Maps of version 3 are adopted as they are. Once the new program is at work, which asks for bits that a daemon of
/// version 3 would take away, that one refuses them.
#[test]
fn an_upgrade_from_the_version_before_that_is_cut_short_is_finished_by_the_next_start() -> Result<()>
{
    let mut tally = Tally::of("killed while maps of version 3 are brought up to date");
    let mut dice = Dice(5);
    let whole = {
        let scene = Scene::new(3)?;
        let begun = Instant::now();
        let daemon = scene.home.start(&scene.link, &[])?;
        let whole = begun.elapsed();
        scene.end(daemon)?;
        whole
    };
    for _ in 0..fault::times(6, 100) {
        let mut scene = Scene::new(3)?;
        let (begun, after) = (Instant::now(), dice.roll(100));
        let after = whole * u32::try_from(after)? / 100;
        scene
            .home
            .kill_start(&scene.link, || begun.elapsed() >= after)?;
        tally.tried();
        let is_old = Pinned::read(scene.home.pin_dir())?.programs == scene.before.programs;
        let version = old_pins::version(scene.home.pin_dir())?;
        tally.wrong(
            (!is_old && version != ABI_VERSION).into(),
            format!("the new program stands on maps of version {version}"),
        );
        let passed = scene.stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed before"));
        let daemon = scene.home.start(&scene.link, &[])?;
        scene.is_taken_over(&mut tally)?;
        scene.end(daemon)?;
    }
    tally.end()
}

/// What is not known is left as it is.
#[test]
fn maps_of_a_newer_version_are_refused_and_left_as_they_are() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    home.start(&link, &[])?.crash()?;
    old_pins::set_version(home.pin_dir(), ABI_VERSION + 1)?;
    let before = Pinned::read(home.pin_dir())?;
    let output = home.fail_to_start(&link, &home.alerts(), xtask::netns::INTERFACE)?;
    let said = String::from_utf8(output.stderr)?;
    let refused = format!(
        "are of version {}, and this program reads versions 1 to",
        ABI_VERSION + 1
    );
    ensure!(
        output.status.code() == Some(1) && said.contains(&refused),
        "{said}"
    );
    ensure!(before == Pinned::read(home.pin_dir())?, "something changed");
    let output = home.output(&["list"])?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(
        !output.status.success() && said.contains(&refused),
        "{said}"
    );
    let released = home.output(&["stop", "--release"])?;
    ensure!(released.status.success(), "{released:?}");
    Ok(())
}

/// Pins of this version from before prefixes had bitmaps of their own: those are made, and filled in time.
#[test]
fn a_banned_network_stands_through_a_start_on_pins_without_its_bitmap() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut daemon = home.start(&link, &[])?;
    let mut stream = Stream::start(&link)?;
    // Without the neighbour.
    let network = "198.18.0.6/31";
    let output = home.output(&["ban", network, "--for", "10m", "--force"])?;
    ensure!(output.status.success(), "{output:?}");
    let dropped = || Ok(old_pins::total(home.pin_dir(), Outcome::Banned)?.0);
    stream.is_banned_by(dropped)?;
    let mut tally = Tally::of("starts on pins without bitmaps of prefixes");
    for _ in 0..fault::times(3, 50) {
        daemon.crash()?;
        for name in [map::PREFIX_FRONT_V4, map::PREFIX_FRONT_V6] {
            fs::remove_file(home.pin_dir().join(name.to_lowercase()))?;
        }
        daemon = home.start(&link, &[])?;
        tally.tried();
        let passed = stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed"));
        // The program that runs now counts as well.
        stream.is_banned_by(dropped)?;
    }
    let output = home.output(&["unban", network])?;
    ensure!(output.status.success(), "{output:?}");
    stream.arrives(Stream::offender())?;
    stream.stop()?;
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    tally.end()
}
