//! What the stock executable for iptables does for one alert: a shell that takes a lock by making a directory, writes
//! a line of a log, and starts iptables twice.
//!
//! Written anew, with the same programs in the same order. Nobody waits for its lock here, and whoever would start it
//! has read and matched the alert already: this is the least that it takes.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use xtask::netns::Link;

use super::{Way, spawn};
use crate::interrupt::Interrupt;

const SCRIPT: &str = r#"#!/bin/sh
# firewall-drop ACTION USER ADDRESS
ACTION=$1
ADDRESS=$3
cd "$(dirname "$0")" || exit 1
LOCK=$(pwd)/lock
if [ "$(uname)" != Linux ]; then
    exit 1
fi
echo "$(date) $0 $1 $2 $3" >> active-responses.log
case $ADDRESS in
    *:*) IPTABLES=ip6tables ;;
    *) IPTABLES=iptables ;;
esac
case $ACTION in
    add) HOW=-I ;;
    delete) HOW=-D ;;
    *) exit 1 ;;
esac
until mkdir "$LOCK" 2> /dev/null; do
    sleep 1
done
echo $$ > "$LOCK/pid"
"$IPTABLES" $HOW INPUT -s "$ADDRESS" -j DROP
INPUT=$?
"$IPTABLES" $HOW FORWARD -s "$ADDRESS" -j DROP
FORWARD=$?
rm -rf "$LOCK"
exit $((INPUT + FORWARD))
"#;

/// A directory with the script, its lock and its log.
pub(super) struct Script {
    directory: TempDir,
    path: PathBuf,
    running: Option<Child>,
}

impl Script {
    /// Writes it.
    pub(super) fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let path = directory.path().join("firewall-drop");
        fs::write(&path, SCRIPT).context("cannot write the script")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .context("cannot make the script executable")?;
        Ok(Self {
            directory,
            path,
            running: None,
        })
    }
}

impl Way for Script {
    fn report(&mut self, link: &Link, offender: &str) -> Result<Instant> {
        let said = File::options()
            .create(true)
            .append(true)
            .open(self.directory.path().join("said"))?;
        let mut command = Command::new(&self.path);
        command.args(["add", "-", offender]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        let (start, child) = spawn(link, &mut command).context("cannot start the script")?;
        self.running = Some(child);
        Ok(start)
    }

    fn settle(&mut self, interrupt: &Interrupt) -> Result<()> {
        let Some(mut child) = self.running.take() else {
            return Ok(());
        };
        let status = interrupt.wait("the end of the script", || Ok(child.try_wait()?))?;
        let said = fs::read_to_string(self.directory.path().join("said")).unwrap_or_default();
        ensure!(
            status.success(),
            "the script ended with {status}: {}",
            said.trim()
        );
        Ok(())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // Only after an error. What it has started ends with the namespace.
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
