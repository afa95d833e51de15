//! The reasons why a line is not an alert, and where in the line each was found.
//!
//! No text of the line is repeated here: it may be an attacker's.

/// Why a line is not an alert. Looked for in this order, the first one found is told.
///
/// A line is refused exactly when `serde_json` refuses it as a value, with one exception: nesting has no
/// limit here, because an attacker who can put brackets into a log must not be able to hide its alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Empty, or nothing but JSON white space.
    #[error("the line is blank")]
    Blank,
    /// The bytes are not text. A caller that would rather read such a line can replace what is
    /// invalid (`String::from_utf8_lossy`) and parse again.
    #[error("invalid UTF-8 at byte {offset}")]
    NotUtf8 {
        /// First byte that belongs to no character, from 0.
        offset: usize,
    },
    /// The text is not one JSON value.
    #[error("not JSON at byte {offset}: {reason}")]
    NotJson {
        /// First byte that cannot stand where it does, from 0; the length of a line that is cut short.
        offset: usize,
        /// What is wrong there.
        reason: Syntax,
    },
    /// The text is JSON, and its value is no object.
    #[error("expected an object, found {found}")]
    NotAnObject {
        /// The kind of value: `an array`, `a string`, `a number`, `a boolean` or `null`.
        found: &'static str,
    },
}

impl Malformed {
    /// One stable word, for counters and machine-readable output.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Blank => "blank",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::NotJson { reason, .. } => reason.word(),
            Self::NotAnObject { .. } => "not_an_object",
        }
    }

    /// Bytes of the line before the place that is wrong; 0 when it is the line as a whole.
    #[must_use]
    pub fn offset(&self) -> usize {
        match self {
            Self::NotUtf8 { offset } | Self::NotJson { offset, .. } => *offset,
            Self::Blank | Self::NotAnObject { .. } => 0,
        }
    }
}

impl Syntax {
    fn word(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::ExpectedValue => "expected_value",
            Self::ExpectedKey => "expected_key",
            Self::ExpectedColon => "expected_colon",
            Self::ExpectedCommaOrBrace | Self::ExpectedCommaOrBracket => "expected_comma",
            Self::ControlCharacter => "control_character",
            Self::Escape => "escape",
            Self::Surrogate => "surrogate",
            Self::Number => "number",
            Self::NumberRange => "number_range",
            Self::Trailing => "trailing",
        }
    }
}

/// What makes a text something other than JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Syntax {
    /// The line ends inside a value: most likely it is not written to its end.
    #[error("the line ends in the middle of a value")]
    Truncated,
    /// Something stands where a value has to.
    #[error("expected a value")]
    ExpectedValue,
    /// Something other than a string stands where a key has to.
    #[error("expected a key in quotes")]
    ExpectedKey,
    /// A key without its colon.
    #[error("expected `:` after a key")]
    ExpectedColon,
    /// Two values of an object without a comma.
    #[error("expected `,` or `}}`")]
    ExpectedCommaOrBrace,
    /// Two values of an array without a comma.
    #[error("expected `,` or `]`")]
    ExpectedCommaOrBracket,
    /// A control character inside a string, where it has to be escaped.
    #[error("control character in a string")]
    ControlCharacter,
    /// A backslash before something that cannot be escaped.
    #[error("invalid escape")]
    Escape,
    /// Half of a surrogate pair, which is no character.
    #[error("half of a surrogate pair")]
    Surrogate,
    /// A number that breaks the grammar: `01`, `1.`, `-`.
    #[error("invalid number")]
    Number,
    /// A number with no floating-point value, such as `1e999`.
    #[error("number out of range")]
    NumberRange,
    /// More text after the value.
    #[error("text after the value")]
    Trailing,
}
