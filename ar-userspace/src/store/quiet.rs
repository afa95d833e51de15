//! Quiet times: written with what else was ordered, and read at the start.
//!
//! The table is made when the first of them is written. An arfw that does not know it leaves it alone.

use anyhow::Context as _;
use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableError, WriteTransaction};

use super::{Quieted, encoding};
use crate::quiet::Quiet;
use crate::time::Wall;

/// The bytes of an address or network to those of its quiet time, both as `encoding` has them.
pub(super) const QUIET: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("quiet");

/// Writes those that changed.
pub(super) fn write(transaction: &WriteTransaction, changes: &Quieted) -> anyhow::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(QUIET)?;
    for (&offender, quiet) in changes {
        let key = encoding::offender(offender);
        match quiet {
            Some(quiet) => drop(table.insert(&*key, &*encoding::quiet_value(quiet)?)?),
            None => drop(table.remove(&*key)?),
        }
    }
    Ok(())
}

/// All of them, by address.
pub(super) fn read(transaction: &ReadTransaction) -> anyhow::Result<Vec<Quiet<Wall>>> {
    let table = match transaction.open_table(QUIET) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        table => table?,
    };
    let mut all = Vec::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        all.push(encoding::quiet(key.value(), value.value()).context("a quiet time is damaged")?);
    }
    Ok(all)
}
