//! `arfw unban`: ends bans before their time.

use std::fmt::Write as _;
use std::time::Duration;

use super::run::on_runtime;
use super::{Directories, Exit, confirm, output};
use crate::control::{self, Unreachable, view};
use crate::offender::Offender;

/// Addresses in one request: some 45 KB at most.
const AT_ONCE: usize = 1_000;

pub(super) fn run(
    directories: &Directories,
    addresses: &[Offender],
    confirm: Option<Duration>,
    json: bool,
) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let mut unbanned: Vec<view::Unbanned> = Vec::new();
    for addresses in chunks(addresses) {
        let order = view::Addresses {
            addresses,
            confirm_seconds: confirm.map(|within| within.as_secs_f64()),
        };
        let answer = on_runtime(control::post(&socket, control::UNBAN, &order));
        let answer: Vec<view::Unbanned> = answer.map_err(nothing_changed)?;
        unbanned.extend(answer);
    }
    if json {
        output::json(&unbanned)?;
    } else {
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
    for view::Unbanned {
        address,
        released,
        confirm,
    } in unbanned
    {
        let told = match released.as_slice() {
            [] => "was not banned".to_owned(),
            released => releases(released),
        };
        let waits = confirm::taken_back(address, confirm.as_ref());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}: {told}{waits}");
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
            confirm: None,
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
