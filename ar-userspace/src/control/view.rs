//! What the control socket tells, and the commands print with `--json`.
//!
//! Field names are stable. Times are RFC 3339 in UTC, durations are seconds.

mod confirm;
mod event;
mod history;
mod quiet;
pub mod why;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Located;

pub use confirm::{Confirm, Confirmed, ConfirmedChange, Deadline, Pending, Provisional};
pub use event::{Banned as BanEvent, Event, Happening, QuietChange, Refused};
pub use history::{End, EndedBy, History, Past};
pub use quiet::{Quiet, QuietState, Quieted, UnbanOrder};
pub use why::Why;

/// One banned address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// The address in canonical form.
    pub address: String,
    /// Time left; `null` for a permanent ban.
    pub seconds_left: Option<f64>,
    /// Wall time at which it ends; `null` for a permanent ban.
    pub expires_at: Option<String>,
    /// Wall time at which it began.
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

/// What is decided and counted, but not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Everything: nothing is dropped.
    pub all: bool,
    /// The bans of sections with these commands.
    pub commands: Vec<String>,
    /// The bans that alerts of these rules lead to.
    pub rules: Vec<u32>,
}

/// One key of a ban (AR-TIME-3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// The user.
    pub uid: u32,
    /// The process; `null` when it could not be seen.
    pub pid: Option<i32>,
    /// In the operator's words; may be empty.
    pub reason: String,
}

/// A ban by hand. Either `seconds` or `permanent` has to be there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BanOrder {
    /// Addresses and networks in any spelling.
    pub addresses: Vec<String>,
    /// How long it lasts.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Whether it does not end.
    #[serde(default)]
    pub permanent: bool,
    /// Why, up to 256 bytes.
    #[serde(default)]
    pub reason: String,
    /// Also an address that the guard protects, and a network that holds protected addresses, which stay free.
    #[serde(default)]
    pub force: bool,
    /// After so long it is taken back unless it is confirmed, 1 to 3600; it is not without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_seconds: Option<f64>,
}

/// What became of a ban by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// Let everyone go, also permanent bans, and leave nothing in the kernel. Counters stay.
    pub release: bool,
}

/// Whose counters are to be cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forgive {
    /// Everyone's: `"all"`.
    All,
    /// Those of these addresses, in any spelling: `{"addresses": [...]}`.
    Addresses(Vec<String>),
}

/// What became of a ban that is to end before its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The executable that held it.
    pub executable: String,
    /// How far it is.
    pub state: ReleaseState,
    /// Why it failed; `null` when it did not.
    pub cause: Option<String>,
}

/// How far the end of a ban is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgiven {
    /// How many, all addresses together.
    pub counters: usize,
    /// The addresses that were named; empty when everyone was meant.
    pub addresses: Vec<ForgivenAddress>,
}

/// One address whose counters were cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgivenAddress {
    /// The address in canonical form.
    pub address: String,
    /// Its counters; empty when it had none.
    pub counters: Vec<Counter>,
}

/// A counter that was cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// The executable.
    pub executable: String,
    /// Offences that it had.
    pub offences: u32,
}

/// What came of reading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the status says of what kind it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was expected and what was found.
    pub detail: String,
}

/// How the daemon stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The enforcer: `xdp`, `dry-run`.
    pub enforcer: String,
    /// Interfaces and how they are covered.
    pub interfaces: Vec<Interface>,
    /// Packets by what the kernel program found out about them.
    pub packets: Vec<Total>,
}

/// How the file that is followed stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Why it cannot be read at the moment; `null` when it can.
    pub trouble: Option<String>,
    /// Whether nothing is there under its name at the moment.
    pub missing: bool,
    /// Rotated files since the start whose alerts are lost, because they were compressed before they were read.
    pub compressed: u64,
}

/// How far the daemon is behind the alert file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Store {
    /// Why nothing can be written at the moment; `null` when all is well.
    pub trouble: Option<StoreTrouble>,
}

/// Why nothing can be written. Bans go on, and what is not stored is read again after a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreTrouble {
    /// Wall time of the first change that could not be written.
    pub since: Option<String>,
    /// What the last attempt said.
    pub cause: String,
    /// Attempts so far.
    pub attempts: u64,
    /// Keys that waited to be written after that attempt.
    pub waiting: usize,
}

/// What became of the alerts since the start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `native`, `generic`, `tcx` or `none`.
    pub mode: String,
    /// Why not in a better way; empty when it is the best.
    pub why: String,
    /// Wall time since when this daemon covers it; `null` when it does not.
    #[serde(default)]
    pub since: Option<String>,
}

/// Packets of one outcome, all interfaces together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Total {
    /// `clean`, `banned`, ...
    pub outcome: String,
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}
