//! One candidate on a link of its own, and what is done to it.
//!
//! The host's end of the link works as a network card does: by NAPI, with GRO. In the first measurement that happens
//! at once on the CPU of the sender; in the second in a thread on another CPU, where the server is as well.

use std::net::UdpSocket;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;
use xtask::netns::{HOST_V4, INTERFACE, Link, Namespace, offender_v4};

use super::candidate::{Candidate, Means};
use super::card::Card;
use super::filter::Filter;
use super::frame::{self, Frame};
use super::honest::{self, Answered};
use super::sender::{Limit, Sender, Sent, pin, threads, time_of};
use super::sink::{Sink, feature};
use crate::interrupt::Interrupt;
use crate::shell;

/// An address of the offender's that nobody bans.
pub(super) const HONEST: u16 = 60_000;

/// What is sent before a measurement, so that it does not begin with the caches of another's.
pub(super) const WARM: Limit = Limit {
    packets: 5_000,
    time: Duration::from_millis(100),
};

/// One candidate.
pub(super) struct Lane {
    pub(super) candidate: Candidate,
    // Before the link: fields are dropped in order.
    filter: Box<dyn Filter>,
    pub(super) sender: Sender,
    pub(super) card: Card,
    pool: Vec<Frame>,
    pub(super) server: UdpSocket,
    client: UdpSocket,
    /// The thread that receives, from the second measurement on.
    receiver: Option<u32>,
    link: Link,
}

/// What the flood is sent by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// As a network card brings it.
    Card,
    /// As another process of this machine sends it.
    Socket,
}

/// What comes beside the honest client.
#[derive(Clone, Copy)]
pub(super) enum Flood<'a> {
    None,
    /// Out of another interface: the sender takes its time, and the host gets nothing.
    Elsewhere(&'a Sink),
    Here,
}

/// What a round of the second measurement gave.
#[derive(Clone, Debug)]
pub(super) struct Competed {
    pub(super) answered: Answered,
    /// Packets of the flood, and those of them that the receiver's ring had no room for.
    pub(super) offered: u64,
    pub(super) lost: u64,
    pub(super) wall: Duration,
    /// Time of the thread that receives.
    pub(super) receiver: Duration,
}

impl Lane {
    /// Makes the link, starts and fills the candidate, and checks it.
    pub(super) fn open(
        candidate: Candidate,
        means: &Means<'_>,
        interrupt: &Interrupt,
        cpu: usize,
    ) -> Result<Self> {
        let link = Link::new()?;
        as_a_card(&link)?;
        let server = honest::socket(&link.host, HOST_V4.into())?;
        let client = honest::socket(&link.offender, offender_v4(HONEST))?;
        let pool = frame::pool(candidate.bans(), server.local_addr()?.port());
        let out = (&link.offender, INTERFACE);
        let mut lane = Self {
            candidate,
            filter: candidate.start(means, interrupt, &link)?,
            sender: Sender::open(&link.offender, INTERFACE)?,
            card: Card::start(interrupt, means.live_flood(), out, &pool, cpu)?,
            pool,
            server,
            client,
            receiver: None,
            link,
        };
        lane.check(interrupt, false)?;
        lane.filter
            .fill(interrupt, &lane.link, candidate.bans())
            .with_context(|| format!("cannot fill {}", candidate.label()))?;
        lane.check(interrupt, true)?;
        Ok(lane)
    }

    /// A flood from one CPU, which receives as well; how much of it there was no room for.
    pub(super) fn flood(
        &mut self,
        interrupt: &Interrupt,
        how: How,
        limit: Limit,
        cpu: usize,
    ) -> Result<(Sent, u64)> {
        let mut send = |limit| match how {
            How::Card => self.card.flood(interrupt, limit),
            How::Socket => self.sender.flood(&self.pool, limit, cpu),
        };
        send(WARM)?;
        let before = lost(&self.link.offender)?;
        let sent = send(limit)?;
        Ok((sent, lost(&self.link.offender)? - before))
    }

    /// From here on packets are received by a thread on `cpu`.
    pub(super) fn receive_on(&mut self, cpu: usize) -> Result<()> {
        let name = format!("napi/{INTERFACE}-");
        let receiving = || threads(|comm| comm.starts_with(&name));
        let before = receiving()?;
        // What stands in /sys/class/net is of the namespace in which it was mounted.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.link.host.name(), "sh", "-c"]);
        command.arg(format!("echo 1 > /sys/class/net/{INTERFACE}/threaded"));
        shell::look_up(&mut command).context("cannot have a thread receive")?;
        let mut new = receiving()?;
        new.retain(|pid| !before.contains(pid));
        let [pid] = new[..] else {
            anyhow::bail!("expected one thread {name}N that is new, found {new:?}");
        };
        let thread = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let thread = thread.context("that is no process")?;
        pin(Some(thread), cpu).context("cannot move the thread that receives")?;
        self.receiver = Some(pid);
        Ok(())
    }

    /// An honest client asks for a while, and there is a flood or none at the same time.
    ///
    /// `cpus` are those of the sender and the client, and of the server and the thread that receives.
    pub(super) fn compete(
        &self,
        flood: Flood<'_>,
        time: Duration,
        cpus: (usize, usize),
    ) -> Result<Competed> {
        let pid = self.receiver.context("no thread receives")?;
        let limit = Limit {
            packets: u64::MAX,
            time,
        };
        let sender = match flood {
            Flood::None => None,
            Flood::Elsewhere(sink) => Some(sink.sender()),
            Flood::Here => Some(&self.sender),
        };
        let pool = &self.pool;
        let (lost_before, receiver_before) = (lost(&self.link.offender)?, time_of(pid)?);
        let (answered, sent) = honest::answering(&self.server, cpus.1, || {
            thread::scope(|scope| {
                let send = |sender: &Sender| sender.flood(pool, limit, cpus.0);
                let sending = sender.map(|sender| scope.spawn(move || send(sender)));
                let server = self.server.local_addr()?;
                let answered = honest::ask(&self.client, server, time, cpus.0);
                let sent = sending.map(|sending| {
                    let sent = sending.join();
                    sent.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                });
                Ok((answered?, sent.transpose()?))
            })
        })?;
        let here = sent.filter(|_| matches!(flood, Flood::Here));
        Ok(Competed {
            answered,
            offered: here.map_or(0, |sent| sent.packets),
            lost: lost(&self.link.offender)? - lost_before,
            wall: here.map_or(time, |sent| sent.wall),
            receiver: time_of(pid)?.saturating_sub(receiver_before),
        })
    }

    /// Ways out that lead nowhere, for the flood of this candidate.
    pub(super) fn sink(
        &self,
        means: &Means<'_>,
        interrupt: &Interrupt,
        cpu: usize,
    ) -> Result<Sink> {
        Sink::open(&self.link.offender, means, interrupt, &self.pool, cpu)
    }

    /// Checks once more, and ends the candidate in order.
    pub(super) fn close(mut self, interrupt: &Interrupt) -> Result<()> {
        self.check(interrupt, true)?;
        self.filter.stop()
    }
}

/// The host's end takes packets as a card's driver does, and the offender's gives them one by one.
fn as_a_card(link: &Link) -> Result<()> {
    feature(&link.host, INTERFACE, "gro", "on")?;
    feature(&link.offender, INTERFACE, "tso", "off")
}

/// Packets that the interface of a namespace sent and the other end had no room for.
fn lost(offender: &Namespace) -> Result<u64> {
    let mut command = Command::new("ip");
    command.args(["-json", "-stats", "-netns", offender.name()]);
    let text = shell::look_up(command.args(["link", "show", "dev", INTERFACE]))?;
    let links: serde_json::Value = serde_json::from_str(&text)?;
    let dropped = &links[0]["stats64"]["tx"]["dropped"];
    dropped
        .as_u64()
        .context("`ip` does not tell how many packets were dropped")
}
