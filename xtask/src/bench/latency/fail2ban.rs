//! fail2ban with the filter for sshd, which bans at the first line, in a namespace and with directories of its own.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tempfile::TempDir;
use xtask::netns::Link;

use super::Way;
use crate::bench::peers;
use crate::interrupt::Interrupt;
use crate::scene::Alerts;
use crate::shell;

/// Where Debian's package has filters and actions.
const PACKAGE: &str = "/etc/fail2ban";

/// The probe sends UDP, and an answer to what is rejected would be an error of its socket.
const NFTABLES: &str = "nftables-allports[name=sshd, protocol=udp, blocktype=drop]";
const IPTABLES: &str = "iptables-allports[name=sshd, protocol=udp, blocktype=DROP]";

/// What follows the log, and what is called for a ban.
pub(super) const KINDS: [(&str, &str, &str); 3] = [
    ("fail2ban, pyinotify, nftables", "pyinotify", NFTABLES),
    ("fail2ban, pyinotify, iptables", "pyinotify", IPTABLES),
    ("fail2ban, polling, nftables", "polling", NFTABLES),
];

/// A server with one jail.
pub(super) struct Fail2ban {
    directory: TempDir,
    log: Alerts,
    server: Child,
}

impl Fail2ban {
    /// What is not installed that the server needs with this backend and action.
    pub(super) fn is_missing(backend: &str, action: &str) -> Option<String> {
        let lacks = if shell::find("fail2ban-server").is_none() || !Path::new(PACKAGE).exists() {
            "fail2ban"
        } else if backend == "pyinotify" && !peers::has_pyinotify() {
            peers::PYINOTIFY
        } else if action == NFTABLES && shell::find("nft").is_none() {
            "nftables"
        } else {
            return None;
        };
        Some(format!("package {lacks} is not installed"))
    }

    /// Starts the server in the host's namespace, and waits until its jail has begun.
    pub(super) fn start(
        interrupt: &Interrupt,
        link: &Link,
        backend: &str,
        action: &str,
    ) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let at = |name: &str| directory.path().join(name);
        let log = Alerts::open(&at("auth.log"))?;
        configure(directory.path(), backend, action)
            .context("cannot write a configuration of fail2ban")?;
        let mut command = Command::new("fail2ban-server");
        command.args(["-f", "-c"]).arg(directory.path());
        command.arg("-s").arg(at("socket")).arg("-p").arg(at("pid"));
        command.arg("start").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(at("said"))?);
        let server = link.host.spawn(&mut command);
        let mut this = Self {
            server: server.context("cannot start `fail2ban-server`")?,
            log,
            directory,
        };
        interrupt.wait("a jail of fail2ban that has started", || this.has_begun())?;
        Ok(this)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn has_begun(&mut self) -> Result<Option<()>> {
        let log = fs::read_to_string(self.at("fail2ban.log")).unwrap_or_default();
        if let Some(status) = self.server.try_wait()? {
            let said = fs::read_to_string(self.at("said")).unwrap_or_default();
            bail!("fail2ban ended with {status} and said:\n{said}{log}");
        }
        Ok(log.contains("Jail 'sshd' started").then_some(()))
    }
}

/// The package's filters and actions, and nothing else of this machine's fail2ban.
fn configure(directory: &Path, backend: &str, action: &str) -> Result<()> {
    for name in ["action.d", "filter.d"] {
        symlink(Path::new(PACKAGE).join(name), directory.join(name))?;
    }
    let here = directory.display();
    let server = format!(
        "[Definition]\nloglevel = INFO\nlogtarget = {here}/fail2ban.log\nsyslogsocket = auto\nsocket = {here}/socket\n\
         pidfile = {here}/pid\ndbfile = {here}/fail2ban.sqlite3\ndbpurgeage = 1d\ndbmaxmatches = 10\n"
    );
    let jail = format!(
        "[sshd]\nenabled = true\nfilter = sshd\nbackend = {backend}\nlogpath = {here}/auth.log\n\
         maxretry = 1\nfindtime = 10m\nbantime = 1d\nusedns = no\nignoreself = false\naction = {action}\n"
    );
    fs::write(directory.join("fail2ban.conf"), server)?;
    fs::write(directory.join("jail.conf"), jail)?;
    Ok(())
}

impl Way for Fail2ban {
    fn report(&mut self, _link: &Link, offender: &str) -> Result<Instant> {
        let line = format!(
            "{} host sshd[2211]: Failed password for root from {offender} port 52144 ssh2\n",
            Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00")
        );
        let start = Instant::now();
        self.log.append(&line).context("cannot append to a log")?;
        Ok(start)
    }

    fn stop(&mut self) -> Result<()> {
        // In order it would take every ban back, one program after the other; the namespace goes anyway.
        self.server.kill()?;
        self.server.wait()?;
        Ok(())
    }
}

impl Drop for Fail2ban {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
