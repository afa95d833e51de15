//! One raw record in; an [`Alert`] or a named reason out (AR-ALERT-1 to 5).
//!
//! Both shapes of alert are read, Wazuh's and OSSEC's. Only the fields that matter are taken; no tree of
//! the whole line is built. Whether an alert leads to anything is `policy`'s to say.

mod fields;
mod malformed;
#[cfg(test)]
mod model;
mod quoted;
mod scan;
#[cfg(test)]
mod tests;
mod written;

use std::borrow::Cow;
use std::fmt;

pub use malformed::{Malformed, Syntax};
pub use quoted::Quoted;

/// One line of `alerts.json`, borrowed from the record.
///
/// A field of an unexpected type counts as absent, and of a key that stands twice the last one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert<'a> {
    /// The alert's own identifier.
    pub id: Option<Cow<'a, str>>,
    /// Identifier of the rule that fired: `rule.id`, else OSSEC's `rule.sidid`.
    pub rule_id: Option<u32>,
    /// Level of that rule; 0 when missing, which fires nothing (AR-MATCH-8). 255 stands for all above it.
    pub level: u8,
    /// Groups and compliance tokens, trimmed, in the order of AR-ALERT-2.
    pub groups: Vec<Group<'a>>,
    /// Number of the agent that produced it, as written: `000`, or `None`, for the manager's own.
    pub agent_id: Option<Cow<'a, str>>,
    /// The text that would be banned, and the field it came from (AR-OFF-1).
    pub offender: Option<OffenderText<'a>>,
    /// The destination user, which is checked for injected text (AR-OFF-3): `data.dstuser`, else the
    /// top-level `dstuser`. An empty one counts as absent.
    pub dstuser: Option<Cow<'a, str>>,
    /// What only logs and explanations show.
    pub context: Context<'a>,
}

/// An offender as an alert has it: text that an attacker may have shaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffenderText<'a> {
    /// The text as received.
    pub text: Cow<'a, str>,
    /// The field, as a path: `data.srcip`.
    pub field: &'static str,
}

/// One group of a rule, or one compliance token (AR-ALERT-2, AR-ALERT-3).
///
/// A token such as `pci_dss_11.4` is kept in two parts, so that no text is copied to put it together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    prefix: &'static str,
    name: Cow<'a, str>,
}

/// Fields that decide nothing (AR-ALERT-1), not decoded yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context<'a> {
    /// When the alert was written: ISO 8601 with Wazuh, `2026 Nov 24 03:06:17` in local time with OSSEC.
    pub timestamp: Option<Quoted<'a>>,
    /// OSSEC's `TimeStamp`: milliseconds after the Unix epoch.
    pub timestamp_ms: Option<u64>,
    /// What the rule says: `rule.description`, else OSSEC's `rule.comment`.
    pub description: Option<Quoted<'a>>,
    /// The agent's name: `agent.name`, else OSSEC's `agent_name`.
    pub agent_name: Option<Quoted<'a>>,
    /// The manager's name.
    pub manager_name: Option<Quoted<'a>>,
    /// The log that the alert came from.
    pub location: Option<Quoted<'a>>,
    /// The log line.
    pub full_log: Option<Quoted<'a>>,
    /// The source user: `data.srcuser`, else the top-level `srcuser`. Not checked (AR-OFF-3).
    pub srcuser: Option<Quoted<'a>>,
}

impl<'a> Alert<'a> {
    /// Reads one line, without its line end or with it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when the line is not one JSON object. An object without a single known field is an
    /// alert, which fires nothing.
    pub fn parse(line: &'a [u8]) -> Result<Self, Malformed> {
        fields::read(line)
    }

    /// Reads one line even when its bytes are no text: what is invalid becomes U+FFFD, in `mended`.
    ///
    /// Bytes that an attacker puts into a log must not hide his alert. A line that is text is not copied.
    ///
    /// # Errors
    ///
    /// Those of [`Alert::parse`], but for [`Malformed::NotUtf8`].
    pub fn parse_lossy(line: &'a [u8], mended: &'a mut String) -> Result<Self, Malformed> {
        match Self::parse(line) {
            Err(Malformed::NotUtf8 { .. }) => {
                *mended = String::from_utf8_lossy(line).into_owned();
                Self::parse(mended.as_bytes())
            }
            read => read,
        }
    }
}

impl<'a> Group<'a> {
    /// A group as it stands in `rule.groups`. White space around it is dropped.
    #[must_use]
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Self::with_prefix("", name.into())
    }

    /// A value of a compliance array: `prefix` is the array's name and `_`.
    fn with_prefix(prefix: &'static str, name: Cow<'a, str>) -> Self {
        let name = match name {
            Cow::Borrowed(name) => Cow::Borrowed(name.trim()),
            Cow::Owned(name) if name.trim().len() == name.len() => Cow::Owned(name),
            Cow::Owned(name) => Cow::Owned(name.trim().to_owned()),
        };
        Self { prefix, name }
    }

    /// The token's bytes, in order.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        self.prefix.bytes().chain(self.name.bytes())
    }

    /// What follows the token in a text that begins with it.
    #[must_use]
    pub fn strip_from<'t>(&self, text: &'t [u8]) -> Option<&'t [u8]> {
        text.strip_prefix(self.prefix.as_bytes())?
            .strip_prefix(self.name.as_bytes())
    }

    /// The token's length, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.prefix.len() + self.name.len()
    }

    /// Appends the token.
    pub fn push_to(&self, text: &mut String) {
        text.push_str(self.prefix);
        text.push_str(&self.name);
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        f.write_str(&self.name)
    }
}
