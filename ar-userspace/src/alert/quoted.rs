//! A JSON string as it stands in the line, decoded only when somebody asks for it.

use std::borrow::Cow;

use super::malformed::Syntax;

/// A valid JSON string, without its quotes and with its escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<'a> {
    text: &'a str,
    escaped: bool,
}

impl<'a> Quoted<'a> {
    /// Takes what stands between two quotes; `escaped` says whether a backslash is in it.
    pub(super) fn new(text: &'a str, escaped: bool) -> Self {
        Self { text, escaped }
    }

    /// The string that is meant. Allocates only when there are escapes.
    #[inline]
    #[must_use]
    pub fn decode(self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(unescape(self.text))
        } else {
            Cow::Borrowed(self.text)
        }
    }

    /// Bytes in the line, which the string that is meant is not longer than.
    #[must_use]
    pub fn size(self) -> usize {
        self.text.len()
    }

    /// Appends the beginning of the string that is meant, at most `most` bytes, and decodes no more than that.
    pub fn decode_into(self, out: &mut String, most: usize) {
        // No escape is longer than twelve bytes, nor shorter than what it stands for.
        let mut ends = (0..=self.text.len().min(12 * most)).rev();
        let head = ends.find_map(|end| self.text.get(..end));
        let head = Self {
            text: head.unwrap_or_default(),
            ..self
        };
        let decoded = head.decode();
        let mut ends = (0..=decoded.len().min(most)).rev();
        out.push_str(ends.find_map(|end| decoded.get(..end)).unwrap_or_default());
    }
}

fn unescape(text: &str) -> String {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, _)) = rest.split_once('\\') {
        decoded.push_str(plain);
        let escape = rest.get(plain.len()..).unwrap_or_default();
        // The scanner has checked every escape; what cannot happen decodes to itself.
        let (character, len) = read_escape(escape.as_bytes()).unwrap_or(('\\', 1));
        decoded.push(character);
        rest = escape.get(len..).unwrap_or_default();
    }
    decoded.push_str(rest);
    decoded
}

/// Reads the escape that `bytes` begin with: the character that is meant, and the bytes it takes.
pub(super) fn read_escape(bytes: &[u8]) -> Result<(char, usize), Syntax> {
    let character = match bytes.get(1).ok_or(Syntax::Truncated)? {
        quoted @ (b'"' | b'\\' | b'/') => char::from(*quoted),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode(bytes),
        _ => return Err(Syntax::Escape),
    };
    Ok((character, 2))
}

/// Reads `\uXXXX`, or two of them that make up one character.
fn read_unicode(bytes: &[u8]) -> Result<(char, usize), Syntax> {
    let first = read_hex(bytes.get(2..).unwrap_or_default())?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    if first >= 0xdc00 {
        return Err(Syntax::Surrogate);
    }
    match bytes.get(6..).unwrap_or_default() {
        [] | [b'\\'] => Err(Syntax::Truncated),
        [b'\\', b'u', low @ ..] => {
            let low = read_hex(low)?;
            if !(0xdc00..0xe000).contains(&low) {
                return Err(Syntax::Surrogate);
            }
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00);
            char::from_u32(code)
                .map(|character| (character, 12))
                .ok_or(Syntax::Surrogate)
        }
        _ => Err(Syntax::Surrogate),
    }
}

fn read_hex(bytes: &[u8]) -> Result<u32, Syntax> {
    (0..4).try_fold(0, |value, at| {
        let byte = bytes.get(at).ok_or(Syntax::Truncated)?;
        let digit = char::from(*byte).to_digit(16).ok_or(Syntax::Escape)?;
        Ok(value << 4 | digit)
    })
}
