//! Lines of a label and a text that is broken between words at 80 columns.

use super::colours::{Colours, Shade};

const COLUMNS: usize = 80;

/// Columns before what a line says.
const INDENT: usize = 16;

/// Text that is put together line by line.
#[derive(Default)]
pub(super) struct Page {
    pub(super) text: String,
}

impl Page {
    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    pub(super) fn head(&mut self, text: &str) {
        self.broken("", 2, text);
    }

    /// A head in a colour, which takes no column.
    pub(super) fn verdict(&mut self, colours: Colours, shade: Shade, text: &str) {
        let begin = self.text.len();
        self.head(text);
        let told = self.text.split_off(begin);
        self.text.push_str(&colours.text(shade, told.trim_end()));
        self.text.push('\n');
    }

    pub(super) fn line(&mut self, label: &str, text: &str) {
        self.broken(&format!("    {label:<12}"), INDENT, text);
    }

    pub(super) fn marked(&mut self, mark: char, label: &str, text: &str) {
        self.broken(&format!("  {mark} {label:<12}"), INDENT, text);
    }

    /// `start` and the words of `text`; later lines begin `indent` columns in.
    pub(super) fn broken(&mut self, start: &str, indent: usize, text: &str) {
        self.text.push_str(start);
        let mut column = start.chars().count();
        let mut is_first = true;
        for word in text.split_whitespace() {
            let width = word.chars().count();
            if !is_first && column + 1 + width > COLUMNS {
                self.text.push('\n');
                self.text.extend(std::iter::repeat_n(' ', indent));
                column = indent;
                is_first = true;
            }
            if !is_first {
                self.text.push(' ');
                column += 1;
            }
            self.text.push_str(word);
            column += width;
            is_first = false;
        }
        self.text.push('\n');
    }
}
