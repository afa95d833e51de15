//! `arfw unban`: ends bans before their time.

use std::fmt::Write as _;

use super::run::on_runtime;
use super::{Directories, Exit, output};
use crate::control::{self, Unreachable, view};
use crate::enforcer::xdp;
use crate::offender::Offender;

/// Addresses in one request: some 45 KB at most.
const AT_ONCE: usize = 1_000;

pub(super) fn run(
    directories: &Directories,
    addresses: &[Offender],
    json: bool,
) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let mut unbanned: Vec<view::Unbanned> = Vec::new();
    let all = addresses;
    for addresses in chunks(all) {
        let order = view::Addresses { addresses };
        let answer = on_runtime(control::post(&socket, control::UNBAN, &order));
        match answer {
            Ok(answer) => {
                let answer: Vec<view::Unbanned> = answer;
                unbanned.extend(answer);
            }
            Err(error) if error.is::<Unreachable>() && unbanned.is_empty() => {
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
        !one.released.is_empty()
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
    for view::Unbanned { address, released } in unbanned {
        let told = match released.as_slice() {
            [] => "was not banned".to_owned(),
            released => releases(released),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}: {told}");
    }
    text
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
}
