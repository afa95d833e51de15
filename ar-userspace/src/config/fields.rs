//! The children of one element: which are allowed, which one counts, and the plain kinds of value.
//!
//! Knows no element by name; `command`, `response` and `white_list` say what they allow.

use super::raw::Element;
use super::suggest::nearest;
use super::value::Part;
use crate::diagnostic::{Diagnostic, quote};

/// The children of one element, checked against what is allowed there.
pub(super) struct Fields<'r> {
    element: &'r Element,
    unknown: Vec<&'r Element>,
}

impl<'r> Fields<'r> {
    /// Reports every child that is not allowed, that stands twice, or whose value has elements in it.
    ///
    /// `ignored` ones are allowed and not looked into; those of `allowed` that are also in
    /// `every_one_counts` may stand twice (AR-CFG-16).
    pub(super) fn check(
        element: &'r Element,
        allowed: &[&str],
        ignored: &[&str],
        every_one_counts: &[&str],
        out: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut unknown = Vec::new();
        for child in &element.children {
            let name = child.name.as_str();
            if allowed.contains(&name) {
                report_nested(child, out);
            } else if !ignored.contains(&name) {
                out.push(unknown_child(element, child, allowed));
                unknown.push(child);
            }
        }
        let stray = element.value.trimmed();
        if !stray.is_empty() {
            out.push(
                Diagnostic::warning(
                    &element.name,
                    stray.span(),
                    "text between elements has no effect",
                )
                .found(quote(stray.text())),
            );
        }
        let fields = Self { element, unknown };
        for name in allowed
            .iter()
            .filter(|name| !every_one_counts.contains(name))
        {
            fields.report_repeated(name, out);
        }
        fields
    }

    /// The children of this name that have a value, in order.
    pub(super) fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'r Element> {
        self.element
            .children
            .iter()
            .filter(move |child| child.name == name && !child.value.trimmed().is_empty())
    }

    /// The value that counts: the last one that is not empty (AR-CFG-3, AR-CFG-16).
    pub(super) fn value(&self, name: &str) -> Option<Part<'r>> {
        self.all(name)
            .next_back()
            .map(|child| child.value.trimmed())
    }

    /// Reports that `name` is missing, unless a misspelling of it was reported already.
    pub(super) fn report_missing(&self, name: &str, help: &str, out: &mut Vec<Diagnostic>) {
        let misspelt = |child: &&Element| nearest(&child.name, [name]).is_some();
        if self.unknown.iter().any(misspelt) {
            return;
        }
        let empty = self
            .element
            .children
            .iter()
            .rfind(|child| child.name == name);
        let (span, found) = match empty {
            Some(child) => (child.tag.clone(), "an empty value"),
            None => (self.element.tag.clone(), "none in this element"),
        };
        out.push(
            Diagnostic::error(name, span, format!("expected the element `{name}`"))
                .found(found)
                .help(help),
        );
    }

    fn report_repeated(&self, name: &str, out: &mut Vec<Diagnostic>) {
        let mut earlier = self.all(name).rev();
        let Some(last) = earlier.next() else { return };
        let mut diagnostic = Diagnostic::warning(
            name,
            last.name_span.clone(),
            format!("`{name}` stands more than once here, and only the last one counts"),
        );
        let mut repeated = false;
        for child in earlier {
            repeated = true;
            diagnostic = diagnostic.related(child.name_span.clone(), "this one has no effect");
        }
        if repeated {
            out.push(diagnostic);
        }
    }
}

/// Reads `yes` or `no`.
pub(super) fn yes_no(name: &str, part: Part<'_>, out: &mut Vec<Diagnostic>) -> Option<bool> {
    match part.text() {
        "yes" => Some(true),
        "no" => Some(false),
        other => {
            let meant = match other.to_ascii_lowercase().as_str() {
                "yes" | "true" | "on" | "1" => "write `yes`",
                "no" | "false" | "off" | "0" => "write `no`",
                _ => "write `yes` or `no`, in lower case",
            };
            out.push(
                Diagnostic::error(name, part.span(), "expected `yes` or `no`")
                    .found(found(part))
                    .help(meant),
            );
            None
        }
    }
}

/// Reads a decimal number without sign, unit or fraction; `None` when it is not one or does not fit.
pub(super) fn decimal(text: &str) -> Option<u32> {
    if is_decimal(text) {
        text.parse().ok()
    } else {
        None
    }
}

/// Whether the text is a decimal number, of any size.
pub(super) fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The seconds that a text like `10m` means.
pub(super) fn seconds_with_unit(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
        "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    u64::from(decimal(digits)?).checked_mul(unit)
}

/// What stands at a part, for a message.
pub(super) fn found(part: Part<'_>) -> String {
    if part.is_empty() {
        "nothing".to_owned()
    } else {
        quote(part.text())
    }
}

fn report_nested(child: &Element, out: &mut Vec<Diagnostic>) {
    if let Some(nested) = child.children.first() {
        out.push(
            Diagnostic::error(
                &child.name,
                nested.tag.clone(),
                format!("expected only text in `{}`", child.name),
            )
            .found("an element")
            .related(child.tag.clone(), "in this value"),
        );
    }
}

fn unknown_child(parent: &Element, child: &Element, allowed: &[&str]) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        &child.name,
        child.name_span.clone(),
        format!("expected an element that `{}` can have", parent.name),
    )
    .found(quote(&child.name));
    match nearest(&child.name, allowed.iter().copied()) {
        Some(meant) => diagnostic.help(format!("write `{meant}`")),
        None => {
            let names: Vec<String> = allowed.iter().map(|name| format!("`{name}`")).collect();
            diagnostic.help(format!("it can have {}", names.join(", ")))
        }
    }
}
