//! `arfw replay`: past alerts through one configuration or two, in virtual time. Touches nothing.
//!
//! The file is streamed: what is kept grows with the offenders, not with the alerts.

pub(super) mod against;
pub(super) mod report;
mod tally;
#[cfg(test)]
mod tests;
pub(super) mod timeline;
mod times;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::tz::TimeZone;

use self::tally::{Input, Tally};
use self::timeline::Timeline;
use self::times::Times;
use super::{Exit, OSSEC_CONF, check, output};
use crate::alert::Alert;
use crate::config::Config;
use crate::enforcer::xdp;
use crate::ledger::Limits;
use crate::policy::Guard;
use crate::policy::route::Host;
use crate::simulation::{Happening, Scene, Simulation};
use crate::source::Lines;
use crate::surroundings;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// Files shorter than this are over before a progress bar could be read.
const LONG: u64 = 64 << 20;

/// What is replayed, and by which configurations.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// File of alerts, one JSON object a line; `-` for standard input
    alerts: PathBuf,
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = OSSEC_CONF)]
    config: PathBuf,
    /// Tell every ban, move and unban with its time
    #[arg(long)]
    timeline: bool,
    /// Another configuration: tell who would be banned by one and not by the other
    #[arg(long, value_name = "OTHER", conflicts_with = "timeline")]
    against: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let mut runs = Vec::new();
    for path in std::iter::once(&arguments.config).chain(&arguments.against) {
        let Some(config) = check::load(path)? else {
            return Ok(Exit::WrongConfiguration);
        };
        let guard = surroundings::guard(&surroundings::Settings::of(&config))?;
        runs.push(Run::new(path.display().to_string(), config, guard));
    }
    let (reader, length) = open(&arguments.alerts)?;
    let shares_terminal = arguments.timeline && io::stdout().is_terminal();
    let progress = progress(length.filter(|_| !shares_terminal));
    let mut out = output::stream();
    let ended = replay(
        progress.wrap_read(reader),
        runs,
        Times::in_zone(TimeZone::system()),
        arguments.timeline,
        json,
        &mut out,
    );
    progress.finish_and_clear();
    output::streamed(ended.map(|()| Exit::Done), Exit::Done)
}

/// One configuration, the host that it is tried on, and what came of it.
struct Run {
    name: String,
    simulation: Simulation,
    tally: Tally,
}

impl Run {
    fn new(name: String, config: Config, guard: Guard) -> Self {
        let room = xdp::DEFAULT_MAX_BANS as usize;
        Self {
            name,
            simulation: Simulation::new(Scene {
                config,
                agent_config: None,
                host: Host::Server,
                guard,
                limits: Limits {
                    bans_v4: room,
                    bans_v6: room,
                    ..Limits::default()
                },
            }),
            tally: Tally::default(),
        }
    }
}

/// Everything after the command line: alerts and configurations in, the answer out.
fn replay(
    mut reader: impl Read,
    mut runs: Vec<Run>,
    mut times: Times,
    timeline: bool,
    json: bool,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut input = Input::default();
    let mut timeline = Timeline::begin(timeline, json, &runs[0], out)?;
    let (mut lines, mut end) = (Lines::default(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match reader.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.context("cannot read the alerts")?,
        };
        end += read as u64;
        let cut = match read {
            0 => lines.finish(),
            read => lines.push(&chunk[..read]),
        };
        input.skipped(cut.skipped_long);
        for line in cut.lines() {
            one_line(
                line,
                &mut input,
                &mut times,
                &mut runs,
                |happening, times| {
                    timeline.hear(happening, times);
                },
            );
        }
        timeline.write_to(out)?;
        if read == 0 {
            break;
        }
    }
    for run in &mut runs {
        let tally = &mut run.tally;
        run.simulation.finish(&mut |happening| {
            tally.hear(&happening);
            timeline.hear(&happening, &times);
            // What is left at the end is told at once: at most one line for each offender.
        });
    }
    timeline.write_to(out)?;
    input.bytes = end;
    report::write(&input, &times, &runs, timeline.is_told(), json, out)?;
    out.flush()?;
    Ok(())
}

fn one_line(
    line: &[u8],
    input: &mut Input,
    times: &mut Times,
    runs: &mut [Run],
    mut tell: impl FnMut(&Happening<'_>, &Times),
) {
    input.lines += 1;
    let mut mended = String::new();
    let alert = match Alert::parse_lossy(line, &mut mended) {
        Ok(alert) => alert,
        Err(malformed) => {
            *input.malformed.entry(malformed.word()).or_default() += 1;
            return;
        }
    };
    input.alerts += 1;
    let at = times.of(&alert.context);
    for Run {
        simulation, tally, ..
    } in runs
    {
        simulation.judge(&alert, at, &mut |happening| {
            tally.hear(&happening);
            tell(&happening, times);
        });
    }
}

/// The alerts, and how many bytes there are when that is known.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let open = || -> io::Result<_> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        Ok((file, metadata.is_file().then_some(metadata.len())))
    };
    let (file, length) =
        open().with_context(|| format!("cannot read the alerts `{}`", path.display()))?;
    Ok((Box::new(file), length))
}

/// A bar on standard error when it is a terminal and there is time to see it.
fn progress(length: Option<u64>) -> ProgressBar {
    match length {
        Some(length) if length >= LONG && io::stderr().is_terminal() => {
            let template = "{bar:30} {percent:>3} %  {binary_bytes_per_sec}  {eta} left";
            let bar = ProgressBar::new(length);
            match ProgressStyle::with_template(template) {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        }
        _ => ProgressBar::hidden(),
    }
}
