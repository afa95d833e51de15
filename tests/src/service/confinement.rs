//! Rights: those that the daemon keeps, those that it gives up, and those that executables have.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal};
use tests::support::alert;
use tests::support::daemon::{Daemon, Home};
use tests::support::unit;
use xtask::netns::{self, Link};

use super::CONF;

/// BPF, NET_ADMIN, PERFMON and DAC_READ_SEARCH, as `/proc/PID/status` writes them.
const KEPT: u64 = 1 << 39 | 1 << 12 | 1 << 38 | 1 << 2;

/// Name, permitted capabilities and whether it can gain privileges, of one thread.
type Rights = (String, u64, bool);

fn rights(pid: Pid) -> Result<Vec<Rights>> {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let mut all = Vec::new();
    for task in fs::read_dir(tasks)? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let fields: BTreeMap<&str, &str> = status
            .lines()
            .filter_map(|line| line.split_once(":\t"))
            .collect();
        let set = |name: &str| {
            let text = fields.get(name).context("a set of capabilities")?;
            u64::from_str_radix(text, 16).context("a number")
        };
        ensure!(set("CapInh")? == 0 && set("CapAmb")? == 0, "{status}");
        let gains = fields.get("NoNewPrivs") == Some(&"0");
        all.push((fields["Name"].to_owned(), set("CapPrm")?, gains));
    }
    Ok(all)
}

fn check_rights(daemon: &Daemon) -> Result<()> {
    let all = rights(daemon.pid())?;
    // Threads that need more have names of their own.
    let (more, kept): (Vec<Rights>, Vec<Rights>) = all
        .into_iter()
        .partition(|(name, ..)| MORE.contains(&&**name));
    ensure!(
        more.iter().any(|(name, ..)| name == "unconfined"),
        "{more:?}"
    );
    ensure!(kept.len() > 1, "{kept:?}");
    for (name, permitted, gains) in kept {
        ensure!(permitted & !KEPT == 0 && !gains, "{name}: {permitted:x}");
    }
    Ok(())
}

/// What keeps all: whoever may be asked, executables, and the log whose file is Wazuh's.
const MORE: [&str; 3] = ["unconfined", "executables", "responses-log"];

/// An executable that writes where the daemon may not.
fn write_own(bin: &Path, out: &Path) -> Result<()> {
    fs::create_dir_all(bin)?;
    let script = bin.join("own.sh");
    let text = format!(
        "#!/bin/sh\ngrep -E '^(CapEff|NoNewPrivs)' /proc/self/status > {0}.new\nmv {0}.new {0}\n",
        out.display()
    );
    fs::write(&script, text)?;
    Ok(fs::set_permissions(
        script,
        fs::Permissions::from_mode(0o750),
    )?)
}

#[test]
fn what_the_daemon_does_not_need_it_gives_up_and_executables_have_it() -> Result<()> {
    let (home, link) = (Home::new(CONF)?, Link::new()?);
    let (bin, out) = (home.dir().join("bin"), home.dir().join("out"));
    write_own(&bin, &out)?;
    let log = home.dir().join("responses.log");
    let arguments = ["--bin-dir", text(&bin)?, "--responses-log", text(&log)?];
    let mut daemon = home.start(&link, &arguments)?;
    check_rights(&daemon)?;

    let (one, two) = (netns::offender_v4(1), netns::offender_v6(1));
    home.append(&alert::wazuh(5763, 10, &["sshd"], &one.to_string()))?;
    daemon.wait_for(" ban ")?;
    home.append(&alert::wazuh(5712, 10, &["sshd"], &two.to_string()))?;
    daemon.wait_for("own.sh")?;
    while !out.exists() {
        daemon.wait_for("own.sh")?;
    }
    check_rights(&daemon)?;
    let all = fs::read_to_string("/proc/self/status")?;
    let mine: Vec<&str> = all
        .lines()
        .filter(|line| line.starts_with("CapEff") || line.starts_with("NoNewPrivs"))
        .collect();
    let had = fs::read_to_string(&out)?;
    ensure!(had.lines().collect::<Vec<_>>() == mine, "{had}{mine:?}");
    daemon.stop(Signal::TERM)?;
    ensure!(fs::read_to_string(&log)?.contains(&one.to_string()));
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

/// With what the unit grants and nothing else.
#[test]
fn the_capabilities_of_the_unit_are_enough() -> Result<()> {
    let (home, link) = (Home::new(CONF)?, Link::new()?);
    let (bin, out) = (home.dir().join("bin"), home.dir().join("out"));
    write_own(&bin, &out)?;
    let words = unit::words()?;
    let by: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    let mut daemon = home.start_by(&link, &by, &["--bin-dir", text(&bin)?])?;
    check_rights(&daemon)?;
    let status = home.status()?;
    ensure!(status.interfaces[0].mode == "native", "{status:?}");

    let (one, two) = (netns::offender_v4(1), netns::offender_v6(1));
    home.append(&alert::wazuh(5763, 10, &["sshd"], &one.to_string()))?;
    home.append(&alert::wazuh(5712, 10, &["sshd"], &two.to_string()))?;
    daemon.wait_for(" ban ")?;
    while !out.exists() {
        daemon.wait_for("own.sh")?;
    }
    daemon.stop(Signal::TERM)?;
    // The next one takes over what stands, and lets it go.
    let mut daemon = home.start_by(&link, &by, &["--bin-dir", text(&bin)?])?;
    ensure!(
        home.bans()?
            .iter()
            .any(|ban| ban.address == one.to_string())
    );
    ensure!(home.output(&["stop", "--release"])?.status.success());
    drop(daemon.wait_for("stopping")?);
    ensure!(!home.pin_dir().exists());
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}
