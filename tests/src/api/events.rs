//! Every type of event, as `GET /v1/events` and `arfw events --json` tell it.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::AddrV4;
use rustix::process::Signal;
use serde_json::Value;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::pins;
use xtask::netns::{INTERFACE, Link};

use super::client::{Connection, Question};
use super::document::Document;
use super::operations::socket;
use super::schema::Strict;

const CONF: &str = "\
<ossec_config>
  <global><white_list>192.0.2.9</white_list></global>
  <command><name>drop</name><executable>firewall-drop</executable><timeout_allowed>yes</timeout_allowed></command>
  <command><name>deny</name><executable>deny</executable><timeout_allowed>yes</timeout_allowed></command>
  <active-response>
    <command>drop</command><location>local</location><rules_id>5763</rules_id><timeout>600</timeout>
  </active-response>
  <active-response>
    <command>drop</command><location>local</location><rules_id>5710</rules_id><timeout>1</timeout>
  </active-response>
  <active-response>
    <command>deny</command><location>local</location><rules_id>100000</rules_id><timeout>600</timeout>
  </active-response>
</ossec_config>
";

const DATA: &str = "/paths/~1v1~1events/get/responses/200/content/text~1event-stream/x-event-data";

/// What `arfw events --json` prints.
pub(super) struct Listener {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Listener {
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let out = child.stdout.take().context("piped")?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines })
    }

    pub(super) fn line(&self) -> Result<Value> {
        let line = self.lines.recv_timeout(PATIENCE);
        Ok(serde_json::from_str(&line.context("no line came")?)?)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The schema of events, and the types that have come.
struct Types {
    schemas: [Strict; 2],
    seen: BTreeSet<String>,
    refused_by: BTreeSet<String>,
}

impl Types {
    fn check(&mut self, event: &Value) -> Result<()> {
        for schema in &self.schemas {
            schema.check(event)?;
        }
        let kind = event["type"].as_str().context("a type")?;
        self.seen.insert(kind.to_owned());
        if kind == "refusal" {
            let by = event["by"].as_str().context("by what")?;
            self.refused_by.insert(by.to_owned());
        }
        Ok(())
    }
}

/// The values that the field `type` has in a schema's alternatives, or that these have themselves.
fn alternatives(document: &Value, name: &str) -> BTreeSet<String> {
    let schema = &document["components"]["schemas"][name];
    let parts = schema["oneOf"].as_array().into_iter().flatten();
    let words = parts.filter_map(|part| {
        let word = part["properties"]["type"]["const"].as_str();
        word.or(part["const"].as_str()).map(str::to_owned)
    });
    words.collect()
}

#[test]
fn every_type_of_event_comes_as_documented() -> Result<()> {
    let document = Document::new()?.text;
    let commands = super::commands::document()?;
    let mut types = Types {
        schemas: [
            Strict::of(&document, DATA)?,
            Strict::of(&commands, "/properties/events")?,
        ],
        seen: BTreeSet::new(),
        refused_by: BTreeSet::new(),
    };
    at_an_interface(&mut types)?;
    to_a_slow_client(&mut types)?;
    let documented = alternatives(&document, "Event");
    ensure!(documented.len() > 10, "{documented:?}");
    ensure!(types.seen == documented, "{:?}", types.seen);
    let refused_by = alternatives(&document, "RefusedBy");
    ensure!(types.refused_by == refused_by, "{:?}", types.refused_by);
    Ok(())
}

fn at_an_interface(types: &mut Types) -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let bin_dir = home.dir().join("bin");
    fs::create_dir(&bin_dir)?;
    let deny = bin_dir.join("deny");
    fs::write(&deny, "#!/bin/sh\nexit 1\n")?;
    fs::set_permissions(&deny, Permissions::from_mode(0o750))?;
    let bin_dir = bin_dir.to_str().context("a path in UTF-8")?;
    let settings = [
        "--protect",
        "203.0.113.9",
        "--inspect-every",
        "20ms",
        "--bin-dir",
        bin_dir,
    ];
    let mut daemon = home.start(&link, &settings)?;
    let listener = Listener::start(&mut home.command(&["events", "--json"]))?;
    let mut until = |is: &dyn Fn(&Value) -> bool| -> Result<()> {
        loop {
            let event = listener.line()?;
            types.check(&event)?;
            if is(&event) {
                return Ok(());
            }
        }
    };
    until(&|event| event["type"] == "begin")?;
    let alert = |rule, address| home.append(&alert::wazuh(rule, 10, &["sshd"], address));
    alert(5763, "198.18.0.7")?;
    until(&|event| event["type"] == "ban")?;
    alert(5763, "198.18.0.7")?;
    until(&|event| event["type"] == "moved")?;
    alert(5710, "2001:db8::7")?;
    until(&|event| event["type"] == "unban" && event["end"] == "time")?;
    for (address, by) in [
        ("192.0.2.9", "white_list"),
        ("203.0.113.9", "guard"),
        ("127.0.0.1", "special"),
        ("198.51.100.7; id", "offender"),
    ] {
        alert(5763, address)?;
        until(&|event| event["type"] == "refusal" && event["by"] == by)?;
    }
    home.output(&["ban", "--for", "1h", "203.0.113.9"])?;
    until(&|event| event["by"] == "order")?;
    home.output(&["ban", "--permanent", "--reason", "a scan", "198.51.100.8"])?;
    until(&|event| event["by_hand"]["reason"] == "a scan")?;
    home.output(&["unban", "198.51.100.8"])?;
    until(&|event| event["ended_by"]["uid"] == 0)?;
    let waits = ["ban", "--for", "1h", "--confirm", "1m", "198.51.100.8"];
    home.output(&waits)?;
    until(&|event| event["confirm_seconds"].is_number())?;
    home.output(&["confirm"])?;
    until(&|event| event["type"] == "confirmed")?;
    home.output(&["unban", "--quiet", "1h", "198.51.100.10"])?;
    until(&|event| event["type"] == "quiet")?;
    alert(5763, "198.51.100.10")?;
    until(&|event| event["by"] == "quiet")?;
    alert(100_000, "198.51.100.9")?;
    until(&|event| event["type"] == "failure")?;
    let banned = AddrV4 {
        octets: [198, 18, 0, 7],
    };
    pins::bans_v4(home.pin_dir())?.remove(banned)?;
    until(&|event| event["type"] == "drift")?;
    home.output(&["reload"])?;
    until(&|event| event["applied"] == true)?;
    fs::write(home.config(), "<ossec_config>")?;
    home.output(&["reload"])?;
    until(&|event| event["applied"] == false)?;
    let gone = Command::new("ip")
        .args(["-n", link.host.name(), "link", "delete", INTERFACE])
        .status()?;
    ensure!(gone.success());
    until(&|event| event["type"] == "interface" && event["mode"] == "none")?;
    home.output(&["unban", "198.18.0.7"])?;
    daemon.stop(Signal::TERM)?;
    until(&|event| event["type"] == "stop")
}

/// A client that takes nothing while more happens than is kept for it.
fn to_a_slow_client(types: &mut Types) -> Result<()> {
    let home = Home::new(CONF)?;
    let mut daemon = home.start_dry(&["--max-bans", "1"])?;
    let mut stream = Connection::open(&socket(&home))?;
    stream.send(&Question::get("/v1/events").text(false))?;
    stream.head()?;
    let lines = (0..10_000_u32).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        alert::wazuh(5763, 10, &["sshd"], &format!("198.18.{high}.{low}"))
    });
    home.append(&lines.collect::<String>())?;
    home.append(&alert::wazuh(100_001, 10, &["sshd"], "198.51.100.7"))?;
    // By the last line, nobody has taken anything.
    let begun = std::time::Instant::now();
    while home.status()?.counts.lines < 10_001 {
        ensure!(begun.elapsed() < PATIENCE, "the alerts are not read");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let mut last = String::new();
    loop {
        let fields = stream.event()?;
        let data = fields.iter().find(|(name, _)| name == "data");
        let event: Value = serde_json::from_str(&data.context("data")?.1)?;
        types.check(&event)?;
        // What is kept comes after what is told to be gone.
        if last == "missed" {
            break;
        }
        last = event["type"].as_str().unwrap_or_default().to_owned();
    }
    daemon.stop(Signal::TERM)?;
    Ok(())
}
