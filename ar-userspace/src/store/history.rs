//! Bans that are over: written with the changes that ended them, bounded, and read apart from the writing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use redb::{
    ReadTransaction, ReadableDatabase as _, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};

use super::{RECORDS, Shared, encoding};
use crate::ledger::{History, Key, Past, Record};
use crate::offender::Offender;
use crate::time::Wall;

/// Bans that are over, some of one transaction together: the number of the first, counted from the beginning and with
/// those that were lost, to their bytes. What is older than the last [`History::MOST`] is removed.
pub(super) const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");

/// Entries of one row. One row for each ban would cost a burst an insertion each; one for all would not let go of a
/// large burst bit by bit.
const PER_ROW: usize = 1024;

/// Adds what ended, oldest first.
pub(super) fn add(transaction: &WriteTransaction, history: &History<Wall>) -> anyhow::Result<()> {
    if history.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(HISTORY)?;
    let mut next = match table.last()? {
        Some((first, row)) => first.value() + encoding::count(row.value())?,
        None => 0,
    };
    next += history.forgotten();
    let mut entries = history.entries().iter().peekable();
    while entries.peek().is_some() {
        let row: Vec<&Past<Wall>> = entries.by_ref().take(PER_ROW).collect();
        table.insert(next, &*encoding::history_value(&row)?)?;
        next += row.len() as u64;
    }
    let kept_from = next.saturating_sub(History::<Wall>::MOST as u64);
    loop {
        let end = match table.first()? {
            Some((first, row)) => first.value() + encoding::count(row.value())?,
            None => break,
        };
        if end > kept_from {
            break;
        }
        table.pop_first()?;
    }
    Ok(())
}

/// Everything that is kept, oldest first.
#[cfg(test)]
pub(super) fn all(database: &redb::Database) -> anyhow::Result<Vec<Past<Wall>>> {
    let mut all = Vec::new();
    for row in database.begin_read()?.open_table(HISTORY)?.iter()? {
        all.extend(encoding::history(row?.1.value())?);
    }
    Ok(all)
}

/// Whose history is asked for, and how much of it.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Bans of what has an address in common with this one; `None` for everyone's.
    pub offender: Option<Offender>,
    /// How many bans at most.
    pub limit: usize,
}

/// A ban as the history tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is over.
    Past(Past<Wall>),
    /// It was not over when the store was written; it may have ended meanwhile.
    Running(Record<Wall>),
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What ended last or began last, newest first.
    pub told: Vec<Told>,
    /// Bans, anyone's, that ended before all that are kept.
    pub forgotten: u64,
}

/// Reads a store's history in any thread, while the store is written.
#[derive(Clone, Debug)]
pub struct Reader(pub(super) Arc<Shared>);

impl Reader {
    /// As [`Store::wait`](super::Store::wait).
    #[must_use]
    pub fn wait(&self, limit: Duration) -> bool {
        self.0.wait(limit)
    }

    /// Reads as of the last commit. Takes time in proportion to all that is stored, and memory to `limit`.
    ///
    /// # Errors
    ///
    /// When the store cannot be read, as while it cannot be written.
    pub fn read(&self, query: Query) -> anyhow::Result<Answer> {
        let database = self.0.open();
        let database = database
            .context("the store is not open: it could not be written; `arfw status` says why")?;
        read(&database.begin_read()?, query)
    }
}

fn read(transaction: &ReadTransaction, query: Query) -> anyhow::Result<Answer> {
    let meant = |key: &Key| {
        query
            .offender
            .is_none_or(|offender| offender.prefix().meets(key.offender.prefix()))
    };
    let mut answer = Answer::default();
    let mut told = Vec::new();
    match transaction.open_table(HISTORY) {
        Err(TableError::TableDoesNotExist(_)) => {}
        table => {
            let table = table?;
            if let Some((first, _)) = table.first()? {
                answer.forgotten = first.value();
            }
            'rows: for row in table.iter()?.rev() {
                let (_, row) = row?;
                for past in encoding::history(row.value())?.into_iter().rev() {
                    if told.len() == query.limit {
                        break 'rows;
                    }
                    if meant(&past.key) {
                        told.push((past.at, Told::Past(past)));
                    }
                }
            }
        }
    }
    let running = newest_running(transaction, query.limit, meant)?;
    told.extend(running);
    // Stable, so that of one time those that ended last stand first.
    told.sort_by_key(|(at, _)| Reverse(*at));
    told.truncate(query.limit);
    answer.told = told.into_iter().map(|(_, told)| told).collect();
    Ok(answer)
}

/// The bans that began last among those that stand. Only their keys are kept until it is known which they are.
fn newest_running(
    transaction: &ReadTransaction,
    limit: usize,
    meant: impl Fn(&Key) -> bool,
) -> anyhow::Result<Vec<(Wall, Told)>> {
    let table = transaction.open_table(RECORDS)?;
    let mut newest = BinaryHeap::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let record = encoding::record(key.value(), value.value())?;
        let Some(ban) = record.ban.as_ref().filter(|_| meant(&record.key)) else {
            continue;
        };
        newest.push(Reverse((ban.since, key.value().to_vec())));
        if newest.len() > limit {
            newest.pop();
        }
    }
    let mut running = Vec::with_capacity(newest.len());
    for Reverse((since, key)) in newest {
        if let Some(value) = table.get(&*key)? {
            let record = encoding::record(&key, value.value())?;
            running.push((since, Told::Running(record)));
        }
    }
    Ok(running)
}
