//! From an alert to the responses that match it, at a cost that does not grow with their number (AR-MATCH).
//!
//! Only says which sections match. The offender is not looked at here.

use std::collections::BTreeMap;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous::NFA;

use super::asks_for_manager_by_number;
use super::groups::{OWN_LOG, needle, occurs};
use crate::alert::{Alert, Group};
use crate::config::Response;

/// The responses by what they ask for. A *place* is a position in the list of responses.
///
/// A response without a criterion stands nowhere in it, and so never matches (AR-MATCH-6).
#[derive(Debug)]
pub(super) struct Index {
    /// In order of level.
    levels: Vec<(u8, usize)>,
    rules: BTreeMap<u32, Vec<usize>>,
    groups: GroupIndex,
}

impl Index {
    pub(super) fn new(responses: &[Response]) -> Self {
        let usable = || {
            responses
                .iter()
                .enumerate()
                .filter(|(_, response)| !asks_for_manager_by_number(response))
        };
        let mut levels: Vec<_> = usable()
            .filter_map(|(place, response)| Some((response.level?, place)))
            .collect();
        levels.sort_unstable();
        let mut rules = BTreeMap::<u32, Vec<usize>>::new();
        for (place, response) in usable() {
            for rule in &response.rules_id {
                rules.entry(*rule).or_default().push(place);
            }
        }
        let alternatives = usable().flat_map(|(place, response)| {
            let group = response.rules_group.iter();
            group.flat_map(move |group| group.alternatives.iter().map(move |it| (&**it, place)))
        });
        Self {
            levels,
            rules,
            groups: GroupIndex::new(alternatives),
        }
    }

    /// The places of the responses that match, each once, in document order (AR-MATCH-1, AR-MATCH-7).
    pub(super) fn matching(&self, alert: &Alert<'_>) -> Vec<usize> {
        if alert.level == 0 {
            return Vec::new();
        }
        let reached = self
            .levels
            .partition_point(|(level, _)| *level <= alert.level);
        let by_level = self.levels.get(..reached).unwrap_or_default();
        let by_rule = alert.rule_id.and_then(|rule| self.rules.get(&rule));

        let mut places = Vec::new();
        let hits = self.groups.hits(&alert.groups);
        // The alternative of the own log is the first needle, and hits are in order.
        let is_own_log = hits.first() == Some(&0);
        if !is_own_log {
            places.extend(by_level.iter().map(|(_, place)| *place));
        }
        places.extend(by_rule.into_iter().flatten());
        for hit in hits {
            if let Some(needle) = self.groups.needles.get(hit)
                && (needle.names_own_log || !is_own_log)
            {
                places.extend(&needle.places);
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// One automaton over the alternatives of all responses.
#[derive(Debug)]
struct GroupIndex {
    automaton: NFA,
    start: StateID,
    /// Of the automaton's patterns, in their order. The first one is that of the own log.
    needles: Vec<Needle>,
}

#[derive(Debug)]
struct Needle {
    places: Vec<usize>,
    /// Whether it matches the group of the own log (AR-MATCH-9).
    names_own_log: bool,
}

impl GroupIndex {
    fn new<'c>(alternatives: impl Iterator<Item = (&'c str, usize)>) -> Self {
        let mut places = BTreeMap::<String, Vec<usize>>::new();
        for (alternative, place) in alternatives {
            let needle = needle(alternative).to_ascii_lowercase();
            places.entry(needle).or_default().push(place);
        }
        let own_log = places.remove(OWN_LOG).unwrap_or_default();
        let (mut patterns, mut needles) = (vec![OWN_LOG.to_owned()], Vec::new());
        needles.push(Needle {
            places: own_log,
            names_own_log: true,
        });
        for (pattern, places) in places {
            needles.push(Needle {
                places,
                names_own_log: occurs(&pattern, OWN_LOG),
            });
            patterns.push(pattern);
        }
        let automaton = NFA::builder()
            .ascii_case_insensitive(true)
            .prefilter(false)
            .build(&patterns)
            .expect("the alternatives are shorter than the two thousand million states allowed");
        let start = automaton
            .start_state(Anchored::No)
            .expect("an automaton of this kind searches from any place");
        Self {
            automaton,
            start,
            needles,
        }
    }

    /// The needles that occur in the text G of AR-MATCH-4, in order. G itself is never put together.
    fn hits(&self, groups: &[Group<'_>]) -> Vec<usize> {
        let mut hits = Vec::new();
        let mut state = self.step(self.start, b',', &mut hits);
        for group in groups {
            for byte in group.bytes() {
                state = self.step(state, byte, &mut hits);
            }
            state = self.step(state, b',', &mut hits);
        }
        hits.sort_unstable();
        hits.dedup();
        hits
    }

    fn step(&self, state: StateID, byte: u8, hits: &mut Vec<usize>) -> StateID {
        let state = self.automaton.next_state(Anchored::No, state, byte);
        if self.automaton.is_match(state) {
            let len = self.automaton.match_len(state);
            hits.extend((0..len).map(|at| self.automaton.match_pattern(state, at).as_usize()));
        }
        state
    }
}
