//! The daemon's end of the control socket.
//!
//! Everything that a client can make wait or grow has a bound: connections, their time, and bodies.

use std::fs;
use std::io;
use std::os::unix::net;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::access::{Access, Rights};
use super::events::Lease;
use super::{Asker, Request, routes};

/// Connections that are served at once; more of them wait.
pub(super) const CONNECTIONS: usize = 16;

/// Connections that the kernel keeps until they are taken.
const BACKLOG: i32 = 1024;

/// How long a connection lasts, whatever goes on in it.
pub(super) const CONNECTION_WITHIN: Duration = Duration::from_secs(60);

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
    Ok(accept(listener, routes::router(requests), access, stop))
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
