//! The summary of a replay, as text and as JSON. Described in docs/explain-and-replay.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::Run;
use super::against;
use super::tally::{Counts, Input, Past, Tally};
use super::times::{Times, to_the_second};
use crate::command::output;
use crate::diagnostic::visible;
use crate::offender::Offender;

/// Rows of a table that people are shown; JSON has them all.
const ROWS: usize = 20;

/// What was read.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayRead")]
pub(in crate::command) struct Read<'a> {
    /// Bytes.
    bytes: u64,
    /// Lines.
    lines: u64,
    /// Lines that are alerts.
    alerts: u64,
    /// Lines that are none, by reason.
    malformed: &'a BTreeMap<&'static str, u64>,
    /// The first time that an alert carries; `null` when none does.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    first_at: Option<Timestamp>,
    /// The last one.
    #[serde(serialize_with = "as_text")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    last_at: Option<Timestamp>,
    /// Alerts without a time.
    without_time: u64,
    /// Alerts whose time is before that of a line above.
    out_of_order: u64,
}

/// What one configuration would have done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplaySummary")]
pub(in crate::command) struct Summary<'a> {
    /// The file, as given.
    config: &'a str,
    /// Alerts that at least one section matches.
    matched: u64,
    /// Of these, those that lead to nothing, by reason.
    refused: &'a BTreeMap<&'static str, u64>,
    /// Offences for other hosts.
    elsewhere: u64,
    /// Bans that are refused because a limit is reached.
    over_limit: u64,
    /// Bans.
    pub(super) bans: u64,
    /// Bans whose end is moved by a repeat.
    pub(super) moved: u64,
    /// Offenders that were banned.
    pub(super) offenders: usize,
    /// Of these, those that are banned for ever.
    pub(super) banned_for_ever: usize,
    /// Sum over all offenders; bans for ever are not in it.
    pub(super) banned_seconds: f64,
    /// `null` without a ban.
    longest_ban: Option<Longest>,
    /// `null` without an offence.
    most_offences: Option<Most>,
    /// Every section that names a command, in document order.
    sections: Vec<SectionRow<'a>>,
    /// Rules of alerts that matched, those that did most first.
    rules: Vec<RuleRow>,
}

/// The offender with the longest ban.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayLongest")]
struct Longest {
    /// In canonical form.
    address: String,
    /// `null`: for ever.
    seconds: Option<f64>,
}

/// The offender with most offences.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayMost")]
struct Most {
    /// In canonical form.
    address: String,
    /// How many.
    offences: u64,
}

/// What one section would have done.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplaySection")]
struct SectionRow<'a> {
    /// Among all `<active-response>` elements, from 0.
    index: usize,
    /// Its line.
    line: usize,
    /// The name of its command.
    command: &'a str,
    /// Alerts that it matches.
    matched: u64,
    /// Of these, those that lead to nothing.
    refused: u64,
    /// Bans.
    bans: u64,
    /// Bans whose end is moved by a repeat.
    moved: u64,
}

/// What alerts of one rule would have led to.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayRule")]
struct RuleRow {
    /// Its number; 0 for alerts without one.
    rule_id: u32,
    /// Matches of sections with its alerts.
    matched: u64,
    /// Of these, those that lead to nothing.
    refused: u64,
    /// Bans.
    bans: u64,
    /// Bans whose end is moved by a repeat.
    moved: u64,
}

/// Writes the answer; `after_timeline` says that a timeline stands before it.
pub(super) fn write(
    input: &Input,
    times: &Times,
    runs: &[Run],
    after_timeline: bool,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let read = read(input, times);
    let summaries: Vec<Summary<'_>> = runs.iter().map(summary).collect();
    match (runs, &summaries[..]) {
        ([first, other], [one, two]) => {
            let difference = against::difference(&first.tally, &other.tally);
            if json {
                let answer = serde_json::json!({
                    "read": read, "configs": [one, two], "against": difference
                });
                serde_json::to_writer_pretty(&mut *out, &answer)?;
                writeln!(out)?;
            } else {
                write!(out, "{}", read_text(&read))?;
                write!(out, "{}", against::text([one, two], &difference))?;
            }
        }
        (_, [summary, ..]) if json => {
            let opening = if after_timeline { "\n],\n" } else { "{" };
            let read = serde_json::to_string(&read)?;
            write!(out, "{opening}\"read\": {read},\n\"summary\": ")?;
            serde_json::to_writer_pretty(&mut *out, summary)?;
            writeln!(out, "}}")?;
        }
        (_, [summary, ..]) => {
            let apart = if after_timeline { "\n" } else { "" };
            write!(out, "{apart}{}{}", read_text(&read), text(summary))?;
        }
        (_, []) => {}
    }
    Ok(())
}

impl Summary<'_> {
    pub(super) fn config(&self) -> &str {
        self.config
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

fn read<'a>(input: &'a Input, times: &Times) -> Read<'a> {
    let span = times.span();
    Read {
        bytes: input.bytes,
        lines: input.lines,
        alerts: input.alerts,
        malformed: &input.malformed,
        first_at: span.map(|(first, _)| first),
        last_at: span.map(|(_, last)| last),
        without_time: times.without,
        out_of_order: times.backwards,
    }
}

fn summary(run: &Run) -> Summary<'_> {
    let tally = &run.tally;
    let for_ever = |(_, past): &(&Offender, &Past)| past.is_for_ever();
    let banned: Duration = tally.banned().map(|(_, past)| past.banned).sum();
    Summary {
        config: &run.name,
        matched: tally.matched,
        refused: &tally.refused,
        elsewhere: tally.elsewhere,
        over_limit: tally.over_limit,
        bans: tally.bans,
        moved: tally.moved,
        offenders: tally.banned().count(),
        banned_for_ever: tally.banned().filter(for_ever).count(),
        banned_seconds: banned.as_secs_f64(),
        longest_ban: longest(tally),
        most_offences: most(tally),
        sections: sections(run),
        rules: rules(tally),
    }
}

/// The first address in order among those that are banned for ever, else the one with the longest ban.
fn longest(tally: &Tally) -> Option<Longest> {
    let rank = |past: &Past| (past.is_for_ever(), past.longest);
    // Of equals the last one is taken, hence from the back.
    let banned: Vec<_> = tally.banned().collect();
    let (offender, past) = banned
        .into_iter()
        .rev()
        .max_by_key(|(_, past)| rank(past))?;
    Some(Longest {
        address: offender.to_string(),
        seconds: (!past.is_for_ever()).then_some(past.longest.as_secs_f64()),
    })
}

fn most(tally: &Tally) -> Option<Most> {
    let offenders = tally.offenders.iter().rev();
    let (offender, past) = offenders.max_by_key(|(_, past)| past.offences)?;
    Some(Most {
        address: offender.to_string(),
        offences: past.offences,
    })
}

fn sections(run: &Run) -> Vec<SectionRow<'_>> {
    let responses = run.simulation.config().responses.iter();
    responses
        .map(|response| {
            let counts = run.tally.sections.get(&response.index);
            let Counts {
                matched,
                refused,
                bans,
                moved,
            } = counts.copied().unwrap_or_default();
            SectionRow {
                index: response.index,
                line: response.line,
                command: &response.command,
                matched,
                refused,
                bans,
                moved,
            }
        })
        .collect()
}

/// An `Option` as serde hands it over.
fn as_text<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

/// Those that did most first.
fn rules(tally: &Tally) -> Vec<RuleRow> {
    let rows = tally.rules.iter().map(|(&rule_id, counts)| RuleRow {
        rule_id,
        matched: counts.matched,
        refused: counts.refused,
        bans: counts.bans,
        moved: counts.moved,
    });
    let mut rows: Vec<RuleRow> = rows.collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.bans, row.moved, row.matched)));
    rows
}

fn read_text(read: &Read<'_>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<9} {value}");
    };
    let malformed: u64 = read.malformed.values().sum();
    line(
        "read",
        &format!(
            "{} lines, {} alerts, {} malformed{}",
            output::count(read.lines),
            output::count(read.alerts),
            output::count(malformed),
            by_reason(read.malformed)
        ),
    );
    let span = match (&read.first_at, &read.last_at) {
        (Some(first), Some(last)) => {
            format!("{} to {}", to_the_second(*first), to_the_second(*last))
        }
        _ => "no alert has a time".to_owned(),
    };
    line("times", &span);
    if read.without_time + read.out_of_order > 0 {
        line(
            "",
            &format!(
                "{} without a time, {} before the time of a line above",
                output::count(read.without_time),
                output::count(read.out_of_order)
            ),
        );
    }
    text
}

fn text(summary: &Summary<'_>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "{label:<9} {value}");
    };
    line("config", &visible(summary.config));
    let refused = summary.refused();
    line(
        "matched",
        &format!(
            "{} alerts; {} offences for other hosts, {} over a limit",
            output::count(summary.matched),
            output::count(summary.elsewhere),
            output::count(summary.over_limit)
        ),
    );
    line(
        "refused",
        &format!("{}{}", output::count(refused), by_reason(summary.refused)),
    );
    line(
        "banned",
        &format!(
            "{} offenders, {} bans, {} moved, {} for ever",
            output::count(summary.offenders as u64),
            output::count(summary.bans),
            output::count(summary.moved),
            output::count(summary.banned_for_ever as u64)
        ),
    );
    if let Some(longest) = &summary.longest_ban {
        let length = longest.seconds.map_or("for ever".to_owned(), seconds);
        line("longest", &format!("{length}: {}", longest.address));
    }
    if let Some(most) = &summary.most_offences {
        let offences = output::count(most.offences);
        line("most", &format!("{offences} offences: {}", most.address));
    }
    text.push('\n');
    text.push_str(&tables(summary));
    text
}

fn tables(summary: &Summary<'_>) -> String {
    let count = |number: &u64| output::count(*number);
    let mut sections = output::table(
        &["SECTION", "COMMAND", "MATCHED", "REFUSED", "BANS", "MOVED"],
        &[2, 3, 4, 5],
    );
    for row in &summary.sections {
        let numbers = [&row.matched, &row.refused, &row.bans, &row.moved].map(count);
        let place = format!("{}:{}", visible(summary.config), row.line);
        sections.add_row([place, visible(row.command)].into_iter().chain(numbers));
    }
    let mut rules = output::table(
        &["RULE", "MATCHED", "REFUSED", "BANS", "MOVED"],
        &[0, 1, 2, 3, 4],
    );
    for row in summary.rules.iter().take(ROWS) {
        let numbers = [&row.matched, &row.refused, &row.bans, &row.moved].map(count);
        rules.add_row(std::iter::once(row.rule_id.to_string()).chain(numbers));
    }
    let more = match summary.rules.len().saturating_sub(ROWS) {
        0 => String::new(),
        more => format!("and {more} more rules, which --json tells\n"),
    };
    let (sections, rules) = (sections.to_string(), rules.to_string());
    format!("{}\n{}{more}", trimmed(&sections), trimmed(&rules))
}

/// A table without blanks at the ends of its lines.
pub(super) fn trimmed(table: &str) -> String {
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

/// `: 2 white_listed, 1 injection`, or nothing.
fn by_reason(reasons: &BTreeMap<&'static str, u64>) -> String {
    let told: Vec<String> = reasons
        .iter()
        .map(|(reason, count)| format!("{} {reason}", output::count(*count)))
        .collect();
    match told.is_empty() {
        true => String::new(),
        false => format!(": {}", told.join(", ")),
    }
}

pub(super) fn seconds(seconds: f64) -> String {
    output::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}
