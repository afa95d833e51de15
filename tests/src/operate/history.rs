//! `arfw history`: every ban that ended is there once, however the daemon ended.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use arfw::control::view::{End, History, Past};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};

use super::{CONF, Scene, V4, V6};

/// How often a wait looks.
const EVERY: Duration = Duration::from_millis(50);

fn history(home: &Home, arguments: &[&str]) -> Result<Vec<Past>> {
    let output = home.output(&[&["history", "--json"], arguments].concat())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    let history: History = serde_json::from_slice(&output.stdout)?;
    ensure!(history.forgotten == 0, "{history:?}");
    Ok(history.bans)
}

/// Who, and how it ended, oldest first.
fn ends(bans: &[Past]) -> Vec<(&str, Option<End>)> {
    let ends = bans.iter().rev();
    ends.map(|ban| (ban.address.as_str(), ban.end)).collect()
}

/// Waits until the last ban of an address has ended.
fn ended(home: &Home, address: &str) -> Result<()> {
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        let bans = history(home, &[address, "--limit", "1"])?;
        if bans.first().is_some_and(|ban| ban.end.is_some()) {
            return Ok(());
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("the ban of {address} does not end")
}

#[test]
fn bans_that_end_by_time_by_hand_and_for_the_white_list_are_told_also_after_a_crash() -> Result<()>
{
    let conf = CONF.replacen("<timeout>600", "<timeout>1", 1);
    let mut scene = Scene::new(&conf, &[])?;
    scene.check(&["history"], (0, "no ban is remembered\n", ""))?;
    scene.alert(5763, V4, " ban ")?;
    ended(&scene.home, V4)?;
    scene.alert(5712, V6, " ban ")?;
    scene.check(
        &["unban", V6],
        (0, "2001:db8::7: firewall-drop ended\n", ""),
    )?;
    scene.alert(5712, "198.51.100.8", " ban ")?;
    let white_listed = conf.replacen(
        "<ossec_config>",
        "<ossec_config><global><white_list>198.51.100.8</white_list></global>",
        1,
    );
    fs::write(scene.home.config(), white_listed)?;
    let reloaded = scene.home.output(&["reload"])?;
    ensure!(reloaded.status.success(), "{reloaded:?}");
    let reason = ["--permanent", "--reason", "a scan\u{1b}[2J"];
    let ban = [&["ban", "198.51.100.128/25"], &reason[..]].concat();
    scene.check(&ban, (0, "198.51.100.128/25: banned\n", ""))?;

    let told = [
        (V4, Some(End::Time)),
        (V6, Some(End::Hand)),
        ("198.51.100.8", Some(End::WhiteList)),
        ("198.51.100.128/25", None),
    ];
    let before = history(&scene.home, &[])?;
    ensure!(ends(&before) == told, "{before:#?}");
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&[])?;
    let after = history(&scene.home, &[])?;
    ensure!(after == before, "{after:#?}");

    let [by_hand, white_listed, hand, time] = &after[..] else {
        bail!("{after:#?}");
    };
    // The section of the first is in line 7, of the others in line 14.
    let why = |past: &Past| (past.rule_id, past.line, past.alert_id.is_some());
    ensure!(why(time) == (5763, Some(7), true), "{time:?}");
    ensure!(why(hand) == (5712, Some(14), true), "{hand:?}");
    // The configuration that has the white list is younger than the ban.
    ensure!(why(white_listed) == (5712, None, true), "{white_listed:?}");
    ensure!(hand.ended_by.is_some_and(|by| by.uid == 0), "{hand:?}");
    ensure!(
        time.ended_by.is_none() && time.ended_at == time.expires_at,
        "{time:?}"
    );
    let reason = by_hand.by_hand.as_ref().map(|by| by.reason.as_str());
    ensure!(reason == Some("a scan\u{1b}[2J"), "{by_hand:?}");

    // Of networks and addresses what meets the one that was asked for, and no more than was asked for.
    let meets = |asked: &str, expected: &[&str]| -> Result<()> {
        let bans = history(&scene.home, &[asked])?;
        let found: Vec<_> = bans.iter().map(|ban| ban.address.as_str()).collect();
        ensure!(found == expected, "{asked}: {found:?}");
        Ok(())
    };
    meets("198.51.100.0/29", &[V4])?;
    meets("198.51.100.129", &["198.51.100.128/25"])?;
    meets(
        "198.51.100.0/24",
        &["198.51.100.128/25", "198.51.100.8", V4],
    )?;
    meets("2001:db8::/32", &[V6])?;
    ensure!(history(&scene.home, &["--limit", "2"])? == after[..2]);

    let text = scene.home.output(&["history"])?;
    let text = String::from_utf8(text.stdout)?;
    let rows: Vec<_> = text.lines().collect();
    ensure!(
        rows.len() == 5
            && rows[0].starts_with("BANNED ")
            && rows[1].contains(r"198.51.100.128/25  manual         uid 0: a scan\u{1b}[2J")
            && rows[2].contains("  white list     198.51.100.8 ")
            && rows[3].contains("  hand of uid 0  2001:db8::7 ")
            && rows[4].contains("  time           198.51.100.7 ")
            && rows[4].ends_with(", line 7"),
        "{text}"
    );
    scene.daemon.stop(Signal::TERM)?;
    let gone = scene.home.output(&["history"])?;
    ensure!(gone.status.code() == Some(4), "{gone:?}");
    Ok(())
}

#[test]
fn each_ban_and_its_end_are_there_once_however_often_the_daemon_is_killed() -> Result<()> {
    const ROUNDS: u32 = 6;
    const MANY: u32 = 40;
    let scene = Scene::new(CONF, &[])?;
    let Scene { home, mut daemon } = scene;
    // Its answer waits for the disk: from here on the position of the alerts is stored.
    ensure!(home.output(&["forgive", "--all"])?.status.success());
    let addresses = |round: u32| (0..MANY).map(move |last| format!("198.18.{round}.{last}"));
    for round in 0..ROUNDS {
        let alerts = addresses(round).map(|srcip| alert::wazuh(5712, 10, &["sshd"], &srcip));
        home.append(&alerts.collect::<String>())?;
        // At any point: nothing yet, some, or all of it is done or stored.
        daemon.crash()?;
        daemon = home.start_dry(&[])?;
        let mut tries = PATIENCE.as_millis() / EVERY.as_millis();
        while home.bans()?.len() < (MANY * (round + 1)) as usize {
            tries = tries.checked_sub(1).context("a ban is missing")?;
            std::thread::park_timeout(EVERY);
        }
    }
    for round in 0..ROUNDS {
        let them: Vec<String> = addresses(round).collect();
        let mut arguments = vec!["unban"];
        arguments.extend(them.iter().map(String::as_str));
        let mut command = home.command(&arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut unban = command.spawn()?;
        // It may have been heard, or have changed something, or be written at this moment, or have been answered.
        match round % 3 {
            0 => {}
            1 => {
                daemon.wait_for(" unban ")?;
                // Before, amid or after the commit.
                std::thread::park_timeout(Duration::from_millis(10) * round);
            }
            _ => ensure!(unban.wait()?.success(), "unban {round}"),
        }
        daemon.crash()?;
        unban.wait()?;
        daemon = home.start_dry(&[])?;
    }
    let bans: Vec<String> = home.bans()?.into_iter().map(|ban| ban.address).collect();
    let stored = history(&home, &["--limit", "100000"])?;
    let running = stored.iter().filter(|ban| ban.end.is_none());
    let mut running: Vec<String> = running.map(|ban| ban.address.clone()).collect();
    let mut held = bans.clone();
    running.sort();
    held.sort();
    ensure!(running == held, "{running:?} {held:?}");
    if !bans.is_empty() {
        let mut arguments = vec!["unban"];
        arguments.extend(bans.iter().map(String::as_str));
        ensure!(home.output(&arguments)?.status.success());
    }
    let mut told = history(&home, &["--limit", "100000"])?;
    told.sort_by(|left, right| left.address.cmp(&right.address));
    let mut expected: Vec<String> = (0..ROUNDS).flat_map(addresses).collect();
    expected.sort();
    let found: Vec<String> = told.iter().map(|ban| ban.address.clone()).collect();
    ensure!(found == expected, "{} entries: {found:?}", found.len());
    let odd = told.iter().find(|ban| ban.end != Some(End::Hand));
    ensure!(odd.is_none(), "{odd:?}");
    daemon.stop(Signal::TERM)?;
    Ok(())
}
