//! The timeline of a replay: one line, or one JSON object, for each ban, move and unban.
//!
//! Lines are put together where things happen, where nothing can fail, and written a batch at a time.

use std::fmt::Write as _;
use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::Run;
use super::times::{self, Times};
use crate::command::output;
use crate::diagnostic::visible;
use crate::ledger::{Action, Ruling, Rung};
use crate::policy::Offence;
use crate::simulation::Happening;
use crate::time::{Expiry, Moment};

/// What waits to be written.
pub(super) struct Timeline {
    form: Option<Form>,
    waiting: String,
    is_first: bool,
    /// Name of the configuration, and the line of each of its sections by index.
    config: String,
    lines: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

/// One entry, as JSON has it; docs/explain-and-replay.md describes it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayEntry")]
pub(in crate::command) struct Entry<'a> {
    /// When; `null` before the first alert with a time.
    #[schemars(extend("format" = "date-time"))]
    at: Option<String>,
    /// `ban`, `move` or `unban`.
    #[schemars(extend("enum" = ["ban", "move", "unban"]))]
    event: &'static str,
    /// In canonical form.
    address: String,
    /// The executable that holds the ban.
    executable: &'a str,
    /// From `at` to the end; `null`: for ever. Left out for an unban.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<Option<f64>>,
    /// The alert's rule; left out for an unban.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_id: Option<u32>,
    /// The section's line; left out for an unban.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// Which offence it is; left out for an unban, and where offences do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    offence: Option<u32>,
}

impl Timeline {
    /// Begins with what stands before the first entry. Nothing is told unless it is `wanted`.
    pub(super) fn begin(
        wanted: bool,
        json: bool,
        run: &Run,
        out: &mut impl Write,
    ) -> io::Result<Self> {
        let form = wanted.then_some(if json { Form::Json } else { Form::Text });
        if form == Some(Form::Json) {
            write!(out, "{{\"timeline\": [")?;
        }
        let responses = run.simulation.config().responses.iter();
        Ok(Self {
            form,
            waiting: String::new(),
            is_first: true,
            config: visible(&run.name),
            lines: responses.map(|it| (it.index, it.line)).collect(),
        })
    }

    pub(super) fn is_told(&self) -> bool {
        self.form.is_some()
    }

    pub(super) fn hear(&mut self, happening: &Happening<'_>, times: &Times) {
        let Some(form) = self.form else {
            return;
        };
        let (at, entry) = match happening {
            Happening::Ruled {
                offence,
                ruling: Ruling::Banned { until, rung },
                at,
            } => (*at, self.entry("ban", offence, *until, *rung, *at)),
            Happening::Ruled {
                offence,
                ruling: Ruling::Moved { until, rung, .. },
                at,
            } => (*at, self.entry("move", offence, *until, *rung, *at)),
            Happening::Changed(effect) if effect.action == Action::Unban => {
                let entry = Entry {
                    at: None,
                    event: "unban",
                    address: effect.key.offender.to_string(),
                    executable: effect.key.executable.name(),
                    seconds: None,
                    rule_id: None,
                    line: None,
                    offence: None,
                };
                (effect.at, entry)
            }
            _ => return,
        };
        let at = times.wall(at).map(|time| match form {
            Form::Text => times::to_the_second(time),
            Form::Json => time.to_string(),
        });
        let entry = Entry { at, ..entry };
        match form {
            Form::Text => text(&entry, &self.config, &mut self.waiting),
            Form::Json => {
                let apart = if self.is_first { "\n" } else { ",\n" };
                self.waiting.push_str(apart);
                // Numbers and texts always have a form in JSON.
                let json = serde_json::to_string(&entry).unwrap_or_default();
                self.waiting.push_str(&json);
            }
        }
        self.is_first = false;
    }

    pub(super) fn write_to(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.waiting.as_bytes())?;
        self.waiting.clear();
        Ok(())
    }

    fn entry<'a>(
        &self,
        event: &'static str,
        offence: &'a Offence,
        until: Expiry,
        rung: Option<Rung>,
        at: Moment,
    ) -> Entry<'a> {
        let found = self
            .lines
            .binary_search_by_key(&offence.response, |&(index, _)| index);
        Entry {
            at: None,
            event,
            address: offence.offender.to_string(),
            executable: offence.executable.name(),
            seconds: Some(until.left(at).map(|left| left.as_secs_f64())),
            rule_id: Some(offence.rule_id),
            line: found.ok().map(|place| self.lines[place].1),
            offence: rung.map(|rung| rung.offence),
        }
    }
}

fn text(entry: &Entry<'_>, config: &str, out: &mut String) {
    let at = entry.at.as_deref().unwrap_or("before any time");
    let executable = visible(entry.executable);
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "{at:<20}  {:<5}  {:<15}  {executable}",
        entry.event, entry.address
    );
    if let Some(seconds) = entry.seconds {
        let length = match seconds.map(std::time::Duration::try_from_secs_f64) {
            Some(Ok(length)) => format!("for {}", output::duration(length)),
            _ => "for ever".to_owned(),
        };
        let _ = write!(out, "  {length}");
    }
    if let (Some(rule), Some(line)) = (entry.rule_id, entry.line) {
        let _ = write!(out, "  rule {rule}  {config}:{line}");
    }
    if let Some(offence) = entry.offence {
        let _ = write!(out, "  offence {offence}");
    }
    out.push('\n');
}
