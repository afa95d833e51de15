//! Batches on their way to the daemon: a full queue stops the reading, and how much waits meanwhile is noted.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::timeout;

use super::{Follower, LOOK_AGAIN, Open};
use crate::source::Batch;

impl Follower {
    /// Hands a batch on as soon as there is room; fails when nobody takes it.
    pub(super) async fn hand_over(
        &self,
        batch: Batch,
        batches: &mpsc::Sender<Batch>,
    ) -> Result<(), SendError<()>> {
        self.load.hand_over(batch.cut.bytes());
        self.note_unread();
        if let Ok(room) = batches.try_reserve() {
            room.send(batch);
            return Ok(());
        }
        self.load.found_full();
        loop {
            match timeout(LOOK_AGAIN, batches.reserve()).await {
                Ok(room) => {
                    room?.send(batch);
                    return Ok(());
                }
                Err(_) => self.note_unread(),
            }
        }
    }

    /// What cannot be looked at keeps the number that it had.
    pub(super) fn note_unread(&self) {
        let files = self.rotated.iter().chain(&self.open);
        if let Ok(unread) = files.map(Open::unread).sum() {
            self.load.set_unread(unread);
        }
    }
}
