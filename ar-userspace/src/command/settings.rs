//! The settings file: what it says becomes the defaults of the command line, so that flags are on top.
//!
//! The options of `arfw run` are the one definition of what settings there are; docs/settings.md and
//! packaging/arfw.toml are made from it.

mod describe;

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::colours::{Colours, Shade};
use super::{Arguments, Exit, output};
use crate::diagnostic::{self, Located};
use crate::settings::{self, Given, Key, Kind, Reading, Unfit};

pub(super) use describe::{markdown, sample};

/// Where settings are looked for unless a file is named.
pub(super) const DEFAULT_FILE: &str = "/etc/arfw/arfw.toml";

/// The option that names the file.
const SETTINGS: &str = "settings";

/// The option that asks for colours.
const COLOR: &str = "color";

/// The command whose options are the settings.
const RUN: &str = "run";

/// What `arfw check` calls the configuration, which is the setting `config`.
const CHECKED: &str = "file";
const CONFIG: &str = "config";

/// A settings file that was read.
pub(super) struct File {
    path: PathBuf,
    text: String,
    reading: Reading,
}

impl File {
    /// The file that is named, or the default one, when it is there.
    fn read(named: Option<&Path>) -> anyhow::Result<Option<Self>> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match fs::read_to_string(path) {
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => {
                return Ok(None);
            }
            text => {
                text.with_context(|| format!("cannot read the settings `{}`", path.display()))?
            }
        };
        let definition = Arguments::command();
        let reading = read(&text, &definition);
        Ok(Some(Self {
            path: path.to_owned(),
            text,
            reading,
        }))
    }

    /// Every mistake as text.
    fn rendered(&self) -> String {
        let (mistakes, name) = (&self.reading.diagnostics, self.name());
        diagnostic::render(mistakes, &name, &self.text, Colours::errors().is_on())
    }

    fn located(&self) -> Vec<Located> {
        diagnostic::locate(&self.reading.diagnostics, &self.name(), &self.text)
    }

    /// One line: how many mistakes, and what the file amounts to.
    fn summary(&self, colours: Colours) -> String {
        let (name, errors) = (self.name(), self.reading.diagnostics.len());
        let verdict = match errors {
            0 => format!("{} settings", self.reading.given.len()),
            _ => "the daemon does not start with it".to_owned(),
        };
        let errors = colours.unless_none(Shade::Bad, errors, "errors");
        format!("{name}: {errors}, 0 warnings; {verdict}\n")
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// What `arfw check` tells of a settings file.
pub(super) struct Checked {
    /// Every mistake as text.
    pub(super) text: String,
    /// The same for programs.
    pub(super) located: Vec<Located>,
    /// One line; empty without a file.
    pub(super) summary: String,
    /// Whether there is none.
    pub(super) is_sound: bool,
}

/// Looks at the file that is named, or at the default one, if it is there.
pub(super) fn check(named: Option<&Path>) -> anyhow::Result<Checked> {
    let file = File::read(named)?;
    let file = file.as_ref();
    Ok(Checked {
        text: file.map(File::rendered).unwrap_or_default(),
        located: file.map(File::located).unwrap_or_default(),
        summary: file
            .map(|file| file.summary(Colours::answers()))
            .unwrap_or_default(),
        is_sound: file.is_none_or(|file| file.reading.is_sound()),
    })
}

/// A command line, with what the settings file says where the line says nothing.
///
/// Only `run` ends here when the file has mistakes: whoever has to unban somebody must not be kept from it by a
/// slip in another setting.
///
/// # Errors
///
/// When a file that is named cannot be read; the exit status when `run` may not go on.
pub(super) fn apply(line: &[OsString]) -> anyhow::Result<Result<Arguments, Exit>> {
    let matches = Arguments::command().get_matches_from(line);
    if let Some(&choice) = matches.get_one(COLOR) {
        Colours::choose(choice);
    }
    let (path, leaf) = leaf(&matches);
    let named = match leaf.try_get_one::<PathBuf>(SETTINGS) {
        Ok(named) => named.map(PathBuf::as_path),
        Err(_) => return Ok(Ok(from(&matches))),
    };
    let Some(file) = File::read(named)? else {
        return Ok(Ok(from(&matches)));
    };
    if !file.reading.is_sound() && path == [RUN] {
        output::error_text(&file.rendered());
        output::error_text(&file.summary(Colours::errors()));
        return Ok(Err(Exit::WrongConfiguration));
    }
    if !file.reading.is_sound() && path != ["check"] {
        let hint = format!("{}: mistakes, which `arfw check` tells\n", file.name());
        output::error_text(&hint);
    }
    let mut given = file.reading.given;
    given.push(Given {
        name: SETTINGS.to_owned(),
        values: vec![file.path.display().to_string()],
    });
    let command = with_defaults(Arguments::command(), &path, &given);
    Ok(Ok(from(&command.get_matches_from(line))))
}

fn from(matches: &ArgMatches) -> Arguments {
    Arguments::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

/// The innermost command that a line names.
fn leaf(mut matches: &ArgMatches) -> (Vec<&str>, &ArgMatches) {
    let mut path = Vec::new();
    while let Some((name, inner)) = matches.subcommand() {
        path.push(name);
        matches = inner;
    }
    (path, matches)
}

/// The same command line with other defaults for the command at `path`.
fn with_defaults(command: clap::Command, path: &[&str], given: &[Given]) -> clap::Command {
    if let [first, rest @ ..] = path {
        return command.mut_subcommand(first, |inner| with_defaults(inner, rest, given));
    }
    let is_check = command.get_name() == "check";
    command.mut_args(|arg| {
        let name = match arg.get_id().as_str() {
            CHECKED if is_check => CONFIG.to_owned(),
            _ => name_of(&arg),
        };
        match given.iter().find(|given| given.name == name) {
            Some(given) => arg.default_values(given.values.clone()),
            None => arg,
        }
    })
}

/// The options that are settings.
fn options(definition: &clap::Command) -> Vec<&Arg> {
    let run = definition.find_subcommand(RUN);
    let options = run.into_iter().flat_map(clap::Command::get_arguments);
    options
        .filter(|arg| arg.get_long().is_some() && !arg.is_global_set())
        .filter(|arg| !matches!(arg.get_id().as_str(), SETTINGS | "help" | "version"))
        .collect()
}

/// The key of an option: its name in snake case.
fn name_of(arg: &Arg) -> String {
    let name = arg.get_long().unwrap_or(arg.get_id().as_str());
    name.replace('-', "_")
}

fn kind_of(arg: &Arg) -> Kind {
    let holds = arg.get_value_parser().type_id();
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
    ];
    let is_number = numbers.iter().any(|number| holds == *number);
    let is_list =
        matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
    match (arg.get_action(), is_list, is_number) {
        (ArgAction::SetTrue, ..) => Kind::Flag,
        (_, false, false) if holds == TypeId::of::<bool>() => Kind::Flag,
        (_, false, false) => Kind::Text,
        (_, false, true) => Kind::Number,
        (_, true, false) => Kind::Texts,
        (_, true, true) => Kind::Numbers,
    }
}

fn is_duration(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<Duration>()
}

fn read(text: &str, definition: &clap::Command) -> Reading {
    let options = options(definition);
    let key = |arg: &&Arg| Key {
        name: name_of(arg),
        kind: kind_of(arg),
    };
    let keys: Vec<Key> = options.iter().map(key).collect();
    settings::read(text, &keys, |name, value| {
        let arg = options.iter().find(|arg| name_of(arg) == name);
        arg.map_or(Ok(()), |arg| fits(arg, value))
    })
}

/// Whether the option takes the value.
fn fits(arg: &Arg, value: &str) -> Result<(), Unfit> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let command = clap::Command::new(RUN)
        .no_binary_name(true)
        .arg(arg.clone());
    let flag = format!("--{}={value}", arg.get_long().unwrap_or_default());
    let Err(error) = command.try_get_matches_from([flag]) else {
        return Ok(());
    };
    let known = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(known)) => known.clone(),
        _ => Vec::new(),
    };
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let expected = if !known.is_empty() {
        let quoted: Vec<String> = known.iter().map(|known| format!("`\"{known}\"`")).collect();
        quoted.join(" or ")
    } else if is_duration(arg) {
        "a time such as `90s`, `10m`, `2h` or `7d`".to_owned()
    } else if let Some((_, range)) = cause.split_once(" is not in ") {
        format!("a whole number in {range}")
    } else if cause.is_empty() {
        "a value that is not empty".to_owned()
    } else {
        cause
            .strip_prefix("expected ")
            .map_or_else(|| format!("another value: {cause}"), str::to_owned)
    };
    Err(Unfit { expected, known })
}

#[cfg(test)]
mod tests;
