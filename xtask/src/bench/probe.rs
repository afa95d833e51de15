//! Finds out to a few microseconds when the packets of one address begin to be dropped.
//!
//! One thread sends a datagram and looks at once whether it has arrived: a veth pair delivers within the sending
//! call, so that no second thread's waking up is measured. Each datagram carries its number.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xtask::netns::{HOST_V4, Link, Namespace};

use crate::interrupt::Interrupt;

/// Datagrams in a row that must not arrive before the first of them counts as dropped.
const IN_A_ROW: usize = 64;

/// How long a datagram may be on its way when the loop has ended.
const GRACE: Duration = Duration::from_millis(2);

const PATIENCE: Duration = Duration::from_secs(20);

/// A sender with an address, and a receiver that is looked at after each datagram.
pub(super) struct Probe {
    source: IpAddr,
    sender: UdpSocket,
    receiver: UdpSocket,
    /// When the datagram of each number was sent.
    sent: Vec<Instant>,
    arrived: Option<usize>,
}

/// What was found: the ban took effect between these two.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    /// When the last datagram that arrived was sent.
    pub(super) last_arrived: Instant,
    /// When the one after it was sent.
    pub(super) first_dropped: Instant,
}

impl Probe {
    /// Opens both ends and makes sure that datagrams arrive.
    pub(super) fn open(link: &Link, source: IpAddr) -> Result<Self> {
        let open = |namespace: &Namespace, address: IpAddr| {
            let bound = namespace.run(|| UdpSocket::bind((address, 0)));
            bound
                .and_then(|bound| bound)
                .with_context(|| format!("cannot open {address} in namespace {}", namespace.name()))
        };
        let receiver = open(&link.host, HOST_V4.into())?;
        receiver.set_nonblocking(true)?;
        let sender = open(&link.offender, source)?;
        sender.connect(receiver.local_addr()?)?;
        let mut probe = Self {
            source,
            sender,
            receiver,
            sent: Vec::new(),
            arrived: None,
        };
        for _ in 0..IN_A_ROW {
            probe.send()?;
        }
        ensure!(probe.arrived.is_some(), "nothing arrives from {source}");
        Ok(probe)
    }

    /// Sends one datagram, and takes in whatever has arrived.
    pub(super) fn send(&mut self) -> Result<()> {
        let number = self.sent.len().to_be_bytes();
        self.sent.push(Instant::now());
        self.sender
            .send(&number)
            .with_context(|| format!("cannot send from {}", self.source))?;
        self.take_in()
    }

    /// Sends back to back until no datagram arrives any more.
    pub(super) fn until_dropped(self, interrupt: &Interrupt) -> Result<Cut> {
        self.until_dropped_at(interrupt, Duration::ZERO)
    }

    /// The same with a pause after each datagram, which leaves the CPU to others and is how exactly the end is known.
    pub(super) fn until_dropped_at(
        mut self,
        interrupt: &Interrupt,
        pause: Duration,
    ) -> Result<Cut> {
        let start = Instant::now();
        while self.sent.len() - self.next() < IN_A_ROW {
            interrupt.check()?;
            if start.elapsed() > PATIENCE {
                bail!("packets of {} still arrive after {PATIENCE:?}", self.source);
            }
            self.send()?;
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        let loop_ended = Instant::now();
        while loop_ended.elapsed() < GRACE {
            self.take_in()?;
        }
        let first_dropped = self.next();
        ensure!(
            self.sent.len() - first_dropped >= IN_A_ROW,
            "packets of {} were late and not dropped",
            self.source
        );
        Ok(Cut {
            last_arrived: self.sent[first_dropped - 1],
            first_dropped: self.sent[first_dropped],
        })
    }

    /// The number after that of the last datagram that arrived.
    fn next(&self) -> usize {
        self.arrived.map_or(0, |number| number + 1)
    }

    fn take_in(&mut self) -> Result<()> {
        let mut number = [0; size_of::<usize>()];
        loop {
            match self.receiver.recv_from(&mut number) {
                Ok((_, from)) if from.ip() == self.source => {
                    self.arrived = self.arrived.max(Some(usize::from_be_bytes(number)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(receiving(error)),
            }
        }
    }
}

fn receiving(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context("cannot receive")
}
