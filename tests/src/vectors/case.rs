//! A case as it stands in the file, checked for its form.
//!
//! Nothing here knows what a case should lead to.

use anyhow::{Context as _, Result, bail, ensure};
use arfw::config::{self, AgentId, Config};
use arfw::policy::route::Agent;
use arfw::policy::route::Host;
use serde_json::{Map, Value};

/// What is expected of a case, and how it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What a text means, or that it is refused.
    Config,
    /// Which sections fire.
    Match,
    /// Which hosts execute.
    Route,
    /// Changes over time.
    Timeline,
}

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) kind: Kind,
    pub(super) config: String,
    pub(super) entries: Vec<Entry>,
    pub(super) expect: Vec<Value>,
    pub(super) agent_config: Option<String>,
    /// The host under test.
    pub(super) executor: Host,
    pub(super) agents: Vec<Agent>,
}

/// Something that happens at a second of the case.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A line of `alerts.json`.
    Line(Vec<u8>),
    Restart,
}

impl Case {
    pub(super) fn read(value: &Value) -> Result<Self> {
        let case = value
            .as_object()
            .with_context(|| format!("expected a case, found {value}"))?;
        let kind = match text(case, "kind")? {
            "config" => Kind::Config,
            "match" => Kind::Match,
            "route" => Kind::Route,
            "timeline" => Kind::Timeline,
            other => bail!("there is no kind `{other}`"),
        };
        let entries = array(case, "alerts")?
            .iter()
            .map(Entry::read)
            .collect::<Result<Vec<_>>>()?;
        ensure!(
            entries.is_sorted_by_key(|entry| entry.at),
            "the times of `alerts` decrease"
        );
        let is_restart = |entry: &Entry| matches!(entry.what, What::Restart);
        ensure!(
            kind == Kind::Timeline || !entries.iter().any(is_restart),
            "only a timeline may have a restart"
        );
        Ok(Self {
            kind,
            config: text(case, "config")?.to_owned(),
            entries,
            expect: array(case, "expect")?.to_vec(),
            agent_config: match present(case, "agent_config") {
                None => None,
                Some(_) => Some(text(case, "agent_config")?.to_owned()),
            },
            executor: present(case, "executor").map_or(Ok(Host::Server), host)?,
            agents: match present(case, "agents") {
                None => Vec::new(),
                Some(_) => array(case, "agents")?
                    .iter()
                    .map(agent)
                    .collect::<Result<_>>()?,
            },
        })
    }

    /// What the configuration means, when it must not be refused.
    pub(super) fn config(&self) -> Result<Config> {
        accepted("config", &self.config)
    }

    /// The same of the executing agent's own file.
    pub(super) fn agent_config(&self) -> Result<Option<Config>> {
        let text = self.agent_config.as_deref();
        text.map(|text| accepted("agent_config", text)).transpose()
    }
}

impl Entry {
    fn read(value: &Value) -> Result<Self> {
        let entry = value
            .as_object()
            .with_context(|| format!("expected an alert with a time, found {value}"))?;
        let at = entry
            .get("at")
            .and_then(Value::as_u64)
            .with_context(|| format!("expected whole seconds in `at`, found {value}"))?;
        let what = match (entry.get("alert"), present(entry, "restart")) {
            (Some(alert), None) => What::Line(serde_json::to_vec(alert)?),
            (None, Some(Value::Bool(true))) => What::Restart,
            _ => bail!("expected `alert` or `\"restart\": true`, found {value}"),
        };
        Ok(Self { at, what })
    }
}

/// `"server"`, or an agent's number with or without its zeros; the manager's own number is the server.
pub(super) fn host(value: &Value) -> Result<Host> {
    if value == "server" {
        return Ok(Host::Server);
    }
    let id = agent_id(value)?;
    Ok(match id.is_manager() {
        true => Host::Server,
        false => Host::Agent(id),
    })
}

fn agent(value: &Value) -> Result<Agent> {
    let switch = |key: &str, default: bool| match value.get(key) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(switch)) => Ok(*switch),
        Some(other) => bail!("{key}: expected true or false, found {other}"),
    };
    Ok(Agent {
        id: agent_id(&value["id"])?,
        connected: switch("connected", true)?,
        ar_disabled: switch("ar_disabled", false)?,
    })
}

fn agent_id(value: &Value) -> Result<AgentId> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        other => bail!("expected an agent's number, found {other}"),
    };
    AgentId::parse(&text).with_context(|| format!("expected an agent's number, found `{text}`"))
}

fn accepted(which: &str, text: &str) -> Result<Config> {
    let reading = config::read(text);
    let refusal = || {
        let errors = reading.diagnostics.iter().filter(|it| it.is_error());
        let errors: Vec<_> = errors
            .map(|it| format!("{}: {} ({})", it.element, it.message, it.found))
            .collect();
        format!("`{which}` is refused: {}", errors.join("; "))
    };
    reading.config.clone().with_context(refusal)
}

/// A field that is there and not null.
fn present<'a>(case: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    case.get(key).filter(|value| !value.is_null())
}

fn text<'a>(case: &'a Map<String, Value>, key: &str) -> Result<&'a str> {
    let value = case.get(key).and_then(Value::as_str);
    value.with_context(|| format!("expected a text in `{key}`"))
}

fn array<'a>(case: &'a Map<String, Value>, key: &str) -> Result<&'a [Value]> {
    let value = case.get(key).and_then(Value::as_array);
    value
        .map(Vec::as_slice)
        .with_context(|| format!("expected an array in `{key}`"))
}
