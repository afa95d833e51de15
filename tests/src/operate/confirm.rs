//! `--confirm` and `arfw confirm`: what is told, when, and what is refused.

use anyhow::{Context as _, Result, ensure};
use arfw::control::view::{End, History, Provisional};
use rustix::process::Signal;

use super::events::Listener;
use super::{CONF, Scene, V4, V6};

/// What a command prints, with the times that it tells cut out.
fn said(scene: &Scene, arguments: &[&str], code: i32) -> Result<String> {
    let output = scene.home.output(arguments)?;
    let text = String::from_utf8([output.stdout, output.stderr].concat())?;
    let found = output.status.code();
    ensure!(found == Some(code), "{arguments:?}: {found:?}: {text}");
    let timeless = text.lines().map(|line| match line.split_once(", at ") {
        Some((before, after)) => {
            let (time, after) = after.split_once(", ").unwrap_or((after, ""));
            assert!(time.ends_with('Z'), "{line}");
            format!("{before}, at TIME, {after}\n")
        }
        None => format!("{line}\n"),
    });
    Ok(timeless.collect())
}

fn ends(scene: &Scene) -> Result<Vec<(String, Option<End>)>> {
    let output = scene.home.output(&["history", "--json"])?;
    let history: History = serde_json::from_slice(&output.stdout)?;
    let ends = history.bans.into_iter().rev();
    Ok(ends.map(|ban| (ban.executable, ban.end)).collect())
}

#[test]
fn a_command_tells_at_once_what_will_happen_and_how_to_confirm() -> Result<()> {
    let mut scene = Scene::new(CONF, &["--protect", "203.0.113.9"])?;
    let told = said(
        &scene,
        &[
            "ban",
            V4,
            "203.0.113.9",
            "--for",
            "10m",
            "--confirm",
            "1m",
            "--force",
        ],
        0,
    )?;
    let expected = "198.51.100.7: banned; taken back in 1m, at TIME, unless `arfw confirm 198.51.100.7` follows\n\
        203.0.113.9: banned, although it must stay reachable: by `--protect 203.0.113.9/32`; taken back in 1m, at TIME, \
        unless `arfw confirm 203.0.113.9` follows\n";
    ensure!(told == expected, "{told}");
    let status = scene.home.status()?;
    let pending: Vec<_> = status.pending.iter().collect();
    ensure!(
        pending.len() == 2
            && pending.iter().all(|it| it.change == Provisional::Ban
                && (1.0..=60.0).contains(&it.confirm.seconds_left)
                && it.by.uid == 0
                && it.by.pid.is_some()),
        "{pending:#?}"
    );
    let shown = said(&scene, &["status"], 0)?;
    ensure!(
        shown.contains("pending     ban of 198.51.100.7 (manual) by uid 0: taken back in "),
        "{shown}"
    );
    // As long as it is not confirmed, it is not as long as it will be.
    let bans = scene.home.bans()?;
    ensure!(
        bans.iter()
            .all(|ban| ban.seconds_left.is_some_and(|left| left <= 60.0)),
        "{bans:#?}"
    );
    ensure!(
        said(&scene, &["confirm", V4, V6], 1)?
            == "198.51.100.7: ban confirmed (manual)\n2001:db8::7: nothing waits to be confirmed\n"
    );
    ensure!(said(&scene, &["confirm"], 0)? == "203.0.113.9: ban confirmed (manual-forced)\n");
    ensure!(
        said(&scene, &["confirm"], 1)?
            == "nothing waits to be confirmed; `arfw status` shows what does\n"
    );
    let bans = scene.home.bans()?;
    ensure!(
        bans.iter()
            .all(|ban| ban.seconds_left.is_some_and(|left| left > 500.0)),
        "{bans:#?}"
    );
    let names: Vec<_> = bans
        .iter()
        .map(|ban| ban.by[0].executable.as_str())
        .collect();
    ensure!(names == ["manual", "manual-forced"], "{names:?}");
    scene.alert(5763, V6, " ban ")?;
    let told = said(&scene, &["unban", V6, "--confirm", "60s"], 0)?;
    let expected = "2001:db8::7: firewall-drop ended; taken back in 1m, at TIME, unless `arfw confirm 2001:db8::7` follows\n";
    ensure!(told == expected, "{told}");
    ensure!(!scene.banned()?.contains(&V6.to_owned()));
    ensure!(said(&scene, &["confirm", V6], 0)? == "2001:db8::7: unban confirmed (firewall-drop)\n");
    let said = scene.daemon.stop(Signal::TERM)?;
    for expected in [
        "the ban is taken back in 1m unless `arfw confirm` follows",
        "confirmation on request uid=0 pid=",
        "ban confirmed address=198.51.100.7 by=\"manual\" uid=0",
        "unban confirmed address=2001:db8::7 by=\"firewall-drop\" uid=0",
    ] {
        ensure!(
            said.iter().any(|line| line.contains(expected)),
            "{expected}: {said:#?}"
        );
    }
    Ok(())
}

#[test]
fn what_is_taken_back_is_told_in_the_log_the_events_and_the_history() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let mut listener = Listener::new(&scene, &["--json"])?;
    listener.event()?;
    said(&scene, &["ban", V4, "--for", "10m", "--confirm", "1s"], 0)?;
    scene
        .daemon
        .wait_for("the ban by hand is taken back: not confirmed")?;
    scene.alert(5712, V4, " ban ")?;
    said(&scene, &["unban", V4, "--confirm", "2s"], 0)?;
    // While it waits, the history tells it as it is.
    let held = ends(&scene)?;
    ensure!(
        held.last() == Some(&("firewall-drop".to_owned(), Some(End::Lifted))),
        "{held:?}"
    );
    scene
        .daemon
        .wait_for("the unban is taken back: not confirmed")?;
    ensure!(scene.banned()? == [V4], "{:?}", scene.banned()?);
    said(&scene, &["unban", V4, "--confirm", "1h"], 0)?;
    said(&scene, &["confirm"], 0)?;
    let events = [
        serde_json::json!({"type": "ban", "executable": "manual-unconfirmed", "confirm_seconds": 1.0}),
        serde_json::json!({"type": "unban", "executable": "manual-unconfirmed", "end": "not_confirmed"}),
        serde_json::json!({"type": "ban", "executable": "firewall-drop"}),
        serde_json::json!({"type": "unban", "executable": "firewall-drop", "end": "hand", "confirm_seconds": 2.0}),
        serde_json::json!({"type": "ban", "executable": "firewall-drop", "not_confirmed": true, "seconds_left": null,
            "rule_id": 5712}),
        serde_json::json!({"type": "unban", "executable": "firewall-drop", "end": "hand", "confirm_seconds": 3600.0}),
        serde_json::json!({"type": "confirmed", "executable": "firewall-drop", "change": "unban"}),
    ];
    for expected in &events {
        super::events::check(&listener.event()?, expected)?;
    }
    let told = ends(&scene)?;
    let name = |(name, end): (&str, End)| (name.to_owned(), Some(end));
    let expected = [
        ("manual-unconfirmed", End::NotConfirmed),
        ("firewall-drop", End::Lifted),
        ("firewall-drop", End::Hand),
    ];
    ensure!(told == expected.map(name), "{told:?}");
    let shown = String::from_utf8(scene.home.output(&["history"])?.stdout)?;
    ensure!(
        shown.contains("hand of uid 0, not confirmed") && shown.contains("  not confirmed  "),
        "{shown}"
    );
    scene.daemon.stop(Signal::TERM)?;
    // All of it can be exported and read again.
    let mut export = std::process::Command::new(tests::support::daemon::binary());
    export
        .args(["store", "export", "--state-dir"])
        .arg(scene.home.state_dir());
    let exported = String::from_utf8(export.output()?.stdout)?;
    ensure!(
        exported.contains(r#""how":{"lifted":{"uid":0"#),
        "{exported}"
    );
    Ok(())
}

#[test]
fn what_cannot_be_confirmed_is_refused_with_what_was_expected() -> Result<()> {
    let scene = Scene::new(CONF, &[])?;
    for wrong in ["0s", "999ms", "61m", "soon"] {
        for command in [&["ban", "--for", "2h"][..], &["unban"]] {
            let arguments = [command, &[V4, "--confirm", wrong]].concat();
            let told = said(&scene, &arguments, 2)?;
            let expected = format!("expected a time from 1s to 1h, such as `60s`; found `{wrong}`");
            ensure!(told.contains(&expected), "{told}");
        }
    }
    let told = said(&scene, &["ban", V4, "--for", "30s", "--confirm", "1m"], 1)?;
    ensure!(
        told == "arfw: expected a ban at least as long as the time to confirm it, 60s; found 30s, which is over before\n",
        "{told}"
    );
    ensure!(scene.banned()?.is_empty());
    Ok(())
}

/// A plain order is the last word.
#[test]
fn an_order_without_condition_ends_the_wait() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    said(&scene, &["ban", V4, "--permanent", "--confirm", "1h"], 0)?;
    said(&scene, &["ban", V4, "--for", "10m"], 0)?;
    ensure!(scene.home.status()?.pending.is_empty());
    let bans = scene.home.bans()?;
    let ban = bans.first().context("a ban")?;
    ensure!(
        ban.seconds_left.is_some_and(|left| left <= 600.0) && ban.by.len() == 1,
        "{ban:?}"
    );
    said(&scene, &["unban", V4, "--confirm", "1h"], 0)?;
    ensure!(said(&scene, &["unban", V4], 0)? == "198.51.100.7: manual ended\n");
    ensure!(scene.home.status()?.pending.is_empty());
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&[])?;
    ensure!(scene.banned()?.is_empty());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
