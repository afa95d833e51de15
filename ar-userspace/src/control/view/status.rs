//! How the daemon stands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Pending;

/// How the daemon stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_seconds: f64,
    /// The configuration in force.
    pub config: String,
    /// The daemon's own settings file in force; `null` without one.
    pub settings: Option<String>,
    /// Whose packets are counted and not dropped.
    pub shadow: Shadow,
    /// False when the configuration switches active response off (AR-CFG-6).
    pub enabled: bool,
    /// Usable responses of the configuration.
    pub responses: usize,
    /// The file that is followed.
    pub alerts: String,
    /// How that file stands.
    #[serde(default)]
    pub source: Source,
    /// How far the daemon is behind that file.
    #[serde(default)]
    pub load: Load,
    /// What became of the alerts since the start.
    pub counts: Counts,
    /// What stood otherwise in the enforcer than it ought to, since the start.
    #[serde(default)]
    pub drift: Drift,
    /// Addresses that are banned.
    pub active: Active,
    /// Changes by hand that wait to be confirmed.
    #[serde(default)]
    pub pending: Vec<Pending>,
    /// How the store stands.
    #[serde(default)]
    pub store: Store,
    /// The enforcer: `xdp`, `nftables` or `dry-run`.
    #[schemars(extend("enum" = ["xdp", "nftables", "dry-run"]))]
    pub enforcer: String,
    /// Interfaces and how they are covered.
    pub interfaces: Vec<Interface>,
    /// Packets by what the kernel program found out about them.
    pub packets: Vec<Total>,
}

/// What is decided and counted, but not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shadow {
    /// Everything: nothing is dropped.
    pub all: bool,
    /// The bans of sections with these commands.
    pub commands: Vec<String>,
    /// The bans that alerts of these rules lead to.
    pub rules: Vec<u32>,
}

/// How the file that is followed stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Why it cannot be read at the moment; `null` when it can.
    pub trouble: Option<String>,
    /// Whether nothing is there under its name at the moment.
    pub missing: bool,
    /// Rotated files since the start whose alerts are lost, because they were compressed before they were read.
    pub compressed: u64,
}

/// How far the daemon is behind the alert file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// Bytes that are unread, or read and not decided yet. A file that takes the place of this one is counted once the
    /// follower has come to it.
    pub behind_bytes: u64,
    /// How often reading had to wait for decisions since the start, because the queue between them was full.
    pub queue_full: u64,
    /// Counters of offences that were forgotten since the start to make room for others.
    pub forgotten: u64,
}

/// How the store stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Store {
    /// Why nothing can be written at the moment; `null` when all is well.
    pub trouble: Option<StoreTrouble>,
}

/// Why nothing can be written. Bans go on, and what is not stored is read again after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StoreTrouble {
    /// Wall time of the first change that could not be written.
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
    /// What the last attempt said.
    pub cause: String,
    /// Attempts so far.
    pub attempts: u64,
    /// Keys that waited to be written after that attempt.
    pub waiting: usize,
}

/// What became of the alerts since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Lines read.
    pub lines: u64,
    /// Lines that were no alert.
    pub malformed: u64,
    /// Lines over the limit of length.
    pub too_long: u64,
    /// Alerts that at least one section matched.
    pub matched: u64,
    /// Of these, alerts that led to nothing, because of their offender, the white list or the guard.
    pub refused: u64,
    /// Alerts that matched and had been handled before: a file was read again (AR-IMP-8).
    #[serde(default)]
    pub repeated: u64,
    /// Alerts that were read late, after an outage: their bans last from the alerts' own times.
    #[serde(default)]
    pub late: u64,
    /// Offences for other hosts (AR-ROUTE).
    pub elsewhere: u64,
    /// Executables run, to ban, to unban, or for an alert alone.
    pub runs: u64,
    /// Executables not run because too many waited, or because the daemon stopped; failures all the same.
    pub left_out: u64,
    /// Bans made.
    pub bans: u64,
    /// Bans whose end was moved by a repeat.
    pub moved: u64,
    /// Bans ended.
    pub unbans: u64,
    /// Bans refused because a limit was reached.
    pub over_limit: u64,
    /// Effects that an enforcer could not perform.
    pub failed: u64,
    /// TCP sockets with banned peers that were destroyed (`--kill-sockets`).
    #[serde(default)]
    pub sockets_destroyed: u64,
    /// Sockets, and whole looks at them, that failed.
    #[serde(default)]
    pub sockets_failed: u64,
}

/// What somebody else changed in the enforcer while the daemon ran, and what was over there before it started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Drift {
    /// Bans whose entry was gone and was put back.
    pub restored: u64,
    /// Bans whose end was another and was put right.
    pub corrected: u64,
    /// Bans that nobody here had made, taken over.
    pub adopted: u64,
    /// Such bans that must not be, removed.
    pub refused: u64,
    /// Entries of bans that were over, removed.
    pub swept: u64,
}

/// Addresses that are banned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Active {
    /// IPv4 addresses.
    pub v4: usize,
    /// IPv6 addresses.
    pub v6: usize,
    /// IPv4 addresses that there is room for.
    pub room_v4: usize,
    /// IPv6 addresses that there is room for.
    pub room_v6: usize,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native`, `generic`, `tcx`, `nftables`, or `none`: not covered.
    #[schemars(extend("enum" = ["native", "generic", "tcx", "nftables", "none"]))]
    pub mode: String,
    /// Why not in a better way; empty when it is the best.
    pub why: String,
    /// Wall time since when this daemon covers it; `null` when it does not.
    #[serde(default)]
    #[schemars(extend("format" = "date-time"))]
    pub since: Option<String>,
}

/// Packets of one outcome, all interfaces together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Total {
    /// `clean`, `banned`, ...
    pub outcome: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
