//! Cases of kind `config`: what a text means, or by which element it is refused.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use arfw::config::{self, Config, Location, Response};
use serde_json::{Map, Value, json};

use super::case::Case;

/// Compares the reading of the text with the one entry of `expect`.
pub(super) fn judge(case: &Case) -> Result<()> {
    let [expected] = &case.expect[..] else {
        bail!(
            "expected one entry in `expect`, found {}",
            case.expect.len()
        );
    };
    let expected = expected.as_object().context("expected an object")?;
    let reading = config::read(&case.config);
    let errors: Vec<&str> = reading
        .diagnostics
        .iter()
        .filter(|it| it.is_error())
        .map(|it| it.element.as_str())
        .collect();
    match (expected.get("valid"), &reading.config) {
        (Some(Value::Bool(false)), None) => refused(expected, &errors),
        (Some(Value::Bool(false)), Some(_)) => {
            bail!("expected {}, came a valid configuration", json!(expected))
        }
        (Some(Value::Bool(true)), None) => {
            bail!("expected a valid configuration, came errors about {errors:?}")
        }
        (Some(Value::Bool(true)), Some(config)) => accepted(expected, config),
        (other, _) => bail!("valid: expected true or false, found {other:?}"),
    }
}

/// The error that is told first is the one that a person reads: it has to name the element.
fn refused(expected: &Map<String, Value>, errors: &[&str]) -> Result<()> {
    let element = expected
        .get("element")
        .and_then(Value::as_str)
        .context("expected the name of an element in `element`")?;
    ensure!(
        errors.first() == Some(&element),
        "expected an error about `{element}`, came errors about {errors:?}"
    );
    Ok(())
}

fn accepted(expected: &Map<String, Value>, config: &Config) -> Result<()> {
    for (key, wanted) in expected {
        let came = match key.as_str() {
            "valid" => continue,
            "enabled" => json!(config.enabled),
            "response_count" => json!(config.responses.len()),
            "repeated_offenders" => {
                let ladder = config.repeated_offenders.iter();
                json!(ladder.map(|it| it.as_secs() / 60).collect::<Vec<_>>())
            }
            "responses" => {
                responses(wanted, &config.responses)?;
                continue;
            }
            other => bail!("`expect` has the unknown key `{other}`"),
        };
        ensure!(came == *wanted, "{key}: expected {wanted}, came {came}");
    }
    Ok(())
}

fn responses(wanted: &Value, responses: &[Response]) -> Result<()> {
    let wanted = wanted.as_array().context("responses: expected an array")?;
    ensure!(
        wanted.len() == responses.len(),
        "responses: expected {}, came {}",
        wanted.len(),
        responses.len()
    );
    for (place, (wanted, response)) in wanted.iter().zip(responses).enumerate() {
        let wanted = wanted.as_object().context("responses: expected objects")?;
        for (key, wanted) in wanted {
            compare(key, wanted, response).with_context(|| format!("response {place}"))?;
        }
    }
    Ok(())
}

fn compare(key: &str, wanted: &Value, response: &Response) -> Result<()> {
    let (location, agent_id) = match &response.location {
        Location::Local => ("local", None),
        Location::Server => ("server", None),
        Location::All => ("all", None),
        Location::DefinedAgent(id) => ("defined-agent", Some(id.as_str())),
    };
    let group = response.rules_group.as_ref();
    let came = match key {
        "index" => json!(response.index),
        "command" => json!(response.command),
        "executable" => json!(response.executable.name()),
        "location" => json!(location),
        "agent_id" => json!(agent_id),
        "level" => json!(response.level),
        "rules_group" => json!(group.map(|group| group.alternatives.join("|"))),
        "rules_id" if response.rules_id.is_empty() => Value::Null,
        "rules_id" => json!(response.rules_id),
        "timeout" => json!(response.timeout.map(|timeout| timeout.as_secs())),
        other => bail!("unknown key `{other}`"),
    };
    let wanted = match key {
        "rules_group" => alternatives(wanted),
        "rules_id" => numbers(wanted)?,
        _ => wanted.clone(),
    };
    ensure!(came == wanted, "{key}: expected {wanted}, came {came}");
    Ok(())
}

/// A list of alternatives as it is kept: trimmed, without empty ones (AR-CFG-11).
fn alternatives(wanted: &Value) -> Value {
    let Some(text) = wanted.as_str() else {
        return wanted.clone();
    };
    let kept: Vec<&str> = text
        .split('|')
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    match kept.is_empty() {
        true => Value::Null,
        false => json!(kept.join("|")),
    }
}

/// Numbers are a set: neither order nor repeats mean anything. None at all is the same as not set.
fn numbers(wanted: &Value) -> Result<Value> {
    let Some(list) = wanted.as_array() else {
        return Ok(wanted.clone());
    };
    let numbers: Option<BTreeSet<u64>> = list.iter().map(Value::as_u64).collect();
    let numbers = numbers.context("rules_id: expected numbers")?;
    Ok(match numbers.is_empty() {
        true => Value::Null,
        false => json!(numbers),
    })
}
