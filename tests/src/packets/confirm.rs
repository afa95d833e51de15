//! A ban and an unban that nobody confirms are taken back for packets, also when the daemon is dead.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustix::process::Signal;
use tests::support::daemon::Enforcer;

use super::{Scene, on_each_enforcer};

on_each_enforcer! {
    #[test]
    fn packets_arrive_again_after_a_ban_that_is_not_confirmed(on) -> Result<()> {
        let scene = Scene::new(on, false, &[])?;
        order(&scene, &["ban", "--for", "10m", "--confirm", "6s"])?;
        scene.is_dropped(5)?;
        scene.arrives(scene.offender)?;
        ensure!(scene.bans()?.is_empty(), "the ban stands");
        scene.end()
    }

    #[test]
    fn a_ban_that_is_confirmed_goes_on_dropping(on) -> Result<()> {
        let scene = Scene::new(on, true, &[])?;
        order(&scene, &["ban", "--for", "10m", "--confirm", "6s"])?;
        scene.is_dropped(5)?;
        order(&scene, &["confirm"])?;
        let before = scene.count(scene.offender);
        goes_by(&scene, 7.0)?;
        let [ban] = &scene.bans()?[..] else {
            bail!("expected the ban to stand");
        };
        let left = ban.seconds_left.unwrap_or_default();
        ensure!((500.0..=593.0).contains(&left), "its length is from its begin: {ban:?}");
        scene.is_dropped(ban.packets + 5)?;
        ensure!(scene.count(scene.offender) == before, "packets passed when it was confirmed");
        scene.end()
    }

    /// Who locked himself out gets in again, whatever became of the daemon.
    #[test]
    fn the_kernel_ends_a_ban_that_is_not_confirmed_when_the_daemon_is_dead(on) -> Result<()> {
        let mut scene = Scene::new(on, false, &[])?;
        order(&scene, &["ban", "--permanent", "--confirm", "6s"])?;
        scene.is_dropped(5)?;
        scene.daemon.crash()?;
        scene.arrives(scene.offender)?;
        scene.release()?;
        for sender in scene.senders {
            sender.stop()?;
        }
        Ok(())
    }

    /// A ban that stood before stands beside it.
    #[test]
    fn a_ban_that_is_not_confirmed_is_taken_back_at_a_start_and_leaves_the_others(on) -> Result<()> {
        let mut scene = Scene::new(on, false, &[])?;
        order(&scene, &["ban", "--permanent", "--confirm", "1h"])?;
        scene.is_dropped(5)?;
        scene.daemon.crash()?;
        scene.start()?;
        scene.arrives(scene.offender)?;
        scene.alert(100_100)?;
        scene.is_dropped(5)?;
        order(&scene, &["ban", "--permanent", "--confirm", "1h"])?;
        let before = scene.count(scene.offender);
        scene.daemon.crash()?;
        scene.start()?;
        let [ban] = &scene.bans()?[..] else {
            bail!("expected one ban");
        };
        ensure!(ban.seconds_left.is_some_and(|left| left <= 600.1), "{ban:?}");
        scene.is_dropped(ban.packets + 5)?;
        ensure!(scene.count(scene.offender) <= before + 1, "packets passed");
        scene.end()
    }

    #[test]
    fn packets_are_dropped_again_after_an_unban_that_is_not_confirmed(on) -> Result<()> {
        let scene = Scene::new(on, false, &[])?;
        scene.alert(100_100)?;
        scene.is_dropped(5)?;
        order(&scene, &["unban", "--confirm", "3s"])?;
        scene.arrives(scene.offender)?;
        scene.is_dropped(5)?;
        let [ban] = &scene.bans()?[..] else {
            bail!("expected the ban to be back");
        };
        let left = ban.seconds_left.unwrap_or_default();
        ensure!((500.0..=597.0).contains(&left), "the end is the old one: {ban:?}");
        ensure!(ban.rule_id == 100_100 && ban.by[0].offences == 1 && ban.by[0].response == Some(1), "{ban:?}");
        scene.arrives(scene.neighbour)?;
        scene.end()
    }

    #[test]
    fn packets_go_on_arriving_after_an_unban_that_is_confirmed(on) -> Result<()> {
        let scene = Scene::new(on, true, &[])?;
        scene.alert(100_100)?;
        scene.is_dropped(5)?;
        order(&scene, &["unban", "--confirm", "2s"])?;
        order(&scene, &["confirm"])?;
        goes_by(&scene, 3.0)?;
        scene.arrives(scene.offender)?;
        ensure!(scene.bans()?.is_empty(), "the ban is back");
        scene.end()
    }

    /// The safe direction: what was before. A crash, an orderly stop, and one after the ban's end.
    #[test]
    fn an_unban_that_is_not_confirmed_is_taken_back_by_a_stop_and_by_a_start(on) -> Result<()> {
        let mut scene = Scene::new(on, false, &[])?;
        scene.alert(100_100)?;
        scene.is_dropped(5)?;
        order(&scene, &["unban", "--confirm", "1h"])?;
        scene.arrives(scene.offender)?;
        scene.daemon.crash()?;
        scene.arrives(scene.offender)?;
        scene.start()?;
        scene.is_dropped(5)?;
        order(&scene, &["unban", "--confirm", "1h"])?;
        scene.arrives(scene.offender)?;
        let said = scene.daemon.stop(Signal::TERM)?;
        ensure!(
            said.iter().any(|line| line.contains("the unban is taken back: not confirmed")),
            "{said:#?}"
        );
        scene.is_dropped(5)?;
        scene.start()?;
        scene.is_dropped(5)?;
        scene.end()
    }
}

/// A command about the offender; `arfw confirm` is about all that waits.
fn order(scene: &Scene, words: &[&str]) -> Result<()> {
    let offender = scene.offender.to_string();
    let whom = [offender.as_str()];
    let output = match words {
        ["confirm"] => scene.arfw(words)?,
        _ => scene.arfw(&[words, &whom[..]].concat())?,
    };
    ensure!(output.status.success(), "{words:?}: {output:?}");
    Ok(())
}

/// Waits until so many seconds have gone by for the daemon.
fn goes_by(scene: &Scene, seconds: f64) -> Result<()> {
    let begin = scene.home.status()?.uptime_seconds;
    for _ in 0..2_000 {
        if scene.home.status()?.uptime_seconds >= begin + seconds {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    bail!("time stands still")
}
