//! The daemon's end of the control socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::{BANS, Request, STATUS};

/// Opens the socket and answers until the returned future is dropped.
///
/// Only root may connect: the socket's mode is 0600. A socket that is left over from a crash is
/// replaced; the caller has made sure that no other daemon owns it.
///
/// # Errors
///
/// When the socket cannot be made.
pub fn serve(
    path: &Path,
    requests: mpsc::Sender<Request>,
) -> anyhow::Result<impl Future<Output = io::Result<()>> + use<>> {
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
        .with_state(requests);
    Ok(async move { axum::serve(listener, router).await })
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
