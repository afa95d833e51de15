//! A steady stream of packets from a banned host, and whether one of them arrives.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use arfw::control::view::Ban;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::pins;
use xtask::netns::{HOST_V4, Link, offender_v4};
use xtask::traffic::{Receiver, Sender};

/// How often the banned host sends.
const EVERY: Duration = Duration::from_micros(250);

/// How often its neighbour does, which shows that the way is open.
const WITNESS_EVERY: Duration = Duration::from_millis(2);

/// Two hosts that send: one is to be banned, the other never.
pub(super) struct Stream {
    receiver: Receiver,
    banned: Sender,
    _neighbour: Sender,
    /// Number of the first packet that was sent for certain when the ban stood already.
    mark: u64,
    passed: u64,
}

impl Stream {
    /// The host that is to be banned.
    pub(super) fn offender() -> IpAddr {
        offender_v4(7)
    }

    fn neighbour() -> IpAddr {
        offender_v4(8)
    }

    /// Both send, and what they send arrives.
    pub(super) fn start(link: &Link) -> Result<Self> {
        let stream = Self::start_banned(link)?;
        stream.arrives(Self::offender())?;
        Ok(stream)
    }

    /// The same when the one is banned already.
    pub(super) fn start_banned(link: &Link) -> Result<Self> {
        let receiver = Receiver::start(&link.host, HOST_V4.into())?;
        let send = |source, every| Sender::start(&link.offender, source, receiver.address(), every);
        let stream = Self {
            banned: send(Self::offender(), EVERY)?,
            _neighbour: send(Self::neighbour(), WITNESS_EVERY)?,
            receiver,
            mark: 0,
            passed: 0,
        };
        stream.arrives(Self::neighbour())?;
        Ok(stream)
    }

    /// Something that is sent from here on arrives.
    pub(super) fn arrives(&self, source: IpAddr) -> Result<()> {
        let before = self.count(source);
        let more = |arrivals: Option<xtask::traffic::Arrivals>| {
            arrivals.is_some_and(|arrivals| arrivals.count > before + 2)
        };
        ensure!(
            self.receiver.wait_until(source, PATIENCE, more),
            "nothing arrives from {source}"
        );
        Ok(())
    }

    fn count(&self, source: IpAddr) -> u64 {
        let arrivals = self.receiver.from(source);
        arrivals.map_or(0, |arrivals| arrivals.count)
    }

    /// Waits until the kernel drops packets of the banned host. What is sent from here on may not arrive.
    pub(super) fn is_banned(&mut self, home: &Home) -> Result<()> {
        self.is_banned_by(|| Ok(dropped(home)?.unwrap_or(0)))
    }

    /// The same, where `dropped` tells how many packets were.
    pub(super) fn is_banned_by(&mut self, dropped: impl Fn() -> Result<u64>) -> Result<()> {
        let before = dropped()?;
        for _ in 0..2_000 {
            if dropped()? > before {
                // The one of this number may have been under way before the ban.
                self.mark = self.banned.sent() + 1;
                // What was, has arrived when this has.
                self.arrives(Self::neighbour())?;
                self.passed = self.count(Self::offender());
                return Ok(());
            }
            std::thread::park_timeout(WITNESS_EVERY);
        }
        anyhow::bail!("the kernel drops nothing of {}", Self::offender())
    }

    /// How many packets passed that were sent under the ban, since this was asked last; the way is open.
    pub(super) fn passed(&mut self) -> Result<u64> {
        self.arrives(Self::neighbour())?;
        let Some(arrivals) = self.receiver.from(Self::offender()) else {
            return Ok(0);
        };
        let passed = arrivals.count.saturating_sub(self.passed);
        if arrivals.last_number < self.mark {
            return Ok(0);
        }
        self.passed = arrivals.count;
        self.mark = arrivals.last_number + 1;
        Ok(passed.max(1))
    }

    /// Packets that the banned host has sent.
    pub(super) fn sent(&self) -> u64 {
        self.banned.sent()
    }

    /// Stops, where not every packet that was dropped is counted.
    pub(super) fn stop(self) -> Result<()> {
        self.banned.stop().map(drop)
    }

    /// Stops, and makes sure that each packet of the banned host was either dropped and counted, or arrived.
    pub(super) fn end(self, home: &Home) -> Result<()> {
        let sent = self.banned.stop()?;
        let dropped = dropped(home)?.context("the ban stands")?;
        let all = |arrivals: Option<xtask::traffic::Arrivals>| {
            arrivals.map_or(0, |arrivals| arrivals.count) + dropped >= sent
        };
        ensure!(
            self.receiver.wait_until(Self::offender(), PATIENCE, all),
            "{sent} packets were sent, of which {dropped} were dropped"
        );
        Ok(())
    }
}

/// Packets that the kernel has dropped of the banned host; `None` when it is not banned.
fn dropped(home: &Home) -> Result<Option<u64>> {
    let bans = pins::bans(home.pin_dir())?;
    Ok(bans.get(&Stream::offender()).map(|ban| ban.packets))
}

/// The one ban that the daemon tells, and it is that of the banned host.
pub(super) fn the_ban(home: &Home) -> Result<Ban> {
    let bans = home.bans()?;
    ensure!(bans.len() == 1, "expected one ban, found {bans:?}");
    let ban = bans.into_iter().next().context("one ban")?;
    ensure!(
        ban.address == Stream::offender().to_string(),
        "somebody else is banned: {ban:?}"
    );
    Ok(ban)
}
