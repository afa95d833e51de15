//! Keys, records and positions as bytes.
//!
//! A key is the address's octets behind their number, so that keys of one offender stand together, then
//! the executable's name. A prefix's is one more than that number, its length in bits, the octets, the name. A record
//! and the entries of the history are in postcard's format. A change of any of them raises the store's version.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::config::{Enforcement, Executable};
use crate::ledger::{AlertId, Ban, ByHand, End, Key, Past, Record};
use crate::offender::{Offender, Prefix};
use crate::quiet::Quiet;
use crate::source::{FileId, Finished, Position};
use crate::time::{Expiry, Wall};

/// Times are nanoseconds after the beginning of 1970 in UTC.
#[derive(Debug, Serialize, Deserialize)]
struct StoredRecord<'a> {
    offences: u32,
    last_offence: Option<i64>,
    free_since: Option<i64>,
    #[serde(borrow)]
    ban: Option<StoredBan<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredBan<'a> {
    since: i64,
    /// `None` for a permanent ban.
    until: Option<i64>,
    by_program: bool,
    response: u32,
    rule_id: u32,
    alert_id: &'a str,
    adopted: bool,
}

/// Stands behind the record, and only for a ban by hand; and in a quiet time, which always somebody asked for.
#[derive(Debug, Serialize, Deserialize)]
struct StoredByHand<'a> {
    uid: u32,
    pid: Option<i32>,
    reason: &'a str,
}

/// A ban that is over. Its times stand after the first one, which takes fewer bytes.
#[derive(Debug, Serialize, Deserialize)]
struct StoredPast<'a> {
    key: &'a [u8],
    since: i64,
    /// `None` for a permanent ban.
    until: Option<i64>,
    at: i64,
    by_program: bool,
    response: u32,
    rule_id: u32,
    alert_id: &'a str,
    adopted: bool,
    #[serde(borrow)]
    by_hand: Option<StoredByHand<'a>>,
    end: StoredEnd,
    line: Option<u32>,
}

/// A quiet time; whose, its key tells.
#[derive(Debug, Serialize, Deserialize)]
struct StoredQuiet<'a> {
    since: i64,
    until: i64,
    #[serde(borrow)]
    by: StoredByHand<'a>,
}

/// In an order that stays: its numbers are stored.
#[derive(Debug, Serialize, Deserialize)]
enum StoredEnd {
    Time,
    Hand { uid: u32, pid: Option<i32> },
    WhiteList,
    Protected,
    Moved,
    Failed,
    Stop,
    NotConfirmed,
    Confirmed { uid: u32, pid: Option<i32> },
    Lifted { uid: u32, pid: Option<i32> },
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredPosition<'a> {
    device: u64,
    inode: u64,
    offset: u64,
    before: &'a [u8],
}

/// What came later stands behind the position: a value without it reads as before.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredTimes {
    modified_ns: Option<i64>,
    finished: Vec<StoredFinished>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFinished {
    device: u64,
    inode: u64,
    length: u64,
    modified_ns: i64,
}

pub(super) fn position_value(position: &Position) -> anyhow::Result<Vec<u8>> {
    let stored = StoredPosition {
        device: position.file.device,
        inode: position.file.inode,
        offset: position.offset,
        before: &position.before,
    };
    let finished = position.finished.iter().map(|finished| StoredFinished {
        device: finished.file.device,
        inode: finished.file.inode,
        length: finished.length,
        modified_ns: finished.modified_ns,
    });
    let times = StoredTimes {
        modified_ns: position.modified_ns,
        finished: finished.collect(),
    };
    Ok(postcard::to_stdvec(&(
        stored,
        position.repeats_until,
        times,
    ))?)
}

pub(super) fn position(bytes: &[u8]) -> anyhow::Result<Position> {
    let (stored, rest) = postcard::take_from_bytes(bytes).context("a position cannot be read")?;
    let StoredPosition {
        device,
        inode,
        offset,
        before,
    } = stored;
    let (repeats_until, rest) = later(rest)?;
    let (
        StoredTimes {
            modified_ns,
            finished,
        },
        _,
    ) = later(rest)?;
    let finished = finished.into_iter().map(|stored| Finished {
        file: FileId {
            device: stored.device,
            inode: stored.inode,
        },
        length: stored.length,
        modified_ns: stored.modified_ns,
    });
    Ok(Position {
        file: FileId { device, inode },
        offset,
        before: before.to_vec(),
        repeats_until,
        modified_ns,
        finished: finished.collect(),
    })
}

/// What an older version did not write.
fn later<'a, T: Default + Deserialize<'a>>(bytes: &'a [u8]) -> anyhow::Result<(T, &'a [u8])> {
    if bytes.is_empty() {
        return Ok((T::default(), bytes));
    }
    postcard::take_from_bytes(bytes).context("the end of a position cannot be read")
}

/// Hashes of alert identifiers, eight bytes each.
pub(super) fn handled_value(handled: &[u64]) -> Vec<u8> {
    handled.iter().copied().flat_map(u64::to_be_bytes).collect()
}

pub(super) fn handled(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (hashes, _) = bytes.as_chunks();
    hashes.iter().copied().map(u64::from_be_bytes)
}

/// A row of the history: how many there are, in four bytes, and each of them.
pub(super) fn history_value(entries: &[&Past<Wall>]) -> anyhow::Result<Vec<u8>> {
    let count = u32::try_from(entries.len())?;
    let mut value = count.to_be_bytes().to_vec();
    for past in entries {
        let (key, ban) = (key(&past.key), &past.ban);
        let (alert_id, since) = (ban.alert_id.to_string(), ban.since.as_nanos());
        let after = |wall: Wall| wall.as_nanos().wrapping_sub(since);
        let stored = StoredPast {
            key: &key,
            since,
            until: match ban.until {
                Expiry::At(end) => Some(after(end)),
                Expiry::Never => None,
            },
            at: after(past.at),
            by_program: ban.enforcement == Enforcement::Program,
            response: ban.response,
            rule_id: ban.rule_id,
            alert_id: &alert_id,
            adopted: ban.adopted,
            by_hand: ban.by_hand.as_deref().map(StoredByHand::from),
            end: match past.end {
                End::Time => StoredEnd::Time,
                End::Hand { uid, pid } => StoredEnd::Hand { uid, pid },
                End::WhiteList => StoredEnd::WhiteList,
                End::Protected => StoredEnd::Protected,
                End::Moved => StoredEnd::Moved,
                End::Failed => StoredEnd::Failed,
                End::Stop => StoredEnd::Stop,
                End::NotConfirmed => StoredEnd::NotConfirmed,
                End::Confirmed { uid, pid } => StoredEnd::Confirmed { uid, pid },
                End::Lifted { uid, pid } => StoredEnd::Lifted { uid, pid },
            },
            line: past.line,
        };
        value = postcard::to_extend(&stored, value)?;
    }
    Ok(value)
}

/// How many entries a row of the history has.
pub(super) fn count(row: &[u8]) -> anyhow::Result<u64> {
    let (count, _) = split_count(row)?;
    Ok(count.into())
}

fn split_count(row: &[u8]) -> anyhow::Result<(u32, &[u8])> {
    let (count, entries) = row
        .split_first_chunk()
        .context("a row of the history is too short")?;
    Ok((u32::from_be_bytes(*count), entries))
}

pub(super) fn history(row: &[u8]) -> anyhow::Result<Vec<Past<Wall>>> {
    let (count, mut rest) = split_count(row)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let (stored, after) = postcard::take_from_bytes::<StoredPast<'_>>(rest)
            .context("an entry of the history cannot be read")?;
        entries.push(past(stored)?);
        rest = after;
    }
    if entries.len() != count as usize {
        bail!(
            "a row of the history has {} entries and says {count}",
            entries.len()
        );
    }
    Ok(entries)
}

fn past(stored: StoredPast<'_>) -> anyhow::Result<Past<Wall>> {
    let after = |nanos: i64| Wall::from_nanos(stored.since.wrapping_add(nanos));
    Ok(Past {
        key: read_key(stored.key)?,
        ban: Ban {
            since: Wall::from_nanos(stored.since),
            until: stored
                .until
                .map_or(Expiry::Never, |end| Expiry::At(after(end))),
            enforcement: if stored.by_program {
                Enforcement::Program
            } else {
                Enforcement::Kernel
            },
            response: stored.response,
            rule_id: stored.rule_id,
            alert_id: AlertId::new(stored.alert_id),
            adopted: stored.adopted,
            by_hand: stored.by_hand.map(|by_hand| Box::new(by_hand.into())),
        },
        at: after(stored.at),
        end: match stored.end {
            StoredEnd::Time => End::Time,
            StoredEnd::Hand { uid, pid } => End::Hand { uid, pid },
            StoredEnd::WhiteList => End::WhiteList,
            StoredEnd::Protected => End::Protected,
            StoredEnd::Moved => End::Moved,
            StoredEnd::Failed => End::Failed,
            StoredEnd::Stop => End::Stop,
            StoredEnd::NotConfirmed => End::NotConfirmed,
            StoredEnd::Confirmed { uid, pid } => End::Confirmed { uid, pid },
            StoredEnd::Lifted { uid, pid } => End::Lifted { uid, pid },
        },
        line: stored.line,
    })
}

impl<'a> From<&'a ByHand> for StoredByHand<'a> {
    fn from(by_hand: &'a ByHand) -> Self {
        Self {
            uid: by_hand.uid,
            pid: by_hand.pid,
            reason: &by_hand.reason,
        }
    }
}

impl From<StoredByHand<'_>> for ByHand {
    fn from(StoredByHand { uid, pid, reason }: StoredByHand<'_>) -> Self {
        Self {
            uid,
            pid,
            reason: reason.into(),
        }
    }
}

pub(super) fn key(key: &Key) -> Vec<u8> {
    let mut bytes = offender(key.offender);
    bytes.extend(key.executable.name().bytes());
    bytes
}

/// The beginning of every key: whose it is.
pub(super) fn offender(offender: Offender) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    let head = |number: u8| match offender.is_host() {
        true => vec![number],
        false => vec![number + 1, offender.prefix().bits()],
    };
    match offender.addr() {
        IpAddr::V4(addr) => {
            bytes.extend(head(4));
            bytes.extend(addr.octets());
        }
        IpAddr::V6(addr) => {
            bytes.extend(head(16));
            bytes.extend(addr.octets());
        }
    }
    bytes
}

pub(super) fn quiet_value(quiet: &Quiet<Wall>) -> anyhow::Result<Vec<u8>> {
    let stored = StoredQuiet {
        since: quiet.since.as_nanos(),
        until: quiet.until.as_nanos(),
        by: StoredByHand {
            uid: quiet.uid,
            pid: quiet.pid,
            reason: &quiet.reason,
        },
    };
    Ok(postcard::to_stdvec(&stored)?)
}

pub(super) fn quiet(key: &[u8], value: &[u8]) -> anyhow::Result<Quiet<Wall>> {
    let (offender, rest) = take_offender(key)?;
    if !rest.is_empty() {
        bail!("its key is longer than that of an address or network");
    }
    let stored: StoredQuiet<'_> = postcard::from_bytes(value)
        .with_context(|| format!("the quiet time of {offender} cannot be read"))?;
    Ok(Quiet {
        offender,
        since: Wall::from_nanos(stored.since),
        until: Wall::from_nanos(stored.until),
        uid: stored.by.uid,
        pid: stored.by.pid,
        reason: stored.by.reason.into(),
    })
}

pub(super) fn value(record: &Record<Wall>) -> anyhow::Result<Vec<u8>> {
    let alert_id = record.ban.as_ref().map(|ban| ban.alert_id.to_string());
    let stored = StoredRecord {
        offences: record.offences,
        last_offence: record.last_offence.map(Wall::as_nanos),
        free_since: record.free_since.map(Wall::as_nanos),
        ban: record.ban.as_ref().map(|ban| StoredBan {
            since: ban.since.as_nanos(),
            until: match ban.until {
                Expiry::At(end) => Some(end.as_nanos()),
                Expiry::Never => None,
            },
            by_program: ban.enforcement == Enforcement::Program,
            response: ban.response,
            rule_id: ban.rule_id,
            alert_id: alert_id.as_deref().unwrap_or_default(),
            adopted: ban.adopted,
        }),
    };
    let mut value = postcard::to_stdvec(&stored)?;
    if let Some(by_hand) = record.ban.as_ref().and_then(|ban| ban.by_hand.as_deref()) {
        value.extend(postcard::to_stdvec(&StoredByHand::from(by_hand))?);
    }
    Ok(value)
}

pub(super) fn record(key: &[u8], value: &[u8]) -> anyhow::Result<Record<Wall>> {
    let key = read_key(key)?;
    let unreadable = || format!("the record of {} cannot be read", key.offender);
    let (stored, rest) =
        postcard::take_from_bytes::<StoredRecord<'_>>(value).with_context(unreadable)?;
    let by_hand = match rest {
        [] => None,
        rest => {
            let by_hand: StoredByHand<'_> = postcard::from_bytes(rest).with_context(unreadable)?;
            Some(Box::new(by_hand.into()))
        }
    };
    Ok(Record {
        key,
        offences: stored.offences,
        last_offence: stored.last_offence.map(Wall::from_nanos),
        free_since: stored.free_since.map(Wall::from_nanos),
        ban: stored.ban.map(|ban| Ban {
            since: Wall::from_nanos(ban.since),
            until: ban
                .until
                .map_or(Expiry::Never, |end| Expiry::At(Wall::from_nanos(end))),
            enforcement: if ban.by_program {
                Enforcement::Program
            } else {
                Enforcement::Kernel
            },
            response: ban.response,
            rule_id: ban.rule_id,
            alert_id: AlertId::new(ban.alert_id),
            adopted: ban.adopted,
            by_hand,
        }),
    })
}

fn read_key(bytes: &[u8]) -> anyhow::Result<Key> {
    let (offender, name) = take_offender(bytes)?;
    let name = str::from_utf8(name).context("the name of an executable is not UTF-8")?;
    Ok(Key {
        offender,
        executable: Executable::new(name),
    })
}

/// Whose a key is, and the rest of it.
fn take_offender(bytes: &[u8]) -> anyhow::Result<(Offender, &[u8])> {
    let (len, (addr, rest)) = match bytes {
        [4, rest @ ..] => (None, take_addr::<4>(rest)?),
        [5, len, rest @ ..] => (Some(*len), take_addr::<4>(rest)?),
        [16, rest @ ..] => (None, take_addr::<16>(rest)?),
        [17, len, rest @ ..] => (Some(*len), take_addr::<16>(rest)?),
        _ => bail!("a key begins with none of 4, 5, 16 and 17"),
    };
    let offender = match len {
        None => Offender::new(addr),
        Some(len) => Prefix::new(addr, len)
            .map(Offender::network)
            .with_context(|| format!("a key of {addr} has a length of {len} bits"))?,
    };
    Ok((offender, rest))
}

fn take_addr<const N: usize>(bytes: &[u8]) -> anyhow::Result<(IpAddr, &[u8])>
where
    IpAddr: From<[u8; N]>,
{
    match bytes.split_first_chunk::<N>() {
        Some((octets, name)) => Ok(((*octets).into(), name)),
        None => bail!("the rest of a key, {} bytes, is too short", bytes.len()),
    }
}
