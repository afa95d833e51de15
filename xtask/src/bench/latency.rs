//! From an alert to its first dropped packet, one offender after the other, for us and for our peers in turns.
//!
//! The clock starts with the one write that appends the alert, or the line of a log, or with the start of a program.
//! It stops when the first packet that is dropped is sent; the ban took effect after the packet before that one, a few
//! microseconds earlier. Included are the waking of whoever reads, reading, deciding, and the write into the kernel.
//! The first offender of each is not counted: fail2ban makes its table or chain then.

mod fail2ban;
mod load;
mod ours;
mod script;

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::{Link, offender_v4};

use super::figures::Times;
use super::floor::{self, Reader};
use super::peers::{self, Peer};
use super::probe::Probe;
use crate::interrupt::Interrupt;
use crate::scene::alert;
use crate::shell::say;
use fail2ban::Fail2ban;
pub(super) use load::Load;
use ours::ENFORCERS;
pub(super) use ours::Ours;
use script::Script;

/// Offenders of each of ours, of the script, and of each fail2ban, which takes half a second for one.
const OFFENDERS: u16 = 200;
const OF_SCRIPT: u16 = 100;
const OF_FAIL2BAN: u16 = 20;

/// Offenders of one side until it is the next one's turn.
const TURN: u16 = 10;

/// Something that bans whoever is reported to it.
pub(super) trait Way {
    /// Reports an address, and returns when the clock started.
    fn report(&mut self, link: &Link, offender: &str) -> Result<Instant>;

    /// Waits for what the last report has started.
    fn settle(&mut self, _interrupt: &Interrupt) -> Result<()> {
        Ok(())
    }

    /// Begins to give it other things to read, if it can read.
    fn load(&self) -> Result<Option<Load>> {
        Ok(None)
    }

    /// Ends it, after a look whether all who were reported are banned.
    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Starts a program on the host's side, and says when. The clock does not include entering the namespace, where whoever
/// would start it is already.
pub(super) fn spawn(link: &Link, command: &mut Command) -> Result<(Instant, Child)> {
    let spawned = link.host.run(|| {
        let start = Instant::now();
        command.spawn().map(|child| (start, child))
    });
    Ok(spawned??)
}

/// One of those that are compared, in namespaces of its own.
pub(super) struct Side {
    label: &'static str,
    offenders: u16,
    way: Box<dyn Way>,
    // After what runs in it: fields are dropped in order.
    link: Link,
    next: u16,
    times: Vec<Duration>,
    gaps: Vec<Duration>,
}

impl Side {
    pub(super) fn new(label: &'static str, offenders: u16, link: Link, way: Box<dyn Way>) -> Self {
        Self {
            label,
            offenders,
            way,
            link,
            next: 0,
            times: Vec::new(),
            gaps: Vec::new(),
        }
    }

    /// The next offender; the first one of all is not counted.
    fn ban(&mut self, interrupt: &Interrupt) -> Result<()> {
        interrupt.check()?;
        let offender = offender_v4(self.next);
        let probe = Probe::open(&self.link, offender)?;
        let start = self.way.report(&self.link, &offender.to_string())?;
        let cut = probe
            .until_dropped(interrupt)
            .with_context(|| self.label.to_owned())?;
        ensure!(
            cut.first_dropped > start,
            "{offender} was banned before it was reported"
        );
        self.way.settle(interrupt)?;
        if self.next > 0 {
            self.times.push(cut.first_dropped - start);
            self.gaps.push(cut.first_dropped - cut.last_arrived);
        }
        self.next += 1;
        Ok(())
    }

    /// Its next few offenders, if it has not had all.
    pub(super) fn turn(&mut self, interrupt: &Interrupt) -> Result<()> {
        let end = (self.next.max(1) + TURN).min(self.offenders + 1);
        while self.next < end {
            self.ban(interrupt)?;
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.next > self.offenders
    }
}

/// Measures with nothing else to read, beside our peers, and then us alone under load.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt) -> Result<Value> {
    say(
        "\nlatency: an alert is appended -> a packet of its offender is dropped; in turns, microseconds",
    );
    let floors = floors(interrupt)?;
    let mut sides = ours(daemon, interrupt)?;
    sides.append(&mut peers(interrupt)?);
    while let Some(side) = sides.iter().position(|side| !side.is_done()) {
        for side in &mut sides[side..] {
            side.turn(interrupt)?;
        }
    }
    head("nothing else to read");
    let idle = tell(sides)?;

    let mut sides = ours(daemon, interrupt)?;
    let mut rates = Vec::new();
    while sides.iter().any(|side| !side.is_done()) {
        for side in &mut sides {
            let load = side.way.load()?;
            let turned = side.turn(interrupt);
            rates.extend(load.map(Load::stop).transpose()?);
            turned?;
        }
    }
    let rate = rates.iter().sum::<f64>() / f64::from(u32::try_from(rates.len())?);
    head(&format!("among {rate:.0} other alerts/s"));
    let load = tell(sides)?;
    Ok(json!({
        "floors": floors,
        "idle": idle,
        "load": load,
        "load_alerts_per_second": rate,
    }))
}

fn ours(daemon: &Path, interrupt: &Interrupt) -> Result<Vec<Side>> {
    let side = |&(label, arguments): &(&'static str, &[&str])| {
        let link = Link::new()?;
        let way = Ours::start(daemon, interrupt, &link, arguments)?;
        Ok(Side::new(label, OFFENDERS, link, Box::new(way)))
    };
    ENFORCERS.iter().map(side).collect()
}

fn peers(interrupt: &Interrupt) -> Result<Vec<Side>> {
    let mut sides = Vec::new();
    let found = peers::ensure(&[Peer::Iptables, Peer::Nft, Peer::Fail2ban])?;
    if found.program(Peer::Iptables).is_some() {
        let (link, way) = (Link::new()?, Box::new(Script::new()?));
        let label = "stock script, iptables; without reading";
        sides.push(Side::new(label, OF_SCRIPT, link, way));
    } else {
        say("  stock script: SKIPPED, package iptables is not installed");
    }
    for (label, backend, action) in fail2ban::KINDS {
        if let Some(why) = Fail2ban::is_missing(backend, action) {
            say(format_args!("  {label}: SKIPPED, {why}"));
            continue;
        }
        let link = Link::new()?;
        let way = Fail2ban::start(interrupt, &link, backend, action)?;
        sides.push(Side::new(label, OF_FAIL2BAN, link, Box::new(way)));
    }
    Ok(sides)
}

pub(super) fn head(title: &str) {
    say(format_args!("{title:<46}    n{}  times ours", Times::HEAD));
}

fn row(label: &str, times: &Times, ours: Option<Duration>) {
    let ratio = ours.map_or(String::new(), |ours| {
        let ratio = times.median().as_secs_f64() / ours.as_secs_f64();
        format!("{ratio:>12.1}")
    });
    say(format_args!(
        "  {label:<44}{:>5}{}{ratio}",
        times.count(),
        times.row()
    ));
}

/// Stops all of them, and tells each beside the first one.
pub(super) fn tell(sides: Vec<Side>) -> Result<Value> {
    let mut first = None;
    let mut gaps = Vec::new();
    let mut told = Vec::new();
    for mut side in sides {
        side.way.stop().with_context(|| side.label.to_owned())?;
        let times = Times::new(side.times).context("nothing was measured")?;
        let ours = *first.get_or_insert(times.median());
        row(side.label, &times, Some(ours));
        gaps.append(&mut side.gaps);
        told.push(json!({ "what": side.label, "from_start": times.json() }));
    }
    let gaps = Times::new(gaps).context("nothing was measured")?;
    row("resolution: between two packets", &gaps, None);
    told.push(json!({ "what": "resolution", "from_start": gaps.json() }));
    Ok(json!(told))
}

/// What the machine allows: a follower that does nothing, and the start of a program.
fn floors(interrupt: &Interrupt) -> Result<Value> {
    let link = Link::new()?;
    let directory = tempfile::tempdir().context("cannot make a directory")?;
    let mut reader = Reader::start(&directory.path().join("floor"))?;
    let mut neighbour = Probe::open(&link, offender_v4(0))?;
    let line = alert(super::BANNING_RULE, 10, &offender_v4(1).to_string());
    let (mut reads, mut programs) = (Vec::new(), Vec::new());
    for _ in 0..OFFENDERS {
        interrupt.check()?;
        reads.push(reader.time(&line, &mut neighbour, interrupt)?);
        programs.push(floor::run_true()?);
    }
    let reads = Times::new(reads).context("nothing was measured")?;
    let programs = Times::new(programs).context("nothing was measured")?;
    head("floors");
    row("inotify and a read, nothing more", &reads, None);
    row("starting `true`", &programs, None);
    Ok(json!({ "inotify": reads.json(), "true": programs.json() }))
}
