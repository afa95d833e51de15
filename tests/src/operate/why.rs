//! `arfw why`: what an operator is told of an address that is banned, and of one that is not.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arfw::control::view::{End, Why};
use rustix::process::Signal;
use serde_json::json;
use tests::support::alert;

use super::{CONF, Scene, V4};

fn why(scene: &Scene, address: &str) -> Result<Why> {
    let output = scene.home.output(&["why", "--json", address])?;
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).with_context(|| said.into_owned())
}

/// What people read.
fn page(scene: &Scene, address: &str) -> Result<String> {
    let output = scene.home.output(&["why", address])?;
    let text = String::from_utf8(output.stdout)?;
    let wide = text.lines().find(|line| line.chars().count() > 80);
    let dir = scene.home.dir().display().to_string();
    ensure!(wide.is_none_or(|line| line.contains(&dir)), "{text}");
    Ok(text)
}

/// Waits until an alert that leads to nothing has been read.
fn read(scene: &mut Scene, line: &str) -> Result<()> {
    scene.home.append(line)?;
    scene.alert(5763, "203.0.113.99", " address=203.0.113.99 ")?;
    Ok(())
}

#[test]
fn a_ban_tells_its_section_its_alert_and_its_place_on_the_ladder() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let hostile = json!({
        "id": "17.1\u{1b}[2J",
        "rule": {"level": 10, "id": "5763", "description": "brute force\u{202e}", "groups": ["sshd"]},
        "data": {"srcip": V4},
        "full_log": "sshd: \u{1b}]0;owned\u{7}\nfrom `$(reboot)`",
    });
    scene.home.append(&format!("{hostile}\n"))?;
    scene.daemon.wait_for(" ban ")?;
    let told = why(&scene, V4)?;
    let [ban] = &told.bans[..] else {
        anyhow::bail!("{told:#?}");
    };
    ensure!(
        told.banned && ban.applies && told.past.is_empty(),
        "{told:#?}"
    );
    ensure!(
        (ban.response, ban.line, ban.rule_id, ban.offences) == (Some(0), Some(7), 5763, 1),
        "{ban:#?}"
    );
    ensure!(
        (ban.seconds, ban.next_seconds) == (Some(600), Some(1800)),
        "{ban:#?}"
    );
    let alert = ban.alert.as_ref().context("an alert")?;
    ensure!(
        alert.full_log.as_deref() == hostile["full_log"].as_str(),
        "{alert:#?}"
    );
    let text = page(&scene, V4)?;
    ensure!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
    for expected in [
        "`17.1\\u{1b}[2J`",
        "\\u{1b}]0;owned\\u{7}\\nfrom",
        "offence     number 1, 10m; the next would be 30m",
        "5763, level 10 `brute force\\u{202e}`",
    ] {
        ensure!(text.contains(expected), "{expected}: {text}");
    }
    // The line is that of the time of the ban, whatever is read since.
    std::fs::write(scene.home.config(), format!("\n\n{CONF}"))?;
    ensure!(scene.home.output(&["reload"])?.status.success());
    ensure!(why(&scene, V4)?.bans[0].line == Some(7));
    // After a restart the store has the rule, the section and the alert's identifier, and no more.
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&[])?;
    let after = why(&scene, V4)?;
    let after = &after.bans[0];
    ensure!(
        (after.response, after.line, after.rule_id) == (Some(0), None, 5763)
            && after.alert.is_none()
            && after.alert_id == ban.alert_id
            && after.seconds == Some(600),
        "{after:#?}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn bans_by_hand_and_of_networks_are_told_of_whom_they_hold() -> Result<()> {
    let mut scene = Scene::new(CONF, &["--protect", "203.0.113.9"])?;
    let reason = ["--for", "1h", "--force", "--reason", "a scan\u{1b}[2J"];
    let ban = [&["ban", "203.0.113.0/24"], &reason[..]].concat();
    scene.check(&ban, (0, "203.0.113.0/24: banned\n", ""))?;
    let told = why(&scene, "203.0.113.7")?;
    ensure!(
        told.banned && told.bans[0].address == "203.0.113.0/24",
        "{told:#?}"
    );
    let by = told.bans[0].by_hand.as_ref().context("by hand")?;
    ensure!(by.uid == 0 && by.reason == "a scan\u{1b}[2J", "{by:?}");
    let text = page(&scene, "203.0.113.7")?;
    ensure!(text.contains(r"a scan\u{1b}[2J"), "{text}");
    // What is protected is left alone by it.
    let told = why(&scene, "203.0.113.9")?;
    ensure!(!told.banned && !told.bans[0].applies, "{told:#?}");
    let spared = told.spared.context("spared")?;
    ensure!(spared.by == "guard", "{spared:?}");
    let told = why(&scene, "203.0.113.0/24")?;
    ensure!(told.banned && told.bans.len() == 1, "{told:#?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn who_is_not_banned_is_told_what_each_alert_led_to() -> Result<()> {
    let conf = CONF
        .replacen("<rules_id>5763</rules_id>", "<level>6</level>", 1)
        .replacen(
            "<ossec_config>",
            "<ossec_config><global><white_list>198.51.100.8</white_list></global>",
            1,
        );
    let mut scene = Scene::new(&conf, &["--protect", "203.0.113.9"])?;
    let alerts = [
        alert::wazuh(5710, 5, &["sshd"], V4),
        alert::wazuh(5710, 5, &["sshd"], V4),
        alert::wazuh(5763, 10, &["sshd"], "198.51.100.8"),
        alert::wazuh(5763, 10, &["sshd"], "203.0.113.9"),
        alert::wazuh(5763, 10, &["sshd"], "host.example"),
    ];
    read(&mut scene, &alerts.concat())?;

    let told = why(&scene, V4)?;
    let [it] = &told.alerts[..] else {
        anyhow::bail!("{told:#?}");
    };
    ensure!(
        !told.banned && it.times == 2 && it.outcome == "unmatched",
        "{told:#?}"
    );
    let criteria: Vec<_> = it.sections.iter().flat_map(|it| &it.criteria).collect();
    let words: Vec<_> = criteria.iter().map(|it| it.why.as_str()).collect();
    ensure!(
        words == ["level 5 < 6", "rule 5710 not among 5712"],
        "{words:?}"
    );

    let refused = |address: &str, word: &str, by: Option<&str>| -> Result<()> {
        let told = why(&scene, address)?;
        let found = told.alerts.first().and_then(|it| it.refusal.as_deref());
        let spared = told.spared.as_ref().map(|it| it.by.as_str());
        ensure!(
            !told.banned && found == Some(word) && spared == by,
            "{told:#?}"
        );
        Ok(())
    };
    refused("198.51.100.8", "white_listed", Some("white_list"))?;
    refused("203.0.113.9", "protected", Some("guard"))?;
    refused("host.example", "not_an_address", None)?;
    let text = page(&scene, "198.51.100.8")?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        words.contains("is white-listed by `198.51.100.8` in line 1"),
        "{text}"
    );

    // Nothing is known of some.
    let told = why(&scene, "198.51.100.77")?;
    ensure!(told.is_address && !told.banned && told.alerts.is_empty() && told.past.is_empty());
    let text = page(&scene, "198.51.100.77")?;
    ensure!(
        text.contains("no alert about it is remembered since"),
        "{text}"
    );
    let exit = |text: &str| -> Result<Option<i32>> {
        Ok(scene.home.output(&["why", text])?.status.code())
    };
    ensure!(exit("198.51.100.77")? == Some(0) && exit("no.body; x")? == Some(1));
    ensure!(exit("198.51.100.7/24")? == Some(1));

    // And what ended.
    scene.check(
        &["unban", "203.0.113.99"],
        (0, "203.0.113.99: firewall-drop ended\n", ""),
    )?;
    let told = why(&scene, "203.0.113.99")?;
    ensure!(!told.banned && told.past.len() == 1, "{told:#?}");
    ensure!(told.past[0].end == Some(End::Hand), "{told:#?}");
    ensure!(told.alerts[0].acts[0].outcome == "banned", "{told:#?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// What came of the last alert about an address: its outcome, and that of its one section.
fn last(scene: &Scene, address: &str) -> Result<(String, Option<String>)> {
    let told = why(scene, address)?;
    let alert = told.alerts.first().with_context(|| format!("{told:#?}"))?;
    let act = alert.acts.first().map(|act| act.outcome.clone());
    Ok((alert.outcome.clone(), act))
}

fn fired(act: &str) -> (String, Option<String>) {
    ("fired".to_owned(), Some(act.to_owned()))
}

#[test]
fn who_is_over_the_limit_or_another_hosts_is_told_so() -> Result<()> {
    let mut scene = Scene::new(CONF, &["--max-bans", "1"])?;
    scene.alert(5763, V4, " ban ")?;
    scene.alert(5763, "198.51.100.8", "no ban: ")?;
    ensure!(last(&scene, V4)? == fired("banned"));
    let told = why(&scene, "198.51.100.8")?;
    ensure!(!told.banned && told.bans.is_empty(), "{told:#?}");
    let found = last(&scene, "198.51.100.8")?;
    ensure!(found == fired("over_limit"), "{found:?}");
    let text = page(&scene, "198.51.100.8")?;
    ensure!(text.starts_with("198.51.100.8 is not banned\n"), "{text}");

    // Of an agent, `local` is the agent's own host.
    let line = alert::wazuh(5763, 10, &["sshd"], "198.51.100.9");
    let line = line.replacen("\"id\":\"000\"", "\"id\":\"003\"", 1);
    ensure!(line.contains("\"id\":\"003\""), "{line}");
    scene.home.append(&line)?;
    scene.daemon.wait_for("not for this host")?;
    let told = why(&scene, "198.51.100.9")?;
    ensure!(!told.banned, "{told:#?}");
    let found = last(&scene, "198.51.100.9")?;
    ensure!(found == fired("elsewhere"), "{found:?}");
    let words = &told.alerts[0].acts[0].why;
    ensure!(words.contains("agent 003"), "{words}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn alerts_that_come_late_or_again_are_told_so() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.daemon.stop(Signal::TERM)?;
    let old =
        |seconds, address| alert::old(Duration::from_secs(seconds), 5763, 10, &["sshd"], address);
    let (late, too_late) = (old(60, V4), old(3600, "198.51.100.8"));
    scene.home.append(&[&*late, &*too_late].concat())?;
    scene.daemon = scene.home.start_dry(&[])?;
    scene.alert(5763, "203.0.113.99", " address=203.0.113.99 ")?;
    // The ban lasts from the alert's own time, and the page tells for how long it was made.
    let told = why(&scene, V4)?;
    ensure!(last(&scene, V4)? == fired("banned"), "{told:#?}");
    let ban = told.bans.first().context("a ban")?;
    let left = ban.seconds_left.context("an end")?;
    ensure!(ban.seconds == Some(600) && left <= 540.0, "{ban:#?}");
    let told = why(&scene, "198.51.100.8")?;
    ensure!(
        !told.banned && last(&scene, "198.51.100.8")? == fired("only_counted"),
        "{told:#?}"
    );

    // The file is written anew, with what was read before.
    std::fs::write(scene.home.alerts(), &late)?;
    scene.alert(5763, "203.0.113.98", " address=203.0.113.98 ")?;
    let found = last(&scene, V4)?;
    ensure!(found == ("repeated".to_owned(), None), "{found:?}");
    let told = why(&scene, V4)?;
    ensure!(told.bans[0].offences == 1, "{told:#?}");
    let text = page(&scene, V4)?;
    ensure!(text.contains("it had been handled before"), "{text}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn a_flood_of_one_offender_leaves_the_alerts_of_others() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let mut alerts = alert::wazuh(5710, 5, &["sshd"], V4);
    for _ in 0..20_000 {
        alerts.push_str(&alert::wazuh(5711, 5, &["sshd"], "198.51.100.9"));
    }
    read(&mut scene, &alerts)?;
    let flood = why(&scene, "198.51.100.9")?;
    ensure!(
        flood.alerts.len() == 1 && flood.alerts[0].times == 20_000,
        "{flood:#?}"
    );
    ensure!(why(&scene, V4)?.alerts.len() == 1);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
