//! A daemon without a kernel program, a directory of executables, and what they write.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arfw::control::view;
use tests::support::daemon::{Daemon, Home};

const EVERY: Duration = Duration::from_millis(5);

/// How often a condition is looked at before a test gives up: twenty seconds.
const LOOKS: usize = 4_000;

/// A script of the stock kind: it writes down each line that it gets into `calls`, says that it is about the
/// alert's address, and does what it is told.
pub(super) const BY_ADDRESS: &str = r#"#!/bin/sh
read -r line
printf '%s\n' "$line" >> calls
case $line in *'"command":"add"'*) ;; *) exit 0 ;; esac
key=${line#*'"srcip":"'} key=${key%%'"'*}
printf '{"version":1,"origin":{"name":"deny","module":"active-response"},"command":"check_keys","parameters":{"keys":["%s"]}}\n' "$key"
read -r line
printf '%s\n' "$line" >> calls
"#;

/// What a script writes that says it is about `key`, a shell word.
pub(super) fn handshake(key: &str) -> String {
    format!(
        r#"printf '{{"version":1,"origin":{{"name":"x","module":"active-response"}},"command":"check_keys","parameters":{{"keys":["%s"]}}}}\n' {key}"#
    )
}

/// A response for each executable: rule 100000 and up, in order, with the text that goes into the section.
pub(super) fn conf(responses: &[(&str, &str)]) -> String {
    let response = |(index, (executable, timeout)): (usize, &(&str, &str))| {
        let rule = 100_000 + index;
        format!(
            "<command>
               <name>c{index}</name>
               <executable>{executable}</executable>
               <timeout_allowed>yes</timeout_allowed>
               <extra_args>-v two</extra_args>
             </command>
             <active-response>
               <command>c{index}</command>
               <location>local</location>
               <rules_id>{rule}</rules_id>
               {timeout}
             </active-response>\n"
        )
    };
    let all: String = responses.iter().enumerate().map(response).collect();
    format!("<ossec_config>\n{all}</ossec_config>\n")
}

pub(super) struct Scene {
    pub(super) home: Home,
    pub(super) daemon: Daemon,
}

impl Scene {
    /// Writes the executables, then starts the daemon.
    pub(super) fn new(conf: &str, scripts: &[(&str, &str)], arguments: &[&str]) -> Result<Self> {
        let home = Home::new(conf)?;
        let bin_dir = home.dir().join("active-response/bin");
        fs::create_dir_all(&bin_dir)?;
        for (name, text) in scripts {
            let path = bin_dir.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, Permissions::from_mode(0o750))?;
        }
        let bin_dir = bin_dir.display().to_string();
        let arguments = [&["--bin-dir", &bin_dir], arguments].concat();
        let daemon = home.start_dry(&arguments)?;
        Ok(Self { home, daemon })
    }

    /// Appends an alert of a rule; its line as the daemon reads it is given back.
    pub(super) fn alert(&self, rule: u32, srcip: &str, user: &str) -> Result<String> {
        let line = line(rule, srcip, user);
        self.home.append(&format!("{line}\n"))?;
        Ok(line)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.home.dir().join(name)
    }

    /// Waits until a file that scripts write has so many lines, and gives them.
    pub(super) fn lines(&self, name: &str, count: usize) -> Result<Vec<String>> {
        let read = || {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            // A line that is being written does not count.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        };
        eventually(read).with_context(|| {
            let text = fs::read_to_string(self.path(name)).unwrap_or_default();
            format!("`{name}` has not {count} lines:\n{text}")
        })
    }

    /// Waits until what the daemon counts is as wanted.
    pub(super) fn counts(&self, wanted: impl Fn(&view::Counts) -> bool) -> Result<view::Counts> {
        let look = || {
            let status = self.home.status().ok()?;
            Some(status.counts).filter(&wanted)
        };
        let counts = eventually(look);
        counts.with_context(|| format!("the counts are {:?}", self.home.status()))
    }
}

/// One alert, with the fields in the order in which Wazuh has them. Its time is in the future, so that it is not
/// late whenever it is read.
pub(super) fn line(rule: u32, srcip: &str, user: &str) -> String {
    format!(
        r#"{{"timestamp":"2096-11-24T06:00:00.000+0000","rule":{{"level":5,"description":"a test","id":"{rule}","groups":["test"]}},"agent":{{"id":"000","name":"host"}},"id":"1795500000.{rule}","full_log":"say \"hi\" \u00fc","data":{{"srcip":"{srcip}","dstuser":"{user}"}}}}"#
    )
}

/// One message of the daemon's.
pub(super) fn message(command: &str, alert: &str, executable: &str) -> String {
    let uname = rustix::system::uname();
    let node = uname.nodename().to_string_lossy();
    format!(
        r#"{{"version":1,"origin":{{"name":"{node}","module":"wazuh-execd"}},"command":"{command}","parameters":{{"extra_args":["-v","two"],"alert":{alert},"program":"active-response/bin/{executable}"}}}}"#
    )
}

/// Looks until there is something to see.
pub(super) fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Result<T> {
    for _ in 0..LOOKS {
        if let Some(seen) = look() {
            return Ok(seen);
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("it did not happen")
}
