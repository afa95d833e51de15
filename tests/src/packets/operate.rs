//! What an operator ends is over for packets, at once.

use std::fs;

use anyhow::{Result, ensure};
use tests::support::daemon::Enforcer;
use xtask::netns::{offender_v4, offender_v6};

use super::{Scene, on_each_enforcer};

on_each_enforcer! {
    /// AR-IMP-6
    #[test]
    fn packets_arrive_again_after_an_unban(on) -> Result<()> {
        arrives_after(on, false, unban)
    }

    /// AR-IMP-6, AR-IMP-3
    #[test]
    fn packets_of_ipv6_arrive_again_after_an_unban(on) -> Result<()> {
        arrives_after(on, true, unban)
    }

    #[test]
    fn packets_of_who_is_quiet_arrive_whatever_alerts_say_until_that_is_over(on) -> Result<()> {
        arrives_while_quiet(on)
    }

    #[test]
    fn a_guarded_address_is_dropped_when_its_ban_is_forced_and_not_before(on) -> Result<()> {
        dropped_by_force(on, false)
    }

    #[test]
    fn a_guarded_address_of_ipv6_is_dropped_when_its_ban_is_forced(on) -> Result<()> {
        dropped_by_force(on, true)
    }
}

/// The guard keeps the offender from an alert and from an order, but not from one with `--force`.
fn dropped_by_force(enforcer: Enforcer, v6: bool) -> Result<()> {
    let offender = if v6 {
        offender_v6(7).to_string()
    } else {
        offender_v4(7).to_string()
    };
    let mut scene = Scene::new(enforcer, v6, &["--protect", &offender])?;
    scene.alert(100_100)?;
    scene.daemon.wait_for("no ban: ")?;
    let order = ["ban", "--for", "1h", &offender];
    let refused = scene.arfw(&order)?;
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    scene.arrives(scene.offender)?;
    ensure!(scene.bans()?.is_empty(), "{:?}", scene.bans()?);
    let forced = scene.arfw(&[&order[..], &["--force"]].concat())?;
    ensure!(forced.status.success(), "{forced:?}");
    scene.is_dropped(5)?;
    scene.arrives(scene.neighbour)?;
    let output = scene.arfw(&["unban", &offender])?;
    ensure!(output.status.success(), "{output:?}");
    scene.arrives(scene.offender)?;
    scene.end()
}

/// A ban for ten minutes is ended by `order`; then the offender's packets arrive.
fn arrives_after(
    enforcer: Enforcer,
    v6: bool,
    order: impl FnOnce(&Scene) -> Result<()>,
) -> Result<()> {
    let scene = Scene::new(enforcer, v6, &[])?;
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    order(&scene)?;
    ensure!(scene.bans()?.is_empty(), "the ban stands");
    scene.arrives(scene.offender)?;
    scene.arrives(scene.neighbour)?;
    scene.end()
}

fn unban(scene: &Scene) -> Result<()> {
    let offender = scene.offender.to_string();
    let output = scene.arfw(&["unban", &offender])?;
    let told = String::from_utf8(output.stdout)?;
    ensure!(
        told == format!("{offender}: firewall-drop ended\n"),
        "{told}"
    );
    Ok(())
}

/// The ban ends, alerts make no other, also after a crash; once the quiet time is over, the next one is the second offence.
fn arrives_while_quiet(enforcer: Enforcer) -> Result<()> {
    let mut scene = Scene::new(enforcer, false, &[])?;
    let offender = scene.offender.to_string();
    let quiet = |scene: &Scene, time: &str| -> Result<String> {
        let output = scene.arfw(&["unban", &offender, "--quiet", time, "--reason", "a test"])?;
        Ok(String::from_utf8(output.stdout)?)
    };
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    let told = quiet(&scene, "1h")?;
    let expected = format!("{offender}: firewall-drop ended; quiet until ");
    ensure!(told.starts_with(&expected), "{told}");
    scene.arrives(scene.offender)?;
    let meets_quiet = |scene: &mut Scene| -> Result<()> {
        for _ in 0..3 {
            scene.alert(100_100)?;
            scene
                .daemon
                .wait_for(&format!("no ban: {offender} is quiet until "))?;
        }
        ensure!(scene.bans()?.is_empty(), "{:?}", scene.bans());
        scene.arrives(scene.offender)
    };
    meets_quiet(&mut scene)?;
    scene.daemon.crash()?;
    scene.start()?;
    meets_quiet(&mut scene)?;
    let output = scene.arfw(&["why", &offender])?;
    let why = String::from_utf8(output.stdout)?;
    let words = why.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        words.starts_with(&format!("{offender} is not banned; quiet until "))
            && words.contains(", asked by user 0 because: a test"),
        "{why}"
    );
    quiet(&scene, "10ms")?;
    scene.daemon.wait_for("quiet no more")?;
    scene.alert(100_100)?;
    let line = scene.daemon.wait_for(" ban ")?;
    ensure!(line.contains("offence=2"), "{line}");
    scene.is_dropped(5)?;
    scene.end()
}

/// AR-IMP-7
#[test]
fn packets_arrive_again_after_a_reload_that_white_lists_their_source() -> Result<()> {
    arrives_after(Enforcer::Native, false, |scene| {
        let old = fs::read_to_string(scene.home.config())?;
        let entry = format!(
            "<ossec_config><global><white_list>{}</white_list></global>",
            scene.offender
        );
        fs::write(
            scene.home.config(),
            old.replacen("<ossec_config>", &entry, 1),
        )?;
        let output = scene.home.output(&["reload"])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    })
}
