//! What one packet costs, in nanoseconds over a program that does nothing: the `data-plane` program of the `tests`
//! package, beside xdp-filter, which is installed when it is missing. How it measures is said there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};
use serde_json::{Value, json};

use super::peers::{self, Peer};
use crate::build;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// xdp-filter's program for addresses, as Debian's package `xdp-tools` has it, below the directories of libraries.
const XDP_FILTER: &str = "bpf/xdpfilt_alw_ip.o";

const BPF_FS: &str = "/sys/fs/bpf";

/// `f_type` of a BPF file system (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Measures everything; takes some minutes.
pub(super) fn measure(ws: &Workspace) -> Result<Value> {
    let object = build::bench_object(ws)?;
    let available = peers::ensure(&[Peer::XdpFilter])?;
    say(
        "\ndata plane: nanoseconds a packet over a bare program, best of 5 rounds in turns, many random addresses",
    );
    let filter = available
        .program(Peer::XdpFilter)
        .and_then(|_| xdp_filter());
    if filter.is_none() {
        say("  xdp-filter: not installed");
    }
    let mut cargo = ws.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "tests"]);
    let pins = Pins::new()?;
    cargo.args(["--bin", "data-plane", "--"]);
    cargo.arg(&pins.0).arg(object).args(filter);
    let text = shell::look_up(&mut cargo)?;
    let figures: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let figures = figures.context("cannot read what `data-plane` says")?;
    table(&figures);
    designs(&figures);
    Ok(json!(figures))
}

/// A directory of pins, which is removed however the measuring ends.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Result<Self> {
        mount_bpf_fs()?;
        let path = PathBuf::from(format!("{BPF_FS}/arfw-xtask-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say(format_args!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

/// Mounts the BPF file system where it is not mounted, as the daemon does.
fn mount_bpf_fs() -> Result<()> {
    let kind = statfs(BPF_FS)
        .with_context(|| format!("cannot look at {BPF_FS}"))?
        .f_type;
    if u64::try_from(kind).is_ok_and(|magic| magic == BPF_FS_MAGIC) {
        return Ok(());
    }
    say(format_args!("mounting the BPF file system on {BPF_FS}"));
    mount("bpf", BPF_FS, "bpf", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {BPF_FS}"))
}

fn xdp_filter() -> Option<String> {
    let directories = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
    ];
    let mut paths = directories
        .map(|directory| format!("{directory}/{XDP_FILTER}"))
        .into_iter();
    paths.find(|path| Path::new(path).exists())
}

/// The best round: everything else is somebody else's work on the machine.
fn best(figure: &Value) -> Option<f64> {
    let rounds = figure["ns"].as_array()?.iter();
    rounds.filter_map(Value::as_f64).reduce(f64::min)
}

/// What was measured together.
fn key(figure: &Value) -> (Option<u64>, Option<u64>, Option<u64>) {
    (
        figure["family"].as_u64(),
        figure["bans"].as_u64(),
        figure["prefixes"].as_u64(),
    )
}

/// A hit in the designs that were weighed, beside ours, as shares of xdp-filter's; nothing without it.
fn designs(figures: &[Value]) {
    const NAMES: [&str; 4] = ["arfw", "hash small", "bucket details", "bucket"];
    say("  a hit as a share of xdp-filter's (docs/decisions/0003):");
    say("  family      bans   arfw   hash small   bucket and details   bucket");
    for case in figures.chunk_by(|one, other| key(one) == key(other)) {
        let of = |program: &str| {
            case.iter()
                .find(|figure| figure["program"] == program && figure["hit"] == true)
                .and_then(best)
        };
        let (Some(bare), Some(filter)) = (of("bare drop"), of("xdp-filter")) else {
            continue;
        };
        let share = |name| of(name).map_or(f64::NAN, |ns| (ns - bare) / (filter - bare));
        let [ours, small, details, bucket] = NAMES.map(share);
        let (family, bans, _) = key(&case[0]);
        say(format_args!(
            "    IPv{} {:>9} {ours:>6.2} {small:>12.2} {details:>20.2} {bucket:>8.2}",
            family.unwrap_or_default(),
            bans.unwrap_or_default(),
        ));
    }
}

fn table(figures: &[Value]) {
    say(
        "  family      bans  prefixes   miss: bare   arfw   xdp-filter   hit: bare   arfw   xdp-filter",
    );
    for case in figures.chunk_by(|one, other| key(one) == key(other)) {
        let of = |program: &str, hit: bool| {
            case.iter()
                .find(|figure| figure["program"] == program && figure["hit"] == hit)
                .and_then(best)
        };
        let (pass, drop) = (of("bare pass", false), of("bare drop", true));
        let over = |program: &str, hit: bool| {
            let floor = if hit { drop } else { pass };
            match (of(program, hit), floor) {
                (Some(ns), Some(floor)) => format!("{:+.0}", ns - floor),
                _ => "-".to_owned(),
            }
        };
        let (family, bans, prefixes) = key(&case[0]);
        say(format_args!(
            "    IPv{} {:>9} {:>9} {:>12.0} {:>6} {:>12} {:>11.0} {:>6} {:>12}",
            family.unwrap_or_default(),
            bans.unwrap_or_default(),
            prefixes.unwrap_or_default(),
            pass.unwrap_or(f64::NAN),
            over("arfw", false),
            over("xdp-filter", false),
            drop.unwrap_or(f64::NAN),
            over("arfw", true),
            over("xdp-filter", true),
        ));
    }
}
