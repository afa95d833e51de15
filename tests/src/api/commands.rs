//! What every command prints with `--json`, as docs/commands.schema.json has it.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::support::alert;
use tests::support::daemon::{Home, binary};
use xtask::netns::Link;

use super::events::Listener;
use super::schema::Strict;
use crate::operate::{CONF, V4, V6};

/// The schema of all commands.
pub(super) fn document() -> Result<Value> {
    let text = include_str!("../../../docs/commands.schema.json");
    Ok(serde_json::from_str(text)?)
}

/// The commands, and which of them have printed something.
struct Commands {
    document: Value,
    seen: BTreeSet<String>,
}

impl Commands {
    /// One value, or with `x-each-line` one on each line.
    fn check(&mut self, name: &str, values: &[Value]) -> Result<()> {
        ensure!(!values.is_empty(), "{name}: it prints nothing");
        let schema = format!("/properties/{name}");
        let by_lines = self.document.pointer(&format!("{schema}/x-each-line"));
        ensure!(
            by_lines.is_some() || values.len() == 1,
            "{name}: {values:?}"
        );
        let schema = Strict::of(&self.document, &schema)?;
        for value in values {
            schema.check(value).with_context(|| name.to_owned())?;
        }
        self.seen.insert(name.to_owned());
        Ok(())
    }

    fn printed(&mut self, name: &str, output: &Output) -> Result<Value> {
        let text = String::from_utf8_lossy(&output.stdout);
        let values = serde_json::Deserializer::from_str(&text).into_iter();
        let values: Vec<Value> = values
            .collect::<Result<_, _>>()
            .with_context(|| format!("{name}: {output:?}"))?;
        self.check(name, &values)?;
        values.into_iter().next().context("a value")
    }

    /// A command that looks at the daemon.
    fn run(&mut self, home: &Home, name: &str, arguments: &[&str]) -> Result<Value> {
        let words: Vec<&str> = name.split(' ').chain(arguments.iter().copied()).collect();
        let output = home.output(&[&words[..], &["--json"]].concat())?;
        self.printed(name, &output)
    }

    /// A command that looks at files.
    fn read(&mut self, name: &str, arguments: &[&str]) -> Result<Value> {
        let command = name.split(' ').next().unwrap_or_default();
        let output = Command::new(binary())
            .args([command, "--json"])
            .args(arguments)
            .output()?;
        self.printed(name, &output)
    }
}

#[test]
fn every_command_prints_json_as_documented() -> Result<()> {
    let mut commands = Commands {
        document: document()?,
        seen: BTreeSet::new(),
    };
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut daemon = home.start(&link, &["--protect", "203.0.113.9"])?;
    for (rule, address) in [(5763, V4), (5712, V6), (5763, "203.0.113.9")] {
        home.append(&alert::wazuh(rule, 10, &["sshd"], address))?;
        daemon.wait_for(" ban")?;
    }
    beside_a_daemon(&mut commands, &home)?;
    daemon.stop(Signal::TERM)?;
    let bans = commands.run(&home, "list", &[])?;
    ensure!(bans[0]["by"] == serde_json::json!([]), "{bans}");
    let state_dir = home.state_dir().display().to_string();
    let counts = commands.read("store check", &["check", "--state-dir", &state_dir]);
    ensure!(home.output(&["stop", "--release"])?.status.success());
    ensure!(counts?["permanent"] == 1);
    with_files(&mut commands, &home)?;
    let documented = commands.document["properties"].as_object();
    let documented: BTreeSet<String> = documented.context("commands")?.keys().cloned().collect();
    ensure!(documented.len() > 15, "{documented:?}");
    let missing: Vec<_> = documented.difference(&commands.seen).collect();
    ensure!(
        missing.is_empty(),
        "documented, and never printed: {missing:?}"
    );
    Ok(())
}

fn beside_a_daemon(commands: &mut Commands, home: &Home) -> Result<()> {
    for name in ["status", "list", "history"] {
        commands.run(home, name, &[])?;
    }
    for address in [V4, "203.0.113.9", "host"] {
        commands.run(home, "why", &[address])?;
    }
    let ban = commands.run(home, "ban", &["--for", "1h", "192.0.2.9", "127.0.0.1"])?;
    ensure!(ban[1]["state"] == "refused", "{ban}");
    for name in ["list", "history"] {
        let told = commands.run(home, name, &[])?;
        ensure!(told.to_string().contains("by_hand"), "{told}");
    }
    commands.run(home, "unban", &["192.0.2.9", V4])?;
    let past = commands.run(home, "history", &[])?;
    ensure!(past.to_string().contains("ended_by"), "{past}");
    let waits = ["--for", "1h", "--confirm", "1m", "192.0.2.10"];
    commands.run(home, "ban", &waits)?;
    commands.run(home, "status", &[])?;
    commands.run(home, "confirm", &[])?;
    commands.run(home, "unban", &["--quiet", "1h", "192.0.2.11"])?;
    commands.run(home, "list --quiet", &[])?;
    commands.run(home, "forgive", &[V4])?;
    commands.run(home, "forgive", &["--all"])?;
    commands.run(home, "reload", &[])?;
    for arguments in [&["events"][..], &["top", "--interval", "1s"]] {
        let mut command = home.command(&[arguments, &["--json"]].concat());
        let listener = Listener::start(&mut command)?;
        let mut lines = vec![listener.line()?];
        if arguments[0] == "top" {
            lines.push(listener.line()?);
            ensure!(lines[1]["hosts"][0].is_object(), "{lines:?}");
        }
        commands.check(arguments[0], &lines)?;
    }
    Ok(())
}

fn with_files(commands: &mut Commands, home: &Home) -> Result<()> {
    // The manager asks its agents, an offender is written in no way that is one, and a line is no alert.
    let elsewhere = CONF.replacen("<location>local", "<location>all", 1);
    let other = home.dir().join("other.conf");
    fs::write(&other, elsewhere)?;
    for address in ["127.0.0.1", "198.51.100.7; id", "198.51.100.9"] {
        home.append(&alert::wazuh(5712, 10, &["sshd"], address))?;
    }
    home.append("no alert\n")?;
    let wrong = home.dir().join("wrong.conf");
    fs::write(&wrong, "<ossec_config>\n<a>\n</ossec_config>")?;
    let text = |path: &std::path::Path| path.display().to_string();
    let (config, other, wrong) = (&text(&home.config()), &text(&other), &text(&wrong));
    let alerts = &text(&home.alerts());
    let located = commands.read("check", &[wrong])?;
    ensure!(located[0]["related"][0].is_object(), "{located}");
    commands.read("check --ar-conf", &[config, "--ar-conf"])?;
    let line = alert::wazuh(5763, 10, &["sshd"], "127.0.0.1");
    let told = commands.read("explain", &[&line, "--config", other])?;
    ensure!(told["refusal"].is_object(), "{told}");
    let line = alert::wazuh(5763, 10, &["sshd"], V4);
    let told = commands.read("explain", &[&line, "--config", other])?;
    ensure!(told["sections"][0]["request"].is_string(), "{told}");
    commands.read("explain --all", &[alerts, "--all", "--config", config])?;
    let told = commands.read("replay", &[alerts, "--config", config])?;
    ensure!(told["read"]["malformed"]["expected_value"] == 1, "{told}");
    let told = commands.read(
        "replay --timeline",
        &[alerts, "--config", config, "--timeline"],
    )?;
    ensure!(told.to_string().contains("\"unban\""), "{told}");
    let none = home.dir().join("none.conf");
    fs::write(&none, "<ossec_config></ossec_config>")?;
    let against = [alerts, "--config", config, "--against", &text(&none)];
    let told = commands.read("replay --against", &against)?;
    ensure!(told["against"]["only_first"][0].is_object(), "{told}");
    Ok(())
}
