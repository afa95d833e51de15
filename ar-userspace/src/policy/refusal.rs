//! Why an alert that matches leads to no ban: the checks of the offender, and their order.
//!
//! The checks hold for all responses of an alert alike (AR-OFF, AR-WL). They remember nothing.

use std::fmt;

use super::guard::{Guard, Reason};
use crate::alert::Alert;
use crate::config::{Config, WhiteListEntry};
use crate::offender::{Offender, Special};
use crate::quiet::Quiet;
use crate::time::Wall;

/// Longest part of an alert's text that a refusal keeps, in bytes.
const EXCERPT: usize = 256;

/// Why no response may act on an alert. The checks run in the order of the variants; the first one wins.
///
/// So a switch comes before everything, an attack is reported as such even when its address is also
/// worthless, and what can never be banned is told apart from what the operator chose to spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A section says `disabled` `yes` (AR-CFG-6).
    Disabled,
    /// A character that belongs into no address or user name: most likely an injected log line (AR-OFF-3).
    /// The offender is looked at before the destination user.
    Injection {
        /// The field, as a path.
        field: &'static str,
        /// The text as received, its first 256 bytes.
        text: Box<str>,
    },
    /// No field names an offender (AR-OFF-1).
    NoOffender,
    /// The offender's text is no literal address (AR-OFF-2).
    NotAnAddress {
        /// The field, as a path.
        field: &'static str,
        /// The text as received, its first 256 bytes.
        text: Box<str>,
    },
    /// An address that is nobody's own (AR-OFF-5).
    Special {
        /// Who would have been banned.
        offender: Offender,
        /// Its class.
        class: Special,
    },
    /// An address that must stay reachable (AR-OFF-5).
    Protected {
        /// Who would have been banned.
        offender: Offender,
        /// Why it is protected.
        reason: Reason,
    },
    /// An address that the configuration spares (AR-WL-1, AR-WL-6).
    WhiteListed {
        /// Who would have been banned.
        offender: Offender,
        /// The first entry that covers it.
        entry: WhiteListEntry,
    },
    /// An address that an operator wants to be left in peace for a time. It is no check of [`super::Policy::decide`], which
    /// knows no time: see [`super::quieted`].
    Quiet {
        /// Who would have been banned.
        offender: Offender,
        /// Its quiet time, or that of a network which holds it.
        quiet: Box<Quiet<Wall>>,
    },
}

impl Refusal {
    /// One stable word, for counters and machine-readable output.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Injection { .. } => "injection",
            Self::NoOffender => "no_offender",
            Self::NotAnAddress { .. } => "not_an_address",
            Self::Special { .. } => "special",
            Self::Protected { .. } => "protected",
            Self::WhiteListed { .. } => "white_listed",
            Self::Quiet { .. } => "quiet",
        }
    }
}

impl fmt::Display for Refusal {
    /// Alert text is escaped: it may be an attacker's, and this goes to terminals and logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("active response is disabled"),
            Self::Injection { field, text } => {
                let text = text.escape_debug();
                write!(f, "possible log injection in {field}: `{text}`")
            }
            Self::NoOffender => f.write_str("the alert names no offender"),
            Self::NotAnAddress { field, text } => {
                let text = text.escape_debug();
                write!(f, "{field} is no literal address: `{text}`")
            }
            Self::Special { offender, class } => write!(f, "{offender} is {class}"),
            Self::Protected { offender, reason } => {
                write!(f, "{offender} is protected: {reason}")
            }
            Self::WhiteListed { offender, entry } => {
                let (text, line) = (entry.text.escape_debug(), entry.line);
                write!(f, "{offender} is white-listed by `{text}` in line {line}")
            }
            Self::Quiet { offender, quiet } if quiet.offender == *offender => {
                write!(f, "{offender} is {quiet}")
            }
            Self::Quiet { offender, quiet } => {
                write!(f, "{offender}, as part of {}, is {quiet}", quiet.offender)
            }
        }
    }
}

/// The offender that an alert's responses may ban, or the first reason against it.
pub(super) fn judge(
    config: &Config,
    alert: &Alert<'_>,
    guard: &Guard,
) -> Result<Offender, Refusal> {
    if !config.enabled {
        return Err(Refusal::Disabled);
    }
    refuse_injection(alert)?;
    let received = alert.offender.as_ref().ok_or(Refusal::NoOffender)?;
    let offender = received
        .text
        .parse::<Offender>()
        .map_err(|_| Refusal::NotAnAddress {
            field: received.field,
            text: excerpt(&received.text),
        })?;
    if let Some(class) = offender.special() {
        return Err(Refusal::Special { offender, class });
    }
    if let Some(reason) = guard.reason(offender) {
        return Err(Refusal::Protected { offender, reason });
    }
    if let Some(entry) = config.white_list.covers(offender, &received.text) {
        let entry = entry.clone();
        return Err(Refusal::WhiteListed { offender, entry });
    }
    Ok(offender)
}

fn refuse_injection(alert: &Alert<'_>) -> Result<(), Refusal> {
    let fits = |text: &str, others: &[u8]| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    };
    let refuse = |field, text: &str| {
        Err(Refusal::Injection {
            field,
            text: excerpt(text),
        })
    };
    if let Some(offender) = &alert.offender
        && !fits(&offender.text, b".:_-")
    {
        return refuse(offender.field, &offender.text);
    }
    match &alert.dstuser {
        Some(user) if !fits(user, b"._@?-") => refuse("dstuser", user),
        _ => Ok(()),
    }
}

/// The first bytes of a text, cut between two characters.
fn excerpt(text: &str) -> Box<str> {
    let ends = (0..=EXCERPT.min(text.len())).rev();
    let head = ends.filter_map(|end| text.get(..end)).next();
    head.unwrap_or_default().into()
}
