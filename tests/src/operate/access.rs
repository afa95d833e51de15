//! Who may use the control socket: real users and groups, told to the daemon by the kernel.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{Gid, Uid};
use rustix::process::Signal;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};
use tests::support::daemon::{Daemon, Home};

use super::socket::{ask, post};
use super::{CONF, Scene, V4};

/// Numbers that no user or group of a host has.
const USER: u32 = 64_001;
pub(crate) const GROUP: u32 = 64_002;
const OTHER_GROUP: u32 = 64_003;

/// A user, told to setpriv: his group, and those that he is a member of.
struct User {
    regid: u32,
    groups: &'static [u32],
}

const MEMBER: User = User {
    regid: OTHER_GROUP,
    groups: &[1, GROUP],
};
const BY_HIS_OWN_GROUP: User = User {
    regid: GROUP,
    groups: &[],
};
const STRANGER: User = User {
    regid: OTHER_GROUP,
    groups: &[1],
};

/// Lets other users reach the socket, and a binary.
fn open_to_others(home: &Home) -> Result<PathBuf> {
    fs::set_permissions(home.dir(), fs::Permissions::from_mode(0o755))?;
    let binary = home.dir().join("arfw");
    if !binary.exists() {
        fs::copy(tests::support::daemon::binary(), &binary)?;
    }
    Ok(binary)
}

/// Runs a command of arfw as another user.
fn output_as(home: &Home, user: &User, arguments: &[&str]) -> Result<Output> {
    let ours = home.command(arguments);
    let groups: Vec<String> = user.groups.iter().map(ToString::to_string).collect();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &USER.to_string()])
        .args(["--regid", &user.regid.to_string()]);
    match groups.is_empty() {
        true => command.arg("--clear-groups"),
        false => command.args(["--groups", &groups.join(",")]),
    };
    command
        .arg(open_to_others(home)?)
        .args(ours.get_args())
        .current_dir("/");
    command
        .output()
        .context("cannot run `setpriv`, of Debian's package util-linux")
}

fn check_as(
    home: &Home,
    user: &User,
    arguments: &[&str],
    expected: (i32, &str, &str),
) -> Result<()> {
    let output = output_as(home, user, arguments)?;
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&home.dir().display().to_string(), "DIR")
    };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let found = (output.status.code().unwrap_or(-1), &*out, &*err);
    ensure!(found == expected, "{arguments:?}: {}\n{out}{err}", found.0);
    Ok(())
}

/// Does something in a thread that has become a member of the group.
pub(crate) fn as_member<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let become_member = || -> Result<()> {
        let (user, group) = (Uid::from_raw(USER), Gid::from_raw(OTHER_GROUP));
        set_thread_groups(&[Gid::from_raw(GROUP)])?;
        set_thread_res_gid(group, group, group)?;
        Ok(set_thread_res_uid(user, user, user)?)
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| become_member().and_then(|()| work()));
        thread.join().expect("a thread that does not panic")
    })
}

/// Mode, user and group of the socket.
fn owner(home: &Home) -> Result<(u32, u32, u32)> {
    let socket = fs::metadata(home.run_dir().join("arfw.sock"))?;
    Ok((socket.mode() & 0o7777, socket.uid(), socket.gid()))
}

#[test]
fn members_of_the_group_use_the_socket_and_others_do_not() -> Result<()> {
    let mut scene = Scene::new(CONF, &["--socket-group", &GROUP.to_string()])?;
    ensure!(owner(&scene.home)? == (0o660, 0, GROUP));
    open_to_others(&scene.home)?;

    let arguments = ["ban", V4, "--for", "10m", "--reason", "a scan"];
    let banned = output_as(&scene.home, &MEMBER, &arguments)?;
    ensure!(banned.status.success(), "{banned:?}");
    let line = scene.daemon.wait_for("banned by hand")?;
    ensure!(line.contains(&format!("uid={USER} ")), "{line}");
    let unbanned = format!("{V4}: manual ended\n");
    check_as(
        &scene.home,
        &BY_HIS_OWN_GROUP,
        &["unban", V4],
        (0, &unbanned, ""),
    )?;

    let refused = format!(
        "arfw: cannot connect to `DIR/run/arfw.sock`: expected root or a member of group `{GROUP}`, found user {USER}\n"
    );
    for arguments in [&["status"][..], &["ban", V4, "--permanent"], &["stop"]] {
        check_as(&scene.home, &STRANGER, arguments, (1, "", &refused))?;
    }
    ensure!(scene.banned()?.is_empty(), "{:?}", scene.banned());

    check_as(&scene.home, &MEMBER, &["stop"], (0, "", ""))?;
    scene.daemon.wait_for("stopping on request")?;
    let nobody = "arfw: the daemon does not run (nobody answers at `DIR/run/arfw.sock`)\n";
    check_as(&scene.home, &MEMBER, &["stop"], (4, "", nobody))
}

#[test]
fn members_that_may_look_change_nothing() -> Result<()> {
    let group = GROUP.to_string();
    let look = ["--socket-group", &group, "--group-may", "look"];
    let mut scene = Scene::new(CONF, &look)?;
    scene.alert(5763, V4, " ban ")?;
    ensure!(owner(&scene.home)? == (0o660, 0, GROUP));
    open_to_others(&scene.home)?;

    for arguments in [&["status"][..], &["list"], &["history"], &["why", V4]] {
        let output = output_as(&scene.home, &MEMBER, arguments)?;
        ensure!(output.status.success(), "{arguments:?}: {output:?}");
    }
    let metrics = "GET /metrics HTTP/1.1\r\nHost: arfw\r\n\r\n";
    let (status, ..) = as_member(|| ask(&scene.home, metrics))?;
    ensure!(status == 200, "{status}");

    let detail = format!(
        "expected root, as members of the socket's group may look and change nothing (`--group-may look` of `arfw run`); \
         found user {USER}"
    );
    let document =
        json!({"type": "about:blank", "title": "Forbidden", "status": 403, "detail": detail});
    for (path, body) in [
        (
            "/v1/ban",
            r#"{"addresses":["203.0.113.7"],"permanent":true}"#,
        ),
        ("/v1/unban", r#"{"addresses":["198.51.100.7"]}"#),
        ("/v1/forgive", r#""all""#),
        ("/v1/reload", ""),
        ("/v1/stop", r#"{"release":true}"#),
        // What it says is not even read.
        ("/v1/stop", "{"),
    ] {
        let (status, kind, body) = as_member(|| ask(&scene.home, &post(path, body)))?;
        let found: Value = serde_json::from_slice(&body)?;
        ensure!(
            (status, &*kind) == (403, "application/problem+json") && found == document,
            "{path}: {status} {kind} {found}"
        );
    }
    let refused = format!("arfw: {detail}\n");
    check_as(&scene.home, &MEMBER, &["unban", V4], (1, "", &refused))?;
    check_as(&scene.home, &MEMBER, &["stop"], (1, "", &refused))?;

    ensure!(scene.banned()? == [V4], "{:?}", scene.banned());
    let unbanned = format!("{V4}: firewall-drop ended\n");
    scene.check(&["unban", V4], (0, &unbanned, ""))?;
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}

/// A daemon that sees a file of groups of ours in place of the host's.
fn start_with_groups(home: &Home, groups: &str, arguments: &str) -> Result<Daemon> {
    let file = home.dir().join("group");
    fs::write(&file, groups)?;
    let script = format!(
        "mount --bind {} /etc/group && exec \"$@\" {arguments}",
        file.display()
    );
    home.start_dry_by(&["unshare", "--mount", "sh", "-c", &script, "sh"])
}

#[test]
fn the_socket_is_for_the_group_of_the_name_if_there_is_one() -> Result<()> {
    let home = Home::new(CONF)?;
    let (with, without) = (
        format!("root:x:0:\narfw:x:{GROUP}:\nothers:x:{OTHER_GROUP}:\n"),
        "root:x:0:\n",
    );
    for (groups, arguments, expected) in [
        (&*with, "", (0o660, 0, GROUP)),
        (&with, "--socket-group others", (0o660, 0, OTHER_GROUP)),
        (&with, "--group-may nothing", (0o600, 0, 0)),
        (without, "", (0o600, 0, 0)),
        (without, "--group-may look", (0o600, 0, 0)),
    ] {
        let mut daemon = start_with_groups(&home, groups, arguments)?;
        let found = owner(&home)?;
        ensure!(found == expected, "{arguments}: {found:?}");
        daemon.stop(Signal::TERM)?;
    }
    let error = start_with_groups(&home, without, "--socket-group others").unwrap_err();
    let expected = "arfw: expected a group of `/etc/group`, or the number of any, as `--socket-group`; found `others`";
    ensure!(format!("{error:#}").contains(expected), "{error:#}");
    Ok(())
}

/// As the unit starts it: without the right to give files away, in the group or not.
#[test]
fn a_daemon_that_cannot_give_the_socket_away_says_so_and_keeps_it() -> Result<()> {
    let home = Home::new(CONF)?;
    let script = format!("exec \"$@\" --socket-group {GROUP}");
    let by = ["--bounding-set=-chown", "sh", "-c", &script, "sh"];
    let mut daemon = home.start_dry_by(&[&["setpriv", "--clear-groups"][..], &by].concat())?;
    ensure!(owner(&home)? == (0o600, 0, 0), "{:?}", owner(&home)?);
    let said = daemon.stop(Signal::TERM)?.join("\n");
    ensure!(
        said.contains("the control socket is root's alone"),
        "{said}"
    );

    let groups = GROUP.to_string();
    let in_group = ["setpriv", "--groups", &groups];
    let mut daemon = home.start_dry_by(&[&in_group[..], &by].concat())?;
    ensure!(owner(&home)? == (0o660, 0, GROUP), "{:?}", owner(&home)?);
    daemon.stop(Signal::TERM)?;
    Ok(())
}
