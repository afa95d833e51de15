//! From XML events to elements, without stopping at the first mistake.
//!
//! The nesting is kept here and not by the XML reader, so that a wrong end tag can name the start tag it
//! does not match, and reading can go on behind it. Messages are in `mistakes`.

use std::ops::Range;

use quick_xml::Reader;
use quick_xml::errors::{Error, SyntaxError};
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use super::super::value::Value;
use super::{Element, ROOT, Raw, mistakes};
use crate::diagnostic::{Diagnostic, quote};

/// How often reading begins again behind a `<` that is none. Each time costs the length of the text.
const RESTARTS_MAX: usize = 20;

/// Reads `syntax` for its structure and `text`, of the same length, for its values.
pub(super) fn walk(syntax: &str, text: &str) -> Raw {
    let mut walker = Walker {
        text,
        raw: Raw::default(),
        open: Vec::new(),
        stray_until: None,
        restart_at: None,
        restarts: 0,
    };
    let mark = '\u{feff}';
    let mut from = if text.starts_with(mark) {
        mark.len_utf8()
    } else {
        0
    };
    while let Some(next) = walker.run(syntax, from) {
        from = next;
    }
    walker.raw
}

struct Walker<'t> {
    text: &'t str,
    raw: Raw,
    open: Vec<Open>,
    /// End of the last text that was reported as being where no text belongs.
    stray_until: Option<usize>,
    /// Where reading is to begin again, behind a `<` that hid what follows it.
    restart_at: Option<usize>,
    restarts: usize,
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
    Kept(Box<Element>),
    /// Skipped whole.
    Skipped,
}

impl Walker<'_> {
    /// Reads from the byte `from` on, and returns where to begin again, if anywhere.
    fn run(&mut self, syntax: &str, from: usize) -> Option<usize> {
        let mut reader = Reader::from_str(&syntax[from..]);
        let config = reader.config_mut();
        config.allow_dangling_amp = true;
        config.allow_unmatched_ends = true;
        config.check_end_names = false;
        // The reader drops a mark without counting it, and one can only stand here after a restart.
        let mark = if from > 0 && syntax[from..].starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        // The text is in memory, so that every place in it fits.
        let place = |at: u64| from + mark + usize::try_from(at).unwrap_or(syntax.len());
        loop {
            let start = place(reader.buffer_position());
            let event = reader.read_event();
            let span = start..place(reader.buffer_position());
            match event {
                Ok(Event::Eof) => {
                    self.finish();
                    return None;
                }
                Ok(event) => self.event(&event, span),
                Err(Error::IllFormed(_)) => {
                    let at = place(reader.error_position());
                    self.report(mistakes::no_doctype_name(at..span.end));
                }
                Err(error) => self.endless(&error, place(reader.error_position())),
            }
            if let Some(at) = self.restart_at.take() {
                if self.restarts == RESTARTS_MAX {
                    self.abandon();
                    return None;
                }
                self.restarts += 1;
                return Some(at);
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
        if !is_name(&self.text[name.clone()]) {
            self.report(mistakes::no_name(tag.start));
            self.restart_at = Some(tag.start + 1);
            return;
        }
        let tag_end = self.end_before_next_tag(&tag);
        let name = name.start..name.end.min(tag_end);
        let tag = tag.start..tag_end;
        self.close_before_section(&name, &tag);
        let role = self.role(&name, &tag);
        if let Some(parent) = self.open.last_mut() {
            parent.has_children = true;
        }
        self.open.push(Open {
            name,
            tag: tag.clone(),
            has_children: false,
            role,
        });
        if let Some(at) = self.restart_at {
            self.report(mistakes::tag_in_tag(tag, at));
        } else if empty {
            self.close();
        }
    }

    /// The end of a tag; the place of a `<` in it, from where reading begins again.
    fn end_before_next_tag(&mut self, tag: &Range<usize>) -> usize {
        let inner = self.text[tag.start + 1..tag.end].find('<');
        match inner.map(|at| tag.start + 1 + at) {
            Some(at) => {
                self.restart_at = Some(at);
                tag.start + self.text[tag.start..at].trim_end().len()
            }
            None => tag.end,
        }
    }

    /// A section that begins in a section: the end tag of the first is missing.
    fn close_before_section(&mut self, name: &Range<usize>, tag: &Range<usize>) {
        let text = &self.text[name.clone()];
        // A command is a child of a root and of a section.
        let begins_section = text != "command" && self.raw.list_of(text).is_some();
        let in_section = self.open.len() == 2
            && self
                .open
                .last()
                .is_some_and(|top| matches!(top.role, Role::Kept(_)));
        if begins_section && in_section {
            let found = quote(&format!("<{text}>"));
            self.report_not_closed(tag.clone(), &found);
            self.close();
        }
    }

    fn role(&mut self, name: &Range<usize>, tag: &Range<usize>) -> Role {
        let text = &self.text[name.clone()];
        let keep = match self.open.last().map(|parent| &parent.role) {
            None if text == ROOT => return Role::Root,
            None => {
                self.report(mistakes::foreign_root(text, name.clone()));
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
        Role::Kept(Box::new(Element {
            name: text.to_owned(),
            tag: tag.clone(),
            name_span: name.clone(),
            value: Value::at(tag.end),
            children: Vec::new(),
            broken: false,
        }))
    }

    fn end(&mut self, tag: Range<usize>) {
        let tag = tag.start..self.end_before_next_tag(&tag);
        let inner = &self.text[tag.start + "</".len()..tag.end];
        let name = inner.strip_suffix('>').unwrap_or(inner).trim_end();
        if let Some(at) = self.restart_at {
            self.report(mistakes::tag_in_tag(tag.clone(), at));
        }
        if !is_name(name) && self.restarts > 0 {
            // Its start tag has been reported as a `<` that begins no tag.
            return self.mark_broken();
        }
        let Some(top) = self.open.last() else {
            return self.report(mistakes::nothing_open(name, tag));
        };
        if &self.text[top.name.clone()] == name {
            return self.close();
        }
        let closes_innermost = !top.has_children;
        let is_open = |open: &Open| &self.text[open.name.clone()] == name;
        let matching = self.open.iter().rposition(is_open);
        let found = quote(&format!("</{name}>"));
        self.report_not_closed(tag, &found);
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
                parent.children.push(*element);
            }
            _ => {
                if let Some(list) = self.raw.list_of(&element.name) {
                    list.push(*element);
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
        let decoded = match reference.resolve_char_ref() {
            Ok(None) => resolve_xml_entity(reference).and_then(|text| text.chars().next()),
            Ok(decoded) => decoded,
            Err(_) => {
                let mistake = mistakes::bad_reference(&self.text[span.clone()], span);
                return self.report(mistake);
            }
        };
        match decoded {
            Some(c) => element.value.push_decoded(c, span),
            None => self.literal(span),
        }
    }

    /// Text that stands in no element of a root.
    fn stray(&mut self, span: Range<usize>) {
        let text = &self.text[span.clone()];
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return;
        }
        let continues = self.stray_until == Some(span.start);
        self.stray_until = Some(span.end);
        if continues {
            return;
        }
        let start = span.start + (text.len() - text.trim_start().len());
        let place = start..start + trimmed.len();
        self.report(if self.open.is_empty() {
            mistakes::text_outside(trimmed, place)
        } else {
            mistakes::text_in_root(trimmed, place)
        });
    }

    /// The end of the text, with no tag or comment left half.
    fn finish(&mut self) {
        let end = self.text.trim_end().len();
        self.report_not_closed(end..end, "the end of the file");
        self.abandon();
    }

    /// A tag or a comment that begins at `at` and has no end.
    fn endless(&mut self, error: &Error, at: usize) {
        let inside = &self.text[at + 1..];
        let is_tag = inside.starts_with('/') || is_name(inside);
        match error {
            Error::Syntax(SyntaxError::InvalidBangMarkup) if inside.starts_with('!') => {
                self.report(mistakes::unknown_markup(at));
            }
            _ if is_tag || inside.starts_with(['!', '?']) => {
                self.report(mistakes::endless(error, self.text, at));
            }
            _ => self.report(mistakes::no_name(at)),
        }
        // The rest of a comment may well be meant as one; behind a stray `<` the file goes on.
        if inside.starts_with(['!', '?']) || !inside.contains('<') {
            self.abandon();
        } else {
            self.restart_at = Some(at + 1);
        }
    }

    /// Takes what is open as it is, not to be judged.
    fn abandon(&mut self) {
        while !self.open.is_empty() {
            self.mark_broken();
            self.close();
        }
    }

    /// Reports that the innermost element is not closed where it should be, if one is open.
    fn report_not_closed(&mut self, place: Range<usize>, found: &str) {
        let Some(top) = self.open.last() else { return };
        let name = &self.text[top.name.clone()];
        self.report(mistakes::not_closed(name, top.tag.clone(), place, found));
    }

    fn mark_broken(&mut self) {
        if let Some(Role::Kept(element)) = self.open.last_mut().map(|top| &mut top.role) {
            element.broken = true;
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        if diagnostic.is_error() {
            self.mark_broken();
        }
        self.raw.diagnostics.push(diagnostic);
    }
}

/// Whether an element can be named as the text begins. A `<` that is meant as a character is caught by it.
fn is_name(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
}
