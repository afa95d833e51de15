//! A shell on a host of its own: namespaces for processes, mounts and network, and every write of it in memory.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tests::support::daemon::{PATIENCE, binary};

const SCRIPT: &str = include_str!("sandbox.sh");

/// Dropping it ends all that runs in it; its mounts and interfaces go with the last process.
pub(super) struct Sandbox {
    child: Child,
    stdin: ChildStdin,
    statuses: Receiver<String>,
    staying: usize,
    directory: TempDir,
}

impl Sandbox {
    pub(super) fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs::create_dir(directory.path().join("guide"))?;
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount-proc", "sh", "-c", SCRIPT, "sandbox.sh"]);
        command.args([directory.path(), &binary().canonicalize()?, &workspace]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start `unshare`")?;
        let stdin = child.stdin.take().context("its standard input")?;
        let stdout = child.stdout.take().context("its standard output")?;
        let (sender, statuses) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut sandbox = Self {
            child,
            stdin,
            statuses,
            staying: 0,
            directory,
        };
        sandbox
            .tell("cd; echo 0")
            .context("cannot make a sandbox, which needs root")?;
        Ok(sandbox)
    }

    /// Runs `command` in the shell: its exit status, and what it printed on both outputs.
    pub(super) fn run(&mut self, command: &str) -> Result<(i32, String)> {
        fs::write(self.file("step"), format!("{command}\n"))?;
        let told = self.tell(". /run/guide/step < /dev/null > /run/guide/output 2>&1; echo $?")?;
        Ok((told.parse()?, self.read("output")?))
    }

    /// Starts `command` beside the shell; what it prints can be read from the file that is named.
    pub(super) fn start(&mut self, command: &str) -> Result<String> {
        self.staying += 1;
        let name = format!("staying-{}", self.staying);
        fs::write(self.file("stays"), format!("{command}\n"))?;
        fs::write(self.file(&name), "")?;
        // Not a job of the shell, which would tell its end in between.
        let line = format!("((. /run/guide/stays) < /dev/null > /run/guide/{name} 2>&1 &); echo 0");
        self.tell(&line)?;
        Ok(name)
    }

    /// What stands in a file of [`Sandbox::start`].
    pub(super) fn read(&self, name: &str) -> Result<String> {
        let bytes = fs::read(self.file(name))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a file to where the shell is.
    pub(super) fn write(&mut self, name: &str, text: &str) -> Result<()> {
        fs::write(self.file("written"), text)?;
        let (status, output) =
            self.run(&format!("install -D -m 644 /run/guide/written '{name}'"))?;
        anyhow::ensure!(status == 0, "cannot write `{name}`: {output}");
        Ok(())
    }

    /// Asks again and again until the answer is some.
    pub(super) fn wait<T>(
        &mut self,
        mut ask: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let begun = Instant::now();
        loop {
            let answer = ask(self)?;
            if answer.is_some() || begun.elapsed() > PATIENCE {
                return Ok(answer);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("guide").join(name)
    }

    fn tell(&mut self, line: &str) -> Result<String> {
        writeln!(self.stdin, "{line}")?;
        match self.statuses.recv_timeout(PATIENCE) {
            Ok(status) => Ok(status),
            Err(why) => bail!("the shell does not answer ({why})"),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // `unshare` takes the first process of the namespace along, and the kernel all others.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
