//! Bans of prefixes on real packets: they begin, end with the daemon dead, and leave the allowed alone.

use anyhow::{Result, ensure};

use super::Scene;

/// A network that holds the offender and its neighbour.
fn network(v6: bool) -> &'static str {
    if v6 {
        "2001:db8:a::/48"
    } else {
        "198.18.0.0/16"
    }
}

/// Bans the network with the neighbour protected; the kernel ends it while no daemon runs.
fn ends_without_a_daemon(v6: bool) -> Result<()> {
    let address = if v6 {
        xtask::netns::offender_v6(8)
    } else {
        xtask::netns::offender_v4(8)
    };
    let neighbour = address.to_string();
    let mut scene = Scene::new(v6, &["--protect", &neighbour])?;
    let banned = ["ban", "--for", "3s", "--force", network(v6)];
    let output = scene.home.output(&banned)?;
    ensure!(output.status.success(), "{output:?}");
    let before = scene.count(scene.offender);
    scene.arrives(scene.neighbour)?;
    let dropped = scene.count(scene.offender) - before;
    // What was on its way may still arrive.
    ensure!(dropped <= 2, "{dropped} packets arrived");
    scene.daemon.crash()?;
    scene.arrives(scene.neighbour)?;
    scene.arrives(scene.offender)?;
    for sender in scene.senders {
        sender.stop()?;
    }
    let released = scene.home.output(&["stop", "--release"])?;
    ensure!(released.status.success(), "{released:?}");
    Ok(())
}

/// AR-TIME-1
#[test]
fn a_ban_of_an_ipv4_prefix_ends_although_the_daemon_was_killed() -> Result<()> {
    ends_without_a_daemon(false)
}

/// AR-TIME-1
#[test]
fn a_ban_of_an_ipv6_prefix_ends_although_the_daemon_was_killed() -> Result<()> {
    ends_without_a_daemon(true)
}
