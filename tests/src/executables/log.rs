//! The log of active responses (AR-LOG-1), as whole files, and the loop that it must not close (AR-MATCH-9).

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::scene::{BY_ADDRESS, Scene, conf, message};

/// The lines of the log without their times, whose form is checked.
fn untimed(lines: &[String]) -> Result<Vec<String>> {
    let form = "dddd/dd/dd dd:dd:dd ";
    let untime = |line: &String| -> Result<String> {
        let (time, rest) = line.split_at_checked(form.len()).context("no time")?;
        let fits = time
            .chars()
            .zip(form.chars())
            .all(|(found, expected)| match expected {
                'd' => found.is_ascii_digit(),
                other => found == other,
            });
        ensure!(fits, "{line}");
        Ok(rest.to_owned())
    };
    lines.iter().map(untime).collect()
}

fn check_keys(executable: &str, address: &str) -> String {
    format!(
        r#"{{"version":1,"origin":{{"name":"{executable}","module":"active-response"}},"command":"check_keys","parameters":{{"keys":["{address}"]}}}}"#
    )
}

fn by(executable: &str, texts: &[String]) -> Vec<String> {
    let line = |text: &String| format!("active-response/bin/{executable}: {text}");
    texts.iter().map(line).collect()
}

/// Starts a daemon that logs into `ar.log`.
fn logging(conf: &str, scripts: &[(&str, &str)]) -> Result<(Scene, tempfile::TempDir)> {
    let dir = tempfile::tempdir()?;
    let log = dir.path().join("ar.log").display().to_string();
    let scene = Scene::new(conf, scripts, &["--responses-log", &log])?;
    std::os::unix::fs::symlink(&log, scene.path("ar.log"))?;
    Ok((scene, dir))
}

/// AR-LOG-1
#[test]
fn bans_of_the_kernel_are_logged_as_if_the_executable_had_run() -> Result<()> {
    let conf = conf(&[("firewall-drop", "<timeout>2</timeout>")]);
    let (mut scene, _dir) = logging(&conf, &[])?;
    let first = scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    let second = scene.alert(100_000, "198.51.100.7", "bob")?;
    scene.daemon.wait_for("moved the end of the ban")?;
    scene.daemon.wait_for(" unban ")?;
    let lines = untimed(&scene.lines("ar.log", 13)?)?;
    let message = |command, alert: &str| message(command, alert, "firewall-drop");
    let keys = check_keys("firewall-drop", "198.51.100.7");
    let expected = [
        "Starting".to_owned(),
        message("add", &first),
        keys.clone(),
        message("continue", &first),
        "Ended".to_owned(),
        "Starting".to_owned(),
        message("add", &second),
        keys,
        message("abort", &second),
        "Aborted".to_owned(),
        "Starting".to_owned(),
        message("delete", &first),
        "Ended".to_owned(),
    ];
    ensure!(lines == by("firewall-drop", &expected), "{lines:#?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-LOG-1, AR-IMP-5
#[test]
fn executables_are_logged_as_they_speak() -> Result<()> {
    let conf = conf(&[("deny", "<timeout>1</timeout>"), ("gone", "")]);
    let (mut scene, _dir) = logging(&conf, &[("deny", BY_ADDRESS)])?;
    let alert = scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" unban ")?;
    scene.alert(100_001, "198.51.100.7", "root")?;
    scene.daemon.wait_for("ban failed")?;
    let lines = untimed(&scene.lines("ar.log", 9)?)?;
    let message = |command| message(command, &alert, "deny");
    let deny = [
        "Starting".to_owned(),
        message("add"),
        check_keys("deny", "198.51.100.7"),
        message("continue"),
        "Ended".to_owned(),
        "Starting".to_owned(),
        message("delete"),
        "Ended".to_owned(),
    ];
    let gone = scene.path("active-response/bin/gone");
    let failed = format!("Failed: `{}` is not there", gone.display());
    let expected = [by("deny", &deny), by("gone", &[failed])].concat();
    ensure!(lines == expected, "{lines:#?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// The alerts that stock rules 651 and 652 make of a line of the log, which the stock decoder reads as JSON.
fn stock_alert(line: &str) -> Result<Value> {
    let (_, said) = line.split_once(": ").context("a line of the log")?;
    let said: Value = serde_json::from_str(said)?;
    let (rule, description) = match said["command"].as_str() {
        Some("add") => (651, "Host Blocked by firewall-drop Active Response"),
        _ => (652, "Host Unblocked by firewall-drop Active Response"),
    };
    let mut data = said.clone();
    data["srcip"] = said["parameters"]["alert"]["data"]["srcip"].clone();
    Ok(json!({
        "timestamp": "2096-11-24T06:00:01.000+0000",
        "rule": {
            "level": 3, "id": rule.to_string(), "description": description,
            "groups": ["ossec", "active_response"], "pci_dss": ["11.4"],
        },
        "agent": {"id": "000", "name": "host"},
        "id": format!("1795500001.{rule}"),
        "decoder": {"name": "ar_log_json"},
        "data": data,
        "location": "/var/ossec/logs/active-responses.log",
    }))
}

/// AR-MATCH-9: the criteria of the seed's sample, for which both stock alerts would fire without the guard.
#[test]
fn the_log_that_comes_back_as_alerts_fires_nothing() -> Result<()> {
    let conf = "<ossec_config>
        <command>
          <name>host-deny</name>
          <executable>host-deny</executable>
          <timeout_allowed>yes</timeout_allowed>
        </command>
        <active-response>
          <disabled>no</disabled>
          <command>host-deny</command>
          <location>local</location>
          <level>10</level>
          <rules_group>sshd,|pci_dss_11.4,</rules_group>
          <timeout>1</timeout>
        </active-response>
        <active-response>
          <repeated_offenders>1,5,10</repeated_offenders>
        </active-response>
      </ossec_config>";
    let (mut scene, _dir) = logging(conf, &[])?;
    let alert = |groups: &[&str], pci: &[&str]| {
        let rule = json!({"level": 5, "id": "5710", "groups": groups, "pci_dss": pci});
        format!(
            "{}\n",
            json!({"rule": rule, "data": {"srcip": "198.51.100.7"}})
        )
    };
    scene.home.append(&alert(&["sshd"], &[]))?;
    scene.daemon.wait_for(" unban ")?;
    let lines = scene.lines("ar.log", 8)?;
    let json_lines = lines
        .iter()
        .filter(|line| line.contains(r#""wazuh-execd""#));
    let told: Vec<&String> = json_lines
        .filter(|line| !line.contains(r#""command":"continue""#))
        .collect();
    ensure!(told.len() == 2, "{lines:#?}");
    for line in told {
        let came_back = stock_alert(line)?;
        ensure!(came_back["data"]["srcip"] == "198.51.100.7", "{came_back}");
        scene.home.append(&format!("{came_back}\n"))?;
    }
    let counts = scene.counts(|counts| counts.lines == 3)?;
    ensure!(
        (counts.matched, counts.bans, counts.malformed) == (1, 1, 0),
        "{counts:?}"
    );
    // The same group in an alert that is not of that log does fire.
    scene.home.append(&alert(&["web"], &["11.4"]))?;
    scene.daemon.wait_for(" ban ")?;
    let log = scene.path("ar.log");
    scene.daemon.stop(Signal::TERM)?;
    ensure!(fs::read_to_string(log)?.lines().count() == 13);
    Ok(())
}
