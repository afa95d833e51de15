//! Who is quiet: alerts about these lead to nothing for a time, as somebody asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByHand;

/// Whose bans are to end, and for how long alerts are to lead to nothing from then on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnbanOrder {
    /// Addresses and networks in any spelling.
    #[schemars(length(min = 1))]
    pub addresses: Vec<String>,
    /// After so long the unban is taken back unless it is confirmed, 1 to 3600; it is not without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub confirm_seconds: Option<f64>,
    /// For how long they are quiet, up to 30 days; 0 ends that. Left out, nothing of it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_592_000))]
    pub quiet_seconds: Option<f64>,
    /// Why, up to 256 bytes; only with `quiet_seconds`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = super::super::MAX_REASON))]
    pub reason: String,
}

/// One quiet time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quiet {
    /// The address or network in canonical form.
    pub address: String,
    /// Wall time at which it began.
    #[schemars(extend("format" = "date-time"))]
    pub since: String,
    /// Wall time at which it ends.
    #[schemars(extend("format" = "date-time"))]
    pub until: String,
    /// Time left.
    pub seconds_left: f64,
    /// Who asked, and why.
    pub by_hand: ByHand,
}

/// What became of a quiet time that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quieted {
    /// How it stands.
    pub state: QuietState,
    /// Wall time at which it ends; `null` when the address is not quiet.
    #[schemars(extend("format" = "date-time"))]
    pub until: Option<String>,
    /// Why it was refused, and what to do; else `null`.
    pub cause: Option<String>,
}

/// How a quiet time stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuietState {
    /// It has begun.
    Begun,
    /// There was one already, which has the new end.
    Moved,
    /// It is over.
    Ended,
    /// There was none to end.
    NotQuiet,
    /// It is not made.
    Refused,
}
