//! What the daemon owns, as the control socket tells it.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::Daemon;
use crate::clock;
use crate::config::Enforcement;
use crate::control::view;
use crate::enforcer::sockets::Sockets;
use crate::enforcer::{Counters, Enforced};
use crate::ledger::{Record, Standing};
use crate::offender::Offender;
use crate::time::{Clocks, Expiry, Moment, Wall};

/// A ban as the enforcer holds it; by whom is the ledger's to add.
#[must_use]
pub fn enforced_ban(enforced: &Enforced, clocks: Clocks) -> view::Ban {
    let standing = enforced.standing;
    view::Ban {
        address: enforced.offender.to_string(),
        seconds_left: standing
            .until
            .left(clocks.moment)
            .map(|left| left.as_secs_f64()),
        expires_at: match standing.until {
            Expiry::At(end) => Some(rfc3339(end, clocks)),
            Expiry::Never => None,
        },
        banned_at: rfc3339(standing.since, clocks),
        rule_id: standing.rule_id,
        packets: enforced.counters.packets,
        bytes: enforced.counters.bytes,
        shadow: standing.shadow,
        by: Vec::new(),
    }
}

/// A wall time that does not fit stops at the ends of what 64 bits of nanoseconds hold.
pub(super) fn rfc3339(moment: Moment, clocks: Clocks) -> String {
    written(clocks.wall_at(moment))
}

/// A wall time to the second.
pub(super) fn written(wall: Wall) -> String {
    let since_1970_ns = wall.as_nanos().max(0).unsigned_abs();
    let time: SystemTime = UNIX_EPOCH + Duration::from_nanos(since_1970_ns);
    humantime::format_rfc3339_seconds(time).to_string()
}

impl Daemon {
    /// What `GET /v1/bans` tells: what the enforcer and executables hold, and who holds it, by address.
    pub(super) fn bans(&self) -> anyhow::Result<Vec<view::Ban>> {
        let mut enforced = self.enforcer.enforced(clock::kernel_clock())?;
        let clocks = clock::clocks();
        let known: BTreeSet<Offender> = enforced.iter().map(|ban| ban.offender).collect();
        let records = self.ledger.bans(clocks.moment);
        let by_programs = records.filter(|record| !known.contains(&record.key.offender));
        enforced.extend(by_programs.filter_map(held_by_program));
        enforced.sort_by_key(|ban| (ban.offender, Reverse(ban.standing.until)));
        enforced.dedup_by_key(|ban| ban.offender);
        let ban = |enforced: &Enforced| view::Ban {
            by: self
                .ledger
                .records_of(enforced.offender)
                .filter(|record| !self.ledger.is_lifted(&record.key))
                .filter_map(holder)
                .collect(),
            ..enforced_ban(enforced, clocks)
        };
        Ok(enforced.iter().map(ban).collect())
    }

    fn source_view(&self) -> view::Source {
        let condition = self.condition.borrow();
        view::Source {
            trouble: condition.trouble.clone(),
            missing: condition.missing,
            compressed: condition.compressed,
        }
    }

    fn counts_view(&self) -> view::Counts {
        let sockets = self.sockets.as_ref().map(Sockets::counts);
        let (sockets_destroyed, sockets_failed) = sockets.unwrap_or_default();
        view::Counts {
            sockets_destroyed,
            sockets_failed,
            ..self.counts.clone()
        }
    }

    /// What `GET /v1/status` tells.
    pub(super) fn status(&self) -> anyhow::Result<view::Status> {
        let condition = self
            .enforcer
            .condition()
            .context("cannot look at the enforcer")?;
        let clocks = clock::clocks();
        Ok(view::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: clock::now().since(self.started).as_secs_f64(),
            config: self.settings.config_path.display().to_string(),
            settings: (self.settings.settings_path.as_ref()).map(|path| path.display().to_string()),
            shadow: view::Shadow {
                all: self.settings.shadow.all,
                commands: self.settings.shadow.commands.clone(),
                rules: self.settings.shadow.rules.clone(),
            },
            enabled: self.settings.config.enabled,
            responses: self.settings.config.responses.len(),
            alerts: self.settings.alerts.display().to_string(),
            source: self.source_view(),
            load: view::Load {
                behind_bytes: self.load.behind_bytes(),
                queue_full: self.load.queue_full(),
                forgotten: self.ledger.evicted(),
            },
            counts: self.counts_view(),
            drift: self.drift.since_start.clone(),
            active: view::Active {
                v4: self.ledger.bans_v4(),
                v6: self.ledger.bans_v6(),
                room_v4: self.limits.bans_v4,
                room_v6: self.limits.bans_v6,
            },
            pending: self.pending(),
            store: view::Store {
                trouble: self.store.trouble().map(|trouble| view::StoreTrouble {
                    since: trouble.since.map(written),
                    cause: trouble.cause,
                    attempts: trouble.attempts,
                    waiting: trouble.waiting,
                }),
            },
            enforcer: self.enforcer.name().to_owned(),
            interfaces: condition
                .places
                .into_iter()
                .map(|place| view::Interface {
                    name: place.interface,
                    mode: place.mode.to_owned(),
                    why: place.why,
                    since: place.since.map(|since| rfc3339(since, clocks)),
                })
                .collect(),
            packets: condition
                .totals
                .into_iter()
                .map(|(outcome, total)| view::Total {
                    outcome: outcome.to_owned(),
                    packets: total.packets,
                    bytes: total.bytes,
                })
                .collect(),
        })
    }
}

/// A ban that an executable holds, and no packet is counted for.
fn held_by_program(record: Record) -> Option<Enforced> {
    let ban = record
        .ban
        .filter(|ban| ban.enforcement == Enforcement::Program)?;
    Some(Enforced {
        offender: record.key.offender,
        standing: Standing {
            until: ban.until,
            since: ban.since,
            rule_id: ban.rule_id,
            shadow: false,
        },
        counters: Counters::default(),
        last_seen: None,
    })
}

fn holder(record: Record) -> Option<view::Holder> {
    let ban = record.ban?;
    Some(view::Holder {
        executable: record.key.executable.name().to_owned(),
        offences: record.offences,
        by_hand: ban.by_hand.as_deref().map(|by| view::ByHand {
            uid: by.uid,
            pid: by.pid,
            reason: by.reason.to_string(),
        }),
        response: (!ban.adopted && ban.by_hand.is_none()).then_some(ban.response as usize),
        alert_id: (!ban.alert_id.is_empty()).then(|| ban.alert_id.to_string()),
    })
}
