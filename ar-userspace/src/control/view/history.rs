//! Who was banned.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ByHand;

/// Bans, what ended or began last first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// Those that were asked for.
    pub bans: Vec<Past>,
    /// Bans, anyone's, that ended before all that are kept.
    pub forgotten: u64,
}

/// One ban of one executable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Past {
    /// The address or network in canonical form.
    pub address: String,
    /// The executable that held it.
    pub executable: String,
    /// Wall time at which it began.
    #[schemars(extend("format" = "date-time"))]
    pub banned_at: String,
    /// Wall time at which it was to end; `null` for a permanent ban.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Wall time at which it did; `null` while it stands.
    #[schemars(extend("format" = "date-time"))]
    pub ended_at: Option<String>,
    /// How it ended; `null` while it stands.
    pub end: Option<End>,
    /// Who ended or confirmed it; left out when nobody did by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<EndedBy>,
    /// The rule of the alert that led to it; 0 when there is none.
    pub rule_id: u32,
    /// The alert's own identifier; `null` when it had none.
    pub alert_id: Option<String>,
    /// The section, counted over all `<active-response>` elements from 0; `null` when that is not known.
    pub response: Option<usize>,
    /// Its line; `null` while the ban stands, and when the configuration was read again since it began.
    pub line: Option<u32>,
    /// It was found in the kernel, where nobody remembered having made it.
    pub adopted: bool,
    /// Who made it by hand; left out for other bans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
}

/// How a ban ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Its time had come.
    Time,
    /// Somebody ended it.
    Hand,
    /// The white list has its address.
    WhiteList,
    /// Its address must stay reachable.
    Protected,
    /// It goes on with another end, and tells of that as a ban of its own.
    Moved,
    /// It could not be made.
    Failed,
    /// The daemon stopped and released it.
    Stop,
    /// It was made until it would be confirmed, and was not.
    NotConfirmed,
    /// It was confirmed, and goes on as the ban that was asked for, which is told as one of its own.
    Confirmed,
    /// Somebody ended it until that would be confirmed. It stands again as it was when it was not, and has an entry of its
    /// own when it ends.
    Lifted,
}

/// Who ended or confirmed a ban by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedBy {
    /// The user.
    pub uid: u32,
    /// The process; `null` when it could not be seen.
    pub pid: Option<i32>,
}
