//! Other alerts, in which nobody is banned, that the daemon reads at the same time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::scene::{Alerts, alert};

const PER_SECOND: u32 = 10_000;

/// Appends alerts at a steady rate.
pub(in crate::bench) struct Load {
    start: Instant,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Load {
    /// Begins.
    pub(super) fn start(path: &Path) -> Result<Self> {
        const PER_WRITE: u32 = 20;
        let mut alerts = Alerts::open(path)?;
        // A level that the configuration does nothing about, and somebody else each time.
        let lines: String = (0..PER_WRITE)
            .map(|n| alert(1002, 2, &format!("203.0.113.{n}")))
            .collect();
        let stop = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut written = 0;
                let mut due = Instant::now();
                while !stop.load(Ordering::Acquire) {
                    alerts.append(&lines).context("cannot append alerts")?;
                    written += PER_WRITE;
                    due += Duration::from_secs(1) * PER_WRITE / PER_SECOND;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                Ok(written)
            }
        });
        Ok(Self {
            start: Instant::now(),
            stop,
            thread,
        })
    }

    /// Ends, and returns how many there were in a second.
    pub(super) fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Release);
        let took = self.start.elapsed();
        let joined = self.thread.join();
        let written = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(f64::from(written) / took.as_secs_f64())
    }
}
