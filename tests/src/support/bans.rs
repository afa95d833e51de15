//! The tables of banned addresses, read and written by hand as somebody would who knows their layout and no more.

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::batch::Batch;
use ar_ebpf::place::{DetailsV4, Hashing, PlaceV4, PlaceV6};
use ar_ebpf::{AddrV4, AddrV6, Ban, map};
use aya::Pod;
use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError};

/// A secret for maps that no daemon has taken over.
const SECRET: [u64; 6] = [
    0x243F_6A88_85A3_08D3,
    0x1319_8A2E_0370_7344,
    0xA409_3822_299F_31D0,
    0x082E_FA98_EC4E_6C89,
    0x4528_21E6_38D0_1377,
    0xBE54_66CF_34E9_0C6C,
];

const ANY: u64 = 0;

/// How addresses are spread and what finds no place, of one family.
struct Common<A: Pod> {
    hashing_map: Array<MapData, Hashing>,
    hashing: Hashing,
    overflow: HashMap<MapData, A, Ban>,
}

impl<A: Pod> Common<A> {
    fn new(hashing: Map, overflow: Map, places: u32) -> Result<Self> {
        let mut hashing_map = Array::<_, Hashing>::try_from(hashing)?;
        let mut hashing = hashing_map.get(&0, 0)?;
        if hashing.room == 0 {
            hashing = Hashing {
                secret: SECRET,
                buckets: places / 2,
                room: places / 2,
                ..hashing
            };
            hashing_map.set(0, hashing, ANY)?;
        }
        ensure!(
            hashing.buckets == places / 2,
            "{hashing:?} of {places} places"
        );
        Ok(Self {
            hashing_map,
            hashing,
            overflow: overflow.try_into()?,
        })
    }

    fn get(&self, address: A) -> Result<Option<Ban>> {
        match self.overflow.get(&address, 0) {
            Ok(ban) => Ok(Some(ban)),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn insert(&mut self, address: A, ban: Ban) -> Result<()> {
        self.hashing.overflow = 1;
        self.hashing_map.set(0, self.hashing, ANY)?;
        Ok(self.overflow.insert(address, ban, ANY)?)
    }

    fn overflowed(&self) -> Result<usize> {
        let found = self.all()?.len();
        let told = self.hashing_map.get(&0, 0)?.overflow;
        ensure!(
            (told != 0) == (found > 0),
            "{told} is told of {found} entries"
        );
        Ok(found)
    }

    fn all(&self) -> Result<Vec<(A, Ban)>> {
        Ok(self.overflow.iter().collect::<Result<_, _>>()?)
    }
}

/// The places of both buckets.
fn places(buckets: [u32; 2]) -> impl Iterator<Item = u32> {
    buckets.into_iter().flat_map(|it| [2 * it, 2 * it + 1])
}

/// Those of IPv4.
pub struct BansV4 {
    places: Array<MapData, PlaceV4>,
    details: Array<MapData, DetailsV4>,
    common: Common<AddrV4>,
}

/// Those of IPv6.
pub struct BansV6 {
    places: Array<MapData, PlaceV6>,
    common: Common<AddrV6>,
}

impl BansV4 {
    /// Takes the maps by their names, and spreads addresses in ones that are new.
    ///
    /// # Errors
    ///
    /// When there is no such map.
    pub fn new(mut take: impl FnMut(&str) -> Result<Map>) -> Result<Self> {
        let places: Array<_, _> = take(map::BANS_V4)?.try_into()?;
        let (hashing, overflow) = (take(map::HASHING_V4)?, take(map::OVERFLOW_V4)?);
        Ok(Self {
            common: Common::new(hashing, overflow, places.map().info()?.max_entries())?,
            details: take(map::DETAILS_V4)?.try_into()?,
            places,
        })
    }

    fn at(&self, place: u32) -> Result<Option<(AddrV4, Ban)>> {
        let details = self.details.get(&place, 0)?;
        Ok(self.places.get(&place, 0)?.ban(&details))
    }

    fn find(&self, address: AddrV4) -> Result<Option<(u32, Ban)>> {
        for place in places(self.common.hashing.buckets_v4(address)) {
            if let Some((found, ban)) = self.at(place)?
                && found == address
            {
                return Ok(Some((place, ban)));
            }
        }
        Ok(None)
    }

    /// What is held for an address.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn get(&self, address: AddrV4) -> Result<Option<Ban>> {
        match self.find(address)? {
            Some((_, ban)) => Ok(Some(ban)),
            None => self.common.get(address),
        }
    }

    /// Writes the ban of an address where it stands, or at a free place, or into the overflow.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or there is no room.
    pub fn insert(&mut self, address: AddrV4, ban: Ban) -> Result<()> {
        let mut spot = self.find(address)?.map(|(place, _)| place);
        for place in places(self.common.hashing.buckets_v4(address)) {
            if spot.is_none() && self.at(place)?.is_none() {
                spot = Some(place);
            }
        }
        let Some(spot) = spot else {
            return self.common.insert(address, ban);
        };
        let (place, details) = PlaceV4::new(address, &ban);
        self.details.set(spot, details, ANY)?;
        Ok(self.places.set(spot, place, ANY)?)
    }

    /// Writes the ban of an address into the overflow.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or there is no room.
    pub fn insert_in_overflow(&mut self, address: AddrV4, ban: Ban) -> Result<()> {
        self.common.insert(address, ban)
    }

    /// Ends the ban of an address.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn remove(&mut self, address: AddrV4) -> Result<()> {
        match self.find(address)? {
            Some((place, _)) => Ok(self.places.set(place, PlaceV4::default(), ANY)?),
            None => Ok(self.common.overflow.remove(&address)?),
        }
    }

    /// How many bans stand in the overflow; the program looks there only when it is told to.
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or the program is told otherwise.
    pub fn overflowed(&self) -> Result<usize> {
        self.common.overflowed()
    }

    /// Everything, whether or not it is over.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn all(&self) -> Result<Vec<(AddrV4, Ban)>> {
        let mut all = self.common.all()?;
        let mut taken = Vec::new();
        Batch::new(self.places.map())?.read(|index: u32, place: PlaceV4| {
            taken.extend((place.expires_at_ns != 0).then_some(index));
        })?;
        for index in taken {
            all.extend(self.at(index)?);
        }
        Ok(all)
    }
}

impl BansV6 {
    /// As [`BansV4::new`].
    ///
    /// # Errors
    ///
    /// When there is no such map.
    pub fn new(mut take: impl FnMut(&str) -> Result<Map>) -> Result<Self> {
        let places: Array<_, _> = take(map::BANS_V6)?.try_into()?;
        let (hashing, overflow) = (take(map::HASHING_V6)?, take(map::OVERFLOW_V6)?);
        Ok(Self {
            common: Common::new(hashing, overflow, places.map().info()?.max_entries())?,
            places,
        })
    }

    fn find(&self, address: AddrV6) -> Result<Option<(u32, Ban)>> {
        for index in places(self.common.hashing.buckets_v6(address)) {
            let place = self.places.get(&index, 0)?;
            if place.ban.expires_at_ns != 0 && place.address == address {
                return Ok(Some((index, place.ban)));
            }
        }
        Ok(None)
    }

    /// As [`BansV4::get`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn get(&self, address: AddrV6) -> Result<Option<Ban>> {
        match self.find(address)? {
            Some((_, ban)) => Ok(Some(ban)),
            None => self.common.get(address),
        }
    }

    /// As [`BansV4::insert`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or there is no room.
    pub fn insert(&mut self, address: AddrV6, ban: Ban) -> Result<()> {
        let mut spot = self.find(address)?.map(|(place, _)| place);
        for place in places(self.common.hashing.buckets_v6(address)) {
            if spot.is_none() && self.places.get(&place, 0)?.ban.expires_at_ns == 0 {
                spot = Some(place);
            }
        }
        match spot {
            Some(spot) => Ok(self.places.set(spot, PlaceV6 { ban, address }, ANY)?),
            None => self.common.insert(address, ban),
        }
    }

    /// As [`BansV4::insert_in_overflow`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or there is no room.
    pub fn insert_in_overflow(&mut self, address: AddrV6, ban: Ban) -> Result<()> {
        self.common.insert(address, ban)
    }

    /// As [`BansV4::remove`].
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn remove(&mut self, address: AddrV6) -> Result<()> {
        let Some((index, _)) = self.find(address)? else {
            return Ok(self.common.overflow.remove(&address)?);
        };
        let mut place = self.places.get(&index, 0).context("it was found")?;
        place.ban.expires_at_ns = 0;
        Ok(self.places.set(index, place, ANY)?)
    }

    /// As [`BansV4::overflowed`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses, or the program is told otherwise.
    pub fn overflowed(&self) -> Result<usize> {
        self.common.overflowed()
    }

    /// As [`BansV4::all`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn all(&self) -> Result<Vec<(AddrV6, Ban)>> {
        let mut all = self.common.all()?;
        Batch::new(self.places.map())?.read(|_: u32, PlaceV6 { ban, address }| {
            all.extend((ban.expires_at_ns != 0).then_some((address, ban)));
        })?;
        Ok(all)
    }
}
