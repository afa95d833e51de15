//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::{BANS, Request, STATUS, STOP};

/// Opens the socket. The returned future answers until `stop` is done, and then ends what it has begun.
///
/// Only root may connect: the socket's mode is 0600. A socket that is left over from a crash is
/// replaced; the caller has made sure that no other daemon owns it.
///
/// # Errors
///
/// When the socket cannot be made.
pub fn serve<S: Future<Output = ()> + Send + 'static>(
    path: &Path,
    requests: mpsc::Sender<Request>,
    stop: S,
) -> anyhow::Result<impl Future<Output = io::Result<()>> + use<S>> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace `{}`", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)
        .with_context(|| format!("cannot make the control socket `{}`", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect the control socket `{}`", path.display()))?;
    let router = Router::new()
        .route(
            STATUS,
            get(|State(requests)| ask(requests, Request::Status)),
        )
        .route(BANS, get(|State(requests)| ask(requests, Request::Bans)))
        .route(
            STOP,
            post(|State(requests), Json(stop)| {
                ask(requests, move |reply| Request::Stop(stop, reply))
            }),
        )
        .with_state(requests);
    Ok(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stop)
            .await
    })
}

async fn ask<T: Serialize>(
    requests: mpsc::Sender<Request>,
    question: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Response {
    let (reply, answer) = oneshot::channel();
    if requests.send(question(reply)).await.is_ok()
        && let Ok(answer) = answer.await
    {
        return Json(answer).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping").into_response()
}
