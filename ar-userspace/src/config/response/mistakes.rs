//! The errors of a section, with what is most likely meant as help.
//!
//! Decides nothing: the caller has found that the value is wrong.

use super::super::MAX_TIMEOUT;
use super::super::fields::{decimal, found, is_decimal, seconds_with_unit};
use super::super::raw::Element;
use super::super::suggest::nearest;
use super::super::value::Part;
use crate::diagnostic::{Diagnostic, quote};

pub(super) fn empty_section(element: &Element) -> Diagnostic {
    Diagnostic::error(
        "active-response",
        element.tag.clone(),
        "expected a response or settings in this section",
    )
    .found("no element")
    .help("remove it, or give it a `command`, a `location` and what it fires on")
}

pub(super) fn bad_location(word: Part<'_>, lower: &str) -> Diagnostic {
    const WORDS: [&str; 4] = ["local", "server", "defined-agent", "all"];
    let diagnostic = Diagnostic::error(
        "location",
        word.span(),
        "expected `local`, `server`, `defined-agent` or `all`",
    )
    .found(found(word));
    let mut words = lower
        .split(|c: char| c == ',' || c == '|' || c.is_whitespace())
        .filter(|word| !word.is_empty());
    let list = words.all(|word| WORDS.contains(&word));
    match lower {
        "agent" | "agents" => {
            return diagnostic.help(
                "write `local` for the agent of the alert, or `defined-agent` for one agent",
            );
        }
        "manager" | "master" => return diagnostic.help("write `server`"),
        _ => {}
    }
    match nearest(lower, WORDS) {
        Some(meant) => diagnostic.help(format!("write `{meant}`")),
        None if list => diagnostic.help("write a section for each location"),
        None => diagnostic,
    }
}

pub(super) fn bad_rule_id(item: Part<'_>) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "rules_id",
        item.span(),
        "expected the number of a rule, or several with commas between them",
    )
    .found(found(item));
    let numbers: Vec<&str> = item
        .text()
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .collect();
    let separated = item
        .text()
        .chars()
        .all(|c| c.is_ascii_digit() || c.is_whitespace() || ";|.+&".contains(c));
    if numbers.len() > 1 && separated {
        return diagnostic.help(format!("write {}", quote(&numbers.join(","))));
    }
    if is_decimal(item.text()) {
        return diagnostic.help(format!("the highest number of a rule is `{}`", u32::MAX));
    }
    diagnostic
}

pub(super) fn bad_timeout(part: Part<'_>) -> Diagnostic {
    let diagnostic =
        Diagnostic::error("timeout", part.span(), "expected a whole number of seconds")
            .found(found(part));
    if is_decimal(part.text()) {
        return diagnostic.help(format!(
            "the longest timeout is `{}`",
            MAX_TIMEOUT.as_secs()
        ));
    }
    match seconds_with_unit(part.text()) {
        Some(seconds) => diagnostic.help(format!("write `{seconds}`")),
        None => diagnostic,
    }
}

pub(super) fn bad_minutes(item: Part<'_>, most: u64) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        "repeated_offenders",
        item.span(),
        "expected whole minutes, at least 1, with commas between them",
    )
    .found(found(item));
    if is_decimal(item.text()) && decimal(item.text()) != Some(0) {
        return diagnostic.help(format!("the longest time is `{most}`"));
    }
    match seconds_with_unit(item.text()) {
        Some(seconds) if seconds % 60 == 0 && seconds > 0 => {
            diagnostic.help(format!("write `{}`", seconds / 60))
        }
        _ => diagnostic,
    }
}
