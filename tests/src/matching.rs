//! What an alert costs before anybody is banned: reading its line, parsing it, and matching it with the sections of a
//! configuration, each for itself and on one CPU.
//!
//! The code is the daemon's, without its task, its counts and its queues. Times are those of this thread on the CPU, so
//! that others' work shares caches with it but no time. Nothing here is a test: the figures are of the machine and the hour.

use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arfw::alert::Alert;
use arfw::config;
use arfw::policy::{Decision, Guard, Policy};
use arfw::source::Lines;
use arfw::source::file::CHUNK;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use xtask::sections::{SIZES, configuration};

/// Measurements of each case, in turns.
const ROUNDS: usize = 9;
/// How often the file is read for one measurement.
const PASSES: usize = 10;

/// The times of one configuration.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// Its sections.
    pub sections: usize,
    /// Lines of the file.
    pub lines: usize,
    /// Nanoseconds a line, of each round.
    pub rounds: Vec<Round>,
}

/// Nanoseconds a line.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// Reading from the page cache, and cutting into lines.
    pub read_ns: f64,
    /// Making an alert of a line, and dropping it.
    pub parse_ns: f64,
    /// Deciding that no section matches.
    pub match_ns: f64,
}

/// Measures each number of sections with a file of alerts that none of them matches.
///
/// # Errors
///
/// When the file cannot be read, holds a line that is no alert, or one that a section matches.
pub fn measure(alerts: &Path) -> Result<Vec<Figure>> {
    pin()?;
    let mut cases = Vec::new();
    for sections in SIZES {
        let reading = config::read(&configuration(sections));
        let config = reading.config.context("the configuration is wrong")?;
        cases.push((Policy::new(Arc::new(config)), Vec::new(), sections));
    }
    let mut lines = 0;
    for _ in 0..ROUNDS {
        for (policy, rounds, _) in &mut cases {
            let mut sum = Spent::default();
            for _ in 0..PASSES {
                sum.pass(alerts, policy)?;
            }
            rounds.push(sum.a_line()?);
            lines = sum.lines / PASSES;
        }
    }
    let figures = cases.into_iter().map(|(_, rounds, sections)| Figure {
        sections,
        lines,
        rounds,
    });
    Ok(figures.collect())
}

/// Stays on the last CPU that there is: interrupts are mostly the first one's.
fn pin() -> Result<()> {
    let allowed = sched_getaffinity(None).context("cannot ask for the CPUs")?;
    let last = (0..CpuSet::MAX_CPU).rfind(|&cpu| allowed.is_set(cpu));
    let mut one = CpuSet::new();
    one.set(last.context("there is no CPU that this process may use")?);
    sched_setaffinity(None, &one).context("cannot stay on one CPU")
}

#[derive(Default)]
struct Spent {
    lines: usize,
    read: Duration,
    parse: Duration,
    matching: Duration,
}

impl Spent {
    /// Takes the whole file through, one piece after the other, as the daemon reads it.
    fn pass(&mut self, alerts: &Path, policy: &mut Policy) -> Result<()> {
        let unreadable = || format!("cannot read {}", alerts.display());
        let mut file = File::open(alerts).with_context(unreadable)?;
        let guard = Guard::default();
        let (mut cutter, mut chunk) = (Lines::default(), vec![0; CHUNK]);
        loop {
            let start = on_cpu();
            let read = file.read(&mut chunk).with_context(unreadable)?;
            let cut = match read {
                0 => cutter.finish(),
                read => cutter.push(&chunk[..read]),
            };
            let lines: Vec<&[u8]> = cut.lines().collect();
            self.read += on_cpu() - start;
            self.lines += lines.len();

            let mut mended = vec![String::new(); lines.len()];
            let start = on_cpu();
            let parsed: Result<Vec<Alert<'_>>, _> = lines
                .iter()
                .zip(&mut mended)
                .map(|(line, mended)| Alert::parse_lossy(line, mended))
                .collect();
            let parsed = black_box(parsed).context("a line is no alert")?;
            self.parse += on_cpu() - start;

            let start = on_cpu();
            let unmatched = parsed
                .iter()
                .filter(|alert| policy.decide(black_box(alert), &guard) == Decision::Unmatched);
            let unmatched = unmatched.count();
            self.matching += on_cpu() - start;
            ensure!(
                unmatched == parsed.len(),
                "a section matches an alert of {}; what is measured is that none does",
                alerts.display()
            );

            let start = on_cpu();
            drop(parsed);
            self.parse += on_cpu() - start;
            if read == 0 {
                return Ok(());
            }
        }
    }

    #[allow(clippy::cast_precision_loss, reason = "of counts far below 2^52")]
    fn a_line(&self) -> Result<Round> {
        ensure!(self.lines > 0, "there is no alert");
        let a_line = |time: Duration| time.as_secs_f64() * 1e9 / self.lines as f64;
        Ok(Round {
            read_ns: a_line(self.read),
            parse_ns: a_line(self.parse),
            match_ns: a_line(self.matching),
        })
    }
}

/// Time that this thread has spent on a CPU.
fn on_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
