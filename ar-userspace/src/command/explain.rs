//! `arfw explain`: what each section of a configuration does with an alert, and why. Touches nothing.

mod facts;
mod input;
mod render;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

pub(super) use self::facts::Facts;
use super::{Exit, OSSEC_CONF, check, output};
use crate::alert::{Alert, Malformed};
use crate::config::Config;
use crate::policy::Guard;
use crate::{daemon, surroundings};

/// What is explained, and by which configuration.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A line of JSON, or a file with alerts, of which the last one counts; `-` or nothing for standard input
    alert: Option<String>,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = OSSEC_CONF)]
    config: PathBuf,
    /// Explain every line, not only the last one
    #[arg(long)]
    all: bool,
}

/// An alert, or why a line is none; and a name for the line.
struct Line<'a> {
    name: String,
    bytes: &'a [u8],
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let Some(config) = check::load(&arguments.config)? else {
        return Ok(Exit::WrongConfiguration);
    };
    let explainer = Explainer {
        name: arguments.config.display().to_string(),
        node: daemon::node(),
        guard: surroundings::guard(&surroundings::Settings::of(&config))?,
        config,
    };
    let source = input::Source::of(arguments.alert.as_deref());
    if arguments.all {
        let ended = explain_all(&explainer, &source, json);
        return output::streamed(ended, Exit::Done);
    }
    let text = source.last_part()?;
    let line = input::last_alert(&text).with_context(|| format!("{source} has no alert"))?;
    let line = Line {
        name: source.to_string(),
        bytes: line,
    };
    let Some(facts) = explainer.explain(&line) else {
        return Ok(Exit::Failed);
    };
    if json {
        output::json(&facts)?;
    } else {
        output::text(&render::text(&facts))?;
    }
    Ok(exit(facts.fires, false))
}

fn explain_all(explainer: &Explainer, source: &input::Source, json: bool) -> anyhow::Result<Exit> {
    let mut out = output::stream();
    let (mut fires, mut malformed, mut told) = (false, false, false);
    source.each_line(|number, bytes| {
        let name = format!("{source}, line {number}");
        let Some(facts) = explainer.explain(&Line { name, bytes }) else {
            malformed = true;
            return Ok(());
        };
        fires |= facts.fires;
        if json {
            serde_json::to_writer(&mut out, &facts)?;
            writeln!(out)?;
        } else {
            let apart = if told { "\n" } else { "" };
            write!(out, "{apart}{}", render::text(&facts))?;
        }
        told = true;
        Ok(())
    })?;
    out.flush()?;
    Ok(exit(fires, malformed))
}

fn exit(fires: bool, malformed: bool) -> Exit {
    match (fires, malformed) {
        (true, _) => Exit::Done,
        (false, true) => Exit::Failed,
        (false, false) => Exit::NothingFires,
    }
}

/// What an alert is held against.
struct Explainer {
    /// Path of the configuration, as it was given.
    name: String,
    /// Name of this host, which would ask others to act.
    node: String,
    config: Config,
    guard: Guard,
}

impl Explainer {
    /// The facts; `None` when the line is no alert, and then the reason is on standard error.
    fn explain(&self, line: &Line<'_>) -> Option<Facts> {
        let mut mended = String::new();
        match Alert::parse_lossy(line.bytes, &mut mended) {
            Ok(alert) => Some(facts::facts(self, &alert, line.bytes)),
            Err(malformed) => {
                let why = not_an_alert(line, &malformed);
                output::error_text(&format!("arfw: {why}\n"));
                None
            }
        }
    }
}

/// The reason, the column, which counts bytes from 1, and what stands there.
fn not_an_alert(line: &Line<'_>, malformed: &Malformed) -> String {
    let reason = match malformed {
        Malformed::NotJson { reason, .. } => reason.to_string(),
        other => other.to_string(),
    };
    let column = malformed.offset() + 1;
    let rest = line.bytes.get(malformed.offset()..).unwrap_or_default();
    let near = match String::from_utf8_lossy(rest.get(..NEAR).unwrap_or(rest)) {
        text if text.trim().is_empty() => "at the end".to_owned(),
        text => format!("near {}", crate::diagnostic::quote(&text)),
    };
    format!("{}, column {column}: {reason}, {near}", line.name)
}

/// Bytes of a malformed line that are shown from the place on that is wrong.
const NEAR: usize = 24;
