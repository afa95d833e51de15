//! `arfw status`: how the daemon stands.

use std::fmt::Write as _;
use std::time::Duration;

use super::colours::{Colours, Shade};
use super::run::on_runtime;
use super::{Directories, Exit, confirm, output};
use crate::control::{self, view};

pub(super) fn run(directories: &Directories, json: bool) -> anyhow::Result<Exit> {
    let status: view::Status = on_runtime(control::get(&directories.socket(), control::STATUS))?;
    if json {
        output::json(&status)?;
    } else {
        output::text(&render(&status, Colours::answers()))?;
    }
    Ok(Exit::Done)
}

fn render(status: &view::Status, colours: Colours) -> String {
    let bad = |text: &str| colours.text(Shade::Bad, text);
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
            false => {
                let off = bad("ACTIVE RESPONSE IS SWITCHED OFF THERE");
                format!("{}, {off}", status.config)
            }
        },
    );
    let none = || "none; every setting has its default or is a flag".to_owned();
    line("settings", status.settings.clone().unwrap_or_else(none));
    line(
        "alerts",
        match status.source.missing {
            true => format!("{}, {}", status.alerts, bad("WHICH IS NOT THERE")),
            false => status.alerts.clone(),
        },
    );
    line(
        "",
        format!(
            "{} bytes behind; reading waited {} times for a full queue; {} counters forgotten for want of room",
            output::count(status.load.behind_bytes),
            output::count(status.load.queue_full),
            output::count(status.load.forgotten),
        ),
    );
    let counts = &status.counts;
    line(
        "",
        format!(
            "{} lines, {} malformed, {} too long, {} matched, {} refused, {} repeated, {} late, {} for other hosts",
            output::count(counts.lines),
            output::count(counts.malformed),
            output::count(counts.too_long),
            output::count(counts.matched),
            output::count(counts.refused),
            output::count(counts.repeated),
            output::count(counts.late),
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
    for pending in &status.pending {
        line(
            "pending",
            format!(
                "{} of {} ({}) by uid {}: taken back in {} unless `arfw confirm` follows",
                confirm::word(pending.change),
                pending.address,
                pending.executable,
                pending.by.uid,
                confirm::left(&pending.confirm),
            ),
        );
    }
    if counts.sockets_destroyed + counts.sockets_failed > 0 {
        line(
            "",
            format!(
                "{} sockets destroyed, {} failed",
                output::count(counts.sockets_destroyed),
                output::count(counts.sockets_failed),
            ),
        );
    }
    if let Some(cause) = &status.source.trouble {
        line("ALERTS", format!("{}: {cause}", bad("CANNOT BE READ")));
    }
    if status.source.compressed > 0 {
        line(
            "ALERTS",
            format!(
                "{}: {} rotated files were compressed before they were read",
                bad("LOST"),
                output::count(status.source.compressed)
            ),
        );
    }
    let drift = &status.drift;
    if *drift != view::Drift::default() {
        line(
            "drift",
            format!(
                "{} restored, {} corrected, {} adopted, {} refused, {} swept",
                output::count(drift.restored),
                output::count(drift.corrected),
                output::count(drift.adopted),
                output::count(drift.refused),
                output::count(drift.swept),
            ),
        );
    }
    if let Some(trouble) = &status.store.trouble {
        line(
            "STORE",
            format!(
                "{} since {}, {} keys wait: {}",
                bad("CANNOT BE WRITTEN"),
                trouble.since.as_deref().unwrap_or("the start"),
                output::count(trouble.waiting as u64),
                trouble.cause
            ),
        );
    }
    let shadow = &status.shadow;
    let numbers = |rules: &[u32]| rules.iter().map(u32::to_string).collect::<Vec<_>>();
    if shadow.all {
        let told = colours.text(Shade::Careful, "nothing is dropped");
        line("shadow mode:", told);
    } else if *shadow != view::Shadow::default() {
        line(
            "shadow mode:",
            format!(
                "commands {}, rules {}: their packets are counted and not dropped",
                output::listed(&shadow.commands),
                output::listed(&numbers(&shadow.rules)),
            ),
        );
    }
    line("enforcer", status.enforcer.clone());
    for interface in &status.interfaces {
        let why = match interface.why.as_str() {
            "" => String::new(),
            why => format!(" ({why})"),
        };
        let since = interface.since.as_deref();
        let since = since.map_or_else(String::new, |since| format!(" since {since}"));
        line(
            "interface",
            format!(
                "{}: {}{since}{why}",
                interface.name,
                mode(interface, colours)
            ),
        );
    }
    let seen: Vec<String> = status
        .packets
        .iter()
        .filter(|total| total.packets > 0)
        .map(|total| format!("{} {}", output::count(total.packets), total.outcome))
        .collect();
    if !status.packets.is_empty() {
        let none = || "none seen yet".to_owned();
        line(
            "packets",
            if seen.is_empty() {
                none()
            } else {
                seen.join(", ")
            },
        );
    }
    text
}

fn mode(interface: &view::Interface, colours: Colours) -> String {
    let shade = match interface.mode.as_str() {
        "none" => Shade::Bad,
        _ => Shade::Good,
    };
    colours.text(shade, &interface.mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_the_daemon_fits_one_screen() {
        let mut status = view::Status {
            version: "0.1.0".to_owned(),
            pid: 4711,
            uptime_seconds: 3_725.4,
            config: "/var/ossec/etc/ossec.conf".to_owned(),
            settings: Some("/etc/arfw/arfw.toml".to_owned()),
            shadow: view::Shadow::default(),
            enabled: true,
            responses: 3,
            alerts: "/var/ossec/logs/alerts/alerts.json".to_owned(),
            source: view::Source::default(),
            load: view::Load {
                behind_bytes: 5_300_000,
                queue_full: 12,
                forgotten: 3,
            },
            counts: view::Counts {
                lines: 1_234,
                matched: 7,
                bans: 3,
                ..view::Counts::default()
            },
            drift: view::Drift {
                restored: 1,
                swept: 2_000,
                ..view::Drift::default()
            },
            active: view::Active {
                v4: 2,
                v6: 1,
                room_v4: 131_072,
                room_v6: 131_072,
            },
            pending: Vec::new(),
            store: view::Store::default(),
            enforcer: "xdp".to_owned(),
            interfaces: vec![view::Interface {
                name: "eth0".to_owned(),
                mode: "generic".to_owned(),
                why: "no native mode: the driver does not support it".to_owned(),
                since: Some("2026-01-02T03:04:05Z".to_owned()),
            }],
            packets: vec![
                view::Total {
                    outcome: "clean".to_owned(),
                    packets: 52_000,
                    bytes: 4_000_000,
                },
                view::Total {
                    outcome: "shadow".to_owned(),
                    packets: 0,
                    bytes: 0,
                },
            ],
        };
        assert_eq!(
            render(&status, Colours::PLAIN),
            "\
arfw        0.1.0, process 4711, up 1h 2m 5s
config      /var/ossec/etc/ossec.conf, 3 responses
settings    /etc/arfw/arfw.toml
alerts      /var/ossec/logs/alerts/alerts.json
            5,300,000 bytes behind; reading waited 12 times for a full queue; 3 counters forgotten for want of room
            1,234 lines, 0 malformed, 0 too long, 7 matched, 0 refused, 0 repeated, 0 late, 0 for other hosts
banned      2 IPv4 of 131,072, 1 IPv6 of 131,072
            3 bans, 0 moved, 0 ended; 0 over a limit, 0 failed; 0 executables run, 0 left out
drift       1 restored, 0 corrected, 0 adopted, 0 refused, 2,000 swept
enforcer    xdp
interface   eth0: generic since 2026-01-02T03:04:05Z (no native mode: the driver does not support it)
packets     52,000 clean
"
        );
        status.counts.sockets_destroyed = 1_003;
        status.pending = vec![view::Pending {
            address: "203.0.113.7".to_owned(),
            change: view::Provisional::Ban,
            executable: "manual".to_owned(),
            confirm: view::Deadline {
                seconds_left: 42.4,
                at: "2026-01-02T03:04:05Z".to_owned(),
            },
            by: view::EndedBy { uid: 0, pid: None },
        }];
        status.source = view::Source {
            trouble: Some("Too many levels of symbolic links (os error 40)".to_owned()),
            missing: true,
            compressed: 2,
        };
        status.shadow.rules = vec![5712, 5763];
        assert!(render(&status, Colours::PLAIN).contains(
            "shadow mode: commands none, rules 5712 5763: their packets are counted and not dropped\n"
        ));
        status.shadow.all = true;
        let text = render(&status, Colours::PLAIN);
        for expected in [
            "pending     ban of 203.0.113.7 (manual) by uid 0: taken back in 42s unless `arfw confirm` follows\n",
            "            1,003 sockets destroyed, 0 failed\n",
            "alerts      /var/ossec/logs/alerts/alerts.json, WHICH IS NOT THERE\n",
            "shadow mode: nothing is dropped\n",
            "ALERTS      CANNOT BE READ: Too many levels of symbolic links (os error 40)\n",
            "ALERTS      LOST: 2 rotated files were compressed before they were read\n",
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
