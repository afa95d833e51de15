//! The lines of a text that a message shows: visible characters only, long lines cut around the place.
//!
//! A renderer is given an excerpt and never the text, so that what it costs does not grow with the file
//! and nothing of the file reaches a terminal as it is.

use std::ops::Range;

use super::Lines;
use super::escape::push_visible;
use super::lines::char_floor;

/// Characters of one line that are shown.
const LINE_MAX_CHARS: usize = 110;
/// Characters kept before the place when a line is cut.
const LEAD_CHARS: usize = 40;
/// Lines this near to a place keep their text; renderers fold what is farther away.
const NEAR_LINES: usize = 2;

/// Consecutive lines to show, and where the places are in them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excerpt {
    /// Number of the first line, from 1.
    pub(super) first_line: usize,
    /// The lines; those far from every place are left empty.
    pub(super) source: String,
    /// The places asked for, as bytes of `source`.
    pub(super) spans: Vec<Range<usize>>,
}

/// Cuts out what is around `spans`. A span of several lines is shown to the end of its first line.
pub(super) fn excerpt(lines: &Lines<'_>, spans: &[Range<usize>]) -> Excerpt {
    let marked: Vec<usize> = spans.iter().map(|span| lines.line(span.start)).collect();
    let first_line = marked.iter().copied().min().unwrap_or(1);
    let last_line = marked.iter().copied().max().unwrap_or(1);
    let mut source = String::new();
    let mut shown = vec![0..0; spans.len()];
    for line in first_line..=last_line {
        if marked.iter().any(|&at| at.abs_diff(line) <= NEAR_LINES) {
            let range = lines.range(line);
            let inside = |at: usize| at.clamp(range.start, range.end) - range.start;
            let here: Vec<(usize, Range<usize>)> = marked
                .iter()
                .zip(spans)
                .enumerate()
                .filter(|&(_, (&at, _))| at == line)
                .map(|(index, (_, span))| (index, inside(span.start)..inside(span.end)))
                .collect();
            let focus = here.iter().map(|(_, span)| span.start).min();
            let cut = Cut::new(&lines.text()[range], focus.unwrap_or(0));
            for (index, span) in here {
                let base = source.len();
                shown[index] = base + cut.position(span.start)..base + cut.position(span.end);
            }
            source.push_str(&cut.shown);
        }
        source.push('\n');
    }
    Excerpt {
        first_line,
        source,
        spans: shown,
    }
}

/// One line as it is shown.
struct Cut {
    shown: String,
    /// Pairs of a byte of the line and the byte of `shown` where it went, rising.
    moved: Vec<(usize, usize)>,
}

impl Cut {
    fn new(line: &str, focus: usize) -> Self {
        let whole = line.chars().take(LINE_MAX_CHARS + 1).count() <= LINE_MAX_CHARS;
        let skipped = if whole {
            0
        } else {
            let before = line[..char_floor(line, focus)].chars().count();
            before.saturating_sub(LEAD_CHARS)
        };
        let mut shown = String::new();
        let mut moved = Vec::new();
        if skipped > 0 {
            shown.push_str("...");
        }
        let mut window = line.char_indices().skip(skipped);
        for (at, c) in window.by_ref().take(LINE_MAX_CHARS) {
            moved.push((at, shown.len()));
            push_visible(&mut shown, c);
        }
        let rest = window.next();
        moved.push((rest.map_or(line.len(), |(at, _)| at), shown.len()));
        if rest.is_some() {
            shown.push_str("...");
        }
        Self { shown, moved }
    }

    /// Where the byte `at` of the line is shown; the nearest shown place when it was cut off.
    fn position(&self, at: usize) -> usize {
        let next = self.moved.partition_point(|&(from, _)| from < at);
        let (_, to) = self.moved[next.min(self.moved.len() - 1)];
        to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        text: &str,
        spans: &[(usize, usize)],
        first_line: usize,
        source: &str,
        marked: &[&str],
    ) {
        let spans: Vec<Range<usize>> = spans.iter().map(|&(start, end)| start..end).collect();
        let excerpt = excerpt(&Lines::new(text), &spans);
        assert_eq!(excerpt.first_line, first_line);
        assert_eq!(excerpt.source, source);
        let found: Vec<&str> = excerpt
            .spans
            .iter()
            .map(|span| &excerpt.source[span.clone()])
            .collect();
        assert_eq!(found, marked);
    }

    #[test]
    fn escapes_are_shown_and_the_place_moves_with_them() {
        check(
            "x\n\t\u{1b}ab\r\ny",
            &[(4, 6)],
            2,
            "    \\u{1b}ab\n",
            &["ab"],
        );
        check("\u{1b}", &[(0, 1)], 1, "\\u{1b}\n", &["\\u{1b}"]);
    }

    #[test]
    fn a_place_of_several_lines_is_shown_to_the_end_of_the_first() {
        check("ab\ncd\nef", &[(1, 7)], 1, "ab\n", &["b"]);
    }

    #[test]
    fn lines_far_from_every_place_are_left_empty() {
        check(
            "a\nb\nc\nd\ne\nf\ng\nh",
            &[(0, 1), (14, 15)],
            1,
            "a\nb\nc\n\n\nf\ng\nh\n",
            &["a", "h"],
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}[HERE]{}", "a".repeat(500), "b".repeat(500));
        let source = format!("...{}[HERE]{}...\n", "a".repeat(40), "b".repeat(64));
        check(&text, &[(500, 506)], 1, &source, &["[HERE]"]);
    }

    #[test]
    fn a_place_past_the_text_is_its_end() {
        check("ab", &[(2, 2)], 1, "ab\n", &[""]);
        check("", &[(0, 0)], 1, "\n", &[""]);
        check("a\n", &[(2, 2)], 2, "\n", &[""]);
    }
}
