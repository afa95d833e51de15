//! From a byte of a text to its line and column.

use std::ops::Range;

/// Where the lines of one text begin, so that a place costs a search and not a walk.
#[derive(Clone, Debug)]
pub struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// A place as people and editors count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1; a line ends after its line feed.
    pub line: usize,
    /// In characters, from 1; a byte order mark does not count.
    pub column: usize,
}

impl<'t> Lines<'t> {
    /// Finds the lines of `text`.
    #[must_use]
    pub fn new(text: &'t str) -> Self {
        let after_feeds = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(bom_len(text)).chain(after_feeds).collect();
        Self { text, starts }
    }

    /// The place of the byte `at`. One that is past the text or inside a character counts as the nearest
    /// place before it.
    #[must_use]
    pub fn place(&self, at: usize) -> Place {
        let at = char_floor(self.text, at);
        let line = self.line(at);
        let start = self.starts[line - 1];
        let before = self.text.get(start..at).unwrap_or_default();
        let column = before.chars().count() + 1;
        Place { line, column }
    }

    /// The line of the byte `at`, from 1.
    #[must_use]
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|&start| start <= at).max(1)
    }

    /// The bytes of `line` without its line end; empty past the last line.
    #[must_use]
    pub fn range(&self, line: usize) -> Range<usize> {
        let end_of_text = self.text.len();
        let index = line.checked_sub(1);
        let Some(&start) = index.and_then(|index| self.starts.get(index)) else {
            return end_of_text..end_of_text;
        };
        let end = self.starts.get(line).map_or(end_of_text, |next| next - 1);
        let content = &self.text[start..end];
        start..start + content.strip_suffix('\r').unwrap_or(content).len()
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &'t str {
        self.text
    }
}

/// The last place at or before `at` that parts two characters of `text`.
pub(super) fn char_floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len()))
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

/// Bytes of the byte order mark that `text` begins with.
fn bom_len(text: &str) -> usize {
    if text.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, at: usize, line: usize, column: usize) {
        let place = Lines::new(text).place(at);
        assert_eq!(place, Place { line, column }, "byte {at} of {text:?}");
    }

    #[test]
    fn columns_count_characters_from_one() {
        check("", 0, 1, 1);
        check("ab\ncd", 1, 1, 2);
        check("ab\ncd", 2, 1, 3);
        check("ab\ncd", 3, 2, 1);
        check("ää\nöx", 7, 2, 2);
        check("\u{feff}ab", 3, 1, 1);
        check("\u{feff}ab", 0, 1, 1);
    }

    #[test]
    fn places_outside_the_text_are_pulled_back() {
        check("ä", 1, 1, 1);
        check("a\n", 99, 2, 1);
    }

    #[test]
    fn a_line_is_without_its_end() {
        let lines = Lines::new("ab\r\ncd\n");
        assert_eq!(lines.range(1), 0..2);
        assert_eq!(lines.range(2), 4..6);
        assert_eq!(lines.range(3), 7..7);
        assert_eq!(lines.range(9), 7..7);
        assert_eq!(lines.range(0), 7..7);
    }
}
