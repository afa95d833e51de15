//! Text of an `ossec.conf` in; a [`Config`] or diagnostics out (AR-CFG, AR-CMD, AR-WL).
//!
//! `raw` is the file as written, with spans; `resolved` is what it means. One error refuses the whole
//! text (AR-CFG-18). Nothing here opens a file.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::Diagnostic;

/// What a text means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// False when any section says `disabled` `yes`: then nothing ever fires (AR-CFG-6).
    pub enabled: bool,
    /// The usable responses, in document order.
    pub responses: Vec<Response>,
    /// Ban times of the second, third, ... offence; the last one stays (AR-TIME-5). Empty without a list.
    pub repeated_offenders: Vec<Duration>,
    /// Who is never banned.
    pub white_list: WhiteList,
}

/// One section that names a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Place among all `<active-response>` elements of the text, from 0.
    pub index: usize,
    /// Line of the text where the section begins, from 1.
    pub line: usize,
    /// Name of the command.
    pub command: String,
    /// What the command runs.
    pub executable: Executable,
    /// Arguments of the command, split at blanks (AR-CMD-3).
    pub extra_args: Vec<String>,
    /// Which hosts act.
    pub location: Location,
    /// Fires at this rule level and above, 1 to 16 (AR-MATCH-2).
    pub level: Option<u8>,
    /// Fires when one alternative matches the rule's groups (AR-MATCH-4). `None` without the element.
    pub rules_group: Option<RulesGroup>,
    /// Fires for these rules (AR-MATCH-3). Empty without the element.
    pub rules_id: BTreeSet<u32>,
    /// How long a first offence is banned; `None` for ever (AR-TIME-1, AR-TIME-2).
    pub timeout: Option<Duration>,
}

/// Base name of an executable: one half of a ban's key (AR-TIME-3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Executable(Arc<str>);

impl Executable {
    /// Takes the base name as it stands in the configuration.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The base name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an executable's bans are made and ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Enforcement {
    /// By the kernel, which also ends a ban by itself.
    Kernel,
    /// By running the executable, which has to be run again to end a ban (AR-WIRE-3).
    Program,
}

/// Which hosts a response acts on (AR-CFG-8, AR-ROUTE-1 to 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The agent that produced the alert; the manager for its own alerts.
    Local,
    /// The manager.
    Server,
    /// The agent of this identifier.
    DefinedAgent(AgentId),
    /// Every connected agent, never the manager.
    All,
}

/// An agent's number, padded to three digits (AR-CFG-9). `000` is the manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// Pads the number to three digits: `32` is `032`.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self(format!("{number:03}").into())
    }

    /// The digits, three or more.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The alternatives of a `rules_group` (AR-CFG-11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesGroup {
    /// Trimmed, not empty, as written; case is ignored when they are compared (AR-MATCH-5).
    pub alternatives: Vec<String>,
}

/// Who is never banned (AR-WL-1 to 7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhiteList {
    /// The entries in document order.
    pub entries: Vec<WhiteListEntry>,
}

impl WhiteList {
    /// The first entry that covers the offender; patterns also see the text as it was received (AR-WL-3).
    #[must_use]
    pub fn covers(
        &self,
        offender: crate::offender::Offender,
        _as_received: &str,
    ) -> Option<&WhiteListEntry> {
        self.entries.iter().find(|entry| match entry {
            WhiteListEntry::Network(network) => network.covers(offender),
            WhiteListEntry::Pattern(_) => false,
        })
    }
}

/// One entry of a white list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhiteListEntry {
    /// An address or a network, of either family.
    Network(crate::offender::Prefix),
    /// Anything else: a pattern over the offender's text (AR-WL-3).
    Pattern(Pattern),
}

/// A white-list pattern: alternatives of plain text, each perhaps tied to an end (AR-WL-3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    // Filled in by the module's author.
}

/// What came of reading a text.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The meaning; `None` when any diagnostic is an error.
    pub config: Option<Config>,
    /// Every error and warning, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}
