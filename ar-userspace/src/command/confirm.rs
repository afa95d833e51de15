//! `arfw confirm`: makes changes last that would be taken back.

use std::fmt::Write as _;
use std::time::Duration;

use super::run::on_runtime;
use super::{Directories, Exit, output, unban};
use crate::control::{self, view};
use crate::offender::Offender;

pub(super) fn run(
    directories: &Directories,
    addresses: &[Offender],
    json: bool,
) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let mut confirmed: Vec<view::Confirmed> = Vec::new();
    let everyone = addresses.is_empty().then_some(view::Confirm::All);
    let orders = unban::chunks(addresses).map(view::Confirm::Addresses);
    for order in everyone.into_iter().chain(orders) {
        let answer = on_runtime(control::post(&socket, control::CONFIRM, &order));
        let answer: Vec<view::Confirmed> = answer.map_err(unban::nothing_changed)?;
        confirmed.extend(answer);
    }
    if json {
        output::json(&confirmed)?;
    } else {
        output::text(&render(&confirmed))?;
    }
    Ok(exit(&confirmed))
}

fn exit(confirmed: &[view::Confirmed]) -> Exit {
    let is_done = |one: &view::Confirmed| {
        let mut changes = one.changes.iter();
        !one.changes.is_empty() && changes.all(|change| change.cause.is_none())
    };
    if !confirmed.is_empty() && confirmed.iter().all(is_done) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

fn render(confirmed: &[view::Confirmed]) -> String {
    if confirmed.is_empty() {
        return "nothing waits to be confirmed; `arfw status` shows what does\n".to_owned();
    }
    let mut text = String::new();
    for view::Confirmed { address, changes } in confirmed {
        let changes = changes.iter().map(|change| {
            let (word, executable) = (word(change.change), &change.executable);
            match &change.cause {
                None => format!("{word} confirmed ({executable})"),
                Some(cause) => format!("{word} not confirmed ({executable}): {cause}"),
            }
        });
        let told = match changes.collect::<Vec<_>>().join(", ") {
            told if told.is_empty() => "nothing waits to be confirmed".to_owned(),
            told => told,
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}: {told}");
    }
    text
}

pub(super) fn word(change: view::Provisional) -> &'static str {
    match change {
        view::Provisional::Ban => "ban",
        view::Provisional::Unban => "unban",
    }
}

/// What follows on a change that has to be confirmed, behind what became of it.
pub(super) fn taken_back(address: &str, confirm: Option<&view::Deadline>) -> String {
    confirm.map_or_else(String::new, |confirm| {
        format!(
            "; taken back in {}, at {}, unless `arfw confirm {address}` follows",
            left(confirm),
            confirm.at
        )
    })
}

/// The time left, to the second.
pub(super) fn left(confirm: &view::Deadline) -> String {
    let left = Duration::try_from_secs_f64(confirm.seconds_left.round());
    output::duration(left.unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(address: &str, changes: &[(view::Provisional, Option<&str>)]) -> view::Confirmed {
        let change = |&(change, cause): &(view::Provisional, Option<&str>)| view::ConfirmedChange {
            change,
            executable: "manual".to_owned(),
            cause: cause.map(str::to_owned),
        };
        view::Confirmed {
            address: address.to_owned(),
            changes: changes.iter().map(change).collect(),
        }
    }

    fn check(confirmed: &[view::Confirmed], expected: (Exit, &str)) {
        assert_eq!((exit(confirmed), render(confirmed).as_str()), expected);
    }

    #[test]
    fn what_was_confirmed_is_told_and_that_nothing_waits_is_a_failure() {
        use view::Provisional::{Ban, Unban};
        let both = confirmed("198.51.100.7", &[(Ban, None), (Unban, None)]);
        check(
            std::slice::from_ref(&both),
            (
                Exit::Done,
                "198.51.100.7: ban confirmed (manual), unban confirmed (manual)\n",
            ),
        );
        check(
            &[both, confirmed("2001:db8::7", &[])],
            (
                Exit::Failed,
                "198.51.100.7: ban confirmed (manual), unban confirmed (manual)\n\
                 2001:db8::7: nothing waits to be confirmed\n",
            ),
        );
        check(
            &[confirmed("198.51.100.7", &[(Ban, Some("no room"))])],
            (
                Exit::Failed,
                "198.51.100.7: ban not confirmed (manual): no room\n",
            ),
        );
        check(
            &[],
            (
                Exit::Failed,
                "nothing waits to be confirmed; `arfw status` shows what does\n",
            ),
        );
    }
}
