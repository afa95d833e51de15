//! Who was banned, as the control socket tells it: read from the store in another thread.
//!
//! All that is asked about is on the disk or about to be. Kept in memory as well it would take megabytes for what
//! few ask for, and read in the daemon's own thread it would make alerts wait.

use std::time::Duration;

use tokio::sync::oneshot;

use super::view::written;
use super::{Daemon, reply_with};
use crate::control::{self, view};
use crate::ledger::{Ban, End, Key};
use crate::store::history::{Answer, Query, Told};
use crate::time::{Expiry, Wall};

/// How long an answer waits for what has just ended to be written.
pub(super) const WRITTEN_WITHIN: Duration = Duration::from_secs(1);

impl Daemon {
    /// Answers from the store, as soon as what happened before is written.
    pub(super) fn tell_history(
        &mut self,
        asked: control::HistoryOf,
        reply: oneshot::Sender<Result<view::History, String>>,
    ) {
        self.settle();
        let reader = self.store.reader();
        let lifted = self.lifted();
        // The runtime waits for it at the end, so that the store is closed in order.
        drop(tokio::task::spawn_blocking(move || {
            // Without it, the answer is as old as the last commit, and `arfw status` says why.
            let _ = reader.wait(WRITTEN_WITHIN);
            let read = reader.read(Query {
                offender: asked.offender,
                limit: asked.limit,
            });
            let told = read.map(|answer| told(lifted.mark(answer)));
            let told = told.map_err(|error| format!("{error:#}"));
            reply_with(reply, Ok(told));
        }));
    }
}

pub(super) fn told(answer: Answer) -> view::History {
    let bans = answer.told.into_iter().filter_map(|told| match told {
        Told::Past(past) => Some(past_ban(
            &past.key,
            &past.ban,
            Some((past.at, past.end)),
            past.line,
        )),
        Told::Running(record) => Some(past_ban(&record.key, record.ban.as_ref()?, None, None)),
    });
    view::History {
        bans: bans.collect(),
        forgotten: answer.forgotten,
    }
}

fn past_ban(
    key: &Key,
    ban: &Ban<Wall>,
    ended: Option<(Wall, End)>,
    line: Option<u32>,
) -> view::Past {
    let by_alert = !ban.adopted && ban.by_hand.is_none();
    view::Past {
        address: key.offender.to_string(),
        executable: key.executable.name().to_owned(),
        banned_at: written(ban.since),
        expires_at: match ban.until {
            Expiry::At(end) => Some(written(end)),
            Expiry::Never => None,
        },
        ended_at: ended.map(|(at, _)| written(at)),
        end: ended.map(|(_, end)| named(end)),
        ended_by: ended.and_then(|(_, end)| ended_by(end)),
        rule_id: ban.rule_id,
        alert_id: (!ban.alert_id.is_empty()).then(|| ban.alert_id.to_string()),
        response: by_alert.then_some(ban.response as usize),
        line,
        adopted: ban.adopted,
        by_hand: ban.by_hand.as_deref().map(|by| view::ByHand {
            uid: by.uid,
            pid: by.pid,
            reason: by.reason.to_string(),
        }),
    }
}

/// Who had to do with it.
pub(super) fn ended_by(end: End) -> Option<view::EndedBy> {
    match end {
        End::Hand { uid, pid } | End::Confirmed { uid, pid } | End::Lifted { uid, pid } => {
            Some(view::EndedBy { uid, pid })
        }
        _ => None,
    }
}

pub(super) fn named(end: End) -> view::End {
    match end {
        End::Time => view::End::Time,
        End::Hand { .. } => view::End::Hand,
        End::WhiteList => view::End::WhiteList,
        End::Protected => view::End::Protected,
        End::Moved => view::End::Moved,
        End::Failed => view::End::Failed,
        End::Stop => view::End::Stop,
        End::NotConfirmed => view::End::NotConfirmed,
        End::Confirmed { .. } => view::End::Confirmed,
        End::Lifted { .. } => view::End::Lifted,
    }
}
