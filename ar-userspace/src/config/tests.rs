//! What a whole text means and what is said about it, requirement by requirement.

mod difference;
mod fixtures;
mod meaning;
mod mistakes;
mod properties;
mod warnings;

use super::{Config, Reading, read};
use crate::diagnostic::{Diagnostic, Severity};

/// A command that may have a timeout, as most tests need one.
const COMMAND: &str = "<command><name>firewall-drop</name><executable>firewall-drop</executable>\
     <timeout_allowed>yes</timeout_allowed></command>";

/// A text with one root: the command above, and `body`.
fn conf(body: &str) -> String {
    format!("<ossec_config>\n{COMMAND}\n{body}\n</ossec_config>\n")
}

/// A text with one response at `location` `local`, and `body` in it.
fn response(body: &str) -> String {
    conf(&format!(
        "<active-response><command>firewall-drop</command><location>local</location>{body}</active-response>"
    ))
}

/// One line for each diagnostic: severity, element, and the text at its place.
fn told(text: &str, diagnostics: &[Diagnostic]) -> Vec<String> {
    let tell = |diagnostic: &Diagnostic| {
        let severity = match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let place = &text[diagnostic.span.clone()];
        format!("{severity} {} `{place}`", diagnostic.element)
    };
    diagnostics.iter().map(tell).collect()
}

/// Reads `text` and compares all that is said about it.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let Reading {
        config,
        diagnostics,
        ..
    } = read(text);
    assert_eq!(told(text, &diagnostics), expected, "{text}");
    let refused = expected.iter().any(|line| line.starts_with("error"));
    assert_eq!(config.is_none(), refused, "{text}");
}

/// The meaning of a text that is not refused.
#[track_caller]
fn meaning(text: &str) -> Config {
    let Reading {
        config,
        diagnostics,
        ..
    } = read(text);
    config.unwrap_or_else(|| panic!("refused: {:?}\n{text}", told(text, &diagnostics)))
}
