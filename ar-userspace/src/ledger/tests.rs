//! Tests of the ledger, and the language that their scripts are written in.
//!
//! A line of a script is `SECONDS EVENT -> EFFECTS`. Executables whose name ends in `.sh` are programs,
//! the others are the kernel's. An effect that changes what the kernel holds ends in `[kernel UNTIL]`.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;
use crate::config::{Enforcement, Executable};
use crate::policy::{Offence, Target};
use crate::time::{Clocks, Wall};

mod bounds;
mod confirm;
mod failures;
mod hand;
mod history;
mod model;
mod order;
mod properties;
mod requirements;
mod restart;
mod shadow;
mod vectors;

/// Runs a script on a fresh ledger and compares the whole transcript. Timers run only where it says `timers`.
#[track_caller]
fn check(settings: Settings, script: &str) {
    let mut host = Host::new(settings);
    let lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let (mut got, mut expected) = (String::new(), String::new());
    for line in lines {
        let (event, effects) = line.split_once("->").unwrap_or((line, ""));
        let did = host.step(event.trim());
        let _ = writeln!(got, "{} -> {did}", event.trim());
        let _ = writeln!(expected, "{} -> {}", event.trim(), effects.trim());
    }
    assert_eq!(got, expected, "\n{got}");
}

/// How bans end by hand.
const BY_HAND: End = End::Hand {
    uid: 0,
    pid: Some(7),
};

/// A ledger, and the clock that it lives on.
struct Host {
    ledger: Ledger,
    /// What the boot-time clock shows at second 0 of the script.
    origin: Moment,
    last_effect: Option<Effect>,
}

impl Host {
    fn new(settings: Settings) -> Self {
        Self {
            ledger: Ledger::new(settings),
            origin: Moment::from_nanos(1_000_000_000),
            last_effect: None,
        }
    }

    fn at(&self, seconds: &str) -> Moment {
        let seconds = seconds.parse().expect("whole seconds");
        self.origin.after(Duration::from_secs(seconds))
    }

    fn until(&self, text: &str) -> Expiry {
        match text {
            "never" => Expiry::Never,
            seconds => Expiry::At(self.at(seconds)),
        }
    }

    /// Does what one line says and tells all effects of it.
    fn step(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let now = self.at(words[0]);
        match &words[1..] {
            ["timers"] => self.ledger.handle_timeout(now),
            ["restart"] => self.restart(now),
            event => {
                let event = self.event(event, now);
                self.ledger.apply(event, now);
            }
        }
        self.drain()
    }

    fn drain(&mut self) -> String {
        let mut told = Vec::new();
        while let Some(effect) = self.ledger.next_effect() {
            told.push(self.tell(&effect));
            self.last_effect = Some(effect);
        }
        told.join("; ")
    }

    fn event(&self, words: &[&str], now: Moment) -> Event {
        match words {
            ["offence", executable, offender, timeout, late @ ..] => Event::Offence {
                offence: offence(executable, offender, timeout),
                at: match late {
                    ["of", at] => self.at(at),
                    _ => now,
                },
            },
            ["adopt", executable, offender, until] => Event::Adopt(Adoption {
                key: key(executable, offender),
                since: now,
                until: self.until(until),
                rule_id: 0,
            }),
            ["failed"] => Event::Failed(self.last_effect.clone().expect("an effect before it")),
            ["unban", whom @ ..] => Event::Unban(self::whom(whom), BY_HAND),
            ["forgive", whom @ ..] => Event::Forgive(self::whom(whom)),
            ["ladder", minutes @ ..] => Event::Settings(ladder(minutes)),
            ["stop"] => Event::Stop(OnStop::ReleasePrograms),
            ["stop", "all"] => Event::Stop(OnStop::ReleaseAll),
            _ => panic!("no such event: {words:?}"),
        }
    }

    /// Saves on the wall clock, and starts again an hour later by that clock, just after a reboot.
    fn restart(&mut self, now: Moment) {
        let before = Clocks {
            moment: now,
            wall: Wall::from_nanos(1_700_000_000_000_000_000),
        };
        let rebooted = Clocks {
            moment: Moment::from_nanos(7),
            wall: before.wall,
        };
        let records: Vec<_> = self.ledger.records().collect();
        let kept = records
            .into_iter()
            .map(|record| record.on_the_wall(before).since_boot(rebooted));
        let settings = self.ledger.settings().clone();
        self.ledger = Ledger::restore(settings, kept, rebooted.moment);
        self.origin = rebooted.moment.before(now.since(self.origin));
    }

    fn tell(&self, effect: &Effect) -> String {
        let Key {
            offender,
            executable,
        } = &effect.key;
        let action = match effect.action {
            Action::Ban { until } => {
                format!("ban {executable} {offender} until {}", self.secs(until))
            }
            Action::Move { until, .. } => {
                format!("move {executable} {offender} until {}", self.secs(until))
            }
            Action::Unban => format!("unban {executable} {offender}"),
            Action::Retract { until: None } => format!("retract {executable} {offender}"),
            Action::Retract { until: Some(until) } => {
                format!("retract {executable} {offender} until {}", self.secs(until))
            }
        };
        match effect.standing {
            _ if !effect.standing_changed => action,
            None => format!("{action} [kernel -]"),
            Some(standing) => format!("{action} [kernel {}]", self.secs(standing.until)),
        }
    }

    fn secs(&self, until: Expiry) -> String {
        match until {
            Expiry::At(end) => end.since(self.origin).as_secs().to_string(),
            Expiry::Never => "never".to_owned(),
        }
    }
}

fn key(executable: &str, offender: &str) -> Key {
    Key {
        offender: offender.parse().expect("an address"),
        executable: Executable::new(executable),
    }
}

fn offence(executable: &str, offender: &str, timeout: &str) -> Offence {
    let Key {
        offender,
        executable,
    } = key(executable, offender);
    Offence {
        response: 1,
        enforcement: if executable.name().ends_with(".sh") {
            Enforcement::Program
        } else {
            Enforcement::Kernel
        },
        executable,
        offender,
        timeout: (timeout != "never")
            .then(|| Duration::from_secs(timeout.parse().expect("seconds"))),
        rule_id: 5712,
        alert_id: Some("1732412580.218".into()),
        target: Target::Server,
    }
}

fn whom(words: &[&str]) -> Whom {
    match words {
        ["everyone"] => Whom::Everyone,
        [executable, offender] => Whom::Key(key(executable, offender)),
        [offender] => Whom::Offender(offender.parse().expect("an address")),
        _ => panic!("nobody: {words:?}"),
    }
}

fn ladder(minutes: &[&str]) -> Settings {
    Settings {
        repeated_offenders: minutes
            .iter()
            .map(|minutes| Duration::from_secs(60 * minutes.parse::<u64>().expect("minutes")))
            .collect(),
        ..Settings::default()
    }
}

fn seconds(seconds: u64) -> Moment {
    Moment::from_nanos(1_000_000_000).after(Duration::from_secs(seconds))
}
