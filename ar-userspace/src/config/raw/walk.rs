//! From XML events to elements, without stopping at the first mistake.
//!
//! The nesting is kept here and not by the XML reader, so that a wrong end tag can name the start tag it
//! does not match, and reading can go on behind it.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use super::super::value::Value;
use super::{Element, ROOT, Raw};
use crate::diagnostic::{Diagnostic, quote};

/// Name under which mistakes of the XML are reported (AR-CFG-18).
const XML: &str = "xml";

/// Reads `syntax` for its structure and `text`, of the same length, for its values.
pub(super) fn walk(syntax: &str, text: &str) -> Raw {
    let mut walker = Walker {
        text,
        raw: Raw::default(),
        open: Vec::new(),
        stray_until: 0,
    };
    walker.run(syntax);
    walker.raw
}

struct Walker<'t> {
    text: &'t str,
    raw: Raw,
    open: Vec<Open>,
    /// End of the last text that was reported as being where no text belongs.
    stray_until: usize,
}

/// A start tag whose end tag has not come yet.
struct Open {
    name: Range<usize>,
    tag: Range<usize>,
    has_children: bool,
    role: Role,
}

enum Role {
    /// `<ossec_config>`.
    Root,
    /// One of the elements that matter, or inside one.
    Kept(Element),
    /// Skipped whole.
    Skipped,
}

impl Walker<'_> {
    fn run(&mut self, syntax: &str) {
        // The reader drops the mark without counting it.
        let (mark, syntax) = match syntax.strip_prefix('\u{feff}') {
            Some(rest) => ('\u{feff}'.len_utf8(), rest),
            None => (0, syntax),
        };
        let mut reader = Reader::from_str(syntax);
        let config = reader.config_mut();
        config.allow_dangling_amp = true;
        config.allow_unmatched_ends = true;
        config.check_end_names = false;
        // The text is in memory, so that its length and every place in it fit.
        let place = |at: u64| mark + usize::try_from(at).unwrap_or(syntax.len());
        loop {
            let start = place(reader.buffer_position());
            let event = reader.read_event();
            let span = start..place(reader.buffer_position());
            match event {
                Ok(Event::Eof) => break self.finish(),
                Ok(event) => self.event(&event, span),
                Err(Error::IllFormed(_)) => {
                    let at = place(reader.error_position());
                    self.error(at..span.end, "expected a name after `<!DOCTYPE`");
                }
                Err(error) => {
                    let at = place(reader.error_position());
                    break self.broken_off(&error, at);
                }
            }
        }
    }

    fn event(&mut self, event: &Event<'_>, span: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(span, tag.name().as_ref().len(), false),
            Event::Empty(tag) => self.start(span, tag.name().as_ref().len(), true),
            Event::End(_) => self.end(span),
            Event::Text(_) => self.literal(span),
            Event::CData(_) => {
                let inside = span.start + "<![CDATA[".len()..span.end - "]]>".len();
                self.literal(inside);
            }
            Event::GeneralRef(reference) => self.reference(reference, span),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Eof => {}
        }
    }

    fn start(&mut self, tag: Range<usize>, name_len: usize, empty: bool) {
        let name = tag.start + 1..tag.start + 1 + name_len;
        let inner = &self.text[name.end..tag.end];
        if let Some(at) = inner.find('<').map(|at| name.end + at) {
            let diagnostic = Diagnostic::error(XML, at..at + 1, "expected `>` before the next tag")
                .found("`<`")
                .related(name.start - 1..name.end, "this tag is not closed");
            self.report(diagnostic);
            return;
        }
        if !is_name(&self.text[name.clone()]) {
            let diagnostic =
                Diagnostic::error(XML, tag, "expected the name of an element after `<`")
                    .found(quote(&self.text[name]))
                    .help("write `&lt;` for the character itself");
            self.report(diagnostic);
            return;
        }
        let role = self.role(&name, &tag);
        if let Some(parent) = self.open.last_mut() {
            parent.has_children = true;
        }
        self.open.push(Open {
            name,
            tag,
            has_children: false,
            role,
        });
        if empty {
            self.close();
        }
    }

    fn role(&mut self, name: &Range<usize>, tag: &Range<usize>) -> Role {
        let text = &self.text[name.clone()];
        let keep = match self.open.last().map(|parent| &parent.role) {
            None if text == ROOT => return Role::Root,
            None => {
                self.report(foreign_root(text, name.clone()));
                return Role::Skipped;
            }
            Some(Role::Root) => self.raw.list_of(text).is_some(),
            // A value with elements in it is reported by name; what is inside those does not matter.
            Some(Role::Kept(_)) => self.open.len() <= 3,
            Some(Role::Skipped) => false,
        };
        if !keep {
            return Role::Skipped;
        }
        Role::Kept(Element {
            name: text.to_owned(),
            tag: tag.clone(),
            name_span: name.clone(),
            value: Value::at(tag.end),
            children: Vec::new(),
            broken: false,
        })
    }

    fn end(&mut self, tag: Range<usize>) {
        let name = self.text[tag.start + 2..tag.end - 1].trim_end();
        let Some(top) = self.open.last() else {
            let diagnostic =
                Diagnostic::error(XML, tag, "expected no end tag: nothing is open here")
                    .found(quote(&format!("</{name}>")));
            return self.report(diagnostic);
        };
        if &self.text[top.name.clone()] == name {
            return self.close();
        }
        let diagnostic = self.unclosed(top, tag).found(quote(&format!("</{name}>")));
        let matching = self
            .open
            .iter()
            .rposition(|open| &self.text[open.name.clone()] == name);
        let closes_innermost = !top.has_children;
        self.report(diagnostic);
        match matching {
            // The end tags of what stands inside it are missing.
            Some(depth) => {
                while self.open.len() > depth {
                    self.mark_broken();
                    self.close();
                }
            }
            // A misspelt end tag; one that follows whole elements is more likely one too many.
            None if closes_innermost => self.close(),
            None => {}
        }
    }

    fn close(&mut self) {
        let Some(Open { role, .. }) = self.open.pop() else {
            return;
        };
        let Role::Kept(element) = role else {
            return;
        };
        match self.open.last_mut().map(|parent| &mut parent.role) {
            Some(Role::Kept(parent)) => {
                parent.broken |= element.broken;
                parent.children.push(element);
            }
            _ => {
                if let Some(list) = self.raw.list_of(&element.name) {
                    list.push(element);
                }
            }
        }
    }

    fn literal(&mut self, span: Range<usize>) {
        let text = &self.text[span.clone()];
        match self.open.last_mut().map(|top| &mut top.role) {
            Some(Role::Kept(element)) => element.value.push_literal(text, span),
            Some(Role::Skipped) => {}
            Some(Role::Root) | None => self.stray(span),
        }
    }

    /// A reference that XML does not define stands for itself, as in OSSEC's own reader.
    fn reference(&mut self, reference: &BytesRef<'_>, span: Range<usize>) {
        let Some(Role::Kept(element)) = self.open.last_mut().map(|top| &mut top.role) else {
            return self.literal(span);
        };
        match reference.resolve_char_ref() {
            Ok(Some(c)) => element.value.push_decoded(c, span),
            Ok(None) => {
                let decoded = resolve_xml_entity(reference).and_then(|text| text.chars().next());
                match decoded {
                    Some(c) => element.value.push_decoded(c, span),
                    None => self.literal(span),
                }
            }
            Err(_) => {
                let found = quote(&self.text[span.clone()]);
                let diagnostic = Diagnostic::error(XML, span, "expected the number of a character")
                    .found(found)
                    .help("write `&amp;` for the character `&` itself");
                self.report(diagnostic);
            }
        }
    }

    /// Text that stands in no element of a root.
    fn stray(&mut self, span: Range<usize>) {
        let text = &self.text[span.clone()];
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return;
        }
        let continues = self.stray_until == span.start && self.stray_until > 0;
        self.stray_until = span.end;
        if continues {
            return;
        }
        let start = span.start + (text.len() - text.trim_start().len());
        let place = start..start + trimmed.len();
        let found = quote(trimmed);
        let diagnostic = if self.open.is_empty() {
            Diagnostic::error(XML, place, "expected no text outside an element").found(found)
        } else {
            Diagnostic::warning(ROOT, place, "text that stands in no element has no effect")
                .found(found)
        };
        self.report(diagnostic);
    }

    /// The end of the text, with no tag or comment left half.
    fn finish(&mut self) {
        let Some(top) = self.open.last() else {
            return;
        };
        let end = self.text.trim_end().len();
        let diagnostic = self.unclosed(top, end..end).found("the end of the file");
        self.report(diagnostic);
        self.abandon();
    }

    /// The end of the text inside a tag or a comment: everything from `at` is lost.
    fn broken_off(&mut self, error: &Error, at: usize) {
        let (opened, expected) = match error {
            Error::Syntax(SyntaxError::UnclosedComment) => ("<!--", "expected `-->`"),
            Error::Syntax(SyntaxError::UnclosedCData) => ("<![CDATA[", "expected `]]>`"),
            Error::Syntax(SyntaxError::UnclosedPI | SyntaxError::UnclosedXmlDecl) => {
                ("<?", "expected `?>`")
            }
            Error::Syntax(SyntaxError::InvalidBangMarkup) => {
                ("<!", "expected `<!--` or `<![CDATA[`")
            }
            Error::Syntax(
                SyntaxError::UnclosedSingleQuotedAttributeValue
                | SyntaxError::UnclosedDoubleQuotedAttributeValue,
            ) => ("<", "expected a quote that ends the attribute's value"),
            _ => ("<", "expected `>`"),
        };
        let end = self.text.len().min(at + opened.len());
        let end = if self.text.is_char_boundary(end) {
            end
        } else {
            at
        };
        let diagnostic = Diagnostic::error(
            XML,
            at..end,
            format!("{expected} before the end of the file"),
        )
        .found("no end of what begins here");
        self.report(diagnostic);
        self.abandon();
    }

    /// Takes what is open as it is, not to be judged.
    fn abandon(&mut self) {
        while !self.open.is_empty() {
            self.mark_broken();
            self.close();
        }
    }

    fn unclosed(&self, open: &Open, place: Range<usize>) -> Diagnostic {
        let expected = quote(&format!("</{}>", &self.text[open.name.clone()]));
        Diagnostic::error(XML, place, format!("expected {expected}"))
            .related(open.tag.clone(), "opened here")
    }

    fn mark_broken(&mut self) {
        if let Some(Role::Kept(element)) = self.open.last_mut().map(|top| &mut top.role) {
            element.broken = true;
        }
    }

    fn error(&mut self, span: Range<usize>, message: &str) {
        self.report(Diagnostic::error(XML, span, message));
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        if diagnostic.is_error() {
            self.mark_broken();
        }
        self.raw.diagnostics.push(diagnostic);
    }
}

fn foreign_root(name: &str, span: Range<usize>) -> Diagnostic {
    let message = format!("only what stands in `<{ROOT}>` counts");
    let diagnostic = Diagnostic::warning(name, span, message).found(quote(name));
    if name == "agent_config" {
        return diagnostic.help(
            "the shared configuration of agents is not read; put it into the agent's own `ossec.conf`",
        );
    }
    diagnostic
}

/// Whether an element can have this name. A `<` that is meant as a character is caught by it.
fn is_name(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
}
