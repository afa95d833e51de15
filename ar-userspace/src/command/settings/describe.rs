//! The reference of the settings and a sample of the file, both made from the options of `arfw run`.

use std::any::TypeId;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, CommandFactory as _};

use super::{DEFAULT_FILE, is_duration, kind_of, name_of, options};
use crate::command::Arguments;
use crate::settings::Kind;

/// Lines of the sample are not longer.
const WIDTH: usize = 100;

const INTRODUCTION: &str = "\
# Settings

<!-- Made by `arfw settings --markdown`: change the options of `arfw run`, not this text. -->

What `ossec.conf` does not say, because it is about this host and this daemon, can stand in a file of TOML, all of it
optional. Every option of `arfw run` is a setting of the same name with `_` for `-`, and a flag on the command line wins
over the file: `--kill-sockets=false` switches off what the file switches on, and a list on the command line replaces the
file's.
";

const RULES: &str = "\
`--settings FILE` names another file, which then has to be there. Any mistake in it (an unknown name, a value of another type or
out of bounds) keeps the daemon from starting, with exit status 3; `arfw check` tells all of them with their places. The other
commands take from the file where the daemon keeps its socket, pins, table and store, and say when it has mistakes.

Settings are read at a start, never by `arfw reload`, which reads `ossec.conf` alone: restart the daemon after a change. Bans
stand meanwhile. `arfw status` names the file that is in force.

Times are written as `\"90s\"`, `\"10m\"`, `\"2h\"`, `\"7d\"`.
";

/// docs/settings.md.
pub(in crate::command) fn markdown() -> String {
    let definition = Arguments::command();
    let mut text = format!(
        "{INTRODUCTION}\nThe file is `{DEFAULT_FILE}`; without it every setting has its default.\n\
         [packaging/arfw.toml](../packaging/arfw.toml) is a sample with all of them.\n\n{RULES}\n\
         | setting | type | default | meaning |\n| --- | --- | --- | --- |\n"
    );
    for option in options(&definition) {
        let default = match default(option) {
            Some(default) => format!("`{default}`"),
            None => "none".to_owned(),
        };
        let (name, kind, help) = (name_of(option), kind(option), help(option));
        let help = help.replace('|', "\\|");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{name}` | {kind} | {default} | {help} |");
    }
    text.push_str(include_str!("shadow.md"));
    text
}

/// packaging/arfw.toml: every line of a setting is commented out, and has its default or an example.
pub(in crate::command) fn sample() -> String {
    let definition = Arguments::command();
    let mut text = format!(
        "# Settings of arfw: {DEFAULT_FILE}. All are optional, and flags of `arfw run` win over them.\n\
         # They are read at a start. `arfw check` tells mistakes. Take the `#` away before what you set.\n"
    );
    for option in options(&definition) {
        let about = format!("{} ({})", help(option), kind(option).replace('`', ""));
        text.push('\n');
        for line in wrapped(&about) {
            let _ = writeln!(text, "# {line}");
        }
        let value = default(option).unwrap_or_else(|| example(option));
        let _ = writeln!(text, "#{} = {value}", name_of(option));
    }
    text
}

/// How it is written, and which values there are.
fn kind(option: &Arg) -> String {
    let values = option.get_possible_values();
    let shown = values.iter().filter(|value| !value.is_hide_set());
    let values: Vec<String> = shown
        .map(|value| format!("`\"{}\"`", value.get_name()))
        .collect();
    let kind = match kind_of(option) {
        Kind::Flag => "`true` or `false`",
        Kind::Number => "number",
        Kind::Text if !values.is_empty() => return values.join(", "),
        Kind::Text if is_duration(option) => "time",
        Kind::Text => "text",
        Kind::Texts => "list of texts",
        Kind::Numbers => "list of numbers",
    };
    kind.to_owned()
}

/// What it does, and what each of its values does, in one line.
fn help(option: &Arg) -> String {
    let help = option.get_help().map(ToString::to_string);
    let mut text = help.unwrap_or_default().replace('\n', " ");
    if kind_of(option) == Kind::Flag {
        return text;
    }
    for value in option.get_possible_values() {
        if let Some(help) = value.get_help() {
            let _ = write!(text, "; `{}`: {help}", value.get_name());
        }
    }
    text
}

/// The default as it is written in the file.
fn default(option: &Arg) -> Option<String> {
    let values = option.get_default_values().iter();
    let values: Vec<String> = values
        .map(|value| value.to_string_lossy().into_owned())
        .collect();
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    match (kind_of(option), &values[..]) {
        (Kind::Flag, []) => Some("false".to_owned()),
        (Kind::Flag | Kind::Number, [value]) => Some(value.clone()),
        (Kind::Text, [_]) => Some(quoted.concat()),
        (Kind::Texts, _) => Some(format!("[{}]", quoted.join(", "))),
        (Kind::Numbers, _) => Some(format!("[{}]", values.join(", "))),
        _ => None,
    }
}

/// A value of a setting that has no default.
fn example(option: &Arg) -> String {
    let holds = option.get_value_parser().type_id();
    let example = if is_duration(option) {
        "\"30d\""
    } else if holds == TypeId::of::<PathBuf>() {
        "\"/var/ossec/logs/active-responses.log\""
    } else if holds == TypeId::of::<SocketAddr>() {
        "\"127.0.0.1:9764\""
    } else if option.get_long() == Some("socket-group") {
        "\"arfw\""
    } else if kind_of(option) == Kind::Number {
        "1"
    } else {
        "\"\""
    };
    example.to_owned()
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let is_full = |line: &String| !line.is_empty() && line.len() + word.len() + 3 > WIDTH;
        if lines.last().is_some_and(is_full) {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
