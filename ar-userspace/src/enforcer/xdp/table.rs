//! The bans of one address family: the hash that holds them and the front bitmap before it.
//!
//! A bit of the bitmap is set exactly while something stands behind it. The kernel only reads the
//! bitmap, and this is its one writer, so that a word can be written as a whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use ar_ebpf::{AddrV4, AddrV6, Ban, FRONT_WORDS, FrontBit, NEVER, flag};
use aya::Pod;
use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError};

use crate::enforcer::{Counters, Enforced};
use crate::ledger::Standing;
use crate::offender::Offender;
use crate::time::{Expiry, KernelClock};

/// `BPF_NOEXIST` (linux/bpf.h): an update fails where there is an entry.
const IF_ABSENT: u64 = 1;

/// A key of one of the ban maps.
pub(super) trait Address: Pod {
    fn front_bit(self) -> FrontBit;
    fn addr(self) -> IpAddr;
}

impl Address for AddrV4 {
    fn front_bit(self) -> FrontBit {
        FrontBit::of_v4(self)
    }

    fn addr(self) -> IpAddr {
        Ipv4Addr::from(self.octets).into()
    }
}

impl Address for AddrV6 {
    fn front_bit(self) -> FrontBit {
        FrontBit::of_v6(self)
    }

    fn addr(self) -> IpAddr {
        Ipv6Addr::from(self.octets).into()
    }
}

pub(super) struct Table<A: Address> {
    bans: HashMap<MapData, A, Ban>,
    front: Array<MapData, u64>,
    /// Bans behind each set bit.
    behind: BTreeMap<FrontBit, u32>,
    /// The bitmap as the kernel has it; pages of it that hold no bit cost nothing.
    words: Vec<u64>,
}

impl<A: Address> Table<A> {
    /// Takes maps that may hold bans, and makes the bitmap agree with them.
    pub(super) fn adopt(bans: Map, front: Map) -> anyhow::Result<Self> {
        let mut table = Self {
            bans: HashMap::try_from(bans)?,
            front: Array::try_from(front)?,
            behind: BTreeMap::new(),
            words: vec![0; FRONT_WORDS as usize],
        };
        for key in table.bans.keys() {
            let bit = key.context("cannot read the bans")?.front_bit();
            *table.behind.entry(bit).or_default() += 1;
            table.words[bit.word() as usize] |= bit.mask();
        }
        let mut words: Vec<u32> = table.behind.keys().map(|bit| bit.word()).collect();
        words.dedup();
        for word in words {
            table.write_word(word)?;
        }
        Ok(table)
    }

    /// Makes the kernel hold exactly `standing` for one address.
    pub(super) fn hold(
        &mut self,
        address: A,
        standing: Option<Standing>,
        clock: KernelClock,
    ) -> anyhow::Result<()> {
        match standing {
            Some(standing) => self.ban(address, standing, clock),
            None => self.unban(address),
        }
    }

    fn ban(&mut self, address: A, standing: Standing, clock: KernelClock) -> anyhow::Result<()> {
        // The bit first: a ban in the map must never be hidden by it.
        let bit = address.front_bit();
        if self.words[bit.word() as usize] & bit.mask() == 0 {
            self.words[bit.word() as usize] |= bit.mask();
            self.write_word(bit.word())?;
        }
        let writing = || format!("cannot write the ban of {}", address.addr());
        // Most bans are new, and then this is all: a look-up before it would cost as much again.
        match self.bans.insert(address, fresh(standing, clock), IF_ABSENT) {
            Ok(()) => {
                *self.behind.entry(bit).or_default() += 1;
                Ok(())
            }
            Err(error) if is_present(&error) => {
                let old = self.bans.get(&address, 0).with_context(writing)?;
                let ban = merge(old, standing, clock);
                if ban == old {
                    return Ok(());
                }
                self.bans.insert(address, ban, 0).with_context(writing)
            }
            Err(error) => Err(error).with_context(writing),
        }
    }

    fn unban(&mut self, address: A) -> anyhow::Result<()> {
        match self.bans.remove(&address) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot remove the ban of {}", address.addr()));
            }
        }
        let bit = address.front_bit();
        let Some(behind) = self.behind.get_mut(&bit) else {
            // An entry that somebody else wrote: its bit was never this table's.
            return Ok(());
        };
        *behind -= 1;
        if *behind == 0 {
            self.behind.remove(&bit);
            self.words[bit.word() as usize] &= !bit.mask();
            self.write_word(bit.word())?;
        }
        Ok(())
    }

    fn write_word(&mut self, word: u32) -> anyhow::Result<()> {
        self.front
            .set(word, self.words[word as usize], 0)
            .context("cannot write the front bitmap")
    }

    /// Bans that the map has room for.
    pub(super) fn room(&self) -> anyhow::Result<u32> {
        Ok(self
            .bans
            .map()
            .info()
            .context("cannot look at the ban map")?
            .max_entries())
    }

    pub(super) fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        enforced(&self.bans, clock)
    }
}

/// The bans of a map that somebody else keeps.
pub(super) fn read<A: Address>(bans: Map, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
    enforced(&HashMap::<_, A, Ban>::try_from(bans)?, clock)
}

fn enforced<A: Address>(
    bans: &HashMap<MapData, A, Ban>,
    clock: KernelClock,
) -> anyhow::Result<Vec<Enforced>> {
    let mut enforced = Vec::new();
    for entry in bans.iter() {
        let (address, ban) = entry.context("cannot read the bans")?;
        if ban.expires_at_ns <= clock.now_nanos() {
            continue;
        }
        enforced.push(Enforced {
            offender: Offender::new(address.addr()),
            standing: Standing {
                until: match ban.expires_at_ns {
                    NEVER => Expiry::Never,
                    ns => Expiry::At(clock.moment(ns)),
                },
                since: clock.moment(ban.banned_at_ns),
                rule_id: ban.rule_id,
            },
            counters: Counters {
                packets: ban.packets,
                bytes: ban.bytes,
            },
        });
    }
    Ok(enforced)
}

/// The value of a ban that begins.
fn fresh(standing: Standing, clock: KernelClock) -> Ban {
    let (expires_at_ns, flags) = match standing.until {
        Expiry::At(end) => (clock.nanos(end), 0),
        Expiry::Never => (NEVER, flag::PERMANENT),
    };
    Ban {
        expires_at_ns,
        packets: 0,
        bytes: 0,
        last_seen_ns: 0,
        banned_at_ns: clock.nanos(standing.since),
        rule_id: standing.rule_id,
        flags,
    }
}

/// The value of a ban that changes: the new standing, with the counters of one that still runs.
///
/// The map replaces a value as a whole, so that packets which the kernel counts between the look-up
/// and the update, about a microsecond, are dropped all the same but not counted.
fn merge(old: Ban, standing: Standing, clock: KernelClock) -> Ban {
    let ban = fresh(standing, clock);
    if old.expires_at_ns <= clock.now_nanos() {
        return ban;
    }
    Ban {
        packets: old.packets,
        bytes: old.bytes,
        last_seen_ns: old.last_seen_ns,
        banned_at_ns: old.banned_at_ns,
        ..ban
    }
}

fn is_present(error: &MapError) -> bool {
    let MapError::SyscallError(call) = error else {
        return false;
    };
    call.io_error.kind() == std::io::ErrorKind::AlreadyExists
}

fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(call) => call.io_error.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}
