//! The text of `arfw explain`: aligned, at most 80 columns where words allow it, and safe to print.

use std::time::Duration;

use super::facts::{AlertFacts, Facts, OffenderFacts, Section};
use crate::command::output;
use crate::command::page::Page;
use crate::diagnostic::{quote, visible};

pub(super) fn text(facts: &Facts) -> String {
    let mut page = Page::default();
    alert(&mut page, &facts.alert);
    offender(&mut page, facts);
    for section in &facts.sections {
        page.blank();
        self::section(&mut page, facts, section);
    }
    page.blank();
    page.head(&verdict(facts));
    page.text
}

fn alert(page: &mut Page, alert: &AlertFacts) {
    match &alert.id {
        Some(id) => page.head(&format!("alert {}", quote(id))),
        None => page.head("alert without an identifier"),
    }
    let rule = alert
        .rule_id
        .map_or("none".to_owned(), |rule| rule.to_string());
    let description = alert.description.as_deref().map(quote).unwrap_or_default();
    page.line(
        "rule",
        &format!("{rule}, level {} {description}", alert.level),
    );
    page.line("groups", &listed(&alert.groups));
    let agent = match (&alert.agent_id, &alert.agent_name) {
        (None, _) => "the manager's own".to_owned(),
        (Some(id), None) => quote(id),
        (Some(id), Some(name)) => format!("{}, {}", quote(id), quote(name)),
    };
    page.line("agent", &agent);
    if let Some(location) = &alert.location {
        page.line("log", &quote(location));
    }
    let own_log = match alert.own_log {
        true => {
            "the alert is from group `active_response`: only sections that name it or the rule fire"
        }
        false => "not from our own log",
    };
    page.line("loop guard", own_log);
}

fn offender(page: &mut Page, facts: &Facts) {
    let Some(offender) = &facts.offender else {
        page.line("offender", "none: no field names one");
        return;
    };
    let OffenderFacts { field, text, .. } = offender;
    let Some(address) = &offender.address else {
        page.line(
            "offender",
            &format!("{} from {field}, which is no literal address", quote(text)),
        );
        return;
    };
    let received = match address == text {
        true => String::new(),
        false => format!(", received as {}", quote(text)),
    };
    let special = offender.special.as_ref();
    let special = special.map_or(String::new(), |class| format!(", which is {class}"));
    page.line(
        "offender",
        &format!("{address}{special}, from {field}{received}"),
    );
    let guard = offender.protected.as_deref().unwrap_or("not protected");
    page.line("guard", guard);
    let entry = match &offender.white_listed {
        Some(entry) => format!(
            "covered by {} ({}:{})",
            quote(&entry.entry),
            visible(&facts.config),
            entry.line
        ),
        None => "not covered".to_owned(),
    };
    page.line("white list", &entry);
}

fn section(page: &mut Page, facts: &Facts, section: &Section) {
    page.head(&format!(
        "{}:{} {}: {}",
        visible(&facts.config),
        section.line,
        quote(&section.command),
        section.why
    ));
    for criterion in &section.criteria {
        let mark = if criterion.matches { '+' } else { '-' };
        page.marked(mark, criterion.element, &criterion.in_words);
    }
    let by = match section.enforcement {
        "kernel" => "done by the kernel",
        _ => "a program",
    };
    let host = match section.target.as_str() {
        "manager" => "on the manager: this host".to_owned(),
        target => format!("on {target}, not on this host"),
    };
    page.line(
        "runs",
        &format!("{}, {by}, {host}", quote(&section.executable)),
    );
    if let Some(name) = &section.wire_name {
        let told = format!("would send {} to {}", quote(name), section.target);
        page.line("request", &told);
    }
    page.line("bans", &ladder(&section.ladder_seconds));
}

/// `10m; 2nd offence 30m, 3rd and later 1h`.
fn ladder(seconds: &[u64]) -> String {
    let told = |seconds: &u64| output::duration(Duration::from_secs(*seconds));
    match seconds {
        [] => "for ever, not counted".to_owned(),
        [only] => format!("{} for every offence", told(only)),
        [first, between @ .., last] => {
            let mut steps: Vec<String> = vec![format!("1st offence {}", told(first))];
            steps.extend(
                (2..)
                    .zip(between)
                    .map(|(count, step)| format!("{} {}", ordinal(count), told(step))),
            );
            steps.push(format!(
                "{} and later {}",
                ordinal(seconds.len()),
                told(last)
            ));
            steps.join(", ")
        }
    }
}

/// A ladder has six steps at most.
fn ordinal(count: usize) -> String {
    let ending = match count {
        1 => "st",
        2 => "nd",
        3 => "rd",
        _ => "th",
    };
    format!("{count}{ending}")
}

fn verdict(facts: &Facts) -> String {
    let count = |outcome| {
        let sections = facts.sections.iter();
        sections.filter(|it| it.outcome == outcome).count()
    };
    let total = match facts.sections.len() {
        0 => "the configuration has no section that names a command".to_owned(),
        1 => format!("{} of 1 section fires", count("fires")),
        total => format!("{} of {total} sections fire", count("fires")),
    };
    match &facts.refusal {
        Some(refusal) if count("refused") > 0 => format!("{total}: {}", refusal.text),
        _ => total,
    }
}

fn listed(groups: &[String]) -> String {
    match groups {
        [] => "none".to_owned(),
        groups => visible(&groups.join(", ")),
    }
}
