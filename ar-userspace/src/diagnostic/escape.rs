//! Makes text of a user safe for a terminal and a log: what would act is shown instead.
//!
//! Nothing outside this file decides which characters are safe to print.

use std::fmt::Write as _;

/// Characters of user text that a message shows before it is cut.
const QUOTE_MAX_CHARS: usize = 60;

/// Puts `text` into backticks for a message, on one line, visible, and cut when it is long.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::from("`");
    for (count, c) in text.chars().enumerate() {
        if count == QUOTE_MAX_CHARS {
            quoted.push_str("...");
            break;
        }
        if c == '\t' {
            quoted.push_str("\\t");
        } else {
            push_visible(&mut quoted, c);
        }
    }
    quoted.push('`');
    quoted
}

/// The whole of `text` with what is not safe made visible.
#[must_use]
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        push_visible(&mut shown, c);
    }
    shown
}

/// Appends `c`, or what stands for it: a tab becomes four blanks, a line end `\n`, anything else that a
/// terminal would act on its number.
pub(super) fn push_visible(out: &mut String, c: char) {
    match c {
        '\t' => out.push_str("    "),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        c if c.is_control() || steers_text(c) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}

/// Whether `c` is invisible, or changes the direction or the joining of what stands around it.
fn steers_text(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_shown_by_number() {
        assert_eq!(quote("a\u{1b}[31mb"), "`a\\u{1b}[31mb`");
        assert_eq!(quote("\u{9b}2J\u{7f}\0"), "`\\u{9b}2J\\u{7f}\\u{0}`");
        assert_eq!(quote("\u{202e}txt\u{200b}"), "`\\u{202e}txt\\u{200b}`");
        assert_eq!(quote("a\r\n\tb"), "`a\\r\\n\\tb`");
        assert_eq!(quote("Größe 漢"), "`Größe 漢`");
    }

    #[test]
    fn long_text_is_cut() {
        let quoted = quote(&"ä".repeat(1000));
        assert_eq!(quoted, format!("`{}...`", "ä".repeat(QUOTE_MAX_CHARS)));
    }
}
