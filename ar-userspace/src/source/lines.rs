//! Cuts a stream of bytes into batches of whole lines; keeps the last, unfinished one.

use super::position::Position;

/// Longest line that is taken, in bytes without its end. A longer one is skipped whole and counted.
pub const MAX_LINE: usize = 1 << 20;

/// Whole lines of one file, in their order.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The lines.
    pub cut: Cut,
    /// Where the next line begins: everything before it is in this batch or an earlier one.
    pub position: Position,
    /// The lines were there before the source had caught up: read after a start, or after an outage of the file.
    pub backlog: bool,
    /// The lines stand where lines may stand that were handed on before, out of this file or another (AR-IMP-8).
    pub may_repeat: bool,
}

/// What the cutter makes of some bytes: whole lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    bytes: Vec<u8>,
    /// Lines over [`MAX_LINE`] that were skipped before or among these.
    pub skipped_long: u64,
}

impl Cut {
    /// The lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'\n', rest);
            let (line, next) = end.map_or((rest, &rest[rest.len()..]), |end| {
                (&rest[..end], &rest[end + 1..])
            });
            rest = next;
            Some(line)
        })
    }

    /// Bytes of the lines and their ends.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.skipped_long == 0
    }
}

/// The cutter: bytes in, whole lines out.
#[derive(Debug, Default)]
pub struct Lines {
    /// The unfinished last line, at most [`MAX_LINE`] bytes of it.
    partial: Vec<u8>,
    /// Bytes of the unfinished last line, kept or not.
    unfinished: u64,
    /// The line that is being read is too long: drop everything up to its end.
    skipping: bool,
}

impl Lines {
    /// Takes the next bytes of the file.
    pub fn push(&mut self, mut bytes: &[u8]) -> Cut {
        let mut cut = Cut::default();
        if self.skipping {
            let Some(newline) = memchr::memchr(b'\n', bytes) else {
                self.unfinished += bytes.len() as u64;
                return cut;
            };
            bytes = &bytes[newline + 1..];
            self.skipping = false;
            self.unfinished = 0;
            cut.skipped_long += 1;
        }
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
        let (lines, rest) = bytes.split_at(whole);
        if !lines.is_empty() {
            cut.bytes = std::mem::take(&mut self.partial);
            cut.bytes.extend_from_slice(lines);
            cut.drop_long_lines();
            self.unfinished = 0;
        }
        self.partial.extend_from_slice(rest);
        self.unfinished += rest.len() as u64;
        if self.partial.len() > MAX_LINE {
            self.partial = Vec::new();
            self.skipping = true;
        }
        cut
    }

    /// Bytes at the end of those pushed that belong to a line which has not ended yet.
    pub(super) fn unfinished(&self) -> u64 {
        self.unfinished
    }

    /// The file has ended for good: hands on an unfinished last line as it is.
    pub fn finish(&mut self) -> Cut {
        let lines = std::mem::take(self);
        Cut {
            bytes: lines.partial,
            skipped_long: u64::from(lines.skipping),
        }
    }
}

impl Cut {
    fn drop_long_lines(&mut self) {
        // Nothing shorter can hold a long line; this keeps the check away from ordinary batches.
        if self.bytes.len() <= MAX_LINE {
            return;
        }
        let mut kept = Vec::with_capacity(self.bytes.len());
        for line in self.bytes.split_inclusive(|&byte| byte == b'\n') {
            if line.len() <= MAX_LINE + 1 {
                kept.extend_from_slice(line);
            } else {
                self.skipped_long += 1;
            }
        }
        self.bytes = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the text in chunks of every size and compares lines, skipped lines, and what is handed on in all.
    fn check(text: &[u8], expected: &[&[u8]], skipped: u64) {
        for size in [1, 2, 3, 7, 4096, MAX_LINE, text.len().max(1)] {
            if text.len() / size > 100_000 {
                continue;
            }
            let mut lines = Lines::default();
            let (mut seen, mut long) = (Vec::new(), 0);
            let mut take = |cut: Cut| {
                seen.extend(cut.lines().map(<[u8]>::to_vec));
                long += cut.skipped_long;
            };
            for chunk in text.chunks(size) {
                take(lines.push(chunk));
            }
            let last_line = text
                .rsplit(|&byte| byte == b'\n')
                .next()
                .unwrap_or_default();
            assert_eq!(
                lines.unfinished(),
                last_line.len() as u64,
                "in chunks of {size}"
            );
            take(lines.finish());
            assert_eq!(seen, expected, "in chunks of {size}");
            assert_eq!(long, skipped, "in chunks of {size}");
        }
    }

    #[test]
    fn lines_are_whole_however_the_bytes_arrive() {
        check(b"", &[], 0);
        check(b"one\n", &[b"one"], 0);
        check(b"one\n\nthree\r\n", &[b"one", b"", b"three\r"], 0);
        check(b"one\nunfinished", &[b"one", b"unfinished"], 0);
        check(b"\0\xff\nnext\n", &[b"\0\xff", b"next"], 0);
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_whole_and_its_neighbours_stay() {
        let mut text = b"before\n".to_vec();
        text.resize(text.len() + MAX_LINE + 1, b'x');
        check(&text, &[b"before"], 1);
        text.extend_from_slice(b"\nafter\n");
        check(&text, &[b"before", b"after"], 1);

        let longest = vec![b'x'; MAX_LINE];
        let mut text = longest.clone();
        text.extend_from_slice(b"\nafter\n");
        check(&text, &[&longest, b"after"], 0);
    }
}
