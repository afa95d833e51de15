//! Those who send in the demonstration, and what has become of their packets.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use xtask::netns::Link;
use xtask::traffic::{Receiver, Sender};

use super::screen::Screen;
use crate::interrupt::Interrupt;
use crate::scene::Scene;

/// One packet of each sender in this time.
const EVERY: Duration = Duration::from_millis(10);

/// How long it may take until something arrives again.
const PATIENCE: Duration = Duration::from_secs(20);

/// How soon an interrupt is noticed while something is awaited.
const SLICE: Duration = Duration::from_millis(50);

/// Somebody who sends steadily to the host.
pub(super) struct Actor {
    role: &'static str,
    pub(super) address: IpAddr,
    sender: Sender,
    /// Packets that had been sent, had arrived and had been dropped at the last look.
    seen: Look,
}

/// The counts of one sender at one moment.
#[derive(Clone, Copy, Default)]
pub(super) struct Look {
    pub(super) sent: u64,
    pub(super) arrived: u64,
    /// By the kernel's own counter, in the ban that stands at the moment.
    pub(super) dropped: u64,
}

impl Actor {
    /// Begins to send.
    pub(super) fn enter(
        role: &'static str,
        link: &Link,
        address: IpAddr,
        receiver: &Receiver,
    ) -> Result<Self> {
        let sender = Sender::start(&link.offender, address, receiver.address(), EVERY)?;
        let seen = Look::default();
        Ok(Self {
            role,
            address,
            sender,
            seen,
        })
    }

    /// Looks at the counts, shows them, and returns by how much they rose since the last look.
    pub(super) fn look(
        &mut self,
        screen: &Screen,
        scene: &Scene,
        receiver: &Receiver,
    ) -> Result<Look> {
        let dropped = ban_of(&scene.bans()?, self.address)
            .map_or(0, |ban| ban["packets"].as_u64().unwrap_or(0));
        let look = Look {
            sent: self.sender.sent(),
            arrived: arrived(receiver, self.address),
            dropped,
        };
        let before = std::mem::replace(&mut self.seen, look);
        let rise = Look {
            sent: look.sent - before.sent,
            arrived: look.arrived - before.arrived,
            // A new ban counts from 0.
            dropped: look.dropped.saturating_sub(before.dropped),
        };
        let rises = [rise.sent, rise.arrived].map(|rise| format!("(+{rise})"));
        let text = format!(
            "{:<9} {:<16} sent {:>4} {:<6}  arrived {:>4} {:<6}  dropped {:>4} (+{})",
            self.role,
            self.address.to_string(),
            look.sent,
            rises[0],
            look.arrived,
            rises[1],
            look.dropped,
            rise.dropped
        );
        screen.tell("packets", &text);
        Ok(rise)
    }

    /// Takes what has happened so far for seen, without showing it.
    pub(super) fn settle(&mut self, receiver: &Receiver) {
        self.seen = Look {
            sent: self.sender.sent(),
            arrived: arrived(receiver, self.address),
            dropped: 0,
        };
    }

    /// Waits for the next packet that arrives from here on, and returns when that was.
    pub(super) fn next_arrival(
        &self,
        interrupt: &Interrupt,
        receiver: &Receiver,
    ) -> Result<Instant> {
        let before = arrived(receiver, self.address);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            interrupt.check()?;
            let mut at = None;
            let came = receiver.wait_until(self.address, SLICE, |arrivals| {
                at = arrivals.filter(|it| it.count > before).map(|it| it.last_at);
                at.is_some()
            });
            if let (true, Some(at)) = (came, at) {
                return Ok(at);
            }
        }
        bail!(
            "nothing more arrives from the {} {}",
            self.role,
            self.address
        )
    }

    /// Waits until this many more packets have arrived.
    pub(super) fn arrives(
        &self,
        interrupt: &Interrupt,
        receiver: &Receiver,
        more: u64,
    ) -> Result<()> {
        let goal = arrived(receiver, self.address) + more;
        while arrived(receiver, self.address) < goal {
            self.next_arrival(interrupt, receiver)?;
        }
        Ok(())
    }

    /// Ends, and makes sure that sending never failed.
    pub(super) fn leave(self) -> Result<()> {
        self.sender.stop().map(drop)
    }
}

/// A look at somebody who is banned: the kernel drops what is sent, and nothing arrives.
pub(super) fn is_banned(rise: Look) -> Result<()> {
    ensure!(rise.dropped > 0, "the kernel's counter does not rise");
    ensure!(
        // One may have been on its way from the kernel to us when the ban began.
        rise.arrived <= 1,
        "{} packets arrived during the ban",
        rise.arrived
    );
    Ok(())
}

/// A look at somebody who has nothing to do with it.
pub(super) fn is_free(rise: Look) -> Result<()> {
    ensure!(
        rise.arrived > 0,
        "nothing arrives from somebody who is not banned"
    );
    ensure!(
        rise.dropped == 0,
        "packets of somebody who is not banned are dropped"
    );
    Ok(())
}

/// The ban of one address among those of `arfw list --json`.
pub(super) fn ban_of(bans: &[Value], address: IpAddr) -> Option<&Value> {
    let address = address.to_string();
    bans.iter().find(|ban| ban["address"] == *address)
}

fn arrived(receiver: &Receiver, from: IpAddr) -> u64 {
    receiver.from(from).map_or(0, |arrivals| arrivals.count)
}
