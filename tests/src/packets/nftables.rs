//! What only nftables do: their table stands beside those of others, and is looked at with the program `nft`.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::support::alert;
use tests::support::daemon::{Enforcer, Home};
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

/// `nft flush ruleset`, or a restart of a firewall's service, takes the table away with all others.
#[test]
fn a_table_that_was_taken_away_is_told_and_comes_back_with_a_restart() -> Result<()> {
    let mut scene = Scene::new(Enforcer::Nftables, false, &[])?;
    scene.alert(100_100)?;
    scene.is_dropped(5)?;
    nft(&scene, &["flush", "ruleset"])?;
    let status = scene.home.status()?;
    let [place] = &status.interfaces[..] else {
        anyhow::bail!("expected one place");
    };
    ensure!(
        place.mode == "none" && place.why.contains("a restart of arfw makes it again"),
        "{place:?}"
    );
    let output = scene.arfw(&["ban", "203.0.113.9", "--for", "10m"])?;
    ensure!(!output.status.success(), "{output:?}");
    scene.restart(|_| Ok(()))?;
    scene.is_dropped(5)?;
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
    let status = home.status()?;
    ensure!(
        (status.active.v4, status.counts.failed) == (3_000, 0),
        "{status:?}"
    );
    ensure!(home.bans()?.len() == 3_000, "the kernel holds them");
    daemon.stop(rustix::process::Signal::TERM)?;
    Ok(())
}
