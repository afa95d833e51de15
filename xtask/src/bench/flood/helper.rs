//! A program that runs beside the measuring, and is talked with line by line.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use xtask::netns::Namespace;

use crate::interrupt::Interrupt;

/// A program that ends with its standard input, and so with this process, however that ends.
pub(super) struct Helper {
    child: Child,
    lines: Receiver<String>,
    directory: TempDir,
}

impl Helper {
    /// Starts it in a namespace.
    pub(super) fn start(at: &Namespace, command: &mut Command) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let said = File::create(directory.path().join("said"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(said).process_group(0);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = at.spawn(command);
        let mut child = child.with_context(|| format!("cannot start `{name}`"))?;
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(stdout).lines().map_while(Result::ok);
                // Ends with the program, or when nobody listens.
                lines.for_each(|line| drop(sender.send(line)));
            });
        }
        Ok(Self {
            child,
            lines,
            directory,
        })
    }

    /// A directory that goes with it.
    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits for the next line.
    pub(super) fn hear(&mut self, interrupt: &Interrupt) -> Result<String> {
        interrupt.wait("an answer of a program", || match self.lines.try_recv() {
            Ok(line) => Ok(Some(line)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => {
                let said = fs::read_to_string(self.directory.path().join("said"));
                bail!("the program ended: {}", said.unwrap_or_default().trim())
            }
        })
    }

    /// Waits for a line, which has to be this word.
    pub(super) fn await_word(&mut self, interrupt: &Interrupt, word: &str) -> Result<()> {
        let line = self.hear(interrupt)?;
        ensure!(line == word, "expected `{word}`, found `{line}`");
        Ok(())
    }

    /// Sends it a line.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("it does not listen")?;
        writeln!(stdin, "{line}").context("cannot tell the program what to do")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // The end of its input is the end of it; whatever holds it up is ended with force.
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
