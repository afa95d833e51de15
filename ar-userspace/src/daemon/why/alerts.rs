//! What came of the alerts that are remembered, in words.

use std::time::Duration;

use super::{ALERTS, Daemon};
use crate::clock;
use crate::control::view::why;
use crate::daemon::view::rfc3339;
use crate::ledger::{Ruling, Rung};
use crate::policy::Target;
use crate::policy::explain::{self, Criterion, Explanation};
use crate::recent::{Act, Deed, Kept, Outcome};
use crate::time::{Expiry, Moment};

/// Sections that are told of one alert at most.
const SECTIONS: usize = 32;

impl Daemon {
    pub(super) fn alerts(&self, kept: Vec<&Kept>) -> Vec<why::Remembered> {
        let told = kept.into_iter().take(ALERTS);
        told.map(|kept| self.remembered(kept)).collect()
    }

    fn remembered(&self, kept: &Kept) -> why::Remembered {
        let (outcome, refusal, why) = match &kept.outcome {
            Outcome::Unmatched => ("unmatched", None, "no section matches".to_owned()),
            Outcome::Refused { word, text } => ("refused", Some(*word), text.to_string()),
            Outcome::Repeated => (
                "repeated",
                None,
                "it had been handled before, and its file was read again".to_owned(),
            ),
            Outcome::Fired(acts) => {
                let many = if acts.len() == 1 { "" } else { "s" };
                ("fired", None, format!("{} section{many} fired", acts.len()))
            }
        };
        let acts = match &kept.outcome {
            Outcome::Fired(acts) => acts.as_slice(),
            _ => &[],
        };
        let quiet = match &kept.outcome {
            Outcome::Refused {
                word: "quiet",
                text,
            } => Some(&**text),
            _ => None,
        };
        let sections = match &kept.outcome {
            Outcome::Unmatched | Outcome::Refused { .. } if !kept.is_cut => {
                explain::explain(&self.settings.config, &kept.alert(), &self.guard)
            }
            _ => Vec::new(),
        };
        why::Remembered {
            address: match kept.offender {
                Some(offender) => offender.to_string(),
                None => kept.offender_text().to_owned(),
            },
            read_at: rfc3339(kept.at, clock::clocks()),
            times: kept.times,
            alert: text(kept),
            outcome: outcome.to_owned(),
            refusal: refusal.map(str::to_owned),
            why,
            acts: acts.iter().map(|act| told(act, kept.at)).collect(),
            sections: sections
                .iter()
                .take(SECTIONS)
                .map(|it| section(it, quiet))
                .collect(),
            sections_untold: sections.len().saturating_sub(SECTIONS),
            reconfigured: kept.at < self.configured,
        }
    }
}

pub(super) fn text(kept: &Kept) -> why::AlertText {
    let owned = |text: Option<&str>| text.map(str::to_owned);
    why::AlertText {
        id: owned(kept.id()),
        rule_id: kept.rule_id,
        level: kept.level,
        description: owned(kept.description()),
        timestamp: owned(kept.timestamp()),
        full_log: owned(kept.full_log()),
        received: kept.offender_text().to_owned(),
    }
}

/// What a section has to say. One that fires for this host is held by a quiet time, if the alert was.
fn section(explanation: &Explanation, quiet: Option<&str>) -> why::Section {
    let fires = explanation.outcome == explain::Outcome::Fires;
    let held = quiet.filter(|_| fires && explanation.target == Target::Server);
    let criterion = |criterion: &Criterion| why::Criterion {
        element: criterion.element().to_owned(),
        matches: criterion.matches(),
        why: criterion.to_string(),
    };
    why::Section {
        response: explanation.response,
        line: explanation.line,
        executable: explanation.executable.name().to_owned(),
        why: held.map_or_else(
            || explanation.outcome.to_string(),
            |quiet| format!("matches, refused: {quiet}"),
        ),
        criteria: explanation.criteria.iter().map(criterion).collect(),
    }
}

fn told(act: &Act, at: Moment) -> why::Act {
    let (outcome, why) = match &act.deed {
        Deed::Elsewhere(target) => ("elsewhere", elsewhere(target)),
        Deed::Ruled(ruling) => ruled(*ruling, at),
    };
    why::Act {
        response: act.response,
        line: act.line,
        executable: act.executable.name().to_owned(),
        outcome: outcome.to_owned(),
        why,
    }
}

fn elsewhere(target: &Target) -> String {
    match target {
        Target::Server => "for this host".to_owned(),
        Target::Agent(agent) => format!("for agent {}, not for this host", agent.as_str()),
        Target::AllAgents => "for all agents, not for this host".to_owned(),
    }
}

fn ruled(ruling: Ruling, at: Moment) -> (&'static str, String) {
    match ruling {
        Ruling::Banned { until, rung } => {
            let why = format!("banned {}{}", lasts(until, rung, at), place(rung));
            ("banned", why)
        }
        Ruling::Moved { until, rung, .. } => {
            let lasts = lasts(until, rung, at);
            let why = format!("banned already; from here on {lasts}{}", place(rung));
            ("moved", why)
        }
        Ruling::AlreadyPermanent { rung } => (
            "already_permanent",
            format!("banned for good already{}", place(rung)),
        ),
        Ruling::OnlyCounted { rung } => (
            "only_counted",
            format!(
                "no ban: the alert was read late, when its ban of {} was over or a later one had set the end{}",
                words(rung.length),
                place(Some(rung))
            ),
        ),
        Ruling::Refused { limit, rung } => {
            ("over_limit", format!("no ban: {limit}{}", place(rung)))
        }
        Ruling::Done { .. } => ("done", "no offence".to_owned()),
    }
}

fn lasts(until: Expiry, rung: Option<Rung>, at: Moment) -> String {
    match (rung, until) {
        (Some(rung), _) => format!("for {}", words(rung.length)),
        (None, Expiry::At(end)) => format!("for {}", words(end.since(at))),
        (None, Expiry::Never) => "for good".to_owned(),
    }
}

fn place(rung: Option<Rung>) -> String {
    match rung {
        None => String::new(),
        Some(rung) if rung.debounced => format!(
            "; still offence {}, as it came so soon after the one before (--debounce)",
            rung.offence
        ),
        Some(rung) => format!("; offence {}", rung.offence),
    }
}

fn words(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}
