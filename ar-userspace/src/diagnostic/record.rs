//! Diagnostics for machines: lines and columns in place of bytes, ready for serde.

use std::ops::Range;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Diagnostic, Lines, Severity};

/// One diagnostic with its place. Lines and columns count from 1, columns in characters; the end is the
/// place after the last character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Located {
    /// The file's name as the caller has it.
    pub file: String,
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column of the end.
    pub end_column: usize,
    /// `error` or `warning`.
    pub severity: Severity,
    /// The element at fault.
    pub element: String,
    /// What was expected.
    pub message: String,
    /// What was found; empty when the place says enough.
    pub found: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Other places that explain the first.
    pub related: Vec<LocatedRelated>,
}

/// A place that explains another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocatedRelated {
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column of the end.
    pub end_column: usize,
    /// What is there.
    pub label: String,
}

/// The diagnostics of `text` with lines and columns, in the order given.
#[must_use]
pub fn locate(diagnostics: &[Diagnostic], file_name: &str, text: &str) -> Vec<Located> {
    let lines = Lines::new(text);
    let locate_one = |diagnostic: &Diagnostic| {
        let [line, column, end_line, end_column] = corners(&lines, &diagnostic.span);
        Located {
            file: file_name.to_owned(),
            line,
            column,
            end_line,
            end_column,
            severity: diagnostic.severity,
            element: diagnostic.element.clone(),
            message: diagnostic.message.clone(),
            found: diagnostic.found.clone(),
            help: diagnostic.help.clone(),
            related: diagnostic
                .related
                .iter()
                .map(|related| {
                    let [line, column, end_line, end_column] = corners(&lines, &related.span);
                    LocatedRelated {
                        line,
                        column,
                        end_line,
                        end_column,
                        label: related.label.clone(),
                    }
                })
                .collect(),
        }
    };
    diagnostics.iter().map(locate_one).collect()
}

fn corners(lines: &Lines<'_>, span: &Range<usize>) -> [usize; 4] {
    let (start, end) = (lines.place(span.start), lines.place(span.end));
    [start.line, start.column, end.line, end.column]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_lines_and_columns_and_reads_as_json() {
        let text = "<a>\n ü10m\n";
        let at = text.find("10m").unwrap();
        let diagnostic = Diagnostic::error("timeout", at..at + 3, "expected seconds")
            .found("`10m`")
            .related(0..3, "opened here");
        let json = serde_json::to_value(locate(&[diagnostic], "ossec.conf", text)).unwrap();
        let expected = serde_json::json!([{
            "file": "ossec.conf",
            "line": 2, "column": 3, "end_line": 2, "end_column": 6,
            "severity": "error", "element": "timeout", "message": "expected seconds",
            "found": "`10m`", "help": null,
            "related": [
                {"line": 1, "column": 1, "end_line": 1, "end_column": 4, "label": "opened here"}
            ],
        }]);
        assert_eq!(json, expected);
    }
}
