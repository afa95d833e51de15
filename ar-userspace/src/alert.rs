//! One raw record in; an [`Alert`] or a named reason out (AR-ALERT-1 to 5).
//!
//! Both shapes of alert are read, Wazuh's and OSSEC's. Only the fields that matter are taken; no tree of
//! the whole line is built. Whether an alert leads to anything is `policy`'s to say.

use std::borrow::Cow;

/// One line of `alerts.json`, borrowed from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert<'a> {
    /// The alert's own identifier.
    pub id: Option<Cow<'a, str>>,
    /// Identifier of the rule that fired.
    pub rule_id: Option<u32>,
    /// Level of that rule; 0 when missing, which fires nothing (AR-MATCH-8).
    pub level: u8,
    /// Groups and compliance tokens, trimmed, in the order of AR-ALERT-2.
    pub groups: Vec<Cow<'a, str>>,
    /// Number of the agent that produced it, as written; `None` for the manager's own.
    pub agent_id: Option<Cow<'a, str>>,
    /// The text that would be banned, and the field it came from (AR-OFF-1).
    pub offender: Option<OffenderText<'a>>,
    /// The destination user, which is checked for injected text (AR-OFF-3).
    pub dstuser: Option<Cow<'a, str>>,
}

/// An offender as an alert has it: text that an attacker may have shaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffenderText<'a> {
    /// The text as received.
    pub text: Cow<'a, str>,
    /// The field, as a path: `data.srcip`.
    pub field: &'static str,
}
