//! What a crash may not change: every alert is one offence, and every ban has its end, whenever the daemon died.
//!
//! `ARFW_KILLS` sets how many times it is killed; without it, few enough for every run of the tests.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Home, PATIENCE};
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

/// AR-IMP-1, AR-IMP-2
#[test]
fn killing_the_daemon_at_any_point_loses_and_doubles_nothing() {
    let kills = std::env::var("ARFW_KILLS").map_or(12, |kills| kills.parse().unwrap());
    killed(kills, 1).unwrap();
}

fn killed(kills: u32, seed: u64) -> Result<()> {
    let link = Link::new()?;
    let home = Home::new(CONF)?;
    let (mut dice, mut model) = (Dice(seed), Model::default());
    let mut daemon = home.start(&link, &[])?;
    let mut written = 0;
    for kill in 0..kills {
        let until = Instant::now() + Duration::from_millis(dice.roll(40));
        while Instant::now() < until {
            written += write_some(&home, &mut dice, &mut model)?;
        }
        if dice.roll(3) == 0 {
            fs::rename(
                home.alerts(),
                home.alerts().with_extension(format!("json.{kill}")),
            )?;
            fs::write(home.alerts(), "")?;
        }
        daemon.crash()?;
        written += write_some(&home, &mut dice, &mut model)?;
        daemon = home.start(&link, &[])?;
    }
    written += write_some(&home, &mut dice, &mut model)?;
    let end = Instant::now() + PATIENCE;
    let wrong = loop {
        let wrong = differences(&home, &model)?;
        if wrong.is_empty() || Instant::now() > end {
            break wrong;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    };
    ensure!(
        wrong.is_empty(),
        "after {kills} kills and {written} alerts: {}",
        wrong.join("; ")
    );
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

/// Appends a few alerts in one or more writes, which may end within a line.
fn write_some(home: &Home, dice: &mut Dice, model: &mut Model) -> Result<usize> {
    let mut text = String::new();
    let count = usize::try_from(1 + dice.roll(8))?;
    for _ in 0..count {
        let number = u16::try_from(dice.roll(u64::from(OFFENDERS)))?;
        let address = if number % 2 == 0 {
            offender_v4(number)
        } else {
            offender_v6(number)
        };
        *model.0.entry(address.to_string()).or_default() += 1;
        text.push_str(&alert::wazuh(5763, 10, &["sshd"], &address.to_string()));
    }
    let cut = usize::try_from(dice.roll(text.len() as u64))?;
    home.append(&text[..cut])?;
    home.append(&text[cut..])?;
    Ok(count)
}

/// Where the daemon and its maps differ from the model.
fn differences(home: &Home, model: &Model) -> Result<Vec<String>> {
    let bans = home.bans()?;
    let mut wrong = Vec::new();
    for (address, &offences) in &model.0 {
        let Some(ban) = bans.iter().find(|ban| ban.address == *address) else {
            wrong.push(format!("{address} is not banned"));
            continue;
        };
        let counted = ban.by.first().map_or(0, |by| by.offences);
        if counted != offences {
            wrong.push(format!("{address} has {counted} offences of {offences}"));
        }
        let left = ban.seconds_left.unwrap_or(f64::INFINITY);
        let length = Model::length_s(offences);
        if !(length - 60.0..=length).contains(&left) {
            wrong.push(format!("{address} is banned for {left} s of {length}"));
        }
    }
    let strangers = bans
        .iter()
        .filter(|ban| !model.0.contains_key(&ban.address));
    wrong.extend(strangers.map(|ban| format!("{} is banned for nothing", ban.address)));
    Ok(wrong)
}
