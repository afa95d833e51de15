//! Why somebody is banned, or is not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByHand, Past, Quiet};

/// What is known of one address or network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The address or network in canonical form; what was asked for when that is neither.
    pub address: String,
    /// Whether it is an address or a network. Nothing else can be banned; alerts may have it in an address's place.
    pub is_address: bool,
    /// Whether a ban of `bans` applies.
    pub banned: bool,
    /// As in the status; `dry-run` drops nothing.
    #[schemars(extend("enum" = ["xdp", "nftables", "dry-run"]))]
    pub enforcer: String,
    /// The configuration in force.
    pub config: String,
    /// What spares it from bans at the moment; `null` when nothing does.
    pub spared: Option<Spared>,
    /// The quiet time that holds for it, its own or that of a network which holds it; `null` without one.
    #[serde(default)]
    pub quiet: Option<Quiet>,
    /// Its own bans, one for each executable, then those of networks that hold it, the widest first.
    pub bans: Vec<Reason>,
    /// Alerts about it that are remembered, what was read last first.
    pub alerts: Vec<Remembered>,
    /// Since when alerts are remembered: the daemon's start.
    #[schemars(extend("format" = "date-time"))]
    pub alerts_since: String,
    /// Its bans that ended last, and those of networks that meet it, newest first.
    pub past: Vec<Past>,
    /// Why the past cannot be told; `null` when it can.
    pub past_trouble: Option<String>,
}

/// What spares an address from bans.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spared {
    /// `guard`, `white_list`, or `special`: an address that is nobody's own.
    #[schemars(extend("enum" = ["guard", "white_list", "special"]))]
    pub by: String,
    /// In words.
    pub why: String,
}

/// One ban and what led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The address or network that is banned.
    pub address: String,
    /// False when it is a network's and this address is spared.
    pub applies: bool,
    /// Base name of the executable, or `manual`.
    pub executable: String,
    /// What makes it true: `kernel` or `program`.
    #[schemars(extend("enum" = ["kernel", "program"]))]
    pub enforcement: String,
    /// Wall time at which it began.
    #[schemars(extend("format" = "date-time"))]
    pub banned_at: String,
    /// Wall time at which it ends; `null` for a permanent ban.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Time left; `null` for a permanent ban.
    pub seconds_left: Option<f64>,
    /// Packets dropped since it began, all executables together; `null` when nobody counts them.
    pub packets: Option<u64>,
    /// Bytes dropped since it began.
    pub bytes: Option<u64>,
    /// Wall time of the last packet; `null` when there was none, and when the enforcer does not tell.
    #[schemars(extend("format" = "date-time"))]
    pub last_seen: Option<String>,
    /// Found in the kernel, where nobody remembered having made it.
    pub adopted: bool,
    /// Who made it; left out when an alert led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
    /// The section that set its end, counted over all `<active-response>` elements from 0; `null` without one.
    pub response: Option<usize>,
    /// The line where that section stood then; `null` when that is not known.
    pub line: Option<usize>,
    /// Offences that count.
    pub offences: u32,
    /// How long it lasts from the offence that set its end; `null` for a permanent ban.
    pub seconds: Option<u64>,
    /// How long the next offence would be banned; `null` when it would be for good, or is not known.
    pub next_seconds: Option<u64>,
    /// The rule that set its end; 0 without one.
    pub rule_id: u32,
    /// The alert's own identifier; `null` when it had none.
    pub alert_id: Option<String>,
    /// The alert, while it is remembered.
    pub alert: Option<AlertText>,
}

/// One alert, or several that are alike, of which it is the last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Remembered {
    /// The address; what the alert has in its place when that is none.
    pub address: String,
    /// Wall time at which it was read.
    #[schemars(extend("format" = "date-time"))]
    pub read_at: String,
    /// Alerts of this offender, with this rule and outcome.
    pub times: u64,
    /// The alert itself.
    #[serde(flatten)]
    pub alert: AlertText,
    /// `unmatched`, `refused`, `repeated` or `fired`.
    #[schemars(extend("enum" = ["unmatched", "refused", "repeated", "fired"]))]
    pub outcome: String,
    /// For `refused`: why, as `arfw explain` names it; else `null`.
    #[schemars(extend("enum" = ["disabled", "injection", "no_offender", "not_an_address", "special", "protected", "white_listed", "quiet", null]))]
    pub refusal: Option<String>,
    /// In words: what came of it.
    pub why: String,
    /// What each section that fired did.
    pub acts: Vec<Act>,
    /// Why each section did or did not match, by the configuration in force. Only for `unmatched` and `refused`.
    pub sections: Vec<Section>,
    /// Further sections.
    pub sections_untold: usize,
    /// The configuration was read again since: `sections` may tell otherwise than it was decided.
    pub reconfigured: bool,
}

/// What is remembered of an alert's text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AlertText {
    /// Its own identifier.
    pub id: Option<String>,
    /// The rule's number.
    pub rule_id: Option<u32>,
    /// The rule's level.
    pub level: u8,
    /// What the rule says.
    pub description: Option<String>,
    /// When it was written, as it says itself.
    pub timestamp: Option<String>,
    /// The beginning of the log line: an attacker's text.
    pub full_log: Option<String>,
    /// The offender as the alert has it.
    pub received: String,
}

/// What a section that fired did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Act {
    /// Which section, counted over all `<active-response>` elements from 0.
    pub response: usize,
    /// Its line then.
    pub line: usize,
    /// The executable.
    pub executable: String,
    /// `banned`, `moved`, `already_permanent`, `only_counted`, `over_limit` or `elsewhere`.
    #[schemars(extend("enum" = ["banned", "moved", "already_permanent", "only_counted", "over_limit", "elsewhere"]))]
    pub outcome: String,
    /// In words.
    pub why: String,
}

/// What a section has to say about an alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Section {
    /// Counted over all `<active-response>` elements from 0.
    pub response: usize,
    /// Its line.
    pub line: usize,
    /// Its executable.
    pub executable: String,
    /// In words.
    pub why: String,
    /// Each criterion.
    pub criteria: Vec<Criterion>,
}

/// One criterion beside what the alert has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Criterion {
    /// `level`, `rules_group` or `rules_id`.
    #[schemars(extend("enum" = ["level", "rules_group", "rules_id"]))]
    pub element: String,
    /// Whether it matches.
    pub matches: bool,
    /// In words.
    pub why: String,
}
