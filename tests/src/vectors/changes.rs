//! Cases with alerts: which sections fire, which hosts execute, what changes over time.
//!
//! Each line goes through the simulation, which is the daemon's own path on a virtual clock.

use std::collections::BTreeSet;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use arfw::ledger::{Action, Limits};
use arfw::offender::Offender;
use arfw::policy::Guard;
use arfw::policy::route::{Host, route};
use arfw::simulation::{Happening, Scene, Simulation};
use arfw::time::Moment;
use serde_json::Value;

use super::case::{self, Case, What};
use super::same;

/// One firing of one alert: the sections, and who would be banned.
type Firing = (u64, Vec<u64>, Option<String>);

/// An alert, a section, and the hosts that execute it.
type Execution = (u64, u64, BTreeSet<Host>);

/// A second, an action, an executable and an address.
type Change = (u64, &'static str, String, String);

/// Kind `match`: hosts and locations play no part.
pub(super) fn fires(case: &Case) -> Result<()> {
    let mut simulation = simulation(case)?;
    let mut came: Vec<Firing> = Vec::new();
    each_alert(case, |alert, line, at| {
        let mut firing: Firing = (alert, Vec::new(), None);
        let mut malformed = None;
        simulation.read(line, at, &mut |happening| match happening {
            Happening::Fired { offences, .. } => {
                let sections = offences.iter().map(|it| it.response as u64);
                firing.1.extend(sections);
                firing.2 = offences.first().map(|it| it.offender.to_string());
            }
            Happening::Malformed(why) => malformed = Some(why),
            _ => {}
        });
        came.push(firing);
        malformed.map_or(Ok(()), |why| bail!("alert {alert} was not read: {why}"))
    })?;
    let mut expected: Vec<Firing> = Vec::new();
    for (place, value) in case.expect.iter().enumerate() {
        known_keys(value, &["alert", "fires", "ip"])?;
        let sections = value["fires"]
            .as_array()
            .context("fires: expected an array")?;
        let sections: Option<Vec<u64>> = sections.iter().map(Value::as_u64).collect();
        let address = match value.get("ip") {
            // Without the key, whoever is banned is right.
            None => came.get(place).and_then(|firing| firing.2.clone()),
            Some(Value::Null) => None,
            Some(address) => Some(canonical(address)?),
        };
        expected.push((
            number(value, "alert")?,
            sections.context("fires: expected numbers")?,
            address,
        ));
    }
    same(&expected, &came)
}

/// Kind `route`: an entry for each alert and firing section, in order.
pub(super) fn routes(case: &Case) -> Result<()> {
    let mut simulation = simulation(case)?;
    let mut came: Vec<Execution> = Vec::new();
    each_alert(case, |alert, line, at| {
        let mut malformed = None;
        simulation.read(line, at, &mut |happening| match happening {
            Happening::Fired { offences, .. } => {
                for offence in offences {
                    let route = route(&offence.target, &case.agents);
                    let executors = BTreeSet::from_iter(route.executors);
                    came.push((alert, offence.response as u64, executors));
                }
            }
            Happening::Malformed(why) => malformed = Some(why),
            _ => {}
        });
        malformed.map_or(Ok(()), |why| bail!("alert {alert} was not read: {why}"))
    })?;
    let mut expected: Vec<Execution> = Vec::new();
    for value in &case.expect {
        known_keys(value, &["alert", "response", "executors"])?;
        let executors = value["executors"]
            .as_array()
            .context("executors: expected an array")?;
        expected.push((
            number(value, "alert")?,
            number(value, "response")?,
            executors.iter().map(case::host).collect::<Result<_>>()?,
        ));
    }
    same(&expected, &came)
}

/// Kind `timeline`: every change on the host under test, until nothing is pending.
pub(super) fn timeline(case: &Case) -> Result<()> {
    let mut simulation = simulation(case)?;
    let mut came: Vec<Change> = Vec::new();
    let mut malformed = None;
    let mut tell = |happening: Happening<'_>| match happening {
        Happening::Changed(effect) => {
            let action = match effect.action {
                Action::Ban { .. } => "add",
                Action::Unban => "delete",
                Action::Move { .. } | Action::Retract { .. } => return,
            };
            came.push((
                whole_seconds(effect.at),
                action,
                effect.key.executable.name().to_owned(),
                effect.key.offender.to_string(),
            ));
        }
        Happening::Malformed(why) => malformed = Some(why),
        _ => {}
    };
    for entry in &case.entries {
        match &entry.what {
            What::Line(line) => simulation.read(line, moment(entry.at), &mut tell),
            What::Restart => simulation.restart(moment(entry.at), &mut tell),
        }
    }
    simulation.finish(&mut tell);
    if let Some(why) = malformed {
        bail!("an alert was not read: {why}");
    }
    let mut expected: Vec<Change> = Vec::new();
    for value in &case.expect {
        known_keys(value, &["at", "action", "executable", "ip"])?;
        let action = match value["action"].as_str() {
            Some("add") => "add",
            Some("delete") => "delete",
            _ => bail!("action: expected add or delete, found {}", value["action"]),
        };
        let executable = value["executable"]
            .as_str()
            .context("executable: expected a text")?;
        expected.push((
            number(value, "at")?,
            action,
            executable.to_owned(),
            canonical(&value["ip"])?,
        ));
    }
    // The order within a second does not count.
    expected.sort();
    came.sort();
    same(&expected, &came)
}

fn simulation(case: &Case) -> Result<Simulation> {
    Ok(Simulation::new(Scene {
        config: case.config()?,
        agent_config: case.agent_config()?,
        host: case.executor.clone(),
        guard: Guard::default(),
        limits: Limits::default(),
    }))
}

fn each_alert(case: &Case, mut read: impl FnMut(u64, &[u8], Moment) -> Result<()>) -> Result<()> {
    for (alert, entry) in (0..).zip(&case.entries) {
        if let What::Line(line) = &entry.what {
            read(alert, line, moment(entry.at))?;
        }
    }
    Ok(())
}

fn moment(seconds: u64) -> Moment {
    Moment::default().after(Duration::from_secs(seconds))
}

/// Only whole seconds go in, so only whole seconds come out; a rest would be a wrong time.
fn whole_seconds(at: Moment) -> u64 {
    let since = at.since(Moment::default());
    assert_eq!(since.subsec_nanos(), 0, "a change between two seconds");
    since.as_secs()
}

fn canonical(value: &Value) -> Result<String> {
    let address = value
        .as_str()
        .and_then(|text| text.parse::<Offender>().ok());
    let address = address.with_context(|| format!("ip: expected an address, found {value}"))?;
    Ok(address.to_string())
}

fn number(value: &Value, key: &str) -> Result<u64> {
    let number = value.get(key).and_then(Value::as_u64);
    number.with_context(|| format!("{key}: expected a number, found {value}"))
}

fn known_keys(value: &Value, known: &[&str]) -> Result<()> {
    let entry = value
        .as_object()
        .with_context(|| format!("expected an object in `expect`, found {value}"))?;
    match entry.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => bail!("`expect` has the unknown key `{key}`"),
        None => Ok(()),
    }
}
