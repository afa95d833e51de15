//! What stands in the alert file and what becomes of it: odd lines, rotations while nobody reads, files that are
//! compressed, late, hidden or unreadable.

mod lines;
mod rotations;
mod unreadable;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use arfw::control::view::Status;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};

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
const EVERY: Duration = Duration::from_millis(20);

fn alert(number: usize) -> String {
    alert::wazuh(5763, 10, &["sshd"], &address(number))
}

/// Nothing but the position knows it again.
fn without_id(number: usize) -> String {
    alert::without_id(5763, 10, &["sshd"], &address(number))
}

fn address(number: usize) -> String {
    format!("198.51.100.{number}")
}

/// Waits until the daemon stands so, and gives how.
fn until(home: &Home, what: impl Fn(&Status) -> bool) -> Result<Status> {
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        let status = home.status()?;
        if what(&status) {
            return Ok(status);
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("it does not come about: {:#?}", home.status()?)
}

/// Waits until so many lines were read.
fn read(home: &Home, lines: u64) -> Result<Status> {
    until(home, |status| status.counts.lines >= lines)
}

/// Makes sure that the first so many addresses, and nobody else, are banned for one offence each.
fn each_counted_once(home: &Home, addresses: usize) -> Result<()> {
    let mut expected: Vec<_> = (1..=addresses).map(|number| (address(number), 1)).collect();
    expected.sort();
    let mut counted: Vec<_> = home
        .bans()?
        .into_iter()
        .map(|ban| (ban.address, ban.by.first().map_or(0, |by| by.offences)))
        .collect();
    counted.sort();
    ensure!(counted == expected, "{counted:?}");
    Ok(())
}
