//! The daemon's end of the control socket.
//!
//! Everything that a client can make wait or grow has a bound: connections, their time, and bodies.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::access::{self, Access, Rights};
use super::events::{self, Lease};
use super::problem::Problem;
use super::{
    Asker, BAN, BANS, CONFIRM, CONFIRM_WITHIN, EVENTS, FORGIVE, HISTORY, HISTORY_MOST,
    HISTORY_TOLD, HistoryOf, MAX_BODY, MAX_REASON, MAX_WHOM, METRICS, NotReloaded, Order, QUIET,
    QuietOrder, RELOAD, Request, STATUS, STOP, UNBAN, UnbanOrder, WHY, address, network, view,
};
use crate::ledger::Whom;
use crate::offender::Offender;
use crate::quiet::Quiets;

/// Connections that are served at once; more of them wait.
const CONNECTIONS: usize = 16;

/// Connections that the kernel keeps until they are taken.
const BACKLOG: i32 = 1024;

/// How long a connection lasts, whatever goes on in it.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

/// How long a reload is waited for.
const RELOAD_WITHIN: Duration = Duration::from_secs(10);

/// How long to wait when no connection can be taken, for want of descriptors.
pub(super) const TAKE_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Opens the socket. The returned future answers until `stop` is done, and then ends what it has begun.
///
/// A socket that is left over from a crash is replaced; the caller has made sure that no other daemon owns it.
///
/// # Errors
///
/// When the socket cannot be made.
pub fn serve<S: Future<Output = ()> + Send + 'static>(
    path: &Path,
    mut access: Access,
    requests: mpsc::Sender<Request>,
    stop: S,
) -> anyhow::Result<impl Future<Output = ()> + use<S>> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace `{}`", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = open(path, &mut access)
        .with_context(|| format!("cannot make the control socket `{}`", path.display()))?;
    Ok(accept(listener, router(requests), access, stop))
}

fn open(path: &Path, access: &mut Access) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    access.give(path)?;
    // Not before: whoever connects has been let through by the mode that the socket is to have.
    listen(&socket, BACKLOG)?;
    UnixListener::from_std(net::UnixListener::from(socket))
}

fn router(requests: mpsc::Sender<Request>) -> Router {
    let changes = Router::new()
        .route(RELOAD, post(reload))
        .route(BAN, post(ban))
        .route(UNBAN, post(unban))
        .route(CONFIRM, post(confirm))
        .route(FORGIVE, post(forgive))
        .route(STOP, post(stop))
        .route_layer(middleware::from_fn(access::change));
    Router::new()
        .route(
            STATUS,
            get(|State(requests)| ask(requests, Request::Status)),
        )
        .route(METRICS, get(metrics))
        .route(BANS, get(|State(requests)| ask(requests, Request::Bans)))
        .route(HISTORY, get(history))
        .route(EVENTS, get(events::stream))
        .route(WHY, get(why))
        .route(QUIET, get(|State(requests)| ask(requests, Request::Quiet)))
        .merge(changes)
        .fallback(|| problem(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(|| {
            let why = "this path is asked in another way; see the header `Allow`";
            problem(StatusCode::METHOD_NOT_ALLOWED, why)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(requests)
}

async fn accept(
    listener: UnixListener,
    router: Router,
    access: Access,
    stop: impl Future<Output = ()>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let graceful = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let taken = tokio::select! {
            () = &mut stop => break,
            taken = take(&listener, &access, &room) => taken,
        };
        let Some((stream, asker, rights, place)) = taken else {
            sleep(TAKE_AGAIN_AFTER).await;
            continue;
        };
        let lease = Lease::new(place);
        let layers = (
            Extension(asker),
            Extension(rights),
            Extension(lease.clone()),
        );
        let service = TowerToHyperService::new(router.clone().layer(layers));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            tokio::pin!(connection);
            // A client that breaks off has no one to tell it to.
            while timeout(CONNECTION_WITHIN, &mut connection).await.is_err() && lease.is_taken() {}
        });
    }
    // New clients are told that nobody is there while those before them get their answers.
    drop(listener);
    graceful.shutdown().await;
}

/// The next connection, once there is room for it; `None` when it cannot be had.
async fn take(
    listener: &UnixListener,
    access: &Access,
    room: &Arc<Semaphore>,
) -> Option<(UnixStream, Asker, Rights, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    let peer = stream.peer_cred().ok()?;
    let asker = Asker {
        uid: peer.uid(),
        pid: peer.pid(),
    };
    let rights = access.rights(asker.uid);
    Some((stream, asker, rights, place))
}

pub(super) async fn metrics(
    State(requests): State<mpsc::Sender<Request>>,
) -> Result<Response, Problem> {
    let text = answer(requests, Request::Metrics).await?;
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text).into_response())
}

/// A body that is read, or why not.
type Body<T> = Result<Json<T>, JsonRejection>;

/// What the query of a history says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    address: Option<String>,
    limit: Option<u32>,
}

async fn history(
    State(requests): State<mpsc::Sender<Request>>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let wrong = |why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let Query(query) = query.map_err(|error| {
        wrong(format!(
            "expected at most `address` and `limit`: {}",
            error.body_text()
        ))
    })?;
    let limit = query.limit.unwrap_or(HISTORY_TOLD);
    if !(1..=HISTORY_MOST).contains(&limit) {
        return Err(wrong(format!(
            "expected a `limit` from 1 to {HISTORY_MOST}, found {limit}"
        )));
    }
    let offender = query.address.as_deref().map(network).transpose();
    let asked = HistoryOf {
        offender: offender.map_err(wrong)?,
        limit: limit as usize,
    };
    match answer(requests, move |reply| Request::History(asked, reply)).await? {
        Ok(history) => Ok(Json(history).into_response()),
        Err(why) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, why)),
    }
}

/// What the query of the question why says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WhyQuery {
    address: String,
}

async fn why(
    State(requests): State<mpsc::Sender<Request>>,
    query: Result<Query<WhyQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let wrong = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let Query(WhyQuery { address }) =
        query.map_err(|error| wrong(format!("expected `address` alone: {}", error.body_text())))?;
    if !(1..=MAX_WHOM).contains(&address.len()) {
        return Err(wrong(format!(
            "expected an `address` of 1 to {MAX_WHOM} bytes"
        )));
    }
    let why = answer(requests, move |reply| Request::Why(address, reply)).await?;
    Ok(Json(why.map_err(wrong)?).into_response())
}

async fn reload(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
) -> Result<Response, Problem> {
    let answer = answer(requests, |reply| Request::Reload(asker, reply));
    let Ok(answer) = timeout(RELOAD_WITHIN, answer).await else {
        let why = "the configuration is still being read, as its file system does not answer; the one in force stays until \
                   then, and the log tells what becomes of it";
        return Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, why));
    };
    let (status, why) = match answer? {
        Ok(reload) => return Ok(Json(reload).into_response()),
        Err(NotReloaded::UnderWay(why)) => (StatusCode::CONFLICT, why),
        Err(NotReloaded::Failed(why)) => (StatusCode::INTERNAL_SERVER_ERROR, why),
    };
    Err(Problem::new(status, why))
}

async fn ban(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
    body: Body<view::BanOrder>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    let wrong = |why: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why.to_owned());
    let lasts = match (order.seconds, order.permanent) {
        (None, true) => None,
        (Some(seconds), false) => Duration::try_from_secs_f64(seconds)
            .ok()
            .filter(|lasts| !lasts.is_zero())
            .map(Some)
            .ok_or_else(|| wrong("expected `seconds` above 0"))?,
        _ => return Err(wrong("expected either `seconds` or `permanent`")),
    };
    if order.reason.len() > MAX_REASON {
        return Err(wrong("expected a `reason` of at most 256 bytes"));
    }
    let confirm = confirm_within(order.confirm_seconds)?;
    if let (Some(lasts), Some(confirm)) = (lasts, confirm)
        && lasts < confirm
    {
        return Err(wrong(&format!(
            "expected a ban at least as long as the time to confirm it, {confirm:?}; found {lasts:?}, which is over before"
        )));
    }
    let order = Order {
        offenders: offenders(&order.addresses, network)?,
        lasts,
        reason: order.reason,
        force: order.force,
        confirm,
    };
    Ok(ask(requests, move |reply| Request::Ban(asker, order, reply)).await)
}

async fn unban(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
    body: Body<view::UnbanOrder>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    let confirm = confirm_within(order.confirm_seconds)?;
    let quiet = quiet_order(order.quiet_seconds, order.reason)?;
    let offenders = offenders(&order.addresses, network)?;
    Ok(match (confirm, quiet) {
        (Some(_), Some(_)) => {
            let why = "expected `confirm_seconds` or `quiet_seconds`, found both: a quiet time is not taken back";
            return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why));
        }
        (Some(within), None) => {
            ask(requests, move |reply| {
                Request::Lift(asker, offenders, within, reply)
            })
            .await
        }
        (None, quiet) => {
            let order = UnbanOrder { offenders, quiet };
            ask(requests, move |reply| Request::Unban(asker, order, reply)).await
        }
    })
}

fn quiet_order(seconds: Option<f64>, reason: String) -> Result<Option<QuietOrder>, Problem> {
    let wrong = |why: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let Some(seconds) = seconds else {
        return match reason.is_empty() {
            true => Ok(None),
            false => Err(wrong(
                "expected `reason` with `quiet_seconds` only".to_owned(),
            )),
        };
    };
    let longest = Quiets::LONGEST;
    let lasts = Duration::try_from_secs_f64(seconds).ok();
    let Some(lasts) = lasts.filter(|lasts| *lasts <= longest) else {
        let longest = longest.as_secs();
        return Err(wrong(format!(
            "expected `quiet_seconds` from 0 to {longest}, found {seconds:?}"
        )));
    };
    if reason.len() > MAX_REASON {
        return Err(wrong(format!(
            "expected a `reason` of at most {MAX_REASON} bytes"
        )));
    }
    Ok(Some(QuietOrder { lasts, reason }))
}

async fn confirm(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
    body: Body<view::Confirm>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    let whom = match order {
        view::Confirm::All => vec![Whom::Everyone],
        view::Confirm::Addresses(addresses) => {
            let offenders = offenders(&addresses, network)?.into_iter();
            offenders.map(Whom::Offender).collect()
        }
    };
    Ok(ask(requests, move |reply| Request::Confirm(asker, whom, reply)).await)
}

fn confirm_within(seconds: Option<f64>) -> Result<Option<Duration>, Problem> {
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    let within = Duration::try_from_secs_f64(seconds).ok();
    match within.filter(|within| CONFIRM_WITHIN.contains(within)) {
        Some(within) => Ok(Some(within)),
        None => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("expected `confirm_seconds` from 1 to 3600, found {seconds}"),
        )),
    }
}

async fn forgive(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
    body: Body<view::Forgive>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    let whom = match order {
        view::Forgive::All => vec![Whom::Everyone],
        view::Forgive::Addresses(addresses) => {
            let offenders = offenders(&addresses, address)?.into_iter();
            offenders.map(Whom::Offender).collect()
        }
    };
    Ok(ask(requests, move |reply| Request::Forgive(asker, whom, reply)).await)
}

async fn stop(
    State(requests): State<mpsc::Sender<Request>>,
    body: Body<view::Stop>,
) -> Result<Response, Problem> {
    let Json(stop) = body?;
    Ok(ask(requests, move |reply| Request::Stop(stop, reply)).await)
}

/// Each address once, in the order given.
fn offenders(
    texts: &[String],
    read: impl Fn(&str) -> Result<Offender, String>,
) -> Result<Vec<Offender>, Problem> {
    let wrong = |why| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why);
    let found: Result<Vec<_>, _> = texts.iter().map(|text| read(text)).collect();
    let mut offenders = found.map_err(wrong)?;
    if offenders.is_empty() {
        return Err(wrong("expected at least one address".to_owned()));
    }
    let mut seen = BTreeSet::new();
    offenders.retain(|&offender| seen.insert(offender));
    Ok(offenders)
}

pub(super) async fn problem(status: StatusCode, why: &'static str) -> Problem {
    Problem::new(status, why)
}

async fn ask<T: Serialize>(
    requests: mpsc::Sender<Request>,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Response {
    match answer(requests, question).await {
        Ok(answer) => Json(answer).into_response(),
        Err(problem) => problem.into_response(),
    }
}

pub(super) async fn answer<T>(
    requests: mpsc::Sender<Request>,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    let asked = requests.send(question(reply)).await;
    if asked.is_ok()
        && let Ok(answer) = answer.await
    {
        return Ok(answer);
    }
    let why = "the daemon has no answer: it is stopping, or its log says why";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, why))
}
