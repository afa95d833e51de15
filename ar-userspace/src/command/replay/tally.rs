//! What is counted during a replay. Nothing here prints.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ledger::{Action, Effect, Ruling};
use crate::offender::Offender;
use crate::policy::Offence;
use crate::simulation::Happening;
use crate::time::Moment;

/// What was read, whatever the configuration.
#[derive(Debug, Default)]
pub(super) struct Input {
    pub(super) bytes: u64,
    pub(super) lines: u64,
    pub(super) alerts: u64,
    /// Lines that are no alerts, by the word of the reason.
    pub(super) malformed: BTreeMap<&'static str, u64>,
}

/// What came of it by one configuration.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Alerts that match at least one section.
    pub(super) matched: u64,
    /// Those that may not act, by the word of the reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Offences for other hosts.
    pub(super) elsewhere: u64,
    /// Offences without a ban for want of room.
    pub(super) over_limit: u64,
    pub(super) bans: u64,
    pub(super) moved: u64,
    /// By the section's index.
    pub(super) sections: BTreeMap<usize, Counts>,
    /// By the rule's number; 0 without one.
    pub(super) rules: BTreeMap<u32, Counts>,
    pub(super) offenders: BTreeMap<Offender, Past>,
}

/// What one section or one rule did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Alerts that match, refused ones as well.
    pub(super) matched: u64,
    pub(super) refused: u64,
    pub(super) bans: u64,
    pub(super) moved: u64,
}

/// What happened to one offender on the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    pub(super) offences: u64,
    pub(super) bans: u64,
    /// Time in which it was banned, by whichever executable; of a ban for ever, nothing.
    pub(super) banned: Duration,
    /// The longest such time without a gap.
    pub(super) longest: Duration,
    since: Moment,
    standing: u32,
}

impl Input {
    /// Counts lines that were too long to be read.
    pub(super) fn skipped(&mut self, lines: u64) {
        self.lines += lines;
        if lines > 0 {
            *self.malformed.entry("too_long").or_default() += lines;
        }
    }
}

impl Past {
    /// Whether it stays banned after the end: nothing but a ban for ever does.
    pub(super) fn is_for_ever(&self) -> bool {
        self.standing > 0
    }

    fn began(&mut self, at: Moment) {
        if self.standing == 0 {
            self.since = at;
        }
        self.standing += 1;
        self.bans += 1;
    }

    fn ended(&mut self, at: Moment) {
        self.standing = self.standing.saturating_sub(1);
        if self.standing == 0 {
            let length = at.since(self.since);
            self.banned = self.banned.saturating_add(length);
            self.longest = self.longest.max(length);
        }
    }
}

impl Tally {
    pub(super) fn hear(&mut self, happening: &Happening<'_>) {
        match happening {
            Happening::Malformed(_) => {}
            Happening::Refused {
                alert,
                refusal,
                responses,
            } => {
                self.matched += 1;
                *self.refused.entry(refusal.word()).or_default() += 1;
                let rule = self.rules.entry(alert.rule_id.unwrap_or(0)).or_default();
                rule.matched += 1;
                rule.refused += 1;
                for response in *responses {
                    let section = self.sections.entry(*response).or_default();
                    section.matched += 1;
                    section.refused += 1;
                }
            }
            Happening::Fired { alert, offences } => {
                self.matched += 1;
                let rule = alert.rule_id.unwrap_or(0);
                self.rules.entry(rule).or_default().matched += 1;
                for offence in *offences {
                    self.sections.entry(offence.response).or_default().matched += 1;
                }
            }
            Happening::Elsewhere(_) => self.elsewhere += 1,
            Happening::Ruled {
                offence, ruling, ..
            } => self.ruled(offence, ruling),
            Happening::Changed(effect) => self.changed(effect),
        }
    }

    /// Offenders that were banned at least once.
    pub(super) fn banned(&self) -> impl Iterator<Item = (&Offender, &Past)> {
        self.offenders.iter().filter(|(_, past)| past.bans > 0)
    }

    fn ruled(&mut self, offence: &Offence, ruling: &Ruling) {
        let section = self.sections.entry(offence.response).or_default();
        let rule = self.rules.entry(offence.rule_id).or_default();
        match ruling {
            Ruling::Banned { .. } => {
                self.bans += 1;
                section.bans += 1;
                rule.bans += 1;
            }
            Ruling::Moved { .. } => {
                self.moved += 1;
                section.moved += 1;
                rule.moved += 1;
            }
            Ruling::Refused { .. } => self.over_limit += 1,
            Ruling::AlreadyPermanent { .. } | Ruling::OnlyCounted { .. } | Ruling::Done { .. } => {}
        }
        self.offenders.entry(offence.offender).or_default().offences += 1;
    }

    fn changed(&mut self, effect: &Effect) {
        let past = self.offenders.entry(effect.key.offender).or_default();
        match effect.action {
            Action::Ban { .. } => past.began(effect.at),
            Action::Unban => past.ended(effect.at),
            Action::Move { .. } | Action::Retract { .. } => {}
        }
    }
}
