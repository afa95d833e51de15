//! Bans of executables that an operator ends: what they did is reversed.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::scene::{BY_ADDRESS, Scene, conf, handshake, message};

/// Bans one address for ever, ends that by `order`, and looks at what the executable was told.
fn reversed_by(order: impl FnOnce(&Scene) -> Result<String>, expected: &str) -> Result<()> {
    let conf = conf(&[("deny", "")]);
    let mut scene = Scene::new(&conf, &[("deny", BY_ADDRESS)], &[])?;
    let alert = scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    let told = order(&scene)?;
    ensure!(told == expected, "{told}");
    scene.daemon.wait_for("INFO unban address")?;
    let lines = ["add", "continue", "delete"].map(|command| message(command, &alert, "deny"));
    ensure!(scene.lines("calls", 3)? == lines);
    ensure!(scene.home.bans()?.is_empty());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

fn out(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let output = scene.home.output(arguments)?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// AR-IMP-6, AR-WIRE-3
#[test]
fn an_unban_has_the_executable_reverse_its_ban() -> Result<()> {
    reversed_by(
        |scene| out(scene, &["unban", "198.51.100.7"]),
        "198.51.100.7: deny is being run to reverse its ban\n",
    )
}

/// What an executable has undone cannot be done again as it was: nothing is changed.
#[test]
fn an_unban_until_it_is_confirmed_is_refused_for_an_executables_ban() -> Result<()> {
    reversed_by(
        |scene| {
            let asked = ["unban", "198.51.100.7", "--confirm", "1m"];
            let output = scene.home.output(&asked)?;
            let told = String::from_utf8(output.stdout)?;
            let expected = "198.51.100.7: deny failed: nothing was changed, as deny is no ban of the kernel's and could not be \
                            put back as it was; unban it without `--confirm`\n";
            ensure!(
                told == expected && output.status.code() == Some(1),
                "{told}"
            );
            ensure!(scene.home.bans()?.len() == 1);
            out(scene, &["unban", "198.51.100.7"])
        },
        "198.51.100.7: deny is being run to reverse its ban\n",
    )
}

/// Whoever is quiet is left in peace by everything that an alert leads to, and by the time that is over nothing is made up for.
#[test]
fn no_executable_is_run_for_who_is_quiet() -> Result<()> {
    let conf = conf(&[("deny", "")]);
    let mut scene = Scene::new(&conf, &[("deny", BY_ADDRESS)], &[])?;
    let quiet = |time: &str| -> Result<()> {
        let output = scene
            .home
            .output(&["unban", "198.51.100.7", "--quiet", time])?;
        ensure!(!output.stdout.is_empty(), "{output:?}");
        Ok(())
    };
    quiet("1h")?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    let counts = scene.counts(|counts| counts.refused == 1)?;
    ensure!((counts.runs, counts.bans) == (0, 0), "{counts:?}");
    quiet("0")?;
    let alert = scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    let lines = ["add", "continue"].map(|command| message(command, &alert, "deny"));
    ensure!(scene.lines("calls", 2)? == lines);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-IMP-7
#[test]
fn a_reload_that_white_lists_has_the_executable_reverse_its_ban() -> Result<()> {
    reversed_by(
        |scene| {
            let old = fs::read_to_string(scene.home.config())?;
            let entry = "<ossec_config><global><white_list>198.51.100.7</white_list></global>";
            fs::write(
                scene.home.config(),
                old.replacen("<ossec_config>", entry, 1),
            )?;
            let told = out(scene, &["reload"])?;
            Ok(told.lines().last().unwrap_or_default().to_owned())
        },
        "198.51.100.7: deny is being run to reverse its ban, white-listed by `198.51.100.7` in line 1",
    )
}

/// AR-IMP-6: the executable has not said yet that its key is another one than the address.
#[test]
fn an_unban_holds_for_an_executable_that_is_still_deciding() -> Result<()> {
    let script = format!(
        "#!/bin/sh
         read -r line
         case $line in *'\"command\":\"add\"'*) ;; *) echo delete >> calls; exit 0 ;; esac
         echo begun >> calls
         read -r _ < go
         {}
         read -r line
         case $line in *'\"command\":\"continue\"'*) echo continue ;; *) echo abort ;; esac >> calls\n",
        handshake("root")
    );
    let conf = conf(&[("disable-account", "")]);
    let mut scene = Scene::new(&conf, &[("disable-account", &script)], &[])?;
    let go = scene.path("go");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &go,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.lines("calls", 1)?;
    let told = out(&scene, &["unban", "198.51.100.7"])?;
    ensure!(
        told == "198.51.100.7: disable-account is being run to reverse its ban\n",
        "{told}"
    );
    fs::write(&go, "\n")?;
    let calls = scene.lines("calls", 2)?;
    ensure!(calls == ["begun", "abort"], "{calls:?}");
    ensure!(scene.home.bans()?.is_empty());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
