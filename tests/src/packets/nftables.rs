//! What only nftables do: their table stands beside those of others, and is looked at with the program `nft`.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use arfw::control::view;
use tests::support::alert;
use tests::support::daemon::{Enforcer, Home, PATIENCE};
use xtask::netns::{Link, offender_v4};

use super::{CONF, Scene};

/// Somebody else's: the same names in another family, a set of the same name, a chain at the same hook.
const OTHERS: &str = "
table ip arfw {
	set bans_v4 {
		type ipv4_addr
		elements = { 203.0.113.9 }
	}
}
table inet other {
	chain prerouting {
		type filter hook prerouting priority -450; policy accept;
		ip saddr 203.0.113.10 counter packets 0 bytes 0 drop
	}
}
";

fn nft(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let output = || Command::new("nft").args(arguments).output();
    let output = scene.link.host.run(output)??;
    ensure!(
        output.status.success(),
        "nft {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn tables_of_others_are_left_as_they_are() -> Result<()> {
    let scene = Scene::new(Enforcer::Nftables, false, &[])?;
    let file = scene.home.dir().join("others.nft");
    std::fs::write(&file, OTHERS)?;
    nft(&scene, &["-f", &file.display().to_string()])?;
    let tables = || -> Result<[String; 2]> {
        Ok([
            nft(&scene, &["list", "table", "ip", "arfw"])?,
            nft(&scene, &["list", "table", "inet", "other"])?,
        ])
    };
    let before = tables()?;
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    ensure!(tables()? == before, "{:?}", tables());
    let output = scene.arfw(&["stop", "--release"])?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(tables()? == before, "{:?}", tables());
    let left = scene.ruleset()?;
    ensure!(!left.contains(scene.home.table()), "{left}");
    for sender in scene.senders {
        sender.stop()?;
    }
    Ok(())
}

/// As docs/nftables.md shows it.
#[test]
fn a_ban_is_seen_in_its_set_with_its_end_and_its_rule() -> Result<()> {
    let scene = Scene::new(Enforcer::Nftables, false, &[])?;
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    let set = nft(
        &scene,
        &["list", "set", "inet", scene.home.table(), "bans_v4"],
    )?;
    for part in [
        "198.18.0.7 counter packets ",
        " timeout 10m",
        "comment \"rule 100100 since ",
    ] {
        ensure!(set.contains(part), "{set}");
    }
    // Some milliseconds are added, so that none ends early.
    let left = [" expires 9m", " expires 10m"];
    ensure!(left.iter().any(|left| set.contains(left)), "{set}");
    scene.end()
}

/// A start that finds all in order writes nothing anew.
#[test]
fn a_restart_finds_every_end_as_it_was() -> Result<()> {
    let mut scene = Scene::new(Enforcer::Nftables, false, &[])?;
    for banned in [
        "198.18.0.7",
        "198.18.4.0/24",
        "2001:db8:a:7::1",
        "2001:db8:5::/48",
    ] {
        let output = scene.arfw(&["ban", banned, "--for", "10m"])?;
        ensure!(output.status.success(), "{output:?}");
    }
    scene.daemon.crash()?;
    scene.start()?;
    let said = scene.daemon.stop(rustix::process::Signal::TERM)?.join("\n");
    ensure!(said.contains("stored=4 corrected=0 adopted=0"), "{said}");
    scene.start()?;
    scene.end()
}

/// Bans the offender, and the network `198.18.0.0/16` but for the neighbour, who is protected.
fn with_a_network(arguments: &[&str]) -> Result<Scene> {
    let protect = ["--protect", "198.18.0.8", "--protect", "203.0.113.50"];
    let scene = Scene::new(Enforcer::Nftables, false, &[&protect, arguments].concat())?;
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    let output = scene.arfw(&["ban", "198.18.0.0/16", "--for", "10m", "--force"])?;
    ensure!(output.status.success(), "{output:?}");
    Ok(scene)
}

/// `nft flush ruleset`, or a restart of a firewall's service, takes the table away with all others.
#[test]
fn a_table_that_was_taken_away_is_made_again_at_once_with_every_ban() -> Result<()> {
    let mut scene = with_a_network(&[])?;
    nft(&scene, &["flush", "ruleset"])?;
    let said = scene
        .daemon
        .wait_for("made again, with every ban that stands")?;
    ensure!(said.contains("written_back=2"), "{said}");
    scene.is_dropped(5)?;
    scene.arrives(scene.neighbour)?;
    let network = scene
        .bans()?
        .into_iter()
        .find(|ban| ban.address == "198.18.0.0/16");
    ensure!(network.is_some(), "the network is not banned");
    ensure!(scene.home.status()?.interfaces[0].mode == "nftables");
    let output = scene.arfw(&["unban", "198.18.0.7"])?;
    ensure!(output.status.success(), "{output:?}");
    scene.end()
}

/// Nobody waits for the look at it.
#[test]
fn a_ban_stands_although_the_table_has_just_been_taken_away() -> Result<()> {
    let mut scene = Scene::new(Enforcer::Nftables, false, &[])?;
    let allowed = ["list", "set", "inet", scene.home.table(), "allow_v4"].map(str::to_owned);
    let allowed = allowed.each_ref().map(String::as_str);
    let before = nft(&scene, &allowed)?;
    ensure!(before.contains("elements"), "{before}");
    for round in 1..=4_u8 {
        nft(&scene, &["flush", "ruleset"])?;
        let banned = format!("203.0.113.{round}");
        let output = scene.arfw(&["ban", &banned, "--for", "10m"])?;
        ensure!(output.status.success(), "{output:?}");
        let set = nft(
            &scene,
            &["list", "set", "inet", scene.home.table(), "bans_v4"],
        )?;
        ensure!(set.contains(&banned), "{set}");
        let after = nft(&scene, &allowed)?;
        ensure!(after == before, "{after} for {before}");
        let every = format!("written_back={round}");
        scene.daemon.wait_for(&every)?;
    }
    ensure!(scene.home.status()?.counts.failed == 0);
    scene.end()
}

#[test]
fn rules_that_were_taken_away_are_made_again_at_once() -> Result<()> {
    let mut scene = with_a_network(&[])?;
    let table = scene.home.table().to_owned();
    let flush = ["flush", "chain", "inet", &table, "prerouting"];
    let delete = ["delete", "chain", "inet", &table, "prerouting"];
    for change in [&[&flush[..]][..], &[&flush, &delete]] {
        for change in change {
            nft(&scene, change)?;
        }
        scene.daemon.wait_for("the bans in the sets stand")?;
        let before = scene.bans()?[1].packets;
        scene.is_dropped(before + 5)?;
        scene.arrives(scene.neighbour)?;
    }
    scene.end()
}

/// What others change in the sets, of addresses and of networks, is noticed and put right.
#[test]
fn elements_that_others_change_are_put_right() -> Result<()> {
    let scene = with_a_network(&["--inspect-every", "20ms"])?;
    let (table, file) = (scene.home.table(), scene.home.dir().join("change.nft"));
    let change = |lines: &[&str]| -> Result<()> {
        let lines = lines.iter().map(|line| {
            let (verb, rest) = line.split_once(' ').unwrap_or_default();
            format!("{verb} element inet {table} {rest}\n")
        });
        std::fs::write(&file, lines.collect::<String>())?;
        nft(&scene, &["-f", &file.display().to_string()]).map(drop)
    };
    let mut expected = view::Drift::default();
    let drift_is = |expected: &view::Drift| -> Result<()> {
        let mut drift = scene.home.status()?.drift;
        for _ in 0..PATIENCE.as_millis() / 10 {
            if drift == *expected {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(10));
            drift = scene.home.status()?.drift;
        }
        anyhow::bail!("{drift:?} for {expected:?}")
    };
    let (host, network) = ("bans_v4 { 198.18.0.7", "prefixes_v4_16 { 198.18.0.0");
    for element in [host, network] {
        change(&[&format!("delete {element} }}")])?;
        expected.restored += 1;
        drift_is(&expected)?;
        for time in [" timeout 5s", " timeout 5h", ""] {
            let new = format!("add {element}{time} }}");
            change(&[&format!("delete {element} }}"), &new])?;
            expected.corrected += 1;
            drift_is(&expected)?;
        }
    }
    let ends = scene.bans()?.into_iter().map(|ban| ban.seconds_left);
    let ends: Vec<_> = ends.collect();
    let is_right = |end: &Option<f64>| end.is_some_and(|end| (500.0..=601.0).contains(&end));
    ensure!(ends.len() == 2 && ends.iter().all(is_right), "{ends:?}");
    scene.arrives(scene.neighbour)?;

    change(&["add bans_v4 { 203.0.113.9 timeout 1h }"])?;
    expected.adopted += 1;
    drift_is(&expected)?;
    change(&["add prefixes_v4_16 { 198.19.0.0 timeout 1h }"])?;
    expected.adopted += 1;
    drift_is(&expected)?;
    let banned: Vec<String> = scene.bans()?.into_iter().map(|ban| ban.address).collect();
    ensure!(
        banned.contains(&"203.0.113.9".to_owned()) && banned.contains(&"198.19.0.0/16".to_owned()),
        "{banned:?}"
    );
    change(&["add bans_v4 { 203.0.113.50 timeout 1h }"])?;
    expected.refused += 1;
    drift_is(&expected)?;
    let set = nft(&scene, &["list", "set", "inet", table, "bans_v4"])?;
    ensure!(!set.contains("203.0.113.50"), "{set}");
    // One that was taken over is watched as all others are.
    change(&["delete bans_v4 { 203.0.113.9 }"])?;
    expected.restored += 1;
    drift_is(&expected)?;
    scene.end()
}

/// In a user namespace of its own the daemon may not have a socket of any size: the bans of the store are held in
/// several transactions. Each start has a new network, as after a reboot.
#[test]
fn bans_come_back_where_no_great_batch_can_be_sent() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let unshare = ["unshare", "--user", "--map-root-user", "--net"].map(AsRef::as_ref);
    let start = || home.start_by(&link, &unshare, Enforcer::Nftables.flags());
    let mut daemon = start()?;
    let alerts: String = (0..3_000)
        .map(|number| alert::wazuh(100_100, 10, &["sshd"], &offender_v4(number).to_string()))
        .collect();
    home.append(&alerts)?;
    daemon.wait_for(&format!("address={}", offender_v4(2_999)))?;
    daemon.crash()?;
    daemon = start()?;
    // What was not stored before the crash is read again.
    let begun = Instant::now();
    let mut status = home.status()?;
    while status.active.v4 < 3_000 && begun.elapsed() < PATIENCE {
        std::thread::park_timeout(Duration::from_millis(10));
        status = home.status()?;
    }
    ensure!(
        (status.active.v4, status.counts.failed) == (3_000, 0),
        "{status:?}"
    );
    ensure!(home.bans()?.len() == 3_000, "the kernel holds them");
    daemon.stop(rustix::process::Signal::TERM)?;
    Ok(())
}
