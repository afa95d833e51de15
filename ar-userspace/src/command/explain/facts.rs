//! What `arfw explain --json` prints, and what its text is made of. Described in docs/explain-and-replay.md.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::Explainer;
use crate::alert::{Alert, Quoted};
use crate::config::{Config, Enforcement, Response, WhiteListEntry};
use crate::diagnostic::quote;
use crate::policy::Target;
use crate::policy::explain::{self, Criterion, Explanation, Outcome};
use crate::request::{self, WireName};

/// One alert against one configuration.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Explanation")]
pub(in crate::command) struct Facts {
    /// The file, as given.
    pub(super) config: String,
    /// False when the configuration switches active response off.
    pub(super) enabled: bool,
    /// Whether at least one section fires.
    pub(super) fires: bool,
    /// What the alert says.
    pub(super) alert: AlertFacts,
    /// Whom it names; `null` when it names nobody.
    pub(super) offender: Option<OffenderFacts>,
    /// Why no section that matches may act.
    pub(super) refusal: Option<Refused>,
    /// In document order.
    pub(super) sections: Vec<Section>,
}

/// What an alert says.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedAlert")]
pub(super) struct AlertFacts {
    pub(super) id: Option<String>,
    pub(super) rule_id: Option<u32>,
    pub(super) level: u8,
    pub(super) description: Option<String>,
    pub(super) groups: Vec<String>,
    /// `null` for the manager's own alerts.
    pub(super) agent_id: Option<String>,
    pub(super) agent_name: Option<String>,
    pub(super) location: Option<String>,
    /// Whether the loop guard looks at it.
    pub(super) own_log: bool,
}

/// Whom an alert names.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedOffender")]
pub(super) struct OffenderFacts {
    /// The field it was taken from.
    pub(super) field: &'static str,
    /// As received.
    pub(super) text: String,
    /// In canonical form; `null` when the text is no address.
    pub(super) address: Option<String>,
    /// `loopback` and the like.
    pub(super) special: Option<String>,
    /// Why this host must stay able to reach it.
    pub(super) protected: Option<String>,
    /// The entry of the white list that has it.
    pub(super) white_listed: Option<Entry>,
}

/// An entry of the white list.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WhiteListEntry")]
pub(super) struct Entry {
    /// As written.
    pub(super) entry: String,
    /// Its line.
    pub(super) line: usize,
}

/// What is against any ban.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedRefusal")]
pub(super) struct Refused {
    /// `disabled`, `injection`, `no_offender`, `not_an_address`, `special`, `protected` or `white_listed`.
    #[schemars(extend("enum" = [
        "disabled", "injection", "no_offender", "not_an_address", "special", "protected", "white_listed"
    ]))]
    pub(super) reason: &'static str,
    /// In words.
    pub(super) text: String,
}

/// What a section does with the alert.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedSection")]
pub(super) struct Section {
    /// Among all `<active-response>` elements, from 0.
    pub(super) index: usize,
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) executable: String,
    /// `kernel` or `program`.
    #[schemars(extend("enum" = ["kernel", "program"]))]
    pub(super) enforcement: &'static str,
    /// `manager`, `agent NUMBER` or `all agents`.
    pub(super) target: String,
    pub(super) criteria: Vec<CriterionFacts>,
    /// `fires`, `refused`, `unmatched`, `loop_guard`, `no_level`, `no_criterion` or `asks_for_manager`.
    #[schemars(extend("enum" = [
        "fires", "refused", "unmatched", "loop_guard", "no_level", "no_criterion", "asks_for_manager"
    ]))]
    pub(super) outcome: &'static str,
    /// In words.
    pub(super) why: String,
    /// Seconds of the first, second, ... ban; the last one stays. Empty: for ever.
    pub(super) ladder_seconds: Vec<u64>,
    /// What is sent to the target when the section fires and that is another host (AR-WIRE-2).
    pub(super) request: Option<String>,
    /// Its name for the response.
    #[serde(skip)]
    pub(super) wire_name: Option<String>,
}

/// One criterion beside what the alert has.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ExplainedCriterion")]
pub(super) struct CriterionFacts {
    /// `level`, `rules_group` or `rules_id`.
    #[schemars(extend("enum" = ["level", "rules_group", "rules_id"]))]
    pub(super) element: &'static str,
    /// Whether it matches.
    pub(super) matches: bool,
    /// In words.
    pub(super) why: String,
    /// The same for a page that lists the alert's groups already.
    #[serde(skip)]
    pub(super) in_words: String,
}

/// `line` is the alert as received.
pub(super) fn facts(explainer: &Explainer, alert: &Alert<'_>, line: &[u8]) -> Facts {
    let (config, guard) = (&explainer.config, &explainer.guard);
    let explanations = explain::explain(config, alert, guard);
    let suspect = explain::suspect(config, alert, guard);
    let offender = alert.offender.as_ref().map(|received| OffenderFacts {
        field: received.field,
        text: received.text.clone().into_owned(),
        address: suspect.offender.map(|it| it.to_string()),
        special: suspect.special.map(|it| it.to_string()),
        protected: suspect.protected.as_ref().map(ToString::to_string),
        white_listed: suspect.white_listed.as_ref().map(entry),
    });
    Facts {
        config: explainer.name.clone(),
        enabled: config.enabled,
        fires: explanations.iter().any(|it| it.outcome == Outcome::Fires),
        alert: alert_facts(alert),
        offender,
        refusal: suspect.refusal.as_ref().map(|refusal| Refused {
            reason: refusal.word(),
            text: refusal.to_string(),
        }),
        sections: explanations
            .iter()
            .map(|explanation| section(explainer, explanation, line))
            .collect(),
    }
}

fn entry(entry: &WhiteListEntry) -> Entry {
    Entry {
        entry: entry.text.clone(),
        line: entry.line,
    }
}

fn alert_facts(alert: &Alert<'_>) -> AlertFacts {
    let text = |quoted: Option<Quoted<'_>>| quoted.map(|it| it.decode().into_owned());
    let context = &alert.context;
    AlertFacts {
        id: alert.id.as_deref().map(str::to_owned),
        rule_id: alert.rule_id,
        level: alert.level,
        description: text(context.description),
        groups: alert.groups.iter().map(ToString::to_string).collect(),
        agent_id: alert.agent_id.as_deref().map(str::to_owned),
        agent_name: text(context.agent_name),
        location: text(context.location),
        own_log: explain::is_own_log(alert),
    }
}

fn section(explainer: &Explainer, explanation: &Explanation, line: &[u8]) -> Section {
    let asked = asked(&explainer.config, explanation);
    Section {
        index: explanation.response,
        line: explanation.line,
        command: explanation.command.clone(),
        executable: explanation.executable.name().to_owned(),
        enforcement: match explanation.enforcement {
            Enforcement::Kernel => "kernel",
            Enforcement::Program => "program",
        },
        target: match &explanation.target {
            Target::Server => "manager".to_owned(),
            Target::Agent(id) => format!("agent {id}"),
            Target::AllAgents => "all agents".to_owned(),
        },
        criteria: explanation.criteria.iter().map(criterion).collect(),
        outcome: explanation.outcome.word(),
        why: explanation.outcome.to_string(),
        ladder_seconds: explanation.ladder.iter().map(Duration::as_secs).collect(),
        request: asked.map(|response| {
            let alert = String::from_utf8_lossy(line);
            let request = request::request(&explainer.node, response, alert.trim());
            format!("{}{request}", request::LINK_PREFIX)
        }),
        wire_name: asked.map(|response| WireName::of(response).to_string()),
    }
}

/// The response that another host is asked to execute.
fn asked<'c>(config: &'c Config, explanation: &Explanation) -> Option<&'c Response> {
    if explanation.outcome != Outcome::Fires || explanation.target == Target::Server {
        return None;
    }
    let mut responses = config.responses.iter();
    responses.find(|response| response.index == explanation.response)
}

fn criterion(criterion: &Criterion) -> CriterionFacts {
    CriterionFacts {
        element: criterion.element(),
        matches: criterion.matches(),
        why: criterion.to_string(),
        in_words: in_words(criterion),
    }
}

fn in_words(criterion: &Criterion) -> String {
    let Criterion::RulesGroup { alternatives, .. } = criterion else {
        return criterion.to_string();
    };
    let matches = criterion.matches();
    let told: Vec<String> = alternatives
        .iter()
        .filter(|(_, it)| *it == matches)
        .map(|(alternative, _)| quote(alternative))
        .collect();
    match matches {
        true => format!("in the groups: {}", told.join(", ")),
        false => format!("not in the groups: {}", told.join(", ")),
    }
}
