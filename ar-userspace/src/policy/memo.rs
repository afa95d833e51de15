//! Which sections matched the last alert of a rule: a flood is of few rules, and alerts of one rule have the same groups.
//!
//! What matches depends on level, rule and groups alone (AR-MATCH), and all three are compared, so that nothing but time
//! depends on what is known. Memory is bounded: [`ALERTS`] of them, [`MOST`] bytes of groups and a number a section each.

use super::index::Index;
use crate::alert::{Alert, Group};

/// Alerts that are known at most. The rules of OSSEC and Wazuh are numbered in rows, so that few of one host push each
/// other out.
const ALERTS: usize = 256;

/// Bytes of the groups of one that is known, at most.
const MOST: usize = 512;

/// The last alert of each rule, as far as matching looks at it.
#[derive(Debug)]
pub(super) struct Memo(Vec<Known>);

#[derive(Clone, Debug, Default)]
struct Known {
    rule_id: Option<u32>,
    /// 0 matches nothing, and stands for none.
    level: u8,
    /// Each with a comma behind it.
    groups: String,
    /// Of the responses that match, as the index has them.
    places: Vec<usize>,
}

impl Default for Memo {
    fn default() -> Self {
        Self(vec![Known::default(); ALERTS])
    }
}

impl Memo {
    /// What [`Index::matching`] gives.
    pub(super) fn matching(&mut self, alert: &Alert<'_>, index: &Index) -> &[usize] {
        let known = &mut self.0[alert.rule_id.unwrap_or(0) as usize % ALERTS];
        if !known.is_like(alert) {
            known.take(alert, index.matching(alert));
        }
        &known.places
    }
}

impl Known {
    fn is_like(&self, alert: &Alert<'_>) -> bool {
        let mut rest = Some(self.groups.as_bytes());
        for group in &alert.groups {
            rest = rest
                .and_then(|rest| group.strip_from(rest))
                .and_then(|rest| rest.strip_prefix(b","));
        }
        self.level != 0
            && self.level == alert.level
            && self.rule_id == alert.rule_id
            && rest.is_some_and(<[u8]>::is_empty)
    }

    fn take(&mut self, alert: &Alert<'_>, places: Vec<usize>) {
        let size: usize = alert.groups.iter().map(Group::size).sum();
        self.level = if size <= MOST { alert.level } else { 0 };
        self.rule_id = alert.rule_id;
        self.places = places;
        self.groups.clear();
        if self.level != 0 {
            for group in &alert.groups {
                group.push_to(&mut self.groups);
                self.groups.push(',');
            }
        }
    }
}
