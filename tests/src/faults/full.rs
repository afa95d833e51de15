//! A map that somebody else has filled: bans are refused loudly, nothing else stops, and room is used again.

use anyhow::{Result, bail, ensure};
use ar_ebpf::place::{overflow_for, places_for};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::Home;
use tests::support::fault::{self, Tally};
use tests::support::kernel::{ban_until, key_v4};
use tests::support::pins;
use xtask::netns::Link;

use super::CONF;
use super::stream::Stream;

/// Room of the maps that a test's daemon makes.
const ROOM: u32 = 16_384;

/// Addresses that find no room before there is none for whoever comes next: one in 6,144 looks at a certain place.
const IN_A_ROW: u32 = 40_000;

#[test]
fn a_map_that_others_have_filled_refuses_bans_loudly_until_there_is_room() -> Result<()> {
    let mut tally = Tally::of("a map filled from outside");
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    // What is over and of nobody would be swept away.
    let mut daemon = home.start(&link, &["--inspect-every", "0s"])?;
    let mut stream = Stream::start(&link)?;
    home.append(&line(&Stream::offender().to_string()))?;
    daemon.wait_for(" ban ")?;
    stream.is_banned(&home)?;
    let mut bans = pins::bans_v4(home.pin_dir())?;
    // Over long ago, so that nobody is hurt by them.
    let theirs = (0..).map(|number| key_v4((0x0a00_0000 + number).into()));
    for round in 1..=fault::times(2, 20) {
        let mut held = Vec::new();
        // Until neither a bucket nor the overflow takes one more.
        let mut refused_in_a_row = 0;
        for address in theirs.clone() {
            if bans.insert(address, ban_until(2)).is_ok() {
                held.push(address);
                refused_in_a_row = 0;
            } else {
                refused_in_a_row += 1;
            }
            if refused_in_a_row == IN_A_ROW {
                break;
            }
        }
        let places = places_for(ROOM) as usize;
        ensure!(
            (places / 2..places + overflow_for(ROOM) as usize).contains(&held.len()),
            "{} entries were put into the maps",
            held.len()
        );
        tally.tried();
        let before = home.status()?.counts;
        let refused = format!("198.18.5.{round}");
        home.append(&line(&refused))?;
        let said = daemon.wait_for("ban failed")?;
        ensure!(
            said.contains(&refused) && said.contains("the map is full: it has room for 16384"),
            "{said}"
        );
        let after = home.status()?;
        ensure!(
            (after.counts.failed, after.counts.bans) == (before.failed + 1, before.bans),
            "{before:?} became {:?}",
            after.counts
        );
        tally.wrong(
            is_told(&home, &refused)?.into(),
            "a ban is told that is not",
        );
        let by_hand = home.output(&["ban", "--for", "1h", "198.18.6.1"])?;
        let said = String::from_utf8(by_hand.stdout)?;
        ensure!(
            !by_hand.status.success()
                && said.contains("not banned: the enforcer could not make it"),
            "{said}"
        );
        daemon.wait_for("ban failed")?;
        // IPv6 has a map of its own, and what stands stays.
        let other = format!("2001:db8:a:{round}::1");
        home.append(&line(&other))?;
        daemon.wait_for(" ban ")?;
        let passed = stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed"));

        for address in held {
            bans.remove(address)?;
        }
        home.append(&line(&refused))?;
        let said = daemon.wait_for(" ban ")?;
        ensure!(said.contains(&refused), "{said}");
        tally.lost(
            (!is_told(&home, &refused)?).into(),
            format!("{refused} is not banned"),
        );
    }
    let passed = stream.passed()?;
    tally.lost(passed, format!("{passed} packets passed"));
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    tally.end()
}

fn line(srcip: &str) -> String {
    alert::wazuh(5763, 10, &["sshd"], srcip)
}

fn is_told(home: &Home, address: &str) -> Result<bool> {
    match home.bans()? {
        bans if bans.is_empty() => bail!("no ban is told"),
        bans => Ok(bans.iter().any(|ban| ban.address == address)),
    }
}
