//! What an executable is told and what its answers lead to (AR-WIRE-3), seen from the executable.

use std::fs;

use anyhow::{Result, ensure};
use rustix::process::Signal;

use super::scene::{BY_ADDRESS, Scene, conf, handshake, message};

/// AR-WIRE-3, AR-CMD-3, AR-TIME-1
#[test]
fn a_ban_is_added_confirmed_and_deleted_with_the_alert_as_received() -> Result<()> {
    let conf = conf(&[("deny", "<timeout>1</timeout>")]);
    let mut scene = Scene::new(&conf, &[("deny", BY_ADDRESS)], &[])?;
    let alert = scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    scene.daemon.wait_for(" unban ")?;
    let expected = ["add", "continue", "delete"].map(|command| message(command, &alert, "deny"));
    ensure!(scene.lines("calls", 3)? == expected);
    let counts = scene.counts(|counts| counts.unbans == 1)?;
    ensure!(
        (counts.bans, counts.runs, counts.failed) == (1, 2, 0),
        "{counts:?}"
    );
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-TIME-2, AR-TIME-4: while the key is active there is nothing to run, as the key is known to be the address.
#[test]
fn a_repeat_moves_the_end_and_runs_nothing() -> Result<()> {
    let conf = conf(&[("deny", "<timeout>600</timeout>")]);
    let mut scene = Scene::new(&conf, &[("deny", BY_ADDRESS)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for("moved the end of the ban")?;
    let counts = scene.counts(|counts| counts.moved == 1)?;
    ensure!((counts.bans, counts.failed) == (1, 0), "{counts:?}");
    ensure!(scene.lines("calls", 2)?.len() == 2);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-WIRE-3: the key is the base name and the keys, here the user, whatever the address.
#[test]
fn a_ban_follows_the_keys_of_its_executable() -> Result<()> {
    let script = format!(
        "#!/bin/sh
         read -r line
         user=${{line#*'\"dstuser\":\"'}} user=${{user%%'\"'*}}
         ip=${{line#*'\"srcip\":\"'}} ip=${{ip%%'\"'*}}
         case $line in
           *'\"command\":\"add\"'*) ;;
           *) echo \"delete $user $ip\" >> calls; exit 0 ;;
         esac
         {}
         read -r line
         case $line in
           *'\"command\":\"continue\"'*) echo \"continue $user $ip\" >> calls ;;
           *'\"command\":\"abort\"'*) echo \"abort $user $ip\" >> calls ;;
         esac\n",
        handshake("\"$user\"")
    );
    let conf = conf(&[("disable-account", "<timeout>2</timeout>")]);
    let mut scene = Scene::new(&conf, &[("disable-account", &script)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    let told = scene.daemon.wait_for(" ban ")?;
    ensure!(told.contains("\"disable-account-root\""), "{told}");
    scene.alert(100_000, "198.51.100.8", "root")?;
    scene.daemon.wait_for("moved the end of the ban")?;
    scene.alert(100_000, "198.51.100.7", "bob")?;
    let mut calls = scene.lines("calls", 5)?;
    ensure!(
        calls[..3]
            == [
                "continue root 198.51.100.7",
                "abort root 198.51.100.8",
                "continue bob 198.51.100.7"
            ],
        "{calls:?}"
    );
    calls[3..].sort();
    ensure!(
        calls[3..] == ["delete bob 198.51.100.7", "delete root 198.51.100.7"],
        "{calls:?}"
    );
    let counts = scene.counts(|counts| counts.unbans == 2)?;
    ensure!(
        (counts.bans, counts.moved, counts.failed) == (2, 1, 0),
        "{counts:?}"
    );
    scene.daemon.stop(Signal::TERM)?;
    ensure!(scene.home.dir().join("calls").exists());
    Ok(())
}

/// AR-WIRE-3
#[test]
fn one_that_prints_nothing_runs_for_every_alert_and_is_never_reversed() -> Result<()> {
    let script = "#!/bin/sh\nread -r line\necho \"$#\" >> calls\n";
    let conf = conf(&[
        ("notify", "<timeout>1</timeout>"),
        ("deny", "<timeout>1</timeout>"),
    ]);
    let scripts = [("notify", script), ("deny", BY_ADDRESS)];
    let mut scene = Scene::new(&conf, &scripts, &[])?;
    for _ in 0..3 {
        scene.alert(100_000, "198.51.100.7", "root")?;
        scene.daemon.wait_for("ran, without a ban")?;
    }
    // The end of another ban of the same length shows that the time is over.
    scene.alert(100_001, "198.51.100.8", "root")?;
    scene.daemon.wait_for(" unban ")?;
    let counts = scene.counts(|counts| counts.unbans == 1)?;
    ensure!((counts.bans, counts.runs) == (1, 5), "{counts:?}");
    let calls = fs::read_to_string(scene.path("calls"))?;
    ensure!(calls.starts_with("0\n0\n0\n{"), "{calls}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// Descriptors that a process started from here has, whatever it opens itself: none of arfw's is among them.
fn inherited() -> Result<Vec<String>> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut inherited = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        let entry = entry?;
        // The one that reads the directory is gone.
        let info = fs::read_to_string(entry.path()).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
        if flags.is_some_and(|flags| flags & CLOSE_ON_EXEC == 0) {
            inherited.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(inherited)
}

#[test]
fn an_executable_gets_a_clean_place_to_run_in() -> Result<()> {
    let script = "#!/bin/sh
        { tr '\\0' '\\n' < /proc/$$/environ | sort
          echo \"name $0\"
          echo \"in $(readlink /proc/$$/cwd)\"
          read -r pid name state parent group rest < /proc/$$/stat
          test $group = $$ && echo group of its own
        } > seen 2>&1
        exec ls /proc/self/fd > descriptors\n";
    let conf = conf(&[("look", "")]);
    let mut scene = Scene::new(&conf, &[("look", script)], &[])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for("ran, without a ban")?;
    let seen = fs::read_to_string(scene.path("seen"))?;
    let expected = format!(
        "LANG=C.UTF-8
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
name active-response/bin/look
in {}
group of its own
",
        scene.home.dir().display()
    );
    ensure!(seen == expected, "{seen}");
    let inherited = inherited()?;
    let descriptors = fs::read_to_string(scene.path("descriptors"))?;
    let mut own: Vec<&str> = descriptors.lines().collect();
    own.retain(|number| number.len() == 1 || !inherited.iter().any(|it| it == number));
    // With the third, `ls` reads the directory.
    ensure!(own == ["0", "1", "2", "3"], "{own:?} beside {inherited:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-FW-1: OSSEC's scripts take arguments.
#[test]
fn an_ossec_script_gets_arguments() -> Result<()> {
    let script = "#!/bin/sh\necho \"$*\" >> calls\n";
    let conf = conf(&[("deny.sh", "<timeout>1</timeout>")]);
    let mut scene = Scene::new(&conf, &[("deny.sh", script)], &["--wire", "ossec"])?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" unban ")?;
    let expected =
        ["add", "delete"].map(|verb| format!("{verb} root 198.51.100.7 1795500000.100000 100000"));
    ensure!(scene.lines("calls", 2)? == expected);
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// AR-TIME-9: what an executable has to reverse is reversed, but for what is permanent.
#[test]
fn a_stop_reverses_timed_bans() -> Result<()> {
    let conf = conf(&[("deny", "<timeout>600</timeout>"), ("deny-ever", "")]);
    let scripts = [("deny", BY_ADDRESS), ("deny-ever", BY_ADDRESS)];
    let mut scene = Scene::new(&conf, &scripts, &[])?;
    let alert = scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    scene.alert(100_001, "198.51.100.8", "root")?;
    scene.daemon.wait_for(" ban ")?;
    let calls = scene.home.dir().join("calls");
    scene.daemon.stop(Signal::TERM)?;
    let calls = fs::read_to_string(calls)?;
    ensure!(calls.lines().count() == 5, "{calls}");
    ensure!(
        calls.lines().last() == Some(&message("delete", &alert, "deny")),
        "{calls}"
    );
    Ok(())
}

#[test]
fn what_the_kernel_stands_in_for_is_a_setting() -> Result<()> {
    let conf = conf(&[("firewall-drop", ""), ("nft-drop", "")]);
    let mut scene = Scene::new(
        &conf,
        &[("firewall-drop", BY_ADDRESS)],
        &["--kernel-executables", "nft-drop"],
    )?;
    scene.alert(100_000, "198.51.100.7", "root")?;
    scene.daemon.wait_for(" ban ")?;
    scene.alert(100_001, "198.51.100.8", "root")?;
    scene.daemon.wait_for(" ban ")?;
    ensure!(scene.lines("calls", 2)?.len() == 2);
    let bans = scene.home.bans()?.into_iter();
    let mut by: Vec<_> = bans
        .map(|ban| (ban.address, ban.by[0].executable.clone()))
        .collect();
    by.sort();
    let expected = [
        ("198.51.100.7", "firewall-drop"),
        ("198.51.100.8", "nft-drop"),
    ];
    let expected = expected.map(|(address, by)| (address.to_owned(), by.to_owned()));
    ensure!(by == expected, "{by:?}");
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
