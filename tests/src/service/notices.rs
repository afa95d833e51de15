//! The messages of sd_notify(3), at a real socket.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
use xtask::netns::{self, Link};

use super::CONF;

/// The service manager's end.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    /// Its socket, and what the environment of a daemon then has; the second word is for a watchdog.
    fn listen(home: &Home) -> Result<(Self, [String; 2])> {
        let path = home.dir().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let variables = [
            format!("NOTIFY_SOCKET={}", path.display()),
            "WATCHDOG_USEC=4000000".to_owned(),
        ];
        let heard = Vec::new();
        Ok((Self { socket, heard }, variables))
    }

    fn hear(&mut self) -> Result<String> {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).with_context(|| {
            let heard = self.heard.join("\n");
            format!("no message; before there were:\n{heard}")
        })?;
        let message = String::from_utf8(buffer[..length].to_vec())?;
        self.heard.push(message.clone());
        Ok(message)
    }

    /// The next message that has all of these lines.
    fn wait_for(&mut self, lines: &[&str]) -> Result<String> {
        loop {
            let message = self.hear()?;
            if lines.iter().all(|line| message.lines().any(|l| l == *line)) {
                return Ok(message);
            }
        }
    }
}

fn words(variables: &[String]) -> Vec<&OsStr> {
    let variables = variables.iter().map(OsStr::new);
    std::iter::once("env".as_ref()).chain(variables).collect()
}

#[test]
fn the_manager_is_told_of_the_start_a_reload_and_the_stop() -> Result<()> {
    let (home, link) = (Home::new(CONF)?, Link::new()?);
    let (mut manager, variables) = Manager::listen(&home)?;
    let nobody = "STATUS=banned in the kernel: addresses 0, networks 0";
    let mut daemon = home.start_by(&link, &words(&variables[..1]), &[])?;
    // Nothing comes before it.
    let first = manager.hear()?;
    ensure!(first == format!("READY=1\n{nobody}"), "{first}");
    let status = home.status()?;
    ensure!(
        status.interfaces.len() == 1 && status.interfaces[0].mode == "native",
        "{status:?}"
    );

    let offender = netns::offender_v4(1).to_string();
    home.append(&alert::wazuh(5763, 10, &["sshd"], &offender))?;
    manager.wait_for(&["STATUS=banned in the kernel: addresses 1, networks 0"])?;

    kill_process(daemon.pid(), Signal::HUP)?;
    let reloading = manager.wait_for(&["RELOADING=1"])?;
    let since = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
        .context("RELOADING without its time")?
        .parse::<u64>()?;
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec)? * 1_000_000 + u64::try_from(now.tv_nsec)? / 1_000;
    ensure!(since <= now && since > 0, "{since} at {now}");
    manager.wait_for(&["READY=1"])?;

    // A reload that fails has ended too, and the daemon goes on.
    std::fs::write(home.config(), "<ossec_config>")?;
    ensure!(!home.output(&["reload"])?.status.success());
    manager.wait_for(&["RELOADING=1"])?;
    manager.wait_for(&["READY=1"])?;

    daemon.stop(Signal::TERM)?;
    manager.wait_for(&["STOPPING=1"])?;
    ensure!(!manager.heard.iter().any(|said| said.contains("WATCHDOG")));
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

#[test]
fn a_daemon_that_hangs_does_not_tell_that_it_lives() -> Result<()> {
    let home = Home::new(CONF)?;
    let (mut manager, variables) = Manager::listen(&home)?;
    let mut by = vec!["env"];
    by.extend(variables.iter().map(String::as_str));
    let mut daemon = home.start_dry_by(&by)?;
    for _ in 0..2 {
        manager.wait_for(&["WATCHDOG=1"])?;
    }
    kill_process(daemon.pid(), Signal::STOP)?;
    // What was sent before is taken; then there is nothing for longer than the manager waits.
    manager.socket.set_nonblocking(true)?;
    while manager.hear().is_ok() {}
    manager.socket.set_nonblocking(false)?;
    manager
        .socket
        .set_read_timeout(Some(std::time::Duration::from_secs(4)))?;
    ensure!(manager.hear().is_err(), "{:?}", manager.heard);
    kill_process(daemon.pid(), Signal::CONT)?;
    manager.socket.set_read_timeout(Some(PATIENCE))?;
    manager.wait_for(&["WATCHDOG=1"])?;
    daemon.stop(Signal::TERM)?;
    Ok(())
}
