//! `arfw ban`: bans by hand.

use std::fmt::Write as _;
use std::time::Duration;

use super::run::on_runtime;
use super::{Directories, Exit, confirm, output, unban};
use crate::control::{self, view};
use crate::offender::Offender;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Addresses or networks, IPv4 or IPv6
    #[arg(required = true, value_name = "ADDRESS[/BITS]", value_parser = control::network)]
    addresses: Vec<Offender>,
    /// For how long: 90s, 10m, 2h, 7d
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    lasts: Option<Duration>,
    /// For good
    #[arg(long, conflicts_with = "lasts", required_unless_present = "lasts")]
    permanent: bool,
    /// Why, for `arfw list` and the log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Also ban an address that the guard protects, and a network that holds protected addresses, which are left alone
    #[arg(long)]
    force: bool,
    /// Take it back after this time, 1s to 1h, unless `arfw confirm` comes before: who locks himself out gets in again
    #[arg(long, value_name = "TIME", value_parser = control::confirm_within)]
    confirm: Option<Duration>,
    #[command(flatten)]
    directories: Directories,
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let socket = arguments.directories.socket();
    let mut banned: Vec<view::Banned> = Vec::new();
    for addresses in unban::chunks(&arguments.addresses) {
        let order = view::BanOrder {
            addresses,
            seconds: arguments.lasts.map(|lasts| lasts.as_secs_f64()),
            permanent: arguments.permanent,
            reason: arguments.reason.clone(),
            force: arguments.force,
            confirm_seconds: arguments.confirm.map(|within| within.as_secs_f64()),
        };
        let answer = on_runtime(control::post(&socket, control::BAN, &order));
        let answer: Vec<view::Banned> = answer.map_err(unban::nothing_changed)?;
        banned.extend(answer);
    }
    if json {
        output::json(&banned)?;
    } else {
        output::text(&render(&banned))?;
    }
    let is_refused = |one: &view::Banned| one.state == view::BanState::Refused;
    Ok(if banned.iter().any(is_refused) {
        Exit::Failed
    } else {
        Exit::Done
    })
}

fn render(banned: &[view::Banned]) -> String {
    let mut text = String::new();
    for view::Banned {
        address,
        state,
        cause,
        confirm,
        quiet_ended,
    } in banned
    {
        let told = match state {
            view::BanState::Banned => "banned".to_owned(),
            view::BanState::Moved => "was banned, and has the new end".to_owned(),
            view::BanState::Refused => {
                format!("not banned: {}", cause.as_deref().unwrap_or("-"))
            }
        };
        let told = match (state, cause) {
            (view::BanState::Banned | view::BanState::Moved, Some(protected)) => {
                format!("{told}, although {protected}")
            }
            _ => told,
        };
        let waits = confirm::taken_back(address, confirm.as_ref());
        let quiet = match quiet_ended {
            0 => String::new(),
            1 => "; a quiet time ended".to_owned(),
            many => format!("; {many} quiet times ended"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}: {told}{waits}{quiet}");
    }
    text
}
