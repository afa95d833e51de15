//! The `config` cases of the conformance vectors.
//!
//! They are looked for in the directory that ARFW_VECTORS names, else beside the project.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Location, Response, read};
use crate::diagnostic::Diagnostic;

fn cases() -> Vec<Value> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors"));
    let directory = std::env::var_os("ARFW_VECTORS").map_or_else(beside, PathBuf::from);
    let mut cases = Vec::new();
    let entries = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("no vectors in {}: {error}", directory.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            cases.extend(file["cases"].as_array().unwrap().iter().cloned());
        }
    }
    cases
}

#[test]
fn every_config_vector_holds() {
    let mut failed = Vec::new();
    let mut tried = 0;
    for case in cases() {
        if case["kind"] == "config" {
            tried += 1;
            if let Err(why) = run(&case) {
                failed.push(format!("{}: {why}", case["name"]));
            }
        } else {
            // The others start from a text too, which must be accepted.
            let reading = read(case["config"].as_str().unwrap());
            if reading.config.is_none() {
                failed.push(format!("{}: refused", case["name"]));
            }
        }
    }
    assert!(tried > 0, "no config case was found");
    assert!(failed.is_empty(), "{failed:#?}");
}

fn run(case: &Value) -> Result<(), String> {
    let expected = &case["expect"][0];
    let reading = read(case["config"].as_str().unwrap());
    let errors: Vec<&Diagnostic> = reading
        .diagnostics
        .iter()
        .filter(|d| d.is_error())
        .collect();
    let Some(config) = reading.config else {
        let element = expected["element"].as_str().unwrap_or("(valid)");
        return if !errors.is_empty() && errors.iter().all(|error| error.element == element) {
            Ok(())
        } else {
            Err(format!("expected {element}, got {errors:#?}"))
        };
    };
    let minutes = config
        .repeated_offenders
        .iter()
        .map(|time| time.as_secs() / 60);
    let got = json!({
        "valid": true,
        "enabled": config.enabled,
        "response_count": config.responses.len(),
        "repeated_offenders": minutes.collect::<Vec<_>>(),
    });
    for key in ["valid", "enabled", "response_count", "repeated_offenders"] {
        if !expected[key].is_null() && expected[key] != got[key] {
            return Err(format!(
                "{key}: expected {}, got {}",
                expected[key], got[key]
            ));
        }
    }
    let wanted = expected["responses"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    for (index, wanted) in wanted.iter().enumerate() {
        let got = as_json(&config.responses[index]);
        for (key, value) in wanted.as_object().unwrap() {
            if &got[key] != value {
                return Err(format!("{key}: expected {value}, got {}", got[key]));
            }
        }
    }
    Ok(())
}

fn as_json(response: &Response) -> Value {
    let (location, agent_id) = match &response.location {
        Location::Local => ("local", None),
        Location::Server => ("server", None),
        Location::All => ("all", None),
        Location::DefinedAgent(id) => ("defined-agent", Some(id.as_str())),
    };
    json!({
        "index": response.index,
        "command": response.command,
        "executable": response.executable.name(),
        "location": location,
        "agent_id": agent_id,
        "level": response.level,
        "rules_group": response.rules_group.as_ref().map(|group| group.alternatives.join("|")),
        "rules_id": response.rules_id,
        "timeout": response.timeout.map(|timeout| timeout.as_secs()),
    })
}
