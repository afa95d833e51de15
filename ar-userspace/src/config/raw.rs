//! The file as written: the elements that matter, with their values and places (AR-CFG-1 to 3).
//!
//! Says only what is wrong with the XML. What a value means is `resolved`'s to say.

mod mistakes;
mod walk;

use std::ops::Range;

use super::value::Value;
use crate::diagnostic::Diagnostic;

/// The root that counts (AR-CFG-1).
pub(super) const ROOT: &str = "ossec_config";

/// What was found in the roots, each kind in document order.
#[derive(Debug, Default)]
pub(super) struct Raw {
    /// `<active-response>`.
    pub(super) sections: Vec<Element>,
    /// `<command>`.
    pub(super) commands: Vec<Element>,
    /// `<global>`.
    pub(super) globals: Vec<Element>,
    /// `<client>`, of which only the managers' addresses are read (AR-OFF-5).
    pub(super) clients: Vec<Element>,
    /// `<alerts>`, which only warnings look at (AR-ALERT-4).
    pub(super) alerts: Vec<Element>,
    /// What is wrong with the XML, and elements that look like a root and are none.
    pub(super) diagnostics: Vec<Diagnostic>,
}

/// One element and what is directly inside it.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) name: String,
    /// Bytes of the start tag, from `<` to `>`.
    pub(super) tag: Range<usize>,
    /// Bytes of the name in the start tag.
    pub(super) name_span: Range<usize>,
    /// The text directly inside.
    pub(super) value: Value,
    pub(super) children: Vec<Element>,
    /// Whether a mistake of the XML makes its content a guess; it is not judged then.
    pub(super) broken: bool,
}

impl Raw {
    /// Reads a text that may have any number of roots.
    ///
    /// OSSEC's own reader takes `\<` for a character and not for a tag. Where the text is no XML as it
    /// is and is XML read that way, it is read that way.
    pub(super) fn read(text: &str) -> Self {
        let raw = walk::walk(text, text);
        if raw.is_sound() || !text.contains("\\<") {
            return raw;
        }
        // Another character of one byte keeps every place; values are taken from the text itself.
        let masked = walk::walk(&text.replace("\\<", "\\_"), text);
        if masked.is_sound() { masked } else { raw }
    }

    /// Whether the text is well formed.
    pub(super) fn is_sound(&self) -> bool {
        !self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Whether the byte `at` stands in a value that may count.
    pub(super) fn has_value_at(&self, at: usize) -> bool {
        [&self.sections, &self.commands, &self.globals]
            .into_iter()
            .flatten()
            .flat_map(|element| &element.children)
            .any(|child| child.value.stands_at(at))
    }

    /// The list in which children of a root with this name are kept; `None` for those that are skipped
    /// whole (AR-CFG-2).
    fn list_of(&mut self, name: &str) -> Option<&mut Vec<Element>> {
        match name {
            "active-response" => Some(&mut self.sections),
            "command" => Some(&mut self.commands),
            "global" => Some(&mut self.globals),
            "client" => Some(&mut self.clients),
            "alerts" => Some(&mut self.alerts),
            _ => None,
        }
    }
}
