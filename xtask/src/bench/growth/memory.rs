//! What bans take in the kernel and in the daemon: of IPv6 addresses, of networks, and all kinds at once.
//!
//! Addresses come by alerts in one write for each family, networks by `arfw ban`. The daemon's memory is looked at right
//! after the last one, and again after a stop and a start that finds the maps as they were. The maps have room for
//! so many of each family and no more; those of networks have room for what they are built for, and take what is used.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::{INTERFACE, Link};

use super::RULE;
use crate::bench::{SILENT, addresses, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene};
use crate::shell::{self, say};

/// Bans that stand, of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bans {
    v4: u32,
    v6: u32,
    networks: u32,
}

impl Bans {
    const fn of(v4: u32, v6: u32, networks: u32) -> Self {
        Self { v4, v6, networks }
    }

    fn count(self) -> u64 {
        u64::from(self.v4) + u64::from(self.v6) + u64::from(self.networks)
    }
}

const CASES: [Bans; 4] = [
    Bans::of(0, 10_000, 0),
    Bans::of(0, 1_000_000, 0),
    Bans::of(0, 0, 10_000),
    Bans::of(0, 0, 100_000),
];

/// All at once, which is what the targets are for.
const ALL: Bans = Bans::of(1_000_000, 1_000_000, 100_000);

/// What the maps may take with [`ALL`], in MB.
const KERNEL_MB: f64 = 250.0;

/// What a ban may take in the daemon with [`ALL`], in bytes over [`BASE_MB`].
const BYTES_A_BAN: f64 = 150.0;

/// What the daemon may take without a ban, in MB.
const BASE_MB: f64 = 25.0;

/// Networks of one `arfw ban`: all of their words have to fit into one command line.
const AT_ONCE: usize = 10_000;

/// Measures each case once.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt, at_most: u32) -> Result<Value> {
    say(
        "\ngrowth: memory with bans of each kind; bytes a ban over the same daemon without one, right after the last and after a restart",
    );
    say(
        "       IPv4        IPv6  networks   daemon MB, empty     full  restarted   bytes a ban  restarted   kernel maps MB",
    );
    let mut cases: Vec<Bans> = CASES
        .into_iter()
        .chain([ALL])
        .map(|bans| capped(bans, at_most))
        .collect();
    cases.dedup();
    let mut told = Vec::new();
    for bans in cases {
        let memory = Memory::of(daemon, interrupt, bans)?;
        memory.tell();
        if bans == ALL {
            memory.judge();
        }
        told.push(memory.json());
    }
    Ok(json!(told))
}

fn capped(bans: Bans, at_most: u32) -> Bans {
    let Bans { v4, v6, networks } = bans;
    Bans::of(v4.min(at_most), v6.min(at_most), networks.min(at_most))
}

/// What was found, in bytes.
struct Memory {
    bans: Bans,
    empty: u64,
    full: u64,
    restarted: u64,
    kernel: u64,
}

impl Memory {
    fn of(daemon: &Path, interrupt: &Interrupt, bans: Bans) -> Result<Self> {
        let link = Link::new()?;
        let mut scene = Scene::new(daemon, SILENT)?;
        let mut alerts = Alerts::open(&scene.alerts())?;
        let addresses = bans.v4.max(bans.v6).max(1);
        let room = addresses.to_string();
        let arguments = ["--interface", INTERFACE, "--max-bans", &room];
        scene.start(interrupt, &link.host, &arguments)?;
        let empty = daemon_bytes(&scene)?;
        let start = Instant::now();
        alerts.append(&addresses::alerts(RULE, addresses::v4(bans.v4)))?;
        alerts.append(&addresses::alerts(RULE, addresses::v6(bans.v6)))?;
        let are_banned = |scene: &Scene, start| -> Result<()> {
            until_banned(scene, interrupt, start, "v4", bans.v4)?;
            until_banned(scene, interrupt, start, "v6", bans.v6)?;
            Ok(())
        };
        are_banned(&scene, start)?;
        ban(&scene, interrupt, bans.networks)?;
        let full = daemon_bytes(&scene)?;
        let kernel = maps_bytes(&scene)?;
        scene.stop()?;
        scene.start(interrupt, &link.host, &arguments)?;
        let restarted = daemon_bytes(&scene)?;
        are_banned(&scene, Instant::now())?;
        if bans.count() == u64::from(bans.networks) {
            let listed = scene.bans()?.len();
            ensure!(
                listed as u64 == bans.count(),
                "{listed} of {} are banned",
                bans.networks
            );
        }
        scene.stop()?;
        Ok(Self {
            bans,
            empty,
            full,
            restarted,
            kernel,
        })
    }

    /// Over the daemon without a ban: right after the last one, and after a restart.
    fn each(&self) -> [f64; 2] {
        let count = float(self.bans.count());
        [self.full, self.restarted].map(|bytes| float(bytes.saturating_sub(self.empty)) / count)
    }

    fn tell(&self) {
        let Bans { v4, v6, networks } = self.bans;
        let [full, restarted] = self.each();
        say(format_args!(
            "{v4:>11} {v6:>11} {networks:>9} {:>18.1} {:>8.1} {:>10.1} {full:>13.0} {restarted:>10.0} {:>16.1}",
            megabytes(self.empty),
            megabytes(self.full),
            megabytes(self.restarted),
            megabytes(self.kernel),
        ));
    }

    fn judge(&self) {
        let kernel = megabytes(self.kernel);
        let each = (megabytes(self.full) - BASE_MB) * 1e6 / float(self.bans.count());
        say(format_args!(
            "  all at once: maps {kernel:.1} MB (target: below {KERNEL_MB:.0}{}), daemon {each:.0} bytes a ban over {BASE_MB:.0} MB (target: below {BYTES_A_BAN:.0}{})",
            missed(kernel, KERNEL_MB),
            missed(each, BYTES_A_BAN),
        ));
    }

    fn json(&self) -> Value {
        let Bans { v4, v6, networks } = self.bans;
        let [full, restarted] = self.each();
        json!({
            "v4": v4,
            "v6": v6,
            "networks": networks,
            "daemon_empty_bytes": self.empty,
            "daemon_full_bytes": self.full,
            "daemon_restarted_bytes": self.restarted,
            "daemon_bytes_a_ban": full,
            "daemon_restarted_bytes_a_ban": restarted,
            "kernel_maps_bytes": self.kernel,
        })
    }
}

fn missed(found: f64, below: f64) -> &'static str {
    if found < below { "" } else { ", MISSED" }
}

/// Bans that many networks by hand, a command line full at a time.
fn ban(scene: &Scene, interrupt: &Interrupt, count: u32) -> Result<()> {
    let networks: Vec<String> = addresses::networks(count).collect();
    for some in networks.chunks(AT_ONCE) {
        interrupt.check()?;
        let mut command = scene.command(&["ban", "--for", "1d"]);
        shell::look_up(command.args(some)).context("cannot ban networks")?;
    }
    Ok(())
}

/// The daemon's share of the pages that it uses.
pub(super) fn daemon_bytes(scene: &Scene) -> Result<u64> {
    let pid = scene.pid().context("the daemon does not run")?;
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kilobytes = number(&text, "Pss:").context("the kernel tells no Pss of the daemon")?;
    Ok(kilobytes * 1024)
}

/// What the kernel charges for the maps that the daemon has open, each once.
pub(super) fn maps_bytes(scene: &Scene) -> Result<u64> {
    let pid = scene.pid().context("the daemon does not run")?;
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // One that was closed meanwhile is none of its maps.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        if let (Some(map), Some(bytes)) = (number(&text, "map_id:"), number(&text, "memlock:")) {
            maps.insert(map, bytes);
        }
    }
    Ok(maps.values().sum())
}

fn number(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn megabytes(bytes: u64) -> f64 {
    float(bytes) / 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "no count and no size here reaches 2^52"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_told_by_its_name() {
        let text = "Rss:  99 kB\nPss:             21504 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(number(text, "Pss:"), Some(21_504));
        assert_eq!(number(text, "memlock:"), None);
    }

    #[test]
    fn a_ban_takes_what_is_over_the_empty_daemon() {
        let memory = Memory {
            bans: Bans::of(500, 400, 100),
            empty: 20_000,
            full: 170_000,
            restarted: 10_000,
            kernel: 0,
        };
        let [full, restarted] = memory.each();
        assert!((full - 150.0).abs() < 1e-9, "{full}");
        assert!(restarted.abs() < 1e-9, "{restarted}");
    }

    #[test]
    fn a_target_is_missed_from_its_bound_on() {
        assert_eq!(missed(249.9, 250.0), "");
        assert_eq!(missed(250.0, 250.0), ", MISSED");
    }

    #[test]
    fn a_small_run_has_no_more_of_any_kind() {
        assert_eq!(capped(ALL, 5_000), Bans::of(5_000, 5_000, 5_000));
        assert_eq!(capped(CASES[0], u32::MAX), CASES[0]);
    }
}
