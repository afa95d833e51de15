//! How a rule's groups and the alternatives of a `rules_group` are compared (AR-MATCH-4, AR-MATCH-5).
//!
//! Case is that of ASCII letters: group names have no others.

use std::borrow::Cow;

use crate::alert::Group;

/// The groups of the product's own log, as AR-MATCH-9 compares them.
pub(super) const OWN_LOG: &str = ",active_response,";

/// What has to occur in the joined groups for an alternative to match (AR-MATCH-4).
pub(super) fn needle(alternative: &str) -> Cow<'_, str> {
    if alternative.ends_with(',') && !alternative.starts_with(',') {
        Cow::Owned(format!(",{alternative}"))
    } else {
        Cow::Borrowed(alternative)
    }
}

/// The text G of AR-MATCH-4: `,syslog,sshd,`.
pub(super) fn joined(groups: &[Group<'_>]) -> String {
    groups.iter().fold(String::from(","), |mut joined, group| {
        joined.push_str(&group.to_string());
        joined.push(',');
        joined
    })
}

/// Whether `needle` occurs in `text`, ignoring case.
pub(super) fn occurs(needle: &str, text: &str) -> bool {
    text.to_ascii_lowercase()
        .contains(&needle.to_ascii_lowercase())
}
