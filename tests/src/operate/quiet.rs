//! `arfw unban --quiet`: alerts about whoever is quiet lead to nothing on this host, and everybody is told why.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use arfw::control::view::{Quiet, Why};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::support::daemon::binary;

use super::{CONF, Scene, V4, V6};

impl Scene {
    fn json<T: serde::de::DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let output = self.home.output(&[arguments, &["--json"]].concat())?;
        serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))
    }

    fn quiet(&self) -> Result<Vec<Quiet>> {
        self.json(&["list", "--quiet"])
    }

    /// What a command prints, with times as `T`, and how it ends.
    fn says(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let output = self.home.output(arguments)?;
        let text = String::from_utf8(output.stdout)?;
        let word = |word: &str| match word.trim_end_matches(',') {
            time if time.starts_with("20") && time.ends_with('Z') => word.replace(time, "T"),
            _ => word.to_owned(),
        };
        let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ") + "\n";
        Ok((
            output.status.code().unwrap_or(-1),
            text.lines().map(line).collect(),
        ))
    }

    fn check_says(&self, arguments: &[&str], expected: (i32, &str)) -> Result<()> {
        let (code, said) = self.says(arguments)?;
        ensure!((code, &*said) == expected, "{arguments:?}: {code}\n{said}");
        Ok(())
    }

    /// An alert that would ban is held.
    fn is_held(&mut self, address: &str) -> Result<String> {
        self.alert(5763, address, "no ban: ")
    }
}

#[test]
fn whoever_is_quiet_is_told_everywhere_with_who_asked_and_why() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    let reason = ["--quiet", "1h", "--reason", "a test\u{1b}[2J"];
    scene.check_says(
        &[&["unban", V4, V6], &reason[..]].concat(),
        (
            1,
            "198.51.100.7: firewall-drop ended; quiet until T\n\
             2001:db8::7: was not banned; quiet until T\n",
        ),
    )?;
    // A line each, escaped, in the log and in the refusal that others are told.
    let line = scene.is_held(V4)?;
    ensure!(
        line.contains("198.51.100.7 is quiet until 20")
            && line.contains(r"as user 0 asked: a test\u{1b}[2J"),
        "{line}"
    );
    scene.is_held(V6)?;
    ensure!(scene.banned()?.is_empty(), "{:?}", scene.banned());
    let counts = scene.home.status()?.counts;
    ensure!(
        (counts.matched, counts.refused, counts.bans) == (3, 2, 1),
        "{counts:?}"
    );
    let [first, second] = &scene.quiet()?[..] else {
        anyhow::bail!("{:?}", scene.quiet());
    };
    ensure!((&*first.address, &*second.address) == (V4, V6));
    ensure!(
        first.by_hand.uid == 0
            && first.by_hand.pid.is_some()
            && first.by_hand.reason == "a test\u{1b}[2J"
            && (3480.0..=3600.0).contains(&first.seconds_left),
        "{first:?}"
    );
    let listed = scene.says(&["list", "--quiet"])?.1;
    ensure!(
        listed.contains(r"a test\u{1b}[2J") && listed.starts_with("ADDRESS "),
        "{listed}"
    );
    let why: Why = scene.json(&["why", V4])?;
    let held = why.alerts.first().context("an alert")?;
    ensure!(
        !why.banned && why.quiet.as_ref().map(|quiet| &*quiet.address) == Some(V4),
        "{why:#?}"
    );
    ensure!(held.refusal.as_deref() == Some("quiet"), "{held:#?}");
    let section = held.sections.first().context("a section")?;
    ensure!(
        section
            .why
            .starts_with("matches, refused: 198.51.100.7 is quiet until 20"),
        "{section:#?}"
    );
    let page = scene.says(&["why", V4])?.1;
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        words.starts_with(
            r"198.51.100.7 is not banned; quiet until T, asked by user 0 because: a test\u{1b}[2J"
        ),
        "{page}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn a_quiet_time_gets_another_end_and_ends_by_hand_or_by_a_ban_and_not_by_forgiveness() -> Result<()>
{
    let mut scene = Scene::new(CONF, &[])?;
    let network = "198.51.100.0/24";
    let quiet = |whom, time| ["unban", whom, "--quiet", time];
    scene.check_says(
        &quiet(V4, "1h"),
        (1, "198.51.100.7: was not banned; quiet until T\n"),
    )?;
    scene.check_says(
        &quiet(V4, "30d"),
        (
            1,
            "198.51.100.7: was not banned; was quiet, and is until T from here on\n",
        ),
    )?;
    scene.check(&["forgive", "--all"], (0, "0 counters cleared\n", ""))?;
    scene.check(&["unban", V4], (1, "198.51.100.7: was not banned\n", ""))?;
    scene.is_held(V4)?;
    scene.check(
        &quiet(V4, "0"),
        (0, "198.51.100.7: was not banned; quiet no more\n", ""),
    )?;
    scene.check(
        &quiet(V4, "0s"),
        (1, "198.51.100.7: was not banned; was not quiet\n", ""),
    )?;
    scene.alert(5763, V4, " ban ")?;
    // A network holds for all that stands in it, and is ended as the network that it is.
    scene.check_says(
        &["unban", network, V4, "--quiet", "1h"],
        (
            1,
            "198.51.100.0/24: was not banned; quiet until T\n\
             198.51.100.7: firewall-drop ended; quiet until T\n",
        ),
    )?;
    let line = scene.is_held("198.51.100.9")?;
    ensure!(
        line.contains("198.51.100.9, as part of 198.51.100.0/24, is quiet until "),
        "{line}"
    );
    scene.check(
        &quiet("198.51.100.9", "0"),
        (1, "198.51.100.9: was not banned; was not quiet\n", ""),
    )?;
    // Whoever bans by hand means it; what holds the address stays quiet.
    scene.check(
        &["ban", V4, "--for", "1h"],
        (0, "198.51.100.7: banned; a quiet time ended\n", ""),
    )?;
    scene.check(
        &["ban", "198.51.100.9", "--for", "1h"],
        (0, "198.51.100.9: banned\n", ""),
    )?;
    scene.is_held("198.51.100.9")?;
    scene.check_says(
        &quiet("198.51.100.128/25", "1h"),
        (1, "198.51.100.128/25: was not banned; quiet until T\n"),
    )?;
    scene.check(
        &["ban", network, "--for", "1h"],
        (0, "198.51.100.0/24: banned; 2 quiet times ended\n", ""),
    )?;
    ensure!(scene.quiet()?.is_empty(), "{:?}", scene.quiet());
    scene.alert(5763, "198.51.100.10", " ban ")?;
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn a_quiet_time_and_what_ended_it_outlive_a_crash_and_an_export() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    let order = [
        "unban",
        V4,
        V6,
        "203.0.113.0/24",
        "--quiet",
        "1h",
        "--reason",
        "a test",
    ];
    ensure!(scene.says(&order)?.0 == 1);
    ensure!(scene.says(&["unban", V6, "--quiet", "0"])?.0 == 0);
    ensure!(scene.says(&["ban", "203.0.113.0/24", "--for", "1h"])?.0 == 0);
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&[])?;
    let after = scene.quiet()?;
    ensure!(
        after.len() == 1 && after[0].address == V4 && after[0].by_hand.reason == "a test",
        "{after:?}"
    );
    scene.is_held(V4)?;
    ensure!(scene.banned()? == ["203.0.113.0/24"]);
    scene.daemon.stop(Signal::TERM)?;

    let state = scene.home.state_dir();
    let store = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(binary());
        let command = command.args(["store", "--state-dir"]).arg(&state);
        let output = command.args(arguments).output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let checked = store(&["check"])?;
    ensure!(checked.contains(", 1 quiet times, "), "{checked}");
    let saved = scene.home.dir().join("saved");
    fs::write(&saved, store(&["export"])?)?;
    fs::remove_file(state.join("arfw.redb"))?;
    let told = store(&["import", saved.to_str().context("a path")?])?;
    ensure!(told.contains(", 1 quiet times and "), "{told}");
    scene.daemon = scene.home.start_dry(&[])?;
    let imported = scene.quiet()?;
    ensure!(
        imported.len() == 1 && imported[0].until == after[0].until,
        "{imported:?}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn what_other_hosts_are_to_do_is_not_touched() -> Result<()> {
    let other = "<active-response><command>drop</command><location>defined-agent</location>\
                 <agent_id>005</agent_id><rules_id>5763</rules_id></active-response></ossec_config>";
    let conf = CONF.replacen("</ossec_config>", other, 1);
    let mut scene = Scene::new(&conf, &[])?;
    scene.says(&["unban", V4, "--quiet", "1h"])?;
    scene.is_held(V4)?;
    let counts = scene.home.status()?.counts;
    ensure!(
        (counts.elsewhere, counts.refused, counts.bans) == (1, 1, 0),
        "{counts:?}"
    );
    let why: Why = scene.json(&["why", V4])?;
    let sections = &why.alerts.first().context("an alert")?.sections;
    let told: Vec<_> = sections.iter().map(|it| &*it.why).collect();
    ensure!(
        matches!(&told[..], [here, _, there] if here.contains("is quiet") && *there == "fires"),
        "{told:?}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// The position and the quiet alert are read again when the file is written anew, after the quiet time: it is no offence then.
#[test]
fn an_alert_that_met_a_quiet_time_is_no_offence_when_it_is_read_again() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.says(&["unban", V4, "--quiet", "1h"])?;
    scene.is_held(V4)?;
    scene.says(&["unban", V4, "--quiet", "0"])?;
    let read = fs::read_to_string(scene.home.alerts())?;
    fs::write(
        scene.home.alerts(),
        format!("a line that was not there\n{read}"),
    )?;
    scene.alert(5763, V6, " ban ")?;
    let counts = scene.home.status()?.counts;
    ensure!((counts.repeated, counts.bans) == (1, 1), "{counts:?}");
    ensure!(scene.banned()? == [V6], "{:?}", scene.banned());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn quiet_times_are_events_and_refusals_name_them() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let mut command = scene.home.command(&["events", "--json"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = BufReader::new(child.stdout.take().context("piped")?);
    let mut events = out
        .lines()
        .map(|line| -> Result<Value> { Ok(serde_json::from_str(&line?)?) });
    let mut next = || events.next().context("the stream ended")?;
    ensure!(next()?["type"] == "begin");
    for (time, expected) in [
        ("1h", json!(["quiet", V4, "begun"])),
        ("2h", json!(["quiet", V4, "moved"])),
    ] {
        scene.says(&["unban", V4, "--quiet", time, "--reason", "a test"])?;
        let event = next()?;
        ensure!(
            json!([event["type"], event["address"], event["change"]]) == expected
                && event["by_hand"]["reason"] == "a test",
            "{event}"
        );
    }
    scene.is_held(V4)?;
    let event = next()?;
    ensure!(
        json!([event["type"], event["by"], event["rule_id"]]) == json!(["refusal", "quiet", 5763]),
        "{event}"
    );
    scene.says(&["unban", V4, "--quiet", "0"])?;
    let event = next()?;
    ensure!(
        event["change"] == "ended" && event["seconds_left"] == 0.0 && event["by_hand"]["uid"] == 0,
        "{event}"
    );
    // By itself: nobody is named.
    scene.says(&["unban", V4, "--quiet", "1ms"])?;
    ensure!(next()?["change"] == "begun");
    let event = next()?;
    ensure!(
        event["change"] == "ended" && event.get("by_hand").is_none(),
        "{event}"
    );
    scene.daemon.stop(Signal::TERM)?;
    ensure!(next()?["type"] == "stop");
    child.wait()?;
    Ok(())
}

#[test]
fn no_more_are_quiet_than_there_is_room_for_and_none_for_too_long_or_too_wide() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let many: Vec<String> = (0..65_536)
        .map(|number: u32| format!("10.{}.{}.1", number >> 8, number & 255))
        .collect();
    let mut order = vec!["unban", "--quiet", "1h"];
    order.extend(many.iter().map(String::as_str));
    let (code, said) = scene.says(&order)?;
    ensure!(
        code == 1 && said.matches("; quiet until T\n").count() == many.len(),
        "{code}"
    );
    let full = "198.51.100.7: was not banned; not quiet: 65536 addresses and networks are quiet already; \
                `arfw unban ADDRESS --quiet 0` ends one, `arfw list --quiet` has them\n";
    scene.check(&["unban", V4, "--quiet", "1h"], (1, full, ""))?;
    ensure!(scene.says(&["unban", "10.0.0.1", "--quiet", "0"])?.0 == 0);
    let one = (1, "198.51.100.7: was not banned; quiet until T\n");
    scene.check_says(&["unban", V4, "--quiet", "1h"], one)?;
    let wide = "8.0.0.0/7: was not banned; not quiet: it is wider than /8; name parts of it, or raise the bound of \
                `arfw run`\n";
    scene.check(&["unban", "8.0.0.0/7", "--quiet", "1h"], (1, wide, ""))?;
    for (wrong, expected) in [
        (
            &["--quiet", "31d"][..],
            "expected 30d at most, as who is to be spared for longer",
        ),
        (
            &["--quiet", "soon"],
            "expected a time such as `1h`, or `0`: ",
        ),
        (&["--reason", "why"], "--quiet <TIME>"),
    ] {
        let output = scene.home.output(&[&["unban", V4], wrong].concat())?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(
            output.status.code() == Some(2) && said.contains(expected),
            "{said}"
        );
    }
    scene.daemon.stop(Signal::TERM)?;
    let alone = scene.home.output(&["list", "--quiet"])?;
    ensure!(alone.status.code() == Some(4), "{alone:?}");
    Ok(())
}
