//! How long until the daemon is ready again, with many bans that stand?
//!
//! From the start of the process to the word `ready` in its log. "killed" finds the maps as they were pinned, and the
//! program has enforced all the time; "rebooted" finds the store alone. Killed means SIGKILL.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::{INTERFACE, Link};

use super::figures::{Times, micros};
use super::{addresses, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene};
use crate::shell::say;

const SIZES: [u32; 3] = [10_000, 100_000, 1_000_000];

const ROUNDS: usize = 3;

/// Measures each size.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt) -> Result<Value> {
    say(format_args!(
        "\nrestart: from the start of the process to `ready`; {ROUNDS} rounds, milliseconds"
    ));
    say(
        "       bans     killed, median   worst   rebooted, median   worst   store MB   bytes a ban",
    );
    let sizes: Result<Vec<Value>> = SIZES
        .iter()
        .map(|&size| rounds(daemon, interrupt, size))
        .collect();
    Ok(json!(sizes?))
}

fn rounds(daemon: &Path, interrupt: &Interrupt, size: u32) -> Result<Value> {
    let link = Link::new()?;
    let mut scene = Scene::new(daemon, super::BANNING)?;
    let mut alerts = Alerts::open(&scene.alerts())?;
    let room = (size + size / 8).to_string();
    let arguments = ["--interface", INTERFACE, "--max-bans", &room];
    scene.start(interrupt, &link.host, &arguments)?;
    let start = Instant::now();
    alerts
        .append(&addresses::alerts(super::BANNING_RULE, addresses::v4(size)))
        .context("cannot append alerts")?;
    until_banned(&scene, interrupt, start, "v4", size)?;
    // From here on, all of it is in the store.
    scene.stop()?;

    let mut ready = |forget: bool| -> Result<Duration> {
        scene.kill()?;
        if forget {
            scene.forget_kernel()?;
        }
        let start = Instant::now();
        scene.start(interrupt, &link.host, &arguments)?;
        let taken = start.elapsed();
        let status = scene.status()?;
        let banned = &status["active"]["v4"];
        ensure!(*banned == json!(size), "{banned} of {size} are banned");
        Ok(taken)
    };
    ready(false)?;
    let mut killed = Vec::new();
    let mut rebooted = Vec::new();
    for _ in 0..ROUNDS {
        killed.push(ready(false)?);
        rebooted.push(ready(true)?);
    }
    scene.stop()?;
    let bytes = fs::metadata(scene.store())
        .context("cannot find the store")?
        .len();
    let [killed, rebooted] =
        [killed, rebooted].map(|times| Times::new(times).context("nothing was measured"));
    let (killed, rebooted) = (killed?, rebooted?);
    say(format_args!(
        "{size:>11} {:>18.0} {:>7.0} {:>18.0} {:>7.0} {:>10.1} {:>13}",
        micros(killed.median()) / 1e3,
        micros(killed.worst()) / 1e3,
        micros(rebooted.median()) / 1e3,
        micros(rebooted.worst()) / 1e3,
        megabytes(bytes),
        bytes / u64::from(size),
    ));
    Ok(json!({
        "bans": size,
        "killed": killed.json(),
        "rebooted": rebooted.json(),
        "store_bytes": bytes,
    }))
}

/// For a table; nobody counts the last bytes.
#[expect(
    clippy::cast_precision_loss,
    reason = "a store is smaller than 2^52 bytes"
)]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
