//! A daemon for the demonstration and the measurements, with directories, pins and a log of its own.
//!
//! It is the real binary. Nothing that belongs to a daemon of this machine is touched, and dropping a scene
//! leaves nothing of it. What is shown or measured is not decided here.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::netns::Namespace;

use crate::interrupt::Interrupt;
use crate::shell;

/// One daemon's surroundings, and the daemon when it runs.
pub(crate) struct Scene {
    program: PathBuf,
    directory: TempDir,
    pin_dir: PathBuf,
    child: Option<Child>,
    /// Bytes of the log that have been given out.
    told: usize,
}

impl Scene {
    /// Makes the directories and the configuration; there is no alert file yet.
    pub(crate) fn new(program: &Path, ossec_conf: &str) -> Result<Self> {
        Self::on(&env::temp_dir(), program, ossec_conf)
    }

    /// The same on another file system.
    pub(crate) fn on(parent: &Path, program: &Path, ossec_conf: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = COUNT.fetch_add(1, Ordering::Relaxed);
        let scene = Self {
            program: program.to_owned(),
            directory: tempfile::tempdir_in(parent).context("cannot make a directory")?,
            pin_dir: format!("/sys/fs/bpf/arfw-xtask-{}-{id}", std::process::id()).into(),
            child: None,
            told: 0,
        };
        fs::write(scene.config(), ossec_conf).context("cannot write the configuration")?;
        Ok(scene)
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("ossec.conf")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// The file that the daemon follows.
    pub(crate) fn alerts(&self) -> PathBuf {
        self.directory.path().join("alerts.json")
    }

    /// Where its pins stand.
    pub(crate) fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Its process while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) fn start(
        &mut self,
        interrupt: &Interrupt,
        namespace: &Namespace,
        args: &[&str],
    ) -> Result<()> {
        let log = File::create(self.log()).context("cannot create the log")?;
        self.told = 0;
        let mut command = self.command(&["run"]);
        command.args(["--config".as_ref(), self.config().as_path()]);
        command.args(["--alerts".as_ref(), self.alerts().as_path()]);
        // The log is on standard error, and a file costs the daemon less than a reader of ours would.
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command.stderr(log);
        let child = namespace.spawn(&mut command);
        self.child =
            Some(child.with_context(|| format!("cannot start {}", self.program.display()))?);
        self.await_line(interrupt, &["ready"]).map(drop)
    }

    /// The next line of the log that has all of `words`; what stands before it is not looked at again.
    pub(crate) fn await_line(&mut self, interrupt: &Interrupt, words: &[&str]) -> Result<String> {
        let what = format!("`{}` in the daemon's log", words.join(" "));
        interrupt.wait(&what, || {
            let text = self.read_log()?;
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            let mut lines = text[..whole].split_inclusive('\n');
            let found = lines.find(|line| {
                self.told += line.len();
                words.iter().all(|word| line.contains(word))
            });
            if let Some(line) = found {
                return Ok(Some(without_time(line.trim_end()).to_owned()));
            }
            let ended = self.child.as_mut().map(Child::try_wait).transpose()?;
            if let Some(Some(status)) = ended {
                let text = fs::read_to_string(self.log()).unwrap_or_default();
                bail!(
                    "the daemon ended with {status} and said:\n{}",
                    text.trim_end()
                );
            }
            Ok(None)
        })
    }

    fn read_log(&self) -> Result<String> {
        let bytes = fs::read(self.log()).context("cannot read the daemon's log")?;
        let rest = bytes.get(self.told..).unwrap_or_default();
        Ok(String::from_utf8_lossy(rest).into_owned())
    }

    /// A command of the binary that is about this daemon.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        command.args(["--run-dir".as_ref(), self.directory.path()]);
        command.args(["--state-dir".as_ref(), self.directory.path()]);
        command.args(["--pin-dir".as_ref(), self.pin_dir.as_path()]);
        // Whatever is released, no table of a daemon that serves this machine is.
        command.args(["--nft-table", "arfw-xtask"]);
        // A terminal's Ctrl-C is for us: we end what we have started, in its order.
        command.process_group(0);
        command
    }

    /// What `arfw list` tells.
    pub(crate) fn bans(&self) -> Result<Vec<Value>> {
        let text = shell::look_up(&mut self.command(&["list", "--json"]))?;
        serde_json::from_str(&text).context("cannot read what `arfw list` says")
    }

    /// What `arfw status` tells.
    pub(crate) fn status(&self) -> Result<Value> {
        let text = shell::look_up(&mut self.command(&["status", "--json"]))?;
        serde_json::from_str(&text).context("cannot read what `arfw status` says")
    }

    /// Time that its threads have spent on a CPU, to the nanosecond.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let pid = self.pid().context("the daemon does not run")?;
        let mut sum = Duration::ZERO;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = task?.path().join("schedstat");
            let text = match fs::read_to_string(&path) {
                // It has ended since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.with_context(|| format!("cannot read {}", path.display()))?,
            };
            let on_cpu = text.split_whitespace().next();
            let on_cpu = on_cpu.and_then(|word| word.parse().ok());
            sum += Duration::from_nanos(on_cpu.context("expected the time on a CPU first")?);
        }
        Ok(sum)
    }

    /// Ends the daemon by SIGTERM, in order: bans that stand go on standing.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        kill_process(Pid::from_child(&child), Signal::TERM).context("cannot stop the daemon")?;
        let status = child.wait().context("cannot wait for the daemon")?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }

    /// Ends the daemon by SIGKILL, with no time to do anything.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().context("cannot kill the daemon")?;
            child.wait().context("cannot wait for the daemon")?;
        }
        Ok(())
    }

    /// Takes from the kernel what a reboot takes: all of it.
    pub(crate) fn forget_kernel(&self) -> Result<()> {
        fs::remove_dir_all(&self.pin_dir)
            .with_context(|| format!("cannot remove {}", self.pin_dir.display()))
    }

    /// The file that the daemon keeps its state in.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.path().join("arfw.redb")
    }

    /// Ends every ban, and with them whatever is left in the kernel.
    pub(crate) fn release(&self) -> Result<()> {
        shell::look_up(&mut self.command(&["stop", "--release"])).map(drop)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        if self.pin_dir.exists()
            && let Err(error) = self.release()
        {
            shell::say(format_args!(
                "cannot remove {}: {error:#}",
                self.pin_dir.display()
            ));
        }
    }
}

/// An open alert file, to which each alert goes in one write.
pub(crate) struct Alerts(File);

impl Alerts {
    /// Opens the file, and makes it when it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path);
        Ok(Self(file.with_context(|| {
            format!("cannot open {}", path.display())
        })?))
    }

    /// Appends.
    pub(crate) fn append(&mut self, lines: &str) -> io::Result<()> {
        self.0.write_all(lines.as_bytes())
    }
}

/// A line of `alerts.json` as Wazuh writes it at this moment, with its line end.
pub(crate) fn alert(rule: u32, level: u8, srcip: &str) -> String {
    let log = format!(
        "Nov 24 06:00:00 host sshd[2211]: message repeated 5 times: [ Failed password for root from {srcip} port 52144 ssh2]"
    );
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let (now, number) = (Timestamp::now(), COUNT.fetch_add(1, Ordering::Relaxed));
    let alert = json!({
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
        "rule": {
            "level": level,
            "description": "sshd: brute force trying to get access to the system. Authentication failed.",
            "id": rule.to_string(),
            "mitre": {"id": ["T1110"], "tactic": ["Credential Access"], "technique": ["Brute Force"]},
            "frequency": 8,
            "firedtimes": 1,
            "groups": ["syslog", "sshd", "authentication_failures"],
            "pci_dss": ["11.4", "10.2.4", "10.2.5"],
        },
        "agent": {"id": "000", "name": "host"},
        "manager": {"name": "host"},
        "id": format!("{}.{number}", now.as_second()),
        "full_log": log,
        "predecoder": {"program_name": "sshd", "timestamp": "Nov 24 06:00:00", "hostname": "host"},
        "decoder": {"parent": "sshd", "name": "sshd"},
        "data": {"srcip": srcip, "srcport": "52144", "dstuser": "root"},
        "location": "/var/log/auth.log",
    });
    format!("{alert}\n")
}

/// A line of the log from its message on: its time is of another clock than ours.
fn without_time(line: &str) -> &str {
    let levels = ["ERROR ", " WARN ", " INFO ", "DEBUG "];
    let message = levels
        .iter()
        .filter_map(|level| Some(line.find(level)? + level.len()))
        .min();
    message.map_or(line, |start| &line[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_told_from_its_message_on() {
        let line = "2026-11-24T06:00:00.000001Z  INFO ban address=192.0.2.7 length=\"4s\"";
        assert_eq!(without_time(line), "ban address=192.0.2.7 length=\"4s\"");
        assert_eq!(without_time("no log line"), "no log line");
    }

    #[test]
    fn an_alert_is_one_line() {
        let line = alert(5763, 10, "198.18.0.7");
        assert!(line.ends_with("}\n") && line.lines().count() == 1);
        let alert: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(alert["data"]["srcip"], "198.18.0.7");
        assert_eq!(alert["rule"]["id"], "5763");
    }
}
