//! `arfw check`: reads a configuration and the daemon's settings, and tells what is wrong with them. Touches nothing.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use schemars::JsonSchema;
use serde::Serialize;

use super::colours::{Colours, Shade};
use super::executables::Executables;
use super::{Exit, output, settings};
use crate::config::{self, Config, Reading};
use crate::diagnostic::{self, Severity};
use crate::request;

pub(super) fn run(
    file: &Path,
    settings: Option<&Path>,
    executables: &Executables,
    json: bool,
) -> anyhow::Result<Exit> {
    let settings = settings::check(settings)?;
    let (text, reading) = read(file, executables)?;
    let name = file.display().to_string();
    if json {
        let mut located = settings.located;
        located.extend(diagnostic::locate(&reading.diagnostics, &name, &text));
        output::json(&located)?;
    } else {
        output::error_text(&settings.text);
        output::error_text(&rendered(&reading, &name, &text));
        output::text(&settings.summary)?;
        output::text(&summary(&reading, &name, Colours::answers()))?;
    }
    Ok(if reading.config.is_some() && settings.is_sound {
        Exit::Done
    } else {
        Exit::WrongConfiguration
    })
}

/// A line of `ar.conf`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ArConfEntry")]
pub(super) struct Entry<'a> {
    /// Name of the response: the command's, and its timeout.
    name: String,
    /// Base name of the executable.
    executable: &'a str,
    /// 0 without a timeout.
    seconds: u64,
}

/// The `ar.conf` that a configuration amounts to on a manager (AR-WIRE-1).
pub(super) fn ar_conf(file: &Path, executables: &Executables, json: bool) -> anyhow::Result<Exit> {
    let (text, reading) = read(file, executables)?;
    let name = file.display().to_string();
    output::error_text(&rendered(&reading, &name, &text));
    let Some(config) = &reading.config else {
        output::error_text(&summary(&reading, &name, Colours::errors()));
        return Ok(Exit::WrongConfiguration);
    };
    let entries = request::ar_conf(config);
    if json {
        let entries = entries.iter().map(|entry| Entry {
            name: entry.name.to_string(),
            executable: entry.executable,
            seconds: entry.seconds(),
        });
        output::json(&entries.collect::<Vec<_>>())?;
    } else {
        let lines = entries.iter().map(|entry| format!("{entry}\n"));
        output::text(&lines.collect::<String>())?;
    }
    Ok(Exit::Done)
}

/// The text of a configuration and what came of reading it, on a host with these executables.
pub(super) fn read(file: &Path, executables: &Executables) -> anyhow::Result<(String, Reading)> {
    let (text, reading) = read_text(file)?;
    Ok((text, executables.apply(reading)))
}

/// The same of a regular file only: whatever else may be waited for, as a FIFO is for its writer.
pub(super) fn read_regular(
    file: &Path,
    executables: &Executables,
) -> anyhow::Result<(String, Reading)> {
    let kind = fs::metadata(file)
        .with_context(|| format!("cannot read the configuration `{}`", file.display()))?
        .file_type();
    ensure!(
        kind.is_file(),
        "cannot read the configuration `{}`: expected a regular file, found {}",
        file.display(),
        named(kind)
    );
    read(file, executables)
}

fn named(kind: FileType) -> &'static str {
    let kinds = [
        (kind.is_dir(), "a directory"),
        (kind.is_fifo(), "a FIFO"),
        (kind.is_socket(), "a socket"),
        (kind.is_char_device(), "a character device"),
        (kind.is_block_device(), "a block device"),
    ];
    let found = kinds.into_iter().find(|(is_it, _)| *is_it);
    found.map_or("something else", |(_, name)| name)
}

fn read_text(file: &Path) -> anyhow::Result<(String, Reading)> {
    let bytes = fs::read(file)
        .with_context(|| format!("cannot read the configuration `{}`", file.display()))?;
    let (text, reading) = config::read_bytes(&bytes);
    Ok((text.into_owned(), reading))
}

/// What a configuration means; `None` when it is refused, and then the reasons are on standard error.
pub(super) fn load(file: &Path) -> anyhow::Result<Option<Config>> {
    let (text, reading) = read_text(file)?;
    if reading.config.is_none() {
        let name = file.display().to_string();
        output::error_text(&rendered(&reading, &name, &text));
        output::error_text(&summary(&reading, &name, Colours::errors()));
    }
    Ok(reading.config)
}

/// Every diagnostic as text.
pub(super) fn rendered(reading: &Reading, name: &str, text: &str) -> String {
    diagnostic::render(&reading.diagnostics, name, text, Colours::errors().is_on())
}

/// One line: how many of each, and what the file amounts to.
pub(super) fn summary(reading: &Reading, name: &str, colours: Colours) -> String {
    let count = |severity| {
        reading
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let verdict = match &reading.config {
        None => "nothing of it is applied".to_owned(),
        Some(config) if !config.enabled => "active response is switched off".to_owned(),
        Some(config) => format!("{} responses", config.responses.len()),
    };
    let errors = colours.unless_none(Shade::Bad, errors, "errors");
    let warnings = colours.unless_none(Shade::Careful, warnings, "warnings");
    format!("{name}: {errors}, {warnings}; {verdict}\n")
}
