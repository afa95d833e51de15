//! What a crash may not change: every alert is one offence, and every ban has its end, whenever the daemon died.
//!
//! Few faults are enough for every run of the tests; `cargo xtask faults` tries many.

mod alone;
mod full;
mod hotplug;
mod interfaces;
mod migration;
mod pins_gone;
mod stream;
mod takeover;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::fault::{self, Tally};
use xtask::netns::{Link, offender_v4, offender_v6};

/// Long enough that nothing ends during the test, and each rung is told from the others.
const CONF: &str = "
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <repeated_offenders>100,200,300,400,500</repeated_offenders>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <level>10</level>
    <timeout>3000</timeout>
  </active-response>
</ossec_config>
";

const OFFENDERS: u16 = 40;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Numbers that look random and are the same in every run with one seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        // The constants of Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What has to come out: offences by address, and how long the last one's ban is.
#[derive(Default)]
struct Model(BTreeMap<String, u32>);

impl Model {
    fn length_s(offences: u32) -> f64 {
        match offences {
            1 => 3000.0,
            n => f64::from((n - 1).min(5)) * 6000.0,
        }
    }
}

/// How the alert file makes way for a new one.
#[derive(Clone, Copy)]
enum Rotation {
    Rename,
    CopyAndTruncate,
    /// As Wazuh does it: a file per day, of which the alert file is a hard link.
    DayFiles,
}

/// AR-IMP-1, AR-IMP-2
#[test]
fn killing_the_daemon_at_any_point_loses_and_doubles_nothing() {
    killed("killed among alerts and renamed files", Rotation::Rename, 1).unwrap();
}

/// AR-IMP-1, AR-IMP-2
#[test]
fn kills_among_copies_and_truncations_lose_and_double_nothing() {
    killed(
        "killed among copies and truncations",
        Rotation::CopyAndTruncate,
        2,
    )
    .unwrap();
}

/// AR-IMP-1, AR-IMP-2
#[test]
fn kills_among_day_files_lose_and_double_nothing() {
    killed("killed among day files", Rotation::DayFiles, 3).unwrap();
}

fn killed(fault: &'static str, rotation: Rotation, seed: u64) -> Result<()> {
    let mut tally = Tally::of(fault);
    let link = Link::new()?;
    let home = Home::new(CONF)?;
    let mut writer = Writer::new(&home, rotation, seed);
    if let Rotation::DayFiles = rotation {
        writer.rotate()?;
    }
    let mut daemon = home.start(&link, &[])?;
    // A copy is known by what was read of the file: before anything was, there is nothing to know it by.
    writer.write()?;
    writer.finish()?;
    writer.is_done(&mut tally)?;
    for _ in 0..fault::times(12, 500) {
        let until = Instant::now() + Duration::from_millis(writer.dice.roll(40));
        while Instant::now() < until {
            writer.write()?;
        }
        writer.perhaps_rotate()?;
        daemon.crash()?;
        tally.tried();
        for _ in 0..writer.dice.roll(3) {
            writer.write()?;
            writer.perhaps_rotate()?;
        }
        writer.write()?;
        daemon = home.start(&link, &[])?;
    }
    writer.write()?;
    writer.finish()?;
    writer.is_done(&mut tally)?;
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    tally.end()
}

/// Writes alerts and keeps the model; the last line may be unfinished at any time.
struct Writer<'a> {
    home: &'a Home,
    rotation: Rotation,
    dice: Dice,
    model: Model,
    written: u32,
    rotated: usize,
    rest: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(home: &'a Home, rotation: Rotation, seed: u64) -> Self {
        Self {
            home,
            rotation,
            dice: Dice(seed),
            model: Model::default(),
            written: 0,
            rotated: 0,
            rest: Vec::new(),
        }
    }

    /// Appends a few alerts after what was begun, up to some place within the last ones.
    fn write(&mut self) -> Result<()> {
        let mut text = std::mem::take(&mut self.rest);
        for _ in 0..=self.dice.roll(8) {
            let number = u16::try_from(self.dice.roll(u64::from(OFFENDERS)))?;
            let address = if number % 2 == 0 {
                offender_v4(number).to_string()
            } else {
                offender_v6(number).to_string()
            };
            // The position alone has to be right: identifiers help only where a file is read again.
            let alert = match self.dice.roll(2) {
                0 => alert::wazuh(5763, 10, &["sshd"], &address),
                _ => alert::without_id(5763, 10, &["sshd"], &address),
            };
            text.extend(alert.bytes());
            if self.dice.roll(8) == 0 {
                text.extend(b"\0 no alert \xff\n");
            }
            *self.model.0.entry(address).or_default() += 1;
            self.written += 1;
        }
        let cut = usize::try_from(self.dice.roll(text.len() as u64))?;
        self.rest = text.split_off(cut);
        self.home.append_bytes(&text)
    }

    /// Ends what was begun.
    fn finish(&mut self) -> Result<()> {
        self.home.append_bytes(&std::mem::take(&mut self.rest))
    }

    fn perhaps_rotate(&mut self) -> Result<()> {
        match self.dice.roll(3) {
            0 => self.rotate(),
            _ => Ok(()),
        }
    }

    fn rotate(&mut self) -> Result<()> {
        self.finish()?;
        let alerts = self.home.alerts();
        let number = self.rotated;
        self.rotated += 1;
        let old = alerts.with_extension(format!("json.{number}"));
        match self.rotation {
            Rotation::Rename => {
                fs::rename(&alerts, old)?;
                fs::write(alerts, "")?;
            }
            Rotation::CopyAndTruncate => {
                fs::copy(&alerts, old)?;
                File::create(alerts)?;
            }
            Rotation::DayFiles => {
                let (year, month, day) = (number / 336, number / 28 % 12, number % 28);
                let month = format!("{}/{}", 2026 + year, MONTHS[month]);
                let month = self.home.dir().join(month);
                fs::create_dir_all(&month)?;
                let today = month.join(format!("ossec-alerts-{:02}.json", day + 1));
                File::create_new(&today)?;
                fs::remove_file(&alerts)?;
                fs::hard_link(today, alerts)?;
            }
        }
        Ok(())
    }

    /// Waits until the daemon and its maps are as the model is.
    fn is_done(&self, tally: &mut Tally) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let found = loop {
            let found = differences(self.home, &self.model)?;
            if found.is_empty() || Instant::now() > end {
                break found;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        };
        let is_done = found.is_empty();
        for difference in found {
            match difference {
                Difference::Lost(count, what) => tally.lost(count, what),
                Difference::Doubled(count, what) => tally.doubled(count, what),
                Difference::Wrong(what) => tally.wrong(1, what),
            }
        }
        ensure!(
            is_done,
            "after {} alerts and {} rotations: {tally:?}",
            self.written,
            self.rotated,
        );
        Ok(())
    }
}

/// Where the daemon and its maps are not as the model is.
enum Difference {
    /// So many offences do not count.
    Lost(u64, String),
    /// So many offences count that were none.
    Doubled(u64, String),
    Wrong(String),
}

fn differences(home: &Home, model: &Model) -> Result<Vec<Difference>> {
    let bans = home.bans()?;
    let mut found = Vec::new();
    for (address, &offences) in &model.0 {
        let Some(ban) = bans.iter().find(|ban| ban.address == *address) else {
            let what = format!("{address} is not banned");
            found.push(Difference::Lost(offences.into(), what));
            continue;
        };
        let counted = ban.by.first().map_or(0, |by| by.offences);
        let what = format!("{address} has {counted} offences of {offences}");
        match counted.cmp(&offences) {
            Ordering::Less => found.push(Difference::Lost((offences - counted).into(), what)),
            Ordering::Greater => found.push(Difference::Doubled((counted - offences).into(), what)),
            Ordering::Equal => {}
        }
        let left = ban.seconds_left.unwrap_or(f64::INFINITY);
        let length = Model::length_s(offences);
        if !(length - 60.0..=length).contains(&left) {
            let what = format!("{address} is banned for {left} s of {length}");
            found.push(Difference::Wrong(what));
        }
    }
    let strangers = bans
        .iter()
        .filter(|ban| !model.0.contains_key(&ban.address));
    found.extend(
        strangers.map(|ban| Difference::Wrong(format!("{} is banned for nothing", ban.address))),
    );
    Ok(found)
}
