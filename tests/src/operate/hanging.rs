//! A configuration that cannot be read, for the time being or at all, holds up nothing else.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, kill_process};
use tests::support::daemon::Home;

use super::{CONF, Scene, V4, V6};

/// Mounts a file system of which nobody serves the requests, as of a server that has died; the daemon and its mount go
/// together.
pub(crate) const DEAD: &str = r#"exec 9<>/dev/fuse
mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 dead "$0"
exec "$@""#;

/// AR-CFG-18
#[test]
fn a_reload_of_a_fifo_is_refused_and_stops_no_ban() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    let config = scene.home.config();
    fs::remove_file(&config)?;
    mknodat(CWD, &config, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let why =
        "cannot read the configuration `DIR/ossec.conf`: expected a regular file, found a FIFO";
    let stays = format!("arfw: {why}; the configuration in force stays\n");
    scene.check(&["reload"], (1, "", &stays))?;
    kill_process(scene.daemon.pid(), Signal::HUP)?;
    scene.daemon.wait_for("reload on SIGHUP")?;
    scene.daemon.wait_for("found a FIFO")?;
    scene.alert(5763, V4, " ban ")?;
    scene.daemon.stop(Signal::TERM)?;
    let failed = scene.home.start_dry(&[]);
    let error = format!("{:#}", failed.err().context("it started")?);
    ensure!(
        error.contains("expected a regular file, found a FIFO"),
        "{error}"
    );
    Ok(())
}

/// AR-CFG-18
#[test]
fn a_file_system_that_does_not_answer_a_reload_holds_up_no_ban() -> Result<()> {
    let home = Home::new(CONF)?;
    let dead = home.dir().join("dead");
    fs::create_dir(&dead)?;
    let mount = dead.to_str().context("a path in UTF-8")?;
    let daemon = home.start_dry_by(&["unshare", "--mount", "sh", "-ec", DEAD, mount])?;
    let mut scene = Scene { home, daemon };
    fs::remove_file(scene.home.config())?;
    symlink(dead.join("ossec.conf"), scene.home.config())?;
    let mut first = scene
        .home
        .command(&["reload"])
        .stderr(Stdio::piped())
        .spawn()?;
    scene.daemon.wait_for("reload on request")?;
    let second = scene.home.output(&["reload"])?;
    let told = String::from_utf8_lossy(&second.stderr);
    ensure!(
        second.status.code() == Some(1) && told.contains("another reload has been reading"),
        "{second:?}"
    );
    scene.alert(5763, V4, " ban ")?;
    kill_process(scene.daemon.pid(), Signal::HUP)?;
    scene.daemon.wait_for("another reload has been reading")?;
    scene.alert(5763, V6, " ban ")?;
    ensure!(scene.banned()? == [V4, V6], "{:?}", scene.banned());
    let mut told = String::new();
    let stderr = first.stderr.as_mut().context("it is piped")?;
    stderr.read_to_string(&mut told)?;
    ensure!(
        first.wait()?.code() == Some(1) && told.contains("its file system does not answer"),
        "{told}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-OFF-5
#[test]
fn a_reload_protects_the_managers_that_it_names_and_no_others() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    let named = format!("<ossec_config><client><server><address>{V4}</address></server></client>");
    scene.edit("<ossec_config>", &named)?;
    scene.check(
        &["reload"],
        (
            0,
            "DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\nmanager added: `198.51.100.7`\n",
            "",
        ),
    )?;
    ensure!(scene.banned()?.is_empty(), "{:?}", scene.banned());
    let line = scene.alert(5763, V4, "no ban")?;
    ensure!(line.contains("the manager"), "{line}");
    // What is looked up from then on has the manager too, and has it no more when it is not named.
    scene.edit(&named, "<ossec_config>")?;
    scene.check(
        &["reload"],
        (
            0,
            "DIR/ossec.conf: 0 errors, 0 warnings; 2 responses\nmanager removed: `198.51.100.7`\n",
            "",
        ),
    )?;
    for _ in 0..1000 {
        let line = scene.alert(5763, V4, " ban")?;
        if !line.contains("no ban") {
            ensure!(scene.banned()? == [V4], "{:?}", scene.banned());
            scene.daemon.stop(Signal::TERM)?;
            return Ok(());
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    anyhow::bail!("it is protected for ever");
}
