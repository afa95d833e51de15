//! `arfw list`: who is banned. Asks the daemon; without one, the pinned maps and the nftables table. And who is quiet, which
//! only the daemon knows.

use std::cmp::Reverse;
use std::time::Duration;

use super::colours::{Colours, Shade};
use super::{Directories, Exit, output};
use crate::control::{self, Unreachable, view};
use crate::daemon::view::enforced_ban;
use crate::enforcer::{Enforced, nftables, xdp};
use crate::{clock, command::run::on_runtime};

pub(super) fn run(directories: &Directories, json: bool) -> anyhow::Result<Exit> {
    let asked = on_runtime(control::get::<Vec<view::Ban>>(
        &directories.socket(),
        control::BANS,
    ));
    let (bans, daemon) = match asked {
        Ok(bans) => (bans, true),
        Err(error) if error.is::<Unreachable>() => (from_kernel(directories, error)?, false),
        Err(error) => return Err(error),
    };
    if json {
        output::json(&bans)?;
        return Ok(Exit::Done);
    }
    if !daemon {
        output::error_text("the daemon does not run; this is what the kernel holds by itself\n");
    }
    output::text(&render(&bans, Colours::answers()))?;
    Ok(Exit::Done)
}

/// `arfw list --quiet`.
pub(super) fn quiet(directories: &Directories, json: bool) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let quiet: Vec<view::Quiet> = on_runtime(control::get(&socket, control::QUIET))?;
    match json {
        true => output::json(&quiet)?,
        false => output::text(&render_quiet(&quiet))?,
    }
    Ok(Exit::Done)
}

fn render_quiet(quiet: &[view::Quiet]) -> String {
    if quiet.is_empty() {
        return "nobody is quiet\n".to_owned();
    }
    let mut table = output::table(&["ADDRESS", "LEFT", "UNTIL", "USER", "REASON"], &[1, 3]);
    for it in quiet {
        let left = Duration::try_from_secs_f64(it.seconds_left).unwrap_or(Duration::MAX);
        table.add_row([
            it.address.clone(),
            output::duration(left),
            it.until.clone(),
            it.by_hand.uid.to_string(),
            match it.by_hand.reason.as_str() {
                "" => "-".to_owned(),
                reason => reason.escape_debug().to_string(),
            },
        ]);
    }
    let lines = table.lines();
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

fn from_kernel(
    directories: &Directories,
    not_running: anyhow::Error,
) -> anyhow::Result<Vec<view::Ban>> {
    let clocks = clock::clocks();
    let clock = clock::kernel_clock();
    let maps = xdp::inspect(&directories.pin_dir, clock)?;
    let table = nftables::inspect(&directories.nft_table, clock)?;
    if maps.is_none() && table.is_none() {
        return Err(not_running);
    }
    let mut enforced: Vec<Enforced> = [maps, table].into_iter().flatten().flatten().collect();
    // Of an offender that both hold, what stands longer.
    enforced.sort_by_key(|ban| (ban.offender, Reverse(ban.standing.until)));
    enforced.dedup_by_key(|ban| ban.offender);
    Ok(enforced
        .iter()
        .map(|ban| enforced_ban(ban, clocks))
        .collect())
}

fn render(bans: &[view::Ban], colours: Colours) -> String {
    if bans.is_empty() {
        return "nobody is banned\n".to_owned();
    }
    let mut table = output::table(
        &["ADDRESS", "LEFT", "DROPPED", "RULE", "OFFENCES", "BY"],
        &[2, 3, 4],
    );
    let shadows = bans.iter().filter(|ban| ban.shadow).count();
    for ban in bans {
        let left = ban.seconds_left.map_or("permanent".to_owned(), |seconds| {
            output::duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
        });
        let offences = ban.by.iter().map(|by| by.offences).max();
        let by: Vec<String> = ban.by.iter().map(holder).collect();
        table.add_row([
            ban.address.clone(),
            left,
            match ban.shadow {
                true => format!("(shadow) {}", output::count(ban.packets)),
                false => output::count(ban.packets),
            },
            if ban.rule_id == 0 {
                "-".to_owned()
            } else {
                ban.rule_id.to_string()
            },
            offences.map_or("-".to_owned(), |offences| offences.to_string()),
            if by.is_empty() {
                "-".to_owned()
            } else {
                by.join(", ")
            },
        ]);
    }
    let shadow = |row: usize| {
        let is_shadow = bans.get(row).is_some_and(|ban| ban.shadow);
        is_shadow.then(|| (Shade::Careful, "(shadow)".to_owned()))
    };
    let lines = output::rows(&table, colours, shadow);
    let note = match shadows {
        0 => "",
        all if all == bans.len() => {
            "shadow: nothing of this is dropped, packets are only counted\n"
        }
        _ => "(shadow): packets are only counted, not dropped\n",
    };
    lines + note
}

/// Who holds a ban; for one by hand, also why.
fn holder(by: &view::Holder) -> String {
    match &by.by_hand {
        Some(hand) if !hand.reason.is_empty() => {
            format!("{} ({})", by.executable, hand.reason.escape_debug())
        }
        _ => by.executable.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(address: &str, seconds_left: Option<f64>, rule_id: u32, by: &[&str]) -> view::Ban {
        view::Ban {
            address: address.to_owned(),
            seconds_left,
            expires_at: None,
            banned_at: "2026-11-24T06:00:00Z".to_owned(),
            rule_id,
            packets: 1_234,
            bytes: 80_000,
            shadow: false,
            by: by
                .iter()
                .map(|name| view::Holder {
                    executable: (*name).to_owned(),
                    offences: 2,
                    response: Some(0),
                    alert_id: None,
                    by_hand: None,
                })
                .collect(),
        }
    }

    #[test]
    fn a_row_of_who_is_quiet_tells_until_when_by_whom_and_why() {
        let quiet = |address: &str, reason: &str| view::Quiet {
            address: address.to_owned(),
            since: "2026-11-24T06:00:00Z".to_owned(),
            until: "2026-11-24T07:00:00Z".to_owned(),
            seconds_left: 3_599.2,
            by_hand: view::ByHand {
                uid: 1000,
                pid: Some(7),
                reason: reason.to_owned(),
            },
        };
        let some = [
            quiet("198.51.100.7", "a\u{1b}[2J"),
            quiet("2001:db8::/32", ""),
        ];
        assert_eq!(
            render_quiet(&some),
            "\
ADDRESS           LEFT  UNTIL                 USER  REASON
198.51.100.7   59m 59s  2026-11-24T07:00:00Z  1000  a\\u{1b}[2J
2001:db8::/32  59m 59s  2026-11-24T07:00:00Z  1000  -
"
        );
        assert_eq!(render_quiet(&[]), "nobody is quiet\n");
    }

    #[test]
    fn a_row_tells_address_time_left_packets_and_rule() {
        let bans = [
            ban("198.51.100.9", Some(598.9), 5763, &["firewall-drop"]),
            ban("2001:db8::1", None, 0, &[]),
        ];
        assert_eq!(
            render(&bans, Colours::PLAIN),
            "\
ADDRESS       LEFT       DROPPED  RULE  OFFENCES  BY
198.51.100.9  9m 58s       1,234  5763         2  firewall-drop
2001:db8::1   permanent    1,234     -         -  -
"
        );
        assert_eq!(render(&[], Colours::PLAIN), "nobody is banned\n");

        let mut bans = bans;
        bans[0].shadow = true;
        bans[0].by.clear();
        assert_eq!(
            render(&bans, Colours::PLAIN),
            "\
ADDRESS       LEFT              DROPPED  RULE  OFFENCES  BY
198.51.100.9  9m 58s     (shadow) 1,234  5763         -  -
2001:db8::1   permanent           1,234     -         -  -
(shadow): packets are only counted, not dropped
"
        );
    }
}
