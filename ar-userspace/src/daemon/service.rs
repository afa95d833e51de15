//! What a service manager is told: that the daemon is ready, reloads, stops, is alive, and how it stands.
//!
//! In the protocol of sd_notify(3), to the socket that NOTIFY_SOCKET names. Without one nobody is told anything.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::Daemon;
use crate::clock;

/// How long a service manager that does not listen may hold the daemon up, each time.
const WITHIN: Duration = Duration::from_millis(200);

/// The service manager.
#[derive(Debug, Default)]
pub(super) struct Service {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// Whether it ends a daemon that does not tell every so often that it is alive.
    watches: bool,
    /// What it was told last about how the daemon stands.
    status: String,
}

impl Service {
    /// Whoever started this process, as the environment tells.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub(super) fn find() -> io::Result<Self> {
        let Some(name) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        let address = match name.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(WITHIN))?;
        Ok(Self {
            manager: Some((socket, address)),
            watches: is_watched(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID")),
            status: String::new(),
        })
    }

    /// It has begun to read its configuration again. [`Daemon::tell_ready`] ends this.
    pub(super) fn reloading(&self) {
        let since = clock::monotonic_us();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={since}"));
    }

    /// It is about to end.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    fn tell(&self, message: &str) {
        if let Some((socket, address)) = &self.manager
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::warn!("cannot tell the service manager: {error}");
        }
    }
}

/// The manager may mean another process, from which this one has the environment.
fn is_watched(every: Option<OsString>, who: Option<OsString>) -> bool {
    let number = |value: OsString| value.to_str()?.parse::<u64>().ok();
    every.and_then(number).is_some_and(|every| every > 0)
        && who.is_none_or(|who| number(who) == Some(std::process::id().into()))
}

impl Daemon {
    /// It bans, by the configuration that was read last.
    pub(super) fn tell_ready(&mut self) {
        self.service.status = self.status_line();
        let status = &self.service.status;
        self.service.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// It is alive, and how it stands when that has changed. Asked for by the loop itself, so that one that hangs is
    /// noticed.
    pub(super) fn tell_alive(&mut self) {
        if self.service.manager.is_none() {
            return;
        }
        let status = self.status_line();
        let changed = status != self.service.status;
        let message = match (self.service.watches, changed) {
            (true, true) => format!("WATCHDOG=1\nSTATUS={status}"),
            (true, false) => "WATCHDOG=1".to_owned(),
            (false, true) => format!("STATUS={status}"),
            (false, false) => return,
        };
        self.service.status = status;
        self.service.tell(&message);
    }

    fn status_line(&self) -> String {
        let addresses = self.ledger.bans_v4() + self.ledger.bans_v6();
        let networks = self.ledger.prefixes();
        format!("banned in the kernel: addresses {addresses}, networks {networks}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_meant_is_watched() {
        let text = |text: &str| Some(OsString::from(text));
        let own = std::process::id().to_string();
        assert!(is_watched(text("30000000"), None));
        assert!(is_watched(text("30000000"), text(&own)));
        assert!(!is_watched(text("30000000"), text("1")));
        assert!(!is_watched(text("0"), None));
        assert!(!is_watched(text("soon"), None));
        assert!(!is_watched(None, text(&own)));
    }
}
