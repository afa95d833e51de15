//! What an operator ends is over for packets, at once.

use std::fs;

use anyhow::{Result, ensure};
use tests::support::daemon::Enforcer;

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
