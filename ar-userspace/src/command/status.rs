//! `arfw status`: how the daemon stands.

use std::fmt::Write as _;
use std::time::Duration;

use super::run::on_runtime;
use super::{Directories, Exit, output};
use crate::control::{self, view};

pub(super) fn run(directories: &Directories, json: bool) -> anyhow::Result<Exit> {
    let status: view::Status = on_runtime(control::get(&directories.socket(), control::STATUS))?;
    if json {
        output::json(&status)?;
    } else {
        output::text(&render(&status))?;
    }
    Ok(Exit::Done)
}

fn render(status: &view::Status) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{label:<11} {value}");
    };
    let uptime = Duration::try_from_secs_f64(status.uptime_seconds).unwrap_or(Duration::MAX);
    line(
        "arfw",
        format!(
            "{}, process {}, up {}",
            status.version,
            status.pid,
            output::duration(uptime)
        ),
    );
    line(
        "config",
        match status.enabled {
            true => format!("{}, {} responses", status.config, status.responses),
            false => format!("{}, ACTIVE RESPONSE IS SWITCHED OFF THERE", status.config),
        },
    );
    line("alerts", status.alerts.clone());
    let counts = &status.counts;
    line(
        "",
        format!(
            "{} lines, {} malformed, {} too long, {} matched, {} refused, {} for other hosts",
            output::count(counts.lines),
            output::count(counts.malformed),
            output::count(counts.too_long),
            output::count(counts.matched),
            output::count(counts.refused),
            output::count(counts.elsewhere),
        ),
    );
    line(
        "banned",
        format!(
            "{} IPv4 of {}, {} IPv6 of {}",
            output::count(status.active.v4 as u64),
            output::count(status.active.room_v4 as u64),
            output::count(status.active.v6 as u64),
            output::count(status.active.room_v6 as u64),
        ),
    );
    line(
        "",
        format!(
            "{} bans, {} moved, {} ended; {} over a limit, {} failed; {} executables run, {} left out",
            output::count(counts.bans),
            output::count(counts.moved),
            output::count(counts.unbans),
            output::count(counts.over_limit),
            output::count(counts.failed),
            output::count(counts.runs),
            output::count(counts.left_out),
        ),
    );
    line("enforcer", status.enforcer.clone());
    for interface in &status.interfaces {
        let why = match interface.why.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        line(
            "interface",
            format!("{}: {}{why}", interface.name, interface.mode),
        );
    }
    for total in &status.packets {
        line(
            "packets",
            format!("{}: {}", total.outcome, output::count(total.packets)),
        );
    }
    text
}
