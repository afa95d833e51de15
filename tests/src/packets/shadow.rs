//! Shadow mode: what is decided and counted, and not dropped; whatever its settings are changed to at a restart.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use arfw::control::view;
use rustix::process::Signal;
use tests::support::daemon::{Enforcer, PATIENCE};

use super::Scene;

impl Scene {
    fn restart_with(&mut self, flags: &[&str]) -> Result<()> {
        self.daemon.stop(Signal::INT)?;
        self.daemon = self
            .home
            .start(&self.link, &[self.enforcer.flags(), flags].concat())?;
        Ok(())
    }

    fn ban_of(&self, address: &str) -> Result<view::Ban> {
        let bans = self.bans()?;
        let ban = bans.iter().find(|ban| ban.address == address).cloned();
        ban.with_context(|| format!("`{address}` is not listed: {bans:?}"))
    }

    /// Waits until something of the offender's is counted in shadow, while it arrives.
    fn is_only_counted(&self, address: &str) -> Result<()> {
        let before = self.ban_of(address)?;
        ensure!(before.shadow, "{before:?}");
        self.arrives(self.offender)?;
        let after = self.ban_of(address)?;
        ensure!(
            after.shadow && after.packets > before.packets,
            "{before:?}\n{after:?}"
        );
        Ok(())
    }

    /// Waits until the next packets do not arrive.
    fn is_dropped_again(&self) -> Result<()> {
        let ban = self.ban_of(&self.offender.to_string())?;
        ensure!(!ban.shadow, "{ban:?}");
        self.is_dropped(ban.packets + 10)
    }

    fn says(&self, arguments: &[&str], expected: &str) -> Result<()> {
        let output = self.arfw(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(text.contains(expected), "{arguments:?}: {expected}\n{text}");
        Ok(())
    }
}

fn all(enforcer: Enforcer, v6: bool) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), "shadow = true\n")?;
    let name = file.path().display().to_string();
    let settings = ["--settings", &name];
    let mut scene = Scene::new(enforcer, v6, &settings)?;
    let offender = scene.offender.to_string();
    scene.alert(100_100)?;
    let line = scene.daemon.wait_for(" ban ")?;
    ensure!(line.contains("shadow/firewall-drop"), "{line}");
    scene.is_only_counted(&offender)?;
    scene.says(&["list"], "(shadow) ")?;
    scene.says(&["list"], "nothing of this is dropped")?;
    scene.says(&["status"], "shadow mode: nothing is dropped\n")?;
    scene.says(&["status"], &format!("settings    {name}\n"))?;
    ensure!(scene.home.status()?.shadow.all);

    // A flag wins over the file. What was decided in shadow stays so; what comes now is real, and wins.
    scene.restart_with(&[&settings[..], &["--shadow=false"]].concat())?;
    ensure!(!scene.home.status()?.shadow.all);
    scene.is_only_counted(&offender)?;
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped_again()?;
    let ban = scene.ban_of(&offender)?;
    ensure!(
        ban.by.len() == 2 && ban.by.iter().all(|by| by.offences == 1),
        "{ban:?}"
    );

    // In shadow again, nothing is dropped, also of what was decided for real; and after it, it is.
    scene.restart_with(&["--shadow"])?;
    scene.is_only_counted(&offender)?;
    scene.restart_with(&[])?;
    scene.is_dropped_again()?;
    scene.end()
}

#[test]
fn in_shadow_packets_of_a_banned_host_arrive_and_are_counted() -> Result<()> {
    all(Enforcer::Native, false)
}

#[test]
fn in_shadow_packets_of_a_banned_ipv6_host_arrive_and_are_counted() -> Result<()> {
    all(Enforcer::Tcx, true)
}

#[test]
fn in_shadow_a_network_is_counted_and_drops_when_that_is_over() -> Result<()> {
    let mut scene = Scene::new(Enforcer::Generic, false, &["--shadow"])?;
    let network = format!(
        "{}/24",
        scene
            .offender
            .to_string()
            .rsplit_once('.')
            .context("no dot")?
            .0
            .to_owned()
            + ".0"
    );
    let output = scene.arfw(&["ban", &network, "--for", "10m"])?;
    ensure!(output.status.success(), "{output:?}");
    scene.is_only_counted(&network)?;
    scene.restart_with(&[])?;
    let arrived = scene.count(scene.offender);
    let dropped = scene.ban_of(&network)?.packets + 20;
    let mut looks = 0;
    while scene.ban_of(&network)?.packets < dropped {
        looks += 1;
        ensure!(looks < 2_000, "the kernel did not drop {dropped} packets");
        std::thread::park_timeout(super::EVERY);
    }
    ensure!(scene.count(scene.offender) <= arrived + 1, "{arrived}");
    scene.end()
}

#[test]
fn only_the_rules_that_are_named_are_in_shadow_and_a_real_ban_wins() -> Result<()> {
    let flags = ["--shadow-rules", "100100,1"];
    let mut scene = Scene::new(Enforcer::Native, false, &flags)?;
    let offender = scene.offender.to_string();
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_only_counted(&offender)?;
    scene.says(&["status"], "shadow mode: commands none, rules 100100 1")?;
    scene.alert(100_200)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped_again()?;
    // The real one ends first; from then on the other one counts.
    scene.daemon.wait_for("unban")?;
    scene.is_only_counted(&offender)?;
    scene.end()
}

#[test]
fn nftables_refuse_shadow_mode_and_end_what_was_decided_in_it() -> Result<()> {
    let mut scene = Scene::new(Enforcer::Native, false, &["--shadow"])?;
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.daemon.stop(Signal::INT)?;
    let nftables = Enforcer::Nftables.flags();
    let refused = scene
        .home
        .start(&scene.link, &[nftables, &["--shadow"]].concat());
    let told = refused
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    ensure!(
        told.contains("expected `--enforcer xdp` or `dry-run` in shadow mode"),
        "{told}"
    );
    scene.enforcer = Enforcer::Nftables;
    scene.start()?;
    ensure!(scene.bans()?.is_empty(), "{:?}", scene.bans());
    scene.arrives(scene.offender)?;
    let arrives = |arrivals: Option<xtask::traffic::Arrivals>| arrivals.is_some();
    ensure!(
        scene
            .receiver
            .wait_until(scene.neighbour, PATIENCE, arrives)
    );
    scene.end()
}
