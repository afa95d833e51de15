//! One process as `/proc` tells of it: whose it is, and whether it serves somebody who has logged in.
//!
//! Before a login, `sshd` runs as root too. Only what it does after one counts.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What no login has set.
const UNSET: u32 = u32::MAX;

/// Who a process runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) parent: u32,
    /// The group and the supplementary ones.
    pub(super) groups: BTreeSet<u32>,
}

/// What the kernel's audit keeps of a login, and hands on to children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) uid: u32,
    pub(super) session: u32,
}

/// Whether the name of a program is that of OpenSSH's server. Since version 9.8, a session has its own.
pub(super) fn is_sshd(comm: &str) -> bool {
    matches!(comm.trim_end(), "sshd" | "sshd-session")
}

/// The user whom a process of `sshd` serves, when he is root and has logged in.
///
/// `login` and `parents_login` are compared because both are inherited: a server that was started from a
/// root shell has one. `title` is what the process calls itself: `sshd: root@pts/0` after a login, and
/// `sshd: root [priv]` before one.
pub(super) fn is_roots_session(
    title: &str,
    login: Option<Login>,
    parents_login: Option<Login>,
) -> bool {
    let logged_in = login.is_some_and(|login| {
        let parents = parents_login.map_or(UNSET, |parents| parents.session);
        login.uid == 0 && login.session != UNSET && login.session != parents
    });
    let who = ["sshd: ", "sshd-session: "]
        .into_iter()
        .find_map(|name| title.strip_prefix(name))
        .map(str::trim_end);
    // A name in a title may have an `@` too, of a directory's user: then ` [priv]` tells the two apart.
    logged_in || who.is_some_and(|who| who.contains('@') && !who.ends_with(']'))
}

/// The processes of this namespace.
pub(super) fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The last number that the kernel has given to a process or a thread.
pub(super) fn newest() -> Option<u32> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().last()?.parse().ok()
}

pub(super) fn comm(pid: u32) -> Option<String> {
    read(pid, "comm")
}

/// The title that a process has given itself.
pub(super) fn title(pid: u32) -> String {
    let title = read(pid, "cmdline").unwrap_or_default();
    title.trim_end_matches('\0').replace('\0', " ")
}

pub(super) fn identity(pid: u32) -> Option<Identity> {
    identity_in(&read(pid, "status")?)
}

fn identity_in(status: &str) -> Option<Identity> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(
            line.split_ascii_whitespace()
                .map_while(|word| word.parse().ok()),
        )
    };
    let mut groups: BTreeSet<u32> = field("Groups:")?.collect();
    groups.extend(field("Gid:")?.next());
    Some(Identity {
        uid: field("Uid:")?.next()?,
        parent: field("PPid:")?.next()?,
        groups,
    })
}

/// `None` where the kernel keeps none.
pub(super) fn login(pid: u32) -> Option<Login> {
    let number = |file| read(pid, file)?.trim().parse().ok();
    Some(Login {
        uid: number("loginuid")?,
        session: number("sessionid")?,
    })
}

/// When it started, in the kernel's ticks: tells it from a later process of the same number.
pub(super) fn started(pid: u32) -> Option<u64> {
    started_in(&read(pid, "stat")?)
}

fn started_in(stat: &str) -> Option<u64> {
    // The second field is a name in parentheses, which may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The inodes of its sockets; `None` when this is not to be seen, for want of CAP_SYS_PTRACE.
pub(super) fn sockets(pid: u32) -> Option<BTreeSet<u64>> {
    let directory = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(directory) => directory,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        // It has ended.
        Err(_) => return Some(BTreeSet::new()),
    };
    let inode = |link: &Path| {
        let text = link.to_str()?;
        text.strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse()
            .ok()
    };
    let links = directory
        .flatten()
        .flat_map(|entry| fs::read_link(entry.path()));
    Some(links.filter_map(|link| inode(&link)).collect())
}

/// The groups of this host's file whose members administer it.
pub(super) fn admin_groups(group_file: &str) -> BTreeSet<u32> {
    let group = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let admins = ["wheel", "sudo", "admin"].contains(&name);
        fields.nth(1).filter(|_| admins)?.parse().ok()
    };
    group_file.lines().filter_map(group).collect()
}

/// The name of a user, as far as this host's own file tells it.
pub(super) fn user_name(passwd_file: &str, uid: u32) -> String {
    let name = passwd_file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    });
    name.map_or_else(|| format!("user {uid}"), str::to_owned)
}

fn read(pid: u32, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsshd\nPPid:\t412\nUid:\t1000\t1000\t1000\t1000\n\
        Gid:\t1000\t1000\t1000\t1000\nGroups:\t27 1000 1001 \nSeccomp:\t0\n";

    #[test]
    fn an_identity_has_all_groups() {
        let expected = Identity {
            uid: 1000,
            parent: 412,
            groups: BTreeSet::from([27, 1000, 1001]),
        };
        assert_eq!(identity_in(STATUS), Some(expected));
        assert_eq!(identity_in("Name:\tsshd\n"), None);
        let own = identity(std::process::id()).unwrap();
        assert_eq!(own.uid, rustix::process::getuid().as_raw());
    }

    #[test]
    fn a_start_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 6021 1 2\n";
        assert_eq!(started_in(stat), Some(6021));
        assert!(started(std::process::id()).is_some());
    }

    #[test]
    fn administrators_are_members_of_known_groups() {
        let groups = "root:x:0:\nsudo:x:27:alice\nwheel:x:10:\nadministrators:x:9:\nadmin:x:bad:\n";
        assert_eq!(admin_groups(groups), BTreeSet::from([10, 27]));
        let users = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/nowhere:/bin/sh\n";
        assert_eq!(user_name(users, 1000), "alice");
        assert_eq!(user_name(users, 1001), "user 1001");
    }

    fn check(title: &str, login: Option<(u32, u32)>, parents: (u32, u32), expected: bool) {
        let login_of = |(uid, session)| Login { uid, session };
        let found = is_roots_session(title, login.map(login_of), Some(login_of(parents)));
        assert_eq!(found, expected, "{title} {login:?} {parents:?}");
    }

    const NONE: (u32, u32) = (UNSET, UNSET);

    #[test]
    fn a_login_is_told_by_the_title() {
        for title in [
            "sshd: root@pts/0",
            "sshd: root@notty  ",
            "sshd-session: toor@pts/1",
        ] {
            check(title, None, NONE, true);
        }
    }

    /// An attacker's connection is served by root as well, up to his login.
    #[test]
    fn a_connection_before_a_login_is_no_session() {
        for title in [
            "sshd: [accepted]",
            "sshd: root [priv]",
            "sshd: bob@corp.example [priv]",
            "sshd: unknown [net]",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
            "/usr/sbin/sshd -D -o AuthorizedKeysFile=root@pts",
            "",
        ] {
            check(title, Some(NONE), NONE, false);
            // A server that was started from a root shell hands its login on.
            check(title, Some((0, 7)), (0, 7), false);
        }
    }

    #[test]
    fn a_login_is_told_by_audit_without_a_title() {
        // As OpenSSH 9.2 shows a root login that runs no command.
        check("sshd: root", Some((0, 1)), NONE, true);
        check("sshd: root", None, NONE, false);
        check("sshd: root [priv]", Some((0, 8)), NONE, true);
        check("sshd: root [priv]", Some((0, 8)), (0, 7), true);
        check("sshd: alice [priv]", Some((1000, 8)), NONE, false);
    }
}
