//! `arfw history`: who was banned, why, until when, and how it ended.

use clap::Args;

use super::colours::{Colours, Shade};
use super::run::on_runtime;
use super::{Directories, Exit, output};
use crate::control::{self, view};
use crate::diagnostic::visible;
use crate::offender::Offender;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only bans of this address, of networks that hold it, or of what this network holds
    #[arg(value_name = "ADDRESS[/BITS]", value_parser = control::network)]
    address: Option<Offender>,
    /// Bans at most, of those that ended or began last
    #[arg(
        long,
        value_name = "N",
        default_value_t = control::HISTORY_TOLD,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(control::HISTORY_MOST))
    )]
    limit: u32,
    #[command(flatten)]
    directories: Directories,
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let mut path = format!("{}?limit={}", control::HISTORY, arguments.limit);
    if let Some(address) = arguments.address {
        path.push_str(&format!("&address={address}"));
    }
    let socket = arguments.directories.socket();
    let history: view::History = on_runtime(control::get(&socket, &path))?;
    if json {
        output::json(&history)?;
    } else {
        output::text(&render(&history, Colours::answers()))?;
    }
    Ok(Exit::Done)
}

fn render(history: &view::History, colours: Colours) -> String {
    if history.bans.is_empty() {
        return "no ban is remembered\n".to_owned();
    }
    let mut table = output::table(
        &["BANNED", "UNTIL", "ENDED", "HOW", "ADDRESS", "BY", "WHY"],
        &[],
    );
    for ban in &history.bans {
        table.add_row([
            ban.banned_at.clone(),
            ban.expires_at.clone().unwrap_or("permanent".to_owned()),
            ban.ended_at.clone().unwrap_or("-".to_owned()),
            how(ban),
            ban.address.clone(),
            visible(&ban.executable).to_string(),
            why(ban),
        ]);
    }
    output::rows(&table, colours, |row| {
        let ban = history.bans.get(row)?;
        let stands = matches!(ban.end, None | Some(view::End::Failed));
        stands.then(|| (Shade::Bad, how(ban)))
    })
}

pub(super) fn how(ban: &view::Past) -> String {
    let end = match ban.end {
        None => "banned",
        Some(view::End::Time) => "time",
        Some(view::End::Hand) => "hand",
        Some(view::End::WhiteList) => "white list",
        Some(view::End::Protected) => "protected",
        Some(view::End::Moved) => "moved",
        Some(view::End::Failed) => "failed",
        Some(view::End::Stop) => "stop",
        Some(view::End::NotConfirmed) => "not confirmed",
        Some(view::End::Confirmed) => "confirmation",
        Some(view::End::Lifted) => "hand, not confirmed",
    };
    match ban.ended_by {
        Some(by) if ban.end == Some(view::End::Lifted) => {
            format!("hand of uid {}, not confirmed", by.uid)
        }
        Some(by) => format!("{end} of uid {}", by.uid),
        None => end.to_owned(),
    }
}

/// What led to a ban, on one line, whatever an attacker or an operator wrote.
pub(super) fn why(ban: &view::Past) -> String {
    if let Some(by) = &ban.by_hand {
        return match by.reason.as_str() {
            "" => format!("uid {}", by.uid),
            reason => format!("uid {}: {}", by.uid, reason.escape_debug()),
        };
    }
    if ban.adopted {
        return "found in the kernel".to_owned();
    }
    let mut why = format!("rule {}", ban.rule_id);
    if let Some(id) = &ban.alert_id {
        why.push_str(&format!(", alert {}", id.escape_debug()));
    }
    if let Some(line) = ban.line {
        why.push_str(&format!(", line {line}"));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    fn past(address: &str, end: Option<view::End>) -> view::Past {
        view::Past {
            address: address.to_owned(),
            executable: "firewall-drop".to_owned(),
            banned_at: "2026-11-24T06:00:00Z".to_owned(),
            expires_at: Some("2026-11-24T06:10:00Z".to_owned()),
            ended_at: end.map(|_| "2026-11-24T06:10:00Z".to_owned()),
            end,
            ended_by: (end == Some(view::End::Hand)).then_some(view::EndedBy {
                uid: 1000,
                pid: None,
            }),
            rule_id: 5763,
            alert_id: Some("1.2\u{1b}[2J\n".to_owned()),
            response: Some(0),
            line: end.map(|_| 7),
            adopted: false,
            by_hand: None,
        }
    }

    #[test]
    fn a_row_tells_when_until_when_and_why_in_text_that_moves_no_cursor() {
        let mut by_hand = past("203.0.113.0/24", Some(view::End::Hand));
        by_hand.executable = "manual".to_owned();
        by_hand.expires_at = None;
        by_hand.by_hand = Some(view::ByHand {
            uid: 0,
            pid: Some(7),
            reason: "a scan\u{1b}[2J".to_owned(),
        });
        let mut adopted = past("198.51.100.9", Some(view::End::Moved));
        adopted.adopted = true;
        let history = view::History {
            bans: vec![
                past("2001:db8::7", None),
                past("198.51.100.7", Some(view::End::Time)),
                by_hand,
                adopted,
            ],
            forgotten: 0,
        };
        let expected = "\
BANNED                UNTIL                 ENDED                 HOW               ADDRESS         BY             WHY
2026-11-24T06:00:00Z  2026-11-24T06:10:00Z  -                     banned            2001:db8::7     firewall-drop  rule 5763, alert 1.2\\u{1b}[2J\\n
2026-11-24T06:00:00Z  2026-11-24T06:10:00Z  2026-11-24T06:10:00Z  time              198.51.100.7    firewall-drop  rule 5763, alert 1.2\\u{1b}[2J\\n, line 7
2026-11-24T06:00:00Z  permanent             2026-11-24T06:10:00Z  hand of uid 1000  203.0.113.0/24  manual         uid 0: a scan\\u{1b}[2J
2026-11-24T06:00:00Z  2026-11-24T06:10:00Z  2026-11-24T06:10:00Z  moved             198.51.100.9    firewall-drop  found in the kernel
";
        assert_eq!(render(&history, Colours::PLAIN), expected);
        assert_eq!(
            render(&view::History::default(), Colours::PLAIN),
            "no ban is remembered\n"
        );
    }
}
