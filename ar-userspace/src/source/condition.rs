//! How a source stands, for those who ask the daemon.

/// What an operator has to know of a source besides its alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why the file cannot be read at the moment.
    pub trouble: Option<String>,
    /// Nothing is there under its name at the moment.
    pub missing: bool,
    /// Compressed files, since the start, that came between what was read and the present file. They are not read.
    pub compressed: u64,
}
