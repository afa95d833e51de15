//! Cuts a stream of bytes into batches of whole lines; keeps the last, unfinished one.

/// Longest line that is taken, in bytes without its end. A longer one is skipped whole and counted.
pub const MAX_LINE: usize = 1 << 20;

/// Whole lines, in the order of the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Lines over [`MAX_LINE`] that were skipped before or among these.
    pub skipped_long: u64,
    /// Offset in the file just after the last of them.
    pub end: u64,
}

impl Batch {
    /// The lines, without their ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.skipped_long == 0
    }
}

/// The cutter: bytes in, batches out.
#[derive(Debug, Default)]
pub struct Lines {
    /// The unfinished last line, at most [`MAX_LINE`] bytes of it.
    partial: Vec<u8>,
    /// The line that is being read is too long: drop everything up to its end.
    skipping: bool,
}

impl Lines {
    /// Takes the next bytes of the file; `end` is the offset just after them.
    pub fn push(&mut self, mut bytes: &[u8], end: u64) -> Batch {
        let mut batch = Batch {
            end,
            ..Batch::default()
        };
        if self.skipping {
            let Some(newline) = memchr::memchr(b'\n', bytes) else {
                return batch;
            };
            bytes = &bytes[newline + 1..];
            self.skipping = false;
            batch.skipped_long += 1;
        }
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
        let (lines, rest) = bytes.split_at(whole);
        if !lines.is_empty() {
            batch.bytes = std::mem::take(&mut self.partial);
            batch.bytes.extend_from_slice(lines);
            batch.drop_long_lines();
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > MAX_LINE {
            self.partial = Vec::new();
            self.skipping = true;
        }
        batch.end -= self.partial.len() as u64;
        batch
    }

    /// The file has ended for good: hands on an unfinished last line as it is.
    pub fn finish(&mut self, end: u64) -> Batch {
        Batch {
            bytes: std::mem::take(&mut self.partial),
            skipped_long: u64::from(std::mem::take(&mut self.skipping)),
            end,
        }
    }
}

impl Batch {
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

    /// Feeds the text in chunks of every size and compares lines, skipped lines and the last offset.
    fn check(text: &[u8], expected: &[&[u8]], skipped: u64) {
        for size in [1, 2, 3, 7, 4096, MAX_LINE, text.len().max(1)] {
            if text.len() / size > 100_000 {
                continue;
            }
            let mut lines = Lines::default();
            let (mut seen, mut long, mut end) = (Vec::new(), 0, 0);
            let mut take = |batch: Batch| {
                seen.extend(batch.lines().map(<[u8]>::to_vec));
                long += batch.skipped_long;
                end = batch.end;
            };
            let mut offset = 0;
            for chunk in text.chunks(size) {
                offset += chunk.len() as u64;
                take(lines.push(chunk, offset));
            }
            take(lines.finish(offset));
            assert_eq!(seen, expected, "in chunks of {size}");
            assert_eq!(long, skipped, "in chunks of {size}");
            assert_eq!(end, text.len() as u64, "in chunks of {size}");
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
        text.extend_from_slice(b"\nafter\n");
        check(&text, &[b"before", b"after"], 1);

        let longest = vec![b'x'; MAX_LINE];
        let mut text = longest.clone();
        text.extend_from_slice(b"\nafter\n");
        check(&text, &[&longest, b"after"], 0);
    }

    #[test]
    fn an_unfinished_line_waits_and_the_offset_stands_before_it() {
        let mut lines = Lines::default();
        let batch = lines.push(b"one\ntwo", 7);
        assert_eq!(batch.lines().collect::<Vec<_>>(), [b"one"]);
        assert_eq!(batch.end, 4);
        let batch = lines.push(b"!\n", 9);
        assert_eq!(batch.lines().collect::<Vec<_>>(), [b"two!"]);
        assert_eq!(batch.end, 9);
    }
}
