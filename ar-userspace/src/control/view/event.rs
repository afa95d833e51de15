//! What happens, as `GET /v1/events` tells it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ByHand, End, EndedBy, Provisional, ReleaseState};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Its number since the daemon began, each one more than that of the event before it. `begin` and `missed` have that
    /// of the last event up to there.
    pub sequence: u64,
    /// Wall time at which it was told.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// What it is, under `type`, with its fields.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Happening {
    /// The stream begins: the first event of each.
    Begin {
        /// Version of the daemon.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// This client was too slow, and what it did not take is gone.
    Missed {
        /// Events that it was not told.
        events: u64,
    },
    /// A ban was made.
    Ban(Banned),
    /// A ban got another end.
    Moved(Banned),
    /// A ban ended.
    Unban {
        /// The address or network in canonical form.
        address: String,
        /// The executable that held it.
        executable: String,
        /// How it ended.
        end: End,
        /// Who ended it; left out when nobody did by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_by: Option<EndedBy>,
        /// `ended`, or `reversing` while its executable is being run for that; a `failure` follows when it fails.
        state: ReleaseState,
        /// After so long it is taken back unless it is confirmed; left out when it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_seconds: Option<f64>,
    },
    /// A ban or an unban that waited for it was confirmed.
    Confirmed {
        /// The address or network in canonical form.
        address: String,
        /// The executable that holds the ban, or held it.
        executable: String,
        /// What was confirmed.
        change: Provisional,
        /// Who confirmed it.
        confirmed_by: EndedBy,
    },
    /// An address was not banned.
    Refusal {
        /// The address or network in canonical form; `null` when the alert names none.
        address: Option<String>,
        /// By what it was refused.
        by: Refused,
        /// Why, for people; text of an alert in it is escaped.
        cause: String,
        /// The rule of the alert; 0 when it has none, or a ban by hand was refused.
        rule_id: u32,
        /// The alert's own identifier, an attacker's text; `null` when there is none.
        alert_id: Option<String>,
    },
    /// Somebody is to be left in peace for a time, or not any longer.
    Quiet {
        /// The address or network in canonical form.
        address: String,
        /// What became of its quiet time.
        change: QuietChange,
        /// Time left; 0 when it ended.
        seconds_left: f64,
        /// Who asked, and why; left out when its time had come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by_hand: Option<ByHand>,
    },
    /// An enforcer or an executable did not do what it ought to.
    Failure {
        /// The address or network in canonical form; `null` when it is about none.
        address: Option<String>,
        /// The executable; `null` when it is about none.
        executable: Option<String>,
        /// What was to be done, for people.
        what: String,
        /// Why it failed, for people.
        cause: String,
    },
    /// Somebody else changed a ban in the enforcer, and it was put right. Of many in one look, only the first are told.
    Drift {
        /// The address or network in canonical form.
        address: String,
        /// What was found and done, for people.
        what: String,
    },
    /// The configuration was read again, or could not be.
    Reload {
        /// Whether it is in force.
        applied: bool,
        /// What changed by it.
        changes: usize,
        /// Why it is not in force; `null` when it is.
        cause: Option<String>,
    },
    /// An interface is covered in another way than before, or is covered no more, or has gone.
    Interface {
        /// Its name.
        interface: String,
        /// `native`, `generic`, `tcx`, `nftables`; `none` when it is not covered; `gone` when it is not there.
        #[schemars(extend("enum" = ["native", "generic", "tcx", "nftables", "none", "gone"]))]
        mode: String,
        /// Why not in a better way; empty when it is the best.
        why: String,
    },
    /// The daemon stops: the last event of each stream.
    Stop {},
}

/// A ban that was made, or got another end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "BanEvent")]
pub struct Banned {
    /// The address or network in canonical form.
    pub address: String,
    /// The executable that holds it.
    pub executable: String,
    /// Time left; `null` for a permanent ban.
    pub seconds_left: Option<f64>,
    /// The rule of the alert; 0 when there is none.
    pub rule_id: u32,
    /// The alert's own identifier, an attacker's text; `null` when there is none.
    pub alert_id: Option<String>,
    /// Which offence of the address it was; `null` when it counted as none.
    pub offence: Option<u32>,
    /// File and line of the section; `null` when there is none.
    pub section: Option<String>,
    /// Who made it by hand; left out for other bans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<ByHand>,
    /// After so long it is taken back unless it is confirmed; left out when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_seconds: Option<f64>,
    /// It stands again, because the unban before was not confirmed; left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_confirmed: bool,
}

/// What became of a quiet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuietChange {
    /// It has begun.
    Begun,
    /// It has another end.
    Moved,
    /// It is over.
    Ended,
}

/// What refuses a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "RefusedBy")]
pub enum Refused {
    /// The white list has the address.
    WhiteList,
    /// The lock-out guard protects it.
    Guard,
    /// Somebody asked for quiet.
    Quiet,
    /// There is no room for more.
    Limit,
    /// It is nobody's address: loopback, multicast and such.
    Special,
    /// The alert names no usable address.
    Offender,
    /// A ban by hand, for a cause that the text tells.
    Order,
}
