//! Why somebody is banned, or is not: bans with what led to them, and what came of the alerts that are remembered.
//!
//! Alerts are explained when somebody asks, by the configuration in force, and not when they come.

mod alerts;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

use super::history::{WRITTEN_WITHIN, told};
use super::view::rfc3339;
use super::{Daemon, reply_with};
use crate::clock;
use crate::config::{Config, Enforcement};
use crate::control::network;
use crate::control::view::{self, why};
use crate::enforcer::Enforced;
use crate::ledger::{AlertId, Ban, Key, Record, Ruling, Rung};
use crate::offender::{Offender, Prefix};
use crate::recent::{Act, Deed, Kept, Outcome, Whom};
use crate::store::history::Query;
use crate::time::{Clocks, Expiry, Moment};

/// Bans of the past that are told at most.
const PAST: usize = 5;

/// Among how many of the last they are looked for: a ban whose end moves leaves an entry each time.
const PAST_LOOKED_AT: usize = 256;

/// Alerts that are told at most.
const ALERTS: usize = 16;

/// Configurations whose lines are kept.
const EPOCHS: usize = 16;

/// In which line each section stood in the configurations of late.
#[derive(Debug)]
pub(super) struct Lines(VecDeque<(Moment, Vec<(usize, usize)>)>);

impl Lines {
    pub(super) fn new(config: &Config, now: Moment) -> Self {
        let mut lines = Self(VecDeque::new());
        lines.add(config, now);
        lines
    }

    /// Takes those of the configuration that is in force from `now` on.
    pub(super) fn add(&mut self, config: &Config, now: Moment) {
        let lines = config.responses.iter();
        let lines = lines.map(|response| (response.index, response.line));
        self.0.push_back((now, lines.collect()));
        while self.0.len() > EPOCHS {
            self.0.pop_front();
        }
    }

    /// Where a section stood ever since; `None` when it moved, and when a configuration of that time is not known.
    fn since(&self, response: usize, since: Moment) -> Option<usize> {
        let first = self.0.iter().rposition(|(begun, _)| *begun <= since)?;
        let mut lines = self.0.range(first..).map(|(_, lines)| {
            let at = lines.binary_search_by_key(&response, |&(index, _)| index);
            at.ok().map(|at| lines[at].1)
        });
        let line = lines.next()??;
        lines.all(|other| other == Some(line)).then_some(line)
    }
}

impl Daemon {
    /// Answers what is known of an address, a network, or what an alert had in an address's place.
    pub(super) fn tell_why(
        &mut self,
        text: String,
        reply: oneshot::Sender<Result<view::Why, String>>,
    ) {
        // What was done before is told before.
        self.settle();
        let asked = match network(&text) {
            Ok(offender) => Some(offender),
            Err(why) if text.parse::<Prefix>().is_ok() => {
                return reply_with(reply, Ok(Err(why)));
            }
            Err(_) => None,
        };
        let mut answer = match asked {
            Some(offender) => self.why_offender(offender),
            None => self.why_text(text),
        };
        let Some(offender) = asked else {
            return reply_with(reply, Ok(Ok(answer)));
        };
        let reader = self.store.reader();
        let lifted = self.lifted();
        // The runtime waits for it at the end, so that the store is closed in order.
        drop(tokio::task::spawn_blocking(move || {
            // Without it, the answer is as old as the last commit, and `arfw status` says why.
            let _ = reader.wait(WRITTEN_WITHIN);
            let read = reader.read(Query {
                offender: Some(offender),
                limit: PAST_LOOKED_AT,
            });
            match read {
                Ok(read) => {
                    let is_over =
                        |past: &view::Past| past.end.is_some_and(|end| end != view::End::Moved);
                    let past = told(lifted.mark(read)).bans.into_iter().filter(is_over);
                    answer.past = past.take(PAST).collect();
                }
                Err(error) => answer.past_trouble = Some(format!("{error:#}")),
            }
            reply_with(reply, Ok(Ok(answer)));
        }));
    }

    fn why_text(&self, text: String) -> view::Why {
        let alerts = self.recent.of(Whom::Text(&text));
        view::Why {
            alerts: self.alerts(alerts),
            address: text,
            ..self.nothing_known()
        }
    }

    fn why_offender(&self, offender: Offender) -> view::Why {
        let clocks = clock::clocks();
        let host = offender.is_host();
        let kept = match host {
            true => self.recent.of(Whom::Offender(offender)),
            false => self.recent.within(offender.prefix()),
        };
        let bans = self.reasons(offender, clocks);
        view::Why {
            address: offender.to_string(),
            is_address: true,
            banned: bans.iter().any(|ban| ban.applies),
            spared: self.spared(offender),
            quiet: self.quiet_of(offender, clocks),
            bans,
            alerts: self.alerts(kept),
            ..self.nothing_known()
        }
    }

    fn nothing_known(&self) -> view::Why {
        view::Why {
            enforcer: self.enforcer.name().to_owned(),
            config: self.settings.config_path.display().to_string(),
            alerts_since: rfc3339(self.started, clock::clocks()),
            ..view::Why::default()
        }
    }

    /// The checks of [`crate::policy::Refusal`] that hold for an address whatever the alert.
    fn spared(&self, offender: Offender) -> Option<why::Spared> {
        let white_list = &self.settings.config.white_list;
        let spared = |by: &str, why| why::Spared {
            by: by.to_owned(),
            why,
        };
        if let Some(class) = offender.special() {
            return Some(spared("special", format!("it is {class}")));
        }
        if let Some(reason) = self.guard.reason(offender) {
            return Some(spared("guard", format!("it must stay reachable: {reason}")));
        }
        let entry = white_list.covers(offender, &offender.to_string())?;
        let text = crate::diagnostic::quote(&entry.text);
        let why = format!("the white list has {text} in line {}", entry.line);
        Some(spared("white_list", why))
    }

    fn reasons(&self, offender: Offender, clocks: Clocks) -> Vec<why::Reason> {
        let own = offender.prefix();
        let holders = (0..own.bits()).filter_map(|bits| Prefix::new(own.addr(), bits));
        let holders = holders.map(Offender::network);
        let white_list = self.settings.config.white_list.networks();
        let mut left_alone = self.guard.protected().chain(white_list);
        let is_left_alone = left_alone.any(|network| network.covers(offender));
        let banned = std::iter::once(offender).chain(holders);
        let reasons = banned.flat_map(|banned| {
            let records: Vec<Record> = self.ledger.records_of(banned).collect();
            let stands = |record: &&Record| {
                let ban = record.ban.as_ref();
                ban.is_some_and(|ban| !ban.until.is_over(clocks.moment))
                    && !self.ledger.is_lifted(&record.key)
            };
            let is_kernel = |record: &Record| {
                let ban = record.ban.as_ref();
                ban.is_some_and(|ban| ban.enforcement == Enforcement::Kernel)
            };
            // Nobody else is asked for what no ban stands for.
            let enforced = records.iter().filter(stands).any(is_kernel).then(|| {
                let enforced = self.enforcer.enforced_of(banned, clock::kernel_clock());
                enforced.unwrap_or_else(|error| {
                    tracing::error!("cannot tell what was dropped: {error:#}");
                    None
                })
            });
            let enforced = enforced.flatten();
            let applies = banned.is_host() || !is_left_alone;
            let reasons = records.iter().filter(stands).filter_map(|record| {
                let ban = record.ban.as_ref()?;
                let enforced = enforced.filter(|_| ban.enforcement == Enforcement::Kernel);
                Some(why::Reason {
                    applies,
                    ..self.reason(record, ban, enforced, clocks)
                })
            });
            reasons.collect::<Vec<_>>()
        });
        reasons.collect()
    }

    fn reason(
        &self,
        record: &Record,
        ban: &Ban,
        enforced: Option<Enforced>,
        clocks: Clocks,
    ) -> why::Reason {
        let key = &record.key;
        let by_alert = !ban.adopted && ban.by_hand.is_none();
        let response = by_alert.then_some(ban.response as usize);
        let kept = self.recent.of(Whom::Offender(key.offender));
        let led = kept.into_iter().find_map(|kept| {
            let act = led_to(kept, key, ban).filter(|_| by_alert)?;
            Some((kept, act))
        });
        let line = response.and_then(|response| match &led {
            Some((_, act)) => Some(act.line),
            None => self.section_lines.since(response, ban.since),
        });
        let rung = led.as_ref().and_then(|(_, act)| rung(act));
        why::Reason {
            address: key.offender.to_string(),
            applies: true,
            executable: key.executable.name().to_owned(),
            enforcement: match ban.enforcement {
                Enforcement::Kernel => "kernel",
                Enforcement::Program => "program",
            }
            .to_owned(),
            banned_at: rfc3339(ban.since, clocks),
            expires_at: match ban.until {
                Expiry::At(end) => Some(rfc3339(end, clocks)),
                Expiry::Never => None,
            },
            seconds_left: ban.until.left(clocks.moment).map(|left| left.as_secs_f64()),
            packets: enforced.map(|it| it.counters.packets),
            bytes: enforced.map(|it| it.counters.bytes),
            last_seen: enforced
                .and_then(|it| it.last_seen)
                .map(|seen| rfc3339(seen, clocks)),
            adopted: ban.adopted,
            by_hand: ban.by_hand.as_deref().map(|by| view::ByHand {
                uid: by.uid,
                pid: by.pid,
                reason: by.reason.to_string(),
            }),
            response,
            line,
            offences: record.offences,
            seconds: length(record, ban, rung).map(|length| length.as_secs()),
            next_seconds: response
                .and_then(|response| self.next(record, response, line))
                .map(|next| next.as_secs()),
            rule_id: ban.rule_id,
            alert_id: (!ban.alert_id.is_empty()).then(|| ban.alert_id.to_string()),
            alert: led.map(|(kept, _)| alerts::text(kept)),
        }
    }

    /// How long the next offence of a key is banned (AR-TIME-5), as far as that is known.
    fn next(&self, record: &Record, response: usize, line: Option<usize>) -> Option<Duration> {
        let ladder = &self.ledger.settings().repeated_offenders;
        if let Some(last) = ladder.last()
            && let Some(step) = record.offences.checked_sub(1)
        {
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            return Some(*ladder.get(step).unwrap_or(last));
        }
        let mut responses = self.settings.config.responses.iter();
        // One that stands elsewhere by now may be another.
        let is_it = |line| move |it: &&_| is_section(it, response, line);
        responses.find(is_it(line?))?.timeout
    }
}

fn is_section(it: &crate::config::Response, response: usize, line: usize) -> bool {
    it.index == response && it.line == line
}

/// How long a ban was made for, from the offence that set its end.
fn length(record: &Record, ban: &Ban, rung: Option<Rung>) -> Option<Duration> {
    let Expiry::At(end) = ban.until else {
        return None;
    };
    let from_offence = record.last_offence.filter(|_| ban.by_hand.is_none());
    let from = from_offence.map_or(ban.since, |last| last.max(ban.since));
    let half = Duration::from_millis(500);
    Some(rung.map_or_else(|| end.after(half).since(from), |rung| rung.length))
}

/// What an alert did to set the end of this ban.
fn led_to<'k>(kept: &'k Kept, key: &Key, ban: &Ban) -> Option<&'k Act> {
    let Outcome::Fired(acts) = &kept.outcome else {
        return None;
    };
    let is_same = kept.rule_id.unwrap_or(0) == ban.rule_id
        && AlertId::new(kept.id().unwrap_or_default()) == ban.alert_id;
    let until = |act: &Act| match act.deed {
        Deed::Ruled(Ruling::Banned { until, .. } | Ruling::Moved { until, .. }) => Some(until),
        _ => None,
    };
    acts.iter().filter(|_| is_same).find(|act| {
        act.executable == key.executable
            && act.response == ban.response as usize
            && until(act) == Some(ban.until)
    })
}

fn rung(act: &Act) -> Option<Rung> {
    match act.deed {
        Deed::Ruled(Ruling::Banned { rung, .. } | Ruling::Moved { rung, .. }) => rung,
        _ => None,
    }
}
