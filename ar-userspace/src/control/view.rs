//! What the control socket tells, and the commands print with `--json`.
//!
//! Field names are stable. Times are RFC 3339 in UTC, durations are seconds.

mod confirm;
mod event;
mod history;
mod quiet;
mod status;
pub mod why;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Located;

pub use confirm::{Confirm, Confirmed, ConfirmedChange, Deadline, Pending, Provisional};
pub use event::{Banned as BanEvent, Event, Happening, QuietChange, Refused};
pub use history::{End, EndedBy, History, Past};
pub use quiet::{Quiet, QuietState, Quieted, UnbanOrder};
pub use status::{
    Active, Counts, Drift, Interface, Load, Shadow, Source, Status, Store, StoreTrouble, Total,
};
pub use why::Why;

/// One banned address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ban {
    /// The address in canonical form.
    pub address: String,
    /// Time left; `null` for a permanent ban.
    pub seconds_left: Option<f64>,
    /// Wall time at which it ends; `null` for a permanent ban.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Wall time at which it began.
    #[schemars(extend("format" = "date-time"))]
    pub banned_at: String,
    /// The rule of the alert that led to it; 0 when that is not known.
    pub rule_id: u32,
    /// Packets dropped since it began.
    pub packets: u64,
    /// Bytes dropped since it began.
    pub bytes: u64,
    /// Whether they are not dropped, but only counted.
    pub shadow: bool,
    /// The executables that hold it; empty when the daemon does not run and the kernel was asked.
    pub by: Vec<Holder>,
}

/// One key of a ban (AR-TIME-3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Base name of the executable: `firewall-drop`.
    pub executable: String,
    /// Offences that counted so far.
    pub offences: u32,
    /// The section, counted over all `<active-response>` elements from 0; `null` when that is not known.
    pub response: Option<usize>,
    /// The alert's own identifier; `null` when it had none.
    pub alert_id: Option<String>,
    /// Who made it by hand; left out for other bans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
}

/// Who made a ban by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ByHand {
    /// The user.
    pub uid: u32,
    /// The process; `null` when it could not be seen.
    pub pid: Option<i32>,
    /// In the operator's words; may be empty.
    pub reason: String,
}

/// A ban by hand. Either `seconds` or `permanent` has to be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    {"required": ["seconds"], "properties": {"seconds": {"type": "number"}, "permanent": {"const": false}}},
    {"required": ["permanent"], "properties": {"seconds": {"type": "null"}, "permanent": {"const": true}}},
]))]
pub struct BanOrder {
    /// Addresses and networks in any spelling.
    #[schemars(length(min = 1))]
    pub addresses: Vec<String>,
    /// How long it lasts.
    #[serde(default)]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub seconds: Option<f64>,
    /// Whether it does not end.
    #[serde(default)]
    pub permanent: bool,
    /// Why, up to 256 bytes.
    #[serde(default)]
    #[schemars(length(max = super::MAX_REASON))]
    pub reason: String,
    /// Also an address that the guard protects, and a network that holds protected addresses, which stay free.
    #[serde(default)]
    pub force: bool,
    /// After so long it is taken back unless it is confirmed, 1 to 3600; it is not without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub confirm_seconds: Option<f64>,
}

/// What became of a ban by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Banned {
    /// The address or network in canonical form.
    pub address: String,
    /// How it stands.
    pub state: BanState,
    /// Why it was refused, and what to do; of one that is made by force, what protects it; else `null`.
    pub cause: Option<String>,
    /// When it is taken back unless it is confirmed; left out when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Deadline>,
    /// Quiet times that it ended, its own and those of what stands in it; left out when there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_ended: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// How a ban by hand stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BanState {
    /// It is made.
    Banned,
    /// There was one by hand already, which has the new end.
    Moved,
    /// It is not made.
    Refused,
}

/// What a stop shall leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Let everyone go, also permanent bans, and leave nothing in the kernel. Counters stay.
    pub release: bool,
}

/// Whose counters are to be cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Forgive {
    /// Everyone's: `"all"`.
    All,
    /// Those of these addresses, in any spelling: `{"addresses": [...]}`.
    Addresses(#[schemars(length(min = 1))] Vec<String>),
}

/// What became of a ban that is to end before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// The executable that held it.
    pub executable: String,
    /// How far it is.
    pub state: ReleaseState,
    /// Why it failed; `null` when it did not.
    pub cause: Option<String>,
}

/// How far the end of a ban is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// It is over.
    Ended,
    /// Its executable has been asked to reverse it, and the log tells how that ends.
    Reversing,
    /// The kernel did not let it go.
    Failed,
}

/// One address whose bans were to end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Unbanned {
    /// The address in canonical form.
    pub address: String,
    /// Its bans; empty when it was not banned.
    pub released: Vec<Release>,
    /// When that is taken back unless it is confirmed; left out when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<Deadline>,
    /// What became of its quiet time; left out when nothing was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quieted>,
}

/// Counters that were cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Forgiven {
    /// How many, all addresses together.
    pub counters: usize,
    /// The addresses that were named; empty when everyone was meant.
    pub addresses: Vec<ForgivenAddress>,
}

/// One address whose counters were cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgivenAddress {
    /// The address in canonical form.
    pub address: String,
    /// Its counters; empty when it had none.
    pub counters: Vec<Counter>,
}

/// A counter that was cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counter {
    /// The executable.
    pub executable: String,
    /// Offences that it had.
    pub offences: u32,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reload {
    /// The file.
    pub config: String,
    /// Whether it is in force; otherwise the one before is (AR-CFG-18).
    pub applied: bool,
    /// Every error and warning.
    pub diagnostics: Vec<Located>,
    /// The same for people, as `arfw check` prints it.
    pub text: String,
    /// One line: how many of each, and what the file amounts to.
    pub summary: String,
    /// What is otherwise than before; empty when nothing is, and when it is not in force.
    pub changes: Vec<Change>,
    /// Bans that ended because their addresses are on the white list (AR-IMP-7).
    pub released: Vec<WhiteListed>,
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// `disabled`, `repeated_offenders`, `section`, `order` or `white_list`.
    pub subject: String,
    /// `added`, `removed` or `changed`.
    pub kind: String,
    /// Line in the new file; `null` for what went.
    pub line: Option<usize>,
    /// Line in the old file; `null` for what came.
    pub old_line: Option<usize>,
    /// What it is, or what it is and was.
    pub detail: String,
}

/// One address whose bans ended because it is on the white list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhiteListed {
    /// The address in canonical form.
    pub address: String,
    /// The entry as written.
    pub entry: String,
    /// Its line.
    pub line: usize,
    /// The bans.
    pub released: Vec<Release>,
}

/// Why a request was not carried out (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says of what kind it is.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "about:blank"))]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected and what was found.
    pub detail: String,
}
