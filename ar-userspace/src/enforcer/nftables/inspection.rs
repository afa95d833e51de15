//! A pass over what stands in the sets, beside what this process holds.
//!
//! The list of a set cannot be left and gone on with, and takes the longer for each element the more there are. So a
//! thread of its own reads all of it, and what it has found is told in steps.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::vec;

use anyhow::{Context as _, anyhow};
use rustix::io::Errno;

use super::batch::{self, is_ending};
use super::layout::Set;
use super::socket::Socket;
use super::{element, reading, told};
use crate::enforcer::{Enforced, Hold, Inspection, Presence, Seen};
use crate::ledger::Standing;
use crate::offender::Offender;
use crate::time::{KernelClock, Moment};

/// No pass begins until so many times as long has passed as the last list took: the kernel walks a set from its start for
/// each part of the list, a minute and more for a million elements.
const REST: u32 = 10;

/// Who is held, and how far a pass has come.
#[derive(Debug, Default)]
pub(super) struct Held {
    offenders: BTreeSet<Offender>,
    pass: Option<Pass>,
    rests_until: Option<Moment>,
}

#[derive(Debug)]
struct Pass {
    began: Moment,
    progress: Progress,
    /// Those of whom something was wanted since it began: what was read about them may be older.
    changed: BTreeSet<Offender>,
}

#[derive(Debug)]
enum Progress {
    Reading(Receiver<Result<Vec<Found>, Errno>>),
    Telling {
        found: Peekable<vec::IntoIter<Found>>,
        after: Bound<Offender>,
    },
}

type Found = (Offender, Standing);

impl Held {
    /// Holds those that were found.
    pub(super) fn new(found: &[Enforced]) -> Self {
        Self {
            offenders: found.iter().map(|ban| ban.offender).collect(),
            ..Self::default()
        }
    }

    /// Notes what is wanted of somebody from here on.
    pub(super) fn note(&mut self, Hold { offender, standing }: Hold) {
        match standing {
            Some(_) => self.offenders.insert(offender),
            None => self.offenders.remove(&offender),
        };
        if let Some(pass) = &mut self.pass {
            pass.changed.insert(offender);
        }
    }

    /// Ends the pass, when all that it has read is of no worth.
    pub(super) fn forget_pass(&mut self) {
        self.pass = None;
    }

    /// One step. `clock` is read anew for each part of the list.
    pub(super) fn inspect(
        &mut self,
        table: &str,
        budget: usize,
        clock: fn() -> KernelClock,
    ) -> anyhow::Result<Inspection> {
        let through = Inspection {
            is_through: true,
            ..Inspection::default()
        };
        let now = now(clock());
        let Some(pass) = &mut self.pass else {
            if self.rests_until.is_some_and(|until| now < until) {
                return Ok(through);
            }
            self.pass = Some(Pass {
                began: now,
                progress: Progress::Reading(start(table, clock)?),
                changed: BTreeSet::new(),
            });
            return Ok(Inspection::default());
        };
        match &mut pass.progress {
            Progress::Reading(list) => {
                let list = match list.try_recv() {
                    Err(TryRecvError::Empty) => return Ok(Inspection::default()),
                    Err(TryRecvError::Disconnected) => Err(anyhow!("the thread that reads ended")),
                    // Without the table there is nothing to compare: `look` makes it again.
                    Ok(Err(Errno::NOENT)) => Ok(None),
                    Ok(list) => list.map(Some).map_err(|why| anyhow!(told(why))),
                };
                let Some(found) = list.context("cannot read the bans")? else {
                    self.pass = None;
                    return Ok(through);
                };
                let rest = now.since(pass.began).saturating_mul(REST);
                self.rests_until = Some(now.after(rest));
                pass.progress = Progress::Telling {
                    found: found.into_iter().peekable(),
                    after: Bound::Unbounded,
                };
                Ok(Inspection::default())
            }
            Progress::Telling { found, after } => {
                let mut seen = Vec::new();
                let mut looker = Looker {
                    table,
                    socket: None,
                    clock: clock(),
                };
                for _ in 0..budget {
                    let held = self.offenders.range((*after, Bound::Unbounded)).next();
                    let next = held.into_iter().chain(found.peek().map(|(next, _)| next));
                    let Some(&offender) = next.min() else {
                        self.pass = None;
                        return Ok(Inspection { seen, ..through });
                    };
                    *after = Bound::Excluded(offender);
                    let there = found.next_if(|(next, _)| *next == offender);
                    if pass.changed.contains(&offender) {
                        continue;
                    }
                    let there = match there {
                        Some((_, standing)) => Some(standing),
                        // A list that changes while it is read may pass over an element.
                        None => looker.look_up(offender)?,
                    };
                    match there {
                        // It ends by itself in this moment, and may have done so.
                        Some(standing) if is_ending(standing, looker.clock) => {}
                        Some(standing) => {
                            self.offenders.insert(offender);
                            seen.push(Seen {
                                offender,
                                presence: Presence::Standing(standing),
                            });
                        }
                        None => seen.push(Seen {
                            offender,
                            presence: Presence::Missing,
                        }),
                    }
                }
                Ok(Inspection {
                    seen,
                    ..Inspection::default()
                })
            }
        }
    }
}

/// Asks for single elements by one socket, which is opened for the first.
struct Looker<'a> {
    table: &'a str,
    socket: Option<Socket>,
    clock: KernelClock,
}

impl Looker<'_> {
    fn look_up(&mut self, offender: Offender) -> anyhow::Result<Option<Standing>> {
        let looked = self.ask(offender);
        looked.map_err(|why| anyhow!("cannot look up the ban of {offender}: {}", told(why)))
    }

    fn ask(&mut self, offender: Offender) -> Result<Option<Standing>, Errno> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(Socket::open()?),
        };
        let found = batch::look_up(socket, self.table, offender, self.clock)?;
        Ok(found.map(|ban| ban.standing))
    }
}

fn now(clock: KernelClock) -> Moment {
    clock.moment(clock.now_nanos())
}

/// Reads all sets of bans on a thread. Gives each offender once, in order.
fn start(
    table: &str,
    clock: fn() -> KernelClock,
) -> anyhow::Result<Receiver<Result<Vec<Found>, Errno>>> {
    let table = table.to_owned();
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name("arfw-inspect".to_owned())
        // Nobody takes it when the daemon ends.
        .spawn(move || drop(sender.send(read(&table, clock))))
        .context("cannot start a thread that reads the bans")?;
    Ok(receiver)
}

fn read(table: &str, clock: fn() -> KernelClock) -> Result<Vec<Found>, Errno> {
    let mut found = Vec::new();
    let sets = reading::sets(table)?;
    if sets.is_empty() {
        return Err(Errno::NOENT);
    }
    for set in sets.into_keys() {
        if let Set::Allow(_) = set {
            continue;
        }
        let read = |attributes: &[u8]| {
            let clock = clock();
            let bans = element::read(set, attributes, clock).into_iter();
            let some = bans.map(|ban| (ban.offender, ban.standing));
            // How much is left is exact here and nowhere else.
            let some = some.filter(|(_, standing)| !is_ending(*standing, clock));
            Some(some.collect::<Vec<Found>>())
        };
        let list = Socket::open()?.list(&element::get_all(table, set), read)?;
        found.extend(list.into_iter().flatten());
    }
    found.sort_unstable_by_key(|(offender, _)| *offender);
    found.dedup_by_key(|(offender, _)| *offender);
    Ok(found)
}
