//! `cargo xtask bench`: how fast the real daemon is on this machine, beside floors of the same run.
//!
//! Nothing here decides whether a test passes. Each measurement says what its clock includes.

mod addresses;
mod burst;
mod data_plane;
mod figures;
mod flood;
mod floor;
mod growth;
mod latency;
mod nftables;
mod parts;
mod peers;
mod probe;
mod replay;
mod restart;
mod sections;
mod store;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::build;
use crate::interrupt::Interrupt;
use crate::scene::Scene;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// What to measure, and where to put it.
#[derive(Args)]
pub(crate) struct Arguments {
    /// What to measure
    #[arg(value_enum, default_value_t)]
    which: Which,
    /// Also writes all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Lets no more bans of a kind stand in growth and nftables, for a quick look
    #[arg(long, value_name = "BANS", value_parser = clap::value_parser!(u32).range(1..))]
    at_most: Option<u32>,
    #[command(flatten, next_help_heading = "Options of flood")]
    flood: flood::Options,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Everything below
    #[default]
    All,
    /// From an alert to the first packet that is dropped, beside fail2ban and the stock script
    Latency,
    /// A thousand and ten thousand offenders in one write
    Burst,
    /// A big file of alerts, without the kernel
    Replay,
    /// Reading, parsing and matching apart on one CPU, and alerts a second with one to a thousand sections
    Sections,
    /// One packet through the kernel program, and through xdp-filter
    DataPlane,
    /// Packets a second, CPU time a packet and an honest client under a flood, beside nftables, ipset, iptables, xdp-filter
    Flood,
    /// What it costs that bans are durable
    Store,
    /// Until the daemon is ready with many bans, after a kill and after a reboot
    Restart,
    /// One new ban, alerts a second and memory, with a thousand to a million bans; memory with IPv6 bans and networks
    Growth,
    /// The nftables enforcer with no ban and with 100,000: a thousand in one write, and one, beside the program nft
    Nftables,
}

/// Each part, and its name in the figures.
const PARTS: [(Which, &str); 10] = [
    (Which::Latency, "latency"),
    (Which::Burst, "burst"),
    (Which::Replay, "replay"),
    (Which::Sections, "sections"),
    (Which::DataPlane, "data_plane"),
    (Which::Flood, "flood"),
    (Which::Store, "store"),
    (Which::Restart, "restart"),
    (Which::Growth, "growth"),
    (Which::Nftables, "nftables"),
];

impl Which {
    fn includes(self, one: Self) -> bool {
        self == Self::All || self == one
    }
}

/// The rule that [`BANNING`] bans for.
const BANNING_RULE: u32 = 5763;

/// Bans for one rule, a level, and a group.
const BANNING: &str = "\
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>5763,5712,5551</rules_id>
    <timeout>86400</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <level>12</level>
    <rules_group>sql_injection,|recon,</rules_group>
    <timeout>86400</timeout>
  </active-response>
</ossec_config>
";

/// The same kinds of criteria, none of which an alert of the sample data has.
const SILENT: &str = "\
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>999001,999002,999003</rules_id>
    <timeout>86400</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <level>16</level>
    <rules_group>never_seen,|nor_this,</rules_group>
    <timeout>86400</timeout>
  </active-response>
</ossec_config>
";

/// Builds what is missing, and measures.
pub(crate) fn command(ws: &Workspace, arguments: &Arguments) -> Result<()> {
    ensure!(
        shell::is_root(),
        "measuring makes network namespaces and loads a program into the kernel: run it as root"
    );
    let daemon = match env::var_os("ARFW_BIN") {
        Some(other) => other.into(),
        None => build::command(ws, true)?,
    };
    let interrupt = Interrupt::listen()?;
    let which = arguments.which;
    let parts: Vec<(Which, &str)> = PARTS
        .into_iter()
        .filter(|&(part, _)| which.includes(part))
        .collect();
    if which == Which::All {
        say(
            "\nall parts take about 25 minutes on a quiet machine with two CPUs, a third of it the data plane",
        );
    }
    let mut figures = Map::new();
    figures.insert("machine".to_owned(), machine()?);
    let measure = |part| one(ws, arguments, &daemon, &interrupt, part);
    let save = |figures: &Value| match &arguments.json {
        Some(path) => write(path, figures),
        None => Ok(()),
    };
    parts::run(&parts, figures, || interrupt.check(), measure, save)
}

/// Measures one part.
fn one(
    ws: &Workspace,
    arguments: &Arguments,
    daemon: &Path,
    interrupt: &Interrupt,
    part: Which,
) -> parts::Found {
    let at_most = arguments.at_most.unwrap_or(u32::MAX);
    let alerts = |name| sample(ws, arguments.which, name);
    let figures = match part {
        Which::All => return Ok(None),
        Which::Latency => latency::measure(daemon, interrupt)?,
        Which::Burst => burst::measure(daemon, interrupt)?,
        Which::Replay => {
            let Some(alerts) = alerts("replay")? else {
                return Ok(None);
            };
            replay::measure(daemon, interrupt, &replay::Material::read(&alerts)?)?
        }
        Which::Sections => {
            let Some(alerts) = alerts("sections")? else {
                return Ok(None);
            };
            sections::measure(ws, daemon, interrupt, &alerts)?
        }
        Which::DataPlane => data_plane::measure(ws)?,
        Which::Flood => flood::measure(ws, daemon, interrupt, &arguments.flood)?,
        Which::Store => store::measure(daemon, interrupt)?,
        Which::Restart => restart::measure(daemon, interrupt)?,
        Which::Growth => growth::measure(daemon, interrupt, at_most)?,
        Which::Nftables => nftables::measure(daemon, interrupt, at_most)?,
    };
    Ok(Some(figures))
}

/// Waits until that many addresses of a family, `v4` or `v6`, are banned, and says how long that took.
fn until_banned(
    scene: &Scene,
    interrupt: &Interrupt,
    start: Instant,
    family: &str,
    count: u32,
) -> Result<Duration> {
    // Each question starts a program, on the CPUs that the daemon works on: one for each fiftieth of the time taken.
    const ASK_EVERY: Duration = Duration::from_millis(10);
    const SHARE: u32 = 50;
    // Alerts were made after `start`, which of a million takes a minute here.
    let waiting = Instant::now();
    const PATIENCE: Duration = Duration::from_secs(120);
    loop {
        let status = scene.status()?;
        let banned = status["active"][family].as_u64();
        let banned = banned.context("`arfw status` does not tell how many are banned")?;
        let taken = start.elapsed();
        if banned == u64::from(count) {
            return Ok(taken);
        }
        ensure!(
            waiting.elapsed() < PATIENCE,
            "only {banned} of {count} are banned after {PATIENCE:?}"
        );
        interrupt.pause(ASK_EVERY.max(taken / SHARE))?;
    }
}

/// What the figures depend on, told with them. Another's work counts: the load is that of the last minute.
fn machine() -> Result<Value> {
    let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    let kernel = read("/proc/sys/kernel/osrelease")?;
    let load = read("/proc/loadavg")?;
    let load = load.split_whitespace().next().unwrap_or("?");
    let cpus = thread::available_parallelism().context("cannot count the CPUs")?;
    say(format_args!(
        "\nLinux {}, {cpus} CPUs, load {load}",
        kernel.trim()
    ));
    Ok(json!({ "kernel": kernel.trim(), "cpus": cpus, "load": load }))
}

/// The directory of real alerts: ARFW_SHARED, else `shared` beside the workspace.
fn shared(ws: &Workspace) -> PathBuf {
    env::var_os("ARFW_SHARED").map_or_else(|| ws.root.join("../shared"), PathBuf::from)
}

/// The real alerts. Without them a part is skipped among others, and fails alone.
fn sample(ws: &Workspace, which: Which, part: &str) -> Result<Option<PathBuf>> {
    let alerts = shared(ws).join("data/ossec-alerts.json");
    if alerts.exists() {
        return Ok(Some(alerts));
    }
    let absent = format!(
        "there is no {}; ARFW_SHARED says where the shared data is",
        alerts.display()
    );
    ensure!(which == Which::All, absent);
    say(format_args!("\n{part}: SKIPPED, {absent}"));
    Ok(None)
}

fn write(path: &Path, figures: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(figures)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
