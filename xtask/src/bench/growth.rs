//! What grows with the bans that stand: the latency of one new ban, alerts a second, and memory.
//!
//! The maps have room for an eighth more than there are bans. Memory of the daemon is its share of pages in use over
//! that of the same daemon without a ban; that of the kernel is what it charges for the maps which the daemon holds.

mod memory;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::{INTERFACE, Link, offender_v4};

use super::figures::{Times, micros};
use super::probe::Probe;
use super::{SILENT, addresses, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene, alert};
use crate::shell::say;

/// Bans that stand.
const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Bans that are awaited one by one at each size.
const OFFENDERS: u16 = 50;

/// A rule that [`SILENT`] bans for, and no alert of the load is of.
const RULE: u32 = 999_001;

/// Alerts in which nobody is banned, at each size.
const LOAD: u32 = 100_000;

const ASK_EVERY: Duration = Duration::from_millis(10);

/// Measures each size once.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt, at_most: u32) -> Result<Value> {
    say(
        "\ngrowth: IPv4 bans that stand; one new ban in microseconds, memory in kB, over that of no ban for the daemon",
    );
    say(
        "       bans   new: median        p99   alerts/s   daemon kB  bytes a ban   kernel maps kB",
    );
    let mut sizes = SIZES.map(|size| size.min(at_most)).to_vec();
    sizes.dedup();
    let sizes: Result<Vec<Value>> = sizes
        .into_iter()
        .map(|size| at(daemon, interrupt, size))
        .collect();
    let sizes = sizes?;
    let memory = memory::measure(daemon, interrupt, at_most)?;
    Ok(json!({ "sizes": sizes, "memory": memory }))
}

fn at(daemon: &Path, interrupt: &Interrupt, size: u32) -> Result<Value> {
    let link = Link::new()?;
    let mut scene = Scene::new(daemon, SILENT)?;
    let mut alerts = Alerts::open(&scene.alerts())?;
    let room = (size + size / 8 + u32::from(OFFENDERS)).to_string();
    let arguments = ["--interface", INTERFACE, "--max-bans", &room];
    scene.start(interrupt, &link.host, &arguments)?;
    let empty = memory::daemon_bytes(&scene)?;
    let start = Instant::now();
    alerts.append(&addresses::alerts(RULE, addresses::v4(size)))?;
    until_banned(&scene, interrupt, start, "v4", size)?;
    let full = memory::daemon_bytes(&scene)?.saturating_sub(empty);
    let kernel = memory::maps_bytes(&scene)?;

    let mut times = Vec::new();
    for number in 1..=OFFENDERS {
        let offender = offender_v4(number);
        let probe = Probe::open(&link, offender)?;
        let line = alert(RULE, 10, &offender.to_string());
        let start = Instant::now();
        alerts.append(&line).context("cannot append an alert")?;
        let cut = probe.until_dropped(interrupt)?;
        ensure!(cut.first_dropped > start, "{offender} was banned before");
        times.push(cut.first_dropped - start);
    }
    let times = Times::new(times).context("nothing was measured")?;

    let lines: String = (0..LOAD).map(|_| alert(1002, 2, "203.0.113.9")).collect();
    let read = |scene: &Scene| -> Result<u64> {
        let lines = &scene.status()?["counts"]["lines"];
        lines.as_u64().context("`arfw status` tells no lines")
    };
    let before = read(&scene)?;
    let start = Instant::now();
    alerts.append(&lines).context("cannot append alerts")?;
    while read(&scene)? < before + u64::from(LOAD) {
        interrupt.pause(ASK_EVERY)?;
    }
    let rate = f64::from(LOAD) / start.elapsed().as_secs_f64();
    scene.stop()?;
    say(format_args!(
        "{size:>11} {:>13.1} {:>10.1} {rate:>10.0} {:>11} {:>12} {:>16}",
        micros(times.median()),
        micros(times.percentile(99)),
        full / 1024,
        full / u64::from(size),
        kernel / 1024,
    ));
    Ok(json!({
        "bans": size,
        "new_ban": times.json(),
        "alerts_per_second": rate,
        "daemon_empty_kb": empty / 1024,
        "daemon_over_empty_kb": full / 1024,
        "kernel_maps_kb": kernel / 1024,
    }))
}
