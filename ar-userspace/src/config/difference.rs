//! What is otherwise in a new configuration than in an old one, for people who reload it.
//!
//! Sections are told apart by what they mean, not by where they stand: moving one to another line
//! changes nothing. Nothing here decides what becomes of a difference.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Config, EntryKind, Location, Response, WhiteList};
use crate::diagnostic::quote;
use crate::offender::Offender;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Of what.
    pub subject: Subject,
    /// Whether it came, went or is another.
    pub kind: Kind,
    /// Line of the new text, from 1; `None` for what went and for what has no line.
    pub line: Option<usize>,
    /// Line of the old text; `None` for what came and for what has no line.
    pub old_line: Option<usize>,
    /// What it is, or what it was and is; text of the file is in backticks and visible.
    pub detail: String,
}

/// What a difference is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Whether anything fires at all (AR-CFG-6).
    Enabled,
    /// The list of times (AR-TIME-5).
    RepeatedOffenders,
    /// A section that is a response.
    Section,
    /// The order in which sections fire (AR-MATCH-7).
    Order,
    /// An entry of the white list.
    WhiteList,
    /// A manager, which is never banned (AR-OFF-5).
    Manager,
}

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It is another.
    Changed,
}

impl Subject {
    /// Its name: the element's where there is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "disabled",
            Self::RepeatedOffenders => "repeated_offenders",
            Self::Section => "section",
            Self::Order => "order",
            Self::WhiteList => "white_list",
            Self::Manager => "manager",
        }
    }
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl Config {
    /// What is otherwise in `new`: the switch first, then times, sections and white list, each in the order
    /// of lines, then managers. Empty when both mean the same.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.enabled != new.enabled {
            let detail = if new.enabled {
                "no, was yes"
            } else {
                "yes, was no"
            };
            changes.push(Change::of(Subject::Enabled, detail.to_owned()));
        }
        if self.repeated_offenders != new.repeated_offenders {
            let (old, new) = (
                minutes(&self.repeated_offenders),
                minutes(&new.repeated_offenders),
            );
            let detail = format!("{new}, was {old}");
            changes.push(Change::of(Subject::RepeatedOffenders, detail));
        }
        sections(&self.responses, &new.responses, &mut changes);
        white_list(&self.white_list, &new.white_list, &mut changes);
        managers(&self.managers, &new.managers, &mut changes);
        changes
    }
}

impl Change {
    fn of(subject: Subject, detail: String) -> Self {
        Self {
            subject,
            kind: Kind::Changed,
            line: None,
            old_line: None,
            detail,
        }
    }

    /// Where it is told among others of its subject; what went comes before what took its line.
    fn place(&self) -> (Option<usize>, bool) {
        (self.line.or(self.old_line), self.old_line.is_none())
    }
}

fn managers(old: &[Offender], new: &[Offender], changes: &mut Vec<Change>) {
    let mut tell = |of: &[Offender], without: &[Offender], kind| {
        let only = of.iter().filter(|manager| !without.contains(manager));
        changes.extend(only.map(|manager| Change {
            kind,
            ..Change::of(Subject::Manager, format!("`{manager}`"))
        }));
    };
    tell(old, new, Kind::Removed);
    tell(new, old, Kind::Added);
}

/// What a section says, in the order in which it is told. `None` is what it does not say.
type Facts = [(&'static str, Option<String>); 8];

fn facts(response: &Response) -> Facts {
    let words = |words: &[String]| (!words.is_empty()).then(|| quote(&words.join(" ")));
    let numbers: Vec<String> = response.rules_id.iter().map(u32::to_string).collect();
    let location = match &response.location {
        Location::Local => "local".to_owned(),
        Location::Server => "server".to_owned(),
        Location::DefinedAgent(agent) => format!("defined-agent {agent}"),
        Location::All => "all".to_owned(),
    };
    let groups = response.rules_group.as_ref();
    [
        ("command", Some(quote(&response.command))),
        ("executable", Some(quote(response.executable.name()))),
        ("extra_args", words(&response.extra_args)),
        ("location", Some(location)),
        ("level", response.level.map(|level| level.to_string())),
        (
            "rules_group",
            groups.map(|groups| quote(&groups.alternatives.join("|"))),
        ),
        ("rules_id", (!numbers.is_empty()).then(|| numbers.join(","))),
        (
            "timeout",
            response
                .timeout
                .map(|timeout| timeout.as_secs().to_string()),
        ),
    ]
}

fn sections(old: &[Response], new: &[Response], changes: &mut Vec<Change>) {
    let mut pairs = Vec::new();
    let (old, new) = pair(&all(old), &all(new), |(_, facts)| facts.clone(), &mut pairs);
    let same = pairs.len();
    let command = |(_, facts): &(&Response, Facts)| facts[0].1.clone();
    let (removed, added) = pair(&old, &new, command, &mut pairs);
    let first = changes.len();
    for ((was, old), (is, new)) in &pairs[same..] {
        changes.push(Change {
            line: Some(is.line),
            old_line: Some(was.line),
            ..Change::of(Subject::Section, changed(old, new))
        });
    }
    for (response, facts) in &removed {
        changes.push(Change {
            kind: Kind::Removed,
            old_line: Some(response.line),
            ..Change::of(Subject::Section, told(facts))
        });
    }
    for (response, facts) in &added {
        changes.push(Change {
            kind: Kind::Added,
            line: Some(response.line),
            ..Change::of(Subject::Section, told(facts))
        });
    }
    changes[first..].sort_by_key(Change::place);
    pairs.sort_by_key(|((was, _), _)| was.index);
    if !pairs.is_sorted_by_key(|(_, (is, _))| is.index) {
        let detail = "sections stand in another order".to_owned();
        changes.push(Change::of(Subject::Order, detail));
    }
}

fn all(responses: &[Response]) -> Vec<(&Response, Facts)> {
    responses
        .iter()
        .map(|response| (response, facts(response)))
        .collect()
}

/// Pairs what has one key, each once and in order, and gives what stays alone on either side.
fn pair<T: Clone, K: Ord>(
    old: &[T],
    new: &[T],
    key: impl Fn(&T) -> K,
    pairs: &mut Vec<(T, T)>,
) -> (Vec<T>, Vec<T>) {
    let mut by_key: BTreeMap<K, VecDeque<usize>> = BTreeMap::new();
    for (index, one) in new.iter().enumerate() {
        by_key.entry(key(one)).or_default().push_back(index);
    }
    let mut paired = BTreeSet::new();
    let mut alone = Vec::new();
    for one in old {
        match by_key.get_mut(&key(one)).and_then(VecDeque::pop_front) {
            Some(index) => {
                paired.insert(index);
                pairs.push((one.clone(), new[index].clone()));
            }
            None => alone.push(one.clone()),
        }
    }
    let others = new
        .iter()
        .enumerate()
        .filter(|(index, _)| !paired.contains(index));
    (alone, others.map(|(_, one)| one.clone()).collect())
}

fn changed(old: &Facts, new: &Facts) -> String {
    let differing = old.iter().zip(new).filter(|(old, new)| old != new);
    let texts = differing.map(|((name, old), (_, new))| {
        let or_none = |fact: &Option<String>| fact.clone().unwrap_or_else(|| "none".to_owned());
        format!("{name} {}, was {}", or_none(new), or_none(old))
    });
    texts.collect::<Vec<_>>().join("; ")
}

fn told(facts: &Facts) -> String {
    let said = facts
        .iter()
        .filter_map(|(name, fact)| Some((name, fact.as_ref()?)));
    let texts = said.map(|(name, fact)| format!("{name} {fact}"));
    texts.collect::<Vec<_>>().join("; ")
}

fn minutes(ladder: &[Duration]) -> String {
    if ladder.is_empty() {
        return "none".to_owned();
    }
    let minutes = ladder.iter().map(|step| (step.as_secs() / 60).to_string());
    minutes.collect::<Vec<_>>().join(",")
}

/// Entries are compared by what they cover, so that a mask and its length are one.
fn white_list(old: &WhiteList, new: &WhiteList, changes: &mut Vec<Change>) {
    let kinds = |list: &WhiteList| -> BTreeSet<EntryKind> {
        list.entries()
            .iter()
            .map(|entry| entry.kind.clone())
            .collect()
    };
    let first = changes.len();
    let (mut gone, mut come) = (kinds(old), kinds(new));
    for entry in new.entries() {
        gone.remove(&entry.kind);
    }
    for entry in old.entries() {
        come.remove(&entry.kind);
    }
    for entry in old
        .entries()
        .iter()
        .filter(|entry| gone.remove(&entry.kind))
    {
        changes.push(Change {
            kind: Kind::Removed,
            old_line: Some(entry.line),
            ..Change::of(Subject::WhiteList, quote(&entry.text))
        });
    }
    for entry in new
        .entries()
        .iter()
        .filter(|entry| come.remove(&entry.kind))
    {
        changes.push(Change {
            kind: Kind::Added,
            line: Some(entry.line),
            ..Change::of(Subject::WhiteList, quote(&entry.text))
        });
    }
    changes[first..].sort_by_key(Change::place);
}
