//! Bans of prefixes on real packets: they begin, end with the daemon dead, and leave the allowed alone.

use anyhow::{Result, ensure};
use tests::support::daemon::Enforcer;

use super::{Scene, on_each_enforcer};

on_each_enforcer! {
    /// AR-TIME-1
    #[test]
    fn a_ban_of_an_ipv4_prefix_ends_although_the_daemon_was_killed(on) -> Result<()> {
        ends_without_a_daemon(on, false)
    }

    /// AR-TIME-1
    #[test]
    fn a_ban_of_an_ipv6_prefix_ends_although_the_daemon_was_killed(on) -> Result<()> {
        ends_without_a_daemon(on, true)
    }

    #[test]
    fn an_ipv4_network_in_another_is_dropped_until_both_have_ended(on) -> Result<()> {
        nested_is_dropped(on, false)
    }

    #[test]
    fn an_ipv6_network_in_another_is_dropped_until_both_have_ended(on) -> Result<()> {
        nested_is_dropped(on, true)
    }

    #[test]
    fn an_allowed_network_within_a_banned_one_is_left_alone(on) -> Result<()> {
        is_left_alone(on)
    }
}

/// A network that holds the offender and its neighbour.
fn network(v6: bool) -> &'static str {
    if v6 {
        "2001:db8:a::/48"
    } else {
        "198.18.0.0/16"
    }
}

/// Bans the network with the neighbour protected; the kernel ends it while no daemon runs.
fn ends_without_a_daemon(enforcer: Enforcer, v6: bool) -> Result<()> {
    let address = if v6 {
        xtask::netns::offender_v6(8)
    } else {
        xtask::netns::offender_v4(8)
    };
    let neighbour = address.to_string();
    let mut scene = Scene::new(enforcer, v6, &["--protect", &neighbour])?;
    let banned = ["ban", "--for", "6s", "--force", network(v6)];
    let output = scene.arfw(&banned)?;
    ensure!(output.status.success(), "{output:?}");
    let before = scene.count(scene.offender);
    scene.arrives(scene.neighbour)?;
    let dropped = scene.count(scene.offender) - before;
    // What was on its way may still arrive.
    ensure!(dropped <= 2, "{dropped} packets arrived");
    scene.daemon.crash()?;
    scene.arrives(scene.neighbour)?;
    scene.arrives(scene.offender)?;
    scene.release()?;
    for sender in scene.senders {
        sender.stop()?;
    }
    Ok(())
}

/// The wide network's ban ends first, by the kernel; the one within it goes on.
fn nested_is_dropped(enforcer: Enforcer, v6: bool) -> Result<()> {
    let mut scene = Scene::new(enforcer, v6, &[])?;
    // The offender's own, without the neighbour.
    let inner = if v6 {
        "2001:db8:a:7::/64"
    } else {
        "198.18.0.6/31"
    };
    for (network, time) in [(network(v6), "6s"), (inner, "10m")] {
        let output = scene.arfw(&["ban", "--for", time, network])?;
        ensure!(output.status.success(), "{output:?}");
    }
    scene.daemon.crash()?;
    let bans = scene.bans()?;
    ensure!(
        bans.iter().map(|ban| &ban.address).eq([network(v6), inner]),
        "{bans:?}"
    );
    let before = scene.count(scene.offender);
    scene.arrives(scene.neighbour)?;
    let passed = scene.count(scene.offender) - before;
    ensure!(passed <= 2, "{passed} packets of the inner network arrived");
    let [ban] = &scene.bans()?[..] else {
        anyhow::bail!("expected the inner ban alone");
    };
    ensure!(ban.address == inner && ban.packets > 0, "{ban:?}");
    scene.release()?;
    scene.arrives(scene.offender)?;
    for sender in scene.senders {
        sender.stop()?;
    }
    Ok(())
}

fn is_left_alone(enforcer: Enforcer) -> Result<()> {
    // Overlapping, and one beside the other.
    let protect = ["198.18.0.8", "198.18.0.8/30", "198.18.0.12/30"];
    let protect: Vec<&str> = protect.iter().flat_map(|net| ["--protect", net]).collect();
    let scene = Scene::new(enforcer, false, &protect)?;
    let ban = |network| scene.arfw(&["ban", "--for", "10m", "--force", network]);
    ensure!(ban(network(false))?.status.success());
    let before = scene.count(scene.offender);
    scene.arrives(scene.neighbour)?;
    let passed = scene.count(scene.offender) - before;
    ensure!(passed <= 2, "{passed} packets of the banned arrived");
    scene.end()
}
