//! A big alert file through the whole daemon: lines a second, and what they cost.
//!
//! The file is put in the place of a missing one, so that reading starts at one moment; it is in the page cache.
//! The enforcer is `dry-run`: what the kernel costs is measured by `burst`. The end is seen by `arfw status`, asked
//! every few milliseconds, which costs the daemon little and the clock no more than that interval.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask::netns::Link;

use super::figures::Times;
use crate::interrupt::Interrupt;
use crate::scene::Scene;
use crate::shell::say;

const SIZE: usize = 200_000_000;

const ROUNDS: usize = 3;

const ASK_EVERY: Duration = Duration::from_millis(25);

/// A file of real alerts.
pub(super) struct Material {
    lines: usize,
    text: Vec<u8>,
}

impl Material {
    /// Reads it.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.split_inclusive(|&byte| byte == b'\n').count();
        Ok(Self { lines, text })
    }

    fn times(&self) -> usize {
        (SIZE / self.text.len()).max(1)
    }

    /// Alerts of the big file that is made of it.
    pub(super) fn all_lines(&self) -> usize {
        self.lines * self.times()
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut file = File::create(path)?;
        for _ in 0..self.times() {
            file.write_all(&self.text)?;
        }
        Ok(())
    }
}

/// Measures with sections that never match, and with such that ban.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt, material: &Material) -> Result<Value> {
    let lines = material.all_lines();
    let bytes = material.text.len() * material.times();
    say(format_args!(
        "\nreplay: {lines} alerts of OSSEC ({} MB) through the daemon, dry run; {ROUNDS} rounds",
        bytes / 1_000_000
    ));
    say("                                best  median lines/s      MB/s   CPU s   lines per CPU s");
    let mut all = Vec::new();
    for (label, conf) in [
        ("no section matches", super::SILENT),
        ("sections ban", super::BANNING),
    ] {
        let rounds = (0..ROUNDS).map(|_| round(daemon, interrupt, material, conf));
        let rounds: Vec<Round> = rounds.collect::<Result<_>>()?;
        all.push(tell(label, &rounds, lines, bytes)?);
    }
    Ok(json!(all))
}

/// One run of the daemon.
pub(super) struct Round {
    /// Until it has read the last line.
    pub(super) took: Duration,
    /// What its threads have spent on CPUs meanwhile.
    pub(super) cpu: Duration,
    bans: u64,
    moved: u64,
}

#[allow(clippy::cast_precision_loss, reason = "of counts far below 2^52")]
fn tell(label: &str, rounds: &[Round], lines: usize, bytes: usize) -> Result<Value> {
    let took = Times::new(rounds.iter().map(|round| round.took).collect()).context("no round")?;
    let cpu = Times::new(rounds.iter().map(|round| round.cpu).collect()).context("no round")?;
    let per_second = |count: usize, time: Duration| count as f64 / time.as_secs_f64();
    say(format_args!(
        "  {label:<22} {:>10.0} {:>14.0} {:>9.0} {:>7.2} {:>17.0}",
        per_second(lines, took.best()),
        per_second(lines, took.median()),
        per_second(bytes, took.best()) / 1e6,
        cpu.median().as_secs_f64(),
        per_second(lines, cpu.median()),
    ));
    let last = rounds.last().context("no round")?;
    if last.bans > 0 {
        say(format_args!(
            "  {:<22} {} bans, {} moved",
            "", last.bans, last.moved
        ));
    }
    Ok(json!({
        "case": label,
        "lines": lines,
        "bytes": bytes,
        "bans": last.bans,
        "moved": last.moved,
        "wall": took.json(),
        "cpu": cpu.json(),
        "lines_per_second_best": per_second(lines, took.best()),
        "lines_per_second_median": per_second(lines, took.median()),
    }))
}

/// Runs a daemon with this configuration until it has read all.
pub(super) fn round(
    daemon: &Path,
    interrupt: &Interrupt,
    material: &Material,
    conf: &str,
) -> Result<Round> {
    let link = Link::new()?;
    let mut scene = Scene::new(daemon, conf)?;
    scene.start(interrupt, &link.host, &["--enforcer", "dry-run"])?;
    let ready = scene.alerts().with_file_name("ready");
    material.write(&ready)?;
    let before = scene.cpu_time()?;
    let start = Instant::now();
    fs::rename(&ready, scene.alerts())?;
    let expected = material.all_lines();
    let status = loop {
        let status = scene.status()?;
        if status["counts"]["lines"].as_u64() >= u64::try_from(expected).ok() {
            break status;
        }
        interrupt.pause(ASK_EVERY)?;
    };
    let took = start.elapsed();
    let cpu = scene.cpu_time()? - before;
    scene.stop()?;
    let count = |name: &str| status["counts"][name].as_u64().unwrap_or(0);
    Ok(Round {
        took,
        cpu,
        bans: count("bans"),
        moved: count("moved"),
    })
}
