//! Who may use the control socket.
//!
//! The kernel lets a process connect that may write to the socket: root, and members of the group that owns it, if one does.
//! Who of them asks, it tells of the connection itself, so no one can say so of himself.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use axum::extract::{Extension, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use clap::ValueEnum;
use rustix::process::geteuid;

use super::problem::Problem;
use crate::confinement::unconfined;
use crate::diagnostic::quote;

/// The group that may use the socket when none is named and there is one of this name.
const GROUP: &str = "arfw";

/// Where names of groups are looked up. Not at a directory service: a start must not wait for one.
const GROUP_FILE: &str = "/etc/group";

/// What members of the socket's group may do. Root may do everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum GroupMay {
    /// All that root may: look, ban, unban, forgive, reload, stop
    #[default]
    Change,
    /// Look, and change nothing
    Look,
    /// Not even connect: the socket is root's alone
    Nothing,
}

/// A group of users.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    gid: u32,
    name: String,
}

/// Whom the socket is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    group: Option<Group>,
    may: GroupMay,
}

impl Access {
    /// For root and the members of a group of this host, which is named or told by its number. Without either it is `arfw`, if there
    /// is such a group.
    ///
    /// # Errors
    ///
    /// When there is no group of that name.
    pub fn of(group: Option<&str>, may: GroupMay) -> anyhow::Result<Self> {
        let file = fs::read_to_string(GROUP_FILE).unwrap_or_default();
        let group = match group {
            _ if may == GroupMay::Nothing => None,
            None => named(&file, GROUP),
            Some(text) => Some(find(&file, text)?),
        };
        Ok(Self { group, may })
    }

    /// Gives a socket, to which nobody can connect yet, to those whom it is for.
    ///
    /// When it cannot be given to the group, it stays root's, which the log tells: bans matter more.
    pub(super) fn give(&mut self, socket: &Path) -> std::io::Result<()> {
        let mode = |mode| fs::set_permissions(socket, fs::Permissions::from_mode(mode));
        mode(0o600)?;
        let Some(Group { gid, name }) = self.group.clone() else {
            return Ok(());
        };
        let path = socket.to_owned();
        // The daemon itself may give files only to groups that it is in.
        let given = unconfined(move || chown(path, None, Some(gid))).flatten();
        match given {
            Ok(()) => mode(0o660),
            Err(error) => {
                tracing::error!(
                    group = name,
                    "the control socket is root's alone, as it cannot be given to its group: {error}; \
                     start the daemon in that group, in a unit by `SupplementaryGroups=`"
                );
                self.group = None;
                Ok(())
            }
        }
    }

    /// What whoever has connected may do.
    pub(super) fn rights(&self, uid: u32) -> Rights {
        let owns = uid == 0 || uid == geteuid().as_raw();
        let is_member = self.group.is_some() && self.may == GroupMay::Change;
        Rights {
            uid,
            changes: owns || is_member,
        }
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    uid: u32,
    changes: bool,
}

/// Lets requests that change something pass only from whom they may come.
pub(super) async fn change(
    Extension(rights): Extension<Rights>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if rights.changes {
        return Ok(next.run(request).await);
    }
    let why = format!(
        "expected root, as members of the socket's group may look and change nothing (`--group-may look` of `arfw run`); found user {}",
        rights.uid
    );
    Err(Problem::new(StatusCode::FORBIDDEN, why))
}

/// Whom a socket is for that the caller may not connect to.
pub(super) fn expected(socket: &Path) -> String {
    let group = fs::metadata(socket)
        .ok()
        .filter(|metadata| metadata.mode() & 0o020 != 0)
        .map(|metadata| metadata.gid());
    let Some(gid) = group else {
        return "expected root".to_owned();
    };
    let file = fs::read_to_string(GROUP_FILE).unwrap_or_default();
    let mut all = groups(&file);
    let name = all.find_map(|(name, number)| (number == gid).then(|| name.to_owned()));
    let name = name.unwrap_or_else(|| gid.to_string());
    format!("expected root or a member of group `{name}`")
}

fn find(file: &str, text: &str) -> anyhow::Result<Group> {
    let numbered = || {
        let gid = text.parse().ok().filter(|&gid| gid != u32::MAX)?;
        let name = text.to_owned();
        Some(Group { gid, name })
    };
    named(file, text).or_else(numbered).ok_or_else(|| {
        anyhow::anyhow!(
            "expected a group of `{GROUP_FILE}`, or the number of any, as `--socket-group`; found {}",
            quote(text)
        )
    })
}

fn named(file: &str, wanted: &str) -> Option<Group> {
    let (name, gid) = groups(file).find(|&(name, _)| name == wanted)?;
    let name = name.to_owned();
    Some(Group { gid, name })
}

fn groups(file: &str) -> impl Iterator<Item = (&str, u32)> {
    file.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _password, gid) = (fields.next()?, fields.next()?, fields.next()?);
        Some((name, gid.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "root:x:0:\nbroken\narfw:x:998:alice\n12:x:77:\nodd:x:many:\n";

    fn check(text: &str, expected: Result<(u32, &str), &str>) {
        let found = find(FILE, text).map_err(|error| error.to_string());
        let expected = expected.map_err(str::to_owned).map(|(gid, name)| Group {
            gid,
            name: name.to_owned(),
        });
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_group_is_a_name_of_the_file_or_a_number() {
        check("arfw", Ok((998, "arfw")));
        check("1234", Ok((1234, "1234")));
        check("12", Ok((77, "12")));
        for none in ["", "odd", "broken", "4294967295", "-1"] {
            let why = format!(
                "expected a group of `/etc/group`, or the number of any, as `--socket-group`; found `{none}`"
            );
            check(none, Err(&why));
        }
    }

    #[test]
    fn members_change_only_what_they_may_and_a_group_that_is_not_in_force_has_none() {
        let group = named(FILE, "arfw");
        let stranger = geteuid().as_raw() + 1;
        let changes = |group: &Option<Group>, may, uid| {
            let group = group.clone();
            Access { group, may }.rights(uid).changes
        };
        for may in [GroupMay::Change, GroupMay::Look, GroupMay::Nothing] {
            assert!(changes(&group, may, 0) && changes(&None, may, 0));
            assert!(!changes(&None, may, stranger));
            let expected = may == GroupMay::Change;
            assert_eq!(changes(&group, may, stranger), expected);
        }
    }
}
