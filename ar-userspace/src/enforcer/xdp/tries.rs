//! A pass over the tries of one address family: banned prefixes, and the networks that they leave alone.
//!
//! A trie cannot be asked for exactly one prefix, nor can its walk be left and gone on with. So a thread of its own
//! reads both, and what it has found is compared in steps. What this process wrote meanwhile is left to the next pass.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::ops::Bound;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::vec;

use anyhow::{Context as _, anyhow, ensure};
use ar_ebpf::PrefixBan;
use aya::Pod;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{IterableMap as _, Map, MapData};

use super::address::Address;
use super::prefixes::{Prefixes, key, prefix};
use super::standing::told;
use crate::enforcer::{Inspection, Mended, Presence, Seen};
use crate::offender::{Offender, Prefix};
use crate::time::KernelClock;

/// What the tries held.
pub(super) struct Found {
    /// In order, each once.
    bans: Vec<(Prefix, PrefixBan)>,
    allowed: BTreeSet<Prefix>,
}

/// How far a pass over them has come.
pub(super) enum Progress {
    Reading(Receiver<anyhow::Result<Found>>),
    Telling {
        bans: Peekable<vec::IntoIter<(Prefix, PrefixBan)>>,
        allowed: BTreeSet<Prefix>,
        after: Bound<Prefix>,
    },
}

/// What this process has written since a pass began, of which the pass may know the older state.
#[derive(Default)]
pub(super) struct Written {
    pub(super) prefixes: BTreeSet<Prefix>,
    pub(super) allowed: bool,
}

impl<A: Address> Prefixes<A> {
    /// Begins a pass.
    pub(super) fn begin_pass(&mut self) -> anyhow::Result<Progress> {
        let opening = "cannot open the tries once more";
        let bans = again::<A, PrefixBan>(self.bans.map()).context(opening)?;
        let allow = again::<A, u32>(self.allow.map()).context(opening)?;
        self.written = Some(Written::default());
        let (sender, receiver) = sync_channel(1);
        // Nobody takes it when the daemon ends.
        let read = move || drop(sender.send(read::<A>(&bans, &allow)));
        thread::Builder::new()
            .name("arfw-inspect".to_owned())
            .spawn(read)
            .context("cannot start a thread that reads the tries")?;
        Ok(Progress::Reading(receiver))
    }

    /// Looks at `budget` more prefixes at most; whether the pass is through.
    pub(super) fn inspect(
        &mut self,
        progress: &mut Progress,
        budget: usize,
        clock: KernelClock,
        inspection: &mut Inspection,
    ) -> anyhow::Result<bool> {
        let (bans, allowed, after) = match progress {
            Progress::Reading(receiver) => {
                let found = match receiver.try_recv() {
                    Err(TryRecvError::Empty) => return Ok(false),
                    Err(TryRecvError::Disconnected) => Err(anyhow!("the thread that reads ended")),
                    Ok(found) => found,
                };
                let Found { bans, allowed } = found.context("cannot read the tries")?;
                *progress = Progress::Telling {
                    bans: bans.into_iter().peekable(),
                    allowed,
                    after: Bound::Unbounded,
                };
                return Ok(false);
            }
            Progress::Telling {
                bans,
                allowed,
                after,
            } => (bans, allowed, after),
        };
        for _ in 0..budget {
            let ours = self.ends.range((*after, Bound::Unbounded)).next();
            let ours = ours.map(|(prefix, _)| prefix).into_iter();
            let next = ours.chain(bans.peek().map(|(prefix, _)| prefix)).min();
            let Some(&prefix) = next else {
                self.mend_allowed(allowed, inspection)?;
                self.written = None;
                return Ok(true);
            };
            *after = Bound::Excluded(prefix);
            let found = bans.next_if(|(next, _)| *next == prefix);
            let found = found.map(|(_, value)| value);
            inspection.seen.extend(self.seen(prefix, found, clock));
        }
        Ok(false)
    }

    fn seen(
        &mut self,
        prefix: Prefix,
        found: Option<PrefixBan>,
        clock: KernelClock,
    ) -> Option<Seen> {
        let written = self.written.as_ref();
        if written.is_some_and(|written| written.prefixes.contains(&prefix)) {
            return None;
        }
        let offender = Offender::network(prefix);
        let Some(found) = found else {
            self.missing.insert(prefix);
            return Some(Seen {
                offender,
                presence: Presence::Missing,
            });
        };
        let mut end = found.own_expires_at_ns;
        match self.ends.get(&prefix) {
            Some(&own) => {
                let wanted = PrefixBan {
                    own_expires_at_ns: own,
                    ..found
                };
                let wanted = self.value(prefix, wanted).ban.expires_at_ns;
                if found.ban.expires_at_ns != wanted {
                    // This is what the program goes by.
                    end = found.ban.expires_at_ns;
                }
            }
            None => drop(self.strangers.insert(prefix)),
        }
        let presence = if end <= clock.now_nanos() {
            Presence::Over
        } else {
            Presence::Standing(told(offender, &found.ban, end, clock).standing)
        };
        Some(Seen { offender, presence })
    }

    /// Makes the kernel allow what it ought to, and nothing else.
    fn mend_allowed(
        &mut self,
        found: &BTreeSet<Prefix>,
        inspection: &mut Inspection,
    ) -> anyhow::Result<()> {
        if self.written.as_ref().is_none_or(|written| written.allowed) {
            return Ok(());
        }
        let gone: Vec<Prefix> = self.allowed.difference(found).copied().collect();
        for network in gone {
            self.write_allowed(network)?;
            inspection.mended.push(Mended::PutBack(network));
        }
        let others: Vec<Prefix> = found.difference(&self.allowed).copied().collect();
        for network in others {
            self.end_allowed(network)?;
            inspection.mended.push(Mended::Removed(network));
        }
        Ok(())
    }
}

fn again<A: Address, V: Pod>(map: &MapData) -> anyhow::Result<LpmTrie<MapData, A::Network, V>> {
    let map = MapData::from_fd(map.fd().as_fd().try_clone_to_owned()?)?;
    Ok(LpmTrie::try_from(Map::LpmTrie(map))?)
}

fn read<A: Address>(
    bans: &LpmTrie<MapData, A::Network, PrefixBan>,
    allow: &LpmTrie<MapData, A::Network, u32>,
) -> anyhow::Result<Found> {
    let mut found = BTreeMap::new();
    for prefix in keys(bans)?.iter().filter_map(prefix::<A>) {
        // One that has gone meanwhile is told as what holds it, or not at all.
        if let Ok(value) = bans.get(&key::<A>(prefix)?, 0) {
            found.insert(prefix, value);
        }
    }
    Ok(Found {
        bans: found.into_iter().collect(),
        allowed: keys(allow)?.iter().filter_map(prefix::<A>).collect(),
    })
}

/// All keys, some of them twice: a walk begins anew when the entry where it stands is removed.
fn keys<K: Pod, V: Pod>(trie: &LpmTrie<MapData, K, V>) -> anyhow::Result<Vec<Key<K>>> {
    let most = 2 * trie.map().info()?.max_entries() as usize;
    let keys: Result<Vec<_>, _> = trie.keys().take(most).collect();
    let keys = keys?;
    ensure!(
        keys.len() < most,
        "a trie changes faster than it can be read"
    );
    Ok(keys)
}
