//! Questions that a stop leaves without an answer.

use std::fs;

use anyhow::{Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::support::daemon::{Home, PATIENCE};

use super::client::{Connection, Question};
use super::document::Document;
use super::operations::{EVERY, ends, socket};
use crate::operate::{CONF, V4};

/// How often daemons are stopped until each question has met a stop.
const STOPS: usize = 50;

/// Questions that wait when a stop comes have no answer. Whether one that came at that moment waits is the
/// scheduler's to say, hence several stops.
pub(super) fn while_it_stops(document: &mut Document) -> Result<()> {
    let asks = |document: &Document| -> Vec<Question> {
        let operations = document.operations().into_iter();
        let left = operations.filter(|(_, _, operation)| {
            let id = operation["operationId"].as_str().unwrap_or_default();
            let has_503 = operation["responses"]["503"].is_object();
            has_503 && !document.seen.contains(&(id.to_owned(), 503))
        });
        left.map(|(path, method, _)| question(&path, &method))
            .collect()
    };
    for _ in 0..STOPS {
        let left = asks(document);
        if left.is_empty() {
            return Ok(());
        }
        let home = Home::new(CONF)?;
        let daemon = home.start_dry(&[])?;
        let mut open = Vec::new();
        for question in &left {
            let mut connection = Connection::open(&socket(&home))?;
            // This one is answered without the daemon, and shows that the connection is served.
            connection.send(&Question::get("/v1/openapi.json").text(false))?;
            connection.answer()?;
            open.push((question, connection));
        }
        pause(daemon.pid())?;
        for (question, connection) in &mut open {
            connection.send(&question.text(true))?;
        }
        kill_process(daemon.pid(), Signal::TERM)?;
        kill_process(daemon.pid(), Signal::CONT)?;
        for (question, connection) in &mut open {
            // A connection that was not read yet may be closed.
            if let Ok(answer) = connection.answer() {
                document.check(question, &answer)?;
            }
        }
        ends(daemon)?;
    }
    let left = asks(document);
    ensure!(left.is_empty(), "always answered: {left:?}");
    Ok(())
}

/// One that is carried out.
fn question(path: &str, method: &str) -> Question {
    match (path, method) {
        ("/v1/why", _) => Question::get("/v1/why?address=198.51.100.7"),
        ("/v1/ban", _) => Question::post(path, json!({"addresses": [V4], "seconds": 600})),
        ("/v1/unban", _) => Question::post(path, json!({"addresses": [V4]})),
        ("/v1/confirm" | "/v1/forgive", _) => Question::post(path, json!("all")),
        ("/v1/stop", _) => Question::post(path, json!({"release": false})),
        (_, "POST") => Question::plain("POST", path),
        _ => Question::get(path),
    }
}

/// Stops it from running, and waits until it does not.
fn pause(pid: Pid) -> Result<()> {
    kill_process(pid, Signal::STOP)?;
    let file = format!("/proc/{}/stat", pid.as_raw_nonzero());
    for _ in 0..PATIENCE.as_millis() / EVERY.as_millis() {
        let stat = fs::read_to_string(&file)?;
        if stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('T'))
        {
            return Ok(());
        }
        std::thread::park_timeout(EVERY);
    }
    bail!("it goes on")
}
