//! Many new offenders in one write: when is the last of them dropped?
//!
//! The observer is a sender with the last offender's address. It asks the daemon for nothing, and sends so seldom that it
//! leaves the CPUs to the daemon. The daemon's own time on a CPU is told as well.
//! Bans are performed in the order of their alerts, so the last one's drop is the end; afterwards `arfw list` has to
//! show all.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::{INTERFACE, Link, offender_v4};

use super::figures::{Times, micros};
use super::probe::Probe;
use super::{addresses, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene, alert};
use crate::shell::say;

const SIZES: [u16; 2] = [1_000, 10_000];

/// Between two datagrams: a hundredth of what is measured.
const PAUSE: Duration = Duration::from_micros(100);

pub(super) const ROUNDS: usize = 7;

/// Measures each size several times, each time with a new daemon.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt) -> Result<Value> {
    say(format_args!(
        "\nburst: new offenders in one write -> the last one is dropped; {ROUNDS} rounds, milliseconds"
    ));
    head();
    let sizes: Result<Vec<Value>> = SIZES
        .iter()
        .map(|&size| {
            let batch = Batch {
                arguments: &["--interface", INTERFACE],
                standing: 0,
                size,
            };
            rounds(daemon, interrupt, &batch)
        })
        .collect();
    Ok(json!(sizes?))
}

/// One write of alerts.
pub(super) struct Batch<'a> {
    /// Of the daemon.
    pub(super) arguments: &'a [&'a str],
    /// Bans that are there before.
    pub(super) standing: u32,
    /// New offenders.
    pub(super) size: u16,
}

/// The head of the table of [`rounds`].
pub(super) fn head() {
    say(
        "  bans there  offenders    written     best   median    worst   after the write returned   CPU us each",
    );
}

/// Measures one batch several times, each time with a new daemon, and tells it in a row.
pub(super) fn rounds(daemon: &Path, interrupt: &Interrupt, batch: &Batch) -> Result<Value> {
    let mut from_start = Vec::new();
    let mut from_return = Vec::new();
    let mut write = Vec::new();
    let mut cpu = Vec::new();
    for _ in 0..ROUNDS {
        let round = round(daemon, interrupt, batch)?;
        from_start.push(round.dropped);
        from_return.push(round.dropped.saturating_sub(round.written));
        write.push(round.written);
        cpu.push(round.cpu / u32::from(batch.size));
    }
    let [from_start, from_return, write, cpu] = [from_start, from_return, write, cpu]
        .map(Times::new)
        .map(|times| times.context("nothing was measured"));
    let (from_start, from_return, write, cpu) = (from_start?, from_return?, write?, cpu?);
    say(format_args!(
        "  {:>10}  {:>9}   {:>8.2} {:>8.2} {:>8.2} {:>8.2}   {:>8.2} {:>8.2} {:>6} {:>14.2}",
        batch.standing,
        batch.size,
        ms(write.median()),
        ms(from_start.best()),
        ms(from_start.median()),
        ms(from_start.worst()),
        ms(from_return.best()),
        ms(from_return.median()),
        "",
        micros(cpu.median()),
    ));
    Ok(json!({
        "standing": batch.standing,
        "offenders": batch.size,
        "write": write.json(),
        "from_start": from_start.json(),
        "from_return": from_return.json(),
        "cpu_each": cpu.json(),
    }))
}

struct Round {
    /// From the start of the write to its return.
    written: Duration,
    /// From the start of the write to the last offender's first dropped packet.
    dropped: Duration,
    /// What the daemon spent on it.
    cpu: Duration,
}

fn round(daemon: &Path, interrupt: &Interrupt, batch: &Batch) -> Result<Round> {
    let link = Link::new()?;
    let mut scene = Scene::new(daemon, super::BANNING)?;
    let mut alerts = Alerts::open(&scene.alerts())?;
    scene.start(interrupt, &link.host, batch.arguments)?;
    let &Batch { standing, size, .. } = batch;
    let filling = Instant::now();
    alerts.append(&addresses::alerts(
        super::BANNING_RULE,
        addresses::v4(standing),
    ))?;
    until_banned(&scene, interrupt, filling, "v4", standing)?;
    let lines: String = (1..=size)
        .map(|number| alert(super::BANNING_RULE, 10, &offender_v4(number).to_string()))
        .collect();
    let probe = Probe::open(&link, offender_v4(size))?;
    let cpu = scene.cpu_time()?;
    let start = Instant::now();
    alerts.append(&lines).context("cannot append alerts")?;
    let written = start.elapsed();
    let cut = probe.until_dropped_at(interrupt, PAUSE)?;
    let cpu = scene.cpu_time()? - cpu;
    let banned = scene.bans()?.len();
    let expected = standing as usize + usize::from(size);
    ensure!(banned == expected, "{banned} of {expected} are banned");
    scene.stop()?;
    Ok(Round {
        written,
        dropped: cut.first_dropped.saturating_duration_since(start),
        cpu,
    })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
