//! An alert file that is late, gone, hidden by a mount, or cannot be read: the daemon goes on, says so, and loses nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use tests::support::daemon::{Daemon, Home, PATIENCE};

use super::{CONF, EVERY, alert, each_counted_once, until, without_id};

#[test]
fn a_file_that_comes_late_is_read_from_its_beginning() -> Result<()> {
    let home = Home::new(CONF)?;
    fs::remove_file(home.alerts())?;
    let mut daemon = home.start_dry(&[])?;
    until(&home, |status| status.source.missing)?;
    fs::write(home.alerts(), alert(1) + &alert(2))?;
    let status = until(&home, |status| status.active.v4 == 2)?;
    ensure!(!status.source.missing, "{status:?}");
    each_counted_once(&home, 2)?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn a_file_that_is_gone_is_told_and_waited_for() -> Result<()> {
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry(&[])?;
    home.append(&alert(1))?;
    daemon.wait_for(" ban ")?;
    fs::remove_file(home.alerts())?;
    daemon.wait_for("is not there any more")?;
    until(&home, |status| status.source.missing)?;
    fs::write(home.alerts(), alert(2))?;
    daemon.wait_for(" ban ")?;
    ensure!(!home.status()?.source.missing);
    each_counted_once(&home, 2)?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// As on a file system that is mounted late: nothing but the position tells what was read.
#[test]
fn a_file_that_is_not_there_at_a_start_is_read_on_where_it_was() -> Result<()> {
    let home = Home::new(CONF)?;
    let aside = home.dir().join("aside");
    let mut daemon = home.start_dry(&[])?;
    home.append(&without_id(1))?;
    daemon.wait_for(" ban ")?;
    daemon.stop(Signal::TERM)?;
    home.append(&without_id(2))?;
    fs::rename(home.alerts(), &aside)?;
    // Also the one after a start that found nothing.
    home.start_dry(&[])?.stop(Signal::TERM)?;
    let mut daemon = home.start_dry(&[])?;
    until(&home, |status| status.source.missing)?;
    fs::rename(&aside, home.alerts())?;
    until(&home, |status| status.active.v4 == 2)?;
    each_counted_once(&home, 2)?;
    let said = daemon.stop(Signal::TERM)?;
    let told = said.iter().filter(|line| line.contains("is not there"));
    ensure!(told.count() == 1, "{said:#?}");
    Ok(())
}

/// With the daemon running, and at its start.
#[test]
fn a_file_whose_place_another_thing_takes_is_told_and_read_on() -> Result<()> {
    for at_start in [false, true] {
        let home = Home::new(CONF)?;
        let aside = home.dir().join("aside");
        let mut daemon = home.start_dry(&[])?;
        home.append(&alert(1))?;
        daemon.wait_for(" ban ")?;
        if at_start {
            daemon.crash()?;
        }
        home.append(&alert(2))?;
        fs::rename(home.alerts(), &aside)?;
        symlink(home.alerts(), home.alerts())?;
        if at_start {
            daemon = home.start_dry(&[])?;
        } else {
            daemon.wait_for("cannot read `")?;
        }
        let trouble = |cause: &'static str| {
            until(&home, move |status| {
                let trouble = status.source.trouble.as_deref();
                trouble.is_some_and(|trouble| trouble.contains(cause))
            })
        };
        trouble("symbolic links")?;
        // The trouble changes, and status with it.
        fs::remove_file(home.alerts())?;
        fs::create_dir(home.alerts())?;
        trouble("directory")?;
        let text = String::from_utf8(home.output(&["status"])?.stdout)?;
        ensure!(text.contains("CANNOT BE READ"), "{text}");
        fs::remove_dir(home.alerts())?;
        fs::write(&aside, fs::read_to_string(&aside)? + &alert(3))?;
        fs::rename(&aside, home.alerts())?;
        daemon.wait_for("can be read again")?;
        let status = until(&home, |status| status.active.v4 == 3)?;
        ensure!(status.source.trouble.is_none(), "{status:?}");
        each_counted_once(&home, 3)?;
        let said = daemon.stop(Signal::TERM)?;
        let told = said.iter().filter(|line| line.contains("cannot read `"));
        ensure!(told.count() == 1, "{said:#?}");
    }
    Ok(())
}

/// Runs a command where the daemon is, which has a mount namespace of its own that ends with it. Tried again for a
/// while: a file system at which anybody looks is busy for that moment.
fn beside(daemon: &Daemon, command: &[&str]) -> Result<()> {
    let pid = daemon.pid().as_raw_nonzero().to_string();
    let mut inside = Command::new("nsenter");
    inside.args(["--mount", "--target", &pid]).args(command);
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        if inside.status()?.success() {
            return Ok(());
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("{command:?}")
}

/// No notice tells of a mount.
#[test]
fn a_file_system_that_is_mounted_over_the_file_and_goes_again_loses_nothing() -> Result<()> {
    let home = Home::new(CONF)?;
    let logs = home.dir().join("logs");
    fs::create_dir(&logs)?;
    let alerts = logs.join("alerts.json");
    fs::write(&alerts, "")?;
    fs::remove_file(home.alerts())?;
    symlink(&alerts, home.alerts())?;
    let mut daemon = home.start_dry_by(&["unshare", "--mount"])?;
    home.append(&alert(1))?;
    daemon.wait_for(" ban ")?;

    let logs = logs.to_string_lossy().into_owned();
    beside(&daemon, &["mount", "-t", "tmpfs", "arfw-test", &logs])?;
    daemon.wait_for("is not there any more")?;
    until(&home, |status| status.source.missing)?;
    // Written through the name that is hidden from the daemon alone.
    home.append(&alert(2))?;
    beside(&daemon, &["umount", &logs])?;
    daemon.wait_for("is there")?;
    until(&home, |status| status.active.v4 == 2)?;

    // The new file system has a file of that name.
    beside(&daemon, &["mount", "-t", "tmpfs", "arfw-test", &logs])?;
    let third = home.dir().join("third");
    fs::write(&third, alert(3))?;
    let third = third.to_string_lossy().into_owned();
    let target = alerts.to_string_lossy().into_owned();
    beside(&daemon, &["cp", &third, &target])?;
    until(&home, |status| status.active.v4 == 3)?;
    each_counted_once(&home, 3)?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}
