//! `arfw unban`: ends bans before their time, and has addresses be quiet.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use super::run::on_runtime;
use super::{Directories, Exit, confirm, output};
use crate::control::{self, Unreachable, view};
use crate::enforcer::xdp;
use crate::offender::Offender;

/// Addresses in one request: some 45 KB at most.
const AT_ONCE: usize = 1_000;

/// What is to follow.
#[derive(Debug, Args)]
pub(super) struct Quiet {
    /// Have them be quiet for so long, 30d at most: alerts about them ban nobody, run nothing on this host and count as no
    /// offence; 0 ends that. Also for who is not banned
    #[arg(long = "quiet", value_name = "TIME", value_parser = control::quiet_time, conflicts_with = "confirm")]
    lasts: Option<Duration>,
    /// Why, for `arfw list --quiet`, `arfw why` and the log
    #[arg(long, value_name = "TEXT", default_value = "", requires = "lasts")]
    reason: String,
}

pub(super) fn run(
    directories: &Directories,
    addresses: &[Offender],
    confirm: Option<Duration>,
    quiet: &Quiet,
    json: bool,
) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let mut unbanned: Vec<view::Unbanned> = Vec::new();
    let all = addresses;
    for addresses in chunks(all) {
        let order = view::UnbanOrder {
            addresses,
            confirm_seconds: confirm.map(|within| within.as_secs_f64()),
            quiet_seconds: quiet.lasts.map(|lasts| lasts.as_secs_f64()),
            reason: quiet.reason.clone(),
        };
        let answer = on_runtime(control::post(&socket, control::UNBAN, &order));
        match answer {
            Ok(answer) => {
                let answer: Vec<view::Unbanned> = answer;
                unbanned.extend(answer);
            }
            // What is to follow is a daemon's to do.
            Err(error)
                if error.is::<Unreachable>()
                    && unbanned.is_empty()
                    && confirm.is_none()
                    && quiet.lasts.is_none() =>
            {
                return without_daemon(directories, all, error, json);
            }
            Err(error) => return Err(nothing_changed(error)),
        }
    }
    if json {
        output::json(&unbanned)?;
    } else {
        output::text(&render(&unbanned))?;
    }
    Ok(exit(&unbanned))
}

/// Lets addresses in again by the pinned maps alone. Networks, and what runs by nftables, need the daemon.
fn without_daemon(
    directories: &Directories,
    addresses: &[Offender],
    not_running: anyhow::Error,
    json: bool,
) -> anyhow::Result<Exit> {
    if !addresses.iter().all(|address| address.is_host()) {
        return Err(nothing_changed(not_running));
    }
    let mut unbanned = Vec::new();
    for address in addresses {
        let Some(was_banned) = xdp::let_in(&directories.pin_dir, address.addr())? else {
            return Err(nothing_changed(not_running));
        };
        let ended = view::Release {
            executable: "kernel".to_owned(),
            state: view::ReleaseState::Ended,
            cause: None,
        };
        unbanned.push(view::Unbanned {
            address: address.to_string(),
            released: was_banned.then_some(ended).into_iter().collect(),
            confirm: None,
            quiet: None,
        });
    }
    if json {
        output::json(&unbanned)?;
    } else {
        output::error_text(
            "the daemon does not run; this ends what the kernel holds, and a daemon that starts makes it anew from its store\n",
        );
        output::text(&render(&unbanned))?;
    }
    Ok(exit(&unbanned))
}

/// The addresses in portions that fit into one request.
pub(super) fn chunks(addresses: &[Offender]) -> impl Iterator<Item = Vec<String>> {
    let texts = |chunk: &[Offender]| chunk.iter().map(ToString::to_string).collect();
    addresses.chunks(AT_ONCE).map(texts)
}

/// Says what to do when there is no daemon to obey an order.
pub(super) fn nothing_changed(error: anyhow::Error) -> anyhow::Error {
    if error.is::<Unreachable>() {
        error.context(
            "nothing was changed; start the daemon with `arfw run`, or let everyone go with `arfw stop --release`",
        )
    } else {
        error
    }
}

fn exit(unbanned: &[view::Unbanned]) -> Exit {
    let is_done = |one: &view::Unbanned| {
        let mut released = one.released.iter();
        let quiet = one.quiet.as_ref().map(|quiet| quiet.state);
        let ended = !one.released.is_empty() || quiet == Some(view::QuietState::Ended);
        ended
            && quiet != Some(view::QuietState::Refused)
            && released.all(|release| release.state != view::ReleaseState::Failed)
    };
    if unbanned.iter().all(is_done) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

pub(super) fn render(unbanned: &[view::Unbanned]) -> String {
    let mut text = String::new();
    for view::Unbanned {
        address,
        released,
        confirm,
        quiet,
    } in unbanned
    {
        let told = match released.as_slice() {
            [] => "was not banned".to_owned(),
            released => releases(released),
        };
        let waits = confirm::taken_back(address, confirm.as_ref());
        let quiet = quiet.as_ref().map_or(String::new(), quieted);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}: {told}{waits}{quiet}");
    }
    text
}

/// What became of the quiet time of one address.
fn quieted(quiet: &view::Quieted) -> String {
    let until = quiet.until.as_deref().unwrap_or("-");
    match quiet.state {
        view::QuietState::Begun => format!("; quiet until {until}"),
        view::QuietState::Moved => format!("; was quiet, and is until {until} from here on"),
        view::QuietState::Ended => "; quiet no more".to_owned(),
        view::QuietState::NotQuiet => "; was not quiet".to_owned(),
        view::QuietState::Refused => {
            format!("; not quiet: {}", quiet.cause.as_deref().unwrap_or("-"))
        }
    }
}

/// What became of the bans of one address.
pub(super) fn releases(released: &[view::Release]) -> String {
    let told = released.iter().map(|release| {
        let name = release.executable.as_str();
        match release.state {
            view::ReleaseState::Ended => format!("{name} ended"),
            view::ReleaseState::Reversing => format!("{name} is being run to reverse its ban"),
            view::ReleaseState::Failed => {
                format!("{name} failed: {}", release.cause.as_deref().unwrap_or("-"))
            }
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unbanned(address: &str, released: &[(&str, view::ReleaseState)]) -> view::Unbanned {
        let release = |&(name, state): &(&str, view::ReleaseState)| view::Release {
            executable: name.to_owned(),
            state,
            cause: (state == view::ReleaseState::Failed).then(|| "no map".to_owned()),
        };
        view::Unbanned {
            address: address.to_owned(),
            released: released.iter().map(release).collect(),
            confirm: None,
            quiet: None,
        }
    }

    fn check(unbanned: &[view::Unbanned], expected: (Exit, &str)) {
        assert_eq!((exit(unbanned), render(unbanned).as_str()), expected);
    }

    #[test]
    fn each_address_tells_what_became_of_its_bans() {
        use view::ReleaseState::{Ended, Failed, Reversing};
        let two = [("deny", Reversing), ("firewall-drop", Ended)];
        let done = unbanned("198.51.100.7", &two);
        check(
            std::slice::from_ref(&done),
            (
                Exit::Done,
                "198.51.100.7: deny is being run to reverse its ban, firewall-drop ended\n",
            ),
        );
        let free = unbanned("2001:db8::7", &[]);
        check(
            &[done, free],
            (
                Exit::Failed,
                "198.51.100.7: deny is being run to reverse its ban, firewall-drop ended\n\
                 2001:db8::7: was not banned\n",
            ),
        );
        let failed = unbanned("198.51.100.7", &[("firewall-drop", Failed)]);
        check(
            &[failed],
            (Exit::Failed, "198.51.100.7: firewall-drop failed: no map\n"),
        );
    }

    #[test]
    fn what_became_of_a_quiet_time_is_told_and_only_what_ended_is_done() {
        use view::QuietState::{Begun, Ended, Moved, NotQuiet, Refused};
        let ban: &[_] = &[("firewall-drop", view::ReleaseState::Ended)];
        for (released, state, expected) in [
            (
                ban,
                Begun,
                (Exit::Done, "firewall-drop ended; quiet until T"),
            ),
            (&[], Begun, (Exit::Failed, "was not banned; quiet until T")),
            (
                &[],
                Moved,
                (
                    Exit::Failed,
                    "was not banned; was quiet, and is until T from here on",
                ),
            ),
            (&[], Ended, (Exit::Done, "was not banned; quiet no more")),
            (
                ban,
                NotQuiet,
                (Exit::Done, "firewall-drop ended; was not quiet"),
            ),
            (
                &[],
                NotQuiet,
                (Exit::Failed, "was not banned; was not quiet"),
            ),
            (
                ban,
                Refused,
                (Exit::Failed, "firewall-drop ended; not quiet: full"),
            ),
        ] {
            let mut one = unbanned("198.51.100.7", released);
            one.quiet = Some(view::Quieted {
                state,
                until: matches!(state, Begun | Moved).then(|| "T".to_owned()),
                cause: (state == Refused).then(|| "full".to_owned()),
            });
            let (exit, text) = expected;
            check(&[one], (exit, &format!("198.51.100.7: {text}\n")));
        }
    }
}
