//! A message about a place in a text: severity, what was expected, what was found, how to mend it.
//!
//! The parser returns these as values; [`render()`] is the one place that turns them into
//! `file:line:col` text, [`locate`] the one that turns them into records for machines, and nothing here
//! prints. Text of the user is made visible with [`quote`] or [`visible`] where it enters
//! a message.

mod escape;
mod excerpt;
mod lines;
mod record;
mod render;

use std::ops::Range;

pub use self::escape::{quote, visible};
pub use self::lines::{Lines, Place};
pub use self::record::{Located, LocatedRelated, locate};
pub use self::render::render;

/// How bad it is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
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
    ///
    /// As written in the file: whoever prints it makes it visible first.
    pub element: String,
    /// What was expected: lower case, no full stop, user text in backticks.
    pub message: String,
    /// Bytes of the text that the message is about.
    pub span: Range<usize>,
    /// What was found there, to be read after the word "found"; empty when the place says enough.
    pub found: String,
    /// Other places that explain the first.
    pub related: Vec<Related>,
    /// How to mend it.
    pub help: Option<String>,
}

/// A second place that explains a message: `opened here`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What is there.
    pub label: String,
}

impl Diagnostic {
    /// A mistake that refuses the text.
    #[must_use]
    pub fn error(element: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, element, span, message.into())
    }

    /// Something that is accepted and most likely not meant.
    #[must_use]
    pub fn warning(element: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, element, span, message.into())
    }

    /// Says what stands at the place.
    #[must_use]
    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = found.into();
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a place that explains the first one.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        let label = label.into();
        self.related.push(Related { span, label });
        self
    }

    /// Whether it refuses the text.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn new(severity: Severity, element: &str, span: Range<usize>, message: String) -> Self {
        Self {
            severity,
            element: element.to_owned(),
            message,
            span,
            found: String::new(),
            related: Vec::new(),
            help: None,
        }
    }
}
