//! Notices that addresses, routes or resolvers have changed, and looks them up again.
//!
//! Without notices it goes on by looking from time to time.

use std::io;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::netlink::{self, Notices};
use super::{Found, Settings, kernel, resolvers};
use crate::clock;

/// Changes come in bursts, and the first of a burst is not the one to look at.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// How often to look when nothing is said to have changed: a file may have been replaced unseen, and every
/// process is to be looked at once in a while.
const EVERY: Duration = Duration::from_secs(60);

/// The same while the kernel's notices cannot be had.
const EVERY_WITHOUT_NOTICES: Duration = Duration::from_secs(5);

/// A look that takes long, on a router with a million routes, is not made more often than this many times
/// its length.
const REST: u32 = 10;

/// Watches what the guard is made of.
pub struct Watch {
    settings: watch::Receiver<Settings>,
    notices: Option<Notices>,
    files: Option<pipe::Receiver>,
}

impl Watch {
    /// Watches, also whether the settings change, and then looks for the first time: no change is missed. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// When what must be protected cannot be told. That changes cannot be heard of is only logged.
    pub fn start(settings: watch::Receiver<Settings>) -> anyhow::Result<(Self, Found)> {
        let mut watch = Self {
            files: told(watch_files(), "cannot watch `resolv.conf`"),
            notices: None,
            settings,
        };
        watch.subscribe();
        let settings = watch.settings.borrow_and_update().clone();
        let found = Found::now(&settings)?;
        Ok((watch, found))
    }

    /// Looks again after every change and from time to time, and hands on what it finds; ends when nobody
    /// takes it.
    ///
    /// The look itself is made on a thread of its own: no alert waits for a router's table.
    pub async fn follow(mut self, finds: mpsc::Sender<Found>) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = self.change() => {}
                () = finds.closed() => return,
            }
            sleep(DEBOUNCE).await;
            self.skip();
            let settings = self.settings.borrow_and_update().clone();
            let begun = clock::now();
            let looked = tokio::task::spawn_blocking(move || Found::now(&settings)).await;
            match looked.map_err(anyhow::Error::from).flatten() {
                Ok(found) => {
                    failing = false;
                    if finds.send(found).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(
                            "what was protected stays so, and nothing new is: {error:#}"
                        );
                    }
                }
            }
            sleep(clock::now().since(begun).saturating_mul(REST)).await;
        }
    }

    /// Waits for a change, or until it is time to look without one.
    async fn change(&mut self) {
        let every = match self.notices {
            Some(_) => EVERY,
            None => EVERY_WITHOUT_NOTICES,
        };
        let change = async {
            tokio::select! {
                heard = heard(&mut self.notices) => Some(heard),
                written = written(self.files.as_ref()) => written.err().map(Err),
                Ok(()) = self.settings.changed() => None,
            }
        };
        match timeout(every, change).await {
            Ok(Some(Err(error))) => {
                tracing::warn!("changes are not heard of any longer: {error}; looking every 5 s");
                self.notices = None;
                self.files = None;
            }
            Ok(_) => {}
            Err(_) if self.notices.is_none() => self.subscribe(),
            Err(_) => {}
        }
    }

    fn subscribe(&mut self) {
        self.notices = told(Notices::subscribe(netlink::ALL), "looking every 5 s");
    }

    /// Forgets what has been said up to here: the look that follows sees it.
    fn skip(&mut self) {
        if let Some(notices) = &mut self.notices {
            notices.skip();
        }
        if let Some(files) = &self.files {
            while files.try_read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        }
    }
}

fn told<T>(result: anyhow::Result<T>, consequence: &str) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!("{error:#}; {consequence}"))
        .ok()
}

/// Waits for a change of addresses, links or routes that matters; for ever without notices.
async fn heard(notices: &mut Option<Notices>) -> io::Result<()> {
    match notices {
        Some(notices) => notices.change(kernel::matters).await,
        None => std::future::pending().await,
    }
}

/// Waits until a file in a directory of resolvers changes. Which one does not matter: a look is cheap.
async fn written(files: Option<&pipe::Receiver>) -> io::Result<()> {
    let Some(files) = files else {
        return std::future::pending().await;
    };
    loop {
        files.readable().await?;
        let mut notices = [0; 4096];
        match files.try_read(&mut notices) {
            Ok(count) if names_resolvers(&notices[..count]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether one of inotify's notices names a file of resolvers. `/etc` has many others.
fn names_resolvers(notices: &[u8]) -> bool {
    resolvers::files()
        .filter_map(|path| path.file_name())
        .any(|name| memchr::memmem::find(notices, name.as_encoded_bytes()).is_some())
}

fn watch_files() -> anyhow::Result<pipe::Receiver> {
    let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let mut watched = 0;
    for directory in resolvers::files().filter_map(|path| path.parent()) {
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR;
        // The directories of managers that are not in use here do not exist.
        watched += u32::from(inotify::add_watch(&inotify, directory, what).is_ok());
    }
    anyhow::ensure!(watched > 0, "no directory of resolvers can be watched");
    Ok(pipe::Receiver::from_owned_fd_unchecked(inotify)?)
}
