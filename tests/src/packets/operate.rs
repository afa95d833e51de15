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
