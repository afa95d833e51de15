//! What an operator changes while the daemon runs, seen from the command line and from the socket.

pub(crate) mod access;
mod ban;
mod colours;
mod confirm;
mod events;
mod exits;
mod hanging;
mod history;
mod metrics;
mod orders;
mod quiet;
mod reload;
mod settings;
mod socket;
mod top;
mod why;

use anyhow::{Context as _, Result, ensure};
use tests::support::alert;
use tests::support::daemon::{Daemon, Home};

pub(crate) use hanging::DEAD;

/// Lines are counted in what the tests expect.
pub(crate) const CONF: &str = "\
<ossec_config>
  <command>
    <name>drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>drop</command>
    <location>local</location>
    <rules_id>5763</rules_id>
    <timeout>600</timeout>
    <repeated_offenders>30,60</repeated_offenders>
  </active-response>
  <active-response>
    <command>drop</command>
    <location>local</location>
    <rules_id>5712</rules_id>
  </active-response>
</ossec_config>
";

pub(crate) const V4: &str = "198.51.100.7";
pub(crate) const V6: &str = "2001:db8::7";

/// A daemon that drops nothing, and its files.
struct Scene {
    home: Home,
    daemon: Daemon,
}

impl Scene {
    fn new(conf: &str, arguments: &[&str]) -> Result<Self> {
        let home = Home::new(conf)?;
        let daemon = home.start_dry(arguments)?;
        Ok(Self { home, daemon })
    }

    /// Has an alert led to something that the log tells with `text`; its line is given.
    fn alert(&mut self, rule: u32, address: &str, text: &str) -> Result<String> {
        self.home
            .append(&alert::wazuh(rule, 10, &["sshd"], address))?;
        self.daemon.wait_for(text)
    }

    /// Runs a command and compares its exit status and all that it prints.
    fn check(&self, arguments: &[&str], expected: (i32, &str, &str)) -> Result<()> {
        check(&self.home, arguments, expected)
    }

    /// Addresses that are banned.
    fn banned(&self) -> Result<Vec<String>> {
        let bans = self.home.bans()?.into_iter();
        Ok(bans.map(|ban| ban.address).collect())
    }
}

/// As [`Scene::check`]. The directory of the daemon's files is written as `DIR`.
fn check(home: &Home, arguments: &[&str], expected: (i32, &str, &str)) -> Result<()> {
    let output = home.output(arguments)?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.replace(&home.dir().display().to_string(), "DIR")
    };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let found = (output.status.code().unwrap_or(-1), &*out, &*err);
    ensure!(found == expected, "{arguments:?}: {}\n{out}{err}", found.0);
    Ok(())
}

/// A start failed for this cause, and no pin is there.
fn refused_and_nothing_left(home: &Home, started: Result<Daemon>, cause: &str) -> Result<()> {
    let refused = started.err().context("the daemon started")?;
    ensure!(format!("{refused:#}").contains(cause), "{refused:#}");
    ensure!(!home.pin_dir().exists(), "pins are left");
    Ok(())
}
