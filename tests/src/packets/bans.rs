//! Bans of addresses begin, end, and outlive what they have to, whoever enforces them.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::Enforcer;
use xtask::netns::{offender_v4, offender_v6};

use super::{Scene, on_each_enforcer};

on_each_enforcer! {
    #[test]
    fn an_ipv4_offender_is_dropped_let_go_and_then_dropped_longer(on) -> Result<()> {
        ban_unban_and_escalation(on, false)
    }

    #[test]
    fn an_ipv6_offender_is_dropped_let_go_and_then_dropped_longer(on) -> Result<()> {
        ban_unban_and_escalation(on, true)
    }

    /// The daemon is not needed for a ban to end: the kernel obeys the expiry by itself.
    #[test]
    fn a_ban_ends_in_time_although_the_daemon_was_killed(on) -> Result<()> {
        ends_without_a_daemon(on, false)
    }

    /// AR-IMP-3
    #[test]
    fn a_ban_of_ipv6_ends_in_time_although_the_daemon_was_killed(on) -> Result<()> {
        ends_without_a_daemon(on, true)
    }

    /// A restart opens no gap: what stands in the kernel stays, and the new daemon adopts it.
    #[test]
    fn a_ban_stands_through_a_stop_and_a_start(on) -> Result<()> {
        stands_through_a_restart(on)
    }

    /// AR-IMP-2: a ban that only the kernel knows is taken over, not dropped.
    #[test]
    fn a_ban_that_only_the_kernel_knows_is_taken_over(on) -> Result<()> {
        is_taken_over(on, false)
    }

    /// AR-IMP-2, AR-IMP-3
    #[test]
    fn a_ban_of_ipv6_that_only_the_kernel_knows_is_taken_over(on) -> Result<()> {
        is_taken_over(on, true)
    }

    /// After a reboot the kernel knows nothing, and the store everything (AR-IMP-1, AR-IMP-2).
    #[test]
    fn bans_and_counters_come_back_after_a_reboot(on) -> Result<()> {
        comes_back_after_a_reboot(on)
    }

    /// What was let go stays free, also after the next start; counters stay (AR-TIME-8).
    #[test]
    fn a_stop_with_release_lets_everyone_go_for_good(on) -> Result<()> {
        is_released_for_good(on)
    }

    #[test]
    fn a_thousand_alerts_at_once_ban_a_thousand(on) -> Result<()> {
        bans_a_thousand_at_once(on)
    }
}

fn ban_unban_and_escalation(enforcer: Enforcer, v6: bool) -> Result<()> {
    let mut scene = Scene::new(enforcer, v6, &[])?;
    scene.alert(5763)?;
    let line = scene.daemon.wait_for(" ban ")?;
    ensure!(
        line.contains(&scene.offender.to_string()) && line.contains("rule=5763"),
        "{line}"
    );
    scene.is_dropped(50)?;
    scene.arrives(scene.neighbour)?;
    let before = scene.count(scene.offender);
    scene.daemon.wait_for(" unban ")?;
    scene.arrives(scene.offender)?;
    ensure!(
        scene.count(scene.offender) > before,
        "the first packet after the ban"
    );

    scene.alert(5763)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped(50)?;
    let [ban] = &scene.bans()?[..] else {
        anyhow::bail!("expected one ban");
    };
    let left = ban.seconds_left.unwrap_or(f64::INFINITY);
    ensure!(
        (50.0..=60.1).contains(&left),
        "the second offence is banned for {left} s"
    );
    ensure!(ban.by[0].offences == 2 && ban.rule_id == 5763, "{ban:?}");
    let totals = scene.home.status()?.packets;
    let banned = totals.iter().find(|total| total.outcome == "banned");
    ensure!(
        banned.is_some_and(|total| total.packets >= 100 && total.bytes > total.packets),
        "{totals:?}"
    );
    scene.arrives(scene.neighbour)?;
    scene.end()
}

fn ends_without_a_daemon(enforcer: Enforcer, v6: bool) -> Result<()> {
    let mut scene = Scene::new(enforcer, v6, &[])?;
    scene.alert(100_200)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped(5)?;
    scene.daemon.crash()?;
    let [ban] = &scene.bans()?[..] else {
        anyhow::bail!("expected the ban to be read from the kernel");
    };
    ensure!(
        ban.address == scene.offender.to_string() && ban.by.is_empty() && ban.rule_id == 100_200,
        "{ban:?}"
    );
    scene.arrives(scene.offender)?;
    scene.release()?;
    for sender in scene.senders {
        sender.stop()?;
    }
    Ok(())
}

fn stands_through_a_restart(enforcer: Enforcer) -> Result<()> {
    let mut scene = Scene::new(enforcer, false, &[])?;
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped(5)?;
    let before = scene.count(scene.offender);
    scene.restart(|_| Ok(()))?;
    let [ban] = &scene.bans()?[..] else {
        anyhow::bail!("expected the ban to stand");
    };
    ensure!(ban.packets >= 5 && ban.rule_id == 100_100, "{ban:?}");
    ensure!(
        ban.by[0].offences == 1 && ban.by[0].response == Some(1),
        "{ban:?}"
    );
    ensure!(
        ban.seconds_left
            .is_some_and(|left| (500.0..=600.1).contains(&left)),
        "{ban:?}"
    );
    let passed = scene.count(scene.offender) - before;
    ensure!(passed <= 1, "{passed} packets passed during the restart");
    let totals = scene.home.status()?.packets;
    let banned = totals.iter().find(|total| total.outcome == "banned");
    ensure!(
        banned.is_some_and(|total| total.packets >= ban.packets),
        "totals begin anew: {totals:?}"
    );
    scene.end()
}

fn is_taken_over(enforcer: Enforcer, v6: bool) -> Result<()> {
    let mut scene = Scene::new(enforcer, v6, &[])?;
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.is_dropped(5)?;
    let [old] = &scene.bans()?[..] else {
        anyhow::bail!("expected one ban");
    };
    scene.daemon.crash()?;
    fs::remove_dir_all(scene.home.state_dir())?;
    // It begins behind the alert, which must not ban a second time.
    scene.start()?;
    scene.is_dropped(old.packets + 5)?;
    let [ban] = &scene.bans()?[..] else {
        anyhow::bail!("expected the ban to be taken over");
    };
    let (left, began) = (ban.seconds_left.unwrap_or_default(), &ban.banned_at);
    ensure!((500.0..=600.1).contains(&left), "{ban:?}");
    ensure!(began == &old.banned_at && ban.rule_id == 100_100, "{ban:?}");
    let output = scene.arfw(&["unban", &scene.offender.to_string()])?;
    ensure!(output.status.success(), "{output:?}");
    scene.arrives(scene.offender)?;
    scene.end()
}

fn comes_back_after_a_reboot(enforcer: Enforcer) -> Result<()> {
    let mut scene = Scene::new(enforcer, false, &[])?;
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.daemon.stop(Signal::INT)?;
    let (pins, table) = (scene.home.pin_dir(), scene.home.table());
    arfw::enforcer::xdp::release(pins)?;
    let released = || arfw::enforcer::nftables::release(table);
    scene.link.host.run(released)??;
    scene.start()?;
    scene.is_dropped(200)?;
    scene.alert(5763)?;
    scene.daemon.wait_for(" moved the end of the ban")?;
    let [ban] = &scene.bans()?[..] else {
        anyhow::bail!("expected one ban");
    };
    let left = ban.seconds_left.unwrap_or(f64::INFINITY);
    ensure!(
        ban.by[0].offences == 2 && (50.0..=60.1).contains(&left),
        "{ban:?}"
    );
    ensure!(
        ban.packets >= 200,
        "a moved end keeps the counters: {ban:?}"
    );
    scene.end()
}

fn is_released_for_good(enforcer: Enforcer) -> Result<()> {
    let mut scene = Scene::new(enforcer, false, &[])?;
    scene.alert(100_100)?;
    scene.daemon.wait_for(" ban ")?;
    scene.release()?;
    scene.arrives(scene.offender)?;
    scene.start()?;
    ensure!(scene.bans()?.is_empty(), "the ban came back");
    scene.alert(5763)?;
    let line = scene.daemon.wait_for(" ban ")?;
    ensure!(line.contains("offence=2"), "{line}");
    scene.end()
}

/// Half of them of each family; the neighbour is not among them.
fn bans_a_thousand_at_once(enforcer: Enforcer) -> Result<()> {
    let scene = Scene::new(enforcer, false, &[])?;
    let numbers = (1000..1500).flat_map(|n| [offender_v4(n), offender_v6(n)]);
    let alerts: String = numbers
        .chain([scene.offender])
        .map(|source| alert::wazuh(100_100, 10, &["sshd"], &source.to_string()))
        .collect();
    scene.home.append(&alerts)?;
    scene.is_dropped(5)?;
    let status = scene.home.status()?;
    ensure!(
        (status.counts.bans, status.counts.failed) == (1001, 0),
        "{:?}",
        status.counts
    );
    let bans = scene.bans()?;
    ensure!(
        bans.len() == 1001 && bans.iter().all(|ban| ban.rule_id == 100_100),
        "{} bans",
        bans.len()
    );
    scene.arrives(scene.neighbour)?;
    scene.end()
}

/// The next daemon has another enforcer: it holds what the store knows, and then the old one's bans are gone.
fn changes_enforcer(from: Enforcer, to: Enforcer) -> Result<()> {
    let mut scene = Scene::new(from, false, &[])?;
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    let before = scene.count(scene.offender);
    scene.daemon.stop(Signal::TERM)?;
    scene.enforcer = to;
    scene.start()?;
    scene.is_dropped(5)?;
    let passed = scene.count(scene.offender) - before;
    ensure!(passed <= 1, "{passed} packets passed meanwhile");
    let left = match from {
        Enforcer::Nftables => !scene.ruleset()?.is_empty(),
        _ => scene.home.pin_dir().exists(),
    };
    ensure!(!left, "what {from:?} made is left");
    let output = scene.arfw(&["unban", &scene.offender.to_string()])?;
    ensure!(output.status.success(), "{output:?}");
    scene.arrives(scene.offender)?;
    scene.end()
}

#[test]
fn nftables_follow_xdp_without_a_gap() -> Result<()> {
    changes_enforcer(Enforcer::Native, Enforcer::Nftables)
}

#[test]
fn xdp_follows_nftables_without_a_gap() -> Result<()> {
    changes_enforcer(Enforcer::Nftables, Enforcer::Native)
}
