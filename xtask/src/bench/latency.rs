//! From an alert to its first dropped packet, one offender after the other.
//!
//! The clock starts around the one write that appends the alert. It stops when the first packet that is dropped
//! is sent; the ban took effect after the packet before that one, a few microseconds earlier. Included are
//! the waking of the daemon, reading, deciding, and the write into the kernel's map.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xtask::netns::{INTERFACE, Link, offender_v4};

use super::figures::Times;
use super::floor::{self, Reader};
use super::probe::Probe;
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene, alert};
use crate::shell::say;

const OFFENDERS: u16 = 200;

/// Other alerts, in which nobody is banned, that the daemon reads at the same time.
const LOAD_PER_SECOND: u32 = 10_000;

/// Measures both with nothing else to read and under load.
pub(super) fn measure(daemon: &Path, interrupt: &Interrupt) -> Result<Value> {
    say(format_args!(
        "\nlatency: an alert is appended -> a packet of its offender is dropped; {OFFENDERS} offenders, microseconds"
    ));
    Ok(json!({
        "idle": round(daemon, interrupt, false)?,
        "load": round(daemon, interrupt, true)?,
    }))
}

fn round(daemon: &Path, interrupt: &Interrupt, loaded: bool) -> Result<Value> {
    let link = Link::new()?;
    let mut scene = Scene::new(daemon, super::BANNING)?;
    let mut alerts = Alerts::open(&scene.alerts())?;
    scene.start(interrupt, &link.host, &["--interface", INTERFACE])?;
    let load = loaded.then(|| Load::start(&scene.alerts())).transpose()?;
    let mut reader = Reader::start(&scene.alerts().with_file_name("floor"))?;
    let mut neighbour = Probe::open(&link, offender_v4(0))?;

    let mut series = Series::default();
    for number in 1..=OFFENDERS {
        interrupt.check()?;
        let offender = offender_v4(number);
        let line = alert(super::BANNING_RULE, 10, &offender.to_string());
        series
            .reader
            .push(reader.time(&line, &mut neighbour, interrupt)?);
        series.program.push(floor::run_true()?);

        let probe = Probe::open(&link, offender)?;
        let start = Instant::now();
        alerts.append(&line).context("cannot append an alert")?;
        let written = Instant::now();
        let cut = probe.until_dropped(interrupt)?;
        ensure!(
            cut.first_dropped > start,
            "{offender} was banned before its alert"
        );
        series.from_start.push(cut.first_dropped - start);
        series
            .from_return
            .push(cut.first_dropped.saturating_duration_since(written));
        series.gap.push(cut.first_dropped - cut.last_arrived);
    }
    let banned = scene.bans()?.len();
    ensure!(
        banned == usize::from(OFFENDERS),
        "{banned} of {OFFENDERS} are banned"
    );
    let rate = load.map(Load::stop).transpose()?;
    scene.stop()?;
    series.tell(rate)
}

#[derive(Default)]
struct Series {
    from_return: Vec<Duration>,
    from_start: Vec<Duration>,
    gap: Vec<Duration>,
    reader: Vec<Duration>,
    program: Vec<Duration>,
}

impl Series {
    fn tell(self, rate: Option<f64>) -> Result<Value> {
        let title = match rate {
            None => "nothing else to read".to_owned(),
            Some(rate) => format!("among {rate:.0} other alerts/s"),
        };
        say(format_args!("{title:<46}{}", Times::HEAD));
        let rows = [
            (
                "first drop after the write returned",
                "from_return",
                self.from_return,
            ),
            (
                "first drop after the write began",
                "from_start",
                self.from_start,
            ),
            ("  resolution: between two packets", "resolution", self.gap),
            (
                "floor: inotify and a read, nothing more",
                "floor_inotify",
                self.reader,
            ),
            ("floor: starting `true`", "floor_true", self.program),
        ];
        let mut json = json!({ "other_alerts_per_second": rate });
        for (label, key, times) in rows {
            let times = Times::new(times).context("nothing was measured")?;
            say(format_args!("  {label:<44}{}", times.row()));
            json[key] = times.json();
        }
        Ok(json)
    }
}

/// Appends alerts at a steady rate.
struct Load {
    start: Instant,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Load {
    fn start(path: &Path) -> Result<Self> {
        const PER_WRITE: u32 = 20;
        let mut alerts = Alerts::open(path)?;
        // A level that the configuration does nothing about, and somebody else each time.
        let lines: String = (0..PER_WRITE)
            .map(|n| alert(1002, 2, &format!("203.0.113.{n}")))
            .collect();
        let stop = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let stop = stop.clone();
            move || {
                let mut written = 0;
                let mut due = Instant::now();
                while !stop.load(Ordering::Acquire) {
                    alerts.append(&lines).context("cannot append alerts")?;
                    written += PER_WRITE;
                    due += Duration::from_secs(1) * PER_WRITE / LOAD_PER_SECOND;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                Ok(written)
            }
        });
        Ok(Self {
            start: Instant::now(),
            stop,
            thread,
        })
    }

    /// Ends, and returns how many there were in a second.
    fn stop(self) -> Result<f64> {
        self.stop.store(true, Ordering::Release);
        let took = self.start.elapsed();
        let joined = self.thread.join();
        let written = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(f64::from(written) / took.as_secs_f64())
    }
}
