//! A front bitmap, and what stands behind each of its bits.
//!
//! A bit is set exactly while something stands behind it. The kernel only reads the bitmap, and this is
//! its one writer, so that a word can be written as a whole.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use ar_ebpf::batch::Batch;
use ar_ebpf::mapped::Mapped;
use ar_ebpf::{FRONT_WORDS, FrontBit};
use aya::maps::{Array, IterableMap as _, Map, MapData};

pub(super) struct Front {
    map: Array<MapData, u64>,
    /// The bitmap as the kernel has it; pages of it that hold no bit cost nothing.
    words: Vec<u64>,
    /// Bans behind a bit beyond its first one, of which few bits have any: the bit itself counts the first.
    more: BTreeMap<FrontBit, u32>,
    /// Bits that are set before anything behind them is counted.
    uncounted: BTreeSet<FrontBit>,
}

impl Front {
    /// Takes a bitmap and makes it agree with what stands behind it; only words that differ are written.
    pub(super) fn adopt(map: Map, bits: impl Iterator<Item = FrontBit>) -> anyhow::Result<Self> {
        let mut front = Self {
            map: Array::try_from(map)?,
            words: vec![0; FRONT_WORDS as usize],
            more: BTreeMap::new(),
            uncounted: BTreeSet::new(),
        };
        for bit in bits {
            front.count(bit);
        }
        let mut differing = Vec::new();
        let mut compare = |word: u32, found: u64| {
            let wanted = front.words.get(word as usize);
            if wanted.is_some_and(|&wanted| wanted != found) {
                differing.push(word);
            }
        };
        match Mapped::<u64>::new(front.map.map()) {
            Ok(mapped) => mapped.all().for_each(|(word, found)| compare(word, found)),
            // As for the places of bans.
            Err(_) => {
                let read = front.batch()?.read(compare);
                read.context("cannot read the front bitmap")?;
            }
        }
        front.write_all(differing)?;
        Ok(front)
    }

    /// Sets the bit, if it is not, without counting anything behind it.
    pub(super) fn set(&mut self, bit: FrontBit) -> anyhow::Result<()> {
        if self.has(bit) {
            return Ok(());
        }
        self.words[bit.word() as usize] |= bit.mask();
        self.uncounted.insert(bit);
        self.write(bit.word())
    }

    /// Counts one more ban behind a bit; whether the bit was not set, which the kernel is yet to learn.
    pub(super) fn count(&mut self, bit: FrontBit) -> bool {
        let is_new = !self.has(bit);
        if is_new {
            self.words[bit.word() as usize] |= bit.mask();
        } else if !self.uncounted.remove(&bit) {
            *self.more.entry(bit).or_default() += 1;
        }
        is_new
    }

    /// Counts one more ban behind each bit and sets those that are not; each word is written once.
    pub(super) fn hold(&mut self, bits: impl Iterator<Item = FrontBit>) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        for bit in bits {
            if self.count(bit) {
                changed.push(bit.word());
            }
        }
        self.write_all(changed)
    }

    /// Counts one ban less behind each bit and clears those with none; each word is written once.
    pub(super) fn release(&mut self, bits: impl Iterator<Item = FrontBit>) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        for bit in bits {
            if let Entry::Occupied(mut more) = self.more.entry(bit) {
                *more.get_mut() -= 1;
                if *more.get() == 0 {
                    more.remove();
                }
            } else if self.has(bit) && !self.uncounted.contains(&bit) {
                self.words[bit.word() as usize] &= !bit.mask();
                changed.push(bit.word());
            }
            // Else an entry that somebody else wrote: its bit was never this bitmap's.
        }
        self.write_all(changed)
    }

    fn has(&self, bit: FrontBit) -> bool {
        self.words[bit.word() as usize] & bit.mask() != 0
    }

    /// Whether the kernel has the bit.
    #[cfg(test)]
    pub(super) fn is_set(&self, bit: FrontBit) -> anyhow::Result<bool> {
        Ok(self.map.get(&bit.word(), 0)? & bit.mask() != 0)
    }

    fn write_all(&mut self, mut places: Vec<u32>) -> anyhow::Result<()> {
        places.sort_unstable();
        places.dedup();
        match *places {
            [] => Ok(()),
            [place] => self.write(place),
            _ => {
                let word = |&place: &u32| self.words[place as usize];
                let words: Vec<u64> = places.iter().map(word).collect();
                let (_, written) = self.batch()?.write(&places, &words);
                written.context("cannot write the front bitmap")
            }
        }
    }

    fn batch(&self) -> anyhow::Result<Batch<'_, u32, u64>> {
        Batch::new(self.map.map()).context("cannot use the front bitmap")
    }

    fn write(&mut self, word: u32) -> anyhow::Result<()> {
        self.map
            .set(word, self.words[word as usize], 0)
            .context("cannot write the front bitmap")
    }
}
