//! `arfw why`: why an address is banned, or is not.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::colours::{Colours, Shade};
use super::page::Page;
use super::run::on_runtime;
use super::{Directories, Exit, output};
use crate::control::{self, view, view::why};
use crate::diagnostic::{quote, visible};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// An address or a network; or what alerts have in an address's place
    #[arg(value_name = "ADDRESS[/BITS]")]
    address: String,
    #[command(flatten)]
    directories: Directories,
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let path = format!("{}?address={}", control::WHY, encoded(&arguments.address));
    let socket = arguments.directories.socket();
    let why: view::Why = on_runtime(control::get(&socket, &path))?;
    if json {
        output::json(&why)?;
    } else {
        output::text(&render(&why, Colours::answers()))?;
    }
    Ok(match why.is_address || !why.alerts.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    })
}

/// As a query has it.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'/' | b'-' | b'_' => {
                encoded.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}

fn render(why: &view::Why, colours: Colours) -> String {
    let mut page = Page::default();
    let shade = match why.banned {
        true => Shade::Bad,
        false => Shade::Good,
    };
    page.verdict(colours, shade, &verdict(why));
    for ban in &why.bans {
        page.blank();
        reason(&mut page, why, ban);
    }
    if !why.is_address || !why.banned || why.bans.is_empty() || !why.alerts.is_empty() {
        page.blank();
        alerts(&mut page, why);
    }
    if why.is_address {
        page.blank();
        past(&mut page, why);
    }
    page.text
}

fn verdict(why: &view::Why) -> String {
    let address = match why.is_address {
        true => why.address.clone(),
        false => return format!("{} is no address: nobody can ban it", quote(&why.address)),
    };
    let spared = match &why.spared {
        Some(spared) => format!("; {}", visible(&spared.why)),
        None => String::new(),
    };
    let spared = match &why.quiet {
        Some(quiet) => format!("{spared}; {}", quieted(why, quiet)),
        None => spared,
    };
    match (why.banned, why.enforcer.as_str()) {
        (false, _) => format!("{address} is not banned{spared}"),
        (true, "dry-run") => {
            format!("{address} is banned in words only: a dry run drops nothing{spared}")
        }
        (true, _) => format!("{address} is banned{spared}"),
    }
}

fn quieted(why: &view::Why, quiet: &view::Quiet) -> String {
    let of = match quiet.address == why.address {
        true => String::new(),
        false => format!(" as part of {}", quiet.address),
    };
    let because = match quiet.by_hand.reason.as_str() {
        "" => String::new(),
        reason => format!(" because: {}", visible(reason)),
    };
    let (until, uid) = (&quiet.until, quiet.by_hand.uid);
    format!("quiet until {until}{of}, asked by user {uid}{because}")
}

fn reason(page: &mut Page, why: &view::Why, ban: &why::Reason) {
    let of = match (ban.address == why.address, ban.applies) {
        (true, _) => String::new(),
        (false, true) => format!(", as part of {}", ban.address),
        (false, false) => format!(" is {}, but this address is left alone", ban.address),
    };
    let (left, until) = match (ban.seconds_left, &ban.expires_at) {
        (Some(left), Some(end)) => (format!(", {} left", seconds(left)), end.clone()),
        _ => (String::new(), "somebody ends it".to_owned()),
    };
    page.head(&format!("banned{of} by {}", quote(&ban.executable)));
    page.line("since", &ban.banned_at);
    page.line("until", &format!("{until}{left}"));
    if let Some(by) = &ban.by_hand {
        let pid = by
            .pid
            .map_or(String::new(), |pid| format!(", process {pid}"));
        page.line("by hand", &format!("uid {}{pid}", by.uid));
        if !by.reason.is_empty() {
            page.line("reason", &visible(&by.reason));
        }
    } else if ban.adopted {
        page.line("why", "it was found in the kernel, made by somebody else");
    } else {
        page.line("section", &section(why, ban));
        page.line("offence", &offence(ban));
        page.line("rule", &rule(ban));
        let id = ban.alert_id.as_deref();
        let id = id.map_or("without an identifier".to_owned(), quote);
        let written = ban.alert.as_ref().and_then(|it| it.timestamp.as_deref());
        let written = written.map_or(String::new(), |at| format!(", {}", visible(at)));
        page.line("alert", &format!("{id}{written}"));
        match &ban.alert {
            None => page.line("text", "not remembered any more"),
            Some(alert) => log(page, alert),
        }
    }
    if let (Some(packets), Some(bytes)) = (ban.packets, ban.bytes) {
        let (packets, bytes) = (output::count(packets), output::count(bytes));
        let seen = ban.last_seen.as_deref();
        let seen = seen.map_or(String::new(), |at| format!(", the last at {at}"));
        page.line(
            "dropped",
            &format!("{packets} packets, {bytes} bytes{seen}"),
        );
    }
}

fn section(why: &view::Why, ban: &why::Reason) -> String {
    match (ban.line, ban.response) {
        (Some(line), _) => format!("{}:{line}", visible(&why.config)),
        (None, Some(response)) => format!(
            "number {} of {}; in which line it stood is not known",
            response + 1,
            visible(&why.config)
        ),
        (None, None) => "not known".to_owned(),
    }
}

fn offence(ban: &why::Reason) -> String {
    let for_good = || "for good".to_owned();
    let length = ban.seconds.map_or_else(for_good, whole);
    let next = ban.next_seconds.map(whole);
    let next = next.map_or(String::new(), |next| format!("; the next would be {next}"));
    match ban.offences {
        0 => format!("not counted, {length}"),
        number => format!("number {number}, {length}{next}"),
    }
}

fn rule(ban: &why::Reason) -> String {
    match &ban.alert {
        Some(alert) => text(alert),
        None => ban.rule_id.to_string(),
    }
}

/// `5763, level 10 ...`.
fn text(alert: &why::AlertText) -> String {
    let rule = alert.rule_id.map_or("none".to_owned(), |it| it.to_string());
    let description = alert.description.as_deref().map(quote).unwrap_or_default();
    format!("{rule}, level {} {description}", alert.level)
}

fn log(page: &mut Page, alert: &why::AlertText) {
    if let Some(log) = &alert.full_log {
        page.line("text", &visible(log));
    }
}

fn alerts(page: &mut Page, why: &view::Why) {
    if why.alerts.is_empty() {
        let since = &why.alerts_since;
        return page.head(&format!("no alert about it is remembered since {since}"));
    }
    page.head("alerts about it, newest first");
    for it in &why.alerts {
        let times = match it.times {
            1 => String::new(),
            times => format!("; {} alike", output::count(times)),
        };
        let who = match it.address == why.address {
            true => String::new(),
            false => format!("{}: ", visible(&it.address)),
        };
        page.head(&format!("{} {who}{}{times}", it.read_at, visible(&it.why)));
        page.line("rule", &text(&it.alert));
        log(page, &it.alert);
        for act in &it.acts {
            let (config, executable) = (visible(&why.config), quote(&act.executable));
            page.line(
                "section",
                &format!("{config}:{} {executable}: {}", act.line, act.why),
            );
        }
        for section in &it.sections {
            let (config, executable) = (visible(&why.config), quote(&section.executable));
            let why = visible(&section.why);
            page.line(
                "section",
                &format!("{config}:{} {executable}: {why}", section.line),
            );
            for criterion in &section.criteria {
                let mark = if criterion.matches { '+' } else { '-' };
                page.marked(mark, &criterion.element, &visible(&criterion.why));
            }
        }
        if it.sections_untold > 0 {
            page.line("section", &format!("and {} more", it.sections_untold));
        }
        if it.reconfigured && !it.sections.is_empty() {
            page.line("note", "the configuration was read again since");
        }
    }
}

fn past(page: &mut Page, why: &view::Why) {
    if let Some(trouble) = &why.past_trouble {
        return page.head(&format!("the past cannot be told: {}", visible(trouble)));
    }
    if why.past.is_empty() {
        return page.head("no ban of it that ended is remembered");
    }
    page.head("bans that ended, newest first");
    for ban in &why.past {
        let ended = ban.ended_at.as_deref().unwrap_or("-");
        let told = format!(
            "ended {ended} ({}), began {}: {} by {}, {}",
            super::history::how(ban),
            ban.banned_at,
            ban.address,
            quote(&ban.executable),
            super::history::why(ban)
        );
        page.line("ban", &told);
    }
}

fn seconds(seconds: f64) -> String {
    output::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

fn whole(seconds: u64) -> String {
    output::duration(Duration::from_secs(seconds))
}
