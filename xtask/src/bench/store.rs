//! What it costs that bans are durable: new bans a second with the state on this machine's disk, where each commit
//! waits for it, and on a file system in memory, where an fsync costs nothing. Everything else is the same.

use std::env;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask::netns::{INTERFACE, Link};

use super::figures::Times;
use super::{addresses, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene};
use crate::shell::say;

const BANS: u32 = 200_000;

const ROUNDS: usize = 5;

/// A file system in memory.
const MEMORY: &str = "/dev/shm";

/// Measures both in turns.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt) -> Result<Value> {
    say(format_args!(
        "\nstore: {BANS} alerts about as many new offenders in one write, until all are banned and stored; {ROUNDS} rounds in turns"
    ));
    let alerts = addresses::alerts(super::BANNING_RULE, addresses::v4(BANS));
    let (mut on_disk, mut in_memory) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        on_disk.push(round(daemon, interrupt, &env::temp_dir(), &alerts)?);
        in_memory.push(round(daemon, interrupt, Path::new(MEMORY), &alerts)?);
    }
    let on_disk = Times::new(on_disk).context("nothing was measured")?;
    let in_memory = Times::new(in_memory).context("nothing was measured")?;
    let rate = |times: &Times| f64::from(BANS) / times.median().as_secs_f64();
    let ratio = on_disk.median().as_secs_f64() / in_memory.median().as_secs_f64();
    say(format_args!(
        "  on disk    {:>9.0} bans a second (median)",
        rate(&on_disk)
    ));
    say(format_args!(
        "  in memory  {:>9.0} bans a second (median); the disk takes {ratio:.2} times as long",
        rate(&in_memory)
    ));
    Ok(json!({
        "bans": BANS,
        "on_disk": on_disk.json(),
        "in_memory": in_memory.json(),
        "ratio": ratio,
    }))
}

fn round(daemon: &Path, interrupt: &Interrupt, parent: &Path, lines: &str) -> Result<Duration> {
    let link = Link::new()?;
    let mut scene = Scene::on(parent, daemon, super::BANNING)?;
    let mut alerts = Alerts::open(&scene.alerts())?;
    let room = (BANS + 1).to_string();
    scene.start(
        interrupt,
        &link.host,
        &["--interface", INTERFACE, "--max-bans", &room],
    )?;
    let start = Instant::now();
    alerts.append(lines).context("cannot append alerts")?;
    until_banned(&scene, interrupt, start, "v4", BANS)?;
    // An orderly end is one after everything has been written.
    scene.stop()?;
    Ok(start.elapsed())
}
