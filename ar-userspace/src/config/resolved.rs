//! The file as meant: every rule of section 2 of the specification, applied to what `raw` found.
//!
//! All mistakes are reported; a configuration comes out in any case, and the caller drops it when there
//! was an error (AR-CFG-18).

use std::time::Duration;

use super::command::Commands;
use super::fields::found;
use super::lint;
use super::managers;
use super::raw::{Element, Raw};
use super::response::{self, Section, minutes};
use super::value::Part;
use super::white_list::{BadEntry, entry_kind};
use super::{Config, EntryKind, WhiteList, WhiteListEntry};
use crate::diagnostic::{Diagnostic, Lines};

/// Items of a `repeated_offenders` that count (AR-CFG-14).
const LADDER_MAX_STEPS: usize = 5;

/// Reads the meaning and reports mistakes and warnings.
pub(super) fn resolve(raw: &Raw, lines: &Lines<'_>, out: &mut Vec<Diagnostic>) -> Config {
    let commands = Commands::read(&raw.commands, out);
    let known = raw.is_sound().then_some(&commands);
    let sections: Vec<Section<'_>> = raw
        .sections
        .iter()
        .enumerate()
        .map(|(index, element)| response::read(index, element, known, lines, out))
        .collect();
    let white_list = white_list(&raw.globals, lines, out);
    let repeated_offenders = repeated_offenders(&sections, out);
    lint::sections(&sections, raw, out);
    lint::white_list(&white_list, out);
    lint::globals(&raw.globals, out);
    Config {
        enabled: sections.iter().all(|section| section.off.is_none()),
        responses: sections
            .into_iter()
            .filter_map(|section| section.response)
            .collect(),
        repeated_offenders,
        white_list,
        managers: managers::read(&raw.clients),
    }
}

/// The list that counts: the first in document order (AR-CFG-15).
fn repeated_offenders(sections: &[Section<'_>], out: &mut Vec<Diagnostic>) -> Vec<Duration> {
    let mut first: Option<Part<'_>> = None;
    let mut ladder = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let Some(list) = section.repeated_offenders else {
            continue;
        };
        let steps = minutes(list, out).unwrap_or_default();
        if let Some(first) = first {
            out.push(
                Diagnostic::warning(
                    "repeated_offenders",
                    list.span(),
                    "only the first `repeated_offenders` of a file counts",
                )
                .found(found(list))
                .related(first.span(), "this one counts"),
            );
            continue;
        }
        if index > 0 {
            out.push(
                Diagnostic::warning(
                    "repeated_offenders",
                    list.span(),
                    "`repeated_offenders` belongs in the first section of a file",
                )
                .found(format!("it in section {}", index + 1))
                .related(sections[0].element.tag.clone(), "the first section"),
            );
        }
        lint::ladder(list, &steps, LADDER_MAX_STEPS, out);
        first = Some(list);
        ladder = steps;
    }
    ladder
        .into_iter()
        .take(LADDER_MAX_STEPS)
        .map(|minutes| Duration::from_secs(u64::from(minutes) * 60))
        .collect()
}

/// Every `white_list` of every `<global>`, and OSSEC's `allow_list` (AR-WL-1).
fn white_list(globals: &[Element], lines: &Lines<'_>, out: &mut Vec<Diagnostic>) -> WhiteList {
    let mut entries = Vec::new();
    for child in globals.iter().flat_map(|global| &global.children) {
        if !matches!(child.name.as_str(), "white_list" | "allow_list") || child.broken {
            continue;
        }
        if let Some(nested) = child.children.first() {
            out.push(
                Diagnostic::error(
                    &child.name,
                    nested.tag.clone(),
                    "expected one address or pattern",
                )
                .found("an element")
                .help(format!("write one `{}` for each entry", child.name)),
            );
            continue;
        }
        let value = child.value.trimmed();
        if value.is_empty() {
            out.push(
                Diagnostic::warning(
                    &child.name,
                    child.tag.clone(),
                    "an empty entry covers nobody",
                )
                .found("an empty value"),
            );
            continue;
        }
        match entry_kind(value.text()) {
            Ok(kind) => entries.push(entry(value, kind, lines)),
            Err(bad) => out.push(bad_entry(&child.name, value, bad)),
        }
    }
    WhiteList::new(entries)
}

fn entry(value: Part<'_>, kind: EntryKind, lines: &Lines<'_>) -> WhiteListEntry {
    let span = value.span();
    WhiteListEntry {
        line: lines.line(span.start),
        span,
        text: value.text().to_owned(),
        kind,
    }
}

fn bad_entry(name: &str, value: Part<'_>, bad: BadEntry) -> Diagnostic {
    // All kinds of entry are reported by the specification's name of the element (AR-WL-2).
    let element = if name == "allow_list" {
        name
    } else {
        "white_list"
    };
    let (message, help) = match bad {
        BadEntry::Negated => (
            "expected an address, a network or a pattern without `!`",
            "there is no way to take an address out of a white list",
        ),
        BadEntry::Address => (
            "expected four numbers from 0 to 255 with dots between them",
            "write a network as `10.0.0.0/8`",
        ),
        BadEntry::Length => (
            "expected a number of bits after `/`, at most 32 for IPv4 and 128 for IPv6",
            "write a network as `10.0.0.0/8` or `2001:db8::/32`",
        ),
        BadEntry::Mask => (
            "expected a mask of ones followed by zeros",
            "write a mask as `255.255.0.0`, or a number of bits",
        ),
    };
    Diagnostic::error(element, value.span(), message)
        .found(found(value))
        .help(help)
}
