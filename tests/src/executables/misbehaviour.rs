//! Executables that hang, crash, chatter, fork or come in crowds: they stall nobody and leave nothing behind.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tests::support::daemon::binary;
use tests::support::metrics::{self, value};

use super::scene::{BY_ADDRESS, Scene, conf, eventually, handshake};

/// The processes whose numbers scripts wrote down have ended and were waited for.
fn are_gone(pids: &[String]) -> Result<()> {
    for pid in pids {
        let process = Path::new("/proc").join(pid);
        eventually(|| (!process.exists()).then_some(()))
            .with_context(|| format!("process {pid} goes on"))?;
    }
    Ok(())
}

/// AR-IMP-4, AR-IMP-5
#[test]
fn one_that_hangs_is_killed_with_all_that_it_started() -> Result<()> {
    let script = "#!/bin/sh
        trap '' TERM
        sleep 300 & echo $! >> pids
        setsid sh -c 'trap \"\" TERM; echo $$ >> pids; sleep 300' &
        setsid sh -c 'sleep 300 & echo $! >> pids' < /dev/null > /dev/null 2>&1
        echo $$ >> pids
        wait\n";
    let conf = conf(&[("hang", "<timeout>600</timeout>")]);
    let mut scene = Scene::new(&conf, &[("hang", script)], &["--exec-timeout", "500ms"])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    let pids = scene.lines("pids", 4)?;
    let told = scene.daemon.wait_for("ban failed")?;
    ensure!(
        told.contains("did not end within 500ms, and was killed"),
        "{told}"
    );
    are_gone(&pids)?;
    let counts = scene.counts(|counts| counts.failed == 1)?;
    ensure!((counts.bans, counts.runs) == (0, 1), "{counts:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn one_that_forks_a_daemon_leaves_none() -> Result<()> {
    let script = "#!/bin/sh
        setsid sh -c 'sleep 300 & echo $! >> pids' < /dev/null > /dev/null 2>&1
        sleep 300 & echo $! >> pids\n";
    let conf = conf(&[("fork", "")]);
    let mut scene = Scene::new(&conf, &[("fork", script)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for("ran, without a ban")?;
    are_gone(&scene.lines("pids", 2)?)?;
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-IMP-5: whatever it had done when it crashed is reversed, and the next alert tries again.
#[test]
fn one_that_crashes_made_no_ban_and_is_reversed() -> Result<()> {
    let script = format!(
        "#!/bin/sh
         read -r line
         case $line in *'\"command\":\"delete\"'*) echo delete >> calls; exit 0 ;; esac
         {}
         read -r line
         echo add >> calls
         test -e well && exit 0
         echo \"no rule \t here\" >&2
         kill -SEGV $$\n",
        handshake("198.51.100.7")
    );
    let conf = conf(&[("crash", "<timeout>600</timeout>")]);
    let mut scene = Scene::new(&conf, &[("crash", &script)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    let told = scene.daemon.wait_for("ban failed")?;
    ensure!(told.contains(r"SIGSEGV): `no rule \t here`"), "{told}");
    ensure!(scene.lines("calls", 2)? == ["add", "delete"]);
    let counts = scene.counts(|counts| counts.runs == 2)?;
    ensure!(
        (counts.bans, counts.unbans, counts.failed) == (0, 0, 1),
        "{counts:?}"
    );
    File::create(scene.path("well"))?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    let told = scene.daemon.wait_for(" ban ")?;
    ensure!(told.contains("offence=2"), "{told}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn one_that_prints_ten_megabytes_is_read_to_its_end() -> Result<()> {
    let script = format!(
        "#!/bin/sh
         read -r line
         {}
         read -r line
         head -c 10000000 /dev/zero
         head -c 10000000 /dev/zero >&2
         echo done >> calls\n",
        handshake("198.51.100.7")
    );
    let conf = conf(&[("chatter", "")]);
    let mut scene = Scene::new(&conf, &[("chatter", &script)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    ensure!(scene.lines("calls", 1)? == ["done"]);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

#[test]
fn one_that_prints_no_line_end_is_cut_off() -> Result<()> {
    let script = "#!/bin/sh\nhead -c 10000000 /dev/zero\necho done >> calls\n";
    let conf = conf(&[("chatter", "")]);
    let mut scene = Scene::new(&conf, &[("chatter", script)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    ensure!(scene.lines("calls", 1)? == ["done"]);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Waits at a gate until it is opened, and writes down how many wait with it.
const GATED: &str = "#!/bin/sh
    read -r line
    touch running/$$
    ls running | wc -l >> counts
    exec 3< gate
    rm running/$$\n";

fn gated(arguments: &[&str]) -> Result<Scene> {
    let conf = conf(&[("gated", ""), ("firewall-drop", "")]);
    let scene = Scene::new(&conf, &[("gated", GATED)], arguments)?;
    fs::create_dir(scene.path("running"))?;
    let made = Command::new("mkfifo").arg(scene.path("gate")).status()?;
    ensure!(made.success());
    Ok(scene)
}

/// AR-IMP-4
#[test]
fn a_crowd_stays_within_the_bound_and_delays_no_other_ban() -> Result<()> {
    let mut scene = gated(&[])?;
    let alerts =
        (0..200).map(|last| super::scene::line(100_000, &format!("198.51.100.{last}"), "x"));
    let alerts: String = alerts.map(|alert| alert + "\n").collect();
    scene.home.append(&alerts)?;
    // One of the sixteen places is kept for unbans.
    scene.lines("counts", 15)?;
    let before = Instant::now();
    scene.alert(100_001, "203.0.113.9", "x")?;
    scene.daemon.wait_for(" ban ")?;
    let took = before.elapsed();
    ensure!(
        took.as_millis() < 1_000,
        "the ban in the kernel took {took:?}"
    );
    let gate = File::options().write(true).open(scene.path("gate"))?;
    let counts = scene.counts(|counts| counts.runs == 200)?;
    ensure!((counts.failed, counts.left_out) == (0, 0), "{counts:?}");
    drop(gate);
    let most = scene.lines("counts", 200)?.into_iter();
    let most = most
        .filter_map(|count| count.trim().parse::<u32>().ok())
        .max();
    ensure!(most <= Some(15), "{most:?} at once");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-IMP-9: what there is no room for is told and counted, and its ban is none.
#[test]
fn what_the_queue_has_no_room_for_is_told() -> Result<()> {
    let mut scene = gated(&["--exec-at-once", "1", "--exec-queue", "3"])?;
    scene.alert(100_000, "198.51.100.1", "x")?;
    scene.lines("counts", 1)?;
    for last in 2..=6 {
        scene.alert(100_000, &format!("198.51.100.{last}"), "x")?;
    }
    let told = scene.daemon.wait_for("ban failed")?;
    ensure!(
        told.contains("too many executables wait for their turn"),
        "{told}"
    );
    // Until all have been read, the first must not end: it would make room.
    scene.counts(|counts| counts.left_out == 2)?;
    let text = metrics::ask(&scene.home)?.answer()?;
    let told = ["running", "waiting"].map(|it| value(&text, &format!("arfw_executables_{it}")));
    let [running, waiting] = told;
    ensure!((running?, waiting?) == (1.0, 3.0), "{text}");
    let gate = File::options().write(true).open(scene.path("gate"))?;
    let counts = scene.counts(|counts| counts.runs == 4)?;
    ensure!((counts.failed, counts.left_out) == (2, 2), "{counts:?}");
    drop(gate);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-TIME-9: a stop waits for what runs, begins nothing new, and reverses what was done.
#[test]
fn a_stop_while_bans_wait_leaves_none() -> Result<()> {
    let script = format!(
        "#!/bin/sh
         read -r line
         case $line in *'\"command\":\"delete\"'*) echo delete >> calls; exit 0 ;; esac
         {}
         read -r line
         echo add >> calls
         exec 3< gate\n",
        handshake("198.51.100.1")
    );
    let conf = conf(&[("slow", "<timeout>600</timeout>")]);
    let mut scene = Scene::new(&conf, &[("slow", &script)], &["--exec-at-once", "1"])?;
    ensure!(
        Command::new("mkfifo")
            .arg(scene.path("gate"))
            .status()?
            .success()
    );
    scene.alert(100_000, "198.51.100.1", "x")?;
    scene.lines("calls", 1)?;
    scene.alert(100_000, "198.51.100.2", "x")?;
    scene.counts(|counts| counts.matched == 2)?;
    let (calls, gate) = (scene.path("calls"), scene.path("gate"));
    rustix::process::kill_process(scene.daemon.pid(), Signal::TERM)?;
    scene.daemon.wait_for("the daemon stops")?;
    drop(File::options().write(true).open(gate)?);
    let told = scene.daemon.stop(Signal::TERM);
    let told = told?.join("\n");
    ensure!(!told.contains("not reversed"), "{told}");
    ensure!(fs::read_to_string(calls)? == "add\ndelete\n");
    Ok(())
}

/// AR-IMP-5, AR-IMP-6
#[test]
fn one_that_cannot_be_trusted_is_refused_and_told_at_the_start() -> Result<()> {
    let conf = conf(&[("deny", ""), ("gone", "")]);
    let mut scene = Scene::new(&conf, &[("deny", BY_ADDRESS)], &[])?;
    let path = scene.path("active-response/bin/deny");
    fs::set_permissions(&path, Permissions::from_mode(0o757))?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    let told = scene.daemon.wait_for("ban failed")?;
    let why = format!(
        "`{}` can be changed by others than root: it has mode 0757",
        path.display()
    );
    ensure!(told.contains(&why), "{told}");
    scene.alert(100_001, "198.51.100.7", "root")?;
    let told = scene.daemon.wait_for("ban failed")?;
    ensure!(told.contains("/gone` is not there"), "{told}");
    ensure!(!scene.path("calls").exists());
    let checked = Command::new(binary())
        .arg("check")
        .arg(scene.home.config())
        .args([
            "--bin-dir".as_ref(),
            scene.path("active-response/bin").as_path(),
        ])
        .output()?;
    let text = String::from_utf8(checked.stderr)?;
    for (name, place) in [("deny", "ossec.conf:4:28"), ("gone", "ossec.conf:16:28")] {
        let message = format!("warning: `{name}` cannot be run, so that its responses fail");
        ensure!(text.contains(&message) && text.contains(place), "{text}");
    }
    ensure!(checked.status.success() && text.contains(&why), "{text}");
    let both = scene.counts(|counts| counts.failed == 2)?;
    ensure!(both.bans == 0, "{both:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
