//! The one list of what the control socket answers: the router is made of it, and so is the document of it.

use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{self, MethodRouter};
use axum::{Router, middleware};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use tokio::sync::mpsc;

use super::handlers::{self, METRICS_TYPE, RELOAD_WITHIN, ask, problem};
use super::{
    BAN, BANS, CONFIRM, EVENTS, FORGIVE, HISTORY, MAX_BODY, MAX_STREAMS, METRICS, OPENAPI, QUIET,
    RELOAD, Request, STATUS, STOP, UNBAN, WHY, access, events, view,
};

type Requests = mpsc::Sender<Request>;

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One path, asked in one way.
pub(super) struct Route {
    pub(super) path: &'static str,
    /// In lower case.
    pub(super) method: &'static str,
    handler: MethodRouter<Requests>,
    /// The name of the operation.
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: String,
    /// What its query may have.
    pub(super) query: Option<SchemaOf>,
    /// Its body, as JSON.
    pub(super) body: Option<SchemaOf>,
    pub(super) answer: Answer,
    /// Statuses of problems, and when they come.
    pub(super) problems: Vec<(StatusCode, String)>,
}

/// What is answered with status 200.
pub(super) struct Answer {
    pub(super) says: &'static str,
    pub(super) media_type: &'static str,
    pub(super) schema: SchemaOf,
    /// What the field `data` of each event of a stream is.
    pub(super) event: Option<SchemaOf>,
}

impl Answer {
    fn json<T: JsonSchema>(says: &'static str) -> Self {
        Self::of::<T>("application/json", says)
    }

    fn of<T: JsonSchema>(media_type: &'static str, says: &'static str) -> Self {
        Self {
            says,
            media_type,
            schema: schema_of::<T>,
            event: None,
        }
    }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl Route {
    fn new(
        (method, path, id): (&'static str, &'static str, &'static str),
        handler: MethodRouter<Requests>,
        summary: &'static str,
        answer: Answer,
    ) -> Self {
        Self {
            path,
            method,
            handler,
            id,
            summary,
            description: String::new(),
            query: None,
            body: None,
            answer,
            problems: Vec::new(),
        }
    }

    fn get<H: Handler<T, Requests>, T: 'static>(
        path: &'static str,
        id: &'static str,
        handler: H,
        summary: &'static str,
        answer: Answer,
    ) -> Self {
        let handler = routing::get(handler);
        Self::new(("get", path, id), handler, summary, answer)
    }

    fn post<H: Handler<T, Requests>, T: 'static>(
        path: &'static str,
        id: &'static str,
        handler: H,
        summary: &'static str,
        answer: Answer,
    ) -> Self {
        let handler = routing::post(handler).route_layer(middleware::from_fn(access::change));
        Self::new(("post", path, id), handler, summary, answer).fails(
            StatusCode::FORBIDDEN,
            "Who asks may look and change nothing.",
        )
    }

    fn says(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema_of::<T>);
        self
    }

    fn streams<T: JsonSchema>(mut self) -> Self {
        self.answer.event = Some(schema_of::<T>);
        self
    }

    /// It has a body, which may be none of these.
    fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(schema_of::<T>);
        self.fails(StatusCode::BAD_REQUEST, "The body is no JSON.")
            .fails(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("The body has more than {MAX_BODY} bytes."),
            )
            .fails(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body is not told to be `application/json`.",
            )
    }

    /// The daemon is asked, which owns what is asked about.
    fn asks(self) -> Self {
        self.fails(
            StatusCode::SERVICE_UNAVAILABLE,
            "The daemon has no answer: it is stopping, or its log says why.",
        )
    }

    fn fails(mut self, status: StatusCode, when: impl Into<String>) -> Self {
        self.problems.push((status, when.into()));
        self
    }
}

/// All of them.
pub(super) fn routes() -> Vec<Route> {
    let mut routes = questions();
    routes.extend(orders());
    routes
}

fn questions() -> Vec<Route> {
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    vec![
        Route::get(
            OPENAPI,
            "openapi",
            handlers::document,
            "This document.",
            Answer::of::<serde_json::Map<String, serde_json::Value>>(
                "application/json",
                "OpenAPI 3.1, as of the daemon's version.",
            ),
        ),
        Route::get(
            STATUS,
            "status",
            |State(requests): State<Requests>| ask(requests, Request::Status),
            "How the daemon stands.",
            Answer::json::<view::Status>("What `arfw status --json` prints."),
        )
        .asks(),
        Route::get(
            METRICS,
            "metrics",
            handlers::metrics,
            "The same and more for Prometheus.",
            Answer::of::<String>(METRICS_TYPE, "Prometheus' text format, version 0.0.4."),
        )
        .says("docs/metrics.md names each. `arfw run --metrics-address` gives it at a TCP address too.")
        .asks(),
        Route::get(
            BANS,
            "bans",
            |State(requests): State<Requests>| ask(requests, Request::Bans),
            "Who is banned.",
            Answer::json::<Vec<view::Ban>>("In the order of addresses. What `arfw list --json` prints."),
        )
        .asks(),
        Route::get(
            HISTORY,
            "history",
            handlers::history,
            "Who was banned, and how it ended.",
            Answer::json::<view::History>("Newest first. What `arfw history --json` prints."),
        )
        .says("Read from the store, after all that ended before the request is written or a second has passed.")
        .query::<handlers::HistoryQuery>()
        .fails(wrong, "The query has something else, or an address that is none.")
        .fails(StatusCode::INTERNAL_SERVER_ERROR, "The store cannot be read, as it could not be written.")
        .asks(),
        Route::get(
            WHY,
            "why",
            handlers::why,
            "Why somebody is banned, or is not.",
            Answer::json::<view::Why>("What `arfw why --json` prints."),
        )
        .query::<handlers::WhyQuery>()
        .fails(wrong, "The query has something else, or a network with bits beyond its length.")
        .asks(),
        Route::get(
            QUIET,
            "quiet",
            |State(requests): State<Requests>| ask(requests, Request::Quiet),
            "Who is to be left in peace, and until when.",
            Answer::json::<Vec<view::Quiet>>(
                "In the order of addresses. What `arfw list --quiet --json` prints.",
            ),
        )
        .asks(),
        Route::get(
            EVENTS,
            "events",
            events::stream,
            "What happens from here on.",
            Answer::of::<String>(
                "text/event-stream",
                "Server-sent events until the daemon stops. What `arfw events --json` prints is the field `data` of each.",
            ),
        )
        .says(format!(
            "Each event has a field `event`, which is the `type` of its data, a field `id`, which is its `sequence`, and one line \
             `data` of JSON, of which `x-event-data` is the schema. A comment each {} s tells that the stream lives. The last {} events are \
             kept for slow clients. A stream whose client takes nothing for one to two minutes is cut; else it has no limit \
             of time, and it is not among the connections that are counted.",
            events::ALIVE_EVERY.as_secs(),
            events::KEPT
        ))
        .streams::<view::Event>()
        .fails(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{MAX_STREAMS} streams are open, or the daemon is stopping."),
        ),
    ]
}

fn orders() -> Vec<Route> {
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    let addresses = "The JSON is not what is expected, or has something that is no address: then nothing is done.";
    vec![
        Route::post(
            RELOAD,
            "reload",
            handlers::reload,
            "Read the configuration again.",
            Answer::json::<view::Reload>(
                "Also when the file has mistakes: then `applied` is false. What `arfw reload --json` prints.",
            ),
        )
        .says("What is sent with it is not looked at.")
        .fails(StatusCode::CONFLICT, "Another reload is reading.")
        .fails(StatusCode::INTERNAL_SERVER_ERROR, "There is nothing to read.")
        .fails(
            StatusCode::GATEWAY_TIMEOUT,
            format!(
                "The file system has not answered within {} s. The reload goes on.",
                RELOAD_WITHIN.as_secs()
            ),
        )
        .asks(),
        Route::post(
            BAN,
            "ban",
            handlers::ban,
            "Ban by hand.",
            Answer::json::<Vec<view::Banned>>(
                "For each address or network, once and in the order given, how it stands, also when all are refused. What \
                 `arfw ban --json` prints.",
            ),
        )
        .says("On the disk before it is answered, unless that takes longer than a second.")
        .takes::<view::BanOrder>()
        .fails(wrong, addresses)
        .asks(),
        Route::post(
            UNBAN,
            "unban",
            handlers::unban,
            "End all bans of addresses and networks.",
            Answer::json::<Vec<view::Unbanned>>(
                "For each, once and in the order given, its bans. What `arfw unban --json` prints.",
            ),
        )
        .says("Offences still count. On the disk before it is answered, unless that takes longer than a second.")
        .takes::<view::UnbanOrder>()
        .fails(wrong, addresses)
        .asks(),
        Route::post(
            CONFIRM,
            "confirm",
            handlers::confirm,
            "Make changes last that are taken back otherwise.",
            Answer::json::<Vec<view::Confirmed>>(
                "For each address which changes were confirmed, and why one was not; none when nothing waited. What \
                 `arfw confirm --json` prints.",
            ),
        )
        .says("On the disk before it is answered, unless that takes longer than a second.")
        .takes::<view::Confirm>()
        .fails(wrong, addresses)
        .asks(),
        Route::post(
            FORGIVE,
            "forgive",
            handlers::forgive,
            "Forget offences.",
            Answer::json::<view::Forgiven>("What `arfw forgive --json` prints."),
        )
        .says("Bans stay. On the disk before it is answered, unless that takes longer than a second.")
        .takes::<view::Forgive>()
        .fails(wrong, addresses)
        .asks(),
        Route::post(
            STOP,
            "stop",
            handlers::stop,
            "Stop the daemon.",
            Answer::json::<()>("The stop has begun."),
        )
        .takes::<view::Stop>()
        .fails(wrong, "The JSON is not what is expected.")
        .asks(),
    ]
}

/// What the list says, at work.
pub(super) fn router(requests: Requests) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.handler);
    }
    router
        .fallback(|| problem(StatusCode::NOT_FOUND, "there is nothing at this path"))
        .method_not_allowed_fallback(|| {
            let why = "this path is asked in another way; see the header `Allow`";
            problem(StatusCode::METHOD_NOT_ALLOWED, why)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(requests)
}
