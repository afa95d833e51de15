//! Keys, records and positions as bytes.
//!
//! A key is the address's octets behind their number, so that keys of one offender stand together, then
//! the executable's name. A record is in postcard's format. A change of either raises the store's version.

use std::net::IpAddr;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::config::{Enforcement, Executable};
use crate::ledger::{AlertId, Ban, Key, Record};
use crate::offender::Offender;
use crate::source::{FileId, Position};
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

#[derive(Debug, Serialize, Deserialize)]
struct StoredPosition<'a> {
    device: u64,
    inode: u64,
    offset: u64,
    before: &'a [u8],
}

pub(super) fn position_value(position: &Position) -> anyhow::Result<Vec<u8>> {
    let stored = StoredPosition {
        device: position.file.device,
        inode: position.file.inode,
        offset: position.offset,
        before: &position.before,
    };
    // The last number came later: without it the value reads as before.
    Ok(postcard::to_stdvec(&(stored, position.repeats_until))?)
}

pub(super) fn position(bytes: &[u8]) -> anyhow::Result<Position> {
    let (stored, rest) = postcard::take_from_bytes(bytes).context("a position cannot be read")?;
    let StoredPosition {
        device,
        inode,
        offset,
        before,
    } = stored;
    let repeats_until = match rest {
        [] => 0,
        rest => postcard::from_bytes(rest).context("the end of a position cannot be read")?,
    };
    Ok(Position {
        file: FileId { device, inode },
        offset,
        before: before.to_vec(),
        repeats_until,
    })
}

/// Hashes of alert identifiers, eight bytes each.
pub(super) fn handled_value(handled: &[u64]) -> Vec<u8> {
    handled.iter().copied().flat_map(u64::to_be_bytes).collect()
}

pub(super) fn handled(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (hashes, _) = bytes.as_chunks();
    hashes.iter().copied().map(u64::from_be_bytes)
}

pub(super) fn key(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32);
    match key.offender.addr() {
        IpAddr::V4(addr) => {
            bytes.push(4);
            bytes.extend(addr.octets());
        }
        IpAddr::V6(addr) => {
            bytes.push(16);
            bytes.extend(addr.octets());
        }
    }
    bytes.extend(key.executable.name().bytes());
    bytes
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
    Ok(postcard::to_stdvec(&stored)?)
}

pub(super) fn record(key: &[u8], value: &[u8]) -> anyhow::Result<Record<Wall>> {
    let key = read_key(key)?;
    let stored: StoredRecord<'_> = postcard::from_bytes(value)
        .with_context(|| format!("the record of {} cannot be read", key.offender))?;
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
        }),
    })
}

fn read_key(bytes: &[u8]) -> anyhow::Result<Key> {
    let (addr, name): (IpAddr, &[u8]) = match bytes {
        [4, rest @ ..] => match rest.split_first_chunk::<4>() {
            Some((octets, name)) => ((*octets).into(), name),
            None => bail!("a key of {} bytes is too short", bytes.len()),
        },
        [16, rest @ ..] => match rest.split_first_chunk::<16>() {
            Some((octets, name)) => ((*octets).into(), name),
            None => bail!("a key of {} bytes is too short", bytes.len()),
        },
        _ => bail!("a key begins with neither 4 nor 16"),
    };
    let name = str::from_utf8(name).context("the name of an executable is not UTF-8")?;
    Ok(Key {
        offender: Offender::new(addr),
        executable: Executable::new(name),
    })
}
