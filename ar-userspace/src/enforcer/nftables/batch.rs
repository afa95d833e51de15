//! A batch of bans as one transaction, made from how the elements stand when it is written.

use std::collections::{BTreeMap, BTreeSet};

use rustix::io::Errno;

use super::element::{self, GRAIN, LATE};
use super::layout::Set;
use super::socket::{Refusal, Socket};
use super::wire::Request;
use super::{refused, told};
use crate::enforcer::{Counters, Enforced, Failure, Hold};
use crate::ledger::Standing;
use crate::offender::Offender;
use crate::time::{Expiry, KernelClock};

/// Bans in one transaction, at most.
const AT_ONCE: usize = 4_096;

/// How often a ban is tried that somebody else changes at the same time.
const ATTEMPTS: usize = 4;

/// Holds exactly what is wanted, in order. `sets` are those that are there, and become more.
pub(super) fn hold(
    table: &str,
    sets: &mut BTreeSet<Set>,
    wanted: &[Hold],
    clock: KernelClock,
) -> Vec<Failure> {
    let socket = match Socket::open() {
        Ok(socket) => socket,
        Err(why) => {
            let cause = format!("{:#}", refused(why));
            let fail = |place| Failure {
                place,
                cause: cause.clone(),
            };
            return (0..wanted.len()).map(fail).collect();
        }
    };
    let mut holder = Holder {
        table,
        sets,
        socket,
        clock,
        failures: Vec::new(),
    };
    let mut together: Vec<(usize, Hold)> = Vec::new();
    let mut offenders: BTreeSet<Offender> = BTreeSet::new();
    for (place, &hold) in wanted.iter().enumerate() {
        // What comes later about an offender finds the earlier done.
        if together.len() == AT_ONCE || !offenders.insert(hold.offender) {
            holder.hold(std::mem::take(&mut together));
            offenders = BTreeSet::from([hold.offender]);
        }
        together.push((place, hold));
    }
    holder.hold(together);
    holder.failures
}

struct Holder<'a> {
    table: &'a str,
    sets: &'a mut BTreeSet<Set>,
    socket: Socket,
    clock: KernelClock,
    failures: Vec<Failure>,
}

/// A transaction.
#[derive(Default)]
struct Changes {
    /// Sets that it makes.
    sets: BTreeSet<Set>,
    requests: Vec<Request>,
    /// The place of the ban that each request is for; `None` for a set, which is for all.
    owners: Vec<Option<usize>>,
}

impl Changes {
    fn push(&mut self, owner: Option<usize>, request: Request) {
        self.owners.push(owner);
        self.requests.push(request);
    }
}

impl Holder<'_> {
    /// Holds what is wanted of different offenders in one transaction.
    fn hold(&mut self, wanted: Vec<(usize, Hold)>) {
        let mut open = wanted;
        for attempt in 1..=ATTEMPTS {
            let tried = self.changes(&open).and_then(|changes| {
                let refusals = self.socket.transact(&changes.requests)?;
                Ok((changes, refusals))
            });
            let (changes, refusals) = match tried {
                Ok(tried) => tried,
                // In a container the socket may be too small for it.
                Err(Errno::MSGSIZE) if open.len() > 1 => {
                    let rest = open.split_off(open.len() / 2);
                    self.hold(open);
                    self.hold(rest);
                    return;
                }
                Err(why) => return self.fail_all(&open, why),
            };
            if refusals.is_empty() {
                self.sets.extend(changes.sets);
                return;
            }
            let mut failed = BTreeMap::new();
            for Refusal { place, why } in refusals {
                let Some(owner) = changes.owners[place] else {
                    return self.fail_all(&open, why);
                };
                // The element came or went since it was looked at.
                let is_race = why == Errno::NOENT || why == Errno::EXIST;
                if !is_race || attempt == ATTEMPTS {
                    failed.entry(owner).or_insert(why);
                }
            }
            open.retain(|hold| match failed.get(&hold.0) {
                Some(&why) => {
                    self.fail(*hold, why);
                    false
                }
                None => true,
            });
        }
        // Those that were not refused themselves went down with others each time.
        self.fail_all(&open, Errno::AGAIN);
    }

    fn fail_all(&mut self, wanted: &[(usize, Hold)], why: Errno) {
        for &hold in wanted {
            self.fail(hold, why);
        }
    }

    fn fail(&mut self, (place, hold): (usize, Hold), why: Errno) {
        self.failures.push(Failure {
            place,
            cause: format!("cannot write the ban of {}: {}", hold.offender, told(why)),
        });
    }

    /// What has to be done, as the elements stand.
    fn changes(&mut self, wanted: &[(usize, Hold)]) -> Result<Changes, Errno> {
        let (table, clock) = (self.table, self.clock);
        let mut changes = Changes::default();
        for (_, hold) in wanted {
            let set = Set::of(hold.offender);
            let is_new = hold.standing.is_some() && !self.sets.contains(&set);
            if is_new && changes.sets.insert(set) {
                changes.push(None, set.make(table, 0));
                let rule = set.rule(table, Counters::default());
                rule.into_iter().for_each(|rule| changes.push(None, rule));
            }
        }
        for &(place, Hold { offender, standing }) in wanted {
            let (set, addr) = (Set::of(offender), offender.addr());
            let held = match self.sets.contains(&set) {
                true => look_up(&mut self.socket, table, offender, clock)?,
                false => None,
            };
            let owner = Some(place);
            match (held, standing) {
                (None, None) => {}
                // Taking an element away waits until no packet looks at it, tens of milliseconds in which
                // nobody could be banned.
                (Some(held), None) if is_ending(held.standing, clock) => {}
                (Some(_), None) => changes.push(owner, element::delete(table, set, addr)),
                (None, Some(standing)) => {
                    let counters = Counters::default();
                    let add = element::add(table, set, addr, standing, counters, clock);
                    changes.push(owner, add);
                }
                (Some(held), Some(standing)) if is_same(&held, standing) => {}
                (Some(held), Some(mut standing)) => {
                    // No kernel before Linux 6.12 moves the end of an element.
                    changes.push(owner, element::delete(table, set, addr));
                    standing.since = held.standing.since;
                    let add = element::add(table, set, addr, standing, held.counters, clock);
                    changes.push(owner, add);
                }
            }
        }
        Ok(changes)
    }
}

/// The ban of an offender, if there is one.
pub(super) fn look_up(
    socket: &mut Socket,
    table: &str,
    offender: Offender,
    clock: KernelClock,
) -> Result<Option<Enforced>, Errno> {
    let set = Set::of(offender);
    let mut found = None;
    let read = |attributes: &[u8]| found = element::read(set, attributes, clock).pop();
    match socket.look_up(&element::get(table, set, offender.addr()), read) {
        Ok(()) => Ok(found),
        Err(Errno::NOENT) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Whether the kernel ends a ban in a moment by itself: its time has come.
pub(super) fn is_ending(standing: Standing, clock: KernelClock) -> bool {
    let now = clock.moment(clock.now_nanos());
    let left = standing.until.left(now);
    left.is_some_and(|left| left <= LATE)
}

fn is_same(held: &Enforced, wanted: Standing) -> bool {
    let is_same_end = match (held.standing.until, wanted.until) {
        (Expiry::At(one), Expiry::At(other)) => {
            one.since(other) <= GRAIN && other.since(one) <= GRAIN
        }
        (one, other) => one == other,
    };
    is_same_end && held.standing.rule_id == wanted.rule_id
}
