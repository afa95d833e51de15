//! Whether a candidate does what it is measured for: packets of those who are to be banned arrive before they are
//! banned and not afterwards, and an honest one's arrive at both times.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::frame::{self, Frame, datagram, offender};
use super::lane::{HONEST, Lane};
use super::sender::Limit;
use crate::interrupt::Interrupt;

/// Packets of a socket.
const CHECKED: u16 = 1_000;

/// Packets that are looked for at once, of a card in all: the server's socket has room for them.
const TURN: usize = 40;

/// How long a packet may be on its way.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long one may take that should not come.
const GRACE: Duration = Duration::from_millis(20);

impl Lane {
    /// Sends from banned and honest addresses, with the bans or before them, and looks who arrives.
    pub(super) fn check(&mut self, interrupt: &Interrupt, filled: bool) -> Result<()> {
        let port = self.server.local_addr()?.port();
        let drops = filled && self.candidate.drops();
        let spares = !filled || self.candidate.lets_others_pass();
        self.server.set_nonblocking(true)?;

        let bans = u32::from(self.candidate.bans());
        // The first and the last among them.
        let of = |number: u16| {
            let number = u32::from(number) * (bans - 1) / u32::from(CHECKED - 1);
            datagram(offender(u16::try_from(number).unwrap_or(0)), port)
        };
        let banned: Vec<Frame> = (0..CHECKED).map(of).collect();
        let others = vec![datagram(offender(HONEST), port); usize::from(CHECKED)];
        for (who, frames, expect) in [("banned", banned, !drops), ("honest", others, spares)] {
            self.take_in();
            let mut arrived = 0;
            for turn in frames.chunks(TURN) {
                self.sender.send_all(turn, limit(turn.len()))?;
                arrived += self.arrivals(if expect { turn.len() } else { 0 });
            }
            thread::sleep(GRACE);
            arrived += self.take_in();
            self.judge(who, filled, frames.len(), arrived, expect)?;
        }

        self.take_in();
        self.card.flood(interrupt, limit(TURN))?;
        let mut arrived = self.arrivals(if drops { 0 } else { TURN });
        thread::sleep(GRACE);
        arrived += self.take_in();
        self.judge("banned", filled, TURN, arrived, !drops)
    }

    fn judge(
        &self,
        who: &str,
        filled: bool,
        sent: usize,
        arrived: usize,
        expect: bool,
    ) -> Result<()> {
        let expected = if expect { sent } else { 0 };
        let when = if filled { "with" } else { "before" };
        ensure!(
            arrived == expected,
            "{}: of {sent} packets of {who} addresses {arrived} arrived {when} the bans, and {expected} should",
            self.candidate.label()
        );
        Ok(())
    }

    /// Waits for that many packets, and returns how many the server's socket got.
    fn arrivals(&self, awaited: usize) -> usize {
        let start = Instant::now();
        let mut arrived = self.take_in();
        while arrived < awaited && start.elapsed() < PATIENCE {
            arrived += self.take_in();
        }
        arrived
    }

    fn take_in(&self) -> usize {
        let mut count = 0;
        while self.server.recv(&mut [0; frame::LENGTH]).is_ok() {
            count += 1;
        }
        count
    }
}

fn limit(packets: usize) -> Limit {
    Limit {
        packets: packets as u64,
        time: PATIENCE,
    }
}
