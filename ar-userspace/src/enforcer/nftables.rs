//! Bans as elements of nftables sets, which the kernel ends by itself: for hosts where no XDP program can run.
//!
//! Everything stands in one table of its own, and no other table is touched. Needs no program `nft`: the kernel is
//! asked over netlink, so that a ban costs the same however many there are; see docs/decisions/0002.

mod batch;
mod element;
mod inspection;
mod layout;
mod reading;
mod socket;
mod wire;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::io::Errno;

use super::{
    Condition, Counters, Enforced, Enforcer, Failure, Hold, Inspection, Leave, Links, Look,
    Pattern, Place,
};
use crate::offender::Prefix;
use crate::time::{KernelClock, Moment};
use inspection::Held;
use layout::{Family, Set};
use reading::{enforced, exists, is_ours, rules, sets};
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
    max_bans: u32,
    clock: fn() -> KernelClock,
    /// Sets that are there.
    sets: BTreeSet<Set>,
    /// What was allowed last; `None` when another daemon's word stands.
    allowed: Option<Vec<Prefix>>,
    room: (u32, u32),
    remark: String,
    held: Held,
    /// Sets were gone and are made again, and nobody knows it yet.
    is_lost: bool,
    /// Why what is gone of the table cannot be made again.
    broken: Option<String>,
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
        clock: fn() -> KernelClock,
    ) -> anyhow::Result<(Self, Vec<Enforced>)> {
        let table = &settings.table;
        let adopts = exists(table).map_err(refused)?;
        let started = Self::make(settings, clock);
        if started.is_err() && !adopts {
            // Why the start failed is what has to be told; nobody is banned by this table.
            let _ = release(table);
        }
        started.with_context(|| format!("cannot use the nftables table `inet {table}`"))
    }

    fn make(
        settings: &Settings,
        clock: fn() -> KernelClock,
    ) -> anyhow::Result<(Self, Vec<Enforced>)> {
        let table = &settings.table;
        let found = sets(table).map_err(refused)?;
        let wanted = Set::FIRST.into_iter().chain(found.into_keys()).collect();
        make_whole(table, settings.max_bans, &wanted)?;
        let sets = sets(table).map_err(refused)?;
        let room = |family| {
            let size = sets.get(&Set::Bans(family)).copied().flatten();
            size.map_or(settings.max_bans, |size| size / 2)
        };
        let mut nftables = Self {
            table: table.clone(),
            max_bans: settings.max_bans,
            clock,
            room: (room(Family::V4), room(Family::V6)),
            sets: sets.into_keys().collect(),
            allowed: None,
            held: Held::default(),
            is_lost: false,
            broken: None,
            remark: match settings.interfaces.is_empty() {
                true => String::new(),
                false => "`--interface` is for XDP; nftables covers every interface".to_owned(),
            },
        };
        let found = enforced(table, nftables.sets.iter().copied(), &clock).map_err(refused)?;
        nftables.held = Held::new(&found);
        Ok((nftables, found))
    }

    /// Bans that the sets have room for, of IPv4 and of IPv6 addresses.
    #[must_use]
    pub fn room(&self) -> (u32, u32) {
        self.room
    }

    /// Makes again what is gone of the table; whether anything was.
    fn mend(&mut self) -> anyhow::Result<bool> {
        let rules = rules(&self.table).map_err(refused)?;
        let drops = |set: &Set| matches!(set, Set::Allow(_)) || rules.contains_key(set);
        if self.sets.iter().all(drops) {
            return Ok(false);
        }
        let found = sets(&self.table).map_err(refused)?;
        let is_lost = self.sets.iter().any(|set| !found.contains_key(set));
        self.sets.extend(found.into_keys());
        make_whole(&self.table, self.max_bans, &self.sets)?;
        if is_lost {
            self.is_lost = true;
            self.held.forget_pass();
            // Before any ban: nobody who is to be left alone is dropped for a moment.
            if let Some(networks) = self.allowed.take() {
                self.allow(&networks)?;
            }
        } else {
            tracing::warn!(
                table = self.table,
                "rules were gone, or their chain was, and are made again; the bans in the sets stand"
            );
        }
        Ok(true)
    }
}

/// Makes the table with these sets and their rules as it has to be. What is there stays, with what it has counted.
fn make_whole(table: &str, max_bans: u32, sets: &BTreeSet<Set>) -> anyhow::Result<()> {
    let old = rules(table).map_err(refused)?;
    // Elements that are over stand until the kernel collects them, once a second; hence twice the room.
    let size = max_bans.saturating_mul(2);
    let steps = layout::setup(table, size, sets.iter().copied(), &old);
    let (names, requests): (Vec<String>, Vec<Request>) = steps.into_iter().unzip();
    let refusals = Socket::open()
        .and_then(|mut socket| socket.transact(&requests))
        .map_err(refused)?;
    match refusals.first() {
        Some(refusal) => Err(anyhow!("cannot {}: {}", names[refusal.place], refusal.why)),
        None => Ok(()),
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
        for &hold in wanted {
            self.held.note(hold);
        }
        let failures = batch::hold(&self.table, &mut self.sets, wanted, clock);
        // No ban is lost by what has just been taken away. Why it stays so is told by the next look.
        if failures.is_empty() || !self.mend().unwrap_or(false) {
            return failures;
        }
        batch::hold(&self.table, &mut self.sets, wanted, clock)
    }

    fn allow(&mut self, networks: &[Prefix]) -> anyhow::Result<()> {
        let networks = element::widest(networks);
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

    fn inspect(&mut self, budget: usize, _clock: KernelClock) -> anyhow::Result<Inspection> {
        let inspected = self.held.inspect(&self.table, budget, self.clock);
        inspected.inspect_err(|_| self.held.forget_pass())
    }

    /// The table covers every interface, whenever it comes.
    fn follow_links(&mut self, _links: Links, _now: Moment) -> bool {
        false
    }

    fn look(&mut self) -> Look {
        let broken = self.mend().err().map(|error| format!("{error:#}"));
        if let Some(cause) = broken.as_ref().filter(|_| self.broken != broken) {
            tracing::error!(
                table = self.table,
                "NOTHING IS DROPPED ANY MORE: the table, or a part of it, is gone, and cannot be made again: {cause}"
            );
        }
        self.broken = broken;
        match std::mem::take(&mut self.is_lost) {
            true => Look::Lost,
            false => Look::AsBefore,
        }
    }

    fn condition(&self) -> anyhow::Result<Condition> {
        let rules = rules(&self.table).map_err(refused)?;
        let (mode, why) = match rules.is_empty() {
            false => ("nftables", self.remark.clone()),
            true => {
                let broken = self.broken.clone();
                ("none", broken.unwrap_or_else(|| told(Errno::NOENT)))
            }
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
            "the table, or a part of it, is gone; arfw makes it again within a second".to_owned()
        }
        why => why.to_string(),
    }
}
