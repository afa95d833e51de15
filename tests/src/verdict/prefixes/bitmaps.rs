//! Bitmaps of prefixes alone, beside those that addresses share.

use std::fs;

use anyhow::Result;
use ar_ebpf::{Outcome, map};
use arfw::offender::Offender;
use aya::maps::{Array, Map, MapData};

use super::{Scene, in_an_hour, network};

/// In one /24, in one /64, and in one /32 of which another /64 has a ban: offender, prefix, and what it holds.
const NEIGHBOURS: [[&str; 3]; 3] = [
    ["198.51.100.7", "198.51.100.64/26", "198.51.100.65"],
    [
        "2001:db8:7:7::7",
        "2001:db8:7:7:8000::/65",
        "2001:db8:7:7:8000::1",
    ],
    ["2001:db8:7:8::7", "2001:db8:9::/48", "2001:db8:9:9::1"],
];

#[test]
fn a_prefix_drops_with_and_without_bans_of_addresses_around_it() -> Result<()> {
    use Outcome::{Banned, Clean};
    let mut scene = Scene::new()?;
    for [offender, prefix, within] in NEIGHBOURS {
        let address: Offender = offender.parse()?;
        scene.check(&[(offender, Clean), (within, Clean)]);
        scene.hold(network(prefix), in_an_hour());
        scene.check(&[(offender, Clean), (within, Banned)]);
        scene.hold(address, in_an_hour());
        scene.check(&[(offender, Banned), (within, Banned)]);
        scene.hold(address, None);
        scene.check(&[(offender, Clean), (within, Banned)]);
        scene.hold(address, in_an_hour());
        scene.hold(network(prefix), None);
        scene.check(&[(offender, Banned), (within, Clean)]);
        assert!(scene.is_prefix_front_empty(), "the bit of {prefix} stays");
        assert!(!scene.is_front_empty(), "the bit of {offender} went");
        scene.hold(address, None);
        assert!(scene.is_front_empty(), "bits are left");
    }
    Ok(())
}

#[test]
fn of_two_prefixes_behind_one_bit_the_other_goes_on_dropping() -> Result<()> {
    use Outcome::{Banned, Clean};
    let mut scene = Scene::new()?;
    for [one, other, within] in [
        ["198.51.100.0/26", "198.51.100.64/26", "198.51.100.65"],
        ["2001:db8:8::/48", "2001:db8:9::/48", "2001:db8:9:9::1"],
    ] {
        scene.hold(network(one), in_an_hour());
        scene.hold(network(other), in_an_hour());
        // Held once more, and counted once all the same.
        scene.hold(network(other), in_an_hour());
        scene.hold(network(one), None);
        scene.check(&[(within, Banned)]);
        scene.hold(network(other), None);
        scene.check(&[(within, Clean)]);
        assert!(scene.is_front_empty(), "bits are left");
    }
    Ok(())
}

/// What a start may find of the bitmaps of prefixes.
#[derive(Clone, Copy, Debug)]
enum Found {
    AsLeft,
    /// A build of the same version that did not have them.
    Absent,
    /// Such a build has come and gone between.
    Emptied,
    Filled,
}

#[test]
fn a_start_makes_the_bitmaps_of_prefixes_agree_with_them() -> Result<()> {
    use Outcome::{Banned, Clean};
    for found in [Found::AsLeft, Found::Absent, Found::Emptied, Found::Filled] {
        let mut scene = Scene::new()?;
        for [offender, prefix, _] in NEIGHBOURS {
            scene.hold(offender.parse()?, in_an_hour());
            scene.hold(network(prefix), in_an_hour());
        }
        for name in [map::PREFIX_FRONT_V4, map::PREFIX_FRONT_V6] {
            let pin = scene.pin_dir.join(name.to_lowercase());
            let write = |word: u64| -> Result<()> {
                let data = MapData::from_pin(&pin)?;
                let mut front = Array::<_, u64>::try_from(Map::Array(data))?;
                Ok((0..front.len()).try_for_each(|at| front.set(at, word, 0))?)
            };
            match found {
                Found::AsLeft => {}
                Found::Absent => fs::remove_file(&pin)?,
                Found::Emptied => write(0)?,
                Found::Filled => write(u64::MAX)?,
            }
        }
        let mut scene = Scene::on(std::mem::take(&mut scene.pin_dir))?;
        for [offender, prefix, within] in NEIGHBOURS {
            scene.check(&[(offender, Banned), (within, Banned)]);
            scene.hold(network(prefix), None);
            scene.check(&[(offender, Banned), (within, Clean)]);
        }
        assert!(scene.is_prefix_front_empty(), "{found:?}: bits are left");
    }
    Ok(())
}
