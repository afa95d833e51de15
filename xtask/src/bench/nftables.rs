//! The fallback at size: the nftables enforcer with no ban and with many, beside the program `nft` that adds one element.
//!
//! Bursts and clocks are those of `burst` and `latency`. The peer's set is of its own and has no intervals; beside it
//! stands, or does not, an interval set of another table in the same namespace, as a blocklist of the host is.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::Link;

use super::burst::{self, Batch};
use super::latency::{self, Ours, Side, Way};
use super::peers::{self, Peer};
use crate::interrupt::Interrupt;
use crate::shell::{self, say};

const ENFORCER: &[&str] = &["--enforcer", "nftables"];

/// Bans that stand, or intervals of the host's other set.
const STANDING: u32 = 100_000;

const BURST: u16 = 1_000;

/// Offenders that are awaited one by one.
const OFFENDERS: u16 = 50;

/// Measures bursts, then one ban after the other in turns with the peer.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt, at_most: u32) -> Result<Value> {
    let standing = STANDING.min(at_most);
    say(format_args!(
        "\nnftables: new offenders in one write -> the last one is dropped; {} rounds, milliseconds (target: below 50)",
        burst::ROUNDS
    ));
    burst::head();
    let mut bursts = Vec::new();
    for standing in [0, standing] {
        let batch = Batch {
            arguments: ENFORCER,
            standing,
            size: BURST,
        };
        bursts.push(burst::rounds(daemon, interrupt, &batch)?);
    }
    let mut sides = Vec::new();
    for (label, standing) in [
        ("arfw, many bans there", standing),
        ("arfw, no ban there", 0),
    ] {
        let link = Link::new()?;
        let mut ours = Ours::start(daemon, interrupt, &link, ENFORCER)?;
        ours.fill(interrupt, standing)?;
        sides.push(Side::new(label, OFFENDERS, link, Box::new(ours)));
    }
    let found = peers::ensure(&[Peer::Nft])?;
    match found.program(Peer::Nft) {
        Some(nft) => {
            for (label, intervals) in [
                ("nft add element", 0),
                ("nft add element, an interval set there", standing),
            ] {
                let link = Link::new()?;
                let way = Element::prepare(nft, &link, intervals)?;
                sides.push(Side::new(label, OFFENDERS, link, Box::new(way)));
            }
        }
        None => say("  nft: SKIPPED, package nftables is not installed"),
    }
    while let Some(side) = sides.iter().position(|side| !side.is_done()) {
        for side in &mut sides[side..] {
            side.turn(interrupt)?;
        }
    }
    latency::head(&format!("one ban, us (target 5000); many: {standing}"));
    let singles = latency::tell(sides)?;
    Ok(json!({ "standing": standing, "bursts": bursts, "one_ban": singles }))
}

/// Starts `nft` for each address.
struct Element {
    nft: PathBuf,
    running: Option<Child>,
}

impl Element {
    /// Makes its set and its rule, and the host's other set when that has intervals.
    fn prepare(nft: &Path, link: &Link, intervals: u32) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a directory")?;
        let path = directory.path().join("rules");
        std::fs::write(&path, rules(intervals)).context("cannot write the rules")?;
        let loaded = link.host.run(|| {
            let mut command = Command::new(nft);
            shell::look_up(command.arg("-f").arg(&path)).map(drop)
        });
        loaded.context("cannot enter a namespace")??;
        Ok(Self {
            nft: nft.to_owned(),
            running: None,
        })
    }
}

impl Way for Element {
    fn report(&mut self, link: &Link, offender: &str) -> Result<Instant> {
        let mut command = Command::new(&self.nft);
        command.args(["add", "element", "inet", "peer", "bans"]);
        command.arg(format!("{{ {offender} }}"));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let (start, child) = latency::spawn(link, &mut command).context("cannot start `nft`")?;
        self.running = Some(child);
        Ok(start)
    }

    fn settle(&mut self, interrupt: &Interrupt) -> Result<()> {
        let Some(mut child) = self.running.take() else {
            return Ok(());
        };
        let status = interrupt.wait("the end of `nft`", || Ok(child.try_wait()?))?;
        ensure!(status.success(), "`nft` ended with {status}");
        Ok(())
    }
}

impl Drop for Element {
    fn drop(&mut self) {
        // Only after an error.
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn rules(intervals: u32) -> String {
    let mut text = "table inet peer {\nset bans { type ipv4_addr; }\nchain prerouting { type filter hook prerouting priority -450; ip saddr @bans drop; }\n}\n".to_owned();
    if intervals > 0 {
        // Every other /24, so that no two are one interval.
        let networks = (0..intervals).map(|number| {
            let first = std::net::Ipv4Addr::from_bits((20 << 24) + (number << 9));
            format!("{first}/24")
        });
        let networks: Vec<String> = networks.collect();
        text.push_str(
            "table inet host {\nset blocked { type ipv4_addr; flags interval; elements = { ",
        );
        text.push_str(&networks.join(", "));
        text.push_str(" } }\n}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_apart_and_as_many_as_asked_for() {
        assert!(!rules(0).contains("blocked"));
        let text = rules(3);
        assert!(
            text.contains("{ 20.0.0.0/24, 20.0.2.0/24, 20.0.4.0/24 }"),
            "{text}"
        );
    }
}
