//! Alerts that are read late or twice, and alert files that are not there, unreadable or flooded.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use arfw::control::view::{Ban, Counts};
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
    <repeated_offenders>100</repeated_offenders>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>5763</rules_id>
    <timeout>3000</timeout>
  </active-response>
</ossec_config>
";

/// How often a wait looks.
const EVERY: Duration = Duration::from_millis(20);

fn alert(srcip: &str) -> String {
    alert::wazuh(5763, 10, &["sshd"], srcip)
}

fn old(minutes: u64, srcip: &str) -> String {
    let age = Duration::from_secs(minutes * 60);
    alert::old(age, 5763, 10, &["sshd"], srcip)
}

/// Waits until so many lines were read since the start, and gives what became of them.
fn read(home: &Home, lines: u64) -> Result<Counts> {
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        let counts = home.status()?.counts;
        if counts.lines >= lines {
            return Ok(counts);
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("read {} of {lines} lines", home.status()?.counts.lines)
}

fn ban(home: &Home, address: &str) -> Result<Option<Ban>> {
    Ok(home.bans()?.into_iter().find(|ban| ban.address == address))
}

/// Makes sure that an address is banned for about so long, by its so many offences.
fn is_banned(home: &Home, address: &str, seconds: f64, offences: u32) -> Result<()> {
    let ban = ban(home, address)?.with_context(|| format!("{address} is not banned"))?;
    let left = ban.seconds_left.context("a ban with an end")?;
    ensure!(
        (seconds - 60.0..=seconds).contains(&left),
        "{address} is banned for {left} s, not {seconds}"
    );
    let counted = ban.by.first().map(|by| by.offences);
    ensure!(
        counted == Some(offences),
        "{address} has {counted:?} offences, not {offences}"
    );
    Ok(())
}

/// AR-TIME-1, AR-TIME-5
#[test]
fn an_alert_that_is_read_late_bans_from_its_own_time() -> Result<()> {
    fault::repeat("alerts read late, after an outage", 20, || {
        let home = Home::new(CONF)?;
        home.start_dry(&[])?.stop(Signal::TERM)?;
        home.append(&old(10, "198.51.100.1"))?;
        home.append(&old(120, "198.51.100.2"))?;
        home.append(&alert("198.51.100.3"))?;
        let mut daemon = home.start_dry(&[])?;
        let counts = read(&home, 3)?;
        ensure!((counts.late, counts.bans) == (2, 2), "{counts:?}");
        is_banned(&home, "198.51.100.1", 3000.0 - 600.0, 1)?;
        is_banned(&home, "198.51.100.3", 3000.0, 1)?;
        ensure!(
            ban(&home, "198.51.100.2")?.is_none(),
            "a ban that is over was made"
        );
        // Read as it comes, an alert is of this moment, whatever the clock of its writer says. The offence whose
        // ban was over counts: this is the second.
        home.append(&old(120, "198.51.100.2"))?;
        let counts = read(&home, 4)?;
        ensure!(counts.late == 2, "{counts:?}");
        is_banned(&home, "198.51.100.2", 6000.0, 2)?;
        daemon.stop(Signal::TERM)?;
        Ok(())
    })
}

/// AR-IMP-8
#[test]
fn an_alert_that_is_read_again_is_no_new_offence() -> Result<()> {
    fault::repeat("alert file written anew or replaced", 20, || {
        let home = Home::new(CONF)?;
        let mut daemon = home.start_dry(&[])?;
        let read_once: String = (1..=3)
            .map(|number| alert(&format!("198.51.100.{number}")))
            .collect();
        home.append(&read_once)?;
        read(&home, 3)?;

        // Written anew in its place while it is followed.
        let mended = format!("a line that was not there\n{read_once}");
        fs::write(home.alerts(), &mended)?;
        let counts = read(&home, 7)?;
        ensure!((counts.repeated, counts.bans) == (3, 3), "{counts:?}");

        // Replaced by another file while no daemon runs. One that was killed might have read more than it stored,
        // and the rest again: `faults` has that.
        daemon.stop(Signal::TERM)?;
        let again = format!("{mended}{}", alert("198.51.100.1"));
        fs::remove_file(home.alerts())?;
        fs::write(home.alerts(), again.replace("was not", "is"))?;
        let mut daemon = home.start_dry(&[])?;
        let counts = read(&home, 5)?;
        ensure!((counts.repeated, counts.moved) == (3, 1), "{counts:?}");
        is_banned(&home, "198.51.100.1", 6000.0, 2)?;
        daemon.stop(Signal::TERM)?;
        Ok(())
    })
}

#[test]
fn a_directory_that_comes_late_is_waited_for() -> Result<()> {
    fault::repeat("directory of the alerts not there yet", 20, || {
        let home = Home::new(CONF)?;
        let directory = home.dir().join("logs").join("alerts");
        let alerts = directory.join("alerts.json");
        let mut daemon = home.start_dry_on(&alerts)?;
        fs::create_dir_all(&directory)?;
        fs::write(&alerts, alert("198.51.100.1"))?;
        daemon.wait_for(" ban ")?;
        let said = daemon.stop(Signal::TERM)?;
        ensure!(
            said.iter()
                .any(|line| line.contains("the alert file is not there yet")),
            "{said:#?}"
        );
        Ok(())
    })
}

/// Said once, however often it is tried.
#[test]
fn a_file_that_cannot_be_read_for_a_while_is_told_and_waited_for() -> Result<()> {
    fault::repeat("alert file unreadable for a while", 20, || {
        let home = Home::new(CONF)?;
        let mut daemon = home.start_dry(&[])?;
        home.append(&alert("198.51.100.1"))?;
        daemon.wait_for(" ban ")?;
        let aside = home.dir().join("aside");
        fs::rename(home.alerts(), &aside)?;
        symlink(home.alerts(), home.alerts())?;
        daemon.wait_for("cannot read `")?;
        for number in 0..10 {
            fs::write(home.dir().join(format!("notice-{number}")), "")?;
        }
        fs::write(&aside, fs::read_to_string(&aside)? + &alert("198.51.100.2"))?;
        fs::rename(&aside, home.alerts())?;
        daemon.wait_for("can be read again")?;
        read(&home, 2)?;
        let said = daemon.stop(Signal::TERM)?;
        let told = said.iter().filter(|line| line.contains("cannot read `"));
        ensure!(told.count() == 1, "{said:#?}");
        is_banned_after(&home, &["198.51.100.1", "198.51.100.2"])
    })
}

/// What the store holds is what the next daemon tells.
fn is_banned_after(home: &Home, addresses: &[&str]) -> Result<()> {
    let mut daemon = home.start_dry(&[])?;
    for address in addresses {
        is_banned(home, address, 3000.0, 1)?;
    }
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// In a user namespace of its own, so that nobody else is left without watches.
#[test]
fn without_the_kernels_watches_the_file_is_looked_at_until_they_are_granted() -> Result<()> {
    fault::repeat("no watches of the kernel", 10, || {
        for limit in ["max_inotify_watches", "max_inotify_instances"] {
            let home = Home::new(CONF)?;
            let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
            let by = ["unshare", "--user", "--map-root-user", "sh", "-c", &script];
            let mut daemon = home.start_dry_by(&by)?;
            home.append(&alert("198.51.100.1"))?;
            daemon.wait_for(" ban ")?;
            fs::rename(home.alerts(), home.dir().join("alerts.json.1"))?;
            fs::write(home.alerts(), alert("198.51.100.2"))?;
            daemon.wait_for(" ban ")?;

            let grant = format!("echo 100 > /proc/sys/user/{limit}");
            let pid = daemon.pid().as_raw_nonzero().to_string();
            let mut inside = Command::new("nsenter");
            inside.args(["--preserve-credentials", "--user", "--target", &pid]);
            ensure!(inside.args(["sh", "-c", &grant]).status()?.success());
            daemon.wait_for("the kernel tells of changes of the alert file again")?;
            home.append(&alert("198.51.100.3"))?;
            daemon.wait_for(" ban ")?;
            let said = daemon.stop(Signal::TERM)?;
            let told = said
                .iter()
                .filter(|line| line.contains("it is looked at every 100 ms"));
            ensure!(told.count() == 1, "{limit}: {said:#?}");
        }
        Ok(())
    })
}

/// More than the queue holds, many times over; nothing is lost, and memory does not grow with the file.
#[test]
fn a_burst_is_read_whole_in_bounded_memory() -> Result<()> {
    fault::repeat("flood of alerts", 2, || {
        const ALERTS: u64 = 200_000;
        const OFFENDERS: u64 = 1_000;
        /// Of the whole process, the log that waits to be written included, built without optimisation.
        const MOST_MIB: u64 = 80;
        let home = Home::new(CONF)?;
        let mut daemon = home.start_dry(&[])?;
        let mut burst = String::new();
        for number in 0..ALERTS {
            let offender = number % OFFENDERS;
            burst.push_str(&alert(&format!(
                "198.18.{}.{}",
                offender / 250,
                offender % 250 + 1
            )));
        }
        home.append(&burst)?;
        let counts = read(&home, ALERTS)?;
        ensure!(
            (counts.lines, counts.matched, counts.malformed) == (ALERTS, ALERTS, 0),
            "{counts:?}"
        );
        let bans = home.bans()?;
        let offences: u64 = bans
            .iter()
            .filter_map(|ban| Some(u64::from(ban.by.first()?.offences)))
            .sum();
        ensure!(
            (bans.len() as u64, offences) == (OFFENDERS, ALERTS),
            "{} bans, {offences} offences",
            bans.len()
        );
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero()))?;
        let peak_kib: u64 = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
            .context("the peak of its memory")?
            .parse()?;
        ensure!(
            peak_kib <= MOST_MIB * 1024,
            "the daemon took {peak_kib} KiB at its peak"
        );
        daemon.stop(Signal::TERM)?;
        Ok(())
    })
}
