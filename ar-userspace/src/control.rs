//! The control socket: HTTP and JSON over a Unix socket, both ends of it.
//!
//! A request becomes a [`Request`] for the daemon, which owns everything that is asked about. What is
//! told is plain values ([`view`]). Nothing here decides anything.

mod access;
mod client;
mod events;
mod handlers;
mod openapi;
mod problem;
mod routes;
mod scrape;
mod server;
pub mod view;

use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::diagnostic::quote;
use crate::ledger::Whom;
use crate::offender::{Offender, Prefix};
use crate::quiet::Quiets;

pub use access::{Access, GroupMay};
pub use client::{Unreachable, get, listen, post};
pub use events::{Publisher, Subscription};
pub use openapi::text as openapi;
pub use scrape::{open_metrics, serve_metrics};
pub use server::serve;

/// A question to the daemon, and where the answer goes.
#[derive(Debug)]
pub enum Request {
    /// `GET /v1/status`
    Status(oneshot::Sender<view::Status>),
    /// `GET /metrics`
    Metrics(oneshot::Sender<String>),
    /// `GET /v1/bans`
    Bans(oneshot::Sender<Vec<view::Ban>>),
    /// `GET /v1/history`: an error when the store cannot be read.
    History(HistoryOf, oneshot::Sender<Result<view::History, String>>),
    /// `GET /v1/events`: what happens from here on.
    Events(oneshot::Sender<Subscription>),
    /// `GET /v1/why`: about this text; an error when it is a network with bits beyond its length.
    Why(String, oneshot::Sender<Result<view::Why, String>>),
    /// `POST /v1/reload`: an error when the configuration cannot be read at all.
    Reload(Asker, oneshot::Sender<Result<view::Reload, NotReloaded>>),
    /// `POST /v1/ban`: bans by hand, in this order.
    Ban(Asker, Order, oneshot::Sender<Vec<view::Banned>>),
    /// `POST /v1/unban`: ends the bans of these addresses, in this order.
    Unban(Asker, UnbanOrder, oneshot::Sender<Vec<view::Unbanned>>),
    /// `POST /v1/unban` with `confirm_seconds`: the same until they are over, unless it is confirmed.
    Lift(
        Asker,
        Vec<Offender>,
        Duration,
        oneshot::Sender<Vec<view::Unbanned>>,
    ),
    /// `POST /v1/confirm`: makes what waits for it last.
    Confirm(Asker, Vec<Whom>, oneshot::Sender<Vec<view::Confirmed>>),
    /// `GET /v1/quiet`
    Quiet(oneshot::Sender<Vec<view::Quiet>>),
    /// `POST /v1/forgive`: clears counters.
    Forgive(Asker, Vec<Whom>, oneshot::Sender<view::Forgiven>),
    /// `POST /v1/stop`: an orderly stop, begun when it is answered.
    Stop(view::Stop, oneshot::Sender<()>),
}

/// Why a configuration was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// Another one is being read.
    UnderWay(String),
    /// There was nothing to read.
    Failed(String),
}

impl NotReloaded {
    /// What to tell people.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::UnderWay(text) | Self::Failed(text) => text,
        }
    }
}

/// Who asks, as the kernel tells it of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The user.
    pub uid: u32,
    /// The process; `None` when it is in a namespace that cannot be seen from here.
    pub pid: Option<i32>,
}

/// Whose bans of the past, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryOf {
    /// Those of what has an address in common with this one; `None` for everyone's.
    pub offender: Option<Offender>,
    /// At most.
    pub limit: usize,
}

/// A ban by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whom to ban.
    pub offenders: Vec<Offender>,
    /// For how long; `None` for good.
    pub lasts: Option<Duration>,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
    /// Also a prefix that holds protected addresses, which stay free.
    pub force: bool,
    /// After so long it is taken back unless it is confirmed.
    pub confirm: Option<Duration>,
}

/// How soon a change that is not confirmed may be taken back, and how late.
pub const CONFIRM_WITHIN: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3_600);

/// Reads within what time a change has to be confirmed.
///
/// # Errors
///
/// What was expected and what was found, on one line.
pub fn confirm_within(text: &str) -> Result<Duration, String> {
    let within = humantime::parse_duration(text).ok();
    let within = within.filter(|within| CONFIRM_WITHIN.contains(within));
    within.ok_or_else(|| {
        format!(
            "expected a time from 1s to 1h, such as `60s`; found {}",
            quote(text)
        )
    })
}

/// Ends of bans, and of what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnbanOrder {
    /// Whose bans.
    pub offenders: Vec<Offender>,
    /// What becomes of their quiet times; `None` leaves them.
    pub quiet: Option<QuietOrder>,
}

/// A quiet time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietOrder {
    /// For how long, up to [`Quiets::LONGEST`]; zero ends it.
    pub lasts: Duration,
    /// Why, in the operator's words; may be empty.
    pub reason: String,
}

/// Reads an address or a network as people write it for a command.
///
/// # Errors
///
/// What was expected and what was found, on one line; also for a network with bits beyond its length, which may
/// be a slip.
pub fn network(text: &str) -> Result<Offender, String> {
    let prefix: Prefix = text
        .parse()
        .map_err(|error| format!("{error}; found {}", quote(text)))?;
    let written = text.split_once('/').map_or(text, |(address, _)| address);
    let written = written.parse::<Offender>().map(Offender::addr);
    if written != Ok(prefix.addr()) {
        return Err(format!(
            "expected the first address of the network, `{prefix}`; found {}",
            quote(text)
        ));
    }
    Ok(Offender::network(prefix))
}

/// Reads a quiet time as people write it for a command.
///
/// # Errors
///
/// What was expected and what was found, on one line.
pub fn quiet_time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let lasts = humantime::parse_duration(text)
        .map_err(|error| format!("expected a time such as `1h`, or `0`: {error}"))?;
    if lasts > Quiets::LONGEST {
        return Err(format!(
            "expected 30d at most, as who is to be spared for longer belongs on the white list; found {}",
            quote(text)
        ));
    }
    Ok(lasts)
}

/// Bytes that the reason of a ban, or of a quiet time, may have.
pub const MAX_REASON: usize = 256;

/// Reads an address as people write it for a command.
///
/// # Errors
///
/// What was expected and what was found, on one line.
pub fn address(text: &str) -> Result<Offender, String> {
    text.parse().map_err(|_| {
        format!(
            "expected an address such as `198.51.100.7` or `2001:db8::7`, without network, zone, brackets or name; found {}",
            quote(text)
        )
    })
}

/// Requests that may wait for the daemon; more make their clients wait.
pub const QUEUE: usize = 16;

/// Bytes that the body of a request may have.
pub const MAX_BODY: usize = 64 * 1024;

/// Path of the document of all that is here.
pub const OPENAPI: &str = "/v1/openapi.json";

/// Path of [`view::Status`].
pub const STATUS: &str = "/v1/status";

/// Path of the text for Prometheus.
pub const METRICS: &str = "/metrics";

/// Path of the list of [`view::Ban`].
pub const BANS: &str = "/v1/bans";

/// Path of [`view::History`]; takes `address` and `limit` in its query.
pub const HISTORY: &str = "/v1/history";

/// Path of [`view::Why`]; takes `address` in its query.
pub const WHY: &str = "/v1/why";

/// Bytes that whatever is asked about with [`WHY`] may have.
pub const MAX_WHOM: usize = 256;

/// Bans that a history tells when nobody says how many.
pub const HISTORY_TOLD: u32 = 100;

/// Bans that a history tells at most.
pub const HISTORY_MOST: u32 = 100_000;

/// Event streams that are open at once; more are refused.
pub const MAX_STREAMS: usize = 8;

/// Path of the stream of [`view::Event`].
pub const EVENTS: &str = "/v1/events";

/// Path that answers with a [`view::Reload`].
pub const RELOAD: &str = "/v1/reload";

/// Path that takes a [`view::BanOrder`] and answers with a list of [`view::Banned`].
pub const BAN: &str = "/v1/ban";

/// Path of the list of [`view::Quiet`].
pub const QUIET: &str = "/v1/quiet";

/// Path that takes a [`view::UnbanOrder`] and answers with a list of [`view::Unbanned`].
pub const UNBAN: &str = "/v1/unban";

/// Path that takes [`view::Confirm`] and answers with a list of [`view::Confirmed`].
pub const CONFIRM: &str = "/v1/confirm";

/// Path that takes [`view::Forgive`] and answers with [`view::Forgiven`].
pub const FORGIVE: &str = "/v1/forgive";

/// Path that takes a [`view::Stop`].
pub const STOP: &str = "/v1/stop";
