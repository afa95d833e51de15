//! `GET /metrics`: values after known events, names in the documents and in packaging, and what promtool says of them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use arfw::daemon::metrics::ALL;
use rustix::process::{Signal, kill_process};
use tests::support::alert;
use tests::support::daemon::Home;
use tests::support::metrics::{self, value};
use xtask::netns::Link;

use super::{CONF, Scene, V4, V6, refused_and_nothing_left};

const DASHBOARD: &str = "packaging/grafana/arfw.json";

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn scrape(scene: &Scene) -> Result<String> {
    metrics::ask(&scene.home)?.answer()
}

#[test]
fn known_events_are_counted_exactly() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.home.append("no JSON\n\n{\"a\":\n[]\n")?;
    scene.alert(5712, "127.0.0.1", "no ban")?;
    scene.alert(5712, V4, " ban ")?;
    scene.alert(5763, V6, " ban ")?;
    let text = scrape(&scene)?;
    for line in [
        "arfw_lines_read_total 7",
        "arfw_parse_failures_total{reason=\"blank\"} 1",
        "arfw_parse_failures_total{reason=\"expected_value\"} 1",
        "arfw_parse_failures_total{reason=\"truncated\"} 1",
        "arfw_parse_failures_total{reason=\"not_an_object\"} 1",
        "arfw_alerts_matched_total 3",
        "arfw_refusals_total{reason=\"special\"} 1",
        "arfw_bans_total 2",
        "arfw_bans_active{enforcer=\"dry-run\",family=\"ipv4\"} 1",
        "arfw_bans_active{enforcer=\"dry-run\",family=\"ipv6\"} 1",
        "arfw_section_matches_total{section=\"ossec.conf:7\",by=\"kernel\"} 1",
        "arfw_section_matches_total{section=\"ossec.conf:14\",by=\"kernel\"} 1",
        "arfw_ban_latency_seconds_count 2",
        "arfw_alert_lag_bytes 0",
        "arfw_alert_lag_seconds 0",
        "arfw_queue_batches 0",
        "arfw_executables_running 0",
        "arfw_executables_waiting 0",
        "arfw_store_writable 1",
    ] {
        ensure!(
            text.lines().any(|found| found == line),
            "no `{line}`:\n{text}"
        );
    }
    // Never by address.
    ensure!(!text.contains(V4) && !text.contains(V6), "{text}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Alerts that no section matches: more than the queue holds.
fn crowd(line: &str) -> String {
    const BYTES: usize = 24 << 20;
    line.repeat(BYTES / line.len())
}

/// Asks a daemon that is stopped, and lets it go on.
fn ask_stopped(scene: &Scene) -> Result<String> {
    let asked = metrics::ask(&scene.home)?;
    kill_process(scene.daemon.pid(), Signal::CONT)?;
    asked.answer()
}

#[test]
fn what_waits_is_told_by_its_bytes_its_batches_and_its_age() -> Result<()> {
    let begun = Instant::now();
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    kill_process(scene.daemon.pid(), Signal::STOP)?;
    // The time stamps are of an hour ago, and yet nothing of it was there when the daemon was stopped.
    let old = alert::old(Duration::from_secs(3600), 1, 3, &["sshd"], V4);
    scene.home.append(&crowd(&old))?;
    let waits = Duration::from_millis(1100);
    std::thread::sleep(waits);
    let text = ask_stopped(&scene)?;
    ensure!(value(&text, "arfw_alert_lag_bytes")? > 0.0, "{text}");
    let batches = value(&text, "arfw_queue_batches")?;
    ensure!((1.0..=17.0).contains(&batches), "{batches}");
    let age = value(&text, "arfw_alert_lag_seconds")?;
    let bounds = waits.as_secs_f64()..=begun.elapsed().as_secs_f64();
    ensure!(bounds.contains(&age), "{age} is not in {bounds:?}");
    let told = scene.alert(5763, V6, " ban ")?;
    let text = scrape(&scene)?;
    for name in [
        "arfw_alert_lag_bytes",
        "arfw_alert_lag_seconds",
        "arfw_queue_batches",
    ] {
        ensure!(value(&text, name)? == 0.0, "{told}\n{text}");
    }
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn a_backlog_is_as_old_as_its_time_stamps_say() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.daemon.stop(Signal::TERM)?;
    let old = alert::old(Duration::from_secs(3600), 1, 3, &["sshd"], V4);
    scene.home.append(&crowd(&old))?;
    scene.daemon = scene.home.start_dry(&[])?;
    let age = loop {
        kill_process(scene.daemon.pid(), Signal::STOP)?;
        let text = ask_stopped(&scene)?;
        ensure!(value(&text, "arfw_alert_lag_bytes")? > 0.0, "{text}");
        // Before the first batch is decided nobody knows.
        let age = value(&text, "arfw_alert_lag_seconds")?;
        if value(&text, "arfw_lines_read_total")? > 0.0 {
            break age;
        }
    };
    ensure!((3600.0..4200.0).contains(&age), "{age}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn each_commit_of_the_store_is_counted_with_its_time() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let count = |scene: &Scene| -> Result<f64> {
        let text = scrape(scene)?;
        let count = value(&text, "arfw_store_commit_seconds_count")?;
        let all = value(&text, "arfw_store_commit_seconds_bucket{le=\"+Inf\"}")?;
        let sum = value(&text, "arfw_store_commit_seconds_sum")?;
        ensure!(count == all && (sum > 0.0) == (count > 0.0), "{text}");
        Ok(count)
    };
    // The first start waits for its position to be on the disk, and an order for what it changed.
    let first = count(&scene)?;
    ensure!(first >= 1.0, "{first}");
    scene.check(
        &["ban", V4, "--for", "1h"],
        (0, "198.51.100.7: banned\n", ""),
    )?;
    let second = count(&scene)?;
    ensure!(second > first, "{second} after {first}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Words that begin as our metrics do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit() && c != '_');
    let ours = words.filter(|word| word.starts_with("arfw_"));
    ours.map(|word| {
        let ends = ["_bucket", "_sum", "_count"];
        let end = ends.into_iter().find_map(|end| word.strip_suffix(end));
        end.unwrap_or(word).to_owned()
    })
    .collect()
}

/// What a request over TCP is answered: status line and body.
fn ask(address: SocketAddr, path: &str) -> Result<(String, String)> {
    let mut socket = TcpStream::connect(address)?;
    write!(socket, "GET {path} HTTP/1.1\r\nHost: arfw\r\n\r\n")?;
    let mut answer = String::new();
    // To the end: a connection is for one request.
    socket.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    let status = head.lines().next().unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}

#[test]
fn over_tcp_there_are_metrics_and_nothing_else() -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let arguments = ["--metrics-address", &address.to_string()];
    let Err(refused) = Scene::new(CONF, &arguments) else {
        bail!("a port that is taken was had");
    };
    let expected = format!("cannot give metrics at {address}; choose another");
    ensure!(format!("{refused:#}").contains(&expected), "{refused:#}");
    drop(taken);
    let mut scene = Scene::new(CONF, &arguments)?;
    scene.alert(5712, V4, " ban ")?;
    // Clients that say nothing hold no one up for long, and the daemon not at all.
    let silent: Vec<_> = (0..3).map(|_| TcpStream::connect(address)).collect();
    let (status, body) = ask(address, "/metrics")?;
    ensure!(status == "HTTP/1.1 200 OK", "{status}");
    ensure!(
        body.lines().any(|line| line == "arfw_bans_total 1"),
        "{body}"
    );
    for path in ["/v1/bans", "/v1/status", "/v1/events", "/"] {
        let (status, body) = ask(address, path)?;
        ensure!(status == "HTTP/1.1 404 Not Found", "{path}: {status}");
        ensure!(body.contains("there is only `/metrics` here"), "{body}");
    }
    drop(silent);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn a_start_without_its_address_for_metrics_leaves_nothing() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    // An address that no namespace of ours has.
    let started = home.start(&link, &["--metrics-address", "192.0.2.1:9764"]);
    refused_and_nothing_left(&home, started, "cannot give metrics at 192.0.2.1:9764")
}

/// What `promtool` is to judge of the dashboard: its expressions, as rules.
fn dashboard_as_rules() -> Result<String> {
    let text = fs::read_to_string(Path::new(ROOT).join(DASHBOARD))?;
    let board: serde_json::Value = serde_json::from_str(&text)?;
    let panels = board.get("panels").and_then(serde_json::Value::as_array);
    let targets = panels.context("its panels")?.iter().filter_map(|panel| {
        let targets = panel.get("targets")?.as_array()?;
        Some(targets.iter().filter_map(|it| it.get("expr")?.as_str()))
    });
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in targets.flatten().enumerate() {
        let plain = expression.replace("$__rate_interval", "5m");
        let plain = serde_json::to_string(&plain)?;
        rules.push_str(&format!("  - record: panel:{number}\n    expr: {plain}\n"));
    }
    Ok(rules)
}

#[test]
fn names_in_documents_and_rules_are_those_of_the_daemon() -> Result<()> {
    let known: BTreeSet<String> = ALL.iter().map(|it| it.0.to_owned()).collect();
    let documented = fs::read_to_string(Path::new(ROOT).join("docs/metrics.md"))?;
    for (name, kind, help) in ALL.iter() {
        let row = format!("| `{name}` | {kind} | {help} |");
        ensure!(
            documented.lines().any(|line| line == row),
            "docs/metrics.md has no `{row}`"
        );
    }
    let rules = fs::read_to_string(Path::new(ROOT).join("packaging/prometheus/arfw.rules.yml"))?;
    let board = fs::read_to_string(Path::new(ROOT).join(DASHBOARD))?;
    ensure!(names(&board).len() > 15, "few metrics in the dashboard");
    for (what, text) in [
        ("docs/metrics.md", documented),
        ("rules", rules),
        ("the dashboard", board),
    ] {
        let named = names(&text);
        for name in ["arfw_store_commit_seconds", "arfw_alert_lag_seconds"] {
            ensure!(named.contains(name), "{what}: no `{name}`");
        }
        let strangers: Vec<_> = named.difference(&known).cloned().collect();
        ensure!(strangers.is_empty(), "{what}: {strangers:?}");
    }
    let mut scene = Scene::new(CONF, &[])?;
    let scraped = names(&scrape(&scene)?);
    let strangers: Vec<_> = scraped.difference(&known).collect();
    ensure!(strangers.is_empty(), "{strangers:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// In PATH, or where it was unpacked for tests.
fn promtool() -> Option<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    dirs.push(Path::new(ROOT).join("target/tools"));
    dirs.into_iter()
        .map(|dir| dir.join("promtool"))
        .find(|path| path.exists())
}

#[test]
fn promtool_finds_no_fault() -> Result<()> {
    let Some(promtool) = promtool() else {
        let remedy = "there is no promtool: install what Debian calls prometheus";
        assert!(std::env::var_os("CI").is_none(), "{remedy}");
        // Not by `eprintln`, which the test's harness keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED, and shown nothing: {remedy}");
        return Ok(());
    };
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    let text = scrape(&scene)?;
    let mut child = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("its input")?
        .write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let board = scene.home.dir().join("dashboard.yml");
    fs::write(&board, dashboard_as_rules()?)?;
    let rules = Path::new(ROOT).join("packaging/prometheus/arfw.rules.yml");
    let output = Command::new(&promtool)
        .args(["check", "rules"])
        .args([rules, board])
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
