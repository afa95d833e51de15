//! What is kept of one alert, and the alert as far as sections can be held against it again.

use std::borrow::Cow;
use std::time::Duration;

use super::Whom;
use crate::alert::{Alert, Group, OffenderText, Quoted};
use crate::config::Executable;
use crate::ledger::Ruling;
use crate::offender::{Offender, Prefix};
use crate::policy::Target;
use crate::time::Moment;

/// The text of alerts that are alike is taken anew no more often than this: a burst of them costs little.
const TAKEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Between two groups.
const APART: char = '\u{1f}';

/// Bytes that are kept of what an alert has in an address's place.
const OFFENDER_MOST: usize = 96;

/// Bytes that are kept of each text of an alert, in the order of [`Field`].
const MOST: [usize; FIELDS] = [64, 40, 16, 64, OFFENDER_MOST, 160, 256, 400];

const FIELDS: usize = 8;

/// The texts of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Timestamp,
    AgentId,
    DstUser,
    Offender,
    Description,
    FullLog,
    Groups,
}

/// One alert, or several that are alike, of which it is the last.
#[derive(Debug, Default)]
pub struct Kept {
    /// Counts the alerts that were noted, to tell the later one.
    pub(super) number: u64,
    /// Who; `None` when the text is no address.
    pub offender: Option<Offender>,
    /// When it was read.
    pub at: Moment,
    /// How many alerts of this offender with this rule and outcome; older ones may have been forgotten.
    pub times: u64,
    /// The rule's number.
    pub rule_id: Option<u32>,
    /// Its level.
    pub level: u8,
    /// What came of it.
    pub outcome: Outcome,
    /// The groups did not fit, so that sections cannot be held against it again.
    pub is_cut: bool,
    field: &'static str,
    taken_at: Option<Moment>,
    text: String,
    ends: [u16; FIELDS],
    /// Which of them the alert has.
    has: u8,
}

/// What came of an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It concerns no section.
    #[default]
    Unmatched,
    /// No section may act on it.
    Refused {
        /// [`crate::policy::Refusal::word`].
        word: &'static str,
        /// For people.
        text: Box<str>,
    },
    /// It had been handled before.
    Repeated,
    /// Sections fired.
    Fired(Vec<Act>),
}

/// What one section did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// Which section, counted over all `<active-response>` elements from 0.
    pub response: usize,
    /// Its line at that time.
    pub line: usize,
    /// What enforces it.
    pub executable: Executable,
    /// What it did.
    pub deed: Deed,
}

/// What came of a section that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is for other hosts.
    Elsewhere(Target),
    /// The ledger decided.
    Ruled(Ruling),
}

impl Outcome {
    /// What two alerts must have in common to be alike.
    pub(super) fn kind(&self) -> u8 {
        let Self::Fired(acts) = self else {
            return match self {
                Self::Unmatched | Self::Fired(_) => 0,
                Self::Refused { .. } => 1,
                Self::Repeated => 2,
            };
        };
        match acts.first().map(|act| &act.deed) {
            None => 3,
            Some(Deed::Elsewhere(_)) => 4,
            Some(Deed::Ruled(ruling)) => match ruling {
                // What set the end of the ban that stands: the last of them counts.
                Ruling::Banned { .. } | Ruling::Moved { .. } => 5,
                Ruling::AlreadyPermanent { .. } => 6,
                Ruling::OnlyCounted { .. } => 7,
                Ruling::Refused { .. } => 8,
                Ruling::Done { .. } => 9,
            },
        }
    }
}

impl Kept {
    pub(super) fn is_about(&self, whom: Whom<'_>) -> bool {
        match whom {
            Whom::Offender(offender) => self.offender == Some(offender),
            Whom::Text(text) => self.offender.is_none() && self.text(Field::Offender) == Some(text),
        }
    }

    pub(super) fn is_within(&self, network: Prefix) -> bool {
        self.offender
            .is_some_and(|offender| network.covers(offender))
    }

    pub(super) fn is_like(&self, whom: Whom<'_>, alert: &Alert<'_>, outcome: &Outcome) -> bool {
        self.number > 0
            && self.rule_id == alert.rule_id
            && self.outcome.kind() == outcome.kind()
            && self.is_about(whom)
    }

    /// Another offender, rule or outcome begins here.
    pub(super) fn begin(&mut self, whom: Whom<'_>) {
        self.times = 0;
        self.taken_at = None;
        self.offender = match whom {
            Whom::Offender(offender) => Some(offender),
            Whom::Text(_) => None,
        };
    }

    pub(super) fn take(&mut self, alert: &Alert<'_>, now: Moment, number: u64, outcome: Outcome) {
        self.number = number;
        self.times += 1;
        self.at = now;
        let is_fresh = |taken_at| now.since(taken_at) < TAKEN_AGAIN_AFTER;
        let concerns_nobody = outcome == Outcome::Unmatched;
        self.outcome = outcome;
        if concerns_nobody && self.taken_at.is_some_and(is_fresh) {
            return;
        }
        self.taken_at = Some(now);
        self.rule_id = alert.rule_id;
        self.level = alert.level;
        self.field = alert.offender.as_ref().map_or("", |it| it.field);
        self.take_text(alert);
    }

    fn take_text(&mut self, alert: &Alert<'_>) {
        self.text.clear();
        self.text.reserve(size(alert));
        self.has = 0;
        let context = &alert.context;
        self.push(Field::Id, alert.id.as_deref());
        self.push_quoted(Field::Timestamp, context.timestamp);
        self.push(Field::AgentId, alert.agent_id.as_deref());
        self.push(Field::DstUser, alert.dstuser.as_deref());
        self.push(Field::Offender, alert.offender.as_ref().map(|it| &*it.text));
        self.push_quoted(Field::Description, context.description);
        self.push_quoted(Field::FullLog, context.full_log);
        let start = self.text.len();
        self.is_cut = false;
        for group in &alert.groups {
            if self.text.len() - start + group.size() + 1 > MOST[Field::Groups as usize] {
                self.is_cut = true;
                break;
            }
            group.push_to(&mut self.text);
            self.text.push(APART);
        }
        self.end(Field::Groups);
    }

    fn push(&mut self, field: Field, text: Option<&str>) {
        if let Some(text) = text {
            self.text.push_str(head(text, MOST[field as usize]));
            self.has |= 1 << field as u8;
        }
        self.end(field);
    }

    fn push_quoted(&mut self, field: Field, text: Option<Quoted<'_>>) {
        if let Some(text) = text {
            text.decode_into(&mut self.text, MOST[field as usize]);
            self.has |= 1 << field as u8;
        }
        self.end(field);
    }

    fn end(&mut self, field: Field) {
        // All of them together are shorter.
        self.ends[field as usize] = u16::try_from(self.text.len()).unwrap_or(u16::MAX);
    }

    fn text(&self, field: Field) -> Option<&str> {
        let at = field as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        let text = self.text.get(start.into()..self.ends[at].into())?;
        (self.has & 1 << at != 0).then_some(text)
    }

    /// The alert's own identifier, its first bytes.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.text(Field::Id)
    }

    /// When it was written, as it says itself.
    #[must_use]
    pub fn timestamp(&self) -> Option<&str> {
        self.text(Field::Timestamp)
    }

    /// What the rule says, its first bytes.
    #[must_use]
    pub fn description(&self) -> Option<&str> {
        self.text(Field::Description)
    }

    /// The log line, its first bytes: an attacker's text.
    #[must_use]
    pub fn full_log(&self) -> Option<&str> {
        self.text(Field::FullLog)
    }

    /// The offender as received, its first bytes.
    #[must_use]
    pub fn offender_text(&self) -> &str {
        self.text(Field::Offender).unwrap_or_default()
    }

    /// What sections decide with.
    #[must_use]
    pub fn alert(&self) -> Alert<'_> {
        let start = self.ends[Field::FullLog as usize].into();
        let groups = self.text.get(start..).unwrap_or_default();
        let text = |field| self.text(field).map(Cow::Borrowed);
        Alert {
            id: text(Field::Id),
            rule_id: self.rule_id,
            level: self.level,
            groups: groups.split_terminator(APART).map(Group::new).collect(),
            agent_id: text(Field::AgentId),
            offender: Some(OffenderText {
                text: Cow::Borrowed(self.offender_text()),
                field: self.field,
            }),
            dstuser: text(Field::DstUser),
            ..Alert::default()
        }
    }
}

/// Bytes that are kept of an alert's texts, or more where they have escapes.
fn size(alert: &Alert<'_>) -> usize {
    let context = &alert.context;
    let sizes = [
        (Field::Id, alert.id.as_deref().map_or(0, str::len)),
        (Field::Timestamp, context.timestamp.map_or(0, Quoted::size)),
        (
            Field::AgentId,
            alert.agent_id.as_deref().map_or(0, str::len),
        ),
        (Field::DstUser, alert.dstuser.as_deref().map_or(0, str::len)),
        (
            Field::Offender,
            alert.offender.as_ref().map_or(0, |it| it.text.len()),
        ),
        (
            Field::Description,
            context.description.map_or(0, Quoted::size),
        ),
        (Field::FullLog, context.full_log.map_or(0, Quoted::size)),
        (
            Field::Groups,
            alert.groups.iter().map(|group| group.size() + 1).sum(),
        ),
    ];
    let kept = sizes.map(|(field, size)| size.min(MOST[field as usize]));
    kept.into_iter().sum()
}

/// As much as is kept of what an alert has in an address's place.
pub(super) fn offender_text(text: &str) -> &str {
    head(text, OFFENDER_MOST)
}

/// The first bytes of a text, cut between two characters.
fn head(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    ends.find_map(|end| text.get(..end)).unwrap_or_default()
}
