//! How commands print: standard output for answers, standard error for errors.

use std::io::{self, Write as _};
use std::time::Duration;

use comfy_table::{CellAlignment, ContentArrangement, Table, TableStyle};
use serde::Serialize;

use super::colours::{Colours, Shade};

/// Prints an answer. A reader that has gone away is no error.
pub(super) fn text(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a line of an answer that goes on, and tells whether somebody reads it.
pub(super) fn line(text: &str) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where a long answer goes piece by piece.
pub(super) fn stream() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// What a command that streams ends with: a reader that has gone away is no error.
pub(super) fn streamed<T>(ended: anyhow::Result<T>, gone: T) -> anyhow::Result<T> {
    match ended {
        Err(error)
            if error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) =>
        {
            Ok(gone)
        }
        ended => ended,
    }
}

/// Prints an answer as indented JSON.
pub(super) fn json(answer: &impl Serialize) -> anyhow::Result<()> {
    text(&format!("{}\n", serde_json::to_string_pretty(answer)?))
}

/// Prints an error with its causes on one line.
#[expect(
    clippy::print_stderr,
    reason = "this is where errors of commands are printed"
)]
pub(super) fn error(error: &anyhow::Error) {
    eprintln!("arfw: {error:#}");
}

/// Prints text on standard error as it is.
#[expect(
    clippy::print_stderr,
    reason = "this is where errors of commands are printed"
)]
pub(super) fn error_text(text: &str) {
    eprint!("{text}");
}

/// A table without lines; the columns of the given places are numbers.
pub(super) fn table(header: &[&str], numbers: &[usize]) -> Table {
    let mut table = Table::new();
    table
        .load_style(TableStyle::new())
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if numbers.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// The lines of a table, with its header and in each row one word in colours.
pub(super) fn rows(
    table: &Table,
    colours: Colours,
    word: impl Fn(usize) -> Option<(Shade, String)>,
) -> String {
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let row = number.checked_sub(1);
        let line = match row.map(&word) {
            None => colours.text(Shade::Head, line),
            Some(None) => line.to_owned(),
            Some(Some((shade, word))) => line.replacen(&word, &colours.text(shade, &word), 1),
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A duration in words, to the second: `9m 58s`.
pub(super) fn duration(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// Some words, made visible.
pub(super) fn listed(words: &[String]) -> String {
    match words {
        [] => "none".to_owned(),
        words => crate::diagnostic::visible(&words.join(" ")),
    }
}

/// A number with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn durations_are_told_to_the_second() {
        assert_eq!(duration(Duration::from_millis(598_900)), "9m 58s");
        assert_eq!(duration(Duration::from_millis(900)), "0s");
    }
}
