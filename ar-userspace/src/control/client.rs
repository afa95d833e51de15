//! The commands' end of the control socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::http::request::Builder;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::view::{Event, Problem};
use super::{EVENTS, access};

/// How long the daemon may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// No daemon answers at the socket.
#[derive(Debug, thiserror::Error)]
#[error("the daemon does not run (nobody answers at `{socket}`)")]
pub struct Unreachable {
    socket: String,
}

/// The socket is not for whoever asks.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to `{socket}`: {expected}, found user {uid}")]
struct Refused {
    socket: String,
    expected: String,
    uid: u32,
}

/// Asks the daemon for what stands at `path`.
///
/// # Errors
///
/// [`Unreachable`] when no daemon is there; otherwise when it may not be asked or its answer makes no sense.
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> anyhow::Result<T> {
    patiently(send(socket, Request::get(path), Bytes::new())).await
}

/// Asks the daemon to do something, told as JSON.
///
/// # Errors
///
/// As [`get`].
pub async fn post<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    order: &impl Serialize,
) -> anyhow::Result<T> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    patiently(send(socket, request, serde_json::to_vec(order)?.into())).await
}

/// Calls `each` with every event of the daemon, from here on, until the stream ends.
///
/// # Errors
///
/// As [`get`], and what `each` fails with.
pub async fn listen(
    socket: &Path,
    mut each: impl FnMut(Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let request = Request::get(EVENTS);
    let answer = timeout(ANSWER_WITHIN, open(socket, request, Bytes::new())).await;
    let (mut body, connection) = answer.context("the daemon did not answer")??;
    let mut line = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the daemon broke off")?;
        for &byte in frame.data_ref().into_iter().flatten() {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            if let Some(event) = line.strip_prefix(b"data: ") {
                let event = serde_json::from_slice(event);
                each(event.context("the daemon's answer is of another version")?)?;
            }
            line.clear();
        }
    }
    connection.abort();
    Ok(())
}

async fn patiently<T>(answer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let answer = timeout(ANSWER_WITHIN, answer).await;
    answer.with_context(|| format!("the daemon did not answer within {ANSWER_WITHIN:?}"))?
}

/// Sends a request and gives the body of the answer, when it is not a problem.
async fn open(
    socket: &Path,
    request: Builder,
    body: Bytes,
) -> anyhow::Result<(Incoming, JoinHandle<hyper::Result<()>>)> {
    let stream = match UnixStream::connect(socket).await {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => {
            return Err(Unreachable {
                socket: socket.display().to_string(),
            }
            .into());
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(Refused {
                socket: socket.display().to_string(),
                expected: access::expected(socket),
                uid: geteuid().as_raw(),
            }
            .into());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot connect to `{}`", socket.display()));
        }
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("cannot speak to the daemon")?;
    let connection = tokio::spawn(connection);
    let request = request.header(header::HOST, "arfw").body(Full::new(body))?;
    let response = sender
        .send_request(request)
        .await
        .context("the daemon did not answer")?;
    let status = response.status();
    if status.is_success() {
        return Ok((response.into_body(), connection));
    }
    let body = response.into_body().collect().await?.to_bytes();
    connection.abort();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => bail!("{}", problem.detail),
        Err(_) => bail!("the daemon answered {status}"),
    }
}

async fn send<T: DeserializeOwned>(
    socket: &Path,
    request: Builder,
    body: Bytes,
) -> anyhow::Result<T> {
    let (body, connection) = open(socket, request, body).await?;
    let body = body.collect().await?.to_bytes();
    connection.abort();
    serde_json::from_slice(&body).context("the daemon's answer is of another version")
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
