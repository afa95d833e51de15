//! The way in: a text or bytes, and what came of reading them.

use std::borrow::Cow;
use std::ops::Range;

use super::command::executables;
use super::raw::Raw;
use super::resolved::resolve;
use super::{Config, Executable};
use crate::diagnostic::{Diagnostic, Lines};

/// What came of reading a text.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The meaning; `None` when any diagnostic is an error.
    pub config: Option<Config>,
    /// Every error and warning, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    /// What the commands run, with the place of each name, in the order of the text.
    pub executables: Vec<(Executable, Range<usize>)>,
}

/// Reads the text of an `ossec.conf`, of a manager, an agent or a single host.
#[must_use]
pub fn read(text: &str) -> Reading {
    read_with(text, |_, _| ())
}

/// Reads the bytes of an `ossec.conf`. Diagnostics are about the text that comes with the reading, in which
/// the replacement character stands for bytes that are no UTF-8.
///
/// Such bytes are an error in a value, and a warning where nothing is read, as in a comment.
#[must_use]
pub fn read_bytes(bytes: &[u8]) -> (Cow<'_, str>, Reading) {
    let mut text = String::new();
    let mut replaced = Vec::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            let start = text.len();
            text.push(char::REPLACEMENT_CHARACTER);
            replaced.push((start..text.len(), chunk.invalid()));
        }
    }
    let reading = read_with(&text, |raw, out| {
        for (span, invalid) in &replaced {
            let diagnostic = if raw.has_value_at(span.start) {
                Diagnostic::error("xml", span.clone(), "expected UTF-8")
            } else {
                let message = "this is no UTF-8, which does no harm where nothing is read";
                Diagnostic::warning("xml", span.clone(), message)
            };
            let shown: Vec<String> = invalid.iter().map(|byte| format!("{byte:02x}")).collect();
            out.push(
                diagnostic
                    .found(format!("the bytes `{}`", shown.join(" ")))
                    .help("save the file as UTF-8"),
            );
        }
    });
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(text),
    };
    (text, reading)
}

fn read_with(text: &str, also: impl FnOnce(&Raw, &mut Vec<Diagnostic>)) -> Reading {
    let lines = Lines::new(text);
    let raw = Raw::read(text);
    let mut diagnostics = raw.diagnostics.clone();
    also(&raw, &mut diagnostics);
    let config = resolve(&raw, &lines, &mut diagnostics);
    diagnostics.sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.severity));
    let refused = diagnostics.iter().any(Diagnostic::is_error);
    Reading {
        config: (!refused).then_some(config),
        diagnostics,
        executables: executables(&raw.commands),
    }
}
