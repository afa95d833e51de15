//! The lines of bans that are over.

use serde::{Deserialize, Serialize};

use super::line::{Address, StoredBan, Time};
use crate::config::Executable;
use crate::ledger::{End, Key, Past};
use crate::time::Wall;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredPast {
    address: Address,
    executable: String,
    ban: StoredBan,
    ended: Time,
    how: StoredEnd,
    line: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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

impl From<&Past<Wall>> for StoredPast {
    fn from(past: &Past<Wall>) -> Self {
        Self {
            address: Address(past.key.offender),
            executable: past.key.executable.name().to_owned(),
            ban: StoredBan::from(&past.ban),
            ended: Time(past.at),
            how: match past.end {
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
        }
    }
}

impl From<StoredPast> for Past<Wall> {
    fn from(stored: StoredPast) -> Self {
        Self {
            key: Key {
                offender: stored.address.0,
                executable: Executable::new(&stored.executable),
            },
            ban: stored.ban.into(),
            at: stored.ended.0,
            end: match stored.how {
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
        }
    }
}
