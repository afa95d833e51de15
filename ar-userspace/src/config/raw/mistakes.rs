//! The messages about XML that is not well formed.
//!
//! Decides nothing: `walk` has found the mistake and its place.

use std::ops::Range;

use quick_xml::errors::{Error, SyntaxError};

use super::ROOT;
use crate::diagnostic::{Diagnostic, quote};

/// Name under which mistakes of the XML are reported (AR-CFG-18).
const XML: &str = "xml";

pub(super) fn no_doctype_name(span: Range<usize>) -> Diagnostic {
    Diagnostic::error(XML, span, "expected a name after `<!DOCTYPE`")
}

/// `tag` is what there is of a tag before the `<` at `at`.
pub(super) fn tag_in_tag(tag: Range<usize>, at: usize) -> Diagnostic {
    Diagnostic::error(XML, at..at + 1, "expected `>` before the next tag")
        .found("`<`")
        .related(tag, "this tag has no end")
}

/// The `<` at `at` begins no tag.
pub(super) fn no_name(at: usize) -> Diagnostic {
    Diagnostic::error(XML, at..at + 1, "expected the name of an element after `<`")
        .help("write `&lt;` for the character itself")
}

pub(super) fn nothing_open(name: &str, tag: Range<usize>) -> Diagnostic {
    Diagnostic::error(XML, tag, "expected no end tag: nothing is open here")
        .found(quote(&format!("</{name}>")))
}

/// `name` was opened by the tag `opened` and is not closed at `place`, where `found` stands.
pub(super) fn not_closed(
    name: &str,
    opened: Range<usize>,
    place: Range<usize>,
    found: &str,
) -> Diagnostic {
    let expected = quote(&format!("</{name}>"));
    Diagnostic::error(XML, place, format!("expected {expected}"))
        .found(found)
        .related(opened, "opened here")
}

pub(super) fn bad_reference(text: &str, span: Range<usize>) -> Diagnostic {
    Diagnostic::error(XML, span, "expected the number of a character")
        .found(quote(text))
        .help("write `&amp;` for the character `&` itself")
}

pub(super) fn text_outside(text: &str, span: Range<usize>) -> Diagnostic {
    Diagnostic::error(XML, span, "expected no text outside an element").found(quote(text))
}

pub(super) fn text_in_root(text: &str, span: Range<usize>) -> Diagnostic {
    let message = "text that stands in no element has no effect";
    Diagnostic::warning(ROOT, span, message).found(quote(text))
}

/// What begins at the byte `at` of `text` goes on to its end.
pub(super) fn endless(error: &Error, text: &str, at: usize) -> Diagnostic {
    let (opened, expected) = match error {
        Error::Syntax(SyntaxError::UnclosedComment) => ("<!--", "`-->`"),
        Error::Syntax(SyntaxError::UnclosedCData) => ("<![CDATA[", "`]]>`"),
        Error::Syntax(SyntaxError::UnclosedPI | SyntaxError::UnclosedXmlDecl) => ("<?", "`?>`"),
        Error::Syntax(
            SyntaxError::UnclosedSingleQuotedAttributeValue
            | SyntaxError::UnclosedDoubleQuotedAttributeValue,
        ) => ("<", "a quote that ends the attribute's value"),
        _ => ("<", "`>`"),
    };
    // The file may end before the beginning is whole: `<!-`.
    let whole = text[at..].starts_with(opened);
    let end = at + if whole { opened.len() } else { 1 };
    let message = format!("expected {expected} before the end of the file");
    Diagnostic::error(XML, at..end, message).found("no end of what begins here")
}

/// `<!` that begins neither a comment nor anything else that is known.
pub(super) fn unknown_markup(at: usize) -> Diagnostic {
    let message = "expected `<!--` or `<![CDATA[`";
    Diagnostic::error(XML, at..at + "<!".len(), message).found("another kind of markup")
}

pub(super) fn foreign_root(name: &str, span: Range<usize>) -> Diagnostic {
    let message = format!("only what stands in `<{ROOT}>` counts");
    let diagnostic = Diagnostic::warning(name, span, message).found(quote(name));
    if name == "agent_config" {
        return diagnostic.help(
            "the shared configuration of agents is not read; put it into the agent's own `ossec.conf`",
        );
    }
    diagnostic
}
