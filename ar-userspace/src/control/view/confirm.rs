//! Changes by hand that are taken back unless they are confirmed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EndedBy;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provisional {
    /// A ban, which ends when it is taken back.
    Ban,
    /// An unban; the ban stands again when it is taken back.
    Unban,
}

/// When a change is taken back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Deadline {
    /// Time left.
    pub seconds_left: f64,
    /// Wall time.
    #[schemars(extend("format" = "date-time"))]
    pub at: String,
}

/// A change that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pending {
    /// The address or network in canonical form.
    pub address: String,
    /// What it is.
    pub change: Provisional,
    /// The executable that held the ban, or under whose name it will stand.
    pub executable: String,
    /// When it is taken back.
    pub confirm: Deadline,
    /// Who asked for it.
    pub by: EndedBy,
}

/// Whose changes are confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Confirm {
    /// Everyone's: `"all"`.
    All,
    /// Those of these addresses and networks, in any spelling: `{"addresses": [...]}`.
    Addresses(#[schemars(length(min = 1))] Vec<String>),
}

/// One address whose changes were to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmed {
    /// The address or network in canonical form.
    pub address: String,
    /// Its changes; empty when none waited.
    pub changes: Vec<ConfirmedChange>,
}

/// A change that was to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfirmedChange {
    /// What it is.
    pub change: Provisional,
    /// The executable that held the ban, or under whose name it stands.
    pub executable: String,
    /// Why it could not be confirmed; `null` when it is.
    pub cause: Option<String>,
}
