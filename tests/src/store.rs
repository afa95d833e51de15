//! A store whose disk is full or cannot be written: bans go on, it is said loudly, and nothing is lost.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use arfw::control::view::Status;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::fault;

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
    <timeout>3000</timeout>
  </active-response>
</ossec_config>
";

/// How often a wait looks.
const EVERY: Duration = Duration::from_millis(50);

/// Offenders of each part of a test.
const MANY: u32 = 200;

/// A small disk of its own, under the state directory.
pub(crate) struct Disk {
    at: PathBuf,
}

impl Disk {
    pub(crate) fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at)?;
        mount("arfw-test", &at, "tmpfs", MountFlags::empty(), c"size=8m")
            .context("cannot mount a tmpfs")?;
        Ok(Self { at })
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Takes all the room there is.
    pub(crate) fn fill(&self) -> Result<()> {
        let zeros = vec![0; 16 << 20];
        // It ends in an error, because that is what full means.
        ensure!(fs::write(self.ballast(), zeros).is_err(), "it is not full");
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn read_only(&self) -> Result<()> {
        mount_remount(&self.at, MountFlags::RDONLY, c"size=8m").context("cannot remount")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A test that fails has its own error to tell.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// Alerts about the offenders of part `part`.
fn alerts(part: u32) -> String {
    let srcips = (0..MANY).map(|last| format!("198.18.{part}.{last}"));
    let lines = srcips.map(|srcip| alert::wazuh(5763, 10, &["sshd"], &srcip));
    lines.collect()
}

fn wait(home: &Home, what: &str, is_so: impl Fn(&Status) -> bool) -> Result<Status> {
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        let status = home.status()?;
        if is_so(&status) {
            return Ok(status);
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("{what} did not come: {:?}", home.status()?)
}

/// Waits until the daemon holds the bans of so many parts.
fn holds(home: &Home, parts: u32) -> Result<()> {
    let all = (parts * MANY) as usize;
    wait(home, "every ban", |status| status.active.v4 >= all)?;
    let bans = home.bans()?;
    ensure!(bans.len() == all, "{} bans, not {all}", bans.len());
    let twice = bans
        .iter()
        .find(|ban| ban.by.iter().any(|by| by.offences != 1));
    ensure!(twice.is_none(), "counted twice: {twice:?}");
    Ok(())
}

/// AR-IMP-1
#[test]
fn a_full_disk_stops_no_ban_and_loses_nothing() -> Result<()> {
    fault::repeat("full disk under the store", 10, || {
        let home = Home::new(CONF)?;
        let disk = Disk::mount(home.state_dir())?;
        let mut daemon = home.start_dry(&[])?;
        home.append(&alerts(1))?;
        holds(&home, 1)?;

        disk.fill()?;
        // Enough for the store to need new room, whatever it had left in its file.
        home.append(&alerts(2))?;
        home.append(&alerts(3))?;
        holds(&home, 3)?;
        daemon.wait_for("THE STORE CANNOT BE WRITTEN")?;
        let status = wait(&home, "trouble", |status| status.store.trouble.is_some())?;
        let trouble = status.store.trouble.context("trouble")?;
        ensure!(
            trouble.waiting > 0 && trouble.since.is_some() && !trouble.cause.is_empty(),
            "{trouble:?}"
        );

        // What is not stored is not acknowledged either: a daemon that dies now reads it again.
        daemon.crash()?;
        disk.empty()?;
        let mut daemon = home.start_dry(&[])?;
        holds(&home, 3)?;

        // And one that lives recovers by itself.
        disk.fill()?;
        home.append(&alerts(4))?;
        home.append(&alerts(5))?;
        wait(&home, "trouble", |status| status.store.trouble.is_some())?;
        disk.empty()?;
        daemon.wait_for("the store can be written again")?;
        ensure!(home.status()?.store.trouble.is_none(), "trouble stays");
        daemon.crash()?;
        let mut daemon = home.start_dry(&[])?;
        holds(&home, 5)?;
        ensure!(home.status()?.counts.lines == 0, "alerts were read again");
        daemon.stop(Signal::TERM)?;
        Ok(())
    })
}

#[test]
fn a_start_on_a_read_only_disk_says_what_to_do() -> Result<()> {
    fault::repeat("read-only disk under the store", 10, || {
        let home = Home::new(CONF)?;
        let disk = Disk::mount(home.state_dir())?;
        home.start_dry(&[])?.stop(Signal::TERM)?;
        disk.read_only()?;
        let Err(told) = home.start_dry(&[]) else {
            bail!("it started");
        };
        let told = format!("{told:#}");
        ensure!(
            told.contains("arfw.redb") && told.contains("make its file system writable"),
            "{told}"
        );
        Ok(())
    })
}
