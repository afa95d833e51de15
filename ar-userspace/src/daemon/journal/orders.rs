//! What is told of an operator's orders: reloads, unbans, and counters that are cleared.

use super::Journal;
use crate::config::Change;
use crate::control::{Asker, view, view::Happening};
use crate::daemon::Settings;
use crate::diagnostic::{Located, Severity, quote};
use crate::offender::Offender;

impl Journal {
    /// Somebody asks at the socket for something that changes what is in force.
    pub(in crate::daemon) fn asked(&self, what: &str, asker: Asker) {
        tracing::info!(uid = asker.uid, pid = asker.pid, "{what} on request");
    }

    /// An order is obeyed, and a crash would undo it.
    pub(in crate::daemon) fn not_stored(&self) {
        tracing::warn!(
            "the store has not written yet what was ordered; a crash before it does undoes that"
        );
    }

    /// A ban by hand is made.
    pub(in crate::daemon) fn banned_by_hand(&self, offender: Offender, asker: Asker, reason: &str) {
        tracing::info!(address = %offender, uid = asker.uid, pid = asker.pid, reason, "banned by hand");
    }

    /// A ban by hand is refused.
    pub(in crate::daemon) fn not_banned(&self, offender: Offender, why: &str) {
        tracing::warn!(address = %offender, "not banned: {why}");
    }

    /// Bans of prefixes may touch what is protected.
    pub(in crate::daemon) fn not_allowed(&self, error: &anyhow::Error) {
        tracing::error!("bans of prefixes may touch protected addresses: {error:#}");
        self.failure_of(None, "sparing protected addresses", &format!("{error:#}"));
    }

    /// What is said about a configuration, a line each.
    pub(in crate::daemon) fn diagnostics(&self, diagnostics: &[Located]) {
        for diagnostic in diagnostics {
            let text = one_line(diagnostic);
            match diagnostic.severity {
                Severity::Error => tracing::error!("{text}"),
                Severity::Warning => tracing::warn!("{text}"),
            }
        }
    }

    pub(in crate::daemon) fn not_reloaded(&self, why: &str) {
        tracing::error!("the configuration is not reloaded: {why}");
        self.happened(|| Happening::Reload {
            applied: false,
            changes: 0,
            cause: Some(why.to_owned()),
        });
    }

    /// Another configuration is in force.
    pub(in crate::daemon) fn reloaded(&self, settings: &Settings, changes: &[Change]) {
        for change in changes {
            let (subject, kind) = (change.subject.name(), change.kind.name());
            let place = change.line.map(|line| self.section(line));
            let was = change.old_line.map(|line| self.section(line));
            tracing::info!(
                place = place.as_deref(),
                was = was.as_deref(),
                "{subject} {kind}: {}",
                change.detail
            );
        }
        tracing::info!(
            config = %settings.config_path.display(),
            responses = settings.config.responses.len(),
            changes = changes.len(),
            "reloaded"
        );
        self.happened(|| Happening::Reload {
            applied: true,
            changes: changes.len(),
            cause: None,
        });
        if !settings.config.enabled {
            tracing::warn!(
                "active response is switched off by `disabled`: nobody will be banned, and bans that run \
                 stay until their time"
            );
        }
    }

    /// An address is on the white list, and its bans were ended for that.
    pub(in crate::daemon) fn white_listed(
        &self,
        address: &str,
        released: &[view::Release],
        entry: &str,
        line: usize,
    ) {
        let released = released.iter();
        for release in released.filter(|release| release.state != view::ReleaseState::Failed) {
            let place = self.section(line);
            tracing::info!(
                %address,
                by = release.executable,
                place,
                "released, because the white list has {}",
                quote(entry)
            );
        }
    }

    /// Counters were cleared.
    pub(in crate::daemon) fn forgiven(&self, forgiven: &view::Forgiven) {
        for address in &forgiven.addresses {
            for counter in &address.counters {
                tracing::info!(
                    address = %address.address,
                    by = counter.executable,
                    offences = counter.offences,
                    "forgiven"
                );
            }
        }
        if forgiven.addresses.is_empty() {
            tracing::info!(counters = forgiven.counters, "everyone is forgiven");
        }
    }
}

fn one_line(diagnostic: &Located) -> String {
    let Located {
        file,
        line,
        column,
        message,
        found,
        help,
        ..
    } = diagnostic;
    let mut text = format!("{file}:{line}:{column}: {message}");
    if !found.is_empty() {
        text.push_str(", found ");
        text.push_str(found);
    }
    if let Some(help) = help {
        text.push_str("; ");
        text.push_str(help);
    }
    text
}
