//! Which totals in `STATS` are whose: each slot holds one of every [`Outcome`], and packets of an interface are
//! counted in the slot that `INTERFACES` tells.
//!
//! A cell of `INTERFACES` is shared by interfaces whose indices differ by a multiple of [`CELLS`]; it tells whose it is,
//! so that none is counted as another.

use super::Outcome;

/// Cells of `INTERFACES`, a power of two.
pub const CELLS: u32 = 1024;

/// Packets of interfaces that have no slot of their own.
pub const OTHERS: u32 = 0;

/// What is below this, but for [`OTHERS`], is one interface's, or free. A power of two.
pub const END: u32 = 64;

/// What was counted before a slot was given to another interface, and by programs of older versions. Only user space adds
/// to it.
pub const PAST: u32 = END;

/// All slots.
pub const COUNT: u32 = PAST + 1;

/// The cell of an interface's index.
#[must_use]
#[inline(always)]
pub const fn cell(interface: u32) -> u32 {
    interface % CELLS
}

/// What its cell holds when the interface has this slot. A cell that is nobody's holds 0.
#[must_use]
pub const fn held(interface: u32, slot: u32) -> u32 {
    interface - interface % CELLS + slot
}

/// The slot of an interface whose cell holds this; [`OTHERS`] when the cell is another's.
#[must_use]
#[inline(always)]
pub const fn of(held: u32, interface: u32) -> u32 {
    if held ^ interface < CELLS {
        held % END
    } else {
        OTHERS
    }
}

/// Index into `STATS`.
#[must_use]
#[inline(always)]
pub const fn index(slot: u32, outcome: Outcome) -> u32 {
    slot * OUTCOMES + outcome.index()
}

const OUTCOMES: u32 = 8;

const _: () = assert!(Outcome::ALL.len() == OUTCOMES as usize);

/// Elements of `STATS`.
pub const TOTALS: u32 = index(COUNT, Outcome::ALL[0]);
