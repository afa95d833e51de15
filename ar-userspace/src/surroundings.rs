//! What this host must stay able to reach: the facts behind the lock-out guard (AR-OFF-5).
//!
//! Looks them up and notices when they change. That an address must not be banned is `policy`'s to say.

mod kernel;
mod links;
mod netlink;
mod process;
mod resolvers;
pub mod sessions;
mod sockets;
mod watch;

use std::collections::BTreeSet;

use crate::config::Config;
use crate::offender::{Offender, Prefix};
use crate::policy::{Guard, Reason};
pub use links::LinkWatch;
pub use sessions::Sessions;
pub use watch::Watch;

/// What the operator and the configuration add to what is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Addresses and networks that are protected besides.
    pub protect: Vec<Prefix>,
    /// The manager's addresses.
    pub managers: BTreeSet<Offender>,
    /// Whether the peers of administrators' SSH sessions are protected.
    pub ssh_sessions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protect: Vec::new(),
            managers: BTreeSet::new(),
            ssh_sessions: true,
        }
    }
}

impl Settings {
    /// What a configuration alone asks for.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            managers: config.managers.iter().copied().collect(),
            ..Self::default()
        }
    }
}

/// All that was found by one look.
#[derive(Debug)]
pub struct Found {
    /// What must stay reachable, without the peers of sessions.
    pub guard: Guard,
    /// The sessions, which are to be looked at again before a decision.
    pub sessions: Sessions,
}

impl Found {
    /// Looks everything up.
    ///
    /// # Errors
    ///
    /// As [`look`].
    pub fn now(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self {
            guard: look(settings)?,
            sessions: if settings.ssh_sessions {
                Sessions::looked()
            } else {
                Sessions::default()
            },
        })
    }
}

/// Everything that is protected at this moment, sessions included.
///
/// # Errors
///
/// As [`look`].
pub fn guard(settings: &Settings) -> anyhow::Result<Guard> {
    let Found {
        mut guard,
        sessions,
    } = Found::now(settings)?;
    guard.set_sessions(sessions.peers());
    Ok(guard)
}

/// Looks everything up, apart from sessions, which have a life of their own: [`Sessions`].
///
/// # Errors
///
/// When the kernel does not tell the host's addresses or routes. A resolver that cannot be read protects nobody.
pub fn look(settings: &Settings) -> anyhow::Result<Guard> {
    let mut guard = Guard::default();
    kernel::note(&mut guard, &netlink::facts()?);
    for resolver in resolvers::in_use() {
        guard.protect(Offender::new(resolver), Reason::Resolver);
    }
    for manager in &settings.managers {
        guard.protect(*manager, Reason::Manager);
    }
    for network in &settings.protect {
        let reason = format!("by `--protect {network}`");
        guard.protect_network(*network, Reason::Other(reason.into()));
    }
    Ok(guard)
}
