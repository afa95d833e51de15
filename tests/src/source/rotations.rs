//! Rotations while the daemon is down: every alert counts once, and what cannot be read is told.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tests::support::daemon::Home;

use super::{CONF, alert, each_counted_once, read, until, without_id};

/// As Wazuh does it: the name goes, and is a hard link of the new day's file.
fn next_day(home: &Home, day: &str) -> Result<()> {
    let today = home.dir().join(day);
    fs::create_dir_all(today.parent().context("a month")?)?;
    File::create_new(&today)?;
    fs::remove_file(home.alerts())?;
    Ok(fs::hard_link(today, home.alerts())?)
}

fn day(month: &str, day: u32) -> String {
    format!("{month}/ossec-alerts-{day:02}.json")
}

fn set_modified(path: &Path, time: SystemTime) -> Result<()> {
    Ok(File::options()
        .append(true)
        .open(path)?
        .set_modified(time)?)
}

/// Over a month and a year, one of them without alerts, and a restart on the way.
#[test]
fn days_that_pass_while_nobody_reads_are_made_up_for() -> Result<()> {
    let home = Home::new(CONF)?;
    next_day(&home, &day("2026/Dec", 30))?;
    let mut daemon = home.start_dry(&[])?;
    home.append(&without_id(1))?;
    daemon.wait_for(" ban ")?;
    daemon.crash()?;
    home.append(&without_id(2))?;
    next_day(&home, &day("2026/Dec", 31))?;
    home.append(&without_id(3))?;
    next_day(&home, &day("2027/Jan", 1))?;
    next_day(&home, &day("2027/Jan", 2))?;
    home.append(&(without_id(4) + &without_id(5)))?;
    let mut daemon = home.start_dry(&[])?;
    read(&home, 4)?;
    each_counted_once(&home, 5)?;
    daemon.stop(Signal::TERM)?;
    next_day(&home, &day("2027/Jan", 3))?;
    home.append(&without_id(6))?;
    let mut daemon = home.start_dry(&[])?;
    let status = read(&home, 1)?;
    each_counted_once(&home, 6)?;
    ensure!(status.source.compressed == 0, "{status:?}");
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// What a file system does whose clock ticks slowly: nothing but the position tells what was read.
#[test]
fn files_that_were_rotated_in_one_tick_are_each_read_once() -> Result<()> {
    let numbers = |number: usize| format!("alerts.json.{number}");
    let shifted = |number: usize| format!("alerts.json.{}", 9 - number);
    let days = |number: usize| format!("2026/Nov/ossec-alerts-{number:02}.json");
    for name in [&numbers as &dyn Fn(usize) -> String, &shifted, &days] {
        let home = Home::new(CONF)?;
        fs::create_dir_all(home.dir().join("2026/Nov"))?;
        let mut daemon = home.start_dry(&[])?;
        let mut tick = None;
        for number in 1..=6 {
            home.append(&without_id(number))?;
            if number > 1 {
                // The daemon reads some as they come, some after a start.
                match number % 3 {
                    0 => daemon = home.start_dry(&[])?,
                    1 => drop(daemon.wait_for(" ban ")?),
                    _ => {}
                }
            } else {
                daemon.wait_for(" ban ")?;
                tick = Some(fs::metadata(home.alerts())?.modified()?);
            }
            if number % 3 != 2 {
                until(&home, |status| status.active.v4 == number)?;
            }
            set_modified(&home.alerts(), tick.context("a tick")?)?;
            if number % 3 == 2 {
                daemon.crash()?;
            }
            fs::rename(home.alerts(), home.dir().join(name(number)))?;
            fs::write(home.alerts(), "")?;
        }
        home.append(&without_id(7))?;
        daemon.wait_for(" ban ")?;
        until(&home, |status| status.active.v4 == 7)?;
        each_counted_once(&home, 7)?;
        daemon.stop(Signal::TERM)?;
    }
    Ok(())
}

/// One that was read before it was compressed is no loss.
#[test]
fn alerts_in_a_compressed_file_are_told_to_be_lost() -> Result<()> {
    let home = Home::new(CONF)?;
    let rotate = |name: &str| fs::rename(home.alerts(), home.dir().join(name));
    let mut daemon = home.start_dry(&[])?;
    home.append(&alert(1))?;
    daemon.wait_for(" ban ")?;
    daemon.stop(Signal::TERM)?;
    rotate("alerts.json.3")?;
    fs::write(home.dir().join("alerts.json.2.gz"), b"\x1f\x8b")?;
    fs::write(home.dir().join("alerts.json.1"), alert(2))?;
    fs::write(home.alerts(), alert(3))?;
    let mut daemon = home.start_dry(&[])?;
    let status = read(&home, 2)?;
    ensure!(status.source.compressed == 1, "{status:?}");
    each_counted_once(&home, 3)?;
    let text = home.output(&["status"])?.stdout;
    let text = String::from_utf8(text)?;
    ensure!(
        text.contains("LOST: 1 rotated files were compressed"),
        "{text}"
    );
    let said = daemon.stop(Signal::TERM)?;
    let lost = |line: &&String| line.contains("alerts.json.2.gz` is compressed");
    ensure!(said.iter().filter(lost).count() == 1, "{said:#?}");

    home.append(&alert(4))?;
    let mut daemon = home.start_dry(&[])?;
    let status = read(&home, 1)?;
    ensure!(status.source.compressed == 0, "{status:?}");
    let said = daemon.stop(Signal::TERM)?;
    ensure!(
        !said.iter().any(|line| line.contains("compressed")),
        "{said:#?}"
    );
    Ok(())
}
