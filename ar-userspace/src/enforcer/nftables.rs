//! Bans as elements of nftables sets, which the kernel ends by itself: for hosts where no XDP program can run.
//!
//! Everything stands in one table of its own, and no other table is touched. Needs no program `nft`: the kernel is
//! asked over netlink, so that a ban costs the same however many there are; see docs/decisions/0002.

mod element;
mod layout;
mod socket;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::io::Errno;

use super::{Condition, Counters, Enforced, Enforcer, Failure, Hold, Leave, Place};
use crate::offender::{Offender, Prefix};
use crate::time::{Expiry, KernelClock};
use layout::{Family, Set};
use socket::{Refusal, Socket};
use wire::Request;

/// Name of the table, of family `inet`, unless told otherwise.
pub const DEFAULT_TABLE: &str = "arfw";

/// Changes of bans in one transaction.
const CHUNK: usize = 4_096;

/// How often a ban is tried that somebody else changes at the same time.
const ATTEMPTS: usize = 4;

/// What the enforcer needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the table.
    pub table: String,
    /// Banned addresses per family that the sets have room for.
    pub max_bans: u32,
    /// Interfaces that were asked for, all the same: the chain sees the packets of every interface.
    pub interfaces: Vec<String>,
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

    /// Holds what is wanted of different offenders in one transaction.
    fn hold_together(
        &mut self,
        socket: &mut Socket,
        wanted: &[(usize, Hold)],
        clock: KernelClock,
        failures: &mut Vec<Failure>,
    ) {
        let mut open: Vec<(usize, Hold)> = wanted.to_vec();
        let mut fail = |(place, hold): (usize, Hold), why: &str| {
            let cause = format!("cannot write the ban of {}: {why}", hold.offender);
            failures.push(Failure { place, cause });
        };
        for attempt in 1..=ATTEMPTS {
            let (sets, requests, owners) = match self.changes(socket, &open, clock) {
                Ok(changes) => changes,
                Err(why) => {
                    open.into_iter().for_each(|hold| fail(hold, &told(why)));
                    return;
                }
            };
            let refusals = match socket.transact(&requests) {
                Ok(refusals) if refusals.is_empty() => {
                    self.sets.extend(sets);
                    return;
                }
                Ok(refusals) => refusals,
                Err(why) => {
                    open.into_iter().for_each(|hold| fail(hold, &told(why)));
                    return;
                }
            };
            let mut failed = BTreeMap::new();
            for Refusal { place, why } in refusals {
                // A set that cannot be made is one for all: nothing of this transaction holds.
                let Some(owner) = owners[place] else {
                    open.into_iter().for_each(|hold| fail(hold, &told(why)));
                    return;
                };
                // The element came or went since it was looked at.
                let is_race = why == Errno::NOENT || why == Errno::EXIST;
                if !is_race || attempt == ATTEMPTS {
                    failed.entry(owner).or_insert(why);
                }
            }
            open.retain(|hold| match failed.get(&hold.0) {
                Some(&why) => {
                    fail(*hold, &told(why));
                    false
                }
                None => true,
            });
        }
        for hold in open {
            fail(hold, "others change the table all the time");
        }
    }

    /// What has to be done, as the elements stand: sets to make; requests, and for each whose it is.
    #[expect(clippy::type_complexity, reason = "three lists, used at one place")]
    fn changes(
        &self,
        socket: &mut Socket,
        wanted: &[(usize, Hold)],
        clock: KernelClock,
    ) -> Result<(BTreeSet<Set>, Vec<Request>, Vec<Option<usize>>), Errno> {
        let table = &self.table;
        let mut sets = BTreeSet::new();
        let mut requests = Vec::new();
        let mut owners = Vec::new();
        let mut elements = Vec::new();
        for &(place, Hold { offender, standing }) in wanted {
            let (set, addr) = (Set::of(offender), offender.addr());
            let is_made = self.sets.contains(&set);
            let held = match is_made {
                true => look_up(socket, table, offender, clock)?,
                false => None,
            };
            let mut put = |request| elements.push((Some(place), request));
            match (held, standing) {
                (None, None) => {}
                // Taking an element away waits until no packet looks at it, tens of milliseconds in which nobody
                // could be banned.
                (Some(held), None) if is_ending(&held, clock) => {}
                (Some(_), None) => put(element::delete(table, set, addr)),
                (None, Some(standing)) => {
                    if !is_made {
                        sets.insert(set);
                    }
                    put(element::add(
                        table,
                        set,
                        addr,
                        standing,
                        Counters::default(),
                        clock,
                    ));
                }
                (Some(held), Some(mut standing)) => {
                    standing.since = held.standing.since;
                    let is_same = is_same_end(held.standing.until, standing.until)
                        && held.standing.rule_id == standing.rule_id;
                    if !is_same {
                        // The kernel moves no end of an element, before Linux 6.12.
                        put(element::delete(table, set, addr));
                        put(element::add(
                            table,
                            set,
                            addr,
                            standing,
                            held.counters,
                            clock,
                        ));
                    }
                }
            }
        }
        for set in &sets {
            let rule = set.rule(table, Counters::default());
            let made = [Some(set.make(table, 0)), rule].into_iter().flatten();
            for request in made {
                owners.push(None);
                requests.push(request);
            }
        }
        for (owner, request) in elements {
            owners.push(owner);
            requests.push(request);
        }
        Ok((sets, requests, owners))
    }
}

impl Enforcer for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn grain(&self) -> Duration {
        element::GRAIN
    }

    fn hold(&mut self, wanted: &[Hold], clock: KernelClock) -> Vec<Failure> {
        let mut failures = Vec::new();
        let mut socket = match Socket::open() {
            Ok(socket) => socket,
            Err(why) => {
                let fail = |place| Failure {
                    place,
                    cause: format!("{:#}", refused(why)),
                };
                return (0..wanted.len()).map(fail).collect();
            }
        };
        let mut together: Vec<(usize, Hold)> = Vec::new();
        let mut offenders: BTreeSet<Offender> = BTreeSet::new();
        for (place, &hold) in wanted.iter().enumerate() {
            // What comes later about an offender finds the earlier done.
            if together.len() == CHUNK || !offenders.insert(hold.offender) {
                self.hold_together(&mut socket, &together, clock, &mut failures);
                together.clear();
                offenders = BTreeSet::from([hold.offender]);
            }
            together.push((place, hold));
        }
        self.hold_together(&mut socket, &together, clock, &mut failures);
        failures
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

/// Deletes the table; nothing happens without it. Nobody is banned by it afterwards.
///
/// # Errors
///
/// When the kernel refuses.
pub fn release(table: &str) -> anyhow::Result<()> {
    let deleting = || format!("cannot delete the nftables table `inet {table}`");
    let deleted = Socket::open().and_then(|mut socket| socket.transact(&[layout::delete(table)]));
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

/// The ban of an offender, if there is one.
fn look_up(
    socket: &mut Socket,
    table: &str,
    offender: Offender,
    clock: KernelClock,
) -> Result<Option<Enforced>, Errno> {
    let (set, addr): (Set, IpAddr) = (Set::of(offender), offender.addr());
    let mut found = None;
    let read = |attributes: &[u8]| found = element::read(set, attributes, clock).pop();
    match socket.look_up(&element::get(table, set, addr), read) {
        Ok(()) => Ok(found),
        Err(Errno::NOENT) => Ok(None),
        Err(why) => Err(why),
    }
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

fn is_same_end(one: Expiry, other: Expiry) -> bool {
    match (one, other) {
        (Expiry::At(one), Expiry::At(other)) => {
            one.since(other) <= element::GRAIN && other.since(one) <= element::GRAIN
        }
        _ => one == other,
    }
}

/// Whether the kernel ends a ban in a moment by itself: its time has come.
fn is_ending(held: &Enforced, clock: KernelClock) -> bool {
    let left = held.standing.until.left(clock.moment(clock.now_nanos()));
    left.is_some_and(|left| left <= element::LATE)
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
