//! Warnings: what is accepted and most likely not meant (AR-CFG-18, AR-IMP-6).
//!
//! Nothing here changes a meaning.

use std::net::Ipv4Addr;

use super::fields::{decimal, found};
use super::raw::{Element, Raw};
use super::response::Section;
use super::stock_groups::STOCK_GROUPS;
use super::value::Part;
use super::{EntryKind, WhiteList, WhiteListEntry};

use crate::diagnostic::{Diagnostic, quote};

/// Alerts below this level are not written unless the file says otherwise.
const STOCK_LOG_ALERT_LEVEL: u32 = 3;

/// Warnings about the sections.
pub(super) fn sections(sections: &[Section<'_>], raw: &Raw, out: &mut Vec<Diagnostic>) {
    let log_level = log_alert_level(&raw.alerts);
    for section in sections {
        if let Some(part) = section.rules_group {
            groups(part, out);
        }
        if let Some(part) = section.level {
            level(part, &log_level, out);
        }
        if section.response.is_some() && !section.has_criterion {
            out.push(
                Diagnostic::warning(
                    "active-response",
                    section.element.tag.clone(),
                    "nothing can make this section fire",
                )
                .found("no `level`, `rules_group` or `rules_id` in it")
                .help("say what it fires on, as `<level>7</level>`"),
            );
        }
    }
    switched_off(sections, out);
}

/// Warns when one `yes` switches off what other sections mean to have on (AR-CFG-6).
fn switched_off(sections: &[Section<'_>], out: &mut Vec<Diagnostic>) {
    let Some(off) = sections.iter().find_map(|section| section.off.clone()) else {
        return;
    };
    // One is shown: a long list of them would bury the message.
    let says_no = |section: &&Section<'_>| {
        let mut children = section.element.children.iter();
        section.off.is_none()
            && children
                .any(|child| child.name == "disabled" && child.value.trimmed().text() == "no")
    };
    let Some(other) = sections
        .iter()
        .find(says_no)
        .or_else(|| sections.iter().find(|s| s.is_response && s.off.is_none()))
    else {
        return;
    };
    out.push(
        Diagnostic::warning(
            "disabled",
            off,
            "everything is switched off: one `yes` in any section counts for the whole file",
        )
        .found("`yes`")
        .related(other.element.tag.clone(), "this section is off as well")
        .help("remove the section that says `yes`, or comment it out"),
    );
}

/// The level from which alerts are written, and where the file says so.
struct LogLevel<'r> {
    level: u32,
    said: Option<Part<'r>>,
}

fn log_alert_level(alerts: &[Element]) -> LogLevel<'_> {
    let said = alerts
        .iter()
        .flat_map(|element| &element.children)
        .filter(|child| child.name == "log_alert_level")
        .map(|child| child.value.trimmed())
        .rfind(|part| decimal(part.text()).is_some());
    LogLevel {
        level: said
            .and_then(|part| decimal(part.text()))
            .unwrap_or(STOCK_LOG_ALERT_LEVEL),
        said,
    }
}

/// Warns about a level whose alerts are never seen (AR-ALERT-4).
fn level(part: Part<'_>, log: &LogLevel<'_>, out: &mut Vec<Diagnostic>) {
    if decimal(part.text()).is_none_or(|level| level == 0 || level >= log.level) {
        return;
    }
    let message = format!(
        "alerts below level {} are not written, so that nothing fires for them",
        log.level
    );
    let diagnostic = Diagnostic::warning("level", part.span(), message).found(found(part));
    out.push(match log.said {
        Some(said) => diagnostic.related(said.span(), "from this level on they are written"),
        None => diagnostic.help("set `log_alert_level` in `<alerts>` to have them written"),
    });
}

/// Warnings about the alternatives of a `rules_group`.
fn groups(list: Part<'_>, out: &mut Vec<Diagnostic>) {
    for alternative in list.items('|') {
        let text = alternative.text();
        let warn = |message: &str| {
            Diagnostic::warning("rules_group", alternative.span(), message).found(quote(text))
        };
        if text.bytes().all(|byte| byte == b',') {
            out.push(warn("this matches every alert"));
        } else if text.contains(['^', '$', '\\', '*']) {
            out.push(
                warn("patterns are not supported: every character stands for itself")
                    .help("write a whole group with a comma behind it, as `sshd,`"),
            );
        } else if text.trim_matches(',').contains(',') {
            let groups: Vec<String> = text
                .split(',')
                .map(str::trim)
                .filter(|group| !group.is_empty())
                .map(|group| format!("{group},"))
                .collect();
            out.push(
                warn("a comma parts no alternatives: this matches only these groups in this order")
                    .help(format!(
                        "write {} to match any of them",
                        quote(&groups.join("|"))
                    )),
            );
        } else if !text.ends_with(',') {
            out.extend(open_group(alternative));
        }
    }
}

/// Warns about a group without a comma that is a part of several stock groups.
fn open_group(alternative: Part<'_>) -> Option<Diagnostic> {
    let wanted = alternative.text().to_ascii_lowercase();
    // A comma in front ties it to the beginning of a group.
    let matched: Vec<&str> = STOCK_GROUPS
        .iter()
        .copied()
        .filter(|group| match wanted.strip_prefix(',') {
            Some(start) => group.starts_with(start),
            None => group.contains(&wanted),
        })
        .collect();
    if matched.len() < 2 {
        return None;
    }
    let whole = matched.iter().find(|&&group| group == wanted);
    let mut shown: Vec<String> = matched
        .iter()
        .filter(|&&group| group != wanted)
        .take(3)
        .map(|group| format!("`{group}`"))
        .collect();
    let rest = matched.len() - shown.len() - usize::from(whole.is_some());
    if rest > 0 {
        shown.push(format!("{rest} more"));
    }
    let last = shown.pop()?;
    let shown = if shown.is_empty() {
        last
    } else {
        format!("{} and {last}", shown.join(", "))
    };
    let diagnostic = Diagnostic::warning(
        "rules_group",
        alternative.span(),
        format!("without a comma behind it this also matches {shown}"),
    )
    .found(quote(alternative.text()));
    Some(match whole {
        Some(whole) => diagnostic.help(format!("write `{whole},` to match that group only")),
        None => diagnostic.help(format!(
            "write the whole name and a comma to match one group, as `{},`",
            matched[0]
        )),
    })
}

/// Warnings about the list of repeated offenders that counts (AR-CFG-14).
pub(super) fn ladder(list: Part<'_>, steps: &[u32], most: usize, out: &mut Vec<Diagnostic>) {
    let warn = |message: String| Diagnostic::warning("repeated_offenders", list.span(), message);
    if steps.len() > most {
        out.push(
            warn(format!("only the first {most} times count")).found(format!("{}", steps.len())),
        );
    }
    let counted = &steps[..steps.len().min(most)];
    if let Some(pair) = counted.windows(2).find(|pair| pair[0] >= pair[1]) {
        out.push(
            warn("the times do not increase; they are used as written".to_owned())
                .found(format!("`{}` after `{}`", pair[1], pair[0])),
        );
    }
}

/// Warnings about entries of the white list that cover more or less than they seem to.
pub(super) fn white_list(list: &WhiteList, out: &mut Vec<Diagnostic>) {
    for entry in list.entries() {
        match &entry.kind {
            EntryKind::Network(network) if network.bits() == 0 => {
                let message =
                    "this covers every address of its family, so that none is ever banned";
                out.push(
                    Diagnostic::warning("white_list", entry.span.clone(), message)
                        .found(quote(&entry.text)),
                );
            }
            EntryKind::Network(_) => {}
            EntryKind::Pattern(_) => pattern(entry, out),
        }
    }
}

fn pattern(entry: &WhiteListEntry, out: &mut Vec<Diagnostic>) {
    // With references or comments in it, an alternative has no place of its own.
    let as_written = entry.span.len() == entry.text.len();
    let mut start = entry.span.start;
    for alternative in entry.text.split('|') {
        let span = if as_written {
            start..start + alternative.len()
        } else {
            entry.span.clone()
        };
        start = start.saturating_add(alternative.len() + 1);
        if let Some((message, help)) = odd_alternative(alternative) {
            let found = if alternative.is_empty() {
                "nothing between two `|`".to_owned()
            } else {
                quote(alternative)
            };
            out.push(
                Diagnostic::warning("white_list", span, message)
                    .found(found)
                    .help(help),
            );
        }
    }
}

/// What is odd about one alternative, and how to mend it.
fn odd_alternative(alternative: &str) -> Option<(&'static str, String)> {
    let (tied_start, rest) = match alternative.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, alternative),
    };
    let (tied_end, rest) = match rest.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() && !(tied_start && tied_end) {
        return Some((
            "this covers every address, so that none is ever banned",
            "remove it".to_owned(),
        ));
    }
    if matches!(rest, "." | ":") && !tied_start && !tied_end {
        return Some((
            "this stands in every address of a family, so that none of them is ever banned",
            "remove it".to_owned(),
        ));
    }
    if !rest.chars().all(is_of_an_offender) {
        return Some((
            "no address has such characters, so that this covers nobody",
            "write a network as `10.0.0.0/8`, and each entry into a `white_list` of its own"
                .to_owned(),
        ));
    }
    if tied_start || !begins_like_v4(rest) {
        return None;
    }
    let help = if rest.parse::<Ipv4Addr>().is_ok() {
        format!(
            "write {} or give it a `white_list` of its own",
            quote(&format!("^{rest}$"))
        )
    } else {
        format!("write {} or a network", quote(&format!("^{rest}")))
    };
    Some((
        "this covers every address in which it stands anywhere",
        help,
    ))
}

/// Whether a text begins as an IPv4 address does, with whole octets: `10.1.`.
fn begins_like_v4(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.contains('.')
        && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Whether the text of an offender can have this character (AR-OFF-3).
fn is_of_an_offender(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '_' | '-')
}

/// Warns when the file switches off the alerts that arfw reads.
pub(super) fn globals(globals: &[Element], out: &mut Vec<Diagnostic>) {
    let said = globals
        .iter()
        .flat_map(|global| &global.children)
        .rfind(|child| child.name == "jsonout_output")
        .map(|child| child.value.trimmed());
    if let Some(part) = said.filter(|part| part.text() == "no") {
        out.push(
            Diagnostic::warning(
                "jsonout_output",
                part.span(),
                "`alerts.json` is not written, so that there is nothing to respond to",
            )
            .found(found(part))
            .help("write `yes`"),
        );
    }
}
