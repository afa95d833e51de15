//! The text inside one element: decoded, and each byte of it still tied to its place in the file.
//!
//! What the text means is not decided here.

use std::ops::Range;

/// Decoded text of an element, comments left out, and where its pieces stood.
#[derive(Clone, Debug, Default)]
pub(super) struct Value {
    text: String,
    pieces: Vec<Piece>,
    /// Where the text would begin when it is empty.
    origin: usize,
}

/// A run of the decoded text that comes from one run of the file.
#[derive(Clone, Debug)]
struct Piece {
    at: usize,
    source: Range<usize>,
    /// Whether the two runs are the same bytes; a decoded reference is one place as a whole.
    literal: bool,
}

/// A part of a value, with the place of every part of it known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'v> {
    value: &'v Value,
    start: usize,
    end: usize,
}

impl Value {
    /// An empty value at the place `origin`.
    pub(super) fn at(origin: usize) -> Self {
        Self {
            origin,
            ..Self::default()
        }
    }

    /// Appends text that stands in the file as it is.
    pub(super) fn push_literal(&mut self, text: &str, source: Range<usize>) {
        self.push(text, source, true);
    }

    /// Appends what a reference at `source` stands for.
    pub(super) fn push_decoded(&mut self, c: char, source: Range<usize>) {
        self.push(c.encode_utf8(&mut [0; 4]), source, false);
    }

    /// The whole value without white space around it (AR-CFG-3).
    pub(super) fn trimmed(&self) -> Part<'_> {
        let whole = Part {
            value: self,
            start: 0,
            end: self.text.len(),
        };
        whole.trim()
    }

    /// Whether a piece of it stands at the byte `at` of the file.
    pub(super) fn stands_at(&self, at: usize) -> bool {
        self.pieces.iter().any(|piece| piece.source.contains(&at))
    }

    fn push(&mut self, text: &str, source: Range<usize>, literal: bool) {
        if text.is_empty() {
            return;
        }
        let at = self.text.len();
        self.pieces.push(Piece {
            at,
            source,
            literal,
        });
        self.text.push_str(text);
    }

    /// The place in the file of the byte `at`; with `end`, the place after the byte before it.
    fn source(&self, at: usize, end: bool) -> usize {
        let inside = if end { at.saturating_sub(1) } else { at };
        let next = self.pieces.partition_point(|piece| piece.at <= inside);
        match next.checked_sub(1).map(|index| &self.pieces[index]) {
            None => self.origin,
            Some(piece) if piece.literal => piece.source.start + (at - piece.at),
            Some(piece) if end || at > inside => piece.source.end,
            Some(piece) => piece.source.start,
        }
    }
}

impl<'v> Part<'v> {
    /// The decoded text.
    pub(super) fn text(self) -> &'v str {
        &self.value.text[self.start..self.end]
    }

    /// Bytes of the file from the first to the last character; an empty range at its place when empty.
    pub(super) fn span(self) -> Range<usize> {
        if self.is_empty() {
            let at = self.value.source(self.start, self.start > 0);
            return at..at;
        }
        self.value.source(self.start, false)..self.value.source(self.end, true)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Without the white space around it.
    pub(super) fn trim(self) -> Self {
        let text = self.text();
        let start = self.start + (text.len() - text.trim_start().len());
        let end = start + text.trim().len();
        Self { start, end, ..self }
    }

    /// The parts between separators, as they stand.
    pub(super) fn split(self, separator: char) -> impl Iterator<Item = Self> {
        let mut start = self.start;
        self.text().split(separator).map(move |item| {
            let part = Self {
                start,
                end: start + item.len(),
                ..self
            };
            start = part.end + separator.len_utf8();
            part
        })
    }

    /// The parts between separators, trimmed, without the empty ones.
    pub(super) fn items(self, separator: char) -> impl Iterator<Item = Self> {
        self.split(separator)
            .map(Self::trim)
            .filter(|item| !item.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a &amp;<!-- -->b, c` as it would be read from the byte 10 on.
    fn value() -> Value {
        let mut value = Value::at(10);
        value.push_literal(" a ", 10..13);
        value.push_decoded('&', 13..18);
        value.push_literal("b, c", 27..31);
        value
    }

    #[test]
    fn each_part_knows_its_place() {
        let value = value();
        let whole = value.trimmed();
        assert_eq!((whole.text(), whole.span()), ("a &b, c", 11..31));
        let items: Vec<_> = whole
            .items(',')
            .map(|item| (item.text(), item.span()))
            .collect();
        assert_eq!(items, [("a &b", 11..28), ("c", 30..31)]);
        let items: Vec<_> = whole
            .split('b')
            .map(|item| (item.text(), item.span()))
            .collect();
        assert_eq!(items, [("a &", 11..18), (", c", 28..31)]);
    }

    #[test]
    fn an_empty_value_stands_after_its_tag() {
        assert_eq!(Value::at(7).trimmed().span(), 7..7);
        let mut blank = Value::at(7);
        blank.push_literal(" \n ", 7..10);
        assert!(blank.trimmed().is_empty());
        assert_eq!(blank.trimmed().span(), 10..10);
    }
}
