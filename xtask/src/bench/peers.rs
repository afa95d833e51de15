//! The programs that arfw is measured against: Debian's packages, installed when they are missing.
//!
//! What is installed stays, as it would after `apt-get install`, but no service of it is started or enabled: fail2ban's
//! package starts one that reads this host's logs and bans. Where a package cannot be had, its rows say so.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::setup::packages;
use crate::shell::{self, say};

/// One of those that arfw is compared with, or what comparing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    XdpFilter,
    Bpftool,
    Iptables,
    Fail2ban,
    Nft,
    Ipset,
    Ethtool,
}

impl Peer {
    /// The program that shows whether it is installed.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::XdpFilter => "xdp-filter",
            Self::Bpftool => "bpftool",
            Self::Iptables => "iptables",
            Self::Fail2ban => "fail2ban-client",
            Self::Nft => "nft",
            Self::Ipset => "ipset",
            Self::Ethtool => "ethtool",
        }
    }

    /// The package of Debian that has it.
    pub(super) fn package(self) -> &'static str {
        match self {
            Self::XdpFilter => "xdp-tools",
            Self::Bpftool => "bpftool",
            Self::Iptables => "iptables",
            Self::Fail2ban => "fail2ban",
            Self::Nft => "nftables",
            Self::Ipset => "ipset",
            Self::Ethtool => "ethtool",
        }
    }

    /// Whether nothing of it is missing.
    fn is_whole(self) -> bool {
        shell::find(self.program()).is_some() && (self != Self::Fail2ban || has_pyinotify())
    }
}

/// What fail2ban watches its log by; its package only recommends it.
pub(super) const PYINOTIFY: &str = "python3-pyinotify";

/// Whether fail2ban can have its log watched.
pub(super) fn has_pyinotify() -> bool {
    // The one that the server runs with, and not another in PATH.
    let mut import = Command::new("/usr/bin/python3");
    shell::look_up(import.args(["-c", "import pyinotify"])).is_ok()
}

/// The peers that are installed.
#[derive(Debug, Default)]
pub(super) struct Available(Vec<(Peer, PathBuf)>);

impl Available {
    /// Its program; `None` when it is not installed, and could not be.
    pub(super) fn program(&self, peer: Peer) -> Option<&Path> {
        let found = self.0.iter().find(|(one, _)| *one == peer);
        found.map(|(_, program)| program.as_path())
    }
}

/// Finds `peers`, and installs those that are missing.
///
/// # Errors
///
/// When it cannot be made sure that a service of theirs stays stopped. That a package cannot be had is said, and no error.
pub(super) fn ensure(peers: &[Peer]) -> Result<Available> {
    for &peer in peers {
        if peer.is_whole() {
            continue;
        }
        let package = peer.package();
        let lacks = match shell::find(peer.program()) {
            Some(_) => PYINOTIFY,
            None => peer.program(),
        };
        say(format_args!(
            "\nmissing: {lacks}; installing Debian's package {package} with all that is measured of it"
        ));
        if let Err(error) = install(peer)? {
            say(format_args!(
                "  {package}: cannot be installed, and is left out: {error:#}\n  remedy: `apt-get install {package}` with a network, then measure again"
            ));
        }
    }
    let found = peers
        .iter()
        .filter_map(|&peer| Some((peer, shell::find(peer.program())?)));
    Ok(Available(found.collect()))
}

/// The outer result is about the host's services, the inner one about the package.
fn install(peer: Peer) -> Result<Result<()>> {
    if peer != Peer::Fail2ban {
        return Ok(packages::install(&[peer.package()]));
    }
    let policy = Policy::forbid("fail2ban")?;
    let installed = packages::install(&[peer.package(), PYINOTIFY]);
    if let Some(client) = shell::find(peer.program()) {
        stop_fail2ban(&client)?;
    }
    policy.lift()?;
    Ok(installed)
}

/// Neither now nor after the next boot.
fn stop_fail2ban(client: &Path) -> Result<()> {
    if let Some(update) = shell::find("update-rc.d") {
        shell::run(Command::new(update).args(["fail2ban", "disable"]))
            .context("cannot keep fail2ban from starting with this host")?;
    }
    // An administrator's policy may have let it start.
    let mut ping = Command::new(client);
    if shell::look_up(ping.arg("ping")).is_ok() {
        shell::run(Command::new(client).arg("stop")).context("cannot stop fail2ban")?;
    }
    Ok(())
}

/// Where the scripts of Debian's packages ask whether they may start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// As long as it stands no package starts the service. An administrator's own policy is left as it is.
struct Policy(Option<Child>);

impl Policy {
    fn forbid(service: &str) -> Result<Self> {
        Self::at(Path::new(POLICY), service)
    }

    fn at(path: &Path, service: &str) -> Result<Self> {
        let mut file = match File::create_new(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(Self(None)),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", path.display()));
            }
        };
        // However this process ends, its end of the pipe is closed, and the file removed.
        let remover = Command::new("sh")
            .args(["-c", "trap '' HUP INT QUIT TERM; read -r _; rm -f \"$0\""])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        let remover = remover.or_else(|error| {
            fs::remove_file(path)?;
            Err(error)
        });
        let policy = Self(Some(remover.context("cannot start `sh`")?));
        write!(
            file,
            "#!/bin/sh\nfor word do case \"$word\" in {service} | {service}.service) exit 101 ;; esac; done\nexit 0\n"
        )?;
        file.set_permissions(Permissions::from_mode(0o755))?;
        Ok(policy)
    }

    fn lift(mut self) -> Result<()> {
        self.remove()
    }

    fn remove(&mut self) -> Result<()> {
        let Some(mut remover) = self.0.take() else {
            return Ok(());
        };
        drop(remover.stdin.take());
        let ended = remover.wait().context("cannot wait for `sh`")?;
        anyhow::ensure!(
            ended.success(),
            "cannot remove {POLICY}, which forbids a service to start: remove it"
        );
        Ok(())
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            say(format_args!("{error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(policy: &Path, words: &[&str]) -> bool {
        // By `sh`: another thread that forks just now may still hold it open for writing.
        let mut sh = Command::new("sh");
        let status = sh.arg(policy).args(words).status().unwrap();
        assert!(matches!(status.code(), Some(0 | 101)), "{status}");
        status.success()
    }

    #[test]
    fn a_policy_forbids_one_service_and_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy-rc.d");
        let policy = Policy::at(&path, "fail2ban").unwrap();
        assert!(!allows(&path, &["fail2ban", "start"]));
        assert!(!allows(&path, &["--quiet", "fail2ban.service", "restart"]));
        assert!(allows(&path, &["nginx", "start"]));
        policy.lift().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn an_administrators_policy_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy-rc.d");
        fs::write(&path, "theirs").unwrap();
        drop(Policy::at(&path, "fail2ban").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }
}
