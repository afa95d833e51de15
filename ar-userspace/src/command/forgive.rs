//! `arfw forgive`: clears counters of offences (AR-TIME-8).

use std::fmt::Write as _;

use super::run::on_runtime;
use super::{Directories, Exit, output, unban};
use crate::control::{self, view};
use crate::offender::Offender;

pub(super) fn run(
    directories: &Directories,
    addresses: &[Offender],
    all: bool,
    json: bool,
) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let mut forgiven = view::Forgiven {
        counters: 0,
        addresses: Vec::new(),
    };
    let everyone = all.then_some(view::Forgive::All);
    let orders = unban::chunks(addresses).map(view::Forgive::Addresses);
    for order in everyone.into_iter().chain(orders) {
        let answer = on_runtime(control::post(&socket, control::FORGIVE, &order));
        let answer: view::Forgiven = answer.map_err(unban::nothing_changed)?;
        forgiven.counters += answer.counters;
        forgiven.addresses.extend(answer.addresses);
    }
    if json {
        output::json(&forgiven)?;
    } else {
        output::text(&render(&forgiven))?;
    }
    Ok(exit(&forgiven))
}

fn exit(forgiven: &view::Forgiven) -> Exit {
    let mut addresses = forgiven.addresses.iter();
    if addresses.any(|address| address.counters.is_empty()) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn render(forgiven: &view::Forgiven) -> String {
    if forgiven.addresses.is_empty() {
        let counters = u64::try_from(forgiven.counters).unwrap_or(u64::MAX);
        return format!("{} counters cleared\n", output::count(counters));
    }
    let mut text = String::new();
    for view::ForgivenAddress { address, counters } in &forgiven.addresses {
        let counter = |counter: &view::Counter| {
            let offences = match counter.offences {
                1 => "1 offence".to_owned(),
                many => format!("{many} offences"),
            };
            format!("{} had {offences}", counter.executable)
        };
        let told: Vec<String> = counters.iter().map(counter).collect();
        let told = match told.as_slice() {
            [] => "had no offence".to_owned(),
            told => format!("{}, forgotten", told.join(", ")),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{address}: {told}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgiven(addresses: &[(&str, &[(&str, u32)])]) -> view::Forgiven {
        let counter = |&(name, offences): &(&str, u32)| view::Counter {
            executable: name.to_owned(),
            offences,
        };
        let address = |(address, counters): &(&str, &[(&str, u32)])| view::ForgivenAddress {
            address: (*address).to_owned(),
            counters: counters.iter().map(counter).collect(),
        };
        view::Forgiven {
            counters: 1_234,
            addresses: addresses.iter().map(address).collect(),
        }
    }

    fn check(forgiven: &view::Forgiven, expected: (Exit, &str)) {
        assert_eq!((exit(forgiven), render(forgiven).as_str()), expected);
    }

    #[test]
    fn each_address_tells_what_was_forgotten() {
        check(
            &forgiven(&[("198.51.100.7", &[("deny", 1), ("firewall-drop", 3)])]),
            (
                Exit::Done,
                "198.51.100.7: deny had 1 offence, firewall-drop had 3 offences, forgotten\n",
            ),
        );
        check(
            &forgiven(&[("198.51.100.7", &[]), ("::7", &[("deny", 2)])]),
            (
                Exit::Failed,
                "198.51.100.7: had no offence\n::7: deny had 2 offences, forgotten\n",
            ),
        );
        check(&forgiven(&[]), (Exit::Done, "1,234 counters cleared\n"));
    }
}
