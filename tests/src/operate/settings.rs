//! The settings file: which one is read, what a mistake in it does, and what is in shadow by it.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::support::daemon::{Home, binary};

use super::{CONF, Scene, V4, V6};

fn written(home: &Home, text: &str) -> Result<String> {
    let file = home.dir().join("arfw.toml");
    fs::write(&file, text)?;
    Ok(file.display().to_string())
}

/// A command that is given nothing but `arguments`: its exit status and all that it prints.
fn check(home: &Home, arguments: &[&str], expected: (i32, &str, &str)) -> Result<()> {
    let output = Command::new(binary()).args(arguments).output()?;
    let text = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        text.replace(&home.dir().display().to_string(), "DIR")
    };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let found = (output.status.code().unwrap_or(-1), &*out, &*err);
    ensure!(found == expected, "{arguments:?}: {}\n{out}{err}", found.0);
    Ok(())
}

#[test]
fn a_mistake_in_the_settings_keeps_the_daemon_from_starting_and_check_tells_it() -> Result<()> {
    let home = Home::new(CONF)?;
    let file = written(&home, "max_bans = 0\nkill_socket = true\n")?;
    let mistakes = "\
error: expected a whole number in 1..=16777216
 --> DIR/arfw.toml:1:12
  |
1 | max_bans = 0
  |            ^ found `0`

error: expected the name of a setting
 --> DIR/arfw.toml:2:1
  |
2 | kill_socket = true
  | ^^^^^^^^^^^ found `kill_socket`
  |
  = help: write `kill_sockets`
";
    let verdict = "DIR/arfw.toml: 2 errors, 0 warnings; the daemon does not start with it\n";
    let config = home.config().display().to_string();
    check(
        &home,
        &["check", &config, "--settings", &file],
        (
            3,
            &format!("{verdict}DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\n"),
            mistakes,
        ),
    )?;
    let output = home.output(&["run", "--config", &config, "--settings", &file])?;
    let told = String::from_utf8(output.stderr)?.replace(&home.dir().display().to_string(), "DIR");
    ensure!(output.status.code() == Some(3), "{told}");
    ensure!(told == format!("{mistakes}{verdict}"), "{told}");

    // A file that is named has to be there.
    let output = home.output(&["run", "--config", &config, "--settings", "/nowhere.toml"])?;
    let told = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.code() == Some(1)
            && told.contains("cannot read the settings `/nowhere.toml`"),
        "{told}"
    );
    let sound = written(&home, "max_bans = 7\nshadow = true\n")?;
    check(
        &home,
        &["check", &config, "--settings", &sound],
        (
            0,
            "DIR/arfw.toml: 0 errors, 0 warnings; 2 settings\n\
             DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\n",
            "",
        ),
    )
}

#[test]
fn commands_find_the_daemon_where_the_settings_say_and_mistakes_elsewhere_do_not_keep_them()
-> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let run_dir = scene.home.run_dir();
    let text = format!(
        "run_dir = {:?}\nmax_bans = \"many\"\n",
        run_dir.display().to_string()
    );
    let file = written(&scene.home, &text)?;
    let output = Command::new(binary())
        .args(["--json", "status", "--settings", &file])
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && told.contains("`arfw check` tells"),
        "{output:?}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn sections_whose_command_is_in_shadow_run_nothing_and_the_others_do() -> Result<()> {
    let conf = CONF.replacen(
        "  <active-response>",
        "  <command>
    <name>page</name>
    <executable>page-operator</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>page</command>
    <location>local</location>
    <rules_id>5764</rules_id>
    <timeout>600</timeout>
  </active-response>
  <active-response>",
        1,
    );
    let home = Home::new(&conf)?;
    let bin_dir = home.dir().join("bin");
    fs::create_dir(&bin_dir)?;
    let text = format!(
        "shadow_commands = [\"page\", \"pager\"]\nbin_dir = {:?}\n",
        bin_dir.display().to_string()
    );
    let file = written(&home, &text)?;
    let daemon = home.start_dry(&["--settings", &file])?;
    let mut scene = Scene { home, daemon };
    // The executable is not there, so that running it would fail.
    let line = scene.alert(5764, V4, " ban ")?;
    ensure!(line.contains("shadow/page-operator"), "{line}");
    scene.alert(5763, V6, " ban ")?;
    let bans = scene.home.bans()?;
    let shadow: Vec<(&str, bool)> = bans
        .iter()
        .map(|ban| (ban.address.as_str(), ban.shadow))
        .collect();
    ensure!(shadow == [(V4, true), (V6, false)], "{shadow:?}");
    let status = scene.home.status()?;
    ensure!(
        status.counts.failed == 0 && status.counts.runs == 0,
        "{status:?}"
    );
    ensure!(status.shadow.commands == ["page", "pager"], "{status:?}");
    ensure!(status.settings == Some(file), "{status:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
