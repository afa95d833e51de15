//! How far the daemon is behind the files that are read, for whoever asks how it stands.

use std::sync::atomic::{AtomicU64, Ordering};

/// What waits to be read, and to be decided. The follower and the daemon keep it; each number stands for itself.
#[derive(Debug, Default)]
pub struct Load {
    unread: AtomicU64,
    queued: AtomicU64,
    batches: AtomicU64,
    full: AtomicU64,
}

impl Load {
    /// Bytes behind the alert file: unread, at the last look, or in the queue of batches. While the queue is full the
    /// look is a second old at most.
    #[must_use]
    pub fn behind_bytes(&self) -> u64 {
        let unread = self.unread.load(Ordering::Relaxed);
        unread + self.queued.load(Ordering::Relaxed)
    }

    /// Batches that were read and are not dealt with: those in the queue, and one that waits for room there.
    #[must_use]
    pub fn queued_batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// How often the follower found no room in the queue of batches, and stopped reading until there was.
    #[must_use]
    pub fn queue_full(&self) -> u64 {
        self.full.load(Ordering::Relaxed)
    }

    /// A batch that was handed over has been dealt with.
    pub fn done(&self, bytes: u64) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        self.batches.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn hand_over(&self, bytes: u64) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn found_full(&self) {
        self.full.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_unread(&self, bytes: u64) {
        self.unread.store(bytes, Ordering::Relaxed);
    }
}
