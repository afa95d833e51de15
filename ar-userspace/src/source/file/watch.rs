//! Wakes the follower: by inotify while the kernel grants its watches, by looking ten times a second when not.
//!
//! What a notice says does not matter. The follower looks at the files themselves, so that an overflow of the
//! kernel's queue loses nothing.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::net::unix::pipe;

use crate::source::file::directory_of;

/// How often the follower looks when the kernel does not wake it.
const BLIND_LOOK: Duration = Duration::from_millis(100);

/// Notices of the file, and of names in its directory or, until that is there, in the nearest one that is.
#[derive(Debug)]
pub(super) struct Watch {
    // Not a pipe, but read like one: the runtime waits for any descriptor in the same way.
    // `None` when the kernel grants no instance of inotify.
    inotify: Option<pipe::Receiver>,
    names: Option<i32>,
    file: Option<i32>,
    /// Something that has to be watched is not.
    blind: bool,
    /// That it is not was told.
    told: bool,
}

impl Watch {
    /// Watches nothing yet. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// When the runtime cannot wait for the kernel's notices.
    pub(super) fn new() -> io::Result<Self> {
        let (inotify, refused) = match instance()? {
            Ok(inotify) => (Some(inotify), None),
            Err(refused) => (None, Some(refused)),
        };
        let mut watch = Self {
            inotify,
            names: None,
            file: None,
            blind: false,
            told: false,
        };
        if let Some(refused) = refused {
            watch.cannot("the alert file", refused);
        }
        Ok(watch)
    }

    /// Whether something goes unnoticed.
    pub(super) fn is_blind(&self) -> bool {
        self.blind
    }

    /// Watches for whatever may bring the file: names in its directory, or in the nearest that is there.
    pub(super) fn watch_names(&mut self, path: &Path) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let flags = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        let mut directory = directory_of(path);
        loop {
            match inotify::add_watch(inotify, directory, flags) {
                Ok(watch) => {
                    let old = self.names.replace(watch).filter(|old| *old != watch);
                    self.forget(old);
                    break;
                }
                Err(Errno::NOENT | Errno::NOTDIR) if directory_of(directory) != directory => {
                    directory = directory_of(directory);
                }
                Err(refused) => {
                    self.cannot("names in the directory of the alert file", refused);
                    return;
                }
            }
        }
        // What was made between the looks at two directories has given no notice.
        let below = path
            .ancestors()
            .find(|below| directory_of(below) == directory);
        if below.is_some_and(|below| below != path && below.is_dir()) {
            self.watch_names(path);
        }
    }

    /// Watches the opened file for writes, in the place of the one that was watched.
    ///
    /// The watch goes on the opened file and not on the name, which may mean another one by now.
    pub(super) fn watch_file(&mut self, file: &impl AsFd) {
        let Some(inotify) = &self.inotify else {
            return;
        };
        let by_descriptor = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        match inotify::add_watch(inotify, by_descriptor, WatchFlags::MODIFY) {
            Ok(watch) => {
                let old = self.file.replace(watch).filter(|old| *old != watch);
                self.forget(old);
            }
            Err(refused) => self.cannot("the alert file", refused),
        }
    }

    /// The file is not read any longer.
    pub(super) fn leave_file(&mut self) {
        let old = self.file.take();
        self.forget(old);
    }

    /// Tries once more to watch what could not be watched. When it can, the files have to be looked at once
    /// more: what changed before has given no notice.
    pub(super) fn look_again(&mut self, path: &Path, file: Option<&impl AsFd>) -> bool {
        if self.inotify.is_none() {
            let Ok(Ok(inotify)) = instance() else {
                return false;
            };
            self.inotify = Some(inotify);
        }
        self.blind = false;
        self.watch_names(path);
        if let Some(file) = file {
            self.watch_file(file);
        }
        if !self.blind && std::mem::take(&mut self.told) {
            tracing::info!("the kernel tells of changes of the alert file again");
        }
        !self.blind
    }

    fn forget(&self, watch: Option<i32>) {
        if let (Some(inotify), Some(watch)) = (&self.inotify, watch) {
            // The kernel has dropped the watch by itself when what was watched is gone.
            let _ = inotify::remove_watch(inotify, watch);
        }
    }

    fn cannot(&mut self, what: &str, refused: Errno) {
        self.blind = true;
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!("{}", self::refused(what, refused));
        }
    }

    /// Waits until anything that is watched changes, but for `at_most`, and not long when blind. Tells whether
    /// anything did.
    pub(super) async fn changed(&self, at_most: Duration) -> io::Result<bool> {
        let at_most = if self.blind {
            at_most.min(BLIND_LOOK)
        } else {
            at_most
        };
        let notice = async {
            match &self.inotify {
                Some(inotify) => notice(inotify).await,
                None => std::future::pending().await,
            }
        };
        match tokio::time::timeout(at_most, notice).await {
            Ok(noticed) => noticed.map(|()| true),
            Err(_) => Ok(false),
        }
    }
}

/// A queue of notices, unless the kernel refuses it.
fn instance() -> io::Result<Result<pipe::Receiver, Errno>> {
    match inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC) {
        Ok(inotify) => pipe::Receiver::from_owned_fd_unchecked(inotify).map(Ok),
        Err(refused) => Ok(Err(refused)),
    }
}

/// What is told about a watch that the kernel does not grant.
fn refused(what: &str, refused: Errno) -> String {
    let remedy = match refused {
        Errno::NOSPC => "; raise fs.inotify.max_user_watches",
        Errno::MFILE => "; raise fs.inotify.max_user_instances",
        _ => "",
    };
    format!(
        "cannot watch {what}, so it is looked at every {} ms: {refused}{remedy}",
        BLIND_LOOK.as_millis()
    )
}

/// Takes the notices off the queue, and waits when there is none.
async fn notice(inotify: &pipe::Receiver) -> io::Result<()> {
    loop {
        inotify.readable().await?;
        match inotify.try_read(&mut [0; 4096]) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
