//! What each route of the control socket does: reads what was asked, asks the daemon, and writes its answer.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Extension, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::openapi;
use super::problem::Problem;
use super::{
    Asker, CONFIRM_WITHIN, HISTORY_MOST, HISTORY_TOLD, HistoryOf, MAX_REASON, MAX_WHOM,
    NotReloaded, Order, QuietOrder, Request, UnbanOrder, address, network, view,
};
use crate::ledger::Whom;
use crate::offender::Offender;
use crate::quiet::Quiets;

/// How long a reload is waited for.
pub(super) const RELOAD_WITHIN: Duration = Duration::from_secs(10);

/// Media type of the metrics.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The document of all this.
pub(super) async fn document() -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    (kind, openapi::text()).into_response()
}

pub(super) async fn metrics(
    State(requests): State<mpsc::Sender<Request>>,
) -> Result<Response, Problem> {
    let text = answer(requests, Request::Metrics).await?;
    let kind = [(CONTENT_TYPE, METRICS_TYPE)];
    Ok((kind, text).into_response())
}

/// A body that is read, or why not.
type Body<T> = Result<Json<T>, JsonRejection>;

/// What the query of a history says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// Only bans of what has an address in common with this address or network.
    address: Option<String>,
    /// Bans at most.
    #[schemars(range(min = 1, max = HISTORY_MOST), extend("default" = HISTORY_TOLD))]
    limit: Option<u32>,
}

pub(super) async fn history(
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
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyQuery {
    /// The address or network; other text is looked for in the alerts that had it in an address's place. At most 256 bytes.
    #[schemars(length(min = 1, max = MAX_WHOM))]
    address: String,
}

pub(super) async fn why(
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

pub(super) async fn reload(
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

pub(super) async fn ban(
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

pub(super) async fn unban(
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

pub(super) async fn confirm(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
    body: Body<serde_json::Value>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    let whom = match all_or_addresses(order)? {
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

/// Of some JSON that is none of these, serde would say that it is no JSON.
fn all_or_addresses<T: DeserializeOwned>(order: serde_json::Value) -> Result<T, Problem> {
    serde_json::from_value(order).map_err(|error| {
        let why = format!("expected `\"all\"` or `{{\"addresses\": [...]}}`: {error}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why)
    })
}

pub(super) async fn forgive(
    State(requests): State<mpsc::Sender<Request>>,
    Extension(asker): Extension<Asker>,
    body: Body<serde_json::Value>,
) -> Result<Response, Problem> {
    let Json(order) = body?;
    let whom = match all_or_addresses(order)? {
        view::Forgive::All => vec![Whom::Everyone],
        view::Forgive::Addresses(addresses) => {
            let offenders = offenders(&addresses, address)?.into_iter();
            offenders.map(Whom::Offender).collect()
        }
    };
    Ok(ask(requests, move |reply| Request::Forgive(asker, whom, reply)).await)
}

pub(super) async fn stop(
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

pub(super) async fn ask<T: Serialize>(
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
