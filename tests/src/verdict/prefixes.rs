//! Bans of prefixes as the enforcer writes them and the program obeys, against a naive model.
//!
//! The model asks of every ban whether it covers the source and is not over. No daemon takes part, so an
//! end that comes is obeyed by the program alone.

mod bitmaps;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use ar_ebpf::Outcome;
use arfw::clock;
use arfw::enforcer::xdp::{Mode, Settings, Xdp, release};
use arfw::enforcer::{Enforced, Enforcer as _, Hold, Selection};
use arfw::ledger::Standing;
use arfw::offender::{Offender, Prefix};
use arfw::time::{Expiry, Moment};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use tests::support::kernel::{Kernel, MAX_BANS};
use tests::support::packet::{self, udp};

/// The enforcer on maps of its own, with no interface, and the program on the same maps.
pub(super) struct Scene {
    pub(super) pin_dir: PathBuf,
    pub(super) enforcer: Xdp,
    kernel: Kernel,
}

/// No interface, and pins there.
pub(super) fn settings(pin_dir: &Path) -> Settings {
    Settings {
        pin_dir: pin_dir.to_owned(),
        max_bans: MAX_BANS,
        mode: Mode::Auto,
        interfaces: Selection::none(),
    }
}

pub(super) fn for_an_hour() -> Option<Standing> {
    in_an_hour().map(|until| Standing {
        until,
        since: clock::now(),
        rule_id: 7,
        shadow: false,
    })
}

impl Scene {
    pub(super) fn new() -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("/sys/fs/bpf/arfw-prefixes-{}-{number}", process::id());
        Self::on(name.into())
    }

    fn on(pin_dir: PathBuf) -> Result<Self> {
        let (enforcer, _) = Xdp::start(&settings(&pin_dir), clock::kernel_clock())?;
        let kernel = Kernel::load_on(&pin_dir).inspect_err(|_| {
            // Why the program was refused is what has to be told.
            let _ = release(&pin_dir);
        })?;
        Ok(Self {
            pin_dir,
            enforcer,
            kernel,
        })
    }

    pub(super) fn hold(&mut self, offender: Offender, until: Option<Expiry>) {
        let standing = until.map(|until| Standing {
            until,
            since: clock::now(),
            rule_id: 7,
            shadow: false,
        });
        let wanted = [Hold { offender, standing }];
        let failures = self.enforcer.hold(&wanted, clock::kernel_clock());
        assert!(failures.is_empty(), "{failures:?}");
    }

    pub(super) fn outcome(&self, source: IpAddr) -> Outcome {
        let frame = packet::from(source, udp());
        self.kernel.run(&frame).expect("the kernel takes the frame")
    }

    #[track_caller]
    fn check(&self, expected: &[(&str, Outcome)]) {
        let outcomes: Vec<_> = expected
            .iter()
            .map(|&(source, _)| (source, self.outcome(source.parse().expect("an address"))))
            .collect();
        assert_eq!(outcomes, expected);
    }

    pub(super) fn enforced(&self) -> BTreeMap<Offender, Enforced> {
        let enforced = self.enforcer.enforced(clock::kernel_clock());
        let enforced = enforced.expect("the maps can be read").into_iter();
        enforced.map(|ban| (ban.offender, ban)).collect()
    }

    /// Whether no bit of a prefix is set, whatever addresses have set.
    fn is_prefix_front_empty(&self) -> bool {
        self.kernel.front_words().expect("the maps can be read").1 == 0
    }

    pub(super) fn is_front_empty(&self) -> bool {
        self.kernel.front_words().expect("the maps can be read") == (0, 0)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A test that fails tells more than this.
        let _ = release(&self.pin_dir);
    }
}

fn network(text: &str) -> Offender {
    Offender::network(text.parse().expect("a network"))
}

fn in_an_hour() -> Option<Expiry> {
    Some(Expiry::At(clock::now().after(Duration::from_secs(3600))))
}

fn over() -> Option<Expiry> {
    Some(Expiry::At(Moment::from_nanos(1)))
}

#[test]
fn every_address_of_a_banned_prefix_is_dropped_and_no_other() -> Result<()> {
    use Outcome::{Banned, Clean};
    let mut scene = Scene::new()?;
    for prefix in [
        "198.51.96.0/21",
        "203.0.113.64/27",
        "2001:db8:1::/47",
        "2001:db8:9:9:8000::/65",
        "2001:e000::/20",
    ] {
        scene.hold(network(prefix), in_an_hour());
    }
    scene.check(&[
        ("198.51.95.255", Clean),
        ("198.51.96.0", Banned),
        ("198.51.103.255", Banned),
        ("198.51.104.0", Clean),
        ("203.0.113.63", Clean),
        ("203.0.113.64", Banned),
        ("203.0.113.95", Banned),
        ("203.0.113.96", Clean),
        ("2001:db8:0:ffff::1", Banned),
        ("2001:db8:1:ffff::1", Banned),
        ("2001:db8:2::1", Clean),
        ("2001:db8:9:9:8000::", Banned),
        ("2001:db8:9:9:7fff::", Clean),
        ("2001:dfff::1", Clean),
        ("2001:e000::", Banned),
        ("2001:efff:ffff::1", Banned),
        ("2001:f000::1", Clean),
    ]);
    Ok(())
}

#[test]
fn an_allowed_address_is_dropped_by_no_prefix() -> Result<()> {
    use Outcome::{Allowed, Banned, Clean};
    let mut scene = Scene::new()?;
    scene
        .enforcer
        .allow(&["198.51.100.9/32".parse()?, "2001:db8:5::/48".parse()?])?;
    scene.hold(network("198.51.0.0/16"), in_an_hour());
    scene.hold(network("198.51.100.0/24"), in_an_hour());
    scene.hold(network("2001:db8::/32"), in_an_hour());
    scene.check(&[
        ("198.51.100.9", Allowed),
        ("198.51.100.10", Banned),
        ("2001:db8:5::1", Allowed),
        ("2001:db8:6::1", Banned),
    ]);
    scene.enforcer.allow(&["198.51.100.10/32".parse()?])?;
    scene.check(&[
        ("198.51.100.9", Banned),
        ("198.51.100.10", Allowed),
        ("2001:db8:5::1", Banned),
        ("203.0.113.9", Clean),
    ]);
    Ok(())
}

/// AR-TIME-1: the program alone obeys the ends, in the order in which they come.
#[test]
fn a_nested_prefix_that_ends_first_leaves_the_outer_one() -> Result<()> {
    let mut scene = Scene::new()?;
    for (outer, nested) in [(in_an_hour(), over()), (over(), in_an_hour())] {
        for nested_first in [true, false] {
            let order = if nested_first { [1_usize, 0] } else { [0, 1] };
            let bans = [
                (network("198.51.0.0/16"), outer),
                (network("198.51.100.0/24"), nested),
            ];
            for at in order {
                scene.hold(bans[at].0, bans[at].1);
            }
            scene.check(&[("198.51.100.9", Outcome::Banned)]);
            // An address whose own ban is over does not pass either.
            scene.hold("198.51.100.8".parse()?, over());
            scene.check(&[("198.51.100.8", Outcome::Banned)]);
            scene.hold("198.51.100.8".parse()?, None);
            for at in order {
                scene.hold(bans[at].0, None);
            }
            scene.check(&[("198.51.100.9", Outcome::Clean)]);
        }
    }
    assert!(scene.is_front_empty(), "bits are left");
    Ok(())
}

#[test]
fn packets_are_counted_at_the_longest_prefix_and_a_start_keeps_all() -> Result<()> {
    let mut scene = Scene::new()?;
    let (outer, nested) = (network("198.51.0.0/16"), network("198.51.100.0/24"));
    scene.hold(outer, in_an_hour());
    scene.hold(nested, over());
    scene.check(&[
        ("198.51.100.9", Outcome::Banned),
        ("198.51.1.1", Outcome::Banned),
    ]);
    // A second enforcer takes the pins over: what is over stays over for it, and covered for the kernel.
    let mut scene = Scene::on(std::mem::take(&mut scene.pin_dir))?;
    let enforced = scene.enforced();
    assert_eq!(enforced.keys().collect::<Vec<_>>(), [&outer]);
    assert_eq!(enforced[&outer].counters.packets, 1);
    scene.hold(nested, in_an_hour());
    scene.check(&[("198.51.100.9", Outcome::Banned)]);
    assert_eq!(scene.enforced()[&nested].counters.packets, 1);
    scene.hold(outer, None);
    scene.check(&[
        ("198.51.100.9", Outcome::Banned),
        ("198.51.1.1", Outcome::Clean),
    ]);
    scene.hold(nested, None);
    assert!(scene.is_front_empty(), "bits are left");
    Ok(())
}

/// What happens to the maps.
#[derive(Clone, Debug)]
enum Act {
    Hold(Offender, Option<End>),
    Allow(Vec<Prefix>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Over,
    InAnHour,
    Never,
}

impl End {
    fn expiry(self) -> Option<Expiry> {
        match self {
            Self::Over => over(),
            Self::InAnHour => in_an_hour(),
            Self::Never => Some(Expiry::Never),
        }
    }
}

#[derive(Default)]
struct Model {
    bans: BTreeMap<Offender, End>,
    allowed: Vec<Prefix>,
}

impl Model {
    fn is_banned(&self, source: Offender) -> bool {
        let stands =
            |(ban, end): (&Offender, &End)| *end != End::Over && ban.prefix().covers(source);
        let is_allowed = self.allowed.iter().any(|network| network.covers(source));
        let is_own = self.bans.get(&source).is_some_and(|end| *end != End::Over);
        is_own || (!is_allowed && self.bans.iter().any(stands))
    }
}

#[test]
fn any_ban_that_is_not_over_drops_whatever_overlaps() -> Result<()> {
    let mut scene = Scene::new()?;
    let config = ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let case = (vec(act(), 1..24), vec(address(), 1..24));
    let scene = std::cell::RefCell::new(&mut scene);
    TestRunner::new(config).run(&case, |(acts, sources)| {
        let mut scene = scene.borrow_mut();
        let mut model = Model::default();
        for act in acts {
            match act {
                Act::Hold(offender, end) => {
                    scene.hold(offender, end.and_then(End::expiry));
                    match end {
                        Some(end) => model.bans.insert(offender, end),
                        None => model.bans.remove(&offender),
                    };
                }
                Act::Allow(networks) => {
                    scene.enforcer.allow(&networks).expect("the maps take it");
                    model.allowed = networks;
                }
            }
            for &source in &sources {
                let is_banned = scene.outcome(source) == Outcome::Banned;
                assert_eq!(
                    is_banned,
                    model.is_banned(Offender::new(source)),
                    "{source}"
                );
            }
        }
        let standing = model.bans.iter().filter(|(_, end)| **end != End::Over);
        let standing: Vec<_> = standing.map(|(offender, _)| *offender).collect();
        assert_eq!(scene.enforced().into_keys().collect::<Vec<_>>(), standing);
        for &offender in model.bans.keys() {
            scene.hold(offender, None);
        }
        scene.enforcer.allow(&[]).expect("the maps take it");
        Ok(())
    })?;
    assert!(scene.borrow().is_front_empty(), "bits are left");
    Ok(())
}

/// Few bits vary, so that networks hold each other.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = any::<u32>()
        .prop_map(|bits| Ipv4Addr::from_bits(0xc633_6400 ^ (bits & 0x0003_0303)).into());
    let v6 = any::<u128>().prop_map(|bits| {
        const VARY: u128 = 0x0000_0003_0003_0003_0000_0000_0000_0003;
        Ipv6Addr::from_bits(0x2001_0db8 << 96 | (bits & VARY)).into()
    });
    prop_oneof![v4, v6]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    let lengths = select(vec![
        (14, 24),
        (16, 32),
        (22, 46),
        (24, 48),
        (25, 62),
        (31, 64),
        (32, 66),
        (32, 128),
    ]);
    (address(), lengths).prop_filter_map("a length of the family", |(addr, (v4, v6))| {
        Prefix::new(addr, if addr.is_ipv4() { v4 } else { v6 })
    })
}

fn act() -> impl Strategy<Value = Act> {
    let end = select(vec![
        None,
        Some(End::Over),
        Some(End::InAnHour),
        Some(End::Never),
    ]);
    prop_oneof![
        5 => (prefix(), end).prop_map(|(prefix, end)| Act::Hold(Offender::network(prefix), end)),
        1 => vec(prefix(), 0..3).prop_map(Act::Allow),
    ]
}
