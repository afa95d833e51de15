//! `GET /v1/events` and `arfw events`: what happens is told as it happens, to a bounded number of clients, none of whom
//! is waited for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tests::support::alert;

use super::{CONF, Scene, V4};

/// `arfw events` at work.
pub(super) struct Listener {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Listener {
    pub(super) fn new(scene: &Scene, arguments: &[&str]) -> Result<Self> {
        let mut command = scene.home.command(&[&["events"], arguments].concat());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let out = child.stdout.take().context("piped")?;
        Ok(Self {
            child,
            lines: BufReader::new(out),
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the stream ended: {line}");
        Ok(line.trim_end().to_owned())
    }

    pub(super) fn event(&mut self) -> Result<Value> {
        Ok(serde_json::from_str(&self.line()?)?)
    }

    /// The rest of what it says, and how it ends.
    fn end(mut self) -> Result<(Option<i32>, String, String)> {
        let (mut out, mut err) = (String::new(), String::new());
        self.lines.read_to_string(&mut out)?;
        let stderr = self.child.stderr.as_mut().context("piped")?;
        stderr.read_to_string(&mut err)?;
        Ok((self.child.wait()?.code(), out, err))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The fields of `found` that `expected` names are as it says.
pub(super) fn check(found: &Value, expected: &Value) -> Result<()> {
    let fields = expected.as_object().context("an object")?;
    for (name, value) in fields {
        ensure!(found[name] == *value, "{name}: {found}, wanted {expected}");
    }
    Ok(())
}

#[test]
fn what_happens_is_told_in_order_with_numbers() -> Result<()> {
    let conf = CONF.replacen(
        "<ossec_config>",
        "<ossec_config><global><white_list>192.0.2.9</white_list></global>",
        1,
    );
    let mut scene = Scene::new(&conf, &["--protect", "203.0.113.9"])?;
    let mut listener = Listener::new(&scene, &["--json"])?;
    let begin = listener.event()?;
    let pid = scene.daemon.pid().as_raw_nonzero().get();
    check(&begin, &serde_json::json!({"type": "begin", "pid": pid}))?;
    let mut sequence = begin["sequence"].as_u64().context("a number")?;
    scene.alert(5763, V4, " ban ")?;
    scene.alert(5763, "192.0.2.9", "white-listed")?;
    scene.alert(5763, "203.0.113.9", "is protected")?;
    scene.home.output(&["unban", V4])?;
    scene
        .home
        .output(&["ban", "--permanent", "--reason", "a\u{1b}[2J\nid: 9", V4])?;
    scene.home.output(&["ban", "--for", "1h", V4])?;
    scene.home.output(&["ban", "--for", "1h", "203.0.113.9"])?;
    scene.home.output(&["reload"])?;
    std::fs::write(scene.home.config(), "<ossec_config>")?;
    scene.home.output(&["reload"])?;
    let alerts = [
        serde_json::json!({"type": "ban", "address": V4, "executable": "firewall-drop", "rule_id": 5763, "offence": 1,
            "section": "ossec.conf:7"}),
        serde_json::json!({"type": "refusal", "address": "192.0.2.9", "by": "white_list", "rule_id": 5763}),
        serde_json::json!({"type": "refusal", "address": "203.0.113.9", "by": "guard", "rule_id": 5763}),
        serde_json::json!({"type": "unban", "address": V4, "executable": "firewall-drop", "end": "hand",
            "state": "ended"}),
        serde_json::json!({"type": "ban", "address": V4, "executable": "manual", "seconds_left": null}),
        serde_json::json!({"type": "moved", "address": V4, "executable": "manual"}),
        serde_json::json!({"type": "refusal", "address": "203.0.113.9", "by": "order", "rule_id": 0}),
        serde_json::json!({"type": "reload", "applied": true, "changes": 0, "cause": null}),
        serde_json::json!({"type": "reload", "applied": false, "changes": 0}),
    ];
    for expected in &alerts {
        let event = listener.event()?;
        check(&event, expected)?;
        sequence += 1;
        ensure!(event["sequence"] == sequence, "{event}, wanted {sequence}");
        let time = event["time"].as_str().unwrap_or_default();
        ensure!(time.starts_with("20") && time.ends_with('Z'), "{event}");
    }
    scene.daemon.stop(Signal::TERM)?;
    check(&listener.event()?, &serde_json::json!({"type": "stop"}))?;
    let end = listener.end()?;
    ensure!(
        end == (
            Some(0),
            String::new(),
            "the daemon has stopped\n".to_owned()
        ),
        "{end:?}"
    );
    Ok(())
}

#[test]
fn people_read_a_line_each_and_no_text_of_others_acts() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let mut listener = Listener::new(&scene, &[])?;
    ensure!(listener.line()?.contains("begin: arfw "));
    scene
        .home
        .output(&["ban", "--for", "1h", "--reason", "a\u{1b}[2J\nid: 9", V4])?;
    let line = listener.line()?;
    ensure!(
        line.ends_with(r"#1 ban 198.51.100.7 for 1h by manual of user 0: a\u{1b}[2J\nid: 9"),
        "{line}"
    );
    // Killed, it cannot say that it ends.
    scene.daemon.crash()?;
    let (status, _, err) = listener.end()?;
    ensure!(
        status == Some(1) && err.contains("broke off"),
        "{status:?} {err}"
    );
    scene.check(
        &["events"],
        (
            4,
            "",
            "arfw: the daemon does not run (nobody answers at `DIR/run/arfw.sock`)\n",
        ),
    )
}

fn listen(scene: &Scene) -> Result<(String, BufReader<UnixStream>)> {
    let mut stream = UnixStream::connect(scene.home.run_dir().join("arfw.sock"))?;
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: arfw\r\n\r\n")?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line)?;
    Ok((line.trim().to_owned(), answer))
}

/// Eight streams whose clients read nothing, and all that the socket holds of them is full.
#[test]
fn clients_that_take_nothing_stall_nobody_and_are_told_what_they_missed() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let mut streams: Vec<_> = (0..8).map(|_| listen(&scene)).collect::<Result<_>>()?;
    for (status, _) in &streams {
        ensure!(status == "HTTP/1.1 200 OK", "{status}");
    }
    let (status, mut refused) = listen(&scene)?;
    ensure!(status == "HTTP/1.1 503 Service Unavailable", "{status}");
    let mut text = vec![0; 400];
    let length = refused.read(&mut text)?;
    let text = String::from_utf8_lossy(&text[..length]).into_owned();
    ensure!(text.contains("expected at most 8 event streams"), "{text}");
    // A ban for each of many addresses: more than the kept events and what fits into the sockets.
    let addresses = (0..10_000_u32).map(|number| {
        let [_, _, high, low] = number.to_be_bytes();
        alert::wazuh(5763, 10, &["sshd"], &format!("198.18.{high}.{low}"))
    });
    scene.home.append(&addresses.collect::<String>())?;
    scene.alert(5763, V4, "198.51.100.7")?;
    // The daemon answers, and other connections are not fewer by the streams.
    ensure!(scene.banned()?.len() == 10_001);
    let (_, slow) = streams.pop().context("a stream")?;
    drop(streams);
    let (mut missed, mut bans) = (0, 0);
    for line in slow.lines() {
        let line = line?;
        let Some(event) = line.strip_prefix("data: ") else {
            continue;
        };
        let event: Value = serde_json::from_str(event)?;
        match event["type"].as_str() {
            Some("missed") => missed += event["events"].as_u64().context("a number")?,
            Some("ban") => bans += 1,
            _ => {}
        }
        if event["address"] == V4 {
            break;
        }
    }
    ensure!(missed > 0 && missed + bans == 10_001, "{missed} {bans}");
    // Their places are free again.
    let listener = Listener::new(&scene, &["--json"])?.event()?;
    check(&listener, &serde_json::json!({"type": "begin"}))?;
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
