//! Metrics on a TCP address, for a Prometheus that cannot reach the control socket. Nothing else is there, and it asks nobody
//! who he is.
//!
//! What a client can make wait or grow has a bound: connections, their time, and one request for each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::handlers::{metrics, problem};
use super::server::TAKE_AGAIN_AFTER;
use super::{METRICS, Request};

/// Connections that are served at once; more of them wait.
const CONNECTIONS: usize = 4;

/// How long a connection lasts.
const CONNECTION_WITHIN: Duration = Duration::from_secs(10);

/// Opens the address; who connects waits until [`serve_metrics`] answers.
///
/// # Errors
///
/// When the address cannot be had: it is not this host's, or its port is taken.
pub async fn open_metrics(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot give metrics at {address}; choose another `--metrics-address`, or none")
    })
}

/// Answers `GET /metrics` there, as long as it is polled.
pub fn serve_metrics(
    listener: TcpListener,
    requests: mpsc::Sender<Request>,
) -> impl Future<Output = ()> {
    let router = Router::new()
        .route(METRICS, get(metrics))
        .fallback(|| problem(StatusCode::NOT_FOUND, "there is only `/metrics` here"))
        .with_state(requests);
    accept(listener, router)
}

async fn accept(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(TAKE_AGAIN_AFTER).await;
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that breaks off, or that is too slow, has no one to tell it to.
            let _ = timeout(CONNECTION_WITHIN, connection).await;
            drop(place);
        });
    }
}
