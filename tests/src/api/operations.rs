//! Every operation of docs/openapi.json, with every status that it has there, at a daemon on a real interface.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, PATIENCE};
use xtask::netns::Link;

use super::client::{Connection, Question, ask};
use super::document::Document;
use super::schema::Strict;
use super::stops::while_it_stops;
use crate::operate::access::{GROUP, as_member};
use crate::operate::{CONF, DEAD, V4, V6};
use crate::store::Disk;

pub(super) const EVERY: Duration = Duration::from_millis(20);

/// The paths of orders that have a body.
const ORDERS: [&str; 5] = [
    "/v1/ban",
    "/v1/unban",
    "/v1/confirm",
    "/v1/forgive",
    "/v1/stop",
];

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "PATCH"];

pub(super) fn socket(home: &Home) -> PathBuf {
    home.run_dir().join("arfw.sock")
}

/// Asks, and looks for the answer in the document.
struct Asker<'a> {
    document: &'a mut Document,
    socket: PathBuf,
}

impl Asker<'_> {
    fn expect(&mut self, status: u16, question: &Question) -> Result<Value> {
        let answer = ask(&self.socket, question)?;
        let told = self.document.check(question, &answer)?;
        ensure!(answer.status == status, "{question:?}: {told}");
        Ok(told)
    }

    fn ok(&mut self, question: &Question) -> Result<Value> {
        self.expect(200, question)
    }
}

#[test]
fn every_operation_answers_as_documented_and_is_documented() -> Result<()> {
    let mut document = Document::new()?;
    at_an_interface(&mut document)?;
    to_one_who_may_look(&mut document)?;
    while_a_file_system_does_not_answer(&mut document)?;
    while_the_disk_is_full(&mut document)?;
    while_it_stops(&mut document)?;
    let (all, seen) = (document.all(), document.seen);
    ensure!(seen.len() > 40, "{seen:?}");
    let missing: Vec<_> = all.difference(&seen).collect();
    ensure!(
        missing.is_empty(),
        "documented, and never came: {missing:?}"
    );
    Ok(())
}

fn at_an_interface(document: &mut Document) -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut daemon = home.start(&link, &["--protect", "203.0.113.9"])?;
    let socket = socket(&home);
    let served = ask(&socket, &Question::get("/v1/openapi.json"))?;
    ensure!(
        String::from_utf8_lossy(&served.body) == include_str!("../../../docs/openapi.json"),
        "another document is served"
    );
    for (rule, address) in [(5763, V4), (5712, V6), (5763, V4)] {
        home.append(&alert::wazuh(rule, 10, &["sshd"], address))?;
        daemon.wait_for(" ban")?;
    }
    home.append(&alert::wazuh(5763, 10, &["sshd"], "203.0.113.9"))?;
    daemon.wait_for("no ban")?;
    beside_the_document(document, &socket)?;
    let mut asker = Asker { document, socket };
    questions(&mut asker)?;
    streams(&mut asker)?;
    orders(&mut asker)?;
    until_confirmed(&mut asker)?;
    quiet_times(&mut asker)?;
    reloads(&mut asker, &home)?;
    bodies(&mut asker)?;
    asker.ok(&Question::post("/v1/stop", json!({"release": true})))?;
    daemon.wait_for("stopping on request")?;
    ends(daemon)
}

pub(super) fn ends(mut daemon: Daemon) -> Result<()> {
    // It has been told to, so that this only waits.
    daemon.stop(Signal::TERM)?;
    Ok(())
}

/// What the document says of all paths together.
fn beside_the_document(document: &Document, socket: &Path) -> Result<()> {
    let problem = Strict::of(&document.text, "/components/schemas/Problem")?;
    let paths = document.text["paths"].as_object().context("paths")?;
    for (path, methods) in paths {
        let methods = methods.as_object().context("methods")?;
        let has = |method: &str| methods.contains_key(&method.to_lowercase());
        let allowed: BTreeSet<&str> = METHODS
            .into_iter()
            .chain(["HEAD"])
            .filter(|&method| has(method) || (method == "HEAD" && has("GET")))
            .collect();
        for method in METHODS.into_iter().filter(|method| !has(method)) {
            let answer = ask(socket, &Question::plain(method, path))?;
            let allow: BTreeSet<&str> = answer.allow.split(',').collect();
            ensure!(
                answer.status == 405
                    && answer.media_type == "application/problem+json"
                    && allow == allowed,
                "{method} {path}: {answer:?}"
            );
            problem.check(&serde_json::from_slice(&answer.body)?)?;
        }
    }
    let nothing = ask(socket, &Question::get("/v1/"))?;
    ensure!(nothing.status == 404, "{nothing:?}");
    problem.check(&serde_json::from_slice(&nothing.body)?)?;
    let head = ask(socket, &Question::plain("HEAD", "/v1/bans"))?;
    ensure!(head.status == 200 && head.media_type == "application/json");
    let many: String = (0..101)
        .map(|number| format!("X-{number}: 1\r\n"))
        .collect();
    let none = [
        ("SSH-2.0-arfw\r\n\r\n".to_owned(), 400),
        (
            format!("GET /v1/bans HTTP/1.1\r\nHost: arfw\r\n{many}\r\n"),
            431,
        ),
    ];
    for (text, status) in none {
        let mut connection = Connection::open(socket)?;
        connection.send(&text)?;
        let answer = connection.answer()?;
        ensure!(
            answer.status == status && answer.body.is_empty(),
            "{text}: {answer:?}"
        );
    }
    Ok(())
}

fn questions(asker: &mut Asker<'_>) -> Result<()> {
    let status = asker.ok(&Question::get("/v1/status"))?;
    ensure!(status["interfaces"][0]["mode"] == "native", "{status}");
    let bans = asker.ok(&Question::get("/v1/bans"))?;
    ensure!(bans[0]["by"][0]["offences"] == 2, "{bans}");
    let text = asker.ok(&Question::get("/metrics"))?;
    ensure!(
        text.as_str()
            .is_some_and(|text| text.contains("# TYPE arfw_"))
    );
    asker.ok(&Question::get("/v1/openapi.json"))?;
    let past = asker.ok(&Question::get("/v1/history"))?;
    ensure!(past["bans"][0]["address"] == V6 || past["bans"][0]["address"] == V4);
    let network = "/v1/history?address=198.51.100.0%2F24&limit=100000";
    asker.ok(&Question::get(network))?;
    for query in [
        "limit=0",
        "limit=100001",
        "limit=x",
        "address=host",
        "of=host",
    ] {
        asker.expect(422, &Question::get(format!("/v1/history?{query}")))?;
    }
    for address in [V4, "203.0.113.9", "2001:db8::%2F32", "host"] {
        asker.ok(&Question::get(format!("/v1/why?address={address}")))?;
    }
    let long = format!("address={}", "a".repeat(257));
    for query in [
        "",
        "address=",
        &long,
        "address=198.51.100.7%2F24",
        "address=a&limit=1",
    ] {
        asker.expect(422, &Question::get(format!("/v1/why?{query}")))?;
    }
    Ok(())
}

/// As many as there may be, and one more.
fn streams(asker: &mut Asker<'_>) -> Result<()> {
    let question = Question::get("/v1/events");
    let data = "/paths/~1v1~1events/get/responses/200/content/text~1event-stream/x-event-data";
    let event = Strict::of(&asker.document.text, data)?;
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = Connection::open(&asker.socket)?;
        stream.send(&question.text(false))?;
        let (answer, _) = stream.head()?;
        asker.document.check(&question, &answer)?;
        let fields = stream.event()?;
        let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(names == ["id", "event", "data"], "{fields:?}");
        let [(_, id), (_, kind), (_, text)] = &fields[..] else {
            bail!("{fields:?}");
        };
        let value: Value = serde_json::from_str(text)?;
        event.check(&value)?;
        ensure!(
            value["type"] == **kind && value["sequence"].as_u64() == id.parse().ok(),
            "{fields:?}"
        );
        open.push(stream);
    }
    asker.expect(503, &question)?;
    Ok(())
}

fn orders(asker: &mut Asker<'_>) -> Result<()> {
    let bans = [
        json!({"addresses": ["192.0.2.0/24", "192.0.2.9"], "seconds": 600, "reason": "a scan"}),
        json!({"addresses": ["192.0.2.9", "127.0.0.1"], "permanent": true}),
        json!({"addresses": ["203.0.113.9"], "seconds": 0.5, "permanent": false}),
        json!({"addresses": ["203.0.113.9"], "seconds": 600.0, "force": true}),
    ];
    let mut states = BTreeSet::new();
    for ban in bans {
        let told = asker.ok(&Question::post("/v1/ban", ban))?;
        for banned in told.as_array().into_iter().flatten() {
            states.insert(banned["state"].to_string());
        }
    }
    ensure!(states.len() == 3, "{states:?}");
    asker.ok(&Question::get("/v1/bans"))?;
    asker.ok(&Question::get("/v1/why?address=192.0.2.9"))?;
    let unban = json!({"addresses": ["192.0.2.0/24", V4, "192.0.2.77"]});
    let told = asker.ok(&Question::post("/v1/unban", unban))?;
    ensure!(told[1]["released"][0]["state"] == "ended", "{told}");
    let forgive = json!({"addresses": [V4, "192.0.2.77"]});
    let told = asker.ok(&Question::post("/v1/forgive", forgive))?;
    ensure!(told["counters"] == 1, "{told}");
    asker.ok(&Question::post("/v1/forgive", json!("all")))?;
    let past = asker.ok(&Question::get("/v1/history"))?;
    let ended_by = |ban: &Value| ban["end"] == "hand" && ban["ended_by"]["uid"] == 0;
    ensure!(
        past["bans"]
            .as_array()
            .is_some_and(|bans| bans.iter().any(ended_by))
    );
    Ok(())
}

/// One of each kind waits, one is confirmed, and one is asked to be that never waited.
fn until_confirmed(asker: &mut Asker<'_>) -> Result<()> {
    let ban = json!({"addresses": ["192.0.2.40"], "seconds": 600, "confirm_seconds": 60});
    let told = asker.ok(&Question::post("/v1/ban", ban))?;
    ensure!(told[0]["confirm"]["at"].is_string(), "{told}");
    let unban = json!({"addresses": ["203.0.113.9"], "confirm_seconds": 3600});
    let told = asker.ok(&Question::post("/v1/unban", unban))?;
    ensure!(told[0]["confirm"]["at"].is_string(), "{told}");
    let status = asker.ok(&Question::get("/v1/status"))?;
    ensure!(
        status["pending"].as_array().map(Vec::len) == Some(2),
        "{status}"
    );
    let one = json!({"addresses": ["192.0.2.40", "192.0.2.41"]});
    let told = asker.ok(&Question::post("/v1/confirm", one))?;
    ensure!(
        told[0]["changes"][0]["change"] == "ban" && told[1]["changes"] == json!([]),
        "{told}"
    );
    let told = asker.ok(&Question::post("/v1/confirm", json!("all")))?;
    ensure!(told[0]["changes"][0]["change"] == "unban", "{told}");
    Ok(())
}

fn quiet_times(asker: &mut Asker<'_>) -> Result<()> {
    let order = |seconds: u32| {
        let order =
            json!({"addresses": ["192.0.2.50"], "quiet_seconds": seconds, "reason": "a test"});
        Question::post("/v1/unban", order)
    };
    for (seconds, state) in [
        (3600, "begun"),
        (60, "moved"),
        (0, "ended"),
        (0, "not_quiet"),
        (60, "begun"),
    ] {
        let told = asker.ok(&order(seconds))?;
        ensure!(told[0]["quiet"]["state"] == state, "{told}");
    }
    let wide = json!({"addresses": ["192.0.0.0/7"], "quiet_seconds": 60});
    let told = asker.ok(&Question::post("/v1/unban", wide))?;
    ensure!(told[0]["quiet"]["state"] == "refused", "{told}");
    let all = asker.ok(&Question::get("/v1/quiet"))?;
    ensure!(all[0]["by_hand"]["reason"] == "a test", "{all}");
    asker.ok(&Question::get("/v1/why?address=192.0.2.50"))?;
    let ban = json!({"addresses": ["192.0.2.50"], "seconds": 60});
    let told = asker.ok(&Question::post("/v1/ban", ban))?;
    ensure!(told[0]["quiet_ended"] == 1, "{told}");
    Ok(())
}

/// Every order is refused, whatever it says.
fn to_one_who_may_look(document: &mut Document) -> Result<()> {
    let home = Home::new(CONF)?;
    fs::set_permissions(home.dir(), fs::Permissions::from_mode(0o755))?;
    let group = GROUP.to_string();
    let daemon = home.start_dry(&["--socket-group", &group, "--group-may", "look"])?;
    let socket = socket(&home);
    let mut asker = Asker { document, socket };
    as_member(|| {
        asker.ok(&Question::get("/v1/bans"))?;
        for path in ORDERS.into_iter().chain(["/v1/reload"]) {
            asker.expect(403, &Question::post(path, "{}"))?;
        }
        Ok(())
    })?;
    asker.ok(&Question::post("/v1/stop", json!({"release": false})))?;
    ends(daemon)
}

fn reloads(asker: &mut Asker<'_>, home: &Home) -> Result<()> {
    let reload = Question::plain("POST", "/v1/reload");
    let white_list = format!("<ossec_config><global><white_list>{V6}</white_list></global>");
    let changed = CONF
        .replacen("<ossec_config>", &white_list, 1)
        .replacen("<timeout>600", "<timeout>1200", 1)
        .replacen("30,60", "45", 1);
    fs::write(home.config(), changed)?;
    let told = asker.ok(&reload)?;
    let names = ["changes", "released"].map(|name| &told[name]);
    ensure!(
        names
            .iter()
            .all(|it| it.as_array().is_some_and(|it| !it.is_empty())),
        "{told}"
    );
    fs::write(home.config(), "<ossec_config>\n<a>\n</ossec_config>")?;
    let told = asker.ok(&reload)?;
    let related = &told["diagnostics"][0]["related"];
    ensure!(told["applied"] == false && related[0].is_object(), "{told}");
    fs::remove_file(home.config())?;
    asker.expect(500, &reload)?;
    Ok(())
}

/// Bodies that are none.
fn bodies(asker: &mut Asker<'_>) -> Result<()> {
    for path in ORDERS {
        asker.expect(400, &Question::post(path, "{"))?;
        let long = json!({"addresses": ["1".repeat(64 * 1024)]});
        asker.expect(413, &Question::post(path, long))?;
        let mut untyped = Question::post(path, "{}");
        untyped.body = Some(("text/plain", "{}".to_owned()));
        asker.expect(415, &untyped)?;
        for wrong in ["{}", "[]", "null", "{\"addresses\":[],\"of\":1}"] {
            let wrong = Question::post(path, wrong);
            asker.expect(422, &wrong)?;
            asker.document.refuses(&wrong)?;
        }
    }
    let both = json!({"addresses": [V4], "seconds": 1, "permanent": true});
    let neither = json!({"addresses": [V4]});
    let nothing = json!({"addresses": [V4], "seconds": 0});
    let reason = json!({"addresses": [V4], "seconds": 1, "reason": "a".repeat(257)});
    let nobody = json!({"addresses": [], "seconds": 1});
    for wrong in [both, neither, nothing, reason, nobody] {
        let wrong = Question::post("/v1/ban", wrong);
        asker.expect(422, &wrong)?;
        asker.document.refuses(&wrong)?;
    }
    for wrong in [
        json!({"addresses": [V4], "confirm_seconds": 0}),
        json!({"addresses": [V4], "confirm_seconds": 3601}),
        json!({"addresses": [V4], "quiet_seconds": -1}),
        json!({"addresses": [V4], "quiet_seconds": 2_592_001}),
        json!({"addresses": [V4], "quiet_seconds": 1, "reason": "a".repeat(257)}),
    ] {
        let wrong = Question::post("/v1/unban", wrong);
        asker.expect(422, &wrong)?;
        asker.document.refuses(&wrong)?;
    }
    for (path, body) in [
        ("/v1/unban", json!({"addresses": [V4], "reason": "a test"})),
        (
            "/v1/unban",
            json!({"addresses": [V4], "quiet_seconds": 60, "confirm_seconds": 60}),
        ),
        (
            "/v1/ban",
            json!({"addresses": [V4], "seconds": 30, "confirm_seconds": 60}),
        ),
        ("/v1/confirm", json!({"addresses": ["host"]})),
        ("/v1/ban", json!({"addresses": ["host"], "seconds": 1})),
        ("/v1/unban", json!({"addresses": [V4, "198.51.100"]})),
        ("/v1/forgive", json!({"addresses": ["198.51.100.0/24"]})),
    ] {
        asker.expect(422, &Question::post(path, body))?;
    }
    Ok(())
}

/// The daemon and the mount of what does not answer go together.
fn while_a_file_system_does_not_answer(document: &mut Document) -> Result<()> {
    let home = Home::new(CONF)?;
    let dead = home.dir().join("dead");
    fs::create_dir(&dead)?;
    let mount = dead.to_str().context("a path in UTF-8")?;
    let mut daemon = home.start_dry_by(&["unshare", "--mount", "sh", "-ec", DEAD, mount])?;
    fs::remove_file(home.config())?;
    symlink(dead.join("ossec.conf"), home.config())?;
    let reload = Question::plain("POST", "/v1/reload");
    let mut first = Connection::open(&socket(&home))?;
    first.send(&reload.text(true))?;
    daemon.wait_for("reload on request")?;
    let mut asker = Asker {
        document,
        socket: socket(&home),
    };
    asker.expect(409, &reload)?;
    let answer = first.answer()?;
    document.check(&reload, &answer)?;
    ensure!(answer.status == 504, "{answer:?}");
    ends(daemon)
}

fn while_the_disk_is_full(document: &mut Document) -> Result<()> {
    let home = Home::new(CONF)?;
    let disk = Disk::mount(home.state_dir())?;
    let mut daemon = home.start_dry(&[])?;
    disk.fill()?;
    let mut asker = Asker {
        document,
        socket: socket(&home),
    };
    let lines = (0..400_u32).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        alert::wazuh(5763, 10, &["sshd"], &format!("198.18.{high}.{low}"))
    });
    home.append(&lines.collect::<String>())?;
    daemon.wait_for("THE STORE CANNOT BE WRITTEN")?;
    let status = asker.ok(&Question::get("/v1/status"))?;
    ensure!(status["store"]["trouble"].is_object(), "{status}");
    let history = Question::get("/v1/history");
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        let answer = ask(&asker.socket, &history)?;
        asker.document.check(&history, &answer)?;
        if answer.status == 500 {
            return daemon.crash();
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("the history is told although the store is not open")
}
