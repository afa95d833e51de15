//! A message about a place in a text: severity, what was expected, what was found, how to mend it.
//!
//! The parser returns these as values; [`render`] is the one place that turns them into
//! `file:line:col` text, and nothing here prints.

use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing of the file is applied (AR-CFG-18).
    Error,
    /// Accepted, and most likely not what was meant.
    Warning,
}

/// One message about one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The element at fault, `active-response` for a section, `xml` for the text itself (AR-CFG-18).
    pub element: String,
    /// What was expected: lower case, no full stop, user text in backticks.
    pub message: String,
    /// Bytes of the text that the message is about.
    pub span: Range<usize>,
    /// What was found there.
    pub found: String,
    /// How to mend it.
    pub help: Option<String>,
}
