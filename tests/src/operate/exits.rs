//! Exit statuses: each that docs/exit-status.md promises is seen, and none besides.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, binary};

use super::{CONF, V4};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/exit-status.md");

/// Commands that look for a daemon; the others take no directories.
const OF_A_DAEMON: [&str; 12] = [
    "list", "why", "history", "status", "top", "events", "reload", "ban", "unban", "confirm",
    "forgive", "stop",
];

/// What was seen: a command and its status.
#[derive(Default)]
struct Seen(BTreeSet<(String, i32)>);

impl Seen {
    /// Runs a command, given as its words with `DIR` for the daemon's files, and notes how it ended.
    fn run(&mut self, home: &Home, words: &str, expected: i32) -> Result<()> {
        let output = command(home, words).output()?;
        let status = output.status.code().unwrap_or(-1);
        ensure!(status == expected, "`{words}` ended with {output:?}");
        let silent = expected != 0 && output.stderr.is_empty() && output.stdout.is_empty();
        ensure!(!silent, "`{words}` says nothing");
        self.note(words, status);
        Ok(())
    }

    fn note(&mut self, words: &str, status: i32) {
        let name = match words.split_once(' ') {
            Some(("store", rest)) => {
                format!("store {}", rest.split(' ').next().unwrap_or_default())
            }
            Some((name, _)) => name.to_owned(),
            None => words.to_owned(),
        };
        self.0.insert((name, status));
    }

    /// A command that goes on until the daemon does.
    fn ends(&mut self, words: &str, mut child: Child, expected: i32) -> Result<()> {
        let status = child.wait()?.code().unwrap_or(-1);
        ensure!(status == expected, "`{words}` ended with {status}");
        self.note(words, status);
        Ok(())
    }
}

fn command(home: &Home, words: &str) -> Command {
    let dir = home.dir().display().to_string();
    let words: Vec<String> = words
        .split(' ')
        .map(|word| word.replace("DIR", &dir))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let of_a_daemon = words.first().is_some_and(|name| OF_A_DAEMON.contains(name));
    if of_a_daemon || words.first() == Some(&"run") {
        return home.command(&words);
    }
    let mut command = Command::new(binary());
    command.args(words);
    command
}

/// Starts a command that goes on, and waits for its first line.
fn begin(home: &Home, words: &str) -> Result<Child> {
    let mut child = command(home, words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("no output")?);
    out.read_line(&mut String::new())?;
    // What it prints after that must not end it.
    std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
    Ok(child)
}

fn promised() -> Result<BTreeSet<(String, i32)>> {
    let text = fs::read_to_string(DOCUMENT)?;
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (name, status) = (cells.next()?, cells.next()?);
        Some((name.trim_matches('`').to_owned(), status.parse().ok()?))
    };
    Ok(text.lines().filter_map(row).collect())
}

fn fits(seen: &Seen) -> Result<()> {
    let promised = promised()?;
    let of_any = |status: i32| promised.contains(&("any".to_owned(), status));
    let shown = seen
        .0
        .iter()
        .filter(|(name, status)| promised.contains(&(name.clone(), *status)) || !of_any(*status));
    let shown: BTreeSet<_> = shown.cloned().collect();
    let wanted: BTreeSet<_> = promised
        .iter()
        .filter(|(name, _)| name != "any")
        .cloned()
        .collect();
    let (more, less) = (shown.difference(&wanted), wanted.difference(&shown));
    let (more, less): (Vec<_>, Vec<_>) = (more.collect(), less.collect());
    ensure!(
        more.is_empty() && less.is_empty(),
        "not promised: {more:?}; not seen: {less:?}"
    );
    Ok(())
}

#[test]
fn every_command_ends_with_the_status_that_is_promised() -> Result<()> {
    let mut seen = Seen::default();
    let home = Home::new(CONF)?;
    write_files(home.dir())?;
    without_a_daemon(&mut seen, &home)?;
    let mut daemon = home.start_dry(&[])?;
    with_a_daemon(&mut seen, &home, &mut daemon)?;
    fits(&seen)
}

fn write_files(dir: &Path) -> Result<()> {
    let wrong = CONF.replacen("<timeout>600<", "<timeout>soon<", 1);
    fs::write(dir.join("wrong.conf"), wrong)?;
    fs::write(dir.join("wrong.toml"), "max_bans = 0\n")?;
    fs::write(
        dir.join("fires.json"),
        alert::wazuh(5763, 10, &["sshd"], V4),
    )?;
    fs::write(dir.join("quiet.json"), alert::wazuh(1, 3, &["sshd"], V4))?;
    fs::write(dir.join("no.json"), "no JSON\n")?;
    Ok(())
}

fn without_a_daemon(seen: &mut Seen, home: &Home) -> Result<()> {
    for (words, status) in [
        ("check DIR/ossec.conf", 0),
        ("check DIR/wrong.conf", 3),
        ("check DIR/ossec.conf --settings DIR/wrong.toml", 3),
        ("check DIR/gone.conf", 1),
        ("check --ar-conf DIR/ossec.conf", 0),
        ("check --ar-conf DIR/wrong.conf", 3),
        ("explain DIR/fires.json --config DIR/ossec.conf", 0),
        ("explain DIR/quiet.json --config DIR/ossec.conf", 5),
        ("explain DIR/no.json --config DIR/ossec.conf", 1),
        ("explain DIR/gone.json --config DIR/ossec.conf", 1),
        ("explain --all DIR/no.json --config DIR/ossec.conf", 1),
        ("explain DIR/fires.json --config DIR/wrong.conf", 3),
        ("replay DIR/fires.json --config DIR/ossec.conf", 0),
        ("replay DIR/gone.json --config DIR/ossec.conf", 1),
        ("replay DIR/fires.json --config DIR/wrong.conf", 3),
        (
            "replay DIR/fires.json --config DIR/ossec.conf --against DIR/wrong.conf",
            3,
        ),
        (
            "run --config DIR/wrong.conf --alerts DIR/alerts.json --enforcer dry-run",
            3,
        ),
        (
            "run --config DIR/ossec.conf --settings DIR/wrong.toml --enforcer dry-run",
            3,
        ),
        (
            "run --config DIR/gone.conf --alerts DIR/alerts.json --enforcer dry-run",
            1,
        ),
        ("list", 4),
        ("why 198.51.100.7", 4),
        ("history", 4),
        ("status", 4),
        ("top --json", 4),
        ("events", 4),
        ("reload", 4),
        ("ban 198.51.100.7 --for 1h", 4),
        ("unban 198.51.100.7", 4),
        ("confirm", 4),
        ("forgive 198.51.100.7", 4),
        ("stop", 4),
        ("stop --release", 0),
        ("store check --state-dir DIR/gone", 1),
        ("store export --state-dir DIR/gone", 1),
        ("store import DIR/no.json --state-dir DIR/new", 1),
    ] {
        seen.run(home, words, status)?;
    }
    // For any of them: what is no option, and what cannot be read.
    let promised = promised()?;
    for (name, _) in promised.iter().filter(|(name, _)| name != "any") {
        seen.run(home, &format!("{name} --no-such-option"), 2)?;
    }
    for name in OF_A_DAEMON {
        let address = match name {
            "why" | "unban" | "forgive" => " 198.51.100.7",
            "ban" => " 198.51.100.7 --for 1h",
            _ => "",
        };
        let words = format!("{name}{address} --settings DIR/gone.toml");
        seen.run(home, &words, 1)?;
    }
    Ok(())
}

fn with_a_daemon(seen: &mut Seen, home: &Home, daemon: &mut Daemon) -> Result<()> {
    home.append(&alert::wazuh(5763, 10, &["sshd"], V4))?;
    daemon.wait_for(" ban ")?;
    for (words, status) in [
        (
            "run --config DIR/ossec.conf --alerts DIR/alerts.json --enforcer dry-run",
            1,
        ),
        ("list", 0),
        ("why 198.51.100.7", 0),
        ("why 203.0.113.1", 0),
        ("why no-body", 1),
        ("history", 0),
        ("status", 0),
        ("top", 1),
        ("reload", 0),
        ("ban 203.0.113.1 --for 1h", 0),
        ("ban 203.0.113.2 127.0.0.1 --for 1h", 1),
        ("unban 198.51.100.7", 0),
        ("unban 203.0.113.1 203.0.113.77", 1),
        ("unban --quiet 1h 198.51.100.7", 1),
        ("ban --for 1h --confirm 1m 203.0.113.40", 0),
        ("confirm 203.0.113.40 203.0.113.41", 1),
        ("confirm", 1),
        ("ban --for 1h --confirm 1m 203.0.113.42", 0),
        ("confirm", 0),
        ("forgive 198.51.100.7", 0),
        ("forgive 198.51.100.7", 1),
        ("forgive --all", 0),
        ("store check --state-dir DIR/state", 1),
        ("store export --state-dir DIR/state", 1),
    ] {
        seen.run(home, words, status)?;
    }
    let old = fs::read_to_string(home.config())?;
    fs::copy(home.dir().join("wrong.conf"), home.config())?;
    seen.run(home, "reload", 3)?;
    fs::write(home.config(), old)?;

    // A reader that goes away leaves it.
    let mut left = command(home, "top --json --interval 100ms")
        .stdout(Stdio::piped())
        .spawn()?;
    drop(left.stdout.take());
    seen.ends("top", left, 0)?;

    let events = begin(home, "events")?;
    let top = begin(home, "top --json --interval 100ms")?;
    kill_process(daemon.pid(), Signal::KILL)?;
    seen.ends("events", events, 1)?;
    seen.ends("top", top, 4)?;

    *daemon = home.start_dry(&[])?;
    let events = begin(home, "events")?;
    seen.run(home, "stop", 0)?;
    seen.ends("events", events, 0)?;
    *daemon = home.start_dry(&[])?;
    daemon.stop(Signal::TERM)?;
    seen.note("run", 0);

    seen.run(home, "store check --state-dir DIR/state", 0)?;
    seen.run(home, "store export --state-dir DIR/state", 0)?;
    let exported = command(home, "store export --state-dir DIR/state").output()?;
    fs::write(home.dir().join("exported"), exported.stdout)?;
    seen.run(home, "store import DIR/exported --state-dir DIR/new", 0)?;
    seen.run(home, "store import DIR/exported --state-dir DIR/new", 1)?;
    Ok(())
}
