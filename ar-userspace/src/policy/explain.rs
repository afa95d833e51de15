//! What every section does with one alert, and why: the long answer beside [`super::Policy::decide`].
//!
//! Goes through the sections one by one and criterion by criterion, without the index, so that each is
//! a check on the other. Too slow for every alert; it is made for a person who asks about one.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::groups::{OWN_LOG, joined, needle, occurs};
use super::guard::Guard;
use super::refusal::{Refusal, judge};
use super::route::target;
use super::{Reason, Target, asks_for_manager_by_number};
use crate::alert::Alert;
use crate::config::{Config, Enforcement, Executable, Response, RulesGroup, WhiteListEntry};
use crate::offender::{Offender, Special};

/// Most rule numbers that a sentence lists.
const LISTED_RULES: usize = 8;

/// What one section does with one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Which section, counted over all `<active-response>` elements from 0.
    pub response: usize,
    /// Line of the configuration where it begins.
    pub line: usize,
    /// Its command.
    pub command: String,
    /// What the command runs.
    pub executable: Executable,
    /// Whether the kernel stands in for it.
    pub enforcement: Enforcement,
    /// Every criterion it has, with the answer.
    pub criteria: Vec<Criterion>,
    /// What comes of it.
    pub outcome: Outcome,
    /// Which hosts act when it fires.
    pub target: Target,
    /// How long the first, second, ... offence of a key is banned when it fires; the last one stays
    /// (AR-TIME-5). Empty: for ever, and nothing is counted (AR-TIME-7).
    pub ladder: Vec<Duration>,
}

/// Who an alert is about, and everything that speaks against a ban; `decide` stops at the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The address; `None` when the alert has none.
    pub offender: Option<Offender>,
    /// Its class, when it is nobody's own.
    pub special: Option<Special>,
    /// Why it must stay reachable.
    pub protected: Option<Reason>,
    /// The entry that spares it.
    pub white_listed: Option<WhiteListEntry>,
    /// The reason that holds for all responses; `None` when those that match may act.
    pub refusal: Option<Refusal>,
}

/// One criterion of a section beside what the alert has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// AR-MATCH-2.
    Level {
        /// Lowest level that matches.
        wanted: u8,
        /// Level of the alert.
        found: u8,
    },
    /// AR-MATCH-4.
    RulesGroup {
        /// The alternatives as written, each with whether it matches.
        alternatives: Vec<(String, bool)>,
        /// The joined groups of the alert: `,syslog,sshd,`.
        found: String,
    },
    /// AR-MATCH-3.
    RulesId {
        /// The rules that match.
        wanted: BTreeSet<u32>,
        /// Rule of the alert.
        found: Option<u32>,
    },
}

/// What comes of a section. A reason that holds for the section itself comes before one of the alert's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It fires.
    Fires,
    /// It matches, and may not act.
    Refused(Refusal),
    /// None of its criteria matches.
    Unmatched,
    /// A criterion matches, but the alert is from the product's own log and the section does not name
    /// that (AR-MATCH-9).
    HeldByLoopGuard,
    /// The alert has no level, or level 0 (AR-MATCH-8).
    NoLevel,
    /// The section has no criterion (AR-MATCH-6).
    NoCriterion,
    /// The section asks for the manager as an agent (AR-CFG-9).
    AsksForManager,
}

/// Explains one alert to every section that names a command, in document order.
///
/// The sections whose outcome is [`Outcome::Fires`] are those of which `decide` makes an offence.
#[must_use]
pub fn explain(config: &Config, alert: &Alert<'_>, guard: &Guard) -> Vec<Explanation> {
    let groups = joined(&alert.groups);
    let judgement = judge(config, alert, guard).err();
    let explain_one = |response: &Response| {
        let criteria = criteria(response, alert, &groups);
        let outcome = match outcome(response, alert, &criteria) {
            Outcome::Fires => judgement.clone().map_or(Outcome::Fires, Outcome::Refused),
            other => other,
        };
        Explanation {
            response: response.index,
            line: response.line,
            command: response.command.clone(),
            executable: response.executable.clone(),
            enforcement: response.enforcement,
            criteria,
            outcome,
            target: target(&response.location, alert.agent_id.as_deref()),
            ladder: ladder(response, config),
        }
    };
    config.responses.iter().map(explain_one).collect()
}

/// Looks at the offender by every check that there is, whether or not a response matches.
#[must_use]
pub fn suspect(config: &Config, alert: &Alert<'_>, guard: &Guard) -> Suspect {
    let received = alert.offender.as_ref();
    let offender = received.and_then(|received| received.text.parse::<Offender>().ok());
    let white_listed = received
        .zip(offender)
        .and_then(|(received, offender)| config.white_list.covers(offender, &received.text));
    Suspect {
        offender,
        special: offender.and_then(Offender::special),
        protected: offender.and_then(|offender| guard.reason(offender)),
        white_listed: white_listed.cloned(),
        refusal: judge(config, alert, guard).err(),
    }
}

/// Whether an alert is from the product's own log, so that the loop guard looks at it (AR-MATCH-9).
#[must_use]
pub fn is_own_log(alert: &Alert<'_>) -> bool {
    occurs(OWN_LOG, &joined(&alert.groups))
}

fn ladder(response: &Response, config: &Config) -> Vec<Duration> {
    let first = response.timeout.into_iter();
    first
        .flat_map(|timeout| std::iter::once(timeout).chain(config.repeated_offenders.clone()))
        .collect()
}

fn criteria(response: &Response, alert: &Alert<'_>, groups: &str) -> Vec<Criterion> {
    let level = response.level.map(|wanted| Criterion::Level {
        wanted,
        found: alert.level,
    });
    let rules_group = response.rules_group.as_ref().map(|group| {
        let answer = |it: &String| (it.clone(), occurs(&needle(it), groups));
        Criterion::RulesGroup {
            alternatives: group.alternatives.iter().map(answer).collect(),
            found: groups.to_owned(),
        }
    });
    let rules_id = (!response.rules_id.is_empty()).then(|| Criterion::RulesId {
        wanted: response.rules_id.clone(),
        found: alert.rule_id,
    });
    [level, rules_group, rules_id]
        .into_iter()
        .flatten()
        .collect()
}

/// What matching alone says.
fn outcome(response: &Response, alert: &Alert<'_>, criteria: &[Criterion]) -> Outcome {
    if asks_for_manager_by_number(response) {
        return Outcome::AsksForManager;
    }
    if criteria.is_empty() {
        return Outcome::NoCriterion;
    }
    if alert.level == 0 {
        return Outcome::NoLevel;
    }
    if !criteria.iter().any(Criterion::matches) {
        return Outcome::Unmatched;
    }
    if is_own_log(alert) && !names_own_log(response, alert) {
        return Outcome::HeldByLoopGuard;
    }
    Outcome::Fires
}

/// Whether a section asks for alerts of the product's own log (AR-MATCH-9).
fn names_own_log(response: &Response, alert: &Alert<'_>) -> bool {
    let lists_rule = |rule| response.rules_id.contains(&rule);
    let names_group = |group: &RulesGroup| {
        let mut alternatives = group.alternatives.iter();
        alternatives.any(|it| occurs(&needle(it), OWN_LOG))
    };
    alert.rule_id.is_some_and(lists_rule) || response.rules_group.as_ref().is_some_and(names_group)
}

impl Outcome {
    /// One stable word, for machine-readable output.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fires => "fires",
            Self::Refused(_) => "refused",
            Self::Unmatched => "unmatched",
            Self::HeldByLoopGuard => "loop_guard",
            Self::NoLevel => "no_level",
            Self::NoCriterion => "no_criterion",
            Self::AsksForManager => "asks_for_manager",
        }
    }
}

impl Criterion {
    /// The element of the section.
    #[must_use]
    pub fn element(&self) -> &'static str {
        match self {
            Self::Level { .. } => "level",
            Self::RulesGroup { .. } => "rules_group",
            Self::RulesId { .. } => "rules_id",
        }
    }

    /// Whether it matches.
    #[must_use]
    pub fn matches(&self) -> bool {
        match self {
            Self::Level { wanted, found } => found >= wanted,
            Self::RulesGroup { alternatives, .. } => {
                alternatives.iter().any(|(_, matches)| *matches)
            }
            Self::RulesId { wanted, found } => found.is_some_and(|rule| wanted.contains(&rule)),
        }
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level { wanted, found } if self.matches() => {
                write!(f, "level {found} >= {wanted}")
            }
            Self::Level { wanted, found } => write!(f, "level {found} < {wanted}"),
            Self::RulesGroup {
                alternatives,
                found,
            } => {
                let matches = self.matches();
                // Of a criterion that matches, only what matches is worth telling.
                let told: Vec<_> = alternatives
                    .iter()
                    .filter(|(_, it)| *it == matches)
                    .map(|(alternative, _)| &**alternative)
                    .collect();
                let negation = if matches { "" } else { "no alternative of " };
                let (told, found) = (told.join("|"), found.escape_debug());
                write!(f, "{negation}`{}` in `{found}`", told.escape_debug())
            }
            Self::RulesId { wanted, found } => match found {
                None => f.write_str("the alert has no rule number"),
                Some(rule) if self.matches() => write!(f, "rule {rule} is listed"),
                Some(rule) => write!(f, "rule {rule} not among {}", list(wanted)),
            },
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fires => "fires",
            Self::Refused(refusal) => return write!(f, "matches, refused: {refusal}"),
            Self::Unmatched => "does not match",
            Self::HeldByLoopGuard => {
                "held by the loop guard: the alert is from group `active_response`, \
                 which the section does not name"
            }
            Self::NoLevel => "does not match: the alert has no level or level 0",
            Self::NoCriterion => "never fires: it has no level, rules_group or rules_id",
            Self::AsksForManager => {
                "never fires: agent_id 000 is the manager, for which location is `server`"
            }
        })
    }
}

fn list(rules: &BTreeSet<u32>) -> String {
    let shown: Vec<_> = rules
        .iter()
        .take(LISTED_RULES)
        .map(ToString::to_string)
        .collect();
    let shown = shown.join(", ");
    match rules.len().saturating_sub(LISTED_RULES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
