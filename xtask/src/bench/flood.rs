//! A flood from banned addresses: what a packet of it costs the host, how many a second it takes, and what an honest
//! client gets meanwhile, for us and for our peers in turns.
//!
//! Each candidate has a link of its own, whose host's end takes packets as a network card does (NAPI, GRO). In the first
//! measurement one CPU sends as fast as it can and receives as well: softirqs run in the sender's context, so that its
//! time on the CPU is that of everything, and what is over that of sending where nothing receives is what receiving
//! and dropping cost. Packets come in two ways: as a card's driver has them, and from a socket of another namespace,
//! whose buffers XDP has to copy first. In the second measurement a thread on another CPU receives, beside a server, as when a
//! card's queue is served there: an honest client asks that server, and its packets share the queue with the flood.

mod candidate;
mod card;
mod check;
mod filter;
mod frame;
mod helper;
mod honest;
mod lane;
mod sender;
mod sink;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};

use super::peers::{self, Peer};
use crate::build;
use crate::interrupt::Interrupt;
use crate::shell::{self, say};
use crate::workspace::Workspace;
use candidate::{BANS, Candidate, Means};
use lane::{Flood, How, Lane};
use sender::Limit;
use sink::Sink;
use table::{Compared, Cost};

/// How much is measured.
#[derive(Args)]
pub(super) struct Options {
    /// How often it is each one's turn
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// Packets of one turn, unless a second is over before
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    packets: u64,
    /// Measures these alone, beside no filter; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Candidate>,
}

impl Options {
    fn includes(&self, one: Candidate) -> bool {
        // What a flood does without a filter is what the others are held against.
        one == Candidate::Nothing || self.only.is_empty() || self.only.contains(&one)
    }
}

/// Heads of the tables.
const FROM_CARD: &str = "frames, as from a card";
const FROM_SOCKET: &str = "from a socket of this machine";

/// How long an honest client asks in one turn.
const ASKING: Duration = Duration::from_millis(500);

/// Checks all candidates, and measures them.
pub(super) fn measure(
    ws: &Workspace,
    daemon: &Path,
    interrupt: &Interrupt,
    options: &Options,
) -> Result<Value> {
    use clap::ValueEnum;
    let object = build::bench_object(ws)?;
    let [bare_drop, live_flood] = programs(ws)?;
    let candidates = Candidate::value_variants().iter().copied();
    let mut candidates: Vec<_> = candidates.filter(|&one| options.includes(one)).collect();
    let mut peers = vec![Peer::Ethtool];
    peers.extend(candidates.iter().flat_map(|one| one.peers()));
    let available = peers::ensure(&peers)?;
    ensure!(
        available.program(Peer::Ethtool).is_some(),
        "there is no `ethtool`, by which a link is made like a card: install the package ethtool"
    );
    let (near, far) = sender::cpus()?;
    say(format_args!(
        "\nflood: {} bytes a packet, from up to {BANS} banned addresses at random, {} rounds in turns",
        frame::LENGTH,
        options.rounds
    ));
    candidates.retain(|one| match one.is_missing(&available) {
        Some(why) => {
            say(format_args!("  {}: SKIPPED, {why}", one.label()));
            false
        }
        None => true,
    });
    let means = Means {
        daemon,
        bare_drop: &bare_drop,
        live_flood: &live_flood,
        object: &object,
    };
    let open = |&one: &Candidate| {
        interrupt.check()?;
        Lane::open(one, &means, interrupt, near)
    };
    let mut lanes = candidates.iter().map(open).collect::<Result<Vec<_>>>()?;
    let first = lanes.first().context("nothing is to be measured")?;
    let mut sink = first.sink(&means, interrupt, near)?;

    let mut of = |how| costs(&mut lanes, &mut sink, interrupt, how, options, near);
    let from_card = of(How::Card)?;
    let from_socket = of(How::Socket)?;
    say(format_args!("{}", table::costs(FROM_CARD, &from_card)));
    say(format_args!("{}", table::costs(FROM_SOCKET, &from_socket)));
    let mut compared = Vec::new();
    if near == far {
        say("  an honest client: SKIPPED, there is one CPU, and nothing else could send");
    } else {
        for lane in &mut lanes {
            lane.receive_on(far)?;
        }
        compared = compete(&lanes, &sink, interrupt, options, (near, far))?;
        say(format_args!("{}", table::compared(&compared)));
    }
    for lane in lanes {
        lane.close(interrupt)?;
    }
    Ok(json!({
        "packet_bytes": frame::LENGTH,
        "rounds": options.rounds,
        "packets": options.packets,
        "from_card": table::costs_json(&from_card),
        "from_socket": table::costs_json(&from_socket),
        "honest": table::compared_json(&compared),
    }))
}

/// Each lane in turn, `rounds` times, after sending alone.
fn costs(
    lanes: &mut [Lane],
    sink: &mut Sink,
    interrupt: &Interrupt,
    how: How,
    options: &Options,
    cpu: usize,
) -> Result<Vec<Cost>> {
    let limit = Limit {
        packets: options.packets,
        time: Duration::from_secs(1),
    };
    let mut costs = vec![Cost::new("sending alone", 0)];
    costs.extend(lanes.iter().map(|lane| {
        let candidate = lane.candidate;
        Cost::new(candidate.label(), candidate.bans())
    }));
    for _ in 0..options.rounds {
        costs[0].add(sink.flood(interrupt, how, limit, cpu)?, 0);
        for (lane, cost) in lanes.iter_mut().zip(&mut costs[1..]) {
            interrupt.check()?;
            let (sent, lost) = lane.flood(interrupt, how, limit, cpu)?;
            cost.add(sent, lost);
        }
    }
    Ok(costs)
}

/// An honest client in each lane in turn, after one with no flood, and one with a flood that goes elsewhere.
fn compete(
    lanes: &[Lane],
    sink: &Sink,
    interrupt: &Interrupt,
    options: &Options,
    cpus: (usize, usize),
) -> Result<Vec<Compared>> {
    let mut compared = vec![
        Compared::new("no flood"),
        Compared::new("a flood elsewhere"),
    ];
    // Nobody is honest enough for what drops everything.
    let lanes = || {
        let lanes = lanes.iter();
        lanes.filter(|lane| lane.candidate.lets_others_pass())
    };
    compared.extend(lanes().map(|lane| Compared::new(lane.candidate.label())));
    for _ in 0..options.rounds {
        let first = lanes().next().context("nothing is to be measured")?;
        compared[0].add(first.compete(Flood::None, ASKING, cpus)?);
        compared[1].add(first.compete(Flood::Elsewhere(sink), ASKING, cpus)?);
        for (lane, compared) in lanes().zip(&mut compared[2..]) {
            interrupt.check()?;
            compared.add(lane.compete(Flood::Here, ASKING, cpus)?);
        }
    }
    Ok(compared)
}

/// Builds the programs that drop everything, and that send as a card does.
fn programs(ws: &Workspace) -> Result<[PathBuf; 2]> {
    const NAMES: [&str; 2] = ["bare-drop", "live-flood"];
    let mut cargo = ws.cargo();
    cargo.args(["build", "--quiet", "--release", "--package", "tests"]);
    for name in NAMES {
        cargo.args(["--bin", name]);
    }
    shell::run(&mut cargo)?;
    Ok(NAMES.map(|name| ws.target.join("release").join(name)))
}
