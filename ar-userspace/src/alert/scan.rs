//! A cursor over one line of JSON: checks everything, decodes only what it is asked for.
//!
//! Knows JSON and nothing of alerts. It builds no tree, and values that nobody asks for are skipped
//! without recursion, so that no depth of nesting costs stack.

use super::malformed::{Malformed, Syntax};
use super::quoted::{Quoted, read_escape};

/// Numbers of more bytes than this may lie beyond the largest floating-point number.
const LONGEST_SAFE_NUMBER: usize = 300;

/// A place in a line. Every method leaves it behind what it has read.
#[derive(Clone, Debug)]
pub(super) struct Scanner<'a> {
    line: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// A cursor at byte `at` of `line`.
    pub(super) fn new(line: &'a str, at: usize) -> Self {
        Self { line, at }
    }

    /// The byte that the next value begins with.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<u8, Malformed> {
        self.skip_blanks();
        self.byte().ok_or_else(|| self.wrong(Syntax::Truncated))
    }

    /// Makes sure that nothing but white space is left.
    pub(super) fn finish(&mut self) -> Result<(), Malformed> {
        self.skip_blanks();
        match self.byte() {
            None => Ok(()),
            Some(_) => Err(self.wrong(Syntax::Trailing)),
        }
    }

    /// Hands each key of an object to `field`, which has to read its value. Another value is skipped.
    pub(super) fn object(
        &mut self,
        mut field: impl FnMut(&mut Self, &str) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.peek()? != b'{' {
            return self.skip();
        }
        self.at += 1;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            let key = self.key()?.decode();
            field(self, &key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return Err(self.wrong(Syntax::ExpectedCommaOrBrace)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Hands over at each item of an array, which `item` has to read. Another value is skipped.
    pub(super) fn array(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        if self.peek()? != b'[' {
            return self.skip();
        }
        self.at += 1;
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            item(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return Err(self.wrong(Syntax::ExpectedCommaOrBracket)),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a string; any other value is skipped and is `None`.
    pub(super) fn text(&mut self) -> Result<Option<Quoted<'a>>, Malformed> {
        if self.peek()? == b'"' {
            self.quoted().map(Some)
        } else {
            self.skip().map(|()| None)
        }
    }

    /// Reads a whole number that is not negative; any other value is skipped and is `None`.
    pub(super) fn unsigned(&mut self) -> Result<Option<u64>, Malformed> {
        if self.peek()?.is_ascii_digit() {
            Ok(self.number()?.parse().ok())
        } else {
            self.skip().map(|()| None)
        }
    }

    /// Skips a value, and tells where it begins when it is an array.
    pub(super) fn array_place(&mut self) -> Result<Option<usize>, Malformed> {
        let is_array = self.peek()? == b'[';
        let place = self.at;
        self.skip()?;
        Ok(is_array.then_some(place))
    }

    /// Skips one value of any kind, and checks it on the way.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        let mut open = Nesting::default();
        loop {
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        self.key()?;
                        open.push(Bracket::Brace);
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        open.push(Bracket::Bracket);
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if !self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    /// After a value: closes what ends here. False when nothing is open, true before another value.
    fn close(&mut self, open: &mut Nesting) -> Result<bool, Malformed> {
        while let Some(bracket) = open.last() {
            match (self.peek()?, bracket) {
                (b',', Bracket::Brace) => {
                    self.at += 1;
                    self.key()?;
                    return Ok(true);
                }
                (b',', Bracket::Bracket) => {
                    self.at += 1;
                    return Ok(true);
                }
                (b'}', Bracket::Brace) | (b']', Bracket::Bracket) => {
                    self.at += 1;
                    open.pop();
                }
                (_, Bracket::Brace) => return Err(self.wrong(Syntax::ExpectedCommaOrBrace)),
                (_, Bracket::Bracket) => return Err(self.wrong(Syntax::ExpectedCommaOrBracket)),
            }
        }
        Ok(false)
    }

    fn scalar(&mut self) -> Result<(), Malformed> {
        match self.peek()? {
            b'"' => self.quoted().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => Err(self.wrong(Syntax::ExpectedValue)),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Malformed> {
        for expected in word.bytes() {
            match self.byte() {
                Some(byte) if byte == expected => self.at += 1,
                Some(_) => return Err(self.wrong(Syntax::ExpectedValue)),
                None => return Err(self.wrong(Syntax::Truncated)),
            }
        }
        Ok(())
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Result<Quoted<'a>, Malformed> {
        if self.peek()? != b'"' {
            return Err(self.wrong(Syntax::ExpectedKey));
        }
        let key = self.quoted()?;
        if self.peek()? != b':' {
            return Err(self.wrong(Syntax::ExpectedColon));
        }
        self.at += 1;
        Ok(key)
    }

    /// Reads the string whose opening quote is here.
    fn quoted(&mut self) -> Result<Quoted<'a>, Malformed> {
        let start = self.at + 1;
        self.at = start;
        let mut escaped = false;
        loop {
            let rest = self.rest();
            self.at += plain_len(rest);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    let (_, len) = read_escape(self.rest()).map_err(|it| self.wrong(it))?;
                    self.at += len;
                }
                Some(_) => return Err(self.wrong(Syntax::ControlCharacter)),
                None => return Err(self.wrong(Syntax::Truncated)),
            }
        }
        let text = self.line.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Quoted::new(text, escaped))
    }

    /// Reads a number, as written.
    fn number(&mut self) -> Result<&'a str, Malformed> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let has_exponent = matches!(self.byte(), Some(b'e' | b'E'));
        if has_exponent {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let number = self.line.get(start..self.at).unwrap_or_default();
        let is_doubtful = has_exponent || number.len() > LONGEST_SAFE_NUMBER;
        if is_doubtful && serde_json::from_str::<serde_json::Number>(number).is_err() {
            self.at = start;
            return Err(self.wrong(Syntax::NumberRange));
        }
        Ok(number)
    }

    /// Reads one digit or more.
    fn digits(&mut self) -> Result<(), Malformed> {
        match self.byte() {
            None => return Err(self.wrong(Syntax::Truncated)),
            Some(byte) if !byte.is_ascii_digit() => return Err(self.wrong(Syntax::Number)),
            Some(_) => {}
        }
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.line.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.line.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[cold]
    fn wrong(&self, reason: Syntax) -> Malformed {
        let offset = match reason {
            Syntax::Truncated => self.line.len(),
            _ => self.at,
        };
        Malformed::NotJson { offset, reason }
    }
}

/// Bytes before the first one that ends a run of plain text: a quote, a backslash, a control character.
///
/// Sixteen bytes at a time, which holds most strings whole: nearly all the time of a line goes into this.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    let (blocks, rest) = bytes.as_chunks::<16>();
    for (at, block) in blocks.iter().enumerate() {
        let ends = run_ends(u128::from_le_bytes(*block));
        if ends != 0 {
            return at * 16 + ends.trailing_zeros() as usize / 8;
        }
    }
    let ends = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    bytes.len() - rest.len() + rest.iter().position(ends).unwrap_or(rest.len())
}

/// The high bit of each byte that ends a run.
///
/// A subtraction may borrow from the byte above, so only the lowest bit that is set is exact.
fn run_ends(block: u128) -> u128 {
    const ONES: u128 = u128::MAX / 0xff;
    let below = |block: u128, bound: u8| block.wrapping_sub(ONES * u128::from(bound)) & !block;
    let is = |byte: u8| below(block ^ (ONES * u128::from(byte)), 1);
    (below(block, 0x20) | is(b'"') | is(b'\\')) & (ONES << 7)
}

/// What closes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bracket {
    Brace,
    Bracket,
}

/// The brackets that are open: one bit each, the first 64 without an allocation.
#[derive(Debug, Default)]
struct Nesting {
    depth: usize,
    top: u64,
    below: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, bracket: Bracket) {
        if self.depth != 0 && self.depth.is_multiple_of(64) {
            self.below.push(self.top);
        }
        self.top = self.top << 1 | u64::from(bracket == Bracket::Brace);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.top >>= 1;
        if self.depth != 0 && self.depth.is_multiple_of(64) {
            self.top = self.below.pop().unwrap_or_default();
        }
    }

    fn last(&self) -> Option<Bracket> {
        match (self.depth, self.top & 1) {
            (0, _) => None,
            (_, 1) => Some(Bracket::Brace),
            _ => Some(Bracket::Bracket),
        }
    }
}
