//! The real binary, run in the host's namespace of a link, with directories and pins of its own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use arfw::control::view;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use xtask::netns::{INTERFACE, Link, Namespace};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Room for bans in the maps of most tests, of each family.
const MAX_BANS: &str = "16384";

/// The binary under test.
///
/// # Panics
///
/// When it is not there: it has to be built first.
#[must_use]
pub fn binary() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/arfw");
    let path = PathBuf::from(std::env::var("ARFW_BIN").unwrap_or_else(|_| built.to_owned()));
    assert!(
        path.exists(),
        "`{}` is not there; `cargo xtask build` makes it",
        path.display()
    );
    path
}

/// What drops the packets in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcer {
    /// The XDP program in the driver.
    Native,
    /// The XDP program behind the driver.
    Generic,
    /// The program at the TCX hook.
    Tcx,
    /// A table of nftables.
    Nftables,
}

impl Enforcer {
    /// What `arfw run` is told.
    #[must_use]
    pub fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Native => &["--xdp-mode", "native"],
            Self::Generic => &["--xdp-mode", "generic"],
            Self::Tcx => &["--xdp-mode", "tcx"],
            Self::Nftables => &["--enforcer", "nftables"],
        }
    }
}

/// Directories of one daemon, which outlive its process.
#[derive(Debug)]
pub struct Home {
    directory: TempDir,
    pin_dir: PathBuf,
    binary: PathBuf,
    table: String,
}

impl Home {
    /// Makes the directories, the configuration and an empty alert file.
    ///
    /// # Errors
    ///
    /// When something cannot be written.
    pub fn new(ossec_conf: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let home = Self {
            directory: tempfile::tempdir()?,
            pin_dir: format!("/sys/fs/bpf/arfw-test-{}-{number}", std::process::id()).into(),
            binary: binary(),
            table: format!("arfw-test-{}-{number}", std::process::id()),
        };
        fs::write(home.config(), ossec_conf)?;
        File::create(home.alerts())?;
        Ok(home)
    }

    /// Pins stand elsewhere from here on.
    pub fn pin_in(&mut self, pin_dir: PathBuf) {
        self.pin_dir = pin_dir;
    }

    /// What is started from here on, in place of the binary under test.
    pub fn install(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("ossec.conf")
    }

    /// The directory that everything lies in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// The alert file.
    #[must_use]
    pub fn alerts(&self) -> PathBuf {
        self.directory.path().join("alerts.json")
    }

    /// Directory of the control socket and the lock. It is the daemon's to make.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// Directory of what is kept over restarts. It is the daemon's to make.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Where pins stand.
    #[must_use]
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Name of the nftables table.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Appends to the alert file in one write.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn append(&self, text: &str) -> Result<()> {
        self.append_bytes(text.as_bytes())
    }

    /// The same with bytes that need not be text.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn append_bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut file = File::options().append(true).open(self.alerts())?;
        Ok(file.write_all(bytes)?)
    }

    /// A command of the binary that looks at this daemon: `list`, `status`, `stop`.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .args(["--run-dir".as_ref(), self.run_dir().as_path()])
            .args(["--state-dir".as_ref(), self.state_dir().as_path()])
            .args(["--pin-dir".as_ref(), self.pin_dir.as_path()])
            .args(["--nft-table", &self.table]);
        command
    }

    /// Runs such a command where the daemon is: without one, nftables are those of the namespace.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn output_at(&self, at: &Namespace, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        Ok(at.run(|| command.output())??)
    }

    /// Runs such a command to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn output(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments).output()?)
    }

    /// What `arfw list` tells.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn bans(&self) -> Result<Vec<view::Ban>> {
        json(&self.output(&["list", "--json"])?)
    }

    /// The same, asked where the daemon is.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn bans_at(&self, at: &Namespace) -> Result<Vec<view::Ban>> {
        json(&self.output_at(at, &["list", "--json"])?)
    }

    /// What `arfw status` tells.
    ///
    /// # Errors
    ///
    /// When the command fails.
    pub fn status(&self) -> Result<view::Status> {
        json(&self.output(&["status", "--json"])?)
    }

    /// Starts the daemon in the host's namespace and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start(&self, link: &Link, arguments: &[&str]) -> Result<Daemon> {
        self.start_by(link, &[], arguments)
    }

    /// The same, on the interfaces that `arguments` tell, or on all.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start_on(&self, link: &Link, arguments: &[&str]) -> Result<Daemon> {
        let mut command = self.run_command(&self.alerts(), MAX_BANS);
        Daemon::start(link.host.spawn(command.args(arguments))?)
    }

    /// The same by another program: its first words are `by`, those of the daemon follow.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start_by(&self, link: &Link, by: &[&OsStr], arguments: &[&str]) -> Result<Daemon> {
        let mut daemon = self.run_command(&self.alerts(), MAX_BANS);
        daemon.args(["--interface", INTERFACE]).args(arguments);
        let mut command = match by {
            [] => daemon,
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(daemon.get_program());
                command.args(daemon.get_args());
                command.stdin(Stdio::null()).stderr(Stdio::piped());
                command
            }
        };
        Daemon::start(link.host.spawn(&mut command)?)
    }

    /// Starts the daemon in the host's namespace and kills it as soon as `is_time`, which is asked over and over.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn kill_start(&self, link: &Link, mut is_time: impl FnMut() -> bool) -> Result<()> {
        let mut command = self.run_command(&self.alerts(), MAX_BANS);
        command.args(["--interface", INTERFACE]);
        let mut child = link.host.spawn(command.stderr(Stdio::null()))?;
        let begun = Instant::now();
        while !is_time() && begun.elapsed() < PATIENCE {
            std::thread::park_timeout(Duration::from_micros(50));
        }
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The same with room for so many bans of each family.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start_with_room(&self, link: &Link, max_bans: &str) -> Result<Daemon> {
        let mut daemon = self.run_command(&self.alerts(), max_bans);
        daemon.args(["--interface", INTERFACE]);
        Daemon::start(link.host.spawn(&mut daemon)?)
    }

    /// Runs a daemon that does not get as far as being ready, and gives how it ended.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn fail_to_start(&self, link: &Link, alerts: &Path, interface: &str) -> Result<Output> {
        let mut command = self.run_command(alerts, MAX_BANS);
        command.args(["--interface", interface]);
        Ok(link.host.spawn(&mut command)?.wait_with_output()?)
    }

    fn run_command(&self, alerts: &Path, max_bans: &str) -> Command {
        let mut command = self.command(&["run"]);
        command
            .args(["--config".as_ref(), self.config().as_path()])
            .args(["--alerts".as_ref(), alerts])
            .args(["--max-bans", max_bans])
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the daemon where the test is, without a kernel program, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start_dry(&self, arguments: &[&str]) -> Result<Daemon> {
        Daemon::start(self.dry_command(&self.alerts(), arguments).spawn()?)
    }

    /// The same, following another file.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start_dry_on(&self, alerts: &Path) -> Result<Daemon> {
        Daemon::start(self.dry_command(alerts, &[]).spawn()?)
    }

    /// The same, by a program that takes the daemon's command line behind its own arguments and becomes it.
    ///
    /// # Errors
    ///
    /// When it ends before it is ready; what it said is told.
    pub fn start_dry_by(&self, program: &[&str]) -> Result<Daemon> {
        Daemon::start(self.spawn_dry_by(program)?)
    }

    /// The same without waiting for it. Nobody kills it when the test fails.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn spawn_dry_by(&self, program: &[&str]) -> Result<Child> {
        let daemon = self.dry_command(&self.alerts(), &[]);
        let (name, arguments) = program.split_first().context("a program")?;
        let mut command = Command::new(name);
        command
            .args(arguments)
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        Ok(command.spawn()?)
    }

    fn dry_command(&self, alerts: &Path, arguments: &[&str]) -> Command {
        let mut command = self.command(&["run"]);
        command
            .args(["--config".as_ref(), self.config().as_path()])
            .args(["--alerts".as_ref(), alerts])
            .args(["--enforcer", "dry-run"])
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Also after a failed test nothing may stay in the kernel; a good end has left nothing to remove.
        if self.pin_dir.exists() {
            let _ = arfw::enforcer::xdp::release(&self.pin_dir);
        }
    }
}

fn json<T: serde::de::DeserializeOwned>(output: &Output) -> Result<T> {
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    lines: mpsc::Receiver<String>,
    reader: Option<JoinHandle<()>>,
    said: Vec<String>,
}

impl Daemon {
    fn start(mut child: Child) -> Result<Self> {
        let stderr = child
            .stderr
            .take()
            .context("the daemon's standard error is piped")?;
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut daemon = Self {
            child,
            lines,
            reader: Some(reader),
            said: Vec::new(),
        };
        daemon.wait_for(" ready")?;
        Ok(daemon)
    }

    /// Waits for a line of its log that contains `text`, and gives the line.
    ///
    /// # Errors
    ///
    /// When it ends first, or is silent for too long; everything that it said is told.
    pub fn wait_for(&mut self, text: &str) -> Result<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line);
                    if let Some(line) = self.said.last().filter(|line| line.contains(text)) {
                        return Ok(line.clone());
                    }
                }
                Err(why) => bail!(
                    "{why} for `{text}`; the daemon said:\n{}",
                    self.said.join("\n")
                ),
            }
        }
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// Never: a child has a process number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal and waits for the end. Gives everything that it logged.
    ///
    /// # Errors
    ///
    /// When it does not end with success.
    pub fn stop(&mut self, signal: Signal) -> Result<Vec<String>> {
        kill_process(self.pid(), signal)?;
        let status = self.child.wait()?;
        self.drain();
        ensure!(
            status.success(),
            "{status}; the daemon said:\n{}",
            self.said.join("\n")
        );
        Ok(std::mem::take(&mut self.said))
    }

    /// Kills it, as a crash would.
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn crash(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn drain(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        self.said.extend(self.lines.try_iter());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `stop` and `crash` the child is gone, and these do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.drain();
    }
}
