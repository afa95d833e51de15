//! `arfw reload` and SIGHUP: another configuration is in force whole, or not at all.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};

use super::{CONF, Scene, V4, V6};

impl Scene {
    /// Writes the configuration with one part replaced.
    pub(super) fn edit(&self, from: &str, to: &str) -> Result<()> {
        let old = fs::read_to_string(self.home.config())?;
        ensure!(old.contains(from), "`{from}` is not there:\n{old}");
        Ok(fs::write(self.home.config(), old.replacen(from, to, 1))?)
    }
}

#[test]
fn a_reload_tells_the_difference_and_keeps_bans_and_counters() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    scene.check(
        &["reload"],
        (
            0,
            "DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\nnothing changed\n",
            "",
        ),
    )?;
    scene.edit(
        "<rules_id>5763</rules_id>",
        "\n<rules_id>5763,5764</rules_id>",
    )?;
    scene.edit("30,60", "45")?;
    scene.edit("<rules_id>5712</rules_id>", "<level>3</level>")?;
    scene.check(
        &["reload"],
        (
            0,
            "DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\n\
             repeated_offenders changed: 45, was 30,60\n\
             section changed in line 7: rules_id 5763,5764, was 5763\n\
             section changed in line 15, before in line 14: level 3, was none; rules_id none, was 5712\n",
            "",
        ),
    )?;
    let [ban] = &scene.home.bans()?[..] else {
        anyhow::bail!("expected the ban to stand");
    };
    let left = ban.seconds_left.unwrap_or(f64::INFINITY);
    ensure!(ban.by[0].offences == 1 && left <= 600.0, "{ban:?}");
    let line = scene.alert(5764, V4, "moved the end of the ban")?;
    ensure!(
        line.contains("offence=2") && line.contains("45m") && line.contains("ossec.conf:7"),
        "{line}"
    );
    let line = scene.daemon.wait_for("moved the end of the ban")?;
    ensure!(
        line.contains("ossec.conf:15") && line.contains("ever"),
        "{line}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-CFG-18
#[test]
fn a_configuration_with_mistakes_keeps_the_old_one_in_force() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.edit("<timeout>600", "<timeout>10m")?;
    scene.edit("5712", "5712;5713")?;
    scene.check(
        &["reload"],
        (
            3,
            "DIR/ossec.conf: 2 errors, 0 warnings; nothing of it is applied\n\
             the configuration in force stays\n",
            "\
error: expected a whole number of seconds
  --> DIR/ossec.conf:11:14
   |
11 |     <timeout>10m</timeout>
   |              ^^^ found `10m`
   |
   = help: write `600`

error: expected the number of a rule, or several with commas between them
  --> DIR/ossec.conf:17:15
   |
17 |     <rules_id>5712;5713</rules_id>
   |               ^^^^^^^^^ found `5712;5713`
   |
   = help: write `5712,5713`
",
        ),
    )?;
    let first = scene.daemon.wait_for(" ERROR ")?;
    let second = scene.daemon.wait_for(" ERROR ")?;
    ensure!(
        first.contains(
            "ossec.conf:11:14: expected a whole number of seconds, found `10m`; write `600`"
        ),
        "{first}"
    );
    ensure!(second.contains("ossec.conf:17:15: "), "{second}");
    scene.daemon.wait_for("the configuration is not reloaded")?;
    let line = scene.alert(5763, V4, " ban ")?;
    ensure!(
        line.contains("10m") && line.contains("ossec.conf:7"),
        "{line}"
    );
    let line = scene.alert(5712, V6, " ban ")?;
    ensure!(line.contains("ever"), "{line}");
    let output = scene.home.output(&["reload", "--json"])?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let (applied, diagnostics) = (&told["applied"], &told["diagnostics"]);
    ensure!(
        output.status.code() == Some(3) && *applied == false,
        "{told}"
    );
    let place = |at: usize| {
        (
            diagnostics[at]["line"].as_u64(),
            diagnostics[at]["column"].as_u64(),
        )
    };
    ensure!(
        (place(0), place(1)) == ((Some(11), Some(14)), (Some(17), Some(15))),
        "{told}"
    );
    fs::remove_file(scene.home.config())?;
    scene.check(
        &["reload"],
        (
            1,
            "",
            "arfw: cannot read the configuration `DIR/ossec.conf`: No such file or directory (os error 2); the \
             configuration in force stays\n",
        ),
    )?;
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-CFG-18
#[test]
fn a_hangup_reads_the_configuration_again() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.edit("<timeout>600", "<timeout>x")?;
    kill_process(scene.daemon.pid(), Signal::HUP)?;
    scene.daemon.wait_for("the configuration is not reloaded")?;
    let line = scene.alert(5763, V4, " ban ")?;
    ensure!(line.contains("10m"), "{line}");
    scene.edit("<timeout>x", "<timeout>1200")?;
    kill_process(scene.daemon.pid(), Signal::HUP)?;
    let line = scene.daemon.wait_for("section changed")?;
    ensure!(
        line.contains("timeout 1200, was 600 place=\"ossec.conf:7\""),
        "{line}"
    );
    scene.daemon.wait_for(" reloaded ")?;
    let line = scene.alert(5763, V6, " ban ")?;
    ensure!(line.contains("20m"), "{line}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-IMP-7, AR-IMP-3: permanent bans too, and nobody else's.
#[test]
fn bans_of_whom_the_white_list_covers_end_at_the_reload() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    scene.alert(5712, V6, " ban ")?;
    scene.alert(5712, "203.0.113.113", " ban ")?;
    scene.alert(5712, "203.0.113.8", " ban ")?;
    let white_list = "<ossec_config><global>
      <white_list>198.51.100.0/24</white_list>
      <white_list>2001:db8::/32</white_list>
      <white_list>.113.113</white_list></global>";
    scene.edit("<ossec_config>", white_list)?;
    scene.check(
        &["reload"],
        (
            0,
            "DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\n\
             white_list added in line 2: `198.51.100.0/24`\n\
             white_list added in line 3: `2001:db8::/32`\n\
             white_list added in line 4: `.113.113`\n\
             198.51.100.7: firewall-drop ended, white-listed by `198.51.100.0/24` in line 2\n\
             203.0.113.113: firewall-drop ended, white-listed by `.113.113` in line 4\n\
             2001:db8::7: firewall-drop ended, white-listed by `2001:db8::/32` in line 3\n",
            "",
        ),
    )?;
    let line = scene.daemon.wait_for("released, because")?;
    ensure!(
        line.contains(
            "the white list has `198.51.100.0/24` address=198.51.100.7 by=\"firewall-drop\" place=\"ossec.conf:2\""
        ),
        "{line}"
    );
    ensure!(scene.banned()? == ["203.0.113.8"], "{:?}", scene.banned());
    let line = scene.alert(5763, V4, "no ban")?;
    ensure!(line.contains("198.51.100.0/24"), "{line}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-IMP-7: an operator who edits first and then restarts gets the same.
#[test]
fn a_start_ends_bans_of_whom_the_white_list_covers() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    scene.alert(5712, V6, " ban ")?;
    scene.daemon.stop(Signal::TERM)?;
    let white_list = "<ossec_config><global><white_list>198.51.100.7</white_list></global>";
    scene.edit("<ossec_config>", white_list)?;
    scene.daemon = scene.home.start_dry(&[])?;
    ensure!(scene.banned()? == [V6], "{:?}", scene.banned());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-CFG-6
#[test]
fn a_reload_that_switches_off_bans_nobody_more_and_keeps_what_runs() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5712, V4, " ban ")?;
    let off = "<ossec_config><active-response><disabled>yes</disabled></active-response>";
    scene.edit("<ossec_config>", off)?;
    kill_process(scene.daemon.pid(), Signal::HUP)?;
    scene.daemon.wait_for("disabled changed: yes, was no")?;
    scene.daemon.wait_for("switched off by `disabled`")?;
    scene
        .home
        .append(&tests::support::alert::wazuh(5712, 10, &["sshd"], V6))?;
    scene.edit(off, "<ossec_config>")?;
    // The alert stands before this one in the file, and both are read in order.
    while scene.home.status()?.counts.refused == 0 {
        std::thread::yield_now();
    }
    ensure!(scene.banned()? == [V4], "{:?}", scene.banned());
    kill_process(scene.daemon.pid(), Signal::HUP)?;
    scene.daemon.wait_for("disabled changed: no, was yes")?;
    scene.alert(5712, V6, " ban ")?;
    ensure!(scene.banned()? == [V4, V6], "{:?}", scene.banned());
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
