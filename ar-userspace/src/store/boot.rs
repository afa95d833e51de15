//! In which boot of the machine the records were written last: a wall clock that was set since changes none of them.

use redb::{Database, ReadableDatabase as _, Table};

use super::ABOUT;
use crate::time::{Boot, Wall};

/// Names in `about`: both halves of the boot's number, and when it was by the wall clock, in nanoseconds.
const NAMES: [&str; 3] = ["boot high", "boot low", "boot at"];

/// The boot; `None` in a store that was written before boots were noted, or by an import.
pub(super) fn read(database: &Database) -> anyhow::Result<Option<Boot>> {
    let about = database.begin_read()?.open_table(ABOUT)?;
    let mut numbers = [0; 3];
    for (number, name) in numbers.iter_mut().zip(NAMES) {
        let Some(found) = about.get(name)? else {
            return Ok(None);
        };
        *number = found.value();
    }
    let [high, low, at] = numbers;
    Ok(Some(Boot {
        id: (u128::from(high) << 64) | u128::from(low),
        at: Wall::from_nanos(at.cast_signed()),
    }))
}

pub(super) fn write(mut about: Table<'_, &str, u64>, boot: Boot) -> anyhow::Result<()> {
    let [a, b, c, d, e, f, g, h, low @ ..] = boot.id.to_be_bytes();
    let high = [a, b, c, d, e, f, g, h];
    let at = boot.at.as_nanos().cast_unsigned();
    let numbers = [u64::from_be_bytes(high), u64::from_be_bytes(low), at];
    for (name, number) in NAMES.into_iter().zip(numbers) {
        about.insert(name, number)?;
    }
    Ok(())
}
