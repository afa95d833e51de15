//! Two configurations side by side: who would be banned by one and not by the other.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::report::{self, Summary};
use super::tally::{Past, Tally};
use crate::command::output;
use crate::diagnostic::visible;
use crate::offender::Offender;

/// Offenders of each side that people are shown; JSON has them all.
const ROWS: usize = 20;

/// What differs.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayDifference")]
pub(in crate::command) struct Difference {
    /// Whom only the first one bans.
    only_first: Vec<Banned>,
    /// Whom only the second one bans.
    only_second: Vec<Banned>,
    /// Whom both ban.
    both: Both,
}

/// Offenders that both ban, by who bans them longer.
#[derive(Default, Serialize, JsonSchema)]
#[schemars(rename = "ReplayBoth")]
struct Both {
    /// How many.
    offenders: usize,
    /// Those that the first one bans longer.
    longer_by_first: usize,
    /// Those that the second one bans longer.
    longer_by_second: usize,
}

/// An offender that only one of them bans.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReplayBanned")]
struct Banned {
    /// In canonical form.
    address: String,
    /// Bans.
    bans: u64,
    /// Offences.
    offences: u64,
    /// For how long in total; a ban for ever is not in it.
    seconds: f64,
    /// Whether it is banned for ever.
    for_ever: bool,
}

pub(super) fn difference(first: &Tally, second: &Tally) -> Difference {
    let mut both = Both::default();
    for (offender, past) in first.banned() {
        let Some(other) = banned_by(second, *offender) else {
            continue;
        };
        let rank = |past: &Past| (past.is_for_ever(), past.banned);
        both.offenders += 1;
        both.longer_by_first += usize::from(rank(past) > rank(other));
        both.longer_by_second += usize::from(rank(past) < rank(other));
    }
    Difference {
        only_first: only(first, second),
        only_second: only(second, first),
        both,
    }
}

fn banned_by(tally: &Tally, offender: Offender) -> Option<&Past> {
    let past = tally.offenders.get(&offender);
    past.filter(|past| past.bans > 0)
}

/// Those that are banned longest first.
fn only(tally: &Tally, other: &Tally) -> Vec<Banned> {
    let mut only: Vec<(&Offender, &Past)> = tally
        .banned()
        .filter(|(offender, _)| banned_by(other, **offender).is_none())
        .collect();
    only.sort_by_key(|(offender, past)| {
        let longest_first = std::cmp::Reverse((past.is_for_ever(), past.banned));
        (longest_first, **offender)
    });
    only.into_iter()
        .map(|(offender, past)| Banned {
            address: offender.to_string(),
            bans: past.bans,
            offences: past.offences,
            seconds: past.banned.as_secs_f64(),
            for_ever: past.is_for_ever(),
        })
        .collect()
}

pub(super) fn text(summaries: [&Summary<'_>; 2], difference: &Difference) -> String {
    let names = summaries.map(|it| visible(it.config()));
    let mut table = output::table(&["", &names[0], &names[1]], &[1, 2]);
    let mut row = |label: &str, value: &dyn Fn(&Summary<'_>) -> String| {
        table.add_row([label.to_owned(), value(summaries[0]), value(summaries[1])]);
    };
    row("offenders banned", &|it| output::count(it.offenders as u64));
    row("bans", &|it| output::count(it.bans));
    row("moved", &|it| output::count(it.moved));
    row("refused alerts", &|it| output::count(it.refused()));
    row("banned for ever", &|it| {
        output::count(it.banned_for_ever as u64)
    });
    row("banned in total", &|it| report::seconds(it.banned_seconds));
    let mut text = report::trimmed(&table.to_string());
    let both = &difference.both;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "\nby both: {} offenders; longer by {}: {}, longer by {}: {}",
        both.offenders, names[0], both.longer_by_first, names[1], both.longer_by_second
    );
    for (name, only) in names
        .iter()
        .zip([&difference.only_first, &difference.only_second])
    {
        let total: f64 = only.iter().map(|it| it.seconds).sum();
        let for_ever = only.iter().filter(|it| it.for_ever).count();
        let _ = writeln!(
            text,
            "\nonly by {name}: {} offenders, {} in total, {for_ever} for ever",
            only.len(),
            report::seconds(total)
        );
        for banned in only.iter().take(ROWS) {
            let length = match banned.for_ever {
                true => "for ever".to_owned(),
                false => report::seconds(banned.seconds),
            };
            let (address, bans) = (&banned.address, banned.bans);
            let _ = writeln!(text, "  {address:<15}  {length}, {bans} bans");
        }
        if only.len() > ROWS {
            let more = only.len() - ROWS;
            let _ = writeln!(text, "  and {more} more, which --json tells");
        }
    }
    text
}
