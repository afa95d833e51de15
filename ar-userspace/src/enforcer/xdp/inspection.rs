//! A pass over what stands in the maps of one address family, in steps that hold nobody up.
//!
//! The table is read place by place, and so are entries of others found. In the overflow, what this process wrote
//! is looked up key by key; keys that somebody else wrote are walked by a thread of their own, since a walk of a hash
//! cannot be left and gone on with later. For prefixes see `tries`.

use std::ops::Bound;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use anyhow::Context as _;
use ar_ebpf::Ban;
use aya::maps::{HashMap, IterableMap as _, Map, MapData};

use super::address::Address;
use super::standing::told;
use super::table::Table;
use super::tries::Progress;
use crate::enforcer::{Inspection, Presence, Seen};
use crate::offender::Offender;
use crate::time::KernelClock;

/// How far a pass has come.
pub(super) enum Pass<A> {
    /// Before this place of the table.
    Places(u32),
    /// Among the addresses that this process has put into the overflow.
    Overflow(Bound<A>),
    /// Among the prefixes.
    Prefixes(Progress),
    /// Among all keys of the overflow, for those that this process does not know.
    Strangers(Receiver<anyhow::Result<Vec<A>>>),
}

impl<A> Pass<A> {
    pub(super) const fn first() -> Self {
        Self::Places(0)
    }
}

impl<A: Address> Table<A> {
    /// Looks at `budget` more entries at most; whether the pass is through.
    pub(super) fn inspect(
        &mut self,
        budget: usize,
        clock: KernelClock,
        inspection: &mut Inspection,
    ) -> anyhow::Result<bool> {
        match &mut self.pass {
            &mut Pass::Places(first) => {
                let count = u32::try_from(budget).unwrap_or(u32::MAX);
                let found = self.bans.kernel.at(first, count)?;
                let next = first.saturating_add(count);
                for (place, found) in (first..).zip(found) {
                    let seen = self.seen_at(place, found, clock);
                    inspection.seen.extend(seen);
                }
                self.pass = if next < self.bans.mirror.places() {
                    Pass::Places(next)
                } else {
                    Pass::Overflow(Bound::Unbounded)
                };
            }
            Pass::Overflow(after) => {
                let rest = self.bans.mirror.overflow();
                let rest = rest.range((*after, Bound::Unbounded));
                let some: Vec<A> = rest.take(budget).copied().collect();
                for &address in &some {
                    inspection.seen.push(self.look(address, clock)?);
                }
                self.pass = match some.last() {
                    Some(&last) => Pass::Overflow(Bound::Excluded(last)),
                    None => Pass::Prefixes(self.prefixes.begin_pass()?),
                };
            }
            Pass::Prefixes(progress) => {
                let inspected = self.prefixes.inspect(progress, budget, clock, inspection);
                if inspected.inspect_err(|_| self.pass = Pass::first())? {
                    self.pass = Pass::Strangers(self.walk(budget)?);
                }
            }
            Pass::Strangers(keys) => match keys.try_recv() {
                Ok(some) => {
                    for address in some.inspect_err(|_| self.pass = Pass::first())? {
                        if self.bans.meet_stranger_in_overflow(address) {
                            inspection.seen.push(self.look(address, clock)?);
                        }
                    }
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    self.pass = Pass::first();
                    return Ok(true);
                }
            },
        }
        Ok(false)
    }

    /// What was found at a place, beside what this process has put there.
    fn seen_at(&mut self, place: u32, found: Option<(A, Ban)>, clock: KernelClock) -> Option<Seen> {
        match (self.bans.mirror.at(place), found) {
            (None, None) => None,
            (Some(ours), Some((address, ban))) if ours == address => {
                Some(seen(address, Some(&ban), clock))
            }
            (Some(ours), _) => Some(seen(ours, None, clock)),
            (None, Some((address, ban))) => self
                .bans
                .meet_stranger(address, place)
                .then(|| seen(address, Some(&ban), clock)),
        }
    }

    fn look(&self, address: A, clock: KernelClock) -> anyhow::Result<Seen> {
        let ban = self.bans.get(address);
        let ban = ban.with_context(|| format!("cannot look up the ban of {}", address.addr()))?;
        Ok(seen(address, ban.as_ref(), clock))
    }

    /// All keys of the overflow, `chunk` at a time, each when the one before it was taken.
    fn walk(&self, chunk: usize) -> anyhow::Result<Receiver<anyhow::Result<Vec<A>>>> {
        let opening = "cannot open the ban map once more";
        let overflow = self.bans.kernel.overflow.map();
        let fd = overflow.fd().as_fd().try_clone_to_owned();
        let map = MapData::from_fd(fd.context(opening)?).context(opening)?;
        // A walk begins anew when the entry where it stands is removed, so only this ends it for certain.
        let most = 2 * map.info().context(opening)?.max_entries() as usize;
        let map: HashMap<_, A, Ban> = HashMap::try_from(Map::HashMap(map)).context(opening)?;
        let (sender, receiver) = sync_channel(1);
        let walk = move || {
            // Behind its last key, the walk of the library begins anew.
            let mut keys = map.keys().fuse().take(most);
            loop {
                let some: Result<Vec<A>, _> = keys.by_ref().take(chunk).collect();
                // After a failure there is nothing more either.
                let is_end = some.as_ref().is_ok_and(Vec::is_empty);
                let some = some.context("cannot read the bans");
                // Nobody takes it when the daemon ends.
                if is_end || sender.send(some).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new()
            .name("arfw-inspect".to_owned())
            .spawn(walk)
            .context("cannot start a thread that reads the bans")?;
        Ok(receiver)
    }
}

fn seen<A: Address>(address: A, ban: Option<&Ban>, clock: KernelClock) -> Seen {
    let offender = Offender::new(address.addr());
    let presence = match ban {
        None => Presence::Missing,
        Some(ban) if ban.expires_at_ns <= clock.now_nanos() => Presence::Over,
        Some(ban) => Presence::Standing(told(offender, ban, ban.expires_at_ns, clock).standing),
    };
    Seen { offender, presence }
}
