//! A table over real maps of the kernel, pinned nowhere.

use std::collections::BTreeMap;

use ar_ebpf::place::Hashing;
use ar_ebpf::{AddrV4, AddrV6, map};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData};

use super::*;
use crate::enforcer::xdp::OBJECT;
use crate::enforcer::{Inspection, Presence};
use crate::time::Expiry;

const ANY: u64 = 0;

/// Whether the kernel has all front bits of an address.
fn is_set<A: Address>(table: &Table<A>, address: A) -> bool {
    let mut bits = address.front_bits().into_iter();
    bits.all(|bit| table.front.is_set(bit).unwrap())
}

/// The maps, which stay when a table on them is gone.
struct Maps {
    _kernel: Ebpf,
    ids: BTreeMap<&'static str, u32>,
}

impl Maps {
    fn new(places: u32, overflow: u32) -> Self {
        let mut loader = aya::EbpfLoader::new();
        for name in [map::BANS_V4, map::BANS_V6, map::DETAILS_V4] {
            loader.map_max_entries(name, places);
        }
        for name in [map::OVERFLOW_V4, map::OVERFLOW_V6] {
            loader.map_max_entries(name, overflow);
        }
        let kernel = loader.load(OBJECT).unwrap();
        let id = |name| {
            let data = match kernel.map(name).unwrap() {
                Map::Array(data)
                | Map::HashMap(data)
                | Map::LpmTrie(data)
                | Map::PerCpuArray(data) => data,
                other => panic!("{other:?}"),
            };
            (name, data.info().unwrap().id())
        };
        let ids = map::ALL.map(id).into();
        Self {
            _kernel: kernel,
            ids,
        }
    }

    fn open(&self, name: &str) -> Map {
        let data = MapData::from_id(self.ids[name]).unwrap();
        match name {
            map::OVERFLOW_V4 | map::OVERFLOW_V6 => Map::HashMap(data),
            map::PREFIXES_V4 | map::PREFIXES_V6 | map::ALLOW_V4 | map::ALLOW_V6 => {
                Map::LpmTrie(data)
            }
            _ => Map::Array(data),
        }
    }

    fn adopt<A: Address>(&self) -> (Table<A>, Vec<(Offender, Standing)>) {
        self.adopt_with(Vec::new())
    }

    fn adopt_with<A: Address>(
        &self,
        older: Vec<(A, Ban)>,
    ) -> (Table<A>, Vec<(Offender, Standing)>) {
        let mut found = Vec::new();
        let take = |name: &str| Ok(self.open(name));
        let table = Table::adopt(take, older, 1 << 20, clock(), &mut found).unwrap();
        (table, found)
    }

    fn hashing(&self) -> Hashing {
        let map = Array::<_, Hashing>::try_from(self.open(map::HASHING_V4)).unwrap();
        map.get(&0, 0).unwrap()
    }

    /// Writes a place of the IPv4 table as somebody else would.
    fn write(&self, index: u32, address: AddrV4, ban: &Ban) {
        let (place, details) = address.place(ban);
        let mut map = Array::try_from(self.open(map::DETAILS_V4)).unwrap();
        map.set(index, details, ANY).unwrap();
        let mut map = Array::try_from(self.open(map::BANS_V4)).unwrap();
        map.set(index, place, ANY).unwrap();
    }
}

fn clock() -> KernelClock {
    crate::clock::kernel_clock()
}

fn address(last: u8) -> AddrV4 {
    AddrV4 {
        octets: [203, 0, last, 7],
    }
}

fn for_ever() -> Standing {
    Standing {
        until: Expiry::Never,
        since: clock().moment(clock().now_nanos()),
        rule_id: 1,
        shadow: false,
    }
}

fn over() -> Ban {
    Ban {
        expires_at_ns: 2,
        ..fresh(for_ever(), clock())
    }
}

fn hold<A: Address>(table: &mut Table<A>, address: A) {
    table.hold(address, Some(for_ever()), clock()).unwrap();
}

fn held<A: Address>(table: &Table<A>) -> usize {
    table.enforced(clock()).unwrap().len()
}

/// One bucket, so that every address has the same.
#[test]
fn of_bans_written_together_those_without_room_fail_one_by_one() {
    let maps = Maps::new(2, 4);
    let mut table = maps.adopt::<AddrV4>().0;
    hold(&mut table, address(3));
    for last in 0..10 {
        let is_new = table.stage(last.into(), address(last), for_ever(), clock());
        assert_eq!(is_new, last != 3);
    }
    let mut failures = Vec::new();
    table.flush(&mut failures);
    let failed: Vec<usize> = failures.iter().map(|failure| failure.place).collect();
    assert_eq!(failed, [6, 7, 8, 9]);
    let cause = &failures[0].cause;
    assert!(
        cause.starts_with("cannot write the ban of 203.0.6.7: the map is full"),
        "{cause}"
    );
    assert_eq!(held(&table), 6);
    for last in 0..10 {
        let is_set = is_set(&table, address(last));
        assert_eq!(is_set, last < 6, "{last}");
    }
    // One by one they fail as well.
    let failed = table.hold(address(7), Some(for_ever()), clock());
    let cause = format!("{:#}", failed.unwrap_err());
    assert!(cause.contains("the map is full"), "{cause}");
    assert_eq!(held(&table), 6);

    // With room again, the same address is new again.
    table.hold(address(0), None, clock()).unwrap();
    assert!(table.stage(0, address(7), for_ever(), clock()));
    table.flush(&mut failures);
    assert_eq!(failures.len(), 4);
    assert!(is_set(&table, address(7)));
}

#[test]
fn what_finds_its_buckets_full_stands_in_the_overflow_until_it_is_freed() {
    let maps = Maps::new(2, 4);
    let mut table = maps.adopt::<AddrV4>().0;
    let mut steps = vec![maps.hashing().overflow];
    for last in 0..3 {
        hold(&mut table, address(last));
        steps.push(maps.hashing().overflow);
    }
    assert_eq!(steps, [0, 0, 0, 1]);
    let overflow = HashMap::<_, AddrV4, Ban>::try_from(maps.open(map::OVERFLOW_V4)).unwrap();
    let keys: Vec<AddrV4> = overflow.keys().map(Result::unwrap).collect();
    assert_eq!(keys, [address(2)]);
    // A place that is free again is taken by the next one. What overflowed stays where it is.
    table.hold(address(0), None, clock()).unwrap();
    assert_eq!(maps.hashing().overflow, 1);
    hold(&mut table, address(4));
    assert_eq!(overflow.keys().count(), 1);
    assert_eq!(held(&table), 3);
    table.hold(address(2), None, clock()).unwrap();
    assert_eq!((maps.hashing().overflow, overflow.keys().count()), (0, 0));
    let told = |last| table.bans.kernel.look_up(address(last)).unwrap().is_some();
    assert_eq!([0, 1, 2, 4].map(told), [false, true, false, true]);
}

#[test]
fn the_secret_is_kept_as_long_as_the_maps_and_is_another_for_others() {
    let maps = Maps::new(256, 64);
    let mut table = maps.adopt::<AddrV4>().0;
    let hashing = maps.hashing();
    assert!(hashing.secret.iter().all(|word| *word != 0));
    assert_eq!((hashing.buckets, hashing.room), (128, 170));
    (0..100).for_each(|last| hold(&mut table, address(last)));
    drop(table);
    let (table, found) = maps.adopt::<AddrV4>();
    assert_eq!(found.len(), 100);
    assert_eq!((held(&table), table.room()), (100, 170));
    assert_eq!(maps.hashing().secret, hashing.secret);
    let others = Maps::new(256, 64);
    others.adopt::<AddrV4>();
    assert_ne!(others.hashing().secret, hashing.secret);
}

/// Random bans and their ends, one by one and together, with a new process in between.
fn check_against_a_model<A: Address>(of: fn([u8; 16]) -> A) {
    let maps = Maps::new(1024, 512);
    let mut table = maps.adopt::<A>().0;
    let mut model: BTreeMap<A, Ban> = BTreeMap::new();
    let mut overflowed = 0;
    let mut state = 0x5eed_u64;
    let mut roll = || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        u128::from(state >> 32)
    };
    for step in 0..6_000 {
        // A few thousand addresses, so that some come again.
        let mixed = (roll() % 4_000).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
        let address = of(mixed.to_be_bytes());
        let standing = Standing {
            rule_id: step,
            until: if roll() % 2 == 0 {
                Expiry::Never
            } else {
                Expiry::At(clock().moment(u64::MAX / 4 - u64::from(step)))
            },
            shadow: roll() % 3 == 0,
            ..for_ever()
        };
        if model.len() > 900 || model.contains_key(&address) && roll() % 2 == 0 {
            let address = *model
                .range(address..)
                .next()
                .or(model.iter().next())
                .unwrap()
                .0;
            table.hold(address, None, clock()).unwrap();
            model.remove(&address);
            assert_eq!(table.bans.kernel.look_up(address).unwrap(), None);
        } else {
            let is_staged = table.stage(0, address, standing, clock());
            assert_eq!(is_staged, !model.contains_key(&address));
            if !is_staged {
                table.hold(address, Some(standing), clock()).unwrap();
            }
            let mut ban = fresh(standing, clock());
            ban.expires_at_ns = ban.expires_at_ns.max(2);
            model.insert(address, ban);
            let mut failures = Vec::new();
            table.flush(&mut failures);
            assert!(failures.is_empty(), "{failures:?}");
        }
        overflowed = overflowed.max(table.bans.mirror.overflow().len());
        if step % 500 != 0 {
            continue;
        }
        let mut found = BTreeMap::new();
        let read = |address, ban: Ban| {
            assert!(found.insert(address, ban).is_none(), "twice");
        };
        table.bans.kernel.read(read).unwrap();
        assert!(found.keys().eq(model.keys()));
        for (address, found) in found {
            let wanted = model[&address];
            assert_eq!((found.rule_id, found.flags), (wanted.rule_id, wanted.flags));
            assert!(found.expires_at_ns.abs_diff(wanted.expires_at_ns) < 1_000_000_000);
            let looked_up = table.bans.kernel.look_up(address).unwrap();
            assert_eq!(looked_up.map(|(_, ban)| ban), Some(found));
            assert!(is_set(&table, address));
        }
        drop(table);
        table = maps.adopt::<A>().0;
        assert_eq!(table.bans.mirror.len(), model.len());
    }
    assert!(model.len() > 600 && overflowed > 10, "{overflowed}");
    let left: Vec<A> = model.into_keys().collect();
    for address in left {
        table.hold(address, None, clock()).unwrap();
        assert!(!is_set(&table, address) || held(&table) > 0);
    }
    assert_eq!(held(&table), 0);
}

#[test]
fn random_ipv4_bans_stand_as_a_model_says() {
    check_against_a_model(|[a, b, c, d, ..]| AddrV4 {
        octets: [a, b, c, d],
    });
}

#[test]
fn random_ipv6_bans_stand_as_a_model_says() {
    check_against_a_model(|octets| AddrV6 { octets });
}

#[test]
fn no_bit_goes_while_a_ban_stands_behind_it() {
    let maps = Maps::new(64, 64);
    let mut table = maps.adopt::<AddrV4>().0;
    let [theirs, ours] = [1, 2].map(|last| AddrV4 {
        octets: [203, 0, 113, last],
    });
    assert_eq!(ours.front_bits(), theirs.front_bits());
    let is_set = |table: &Table<AddrV4>| is_set(table, ours);

    // Written by somebody else, and then banned: what it has counted stays.
    let entry = Ban {
        packets: 5,
        ..fresh(for_ever(), clock())
    };
    let place = theirs.buckets(&maps.hashing())[1] * 2 + 1;
    maps.write(place, theirs, &entry);
    hold(&mut table, theirs);
    hold(&mut table, ours);
    table.hold(ours, None, clock()).unwrap();
    assert!(is_set(&table), "a ban is hidden");
    let of_theirs = table.bans.kernel.look_up(theirs).unwrap();
    assert_eq!(of_theirs.map(|(_, ban)| ban.packets), Some(5));

    // Removed by somebody else, and then let go.
    maps.write(
        place,
        theirs,
        &Ban {
            expires_at_ns: 0,
            ..entry
        },
    );
    table.hold(theirs, None, clock()).unwrap();
    assert!(!is_set(&table), "a bit stays");
}

/// An entry of somebody else is not written over by a ban that is made.
#[test]
fn others_entries_are_left_where_they_are_and_noticed() {
    let maps = Maps::new(2, 4);
    let mut table = maps.adopt::<AddrV4>().0;
    maps.write(1, address(1), &fresh(for_ever(), clock()));
    hold(&mut table, address(2));
    hold(&mut table, address(3));
    assert_eq!(held(&table), 3);
    let mut inspection = Inspection::default();
    while !table.inspect(64, clock(), &mut inspection).unwrap() {
        std::thread::yield_now();
    }
    let mut found: Vec<String> = inspection
        .seen
        .iter()
        .inspect(|seen| assert!(matches!(seen.presence, Presence::Standing(_)), "{seen:?}"))
        .map(|seen| seen.offender.to_string())
        .collect();
    found.sort();
    assert_eq!(found, ["203.0.1.7", "203.0.2.7", "203.0.3.7"]);
}

/// What is over is freed, what stands where the program does not look is put where it does.
#[test]
fn what_is_not_as_a_process_leaves_it_is_put_in_order_by_the_next() {
    let maps = Maps::new(64, 64);
    drop(maps.adopt::<AddrV4>());
    let hashing = maps.hashing();
    let ban = fresh(for_ever(), clock());
    let home = |address: AddrV4| address.buckets(&hashing)[0] * 2;
    let taken = [home(address(2)), home(address(3)) + 1];
    let is_home = |place| address(1).buckets(&hashing).contains(&(place / 2));
    let mut strange = (0..64).filter(|place| !is_home(*place) && !taken.contains(place));
    let lost = strange.next().unwrap();
    maps.write(home(address(2)), address(2), &over());
    maps.write(home(address(3)) + 1, address(3), &ban);
    maps.write(lost, address(1), &ban);
    let mut overflow = HashMap::<_, AddrV4, Ban>::try_from(maps.open(map::OVERFLOW_V4)).unwrap();
    overflow.insert(address(3), ban, ANY).unwrap();
    overflow.insert(address(4), over(), ANY).unwrap();
    overflow.insert(address(5), ban, ANY).unwrap();
    let older = [address(6), address(3)].map(|address| (address, ban));
    let older = older.into_iter().chain([(address(7), over())]).collect();

    let (table, found) = maps.adopt_with(older);
    let mut found: Vec<String> = found.iter().map(|(who, _)| who.to_string()).collect();
    found.sort();
    assert_eq!(found, [1, 3, 5, 6].map(|last| format!("203.0.{last}.7")));
    let mut read = Vec::new();
    table
        .bans
        .kernel
        .read(|address, _| read.push(address))
        .unwrap();
    read.sort();
    assert_eq!(read, [1, 3, 5, 6].map(address));
    let keys: Vec<AddrV4> = overflow.keys().map(Result::unwrap).collect();
    assert_eq!((keys, maps.hashing().overflow), (vec![address(5)], 1));
    for last in 1..8 {
        let is_set = is_set(&table, address(last));
        assert_eq!(is_set, [1, 3, 5, 6].contains(&last), "{last}");
    }
}
