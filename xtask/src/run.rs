//! `cargo xtask run`: builds all and becomes the daemon, on this host's own interfaces.
//!
//! Wazuh's or OSSEC's own files are used when they are there, else a sample below the target directory.
//! The process is replaced, so that signals reach the daemon.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// Where OSSEC and Wazuh keep the two files.
const INSTALLED: [&str; 2] = [
    "/var/ossec/etc/ossec.conf",
    "/var/ossec/logs/alerts/alerts.json",
];

/// An address that nobody has: documentation's TEST-NET-3.
const OFFENDER: &str = "203.0.113.7";

/// The files of one start.
struct Inputs {
    config: PathBuf,
    alerts: PathBuf,
    /// Where the sample keeps its state, so that it never mixes with an installed daemon's.
    state: Option<PathBuf>,
}

/// Builds, says how to see it work, and becomes the daemon; returns only when that fails.
pub(crate) fn command(ws: &Workspace, args: &[String]) -> Result<()> {
    let daemon = build::command(ws, true)?;
    let inputs = inputs(ws)?;
    let mut command = as_root(&daemon)?;
    command.arg("run").args(daemon_args(&inputs, args));
    explain(&daemon, &inputs);
    shell::echo(&command);
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", daemon.display()))
}

fn inputs(ws: &Workspace) -> Result<Inputs> {
    let [config, alerts] = INSTALLED.map(PathBuf::from);
    if config.exists() && alerts.exists() {
        return Ok(Inputs {
            config,
            alerts,
            state: None,
        });
    }
    let dir = ws.target.join("sample");
    let sample = ws.root.join("packaging/sample/ossec.conf");
    let inputs = Inputs {
        config: dir.join("ossec.conf"),
        alerts: dir.join("alerts.json"),
        state: Some(dir.join("state")),
    };
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    // One that is there may have been edited to try something.
    if !inputs.config.exists() {
        fs::copy(&sample, &inputs.config)
            .with_context(|| format!("cannot copy {}", sample.display()))?;
    }
    let mut alerts = File::options();
    alerts
        .create(true)
        .append(true)
        .open(&inputs.alerts)
        .with_context(|| format!("cannot create {}", inputs.alerts.display()))?;
    Ok(inputs)
}

/// The daemon, through sudo when this is not root: only the daemon needs to be, not the build.
fn as_root(daemon: &Path) -> Result<Command> {
    if shell::is_root() {
        return Ok(Command::new(daemon));
    }
    let Some(sudo) = shell::find("sudo") else {
        bail!(
            "all is built, but attaching to an interface needs root and there is no sudo: run `{} run` as root",
            daemon.display()
        );
    };
    let mut command = Command::new(sudo);
    command.arg(daemon);
    Ok(command)
}

/// Our arguments, but for those that `given` has, then `given`.
fn daemon_args(inputs: &Inputs, given: &[String]) -> Vec<String> {
    let ours = [
        ("--config", Some(&inputs.config)),
        ("--alerts", Some(&inputs.alerts)),
        ("--state-dir", inputs.state.as_ref()),
    ];
    let is_given = |flag: &str| {
        given.iter().any(|arg| {
            arg.strip_prefix(flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    let ours = ours.into_iter().filter(|(flag, _)| !is_given(flag));
    let ours = ours.filter_map(|(flag, path)| Some([flag.to_owned(), path?.display().to_string()]));
    ours.flatten().chain(given.iter().cloned()).collect()
}

fn explain(daemon: &Path, inputs: &Inputs) {
    say("\nTo see it work, in another terminal:");
    if inputs.state.is_some() {
        say(format_args!("  {}", alert_line(&inputs.alerts)));
    } else {
        say(
            "  wait for an alert that one of your responses fires for, such as a few failed logins",
        );
    }
    say(format_args!("  {} list", daemon.display()));
    say(
        "  bpftool -j map dump pinned /sys/fs/bpf/arfw/bans_v4 | jq '.[].formatted | select(.value.expires_at_ns != 0)'\n",
    );
}

/// A shell line that appends an alert which the sample configuration bans for.
fn alert_line(alerts: &Path) -> String {
    let alert = serde_json::json!({
        "rule": {"id": "100100", "level": 10, "groups": ["sample"], "description": "sample alert"},
        "agent": {"id": "000", "name": "sample"},
        "data": {"srcip": OFFENDER},
    });
    format!("printf '%s\\n' '{alert}' >> '{}'", alerts.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[&str], expected: &str) {
        let inputs = Inputs {
            config: "c".into(),
            alerts: "a".into(),
            state: Some("s".into()),
        };
        let given: Vec<String> = given.iter().map(ToString::to_string).collect();
        assert_eq!(daemon_args(&inputs, &given).join(" "), expected);
    }

    #[test]
    fn arguments_that_are_given_win_over_ours() {
        check(&[], "--config c --alerts a --state-dir s");
        check(
            &["--alerts=x", "--interface", "eth0"],
            "--config c --state-dir s --alerts=x --interface eth0",
        );
        check(&["--config", "x"], "--alerts a --state-dir s --config x");
        check(
            &["--configure"],
            "--config c --alerts a --state-dir s --configure",
        );
    }

    #[test]
    fn the_ready_made_line_appends_one_alert_with_the_test_address() {
        let dir = tempfile::tempdir().unwrap();
        let alerts = dir.path().join("alerts.json");
        let status = Command::new("sh")
            .arg("-c")
            .arg(alert_line(&alerts))
            .status();
        assert!(status.unwrap().success());
        let text = fs::read_to_string(&alerts).unwrap();
        assert_eq!(text.lines().count(), 1);
        let alert: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(alert["data"]["srcip"], OFFENDER);
    }
}
