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
use crate::offender::Offender;
use crate::time::Moment;

/// Who is at the other end of a session, and the user whose session it is.
pub type Peers = BTreeMap<Offender, Box<str>>;

/// For this many times its own length, a look counts as fresh: looking takes a twentieth of the time at most.
const FRESH_FOR: u32 = 20;

/// And never longer than this, whatever it takes: a session is known half a second after it began.
const FRESH_AT_MOST: Duration = Duration::from_millis(500);

/// How long a process that is none of the server's is taken for the same: numbers come back, but not so soon.
const OTHERS_KNOWN_FOR: Duration = Duration::from_secs(1);

/// What is known of the sessions of this host.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Sessions, by process.
    open: BTreeMap<u32, Session>,
    /// Processes that are none of the server's.
    others: BTreeSet<u32>,
    others_since: Option<Moment>,
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
    /// The peers at this moment; `None` when a look before is fresh enough. Every call after the first costs
    /// what the list of processes costs, and what the new ones cost; a fresh one costs nothing.
    pub fn refresh(&mut self) -> Option<Peers> {
        let now = clock::now();
        if self.fresh_until.is_some_and(|until| now < until) {
            return None;
        }
        self.look(now);
        let took = clock::now().since(now);
        self.fresh_until = Some(now.after(took.saturating_mul(FRESH_FOR).min(FRESH_AT_MOST)));
        Some(self.peers())
    }

    fn peers(&self) -> Peers {
        let peers = self.open.values().flat_map(|session| {
            let peer = |peer: &Offender| (*peer, session.user.clone());
            session.peers.iter().map(peer)
        });
        peers.collect()
    }

    fn look(&mut self, now: Moment) {
        let known = |since: Moment| now.since(since) < OTHERS_KNOWN_FOR;
        if !self.others_since.is_some_and(known) {
            self.others.clear();
            self.others_since = Some(now);
        }
        let servers = self.servers();
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
    fn servers(&mut self) -> BTreeSet<u32> {
        let mut servers = BTreeSet::new();
        let directory = fs::read_dir("/proc").into_iter().flatten().flatten();
        for entry in directory {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            if self.others.contains(&pid) {
                continue;
            }
            if process::comm(pid).is_some_and(|comm| process::is_sshd(&comm)) {
                servers.insert(pid);
            } else {
                self.others.insert(pid);
            }
        }
        servers
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
