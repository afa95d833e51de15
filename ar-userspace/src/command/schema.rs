//! What commands print with `--json`, as one JSON schema: an object with a field for each command. What the control
//! socket tells as well has the schema that it has there, as it is made of the same type.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::replay::{against, report, timeline};
use super::{check, explain, store, top};
use crate::control::view;
use crate::diagnostic::Located;

/// A command that prints JSON.
struct Printed {
    /// As it is called, with the option that makes a difference.
    command: &'static str,
    /// What it prints.
    says: &'static str,
    /// Whether it prints one such value on each line, and not one in all.
    each_line: bool,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

const fn one(
    command: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
    says: &'static str,
) -> Printed {
    Printed {
        command,
        says,
        each_line: false,
        schema,
    }
}

const fn lines(
    command: &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
    says: &'static str,
) -> Printed {
    Printed {
        each_line: true,
        ..one(command, schema, says)
    }
}

const PRINTED: [Printed; 20] = [
    one(
        "ban",
        of::<Vec<view::Banned>>,
        "As POST /v1/ban answers. Without a daemon nothing is printed.",
    ),
    one(
        "check",
        of::<Vec<Located>>,
        "Every error and warning, those of the settings first.",
    ),
    one(
        "check --ar-conf",
        of::<Vec<check::Entry<'_>>>,
        "Each line of `ar.conf`.",
    ),
    one(
        "confirm",
        of::<Vec<view::Confirmed>>,
        "As POST /v1/confirm answers.",
    ),
    lines(
        "events",
        of::<view::Event>,
        "As in the field `data` of each event of GET /v1/events.",
    ),
    one(
        "explain",
        of::<explain::Facts>,
        "What each section does with the alert.",
    ),
    lines(
        "explain --all",
        of::<explain::Facts>,
        "The same of each alert.",
    ),
    one(
        "forgive",
        of::<view::Forgiven>,
        "As POST /v1/forgive answers.",
    ),
    one(
        "history",
        of::<view::History>,
        "As GET /v1/history answers.",
    ),
    one(
        "list",
        of::<Vec<view::Ban>>,
        "As GET /v1/bans answers. Without a daemon the kernel is asked, and `by` is empty.",
    ),
    one(
        "list --quiet",
        of::<Vec<view::Quiet>>,
        "As GET /v1/quiet answers.",
    ),
    one("reload", of::<view::Reload>, "As POST /v1/reload answers."),
    one("replay", replay, "What would have been done."),
    one(
        "replay --against",
        replay_against,
        "What two configurations would have done, and what differs.",
    ),
    one(
        "replay --timeline",
        replay_timeline,
        "What would have been done, and when.",
    ),
    one("status", of::<view::Status>, "As GET /v1/status answers."),
    one(
        "store check",
        of::<store::Counts<'_>>,
        "What the store holds.",
    ),
    lines("top", of::<top::Told<'_>>, "Each look."),
    one(
        "unban",
        of::<Vec<view::Unbanned>>,
        "As POST /v1/unban answers.",
    ),
    one("why", of::<view::Why>, "As GET /v1/why answers."),
];

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn replay(generator: &mut SchemaGenerator) -> Schema {
    whole(json!({
        "read": of::<report::Read<'_>>(generator),
        "summary": of::<report::Summary<'_>>(generator),
    }))
}

fn replay_timeline(generator: &mut SchemaGenerator) -> Schema {
    whole(json!({
        "timeline": of::<Vec<timeline::Entry<'_>>>(generator),
        "read": of::<report::Read<'_>>(generator),
        "summary": of::<report::Summary<'_>>(generator),
    }))
}

fn replay_against(generator: &mut SchemaGenerator) -> Schema {
    whole(json!({
        "read": of::<report::Read<'_>>(generator),
        "configs": {
            "description": "The first and the second one.",
            "type": "array",
            "items": of::<report::Summary<'_>>(generator),
            "minItems": 2,
            "maxItems": 2,
        },
        "against": of::<against::Difference>(generator),
    }))
}

/// An object with all of these fields.
fn whole(fields: Value) -> Schema {
    let names: Vec<String> = fields
        .as_object()
        .map(|fields| fields.keys().cloned().collect())
        .unwrap_or_default();
    schemars::json_schema!({"type": "object", "properties": fields, "required": names})
}

/// The schema, as docs/commands.schema.json has it.
pub(super) fn text() -> String {
    let mut generator = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator();
    let mut commands = Map::new();
    for printed in PRINTED {
        let mut schema = (printed.schema)(&mut generator);
        schema.insert("description".to_owned(), printed.says.into());
        if printed.each_line {
            schema.insert("x-each-line".to_owned(), true.into());
        }
        commands.insert(printed.command.to_owned(), schema.into());
    }
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What the commands of arfw print with --json",
        "description": "Each property is a command, and its schema that of what the command prints on standard output; with `x-each-line` of \
                        each line. Errors are text on standard error. A command that fails as a whole, by its exit status, may \
                        have printed nothing. Times are RFC 3339 in UTC, durations are seconds. Fields are not renamed and keep their \
                        meaning; a later version may add some.",
        "type": "object",
        "properties": commands,
        "$defs": generator.take_definitions(true),
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::{Command, CommandFactory as _};

    use super::*;
    use crate::command::Arguments;

    /// Commands that print no JSON, or nothing else whatever they are told.
    const OTHERS: [&str; 7] = [
        "generate",
        "run",
        "schema",
        "settings",
        "stop",
        "store export",
        "store import",
    ];

    #[test]
    fn the_schema_is_that_of_this_version() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/commands.schema.json");
        let kept = fs::read_to_string(file).unwrap_or_default();
        assert!(
            kept == text(),
            "write `docs/commands.schema.json` anew: `arfw schema --commands > docs/commands.schema.json`"
        );
    }

    #[test]
    fn every_command_that_prints_json_has_a_schema() {
        let command = Arguments::command();
        let mut all = Vec::new();
        names(&command, "", &mut all);
        let plain = PRINTED.iter().map(|printed| printed.command);
        let plain = plain.filter(|name| !name.contains("--"));
        let mut known: Vec<String> = plain.chain(OTHERS).map(str::to_owned).collect();
        known.sort();
        all.sort();
        assert_eq!(known, all);
    }

    fn names(command: &Command, before: &str, all: &mut Vec<String>) {
        for inner in command.get_subcommands() {
            let name = format!("{before}{}", inner.get_name());
            match inner.has_subcommands() {
                true => names(inner, &format!("{name} "), all),
                false => all.push(name),
            }
        }
    }
}
