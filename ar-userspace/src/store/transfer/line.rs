//! The lines of an export. Whatever a line says is checked while it is read, so that mistakes have their places.

use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::{Held, VERSION};
use super::past::StoredPast;
use crate::config::{Enforcement, Executable};
use crate::ledger::{AlertId, Ban, ByHand, Key, Record};
use crate::offender::Offender;
use crate::quiet::Quiet;
use crate::source::{FileId, Finished, Position};
use crate::time::{Expiry, Wall};

/// The first line: the version, and how much has to follow.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) arfw_store: u64,
    pub(super) records: usize,
    pub(super) positions: usize,
    pub(super) handled: usize,
    /// Quiet times; left out when there are none, as earlier versions did.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) quiet: usize,
    /// Bans that are over. Version 1 had none.
    #[serde(default)]
    pub(super) past: usize,
    /// Bans that ended before those.
    #[serde(default)]
    pub(super) forgotten: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks in this way")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Header {
    pub(super) fn of(held: &Held) -> Self {
        Self {
            arfw_store: VERSION,
            records: held.records.len(),
            positions: held.positions.len(),
            handled: held.handled.len(),
            quiet: held.quiet.len(),
            past: held.history.len(),
            forgotten: held.forgotten,
        }
    }
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Record(StoredRecord),
    Position(StoredPosition),
    Handled(Vec<Handled>),
    Quiet(StoredQuiet),
    Past(StoredPast),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredRecord {
    address: Address,
    executable: String,
    offences: u32,
    last_offence: Option<Time>,
    free_since: Option<Time>,
    ban: Option<StoredBan>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredBan {
    since: Time,
    /// `None` for a permanent ban.
    until: Option<Time>,
    by: By,
    response: u32,
    rule: u32,
    alert: String,
    adopted: bool,
    /// `None` unless somebody banned by hand.
    by_hand: Option<StoredByHand>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredByHand {
    uid: u32,
    pid: Option<i32>,
    reason: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredQuiet {
    address: Address,
    since: Time,
    until: Time,
    by_hand: StoredByHand,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Kernel,
    Program,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredPosition {
    file: FilePath,
    device: u64,
    inode: u64,
    offset: u64,
    before: Hex,
    repeats_until: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modified_ns: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    finished: Vec<StoredFinished>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFinished {
    device: u64,
    inode: u64,
    length: u64,
    modified_ns: i64,
}

/// Declares what is text in a line: how it is written, and how it is read.
macro_rules! text {
    ($name:ident: $from:expr, $to:expr) => {
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                $from(&text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                $to(value)
            }
        }
    };
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Address(pub(super) Offender);

text!(Address: |text: &str| text.parse().map(|prefix| Address(Offender::network(prefix)))
        .map_err(|_| expected("a literal address or network", text)),
    |Address(offender)| offender.to_string());

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Time(pub(super) Wall);

text!(Time: |text: &str| {
    text.parse::<Timestamp>().ok()
        .and_then(|time| i64::try_from(time.as_nanosecond()).ok())
        .map(|nanos| Time(Wall::from_nanos(nanos)))
        .ok_or_else(|| expected("a time such as `2026-11-24T06:00:00.5Z`, 1678 to 2261", text))
}, |Time(wall)| written(wall));

fn written(wall: Wall) -> String {
    // Every number of nanoseconds that fits is a time.
    Timestamp::from_nanosecond(wall.as_nanos().into())
        .map_or_else(|error| error.to_string(), |time| time.to_string())
}

/// The hash of an alert's identifier.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Handled(pub(super) u64);

text!(Handled: |text: &str| {
    bytes(text).and_then(|bytes| bytes.try_into().ok())
        .map(|bytes| Handled(u64::from_be_bytes(bytes)))
        .ok_or_else(|| expected("16 hexadecimal digits", text))
}, |Handled(id)| format!("{id:016x}"));

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Hex(Vec<u8>);

text!(Hex: |text: &str| bytes(text).map(Hex).ok_or_else(|| expected("an even number of hexadecimal digits", text)),
    |Hex(bytes): Hex| super::hex(&bytes));

/// A path, of which `%` and what is not UTF-8 are written as `%` and two hexadecimal digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct FilePath(PathBuf);

text!(FilePath: |text: &str| unescaped(text).map(FilePath).ok_or_else(|| expected("two hexadecimal digits after `%`", text)),
    |FilePath(path): FilePath| escaped(&path));

fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        text.extend(chunk.invalid().iter().map(|byte| format!("%{byte:02x}")));
    }
    text
}

fn unescaped(text: &str) -> Option<PathBuf> {
    let mut parts = text.split('%');
    let mut path = parts.next()?.as_bytes().to_vec();
    for part in parts {
        path.extend(bytes(part.get(..2)?)?);
        path.extend(part.get(2..)?.bytes());
    }
    Some(std::ffi::OsString::from_vec(path).into())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) || !hex.len().is_multiple_of(2) {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

impl From<&Record<Wall>> for StoredRecord {
    fn from(record: &Record<Wall>) -> Self {
        Self {
            address: Address(record.key.offender),
            executable: record.key.executable.name().to_owned(),
            offences: record.offences,
            last_offence: record.last_offence.map(Time),
            free_since: record.free_since.map(Time),
            ban: record.ban.as_ref().map(StoredBan::from),
        }
    }
}

impl From<&Ban<Wall>> for StoredBan {
    fn from(ban: &Ban<Wall>) -> Self {
        Self {
            since: Time(ban.since),
            until: match ban.until {
                Expiry::At(end) => Some(Time(end)),
                Expiry::Never => None,
            },
            by: match ban.enforcement {
                Enforcement::Kernel => By::Kernel,
                Enforcement::Program => By::Program,
            },
            response: ban.response,
            rule: ban.rule_id,
            alert: ban.alert_id.to_string(),
            adopted: ban.adopted,
            by_hand: ban.by_hand.as_ref().map(|by_hand| StoredByHand {
                uid: by_hand.uid,
                pid: by_hand.pid,
                reason: by_hand.reason.to_string(),
            }),
        }
    }
}

impl From<StoredRecord> for Record<Wall> {
    fn from(stored: StoredRecord) -> Self {
        Self {
            key: Key {
                offender: stored.address.0,
                executable: Executable::new(&stored.executable),
            },
            offences: stored.offences,
            last_offence: stored.last_offence.map(|Time(wall)| wall),
            free_since: stored.free_since.map(|Time(wall)| wall),
            ban: stored.ban.map(Ban::from),
        }
    }
}

impl From<StoredBan> for Ban<Wall> {
    fn from(ban: StoredBan) -> Self {
        Self {
            since: ban.since.0,
            until: ban.until.map_or(Expiry::Never, |Time(end)| Expiry::At(end)),
            enforcement: match ban.by {
                By::Kernel => Enforcement::Kernel,
                By::Program => Enforcement::Program,
            },
            response: ban.response,
            rule_id: ban.rule,
            alert_id: AlertId::new(&ban.alert),
            adopted: ban.adopted,
            by_hand: ban.by_hand.map(|by_hand| {
                Box::new(ByHand {
                    uid: by_hand.uid,
                    pid: by_hand.pid,
                    reason: by_hand.reason.into(),
                })
            }),
        }
    }
}

impl From<&Quiet<Wall>> for StoredQuiet {
    fn from(quiet: &Quiet<Wall>) -> Self {
        Self {
            address: Address(quiet.offender),
            since: Time(quiet.since),
            until: Time(quiet.until),
            by_hand: StoredByHand {
                uid: quiet.uid,
                pid: quiet.pid,
                reason: quiet.reason.to_string(),
            },
        }
    }
}

impl From<StoredQuiet> for Quiet<Wall> {
    fn from(stored: StoredQuiet) -> Self {
        Self {
            offender: stored.address.0,
            since: stored.since.0,
            until: stored.until.0,
            uid: stored.by_hand.uid,
            pid: stored.by_hand.pid,
            reason: stored.by_hand.reason.into(),
        }
    }
}

impl StoredPosition {
    pub(super) fn new(file: &Path, position: &Position) -> Self {
        let finished = position.finished.iter().map(|finished| StoredFinished {
            device: finished.file.device,
            inode: finished.file.inode,
            length: finished.length,
            modified_ns: finished.modified_ns,
        });
        Self {
            file: FilePath(file.to_owned()),
            device: position.file.device,
            inode: position.file.inode,
            offset: position.offset,
            before: Hex(position.before.clone()),
            repeats_until: position.repeats_until,
            modified_ns: position.modified_ns,
            finished: finished.collect(),
        }
    }
}

impl From<StoredPosition> for (PathBuf, Position) {
    fn from(stored: StoredPosition) -> Self {
        let finished = stored.finished.into_iter().map(|stored| Finished {
            file: FileId {
                device: stored.device,
                inode: stored.inode,
            },
            length: stored.length,
            modified_ns: stored.modified_ns,
        });
        let position = Position {
            file: FileId {
                device: stored.device,
                inode: stored.inode,
            },
            offset: stored.offset,
            before: stored.before.0,
            repeats_until: stored.repeats_until,
            modified_ns: stored.modified_ns,
            finished: finished.collect(),
        };
        (stored.file.0, position)
    }
}

fn expected(what: impl fmt::Display, found: &str) -> String {
    format!("expected {what}, found {}", crate::diagnostic::quote(found))
}

/// A mistake of a line with its place; columns are bytes, from 1.
pub(super) fn told(error: &serde_json::Error, number: usize) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let text = text.strip_suffix(&place).unwrap_or(&text);
    let text = if text.starts_with("expected ") && text.contains(", found ") {
        text.to_owned()
    } else if let Some((found, wanted)) = text.rsplit_once(", expected ") {
        let found = found.trim_start_matches("invalid type: ");
        format!("expected {wanted}, found {found}")
    } else if let Some(field) = text.strip_prefix("missing field ") {
        format!("expected the field {field}, found none")
    } else {
        format!("expected one object of JSON, found a mistake: {text}")
    };
    format!("{number}:{}: {text}", error.column().max(1))
}
