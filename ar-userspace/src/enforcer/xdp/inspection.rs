//! A pass over what stands in the maps of one address family, in steps that hold nobody up.
//!
//! What this process wrote is looked up key by key. Keys that somebody else wrote are walked by a thread of
//! their own, since a walk cannot be left and gone on with later.

use std::ops::Bound;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use anyhow::Context as _;
use ar_ebpf::Ban;
use aya::maps::{HashMap, IterableMap as _, Map, MapData};

use super::table::{Address, Table, is_absent, told};
use crate::enforcer::{Presence, Seen};
use crate::offender::{Offender, Prefix};
use crate::time::KernelClock;

/// How far a pass has come.
pub(super) enum Pass<A> {
    /// Among the addresses that the front bitmap counts.
    Counted(Bound<A>),
    /// Among the prefixes that this process knows.
    Prefixes(Bound<Prefix>),
    /// Among all keys of the map, for those that nobody counts.
    Strangers(Receiver<anyhow::Result<Vec<A>>>),
}

impl<A> Pass<A> {
    pub(super) const fn first() -> Self {
        Self::Counted(Bound::Unbounded)
    }
}

impl<A: Address> Table<A> {
    /// Looks at `budget` more entries at most; whether the pass is through.
    pub(super) fn inspect(
        &mut self,
        budget: usize,
        clock: KernelClock,
        seen: &mut Vec<Seen>,
    ) -> anyhow::Result<bool> {
        match &self.pass {
            Pass::Counted(after) => {
                let rest = self.counted.range((*after, Bound::Unbounded));
                let some: Vec<A> = rest.take(budget).copied().collect();
                for &address in &some {
                    seen.push(self.look(address, clock)?);
                }
                self.pass = match some.last() {
                    Some(&last) => Pass::Counted(Bound::Excluded(last)),
                    None => Pass::Prefixes(Bound::Unbounded),
                };
            }
            Pass::Prefixes(after) => {
                let (over, last) = self.prefixes.over(*after, budget, clock);
                seen.extend(over.into_iter().map(|prefix| Seen {
                    offender: Offender::network(prefix),
                    presence: Presence::Over,
                }));
                self.pass = match last {
                    Some(last) => Pass::Prefixes(Bound::Excluded(last)),
                    None => Pass::Strangers(self.walk(budget)?),
                };
            }
            Pass::Strangers(keys) => match keys.try_recv() {
                Ok(some) => {
                    for address in some.inspect_err(|_| self.pass = Pass::first())? {
                        if !self.counted.contains(&address) {
                            seen.push(self.look(address, clock)?);
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

    fn look(&self, address: A, clock: KernelClock) -> anyhow::Result<Seen> {
        let offender = Offender::new(address.addr());
        let presence = match self.bans.get(&address, 0) {
            Ok(ban) if ban.expires_at_ns <= clock.now_nanos() => Presence::Over,
            Ok(ban) => Presence::Standing(told(offender, &ban, ban.expires_at_ns, clock).standing),
            Err(error) if is_absent(&error) => Presence::Missing,
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot look up the ban of {}", address.addr()));
            }
        };
        Ok(Seen { offender, presence })
    }

    /// All keys of the map, `chunk` at a time, each when the one before it was taken.
    fn walk(&self, chunk: usize) -> anyhow::Result<Receiver<anyhow::Result<Vec<A>>>> {
        let opening = "cannot open the ban map once more";
        let fd = self.bans.map().fd().as_fd().try_clone_to_owned();
        let map = MapData::from_fd(fd.context(opening)?).context(opening)?;
        let map: HashMap<_, A, Ban> = HashMap::try_from(Map::HashMap(map)).context(opening)?;
        // A walk begins anew when the entry where it stands is removed, so only this ends it for certain.
        let most = 2 * self.room()? as usize;
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
