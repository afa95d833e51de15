//! However a daemon ends, and however its start fails, nothing of it is left that nobody wants.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, test_kill_process};
use tests::support::alert;
use tests::support::daemon::{Daemon, Home};
use tests::support::pins::{Pinned, Traces, has_xdp};
use xtask::netns::{INTERFACE, Link};

/// Long bans, so that none ends by itself here.
const CONF: &str = "
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>5763</rules_id>
    <timeout>3600</timeout>
  </active-response>
</ossec_config>
";

/// A daemon, and what it has made.
struct Running {
    link: Link,
    home: Home,
    daemon: Daemon,
    traces: Traces,
}

impl Running {
    fn start(arguments: &[&str]) -> Result<Self> {
        let link = Link::new()?;
        let home = Home::new(CONF)?;
        let daemon = home.start(&link, arguments)?;
        let traces = Traces::of(home.pin_dir())?;
        ensure!(
            has_xdp(&link.host)?,
            "the interface has no program while the daemon runs"
        );
        Ok(Self {
            link,
            home,
            daemon,
            traces,
        })
    }

    /// The same with an address of each family banned.
    fn with_bans(arguments: &[&str]) -> Result<Self> {
        let mut running = Self::start(arguments)?;
        for offender in ["198.18.0.7", "2001:db8:a:7::1"] {
            running
                .home
                .append(&alert::wazuh(5763, 10, &["sshd"], offender))?;
            running.daemon.wait_for(" ban ")?;
        }
        ensure!(running.home.bans()?.len() == 2, "both are banned");
        Ok(running)
    }
}

/// Nothing in the kernel, nothing pinned, and nobody answers.
fn nothing_is_left(link: &Link, home: &Home, traces: &Traces) -> Result<()> {
    ensure!(
        !home.pin_dir().exists(),
        "{} is left",
        home.pin_dir().display()
    );
    ensure!(!has_xdp(&link.host)?, "a program is left on the interface");
    traces.are_gone()?;
    let socket = home.run_dir().join("arfw.sock");
    let status = home.output(&["status"])?.status;
    ensure!(
        status.code() == Some(4),
        "somebody answers at {}",
        socket.display()
    );
    Ok(())
}

#[test]
fn a_stop_without_bans_leaves_nothing() {
    let ended = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::start(&[])?;
        daemon.stop(Signal::TERM)?;
        ensure!(
            !home.run_dir().join("arfw.sock").exists(),
            "the socket is left"
        );
        nothing_is_left(&link, &home, &traces)
    };
    ended().unwrap();
}

/// AR-TIME-9: what the kernel ends by itself stays, until a release is asked for.
#[test]
fn a_stop_with_bans_leaves_them_until_they_are_released() {
    let ended = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::with_bans(&[])?;
        daemon.stop(Signal::TERM)?;
        ensure!(
            has_xdp(&link.host)?,
            "the program stays while there are bans"
        );
        ensure!(home.bans()?.len() == 2, "the bans stay");
        ensure!(home.output(&["stop", "--release"])?.status.success());
        nothing_is_left(&link, &home, &traces)
    };
    ended().unwrap();
}

/// `arfw stop --release` alone ends the daemon as well.
#[test]
fn a_release_ends_the_daemon_and_its_bans() {
    let ended = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::with_bans(&[])?;
        let pid = daemon.pid();
        ensure!(home.output(&["stop", "--release"])?.status.success());
        nothing_is_left(&link, &home, &traces)?;
        // It has ended by itself, so that this signal finds only what waits to be reaped.
        ensure!(
            daemon.stop(Signal::TERM).is_ok(),
            "the daemon ended with success"
        );
        ensure!(test_kill_process(pid).is_err(), "process {pid:?} is left");
        Ok(())
    };
    ended().unwrap();
}

/// AR-TIME-9: the setting that asks for the release of everything.
#[test]
fn a_daemon_that_is_to_release_on_stop_leaves_nothing() {
    let ended = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::with_bans(&["--on-stop", "release"])?;
        daemon.stop(Signal::TERM)?;
        nothing_is_left(&link, &home, &traces)
    };
    ended().unwrap();
}

#[test]
fn a_release_after_a_crash_leaves_nothing() {
    let ended = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::with_bans(&[])?;
        daemon.crash()?;
        ensure!(
            has_xdp(&link.host)?,
            "the kernel goes on without the daemon"
        );
        ensure!(home.output(&["stop", "--release"])?.status.success());
        nothing_is_left(&link, &home, &traces)
    };
    ended().unwrap();
}

/// The next daemon adopts what the crash left, and then there is one of each and not two.
#[test]
fn a_stop_after_a_crash_and_a_new_start_leaves_nothing() {
    let ended = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::start(&[])?;
        daemon.crash()?;
        let mut daemon = home.start(&link, &[])?;
        let second = Traces::of(home.pin_dir())?;
        daemon.stop(Signal::TERM)?;
        nothing_is_left(&link, &home, &traces)?;
        nothing_is_left(&link, &home, &second)
    };
    ended().unwrap();
}

/// What a start says that has to fail; it leaves no pin and no program.
fn failed_start(
    home: &Home,
    link: &Link,
    alerts: Option<&str>,
    interface: &str,
) -> Result<(Option<i32>, String)> {
    let alerts = alerts.map_or_else(|| home.alerts(), |name| home.alerts().with_file_name(name));
    let output = home.fail_to_start(link, &alerts, interface)?;
    ensure!(
        !home.pin_dir().exists(),
        "{} is left",
        home.pin_dir().display()
    );
    ensure!(!has_xdp(&link.host)?, "a program is left on the interface");
    let said = String::from_utf8(output.stderr)?;
    let directory = home.config();
    let directory = directory
        .parent()
        .context("the configuration has a directory")?;
    Ok((
        output.status.code(),
        said.replace(&format!("{}/", directory.display()), ""),
    ))
}

/// AR-CFG-18: nothing is touched before the whole configuration is right.
#[test]
fn a_wrong_configuration_touches_nothing_and_tells_every_mistake() {
    let wrong = CONF
        .replace("local", "nowhere")
        .replace("3600", "1h")
        .replace("firewall-drop</command>", "drop</command>");
    let started = || -> Result<()> {
        let (link, home) = (Link::new()?, Home::new(&wrong)?);
        let (status, said) = failed_start(&home, &link, None, INTERFACE)?;
        ensure!(status == Some(3), "{status:?}: {said}");
        let places: Vec<&str> = said
            .lines()
            .filter_map(|line| line.trim().strip_prefix("--> "))
            .collect();
        ensure!(
            places == ["ossec.conf:9:14", "ossec.conf:10:15", "ossec.conf:12:14"],
            "{said}"
        );
        ensure!(
            said.ends_with("ossec.conf: 3 errors, 0 warnings; nothing of it is applied\n"),
            "{said}"
        );
        let mut names: Vec<_> = Vec::new();
        for entry in fs::read_dir(home.config().parent().context("it has a directory")?)? {
            names.push(entry?.file_name());
        }
        names.sort();
        ensure!(
            names == ["alerts.json", "ossec.conf"],
            "there are {names:?}"
        );
        Ok(())
    };
    started().unwrap();
}

#[test]
fn alerts_that_are_a_directory_are_refused_and_nothing_is_left() {
    let started = || -> Result<()> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        fs::create_dir(home.dir().join("directory"))?;
        let (status, said) = failed_start(&home, &link, Some("directory"), INTERFACE)?;
        ensure!(status == Some(1), "{status:?}: {said}");
        ensure!(
            said == "arfw: cannot follow `directory`: is a directory\n",
            "{said}"
        );
        Ok(())
    };
    started().unwrap();
}

/// The store is read while the enforcer starts, which has to let go what it has made, and no ban of before.
#[test]
fn a_damaged_store_is_refused_and_only_bans_of_before_are_left() {
    const DAMAGED: &str = "no store";
    let ended = || -> Result<()> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        fs::create_dir_all(home.state_dir())?;
        fs::write(home.state_dir().join("arfw.redb"), DAMAGED)?;
        let (status, said) = failed_start(&home, &link, None, INTERFACE)?;
        ensure!(status == Some(1), "{status:?}: {said}");
        ensure!(said.contains("cannot use the store"), "{said}");

        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::with_bans(&[])?;
        daemon.crash()?;
        let store = home.state_dir().join("arfw.redb");
        fs::write(&store, DAMAGED)?;
        let output = home.fail_to_start(&link, &home.alerts(), INTERFACE)?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
        ensure!(said.contains("cannot use the store"), "{said}");
        ensure!(fs::read(&store)? == DAMAGED.as_bytes(), "it was changed");
        ensure!(has_xdp(&link.host)?, "the program is gone");
        ensure!(home.bans()?.len() == 2, "the bans are gone");
        // A release notes in the store who was let go.
        fs::remove_file(&store)?;
        ensure!(home.output(&["stop", "--release"])?.status.success());
        nothing_is_left(&link, &home, &traces)
    };
    ended().unwrap();
}

#[test]
fn an_unknown_interface_is_named_and_nothing_is_left() {
    let started = || -> Result<()> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        let (status, said) = failed_start(&home, &link, None, "veth1")?;
        ensure!(status == Some(1), "{status:?}: {said}");
        ensure!(
            said == "arfw: expected an interface, found `veth1`; there are lo, veth0\n",
            "{said}"
        );
        Ok(())
    };
    started().unwrap();
}

/// An interface that belongs to another program is left to it, and a start that can have no other hook leaves
/// nothing of its own.
#[test]
fn a_start_on_another_programs_interface_leaves_nothing() {
    let started = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::start(&[])?;
        let other = Home::new(CONF)?;
        let Err(error) = other.start(&link, &["--xdp-mode", "native"]) else {
            anyhow::bail!("two programs at one hook");
        };
        let said = format!("{error:#}");
        ensure!(said.contains("another XDP program (id "), "{said}");
        ensure!(
            !other.pin_dir().exists(),
            "{} is left",
            other.pin_dir().display()
        );
        ensure!(has_xdp(&link.host)?, "the first daemon's program stays");
        daemon.stop(Signal::TERM)?;
        nothing_is_left(&link, &home, &traces)
    };
    started().unwrap();
}

/// The foreign program is told, and stays when the daemon goes.
#[test]
fn another_programs_interface_is_covered_at_the_tcx_hook() {
    let started = || -> Result<()> {
        let foreign = Running::start(&[])?;
        let link = &foreign.link;
        let other = Home::new(CONF)?;
        let mut daemon = other.start(link, &[])?;
        let links = Pinned::read(other.pin_dir())?.links;
        let status = other.output(&["status", "--json"])?;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
        let place = &status["interfaces"][0];
        let why = place["why"].as_str().unwrap_or_default();
        ensure!(place["mode"] == "tcx", "{status}");
        ensure!(
            why.starts_with("no native mode: another XDP program (id ")
                && why.ends_with(", `arfw_xdp`) is attached and is left alone"),
            "{why}"
        );

        // Adopted, not attached once more.
        daemon.crash()?;
        let mut daemon = other.start(link, &[])?;
        ensure!(Pinned::read(other.pin_dir())?.links == links);
        let traces = Traces::of(other.pin_dir())?;
        daemon.stop(Signal::TERM)?;
        ensure!(!other.pin_dir().exists(), "pins are left");
        traces.are_gone()?;
        ensure!(has_xdp(&link.host)?, "the first daemon's program stays");
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = foreign;
        daemon.stop(Signal::TERM)?;
        nothing_is_left(&link, &home, &traces)
    };
    started().unwrap();
}

/// The first one goes on undisturbed.
#[test]
fn a_second_daemon_in_a_run_directory_is_refused_and_changes_nothing() {
    let started = || -> Result<()> {
        let Running {
            link,
            home,
            mut daemon,
            traces,
        } = Running::with_bans(&[])?;
        let before = fs::read_dir(home.pin_dir())?.count();
        let output = home.fail_to_start(&link, &home.alerts(), INTERFACE)?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(output.status.code() == Some(1), "{said}");
        let refused = format!(
            "arfw: a daemon already runs here as process {}",
            daemon.pid().as_raw_nonzero()
        );
        ensure!(said.starts_with(&refused), "{said}");
        ensure!(
            fs::read_dir(home.pin_dir())?.count() == before,
            "the pins have changed"
        );
        ensure!(
            home.status()?.pid == daemon.pid().as_raw_nonzero().get().unsigned_abs(),
            "the first one answers"
        );
        ensure!(home.bans()?.len() == 2, "its bans stand");
        ensure!(has_xdp(&link.host)?, "its program stays");
        daemon.stop(Signal::TERM)?;
        ensure!(home.output(&["stop", "--release"])?.status.success());
        nothing_is_left(&link, &home, &traces)
    };
    started().unwrap();
}
