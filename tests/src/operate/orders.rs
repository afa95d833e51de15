//! `arfw unban` and `arfw forgive`, and the settings that do the latter by themselves.

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::{CONF, Scene, V4, V6, check};
use tests::support::alert;
use tests::support::daemon::Home;
use tests::support::pins;
use xtask::netns::Link;

/// AR-IMP-6, AR-IMP-3, AR-TIME-8
#[test]
fn an_unban_ends_bans_of_both_families_and_offences_still_count() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    scene.alert(5712, V6, " ban ")?;
    scene.check(
        &["unban", V4, "2001:DB8:0::7", V4, "198.51.100.9"],
        (
            1,
            "198.51.100.7: firewall-drop ended\n\
             2001:db8::7: firewall-drop ended\n\
             198.51.100.9: was not banned\n",
            "",
        ),
    )?;
    ensure!(scene.banned()?.is_empty(), "{:?}", scene.banned());
    let line = scene.alert(5763, V4, " ban ")?;
    ensure!(line.contains("offence=2") && line.contains("30m"), "{line}");
    scene.check(
        &["unban", "--json", V4],
        (
            0,
            r#"[
  {
    "address": "198.51.100.7",
    "released": [
      {
        "executable": "firewall-drop",
        "state": "ended",
        "cause": null
      }
    ]
  }
]
"#,
            "",
        ),
    )?;
    let counts = scene.home.status()?.counts;
    ensure!((counts.bans, counts.unbans) == (3, 3), "{counts:?}");
    let said = scene.daemon.stop(Signal::TERM)?;
    ensure!(
        said.iter()
            .any(|line| line.contains("unban on request uid=0 pid=")),
        "{said:#?}"
    );
    Ok(())
}

/// AR-IMP-1: what was let go stays free after a restart.
#[test]
fn an_unban_outlives_a_restart() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    scene.alert(5712, V6, " ban ")?;
    scene.check(
        &["unban", V4],
        (0, "198.51.100.7: firewall-drop ended\n", ""),
    )?;
    scene.daemon.crash()?;
    scene.daemon = scene.home.start_dry(&[])?;
    ensure!(scene.banned()? == [V6], "{:?}", scene.banned());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-TIME-8, AR-IMP-6
#[test]
fn forgiveness_clears_counters_and_leaves_bans() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    scene.alert(5763, V4, "moved the end of the ban")?;
    scene.check(
        &["forgive", V4, V6],
        (
            1,
            "198.51.100.7: firewall-drop had 2 offences, forgotten\n\
             2001:db8::7: had no offence\n",
            "",
        ),
    )?;
    ensure!(scene.banned()? == [V4], "{:?}", scene.banned());
    let line = scene.alert(5763, V4, "moved the end of the ban")?;
    ensure!(line.contains("offence=1") && line.contains("10m"), "{line}");
    scene.alert(5763, V6, " ban ")?;
    scene.check(
        &["forgive", "--all", "--json"],
        (0, "{\n  \"counters\": 2,\n  \"addresses\": []\n}\n", ""),
    )?;
    scene.check(&["forgive", "--all"], (0, "0 counters cleared\n", ""))?;
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn what_is_no_address_is_refused_with_what_was_expected() -> Result<()> {
    let scene = Scene::new(CONF, &[])?;
    let address = "expected an address such as `198.51.100.7` or `2001:db8::7`, without network, zone, brackets or name; found ";
    let network =
        "expected an address, or a network such as `192.0.2.0/24` or `2001:db8::/32`; found ";
    let texts = ["198.51.100", "fe80::1%eth0", "a\u{1b}[2Jb"];
    let wrong = texts.map(|text| [("forgive", text, address), ("unban", text, network)]);
    let whole = ("forgive", "198.51.100.0/24", address);
    for (command, wrong, expected) in wrong.into_iter().flatten().chain([whole]) {
        let output = scene.home.output(&[command, V4, wrong])?;
        let shown = wrong.replace('\u{1b}', "\\u{1b}");
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(2), "{said}");
        ensure!(said.contains(&format!("{expected}`{shown}`")), "{said}");
    }
    for command in ["unban", "forgive"] {
        let nobody = scene.home.output(&[command])?;
        ensure!(nobody.status.code() == Some(2));
    }
    let both = scene.home.output(&["forgive", "--all", V4])?;
    ensure!(both.status.code() == Some(2));
    Ok(())
}

#[test]
fn without_a_daemon_orders_say_what_to_do() -> Result<()> {
    let home = Home::new(CONF)?;
    let expected = "arfw: nothing was changed; start the daemon with `arfw run`, or let everyone go with \
                    `arfw stop --release`: the daemon does not run (nobody answers at `DIR/run/arfw.sock`)\n";
    for order in [&["unban", V4][..], &["forgive", "--all"], &["reload"]] {
        check(&home, order, (4, "", expected))?;
    }
    Ok(())
}

/// Where pins are, addresses are let in by them; a daemon that comes back knows its bans.
#[test]
fn without_a_daemon_an_unban_ends_what_the_kernel_holds() -> Result<()> {
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut daemon = home.start(&link, &[])?;
    for address in [V4, V6, "198.51.100.8"] {
        home.append(&alert::wazuh(5712, 10, &["sshd"], address))?;
        daemon.wait_for(" ban ")?;
    }
    daemon.crash()?;
    let said = "the daemon does not run; this ends what the kernel holds, and a daemon that starts makes it anew \
                from its store\n";
    check(
        &home,
        &["unban", V4, V6, "203.0.113.9"],
        (
            1,
            "198.51.100.7: kernel ended\n2001:db8::7: kernel ended\n203.0.113.9: was not banned\n",
            said,
        ),
    )?;
    let left = pins::bans(home.pin_dir())?;
    let left: Vec<String> = left.keys().map(ToString::to_string).collect();
    ensure!(left == ["198.51.100.8"], "{left:?}");
    let network = home.output(&["unban", "198.51.100.8", "198.51.100.0/24"])?;
    ensure!(network.status.code() == Some(4), "{network:?}");
    ensure!(pins::bans(home.pin_dir())?.len() == 1);
    let mut daemon = home.start(&link, &[])?;
    ensure!(pins::bans(home.pin_dir())?.len() == 3);
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

/// AR-IMP-10
#[test]
fn offences_of_a_burst_count_once_when_that_is_asked_for() -> Result<()> {
    let mut scene = Scene::new(CONF, &["--debounce", "1h"])?;
    for text in [" ban ", "moved the end", "moved the end"] {
        let line = scene.alert(5763, V4, text)?;
        ensure!(line.contains("offence=1"), "{line}");
    }
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-IMP-10: the end of a longer ban shows that the quiet time of the shorter one is over.
#[test]
fn counters_are_forgotten_after_quiet_time_when_that_is_asked_for() -> Result<()> {
    let response = |rule: u32, timeout: u32| {
        format!(
            "<active-response><command>drop</command><location>local</location>\
             <rules_id>{rule}</rules_id><timeout>{timeout}</timeout></active-response>"
        )
    };
    let responses = response(1001, 1) + &response(1003, 3);
    let (command, _) = CONF.split_once("  <active-response>").unwrap_or_default();
    let conf = format!("{command}{responses}</ossec_config>");
    for (quiet, expected) in [("1s", "offence=1"), ("0s", "offence=2")] {
        let mut scene = Scene::new(&conf, &["--forgive-after", quiet])?;
        scene.alert(1001, V4, " ban ")?;
        scene.alert(1003, V6, " ban ")?;
        scene.daemon.wait_for(" unban ")?;
        scene.daemon.wait_for(" unban ")?;
        let line = scene.alert(1001, V4, " ban ")?;
        ensure!(line.contains(expected), "{quiet}: {line}");
        scene.daemon.stop(Signal::TERM)?;
    }
    Ok(())
}
