//! The daemon, which follows a file of alerts.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::netns::{INTERFACE, Link};

use super::Way;
use super::load::Load;
use crate::bench::{BANNING, BANNING_RULE, addresses, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene, alert};

/// What enforces, and the arguments that choose it.
pub(super) const ENFORCERS: [(&str, &[&str]); 4] = [
    (
        "arfw, XDP native",
        &["--interface", INTERFACE, "--xdp-mode", "native"],
    ),
    (
        "arfw, XDP generic",
        &["--interface", INTERFACE, "--xdp-mode", "generic"],
    ),
    (
        "arfw, TCX",
        &["--interface", INTERFACE, "--xdp-mode", "tcx"],
    ),
    ("arfw, nftables", &["--enforcer", "nftables"]),
];

/// A daemon with one of the enforcers.
pub(in crate::bench) struct Ours {
    scene: Scene,
    alerts: Alerts,
    told: usize,
}

impl Ours {
    /// Starts it in the host's namespace.
    pub(in crate::bench) fn start(
        daemon: &Path,
        interrupt: &Interrupt,
        link: &Link,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut scene = Scene::new(daemon, BANNING)?;
        let alerts = Alerts::open(&scene.alerts())?;
        scene.start(interrupt, &link.host, arguments)?;
        Ok(Self {
            scene,
            alerts,
            told: 0,
        })
    }

    /// Bans that many others first.
    pub(in crate::bench) fn fill(&mut self, interrupt: &Interrupt, count: u32) -> Result<()> {
        let start = Instant::now();
        let lines = addresses::alerts(BANNING_RULE, addresses::v4(count));
        self.alerts.append(&lines).context("cannot append alerts")?;
        until_banned(&self.scene, interrupt, start, "v4", count)?;
        self.told += count as usize;
        Ok(())
    }
}

impl Way for Ours {
    fn report(&mut self, _link: &Link, offender: &str) -> Result<Instant> {
        let line = alert(BANNING_RULE, 10, offender);
        let start = Instant::now();
        self.alerts
            .append(&line)
            .context("cannot append an alert")?;
        self.told += 1;
        Ok(start)
    }

    fn load(&self) -> Result<Option<Load>> {
        Load::start(&self.scene.alerts()).map(Some)
    }

    fn stop(&mut self) -> Result<()> {
        let banned = self.scene.bans()?.len();
        ensure!(banned == self.told, "{banned} of {} are banned", self.told);
        self.scene.stop()
    }
}
