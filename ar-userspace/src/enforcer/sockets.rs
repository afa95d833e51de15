//! Destroys the TCP sockets whose peers have just been banned, or are when the daemon starts, so that servers do not
//! wait for them.
//!
//! A thread of its own asks the kernel (`NETLINK_SOCK_DIAG`): no ban waits for it, and bans that come meanwhile are
//! looked at together. Only sockets of this network namespace are seen.

mod diag;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context as _;

use crate::offender::{Offender, Prefix};

/// Destroys sockets until it is dropped.
#[derive(Debug)]
pub struct Sockets {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    orders: Mutex<Orders>,
    changed: Condvar,
    destroyed: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Orders {
    banned: BTreeSet<Offender>,
    /// What bans of prefixes leave alone.
    spared: Arc<[Prefix]>,
    is_over: bool,
}

impl Sockets {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When there can be none.
    pub fn start() -> anyhow::Result<Self> {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new()
            .name("sockets".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.work()
            })
            .context("cannot start the thread that destroys sockets")?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Bans of prefixes leave exactly these networks alone from here on.
    pub fn spare(&self, networks: &[Prefix]) {
        self.shared.lock().spared = networks.into();
    }

    /// These are banned, and the kernel drops what they send: their sockets are destroyed soon.
    pub fn destroy(&self, mut banned: BTreeSet<Offender>) {
        if banned.is_empty() {
            return;
        }
        self.shared.lock().banned.append(&mut banned);
        self.shared.changed.notify_one();
    }

    /// Sockets that were destroyed so far, and sockets and whole looks that failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.shared.destroyed), count(&self.shared.failed))
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has nothing to report but a panic, which has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut is_failing = false;
        while let Some(peers) = self.next() {
            let failure = self.destroy(&peers).err();
            if let Some(error) = failure.as_ref().filter(|_| !is_failing) {
                tracing::error!("sockets of banned hosts stay: {error:#}");
            }
            is_failing = failure.is_some();
        }
    }

    /// Waits for bans, and takes all there are; `None` at the end.
    fn next(&self) -> Option<Peers> {
        let waits = |orders: &mut Orders| orders.banned.is_empty() && !orders.is_over;
        let waited = self.changed.wait_while(self.lock(), waits);
        let mut orders = waited.unwrap_or_else(PoisonError::into_inner);
        let banned = std::mem::take(&mut orders.banned);
        let (hosts, networks): (BTreeSet<_>, BTreeSet<_>) =
            banned.into_iter().partition(|banned| banned.is_host());
        (!orders.is_over).then(|| Peers {
            hosts,
            networks,
            spared: Arc::clone(&orders.spared),
        })
    }

    /// Tries all of them, and tells the last failure.
    fn destroy(&self, peers: &Peers) -> anyhow::Result<()> {
        let count = |of: &AtomicU64| {
            of.fetch_add(1, Ordering::Relaxed);
        };
        let mut diag = diag::Diag::open().inspect_err(|_| count(&self.failed))?;
        let mut result = Ok(());
        for family in diag::FAMILIES {
            let sockets = match diag.sockets(family, |peer| peers.has(peer)) {
                Ok(sockets) => sockets,
                Err(error) => {
                    count(&self.failed);
                    result = Err(error.context("cannot list sockets"));
                    continue;
                }
            };
            for socket in sockets {
                match diag.destroy(family, &socket) {
                    // One that has ended by itself meanwhile.
                    Ok(false) => {}
                    Ok(true) => count(&self.destroyed),
                    Err(error) => {
                        count(&self.failed);
                        result = Err(error.context("cannot destroy a socket"));
                    }
                }
            }
        }
        result
    }
}

/// Who has just been banned.
struct Peers {
    hosts: BTreeSet<Offender>,
    networks: BTreeSet<Offender>,
    spared: Arc<[Prefix]>,
}

impl Peers {
    /// Whether sockets with this peer are to go.
    fn has(&self, peer: IpAddr) -> bool {
        let peer = Offender::new(peer);
        let covers = |network: &Offender| network.prefix().covers(peer);
        let is_spared = || self.spared.iter().any(|spared| spared.covers(peer));
        self.hosts.contains(&peer) || (self.networks.iter().any(covers) && !is_spared())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_spare_what_they_leave_alone() {
        let network = |text: &str| text.parse::<Prefix>().unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let peers = Peers {
            hosts: [Offender::new(address("203.0.113.7"))].into(),
            networks: [
                Offender::network(network("198.51.100.0/24")),
                Offender::network(network("2001:db8:5::/48")),
            ]
            .into(),
            spared: [network("198.51.100.8/32"), network("203.0.113.0/24")].into(),
        };
        for (peer, goes) in [
            ("203.0.113.7", true),
            ("::ffff:203.0.113.7", true),
            ("203.0.113.8", false),
            ("198.51.100.7", true),
            ("::ffff:198.51.100.7", true),
            ("198.51.100.8", false),
            ("198.51.101.7", false),
            ("2001:db8:5::1", true),
            ("2001:db8:6::1", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(peers.has(address(peer)), goes, "{peer}");
        }
    }
}
