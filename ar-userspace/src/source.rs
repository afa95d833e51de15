//! Brings records in: a followed file, over a bounded queue, as batches of whole lines.
//!
//! What a line means is `alert`'s to say. Nothing here parses, and nothing here is lost: a full queue
//! slows the reader down.

mod condition;
pub mod file;
mod lines;
mod load;
mod position;
mod rotated;

pub use condition::Condition;
pub use lines::{Batch, Cut, Lines, MAX_LINE};
pub use load::Load;
pub use position::{FINGERPRINT, FINISHED_KEPT, FileId, Finished, Position};

/// Batches that may wait between a source and the daemon, each of [`file::CHUNK`] bytes at most. One is read while the
/// other is decided on; with more of them, a burst would be read into memory that is not in the cache any more when its
/// turn comes.
pub const QUEUE: usize = 2;
