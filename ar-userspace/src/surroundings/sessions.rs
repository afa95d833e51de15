//! The peers of administrators' SSH sessions, while they last (AR-OFF-5).
//!
//! A session is a process of OpenSSH's server in this host's process and network namespace that runs for
//! root, or for a member of group wheel, sudo or admin, after a login. A connection on which nobody has
//! logged in protects nobody: an attacker has one whenever he likes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use super::process;
use super::sockets::Sockets;
use crate::clock;
use crate::confinement::unconfined;
use crate::offender::Offender;
use crate::time::Moment;

/// Who is at the other end of a session, and the user whose session it is.
pub type Peers = BTreeMap<Offender, Box<str>>;

/// For this many times its own length, a look counts as fresh: looking takes a twentieth of the time at most.
const FRESH_FOR: u32 = 20;

/// And never longer than this, whatever it takes: a session is known half a second after it began.
const FRESH_AT_MOST: Duration = Duration::from_millis(500);

/// So many new process numbers are tried one by one. Of more, most are gone again, and a list of all
/// processes costs less than trying each.
const FEW: u32 = 16;

/// How long a new process is looked at again: it may be about to become the server.
const YOUNG_FOR: Duration = Duration::from_secs(1);

/// What is known of the sessions of this host.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Sessions, by process.
    open: BTreeMap<u32, Session>,
    /// Processes that are none of the server's and will not become it.
    others: BTreeSet<u32>,
    /// Processes of the server, of sessions and of connections without a login.
    servers: BTreeSet<u32>,
    /// New processes that are none of the server's, with when they were first seen.
    young: BTreeMap<u32, Moment>,
    /// The last process number that the kernel had given away at the last look.
    newest: Option<u32>,
    fresh_until: Option<Moment>,
    told_blind: bool,
}

/// One process after a login. Its connection stays the same as long as it lives.
#[derive(Debug)]
struct Session {
    started: u64,
    user: Box<str>,
    peers: Vec<Offender>,
}

impl Sessions {
    /// Looks at every process. Takes some microseconds for each: on a busy host, not for the task that bans.
    #[must_use]
    pub fn looked() -> Self {
        // It counts as no fresh look: the one that follows is short, and sees what began meanwhile.
        Self::default().looked_at(clock::now())
    }

    /// Looks again, unless the last look is fresh enough; whether it did. Costs what a list of the processes
    /// costs, and what those cost that are new.
    ///
    /// When the kernel goes through all numbers between two looks, a session may be taken for a process of
    /// the same number before it. Hence [`looked`](Self::looked) from time to time.
    pub fn refresh(&mut self) -> bool {
        let now = clock::now();
        if self.is_fresh(now) {
            return false;
        }
        *self = std::mem::take(self).looked_at(now);
        let took = clock::now().since(now);
        self.fresh_until = Some(now.after(took.saturating_mul(FRESH_FOR).min(FRESH_AT_MOST)));
        true
    }

    /// Whether the last look is fresh enough.
    #[must_use]
    pub fn is_fresh(&self, now: Moment) -> bool {
        self.fresh_until.is_some_and(|until| now < until)
    }

    /// The peers at the last look.
    #[must_use]
    pub fn peers(&self) -> Peers {
        let peers = self.open.values().flat_map(|session| {
            let peer = |peer: &Offender| (*peer, session.user.clone());
            session.peers.iter().map(peer)
        });
        peers.collect()
    }

    /// Who gave up rights is not shown what a process with more of them has open, nor, where `/proc` is mounted so, that there
    /// is such a process.
    fn looked_at(mut self, now: Moment) -> Self {
        let looked = unconfined(move || {
            self.look(now);
            self
        });
        looked.unwrap_or_else(|error| {
            tracing::error!("peers of SSH sessions are not protected: {error}");
            Self::default()
        })
    }

    fn look(&mut self, now: Moment) {
        let servers = self.servers(now);
        self.open.retain(|pid, session| {
            servers.contains(pid) && process::started(*pid) == Some(session.started)
        });
        let new: BTreeMap<u32, Session> = servers
            .iter()
            .filter(|pid| !self.open.contains_key(pid))
            .filter_map(|pid| Some((*pid, session_of(*pid)?)))
            .collect();
        if new.is_empty() {
            return;
        }
        self.open.extend(new);
        self.find_peers();
    }

    /// The processes that carry the server's name.
    fn servers(&mut self, now: Moment) -> BTreeSet<u32> {
        // Read before any process is looked at: a number that is given away meanwhile is new at the next look too.
        let newest = process::newest();
        let first = self.newest.is_none();
        let given_since = given_between(self.newest, newest);
        let mut young = BTreeMap::new();
        let mut servers = BTreeSet::new();
        let (pids, all) = self.to_look_at(newest);
        if all {
            self.others.retain(|pid| pids.contains(pid));
        }
        for pid in pids {
            if self.others.contains(&pid) && !given_since(pid) {
                continue;
            }
            self.others.remove(&pid);
            let Some(comm) = process::comm(pid) else {
                continue;
            };
            if process::is_sshd(&comm) {
                servers.insert(pid);
                continue;
            }
            let seen = self.young.get(&pid).copied().filter(|_| !given_since(pid));
            let seen = seen.unwrap_or(now);
            if first || now.since(seen) >= YOUNG_FOR {
                self.others.insert(pid);
            } else {
                young.insert(pid, seen);
            }
        }
        self.servers.clone_from(&servers);
        self.young = young;
        self.newest = newest;
        servers
    }

    /// Processes that may be the server's: all at the first look, then those that are new or were so a moment
    /// ago, and those that were the server's. A list of all costs more than all the rest together.
    /// Whether it is all is told as well.
    fn to_look_at(&self, newest: Option<u32>) -> (BTreeSet<u32>, bool) {
        match (self.newest, newest) {
            (Some(last), Some(newest)) if last <= newest && newest - last <= FEW => {
                let known = self.young.keys().chain(&self.servers).copied();
                (known.chain(last + 1..=newest).collect(), false)
            }
            _ => (process::all().collect(), true),
        }
    }

    /// Looks every session's peers up: what one forwards is told by the sockets of all.
    fn find_peers(&mut self) {
        let mut held: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let mut unseen = None;
        for &pid in self.open.keys() {
            match process::sockets(pid) {
                Some(sockets) => {
                    held.insert(pid, sockets);
                }
                None => unseen = Some(pid),
            }
        }
        if let Some(pid) = unseen {
            self.tell_blind(pid);
        }
        let by_sessions: BTreeSet<u64> = held.values().flatten().copied().collect();
        let table = Sockets::read();
        for (pid, sockets) in &held {
            if let Some(session) = self.open.get_mut(pid) {
                let clients = table.clients(sockets, &by_sessions);
                session.peers = clients.into_iter().map(Offender::new).collect();
            }
        }
    }

    fn tell_blind(&mut self, pid: u32) {
        if !std::mem::replace(&mut self.told_blind, true) {
            tracing::warn!(
                process = pid,
                "cannot see whose SSH session this is, and do not protect its peer: CAP_SYS_PTRACE is missing"
            );
        }
    }
}

/// Whether the kernel gave a number away after `last` and up to `newest`. It goes up, and begins again from
/// below; when it does not tell, every number may be new.
fn given_between(last: Option<u32>, newest: Option<u32>) -> impl Fn(u32) -> bool {
    move |pid| match (last, newest) {
        (Some(last), Some(newest)) if last <= newest => last < pid && pid <= newest,
        (Some(last), Some(newest)) => last < pid || pid <= newest,
        _ => true,
    }
}

/// The session that a process of the server serves, its peers not looked up; `None` when nobody who matters
/// has logged in.
fn session_of(pid: u32) -> Option<Session> {
    let started = process::started(pid)?;
    let identity = process::identity(pid)?;
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let administers = if identity.uid == 0 {
        let parents = process::login(identity.parent);
        process::is_roots_session(&process::title(pid), process::login(pid), parents)
    } else {
        let admins = process::admin_groups(&read("/etc/group"));
        !admins.is_disjoint(&identity.groups)
    };
    administers.then(|| Session {
        started,
        user: process::user_name(&read("/etc/passwd"), identity.uid).into(),
        peers: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_were_given_away_since_are_new() {
        let new = |last, newest| {
            let given = given_between(last, newest);
            [1, 10, 11, 20, 21, 30000].map(given)
        };
        assert_eq!(
            new(Some(10), Some(20)),
            [false, false, true, true, false, false]
        );
        assert_eq!(
            new(Some(20), Some(10)),
            [true, true, false, false, true, true]
        );
        assert_eq!(new(Some(10), Some(10)), [false; 6]);
        assert_eq!(new(None, Some(10)), [true; 6]);
    }

    #[test]
    fn a_process_is_looked_at_until_it_is_old_enough() {
        let mut sessions = Sessions::default();
        let now = clock::now();
        sessions.servers(now);
        assert!(sessions.others.contains(&std::process::id()));
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = child.id();
        sessions.servers(now);
        assert!(sessions.young.contains_key(&pid));
        sessions.servers(now.after(YOUNG_FOR));
        assert!(sessions.others.contains(&pid) && !sessions.young.contains_key(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        // The numbers have gone round, so that all processes are looked at.
        sessions.newest = Some(u32::MAX);
        sessions.servers(now.after(YOUNG_FOR));
        assert!(!sessions.others.contains(&pid));
    }
}
