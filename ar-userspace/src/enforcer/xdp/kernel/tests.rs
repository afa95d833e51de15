//! Arrays of the kernel, pinned nowhere, as they are read where they stand and in batches.

use std::fs;

use ar_ebpf::place::{MMAPABLE, PlaceV4};
use ar_ebpf::{AddrV4, AddrV6, map};

use super::*;
use crate::enforcer::xdp::OBJECT;

type Element = [u64; 4];

fn array<V: aya::Pod>(elements: u32, flags: u32) -> Array<MapData, V> {
    Array::create(elements, flags).unwrap()
}

#[test]
fn what_is_written_by_calls_is_read_where_it_stands() {
    // The last page is not full.
    const ELEMENTS: u32 = 1_000;
    let mut array = array::<Element>(ELEMENTS, MMAPABLE);
    let mapped = Mapped::<Element>::new(array.map()).unwrap();
    assert_eq!(mapped.begun().count(), 0);
    for index in (0..ELEMENTS).step_by(3) {
        let number = u64::from(index);
        // Every other one of them begins with a zero.
        let element = [number % 2, number, u64::MAX - number, number << 40];
        array.set(index, element, ANY).unwrap();
    }
    let mut in_batches = Vec::new();
    let batch = Batch::<u32, Element>::new(array.map()).unwrap();
    batch
        .read(|index, element| in_batches.push((index, element)))
        .unwrap();
    assert_eq!(in_batches.len(), ELEMENTS as usize);
    let one_by_one = (0..ELEMENTS).map(|index| (index, mapped.get(index).unwrap()));
    assert!(one_by_one.eq(in_batches.iter().copied()));
    in_batches.retain(|(_, element)| element[0] != 0);
    assert_eq!(in_batches.len(), 167);
    assert!(mapped.begun().eq(in_batches));

    let last = ELEMENTS - 1;
    array.set(last, [7, 8, 9, 10], ANY).unwrap();
    assert_eq!(mapped.get(last), Some([7, 8, 9, 10]));
    assert_eq!(mapped.get(ELEMENTS), None);

    for (first, count) in [
        (0, 1),
        (1, 200),
        (127, 2),
        (512, 128),
        (900, 500),
        (last, 1),
    ] {
        let some = Mapped::<Element>::some(array.map(), first, count).unwrap();
        let end = ELEMENTS.min(first + count);
        let of_all = (first..end).map(|index| (index, mapped.get(index).unwrap()));
        assert!(some.all().eq(of_all), "{count} from {first}");
        assert_eq!(some.get(end), None);
        assert!(first == 0 || some.get(first - 1).is_none());
    }
    for (first, count) in [(0, 0), (ELEMENTS, 1), (u32::MAX, 5)] {
        assert!(Mapped::<Element>::some(array.map(), first, count).is_err());
    }
}

#[test]
fn maps_that_do_not_fit_are_refused_and_say_why() {
    fn cause<V: aya::Pod + std::fmt::Debug>(map: &MapData) -> String {
        Mapped::<V>::new(map).unwrap_err().to_string()
    }
    let refused = |cause: String, found: &str, wanted: usize| {
        assert_eq!(
            cause,
            format!(
                "a map of {found} cannot be read as an array of {wanted} bytes each where it stands"
            )
        );
    };
    let mapable = array::<Element>(8, MMAPABLE);
    let found = "Array with values of 32 bytes and flags 0x400";
    refused(cause::<[u64; 3]>(mapable.map()), found, 24);
    refused(cause::<[u64; 5]>(mapable.map()), found, 40);
    refused(
        cause::<Element>(array::<Element>(8, 0).map()),
        "Array with values of 32 bytes and flags 0x0",
        32,
    );
    // The kernel keeps these sixteen bytes apart.
    refused(
        cause::<[u32; 3]>(array::<[u32; 3]>(8, MMAPABLE).map()),
        "Array with values of 12 bytes and flags 0x400",
        12,
    );
    let hash = HashMap::<MapData, u32, Element>::create(8, 0).unwrap();
    refused(
        cause::<Element>(hash.map()),
        "Hash with values of 32 bytes and flags 0x0",
        32,
    );
}

#[test]
fn nothing_stays_mapped() {
    // No other test has an array of as many pages.
    const ELEMENTS: u32 = 128 * 1_237;
    let mappings = || {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let length = |line: &str| {
            let (start, end) = line.split(' ').next()?.split_once('-')?;
            let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
            Some(end - start)
        };
        let wanted = Some(u64::from(ELEMENTS) * 32);
        let ours = maps.lines().filter(|line| line.contains("bpf-map"));
        ours.filter(|line| length(line) == wanted).count()
    };
    let array = array::<Element>(ELEMENTS, MMAPABLE);
    let mapped = Mapped::<Element>::new(array.map()).unwrap();
    assert_eq!(mappings(), 1);
    drop(mapped);
    assert_eq!(mappings(), 0);
}

fn kernel<A: Address>(places: u32, flags: u32, flags_of_details: u32) -> Kernel<A> {
    let details = A::MAPS.details.map(|_| array(places, flags_of_details));
    Kernel {
        places: array(places, flags),
        details,
        overflow: HashMap::create(8, 0).unwrap(),
        hashing_map: array(1, 0),
        hashing: Hashing::default(),
    }
}

/// Fills places, frees some again, and reads.
fn read<A: Address + std::fmt::Debug>(
    kernel: &mut Kernel<A>,
    address: impl Fn(u8) -> A,
) -> Vec<(u32, A, Ban)> {
    let put = |number: u8| Placed {
        address: address(number),
        spot: Spot::Place(u32::from(number) * 37),
        ban: Ban {
            expires_at_ns: 1_000 + 2 * u64::from(number),
            packets: number.into(),
            bytes: 1 << number.min(60),
            last_seen_ns: 0,
            banned_at_ns: 5 + u64::from(number),
            rule_id: 5_700 + u32::from(number),
            flags: 0,
        },
    };
    let new: Vec<Placed<A>> = (0..200).map(put).collect();
    assert!(kernel.put_all(&new).is_empty());
    for freed in new.iter().step_by(5) {
        kernel.end(freed.address, freed.spot).unwrap();
        let Spot::Place(place) = freed.spot else {
            panic!("in the overflow");
        };
        // What is written there next counts on it.
        assert!(kernel.places.get(&place, 0).unwrap() == A::FREE);
    }
    let mut found = Vec::new();
    kernel
        .read_places(|place, address, ban| found.push((place, address, ban)))
        .unwrap();
    let wanted = (0..).zip(&new).filter(|(at, _)| at % 5 != 0);
    let wanted = wanted.map(|(at, placed)| (at * 37, placed.address, placed.ban));
    assert!(wanted.eq(found.iter().copied()), "{found:?}");
    let mut by_calls = Vec::new();
    kernel
        .read_places_by_calls(|place, address, ban| by_calls.push((place, address, ban)))
        .unwrap();
    assert_eq!(by_calls, found);
    for first in [0, 1, 300, 7_000, 9_990, 10_000, u32::MAX] {
        let some = kernel.at(first, 512).unwrap();
        assert_eq!(some, kernel.at_by_calls(first, 512).unwrap(), "{first}");
    }
    found
}

#[test]
fn places_are_read_the_same_where_they_can_be_mapped_and_where_not() {
    let v4 = |last| AddrV4 {
        octets: [203, 0, 113, last],
    };
    let mut mapable = kernel::<AddrV4>(10_000, MMAPABLE, MMAPABLE);
    assert!(mapable.mapped(0, u32::MAX).is_ok());
    let found = read(&mut mapable, v4);
    for (flags, flags_of_details) in [(0, 0), (MMAPABLE, 0), (0, MMAPABLE)] {
        let mut other = kernel::<AddrV4>(10_000, flags, flags_of_details);
        assert!(other.mapped(0, u32::MAX).is_err());
        assert_eq!(read(&mut other, v4), found);
    }
    let v6 = |last| AddrV6 {
        octets: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last],
    };
    let mut mapable = kernel::<AddrV6>(10_000, MMAPABLE, 0);
    assert!(mapable.mapped(0, u32::MAX).is_ok());
    let found = read(&mut mapable, v6);
    let mut other = kernel::<AddrV6>(10_000, 0, 0);
    assert!(other.mapped(0, u32::MAX).is_err());
    assert_eq!(read(&mut other, v6), found);
}

#[test]
fn the_arrays_of_the_program_can_be_mapped() {
    let mut loader = aya::EbpfLoader::new();
    for name in [map::BANS_V4, map::BANS_V6, map::DETAILS_V4] {
        loader.map_max_entries(name, 64);
    }
    let program = loader.load(OBJECT).unwrap();
    let open = |name| {
        let Some(Map::Array(data)) = program.map(name) else {
            panic!("no array {name}");
        };
        data
    };
    Mapped::<PlaceV4>::new(open(map::BANS_V4)).unwrap();
    Mapped::<<AddrV6 as Address>::Place>::new(open(map::BANS_V6)).unwrap();
    Mapped::<DetailsV4>::new(open(map::DETAILS_V4)).unwrap();
}
