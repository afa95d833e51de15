//! `arfw ban`: what it makes, what it refuses, and who is told to have asked.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{CONF, Scene};

#[test]
fn addresses_and_networks_are_banned_listed_and_unbanned() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let scan = ["--for", "10m", "--reason", "a scan\u{1b}[2J"];
    let wanted = ["ban", "203.0.113.0/24", "203.0.113.0", "2001:DB8:1::/48"];
    scene.check(
        &[&wanted[..], &scan].concat(),
        (
            0,
            "203.0.113.0/24: banned\n203.0.113.0: banned\n2001:db8:1::/48: banned\n",
            "",
        ),
    )?;
    scene.check(
        &["ban", "203.0.113.0/24", "--permanent"],
        (0, "203.0.113.0/24: was banned, and has the new end\n", ""),
    )?;
    // Both outlive a crash, with who asked and why.
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&[])?;
    let bans = scene.home.bans()?;
    let held: Vec<_> = bans
        .iter()
        .map(|ban| {
            let by_hand = ban.by[0].by_hand.as_ref();
            let by_hand = by_hand.map(|by| (by.uid, by.pid.is_some(), by.reason.as_str()));
            (ban.address.as_str(), ban.seconds_left.is_some(), by_hand)
        })
        .collect();
    let reason = "a scan\u{1b}[2J";
    let expected = [
        ("203.0.113.0/24", false, Some((0, true, ""))),
        ("203.0.113.0", true, Some((0, true, reason))),
        ("2001:db8:1::/48", true, Some((0, true, reason))),
    ];
    ensure!(held == expected, "{held:?}");
    let listed = String::from_utf8(scene.home.output(&["list"])?.stdout)?;
    ensure!(listed.contains(r"manual (a scan\u{1b}[2J)"), "{listed}");
    scene.check(
        &["unban", "203.0.113.0/24", "2001:db8:1::/48"],
        (
            0,
            "203.0.113.0/24: manual ended\n2001:db8:1::/48: manual ended\n",
            "",
        ),
    )?;
    ensure!(scene.banned()? == ["203.0.113.0"], "{:?}", scene.banned());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn what_must_not_be_banned_is_refused_with_why_and_how() -> Result<()> {
    let white_listed = CONF.replacen(
        "<ossec_config>",
        "<ossec_config><global><white_list>198.51.100.0/24</white_list></global>",
        1,
    );
    let mut scene = Scene::new(&white_listed, &["--protect", "203.0.113.9"])?;
    let ban = |addresses: &[&'static str], more: &[&'static str]| {
        [&["ban", "--for", "1h"], addresses, more].concat()
    };
    scene.check(
        &ban(
            &["96.0.0.0/7", "2001::/19", "127.0.0.0/9", "198.51.100.128/25", "203.0.113.9", "203.0.113.0/24"],
            &[],
        ),
        (
            1,
            "96.0.0.0/7: not banned: it is wider than /8; ban parts of it, or raise the bound of `arfw run`\n\
             2001::/19: not banned: it is wider than /20; ban parts of it, or raise the bound of `arfw run`\n\
             127.0.0.0/9: not banned: it has loopback addresses, which are nobody's\n\
             198.51.100.128/25: not banned: the white list has `198.51.100.0/24` in line 1; take it out and `arfw reload`\n\
             203.0.113.9: not banned: it must stay reachable: by `--protect 203.0.113.9/32`; `--force` bans it all the same\n\
             203.0.113.0/24: not banned: it holds 203.0.113.9, which must stay reachable: by `--protect 203.0.113.9/32`; `--force` bans the rest of it\n",
            "",
        ),
    )?;
    ensure!(scene.banned()?.is_empty());
    scene.check(
        &ban(&["203.0.113.0/24", "203.0.113.9", "198.51.100.7"], &["--force"]),
        (
            1,
            "203.0.113.0/24: banned\n\
             203.0.113.9: banned, although it must stay reachable: by `--protect 203.0.113.9/32`\n\
             198.51.100.7: not banned: the white list has `198.51.100.0/24` in line 1; take it out and `arfw reload`\n",
            "",
        ),
    )?;
    // The guard looks at everyone when the daemon starts, and leaves it.
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&["--protect", "203.0.113.9"])?;
    ensure!(
        scene.banned()? == ["203.0.113.0/24", "203.0.113.9"],
        "{:?}",
        scene.banned()?
    );
    scene.check(
        &["unban", "203.0.113.9"],
        (0, "203.0.113.9: manual-forced ended\n", ""),
    )?;
    for wrong in [
        &["ban", "203.0.113.1"][..],
        &["ban", "--for", "1h", "203.0.113.1/24"],
    ] {
        let output = scene.home.output(wrong)?;
        ensure!(output.status.code() == Some(2), "{wrong:?}");
    }
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
