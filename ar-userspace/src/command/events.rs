//! `arfw events`: what happens, as it comes.

use std::io::{self, Write as _};
use std::time::Duration;

use super::run::on_runtime;
use super::{Directories, Exit, output};
use crate::control::{self, view, view::Happening};

pub(super) fn run(directories: &Directories, json: bool) -> anyhow::Result<Exit> {
    let mut out = io::stdout().lock();
    let mut is_stopped = false;
    let listened = on_runtime(control::listen(&directories.socket(), |event| {
        is_stopped = event.what == Happening::Stop {};
        let line = match json {
            true => serde_json::to_string(&event)?,
            false => render(&event),
        };
        writeln!(out, "{line}")?;
        Ok(out.flush()?)
    }));
    drop(out);
    output::streamed(listened.map(|()| false), true).map(|is_unread| {
        if is_unread || is_stopped {
            if is_stopped {
                output::error_text("the daemon has stopped\n");
            }
            return Exit::Done;
        }
        output::error_text("the daemon ended without saying so; its log may say why\n");
        Exit::Failed
    })
}

/// One line. What others wrote is escaped.
fn render(event: &view::Event) -> String {
    let told = told(&event.what);
    format!("{} #{} {told}", event.time, event.sequence)
}

/// What happened, without when.
pub(super) fn told(what: &Happening) -> String {
    let told = match what {
        Happening::Begin { version, pid } => format!("begin: arfw {version}, process {pid}"),
        Happening::Missed { events } => format!("missed: {events} events were not taken in time"),
        Happening::Ban(ban) => banned("ban", ban),
        Happening::Moved(ban) => banned("moved", ban),
        Happening::Unban {
            address,
            executable,
            end,
            ended_by,
            state,
            confirm_seconds,
        } => {
            let how = match end {
                view::End::Time => "its time had come",
                view::End::Hand => "by hand",
                view::End::WhiteList => "the white list has it",
                view::End::Protected => "it must stay reachable",
                view::End::Stop => "the daemon stops",
                view::End::NotConfirmed => "it was not confirmed",
                view::End::Confirmed => "it goes on, as it was confirmed",
                view::End::Lifted => "by hand, and not confirmed",
                view::End::Moved | view::End::Failed => "it was not made",
            };
            let by = ended_by.map_or(String::new(), |by| format!(" of user {}", by.uid));
            let state = match state {
                view::ReleaseState::Reversing => ", its executable is being run",
                _ => "",
            };
            let executable = executable.escape_debug();
            let waits = waits(*confirm_seconds);
            format!("unban {address} by {executable}: {how}{by}{state}{waits}")
        }
        Happening::Confirmed {
            address,
            executable,
            change,
            confirmed_by,
        } => {
            let change = super::confirm::word(*change);
            let executable = executable.escape_debug();
            format!(
                "confirmed: {change} {address} by {executable}, by user {}",
                confirmed_by.uid
            )
        }
        Happening::Refusal {
            address,
            cause,
            rule_id,
            ..
        } => {
            let address = address.as_deref().unwrap_or("-");
            format!("refusal {address} rule {rule_id}: {cause}")
        }
        Happening::Quiet {
            address,
            change,
            seconds_left,
            by_hand,
        } => {
            let left = || duration(*seconds_left);
            let change = match change {
                view::QuietChange::Begun => format!("for {}", left()),
                view::QuietChange::Moved => format!("for {} from here on", left()),
                view::QuietChange::Ended => "no more".to_owned(),
            };
            let by = by_hand.as_ref().map_or(String::new(), |by| {
                format!(" of user {}: {}", by.uid, by.reason.escape_debug())
            });
            format!("quiet {address} {change}{by}")
        }
        Happening::Failure {
            address,
            executable,
            what,
            cause,
        } => {
            let address = address.as_deref().unwrap_or("-");
            let executable = executable.as_deref().unwrap_or("-").escape_debug();
            let cause = cause.escape_debug();
            format!("failure {address} by {executable}: {what}: {cause}")
        }
        Happening::Drift { address, what } => format!("drift {address}: {what}"),
        Happening::Reload {
            applied: true,
            changes,
            ..
        } => format!("reload: in force, {changes} changes"),
        Happening::Reload { cause, .. } => {
            let cause = cause.as_deref().unwrap_or("-").escape_debug();
            format!("reload: not in force: {cause}")
        }
        Happening::Interface {
            interface,
            mode,
            why,
        } => {
            let interface = interface.escape_debug();
            format!("interface {interface}: {mode} {why}")
        }
        Happening::Stop {} => "stop".to_owned(),
    };
    told.trim_end().to_owned()
}

fn duration(seconds: f64) -> String {
    output::duration(Duration::try_from_secs_f64(seconds.round()).unwrap_or(Duration::MAX))
}

fn banned(what: &str, ban: &view::BanEvent) -> String {
    let left = ban.seconds_left.map_or("ever".to_owned(), duration);
    let why = match &ban.by_hand {
        Some(hand) => format!("of user {}: {}", hand.uid, hand.reason.escape_debug()),
        None => format!(
            "rule {} offence {} alert {}",
            ban.rule_id,
            ban.offence.unwrap_or(0),
            ban.alert_id.as_deref().unwrap_or("-").escape_debug()
        ),
    };
    let back = match ban.not_confirmed {
        true => ", as before the unban that was not confirmed",
        false => "",
    };
    format!(
        "{what} {} for {left} by {} {why}{}{back}",
        ban.address,
        ban.executable.escape_debug(),
        waits(ban.confirm_seconds)
    )
}

fn waits(confirm_seconds: Option<f64>) -> String {
    confirm_seconds.map_or_else(String::new, |seconds| {
        let within = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        format!(
            "; taken back in {} unless confirmed",
            output::duration(within)
        )
    })
}
