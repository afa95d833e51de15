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

/// Batches that may wait between a source and the daemon. With batches of at most
/// [`file::CHUNK`] bytes this bounds the memory of the queue to about 4 MiB.
pub const QUEUE: usize = 16;
