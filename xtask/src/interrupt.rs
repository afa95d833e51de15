//! Ctrl-C and its like, noticed instead of dying of them, so that what was made in the kernel is removed.
//!
//! Whoever waits does it here. Nothing is done in a signal handler but setting a flag.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a thing that is waited for is looked at.
const EVERY: Duration = Duration::from_millis(1);

/// Whether somebody wants this process to end.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
}

impl Interrupt {
    /// From here on SIGINT, SIGTERM and SIGHUP end nothing by themselves.
    pub(crate) fn listen() -> Result<Self> {
        let asked = Arc::<AtomicBool>::default();
        let register = |signal| flag::register(signal, asked.clone()).map(drop);
        let registered: io::Result<()> =
            [SIGINT, SIGTERM, SIGHUP].into_iter().try_for_each(register);
        registered.context("cannot listen for signals")?;
        Ok(Self { asked })
    }

    /// An error as soon as somebody wants an end.
    pub(crate) fn check(&self) -> Result<()> {
        if self.asked.load(Ordering::Acquire) {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Looks again and again until there is something, for 20 s at most; `what` is named when there never is.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            self.check()?;
            if let Some(found) = look()? {
                return Ok(found);
            }
            if start.elapsed() > PATIENCE {
                bail!("waited for {PATIENCE:?} and there is no sign of {what}");
            }
            thread::park_timeout(EVERY);
        }
    }

    /// Lets time pass.
    pub(crate) fn pause(&self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        while Instant::now() < end {
            self.check()?;
            thread::park_timeout(EVERY);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_ends_the_waiting_and_not_the_process() {
        let interrupt = Interrupt::listen().unwrap();
        interrupt.check().unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        let error = interrupt.wait("a miracle", || Ok(None::<()>)).unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
    }
}
