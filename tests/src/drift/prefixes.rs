//! The same of banned networks, of the networks that they leave alone, and of the settings word.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::{NetworkV4, NetworkV6, PrefixBan, map};
use arfw::control::view;
use aya::maps::MapData;
use aya::maps::lpm_trie::{Key, LpmTrie};
use rustix::process::Signal;
use tests::support::daemon::{Daemon, Home};
use tests::support::pins;
use xtask::netns::Link;

use super::{CONF, until};

const OUTER: Key<NetworkV4> = network([198, 18, 0, 0], 16);
const INNER: Key<NetworkV4> = network([198, 18, 0, 6], 31);
const HOUR: u64 = 3_600_000_000_000;

const fn network(octets: [u8; 4], bits: u32) -> Key<NetworkV4> {
    Key::new(bits, NetworkV4::new(octets))
}

/// A daemon that looks often, protects some, and has banned a network and another within it.
struct Scene {
    home: Home,
    daemon: Daemon,
    _link: Link,
    bans: LpmTrie<MapData, NetworkV4, PrefixBan>,
    expected: view::Drift,
}

impl Scene {
    fn new() -> Result<Self> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        let protect = ["--protect", "198.18.0.8", "--protect", "203.0.113.0/24"];
        let often = ["--inspect-every", "20ms"];
        let daemon = home.start(&link, &[protect.as_slice(), &often].concat())?;
        for network in ["198.18.0.0/16", "198.18.0.6/31", "2001:db8:5::/48"] {
            let order = ["ban", network, "--for", "10m", "--force"];
            let output = home.output(&order)?;
            ensure!(output.status.success(), "{output:?}");
        }
        let bans = pins::trie(home.pin_dir(), map::PREFIXES_V4)?;
        Ok(Self {
            home,
            daemon,
            _link: link,
            bans,
            expected: view::Drift::default(),
        })
    }

    /// A look-up would tell of what holds it as well.
    fn value(&self, key: &Key<NetworkV4>) -> Result<Option<PrefixBan>> {
        Ok(has(&self.bans, key)?
            .then(|| self.bans.get(key, 0))
            .transpose()?)
    }

    fn drift_is_counted(&self) -> Result<()> {
        until("the drift is counted", || {
            Ok(self.home.status()?.drift == self.expected)
        })
        .with_context(|| format!("{:?} for {:?}", self.home.status(), self.expected))
    }

    fn end(mut self) -> Result<()> {
        self.drift_is_counted()?;
        self.daemon.stop(Signal::TERM)?;
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        Ok(())
    }
}

fn has<V: aya::Pod>(
    trie: &LpmTrie<MapData, NetworkV4, V>,
    wanted: &Key<NetworkV4>,
) -> Result<bool> {
    for key in trie.keys() {
        let key = key?;
        if key.prefix_len() == wanted.prefix_len() && key.data().octets == wanted.data().octets {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_network_that_is_deleted_by_hand_is_put_back() -> Result<()> {
    let mut scene = Scene::new()?;
    for key in [INNER, OUTER] {
        let before = scene.value(&key)?.context("banned")?;
        scene.bans.remove(&key)?;
        scene.expected.restored += 1;
        scene.drift_is_counted()?;
        let after = scene.value(&key)?.context("put back")?;
        let moved = after.own_expires_at_ns.abs_diff(before.own_expires_at_ns);
        ensure!(moved < 1_000_000_000, "{after:?} for {before:?}");
    }
    let mut v6: LpmTrie<_, NetworkV6, PrefixBan> =
        pins::trie(scene.home.pin_dir(), map::PREFIXES_V6)?;
    let key = v6.keys().next().context("banned")??;
    v6.remove(&key)?;
    scene.expected.restored += 1;
    scene.drift_is_counted()?;
    ensure!(v6.get(&key, 0).is_ok(), "put back");
    scene.end()
}

#[test]
fn an_end_of_a_network_that_is_changed_by_hand_is_put_right() -> Result<()> {
    let mut scene = Scene::new()?;
    for key in [INNER, OUTER] {
        let before = scene.value(&key)?.context("banned")?;
        let mut changes = [before; 4];
        // By what the program goes, and by what the daemon does.
        changes[0].ban.expires_at_ns += HOUR;
        changes[1].ban.expires_at_ns = 1;
        changes[2].own_expires_at_ns += HOUR;
        changes[3].ban.expires_at_ns = 1;
        changes[3].own_expires_at_ns = 1;
        for change in changes {
            scene.bans.insert(&key, change, 0)?;
            scene.expected.corrected += 1;
            scene.drift_is_counted()?;
            let after = scene.value(&key)?.context("banned")?;
            for (end, was) in [
                (after.own_expires_at_ns, before.own_expires_at_ns),
                (after.ban.expires_at_ns, before.ban.expires_at_ns),
            ] {
                ensure!(
                    end.abs_diff(was) < 1_000_000_000,
                    "{after:?} for {before:?}"
                );
            }
        }
    }
    scene.end()
}

#[test]
fn a_network_that_is_added_by_hand_is_adopted_refused_or_swept_away() -> Result<()> {
    let mut scene = Scene::new()?;
    let ban = scene.value(&OUTER)?.context("banned")?;
    let adopted = network([198, 19, 0, 0], 16);
    scene.bans.insert(&adopted, ban, 0)?;
    scene.expected.adopted += 1;
    scene.drift_is_counted()?;
    let bans = scene.home.bans()?;
    ensure!(
        bans.iter().any(|ban| ban.address == "198.19.0.0/16"),
        "{bans:?}"
    );
    ensure!(
        scene
            .home
            .output(&["unban", "198.19.0.0/16"])?
            .status
            .success()
    );
    ensure!(!has(&scene.bans, &adopted)?, "it stays");

    // All of it is protected.
    let refused = network([203, 0, 113, 16], 28);
    scene.bans.insert(&refused, ban, 0)?;
    scene.expected.refused += 1;
    scene.drift_is_counted()?;
    ensure!(!has(&scene.bans, &refused)?, "it stays");

    let over = PrefixBan {
        own_expires_at_ns: 1,
        ..ban
    };
    scene.bans.insert(&adopted, over, 0)?;
    scene.expected.swept += 1;
    scene.drift_is_counted()?;
    ensure!(!has(&scene.bans, &adopted)?, "it stays");
    scene.end()
}

#[test]
fn allowed_networks_and_settings_that_are_changed_by_hand_are_put_right() -> Result<()> {
    let mut scene = Scene::new()?;
    let pins = scene.home.pin_dir().to_owned();
    let mut allow: LpmTrie<_, NetworkV4, u32> = pins::trie(&pins, map::ALLOW_V4)?;
    let protected = network([198, 18, 0, 8], 32);
    ensure!(has(&allow, &protected)?, "not allowed");
    allow.remove(&protected)?;
    scene.expected.restored += 1;
    scene.drift_is_counted()?;
    ensure!(has(&allow, &protected)?, "not allowed again");

    let banned = network([198, 18, 0, 7], 32);
    allow.insert(&banned, 1, 0)?;
    scene.expected.refused += 1;
    scene.drift_is_counted()?;
    ensure!(!has(&allow, &banned)?, "still allowed");

    let mut settings = pins::settings(&pins)?;
    let before = settings.get(&0, 0)?;
    ensure!(before != 0, "there are prefixes");
    settings.set(0, 0, 0)?;
    until("the settings are put right", || {
        Ok(settings.get(&0, 0)? == before)
    })?;
    scene.end()
}

/// Networks within networks come and go, under looks that never rest.
#[test]
fn what_the_daemon_does_itself_to_networks_is_no_drift() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut daemon = home.start(&link, &["--inspect-every", "1ms"])?;
    let outer = ["ban", "20.1.0.0/16", "--for", "10m"];
    ensure!(home.output(&outer)?.status.success());
    for round in 0..=149_u8 {
        let network = format!("{}/24", Ipv4Addr::new(20, 1, round, 0));
        for order in [&["ban", &network, "--for", "1h"][..], &["unban", &network]] {
            let output = home.output(order)?;
            ensure!(output.status.success(), "{output:?}");
        }
    }
    ensure!(home.output(&["unban", "20.1.0.0/16"])?.status.success());
    let drift = home.status()?.drift;
    ensure!(drift == view::Drift::default(), "{drift:?}");
    daemon.stop(Signal::TERM)?;
    Ok(())
}
