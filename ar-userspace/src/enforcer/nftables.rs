//! Bans as elements of nftables sets, which the kernel ends by itself: for hosts where no XDP program can run.
//!
//! Everything stands in one table of its own, and no other table is touched. Needs no program `nft`: the kernel is
//! asked over netlink, so that a ban costs the same however many there are; see docs/decisions/0002.

mod batch;
mod element;
mod layout;
mod socket;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::io::Errno;

use super::{
    Condition, Counters, Enforced, Enforcer, Failure, Hold, Inspection, Leave, Links, Pattern,
    Place,
};
use crate::offender::{Offender, Prefix};
use crate::time::{KernelClock, Moment};
use layout::{Family, Set};
use socket::Socket;
use wire::Request;

/// Name of the table, of family `inet`, unless told otherwise.
pub const DEFAULT_TABLE: &str = "arfw";

/// What the enforcer needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the table.
    pub table: String,
    /// Banned addresses per family that the sets have room for.
    pub max_bans: u32,
    /// Interfaces that were asked for, all the same: the chain sees the packets of every interface.
    pub interfaces: Vec<Pattern>,
}

/// The enforcer.
#[derive(Debug)]
pub struct Nftables {
    table: String,
    /// Sets that are there.
    sets: BTreeSet<Set>,
    /// What was allowed last; `None` when another daemon's word stands.
    allowed: Option<Vec<Prefix>>,
    room: (u32, u32),
    remark: String,
    /// That the table is not there was told.
    is_gone: bool,
}

impl Nftables {
    /// Makes the table, or adopts the one that is there with its bans. Gives what it holds.
    ///
    /// The clock is read for each part of a long answer: the kernel tells how much time is left as it answers.
    ///
    /// # Errors
    ///
    /// When the kernel has no nf_tables or refuses, or a table of this name is made otherwise. A table that this
    /// start has made is removed again.
    pub fn start(
        settings: &Settings,
        clock: impl Fn() -> KernelClock,
    ) -> anyhow::Result<(Self, Vec<Enforced>)> {
        let table = &settings.table;
        let adopts = exists(table).map_err(refused)?;
        let started = Self::make(settings, &clock);
        if started.is_err() && !adopts {
            // Why the start failed is what has to be told; nobody is banned by this table.
            let _ = release(table);
        }
        started.with_context(|| format!("cannot use the nftables table `inet {table}`"))
    }

    fn make(
        settings: &Settings,
        clock: &dyn Fn() -> KernelClock,
    ) -> anyhow::Result<(Self, Vec<Enforced>)> {
        let table = &settings.table;
        let found = sets(table).map_err(refused)?;
        let wanted: BTreeSet<Set> = Set::FIRST.into_iter().chain(found.into_keys()).collect();
        let old = rules(table).map_err(refused)?;
        // Elements that are over stand until the kernel collects them, once a second; hence twice the room.
        let size = settings.max_bans.saturating_mul(2);
        let steps = layout::setup(table, size, wanted.iter().copied(), &old);
        let (names, requests): (Vec<String>, Vec<Request>) = steps.into_iter().unzip();
        let refusals = Socket::open()
            .and_then(|mut socket| socket.transact(&requests))
            .map_err(refused)?;
        if let Some(refusal) = refusals.first() {
            return Err(anyhow!("cannot {}: {}", names[refusal.place], refusal.why));
        }
        let sets = sets(table).map_err(refused)?;
        let room = |family| {
            let size = sets.get(&Set::Bans(family)).copied().flatten();
            size.map_or(settings.max_bans, |size| size / 2)
        };
        let nftables = Self {
            table: table.clone(),
            room: (room(Family::V4), room(Family::V6)),
            sets: sets.into_keys().collect(),
            allowed: None,
            is_gone: false,
            remark: match settings.interfaces.is_empty() {
                true => String::new(),
                false => "`--interface` is for XDP; nftables covers every interface".to_owned(),
            },
        };
        let found = enforced(table, nftables.sets.iter().copied(), clock).map_err(refused)?;
        Ok((nftables, found))
    }

    /// Bans that the sets have room for, of IPv4 and of IPv6 addresses.
    #[must_use]
    pub fn room(&self) -> (u32, u32) {
        self.room
    }
}

impl Enforcer for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn grain(&self) -> Duration {
        element::GRAIN
    }

    fn counts_in_shadow(&self) -> bool {
        false
    }

    fn hold(&mut self, wanted: &[Hold], clock: KernelClock) -> Vec<Failure> {
        batch::hold(&self.table, &mut self.sets, wanted, clock)
    }

    fn allow(&mut self, networks: &[Prefix]) -> anyhow::Result<()> {
        let networks = widest(networks);
        if self.allowed.as_ref() == Some(&networks) {
            return Ok(());
        }
        let mut requests = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of_family: Vec<Prefix> = networks
                .iter()
                .copied()
                .filter(|network| Family::of(network.addr()) == family)
                .collect();
            let set = Set::Allow(family);
            requests.extend(element::replace_all(&self.table, set, &of_family));
        }
        let refusals = Socket::open()
            .and_then(|mut socket| socket.transact(&requests))
            .map_err(refused)?;
        if let Some(refusal) = refusals.first() {
            return Err(anyhow!(
                "cannot write the allowed networks: {}",
                told(refusal.why)
            ));
        }
        self.allowed = Some(networks);
        Ok(())
    }

    fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        enforced(&self.table, self.sets.iter().copied(), &|| clock)
            .map_err(|why| anyhow!("cannot read the bans: {}", told(why)))
    }

    /// Nothing: a list of the sets stops the daemon for too long to be asked for again and again.
    fn inspect(&mut self, _budget: usize, _clock: KernelClock) -> anyhow::Result<Inspection> {
        Ok(Inspection {
            is_through: true,
            ..Inspection::default()
        })
    }

    /// The table covers every interface, whenever it comes.
    fn follow_links(&mut self, _links: Links, _now: Moment) -> bool {
        false
    }

    fn look(&mut self) {
        let is_gone = rules(&self.table).is_ok_and(|rules| rules.is_empty());
        if is_gone && !std::mem::replace(&mut self.is_gone, is_gone) {
            tracing::error!(
                table = self.table,
                "NOTHING IS DROPPED ANY MORE: the table is gone; a restart makes it again, with every ban"
            );
        }
        self.is_gone = is_gone;
    }

    fn condition(&self) -> anyhow::Result<Condition> {
        let rules = rules(&self.table).map_err(refused)?;
        let (mode, why) = match rules.is_empty() {
            false => ("nftables", self.remark.clone()),
            true => ("none", told(Errno::NOENT)),
        };
        let banned = rules
            .values()
            .fold(Counters::default(), |sum, counted| Counters {
                packets: sum.packets + counted.packets,
                bytes: sum.bytes + counted.bytes,
            });
        Ok(Condition {
            places: vec![Place {
                interface: "all".to_owned(),
                mode,
                why,
                since: None,
            }],
            totals: vec![("banned", banned)],
        })
    }

    fn close(self: Box<Self>, leave: Leave) -> anyhow::Result<()> {
        match leave {
            Leave::Bans => Ok(()),
            Leave::Nothing => release(&self.table),
        }
    }
}

/// What stands in a table, looked at without the daemon: for `arfw list` when it is not running. `None` without the
/// table, and for those who may not look.
///
/// # Errors
///
/// When the table cannot be read.
pub fn inspect(table: &str, clock: KernelClock) -> anyhow::Result<Option<Vec<Enforced>>> {
    let sets = match sets(table) {
        Ok(sets) => sets,
        Err(why) if is_no_nftables(why) || why == Errno::PERM => return Ok(None),
        Err(why) => return Err(refused(why)),
    };
    if sets.is_empty() {
        return Ok(None);
    }
    let bans = enforced(table, sets.into_keys(), &|| clock).map_err(refused)?;
    Ok(Some(bans))
}

/// Whether a table of arfw's stands there, as far as this process may look.
#[must_use]
pub fn is_there(table: &str) -> bool {
    is_ours(table).unwrap_or(false)
}

/// Deletes the table; nothing happens without it, or when it is somebody else's. Nobody is banned by it afterwards.
///
/// # Errors
///
/// When the kernel refuses.
pub fn release(table: &str) -> anyhow::Result<()> {
    let deleting = || format!("cannot delete the nftables table `inet {table}`");
    let deleted = is_ours(table).and_then(|is_ours| match is_ours {
        true => Socket::open()?.transact(&[layout::delete(table)]),
        false => Ok(Vec::new()),
    });
    match deleted {
        Ok(refusals) => match refusals.first() {
            Some(refusal) if refusal.why != Errno::NOENT => {
                Err(anyhow!("{}", refusal.why)).with_context(deleting)
            }
            _ => Ok(()),
        },
        Err(why) if is_no_nftables(why) => Ok(()),
        Err(why) => Err(refused(why)).with_context(deleting),
    }
}

fn is_ours(table: &str) -> Result<bool, Errno> {
    let sets = sets(table)?;
    Ok(Set::FIRST.iter().any(|set| sets.contains_key(set)))
}

fn exists(table: &str) -> Result<bool, Errno> {
    match Socket::open()?.look_up(&layout::get(table), |_| {}) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(why) => Err(why),
    }
}

/// The sets of a table that are ours, and their bounds; none without the table.
fn sets(table: &str) -> Result<BTreeMap<Set, Option<u32>>, Errno> {
    let sets = Socket::open()?.list(&layout::list_sets(table), layout::read_set);
    Ok(none_without_table(sets)?.into_iter().collect())
}

/// The rules of a table that are ours, by their sets, and what they have dropped; none without the table.
fn rules(table: &str) -> Result<BTreeMap<Set, Counters>, Errno> {
    let rules = Socket::open()?.list(&layout::list_rules(table), layout::read_rule);
    Ok(none_without_table(rules)?.into_iter().collect())
}

fn none_without_table<T>(list: Result<Vec<T>, Errno>) -> Result<Vec<T>, Errno> {
    match list {
        Err(Errno::NOENT) => Ok(Vec::new()),
        list => list,
    }
}

/// All bans of these sets, each offender once.
fn enforced(
    table: &str,
    sets: impl IntoIterator<Item = Set>,
    clock: &dyn Fn() -> KernelClock,
) -> Result<Vec<Enforced>, Errno> {
    let mut enforced = Vec::new();
    for set in sets {
        if let Set::Allow(_) = set {
            continue;
        }
        let read = |attributes: &[u8]| Some(element::read(set, attributes, clock()));
        let bans = Socket::open()?.list(&element::get_all(table, set), read)?;
        enforced.extend(bans.into_iter().flatten());
    }
    // A set that grows while it is read may tell of an element twice.
    enforced.sort_unstable_by_key(|ban| ban.offender);
    enforced.dedup_by_key(|ban| ban.offender);
    Ok(enforced)
}

/// Those networks that none of the others holds, in order.
fn widest(networks: &[Prefix]) -> Vec<Prefix> {
    let mut sorted = networks.to_vec();
    // The holder before what it holds.
    sorted.sort_unstable();
    let mut widest: Vec<Prefix> = Vec::new();
    for network in sorted {
        let is_held = widest
            .last()
            .is_some_and(|last| last.covers(Offender::network(network)));
        if !is_held {
            widest.push(network);
        }
    }
    widest
}

/// What the kernel has no nf_tables for: no such protocol, or nobody behind it.
fn is_no_nftables(why: Errno) -> bool {
    matches!(
        why,
        Errno::PROTONOSUPPORT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::INVAL
    )
}

/// What stands in the way of all work with nf_tables, and the remedy.
fn refused(why: Errno) -> anyhow::Error {
    match why {
        Errno::PERM => anyhow!("nftables is not permitted; is CAP_NET_ADMIN there?"),
        why if is_no_nftables(why) => anyhow!(
            "this kernel has no nftables for the family `inet` ({why}); it needs CONFIG_NF_TABLES and \
             CONFIG_NF_TABLES_INET, or the module `nf_tables`"
        ),
        why => anyhow!("nftables: {why}"),
    }
}

/// Why one change was refused.
fn told(why: Errno) -> String {
    match why {
        Errno::NFILE => "the set is full".to_owned(),
        Errno::NOENT => {
            "the table, or a part of it, is gone; a restart of arfw makes it again".to_owned()
        }
        why => why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_within_another_is_left_out() {
        let networks = |texts: &[&str]| -> Vec<Prefix> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(
            widest(&networks(&[
                "10.1.0.0/16",
                "10.0.0.0/8",
                "10.0.0.1",
                "::/0",
                "11.0.0.0/8",
                "10.1.2.0/24",
                "2001:db8::/32"
            ])),
            networks(&["10.0.0.0/8", "11.0.0.0/8", "::/0"])
        );
    }
}
