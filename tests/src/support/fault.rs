//! How often a fault is tried, and what is told of it: a line for each, which `cargo xtask faults` makes a table of.

use std::env;
use std::fs::File;
use std::io::{self, Write as _};

use anyhow::{Result, ensure};
use serde_json::json;

/// Whether the long form is asked for, as `cargo xtask faults` does: environment variable `ARFW_FAULTS` is `long`.
#[must_use]
pub fn long() -> bool {
    env::var_os("ARFW_FAULTS").is_some_and(|form| form == "long")
}

/// How often to try.
#[must_use]
pub fn times(short: u32, long_form: u32) -> u32 {
    if long() { long_form } else { short }
}

/// Tries a fault by a test that fails when anything is not as it should be; once in the short form.
///
/// # Errors
///
/// That of the test.
pub fn repeat(fault: &'static str, long_form: u32, test: impl Fn() -> Result<()>) -> Result<()> {
    let mut tally = Tally::of(fault);
    for _ in 0..times(1, long_form) {
        tally.tried();
        test()?;
    }
    tally.end()
}

/// What came of one fault. It is told when this is dropped; a test that fails before the end is told as one wrong.
#[derive(Debug)]
pub struct Tally {
    fault: &'static str,
    tried: u64,
    lost: u64,
    doubled: u64,
    wrong: u64,
    causes: Vec<String>,
    ended: bool,
}

impl Tally {
    /// Begins with nothing tried of `fault`.
    #[must_use]
    pub fn of(fault: &'static str) -> Self {
        Self {
            fault,
            tried: 0,
            lost: 0,
            doubled: 0,
            wrong: 0,
            causes: Vec::new(),
            ended: false,
        }
    }

    /// The fault happened once more.
    pub fn tried(&mut self) {
        self.tried += 1;
    }

    /// Packets of a banned host that passed, offences that do not count, bans that are not there.
    pub fn lost(&mut self, count: u64, cause: impl Into<String>) {
        self.lost += count;
        self.note(count, cause);
    }

    /// Offences that count twice.
    pub fn doubled(&mut self, count: u64, cause: impl Into<String>) {
        self.doubled += count;
        self.note(count, cause);
    }

    /// Everything else that should not be.
    pub fn wrong(&mut self, count: u64, cause: impl Into<String>) {
        self.wrong += count;
        self.note(count, cause);
    }

    fn note(&mut self, count: u64, cause: impl Into<String>) {
        if count > 0 {
            self.causes.push(cause.into());
        }
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// When anything was lost, doubled or wrong.
    pub fn end(mut self) -> Result<()> {
        self.ended = true;
        ensure!(
            self.causes.is_empty(),
            "{} of {} lost, {} doubled, {} wrong: {}",
            self.lost,
            self.tried,
            self.doubled,
            self.wrong,
            self.causes.join("; ")
        );
        Ok(())
    }

    fn tell(&self) -> io::Result<()> {
        let Some(path) = env::var_os("ARFW_FAULTS_REPORT") else {
            return Ok(());
        };
        let wrong = self.wrong + u64::from(!self.ended && self.causes.is_empty());
        let line = json!({
            "fault": self.fault,
            "tried": self.tried,
            "lost": self.lost,
            "doubled": self.doubled,
            "wrong": wrong,
        });
        // One write, because other tests append to it as well.
        let mut file = File::options().append(true).create(true).open(path)?;
        file.write_all(format!("{line}\n").as_bytes())
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if let Err(error) = self.tell() {
            // A test that fails has its own error to tell.
            assert!(
                std::thread::panicking(),
                "cannot write ARFW_FAULTS_REPORT: {error}"
            );
        }
    }
}
