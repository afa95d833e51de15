//! `<active-response>`: a response, or settings of the host (AR-CFG-4 to 17).

mod mistakes;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use self::mistakes::{bad_location, bad_minutes, bad_rule_id, bad_timeout, empty_section};
use super::command::{Command, Commands};
use super::fields::{Fields, decimal, found, yes_no};
use super::raw::Element;
use super::value::Part;
use super::{AgentId, Enforcement, Executable, Location, MAX_TIMEOUT, Response, RulesGroup};
use crate::diagnostic::{Diagnostic, Lines};

const ALLOWED: [&str; 9] = [
    "disabled",
    "command",
    "location",
    "agent_id",
    "level",
    "rules_group",
    "rules_id",
    "timeout",
    "repeated_offenders",
];
/// Settings of Wazuh's agent that have nothing to do with responses.
const IGNORED: [&str; 2] = ["ca_store", "ca_verification"];
/// What a section of settings can have (AR-CFG-17); anything else makes it a response.
const SETTINGS: [&str; 4] = [
    "disabled",
    "repeated_offenders",
    "ca_store",
    "ca_verification",
];

/// One section as far as it could be read.
pub(super) struct Section<'r> {
    pub(super) element: &'r Element,
    /// Place of the value that says `yes`, when one does.
    pub(super) off: Option<Range<usize>>,
    /// The list of a `repeated_offenders` with values.
    pub(super) repeated_offenders: Option<Part<'r>>,
    /// What fires, when the section is complete and is not switched off.
    pub(super) response: Option<Response>,
    /// Whether it says what it fires on, rightly or not.
    pub(super) has_criterion: bool,
    /// The values, for the warnings.
    pub(super) rules_group: Option<Part<'r>>,
    pub(super) level: Option<Part<'r>>,
    /// Whether it is a response rather than settings.
    pub(super) is_response: bool,
}

/// Reads the section number `index` and reports its mistakes.
pub(super) fn read<'r>(
    index: usize,
    element: &'r Element,
    commands: Option<&Commands>,
    lines: &Lines<'_>,
    out: &mut Vec<Diagnostic>,
) -> Section<'r> {
    let mut section = Section {
        element,
        off: None,
        repeated_offenders: None,
        response: None,
        has_criterion: false,
        rules_group: None,
        level: None,
        is_response: false,
    };
    if element.broken {
        return section;
    }
    if element.children.is_empty() {
        out.push(empty_section(element));
    }
    let fields = Fields::check(element, &ALLOWED, &IGNORED, &["disabled"], out);
    section.off = switched_off(element, out);
    section.is_response = element
        .children
        .iter()
        .any(|child| !SETTINGS.contains(&child.name.as_str()));
    section.repeated_offenders = fields
        .value("repeated_offenders")
        .filter(|list| list.items(',').next().is_some());
    section.rules_group = fields.value("rules_group");
    section.level = fields.value("level");
    let has_items = |name, separator| {
        let value: Option<Part<'_>> = fields.value(name);
        value.is_some_and(|list| list.items(separator).next().is_some())
    };
    section.has_criterion =
        section.level.is_some() || has_items("rules_group", '|') || has_items("rules_id", ',');
    // A section that says yes need not be complete, but what it has is checked (AR-CFG-6).
    let complete = section.off.is_none() && section.is_response;
    let mut reader = Reader {
        fields,
        complete,
        commands,
        out,
    };
    let response = reader.response(index, lines.line(element.tag.start));
    section.response = response.filter(|_| complete);
    section
}

struct Reader<'a, 'r> {
    fields: Fields<'r>,
    /// Whether something that is missing is a mistake.
    complete: bool,
    /// `None` when a mistake of the XML may have hidden some.
    commands: Option<&'a Commands>,
    out: &'a mut Vec<Diagnostic>,
}

impl<'a> Reader<'a, '_> {
    fn response(&mut self, index: usize, line: usize) -> Option<Response> {
        let command = self.command();
        let location = self.location();
        let level = self.level();
        let rules_id = self.rules_id();
        let timeout = self.timeout();
        let rules_group = self.rules_group();
        let (name, command) = command?;
        let executable = Executable::new(command.executable.as_deref()?);
        Some(Response {
            index,
            line,
            command: name,
            enforcement: Enforcement::of(&executable),
            executable,
            extra_args: command.extra_args.clone(),
            location: location?,
            level,
            rules_group,
            rules_id,
            timeout: timeout.filter(|_| command.timeout_allowed),
        })
    }

    fn command(&mut self) -> Option<(String, &'a Command)> {
        let Some(name) = self.fields.value("command") else {
            if self.complete {
                let help = "name a `<command>` of this file";
                self.fields.report_missing("command", help, self.out);
            }
            return None;
        };
        let commands = self.commands?;
        let command = commands.get(name.text());
        match command {
            None if self.complete => self.out.push(
                Diagnostic::error("command", name.span(), "expected a command of this file")
                    .found(found(name))
                    .help(commands.help_for(name.text())),
            ),
            Some(command) if !command.timeout_allowed => self.timeout_without_permission(command),
            _ => {}
        }
        command.map(|command| (name.text().to_owned(), command))
    }

    fn timeout_without_permission(&mut self, command: &Command) {
        let Some(timeout) = self.fields.value("timeout") else {
            return;
        };
        // Zero has a warning of its own.
        if decimal(timeout.text()) == Some(0) {
            return;
        }
        self.out.push(
            Diagnostic::warning(
                "timeout",
                timeout.span(),
                "the command allows no timeout, so that its bans never end",
            )
            .found(found(timeout))
            .related(command.tag.clone(), "this command")
            .help("give the command `<timeout_allowed>yes</timeout_allowed>`"),
        );
    }

    fn location(&mut self) -> Option<Location> {
        let Some(word) = self.fields.value("location") else {
            if self.complete {
                let help = "write `local` for the agent that the alert comes from";
                self.fields.report_missing("location", help, self.out);
            }
            return None;
        };
        let location = match word.text().to_ascii_lowercase().as_str() {
            "local" => Location::Local,
            "server" => Location::Server,
            "all" => Location::All,
            "defined-agent" => return self.agent_id().map(Location::DefinedAgent),
            "as" | "analysisd" | "analysis-server" => {
                self.old_location(word, "server");
                Location::Server
            }
            "any" => {
                self.old_location(word, "all");
                Location::All
            }
            other => {
                self.out.push(bad_location(word, other));
                return None;
            }
        };
        if let Some(id) = self.fields.value("agent_id") {
            self.out.push(
                Diagnostic::warning(
                    "agent_id",
                    id.span(),
                    "`agent_id` has no effect without the location `defined-agent`",
                )
                .found(found(id))
                .related(word.span(), "this location"),
            );
        }
        Some(location)
    }

    fn old_location(&mut self, word: Part<'_>, canonical: &str) {
        self.out.push(
            Diagnostic::warning(
                "location",
                word.span(),
                "this is an old word for a location",
            )
            .found(found(word))
            .help(format!("write `{canonical}`")),
        );
    }

    fn agent_id(&mut self) -> Option<AgentId> {
        let Some(part) = self.fields.value("agent_id") else {
            if self.complete {
                let help = "write the number of the agent, as `032`";
                self.fields.report_missing("agent_id", help, self.out);
            }
            return None;
        };
        let Some(id) = AgentId::parse(part.text()) else {
            let diagnostic =
                Diagnostic::error("agent_id", part.span(), "expected the number of an agent")
                    .found(found(part));
            self.out.push(if part.text().contains(',') {
                diagnostic.help("write a section for each agent")
            } else {
                diagnostic.help("write the number that the agent has on the manager, as `032`")
            });
            return None;
        };
        if id.is_manager() {
            self.out.push(
                Diagnostic::warning(
                    "agent_id",
                    part.span(),
                    "the manager is no agent, so that this section never fires",
                )
                .found(found(part))
                .help("write the location `server`"),
            );
        }
        Some(id)
    }

    fn level(&mut self) -> Option<u8> {
        let part = self.fields.value("level")?;
        let level = decimal(part.text())
            .and_then(|level| u8::try_from(level).ok())
            .filter(|level| (1..=16).contains(level));
        if level.is_none() {
            let diagnostic =
                Diagnostic::error("level", part.span(), "expected a level from 1 to 16")
                    .found(found(part));
            self.out.push(if decimal(part.text()) == Some(0) {
                diagnostic.help("leave `level` out to fire on groups and identifiers alone")
            } else {
                diagnostic
            });
        }
        level
    }

    /// An element with separators only says nothing, and counts as absent (AR-CFG-11).
    fn rules_group(&mut self) -> Option<RulesGroup> {
        let part = self.fields.value("rules_group")?;
        let alternatives: Vec<String> = part
            .items('|')
            .map(|alternative| alternative.text().to_owned())
            .collect();
        (!alternatives.is_empty()).then_some(RulesGroup { alternatives })
    }

    fn rules_id(&mut self) -> BTreeSet<u32> {
        let mut ids = BTreeSet::new();
        let Some(part) = self.fields.value("rules_id") else {
            return ids;
        };
        for item in part.items(',') {
            match decimal(item.text()) {
                Some(id) => {
                    ids.insert(id);
                }
                None => self.out.push(bad_rule_id(item)),
            }
        }
        ids
    }

    fn timeout(&mut self) -> Option<Duration> {
        let part = self.fields.value("timeout")?;
        match decimal(part.text()) {
            Some(0) => {
                self.out.push(
                    Diagnostic::warning("timeout", part.span(), "bans of this section never end")
                        .found(found(part))
                        .help("leave `timeout` out if that is meant"),
                );
                None
            }
            Some(seconds) => Some(Duration::from_secs(seconds.into())),
            None => {
                self.out.push(bad_timeout(part));
                None
            }
        }
    }
}

/// Reads the minutes of a list (AR-CFG-14). `None` after a mistake.
pub(super) fn minutes(list: Part<'_>, out: &mut Vec<Diagnostic>) -> Option<Vec<u32>> {
    let most = MAX_TIMEOUT.as_secs() / 60;
    let mut minutes = Some(Vec::new());
    for item in list.items(',') {
        let good =
            decimal(item.text()).filter(|&minutes| minutes > 0 && u64::from(minutes) <= most);
        match (good, &mut minutes) {
            (Some(good), Some(minutes)) => minutes.push(good),
            (Some(_), None) => {}
            (None, _) => {
                out.push(bad_minutes(item, most));
                minutes = None;
            }
        }
    }
    minutes
}

/// The place of a `yes`; every `disabled` counts, also an empty one (AR-CFG-5, AR-CFG-16).
fn switched_off(element: &Element, out: &mut Vec<Diagnostic>) -> Option<Range<usize>> {
    let mut off = None;
    for child in element
        .children
        .iter()
        .filter(|child| child.name == "disabled")
    {
        let part = child.value.trimmed();
        if yes_no("disabled", part, out) == Some(true) && off.is_none() {
            off = Some(part.span());
        }
    }
    off
}
