//! Tells of a file that is missing, compressed or in trouble: once in the log, and to those who ask.

use std::io;
use std::path::PathBuf;

use tokio::sync::watch::Receiver;

use super::{Follower, Start};
use crate::source::condition::Condition;

impl Follower {
    /// How the file stands, also while it is followed.
    #[must_use]
    pub fn condition(&self) -> Receiver<Condition> {
        self.condition.subscribe()
    }

    pub(super) fn trouble(&mut self, error: &io::Error) {
        self.backlog = true;
        let trouble = Some(error.to_string());
        let old = self.condition.borrow().trouble.clone();
        if old.is_none() {
            let path = self.path.display();
            tracing::error!("cannot read `{path}`, trying again until it can be read: {error}");
        }
        if old != trouble {
            self.condition.send_modify(|it| it.trouble = trouble);
        }
    }

    pub(super) fn is_missing(&mut self, missing: bool) {
        self.condition.send_if_modified(|it| {
            let changed = it.missing != missing;
            it.missing = missing;
            changed
        });
        if !missing && std::mem::take(&mut self.told_missing) {
            tracing::info!("`{}` is there", self.path.display());
        }
    }

    /// Of a start that did not find its place at once.
    pub(super) fn tell_start(&mut self, start: Start) {
        let missing = start == Start::NotThere;
        if let Some(warning) = start.warning().filter(|_| !(missing && self.told_missing)) {
            tracing::warn!(alerts = %self.path.display(), "{warning}");
        }
        self.told_missing |= missing;
    }

    /// Only after a while: a file that is rotated is missing for a moment.
    pub(super) fn tell_missing(&mut self) {
        if self.condition.borrow().missing && !std::mem::replace(&mut self.told_missing, true) {
            let path = self.path.display();
            tracing::warn!("`{path}` is not there any more; it is read when it appears");
        }
    }

    pub(super) fn is_compressed(&mut self, path: PathBuf) {
        if self.compressed.contains(&path) {
            return;
        }
        tracing::error!(
            "`{}` is compressed and is not read: alerts in it that were not read before are lost, \
             and ban nobody",
            path.display()
        );
        self.condition.send_modify(|it| it.compressed += 1);
        self.compressed.insert(path);
    }

    /// Everything that could be read was.
    pub(super) fn can_be_read(&mut self) {
        let condition = self.condition.borrow().clone();
        if !condition.missing && condition.trouble.is_some() {
            self.condition.send_modify(|it| it.trouble = None);
            tracing::info!("`{}` can be read again", self.path.display());
        }
    }
}
