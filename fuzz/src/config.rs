//! What must hold for any text of an `ossec.conf`.

use std::sync::Arc;

use arfw::config::{Reading, read_bytes};
use arfw::diagnostic::{Diagnostic, locate, render};
use arfw::policy::{Guard, Policy};

use crate::alert::agrees;

/// Alerts that most configurations have something to say about.
const ALERTS: [&str; 3] = [
    r#"{"rule":{"level":10,"id":"5712","groups":["syslog","sshd","authentication_failures"]},"data":{"srcip":"198.51.100.7"}}"#,
    r#"{"rule":{"level":3,"id":"651","groups":["ossec","active_response"]},"data":{"srcip":"2001:db8::7"}}"#,
    r#"{"rule":{"level":16,"sidid":1,"groups":[]},"srcip":"::ffff:198.51.100.7"}"#,
];

/// Diagnostics of a text that are rendered at most.
const RENDERED: usize = 2;

/// Reads a configuration, renders what is wrong with it, and decides alerts by it.
///
/// # Panics
///
/// When a diagnostic is about no place of the text, errors and a meaning come together, a second reading
/// differs, or a decision and its explanation disagree.
pub fn config(bytes: &[u8]) {
    let (text, reading) = read_bytes(bytes);
    check_diagnostics(&text, &reading);
    let again = read_bytes(bytes).1;
    assert_eq!(again.config, reading.config, "a second reading differs");
    let Some(config) = reading.config else { return };
    let mut policy = Policy::new(Arc::new(config));
    for alert in ALERTS {
        agrees(&mut policy, alert.as_bytes(), &Guard::default());
    }
}

fn check_diagnostics(text: &str, reading: &Reading) {
    let refused = reading.diagnostics.iter().any(Diagnostic::is_error);
    assert_eq!(reading.config.is_none(), refused, "a meaning and an error");
    for diagnostic in &reading.diagnostics {
        let related = diagnostic.related.iter().map(|related| &related.span);
        for span in std::iter::once(&diagnostic.span).chain(related) {
            assert!(text.get(span.clone()).is_some(), "{span:?} is no place");
        }
    }
    // Each is rendered by itself, and that takes ten times as long as to read: some of them, which depend on
    // the text, stand for all.
    let count = reading.diagnostics.len();
    let from = text.len().checked_rem(count).unwrap_or(0);
    let some = &reading.diagnostics[from..count.min(from + RENDERED)];
    let rendered = render(some, "f", text, false);
    let acts = |c: char| c.is_control() && c != '\n';
    assert!(!rendered.contains(acts), "{rendered:?} acts on a terminal");
    let located = locate(&reading.diagnostics, "f", text);
    assert_eq!(located.len(), reading.diagnostics.len());
}
