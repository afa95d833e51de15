//! Notices that interfaces come, go, or change.

use super::netlink::{self, Notices};

/// The kernel's notices of interfaces.
pub struct LinkWatch {
    notices: Option<Notices>,
}

impl LinkWatch {
    /// Hears of every change from here on. Must be called within a runtime. That it cannot is only logged.
    #[must_use]
    pub fn start() -> Self {
        Self {
            notices: subscribed(),
        }
    }

    /// Whether changes are heard of; when they were not, tries again. Otherwise, one may have been missed.
    pub fn is_listening(&mut self) -> bool {
        let listened = self.notices.is_some();
        if !listened {
            self.notices = subscribed();
        }
        listened
    }

    /// Waits for a change; for ever when none is heard of. Safe to drop and call again: no change is lost.
    ///
    /// Changes come in bursts: a look that follows sees all that was said up to here.
    pub async fn change(&mut self) {
        let Some(notices) = &mut self.notices else {
            return std::future::pending().await;
        };
        match notices.change(|_| true).await {
            Ok(()) => notices.skip(),
            Err(error) => {
                tracing::warn!(
                    "changes of interfaces are not heard of: {error}; looking every second"
                );
                self.notices = None;
            }
        }
    }
}

fn subscribed() -> Option<Notices> {
    let notices = Notices::subscribe(netlink::LINKS);
    notices
        .inspect_err(|error| tracing::warn!("{error:#}; looking every second"))
        .ok()
}
