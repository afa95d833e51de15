//! What was decided about the alerts that came last, for whoever asks why somebody is banned, or is not.
//!
//! Of each alert that names an offender a few facts are kept, enough to explain it again to every section. Memory is
//! bounded, and nothing is looked up but one row: a flood of alerts costs each of them the same as the first.
//!
//! An offender's row holds [`WAYS`] alerts and is shared with a few others; the alert that is oldest there goes. One
//! that is like an earlier one (same offender, rule and outcome) takes its place and counts it. What matched a section is
//! kept apart, so that no crowd of alerts that concern nobody pushes it out.

mod kept;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;

use crate::alert::Alert;
use crate::offender::{Offender, Prefix};
use crate::policy::Refusal;
use crate::time::Moment;

pub use kept::{Act, Deed, Kept, Outcome};

/// Alerts of one row.
pub const WAYS: usize = 8;

/// Rows of those that matched, and as many of the others.
const ROWS: usize = 1024;

/// Whom an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whom<'a> {
    /// An address.
    Offender(Offender),
    /// What an alert has in an address's place, and is none.
    Text(&'a str),
}

/// The alerts that came last.
#[derive(Debug)]
pub struct Recent {
    /// So that nobody outside can tell who shares a row with whom.
    hashes: RandomState,
    matched: Table,
    unmatched: Table,
    noted: u64,
}

impl Recent {
    /// Alerts that are kept at most, of each of the two kinds.
    pub const MOST: usize = ROWS * WAYS;

    /// None yet.
    #[must_use]
    pub fn new(hashes: RandomState) -> Self {
        Self {
            hashes,
            matched: Table::default(),
            unmatched: Table::default(),
            noted: 0,
        }
    }

    /// An alert that concerns no section.
    pub fn unmatched(&mut self, alert: &Alert<'_>, now: Moment) {
        self.note(alert, now, Outcome::Unmatched);
    }

    /// An alert that no section may act on.
    pub fn refused(&mut self, alert: &Alert<'_>, now: Moment, refusal: &Refusal) {
        let text = refusal.to_string().into();
        let word = refusal.word();
        self.note(alert, now, Outcome::Refused { word, text });
    }

    /// An alert that had been handled before.
    pub fn repeated(&mut self, alert: &Alert<'_>, now: Moment) {
        self.note(alert, now, Outcome::Repeated);
    }

    /// An alert for which sections fired; what came of each.
    pub fn acted(&mut self, alert: &Alert<'_>, now: Moment, acts: Vec<Act>) {
        self.note(alert, now, Outcome::Fired(acts));
    }

    /// What is kept of one offender, what was read last first.
    #[must_use]
    pub fn of(&self, whom: Whom<'_>) -> Vec<&Kept> {
        let row = self.row(whom);
        let found = [&self.matched, &self.unmatched].into_iter();
        let mut found: Vec<&Kept> = found
            .flat_map(|table| table.row(row))
            .filter(|kept| kept.is_about(whom))
            .collect();
        found.sort_by_key(|kept| std::cmp::Reverse(kept.number));
        found
    }

    /// What is kept of the offenders of a network, what was read last first. Looks at everything.
    #[must_use]
    pub fn within(&self, network: Prefix) -> Vec<&Kept> {
        let all = self.matched.all().chain(self.unmatched.all());
        let mut found: Vec<&Kept> = all.filter(|kept| kept.is_within(network)).collect();
        found.sort_by_key(|kept| std::cmp::Reverse(kept.number));
        found
    }

    fn note(&mut self, alert: &Alert<'_>, now: Moment, outcome: Outcome) {
        let Some(received) = &alert.offender else {
            return;
        };
        let whom = match received.text.parse() {
            Ok(offender) => Whom::Offender(offender),
            Err(_) => Whom::Text(kept::offender_text(&received.text)),
        };
        let hash = self.hashes.hash_one(whom);
        let row = row(hash);
        self.noted += 1;
        let table = match outcome {
            Outcome::Unmatched => &mut self.unmatched,
            _ => &mut self.matched,
        };
        // Who shares the tag of another is told apart all the same.
        let rule = u64::from(alert.rule_id.map_or(0, |rule| rule ^ 1 << 31));
        let tag = hash ^ (rule << 8 | u64::from(outcome.kind()));
        let kept = table.place(row, tag, self.noted);
        if !kept.is_like(whom, alert, &outcome) {
            kept.begin(whom);
        }
        kept.take(alert, now, self.noted, outcome);
    }

    fn row(&self, whom: Whom<'_>) -> usize {
        row(self.hashes.hash_one(whom))
    }
}

fn row(hash: u64) -> usize {
    // Rows are a power of two. The upper half, since a tag has its rule in the lower.
    usize::try_from((hash >> 32) % ROWS as u64).unwrap_or(0)
}

/// What is compared of a row, in two cache lines.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    tags: [u64; WAYS],
    /// Number of the alert; 0 for a free place.
    noted: [u64; WAYS],
}

/// Rows of alerts. Takes memory as it fills.
#[derive(Debug)]
struct Table {
    rows: Vec<Row>,
    kept: Vec<Option<Box<Kept>>>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            rows: vec![Row::default(); ROWS],
            kept: std::iter::repeat_with(|| None).take(ROWS * WAYS).collect(),
        }
    }
}

impl Table {
    /// The place of what has this tag, else that of the oldest of the row.
    fn place(&mut self, row: usize, tag: u64, number: u64) -> &mut Kept {
        let Row { tags, noted } = &mut self.rows[row];
        let is_same = |way: &usize| tags[*way] == tag && noted[*way] > 0;
        let same = (0..WAYS).find(is_same);
        let oldest = || (0..WAYS).min_by_key(|&way| noted[way]);
        let way = same.or_else(oldest).unwrap_or(0);
        tags[way] = tag;
        noted[way] = number;
        self.kept[row * WAYS + way].get_or_insert_default()
    }

    fn row(&self, row: usize) -> impl Iterator<Item = &Kept> {
        let places = &self.kept[row * WAYS..][..WAYS];
        places.iter().flatten().map(|kept| &**kept)
    }

    fn all(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().flatten().map(|kept| &**kept)
    }
}
