//! The daemon's own settings file: its text and the keys that there are in; values or diagnostics out.
//!
//! What keys there are, and which values fit, is said by whoever asks: the command line defines both once.
//! Every mistake is reported, and what is sound is given all the same.

#[cfg(test)]
mod tests;

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::config::suggest::nearest;
use crate::diagnostic::{Diagnostic, Lines, quote};

/// Name under which mistakes of the text itself are reported.
const TOML: &str = "toml";

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// Text in quotes.
    Text,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Numbers,
}

impl Kind {
    fn expected(self) -> &'static str {
        match self {
            Self::Flag => "`true` or `false`",
            Self::Number => "a whole number",
            Self::Text => "text in quotes",
            Self::Texts => "a list of texts in quotes",
            Self::Numbers => "a list of whole numbers",
        }
    }

    /// Of one item, if it is a list.
    fn item(self) -> Option<Self> {
        match self {
            Self::Texts => Some(Self::Text),
            Self::Numbers => Some(Self::Number),
            Self::Flag | Self::Number | Self::Text => None,
        }
    }
}

/// A key that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: String,
    /// How its value is written.
    pub kind: Kind,
}

/// A key that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Which.
    pub name: String,
    /// Its value; of a list, each item.
    pub values: Vec<String>,
}

/// Why a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// What was expected instead, to be read after the word "expected".
    pub expected: String,
    /// The values that there are, when they are few.
    pub known: Vec<String>,
}

/// What came of reading a settings file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What is sound, in the order of the names.
    pub given: Vec<Given>,
    /// Every mistake, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Reading {
    /// Whether there is no mistake.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

/// Reads the text of a settings file. `fits` says whether a value is one of the key of that name.
#[must_use]
pub fn read(text: &str, keys: &[Key], fits: impl Fn(&str, &str) -> Result<(), Unfit>) -> Reading {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        text,
        keys,
        fits,
        reading: Reading::default(),
    };
    let lines = Lines::new(text);
    let mut broken = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or_default();
        broken.push(lines.line(span.start));
        let message = error.message().trim_end_matches('.').replace('\n', "; ");
        reader.mistake(Diagnostic::error(TOML, span, message));
    }
    for (name, value) in table.get_ref() {
        // What was made of a line that is broken is a guess.
        if !broken.contains(&lines.line(name.span().start)) {
            reader.entry(name.get_ref(), name.span(), value);
        }
    }
    let mut reading = reader.reading;
    reading
        .diagnostics
        .sort_by_key(|diagnostic| diagnostic.span.start);
    reading
}

struct Reader<'a, F> {
    text: &'a str,
    keys: &'a [Key],
    fits: F,
    reading: Reading,
}

impl<F: Fn(&str, &str) -> Result<(), Unfit>> Reader<'_, F> {
    fn entry(&mut self, name: &str, at: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            self.unknown(name, at);
            return;
        };
        let values = match (key.kind.item(), value.get_ref()) {
            (Some(kind), DeValue::Array(items)) => self.items(name, kind, items),
            (Some(kind), _) => {
                let written = self.written(value.span());
                let could_be = scalar(kind, value.get_ref()).is_some();
                let help = could_be.then(|| format!("write `{name} = [{written}]`"));
                self.wrong_kind(name, key.kind, value, help);
                return;
            }
            (None, _) => self.item(name, key.kind, value).map(|value| vec![value]),
        };
        if let Some(values) = values {
            let name = name.to_owned();
            self.reading.given.push(Given { name, values });
        }
    }

    /// Every item of a list, unless there is a mistake in one.
    fn items(&mut self, name: &str, kind: Kind, items: &DeArray<'_>) -> Option<Vec<String>> {
        let read: Vec<Option<String>> = items
            .iter()
            .map(|item| self.item(name, kind, item))
            .collect();
        read.into_iter().collect()
    }

    fn item(&mut self, name: &str, kind: Kind, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let Some(read) = scalar(kind, value.get_ref()) else {
            let written = self.written(value.span());
            let is_bare = matches!(
                value.get_ref(),
                DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_)
            );
            let help = match (kind, value.get_ref()) {
                (Kind::Text, _) if is_bare => {
                    let fits = (self.fits)(name, &written).is_ok();
                    fits.then(|| format!("write `\"{written}\"`"))
                }
                (Kind::Number | Kind::Flag, DeValue::String(text)) => {
                    let of_text = text.trim();
                    let is_one = match kind {
                        Kind::Flag => matches!(of_text, "true" | "false"),
                        _ => of_text.parse::<u64>().is_ok() && (self.fits)(name, of_text).is_ok(),
                    };
                    is_one.then(|| format!("write `{of_text}`, without quotes"))
                }
                _ => None,
            };
            self.wrong_kind(name, kind, value, help);
            return None;
        };
        match (self.fits)(name, &read) {
            Ok(()) => Some(read),
            Err(Unfit { expected, known }) => {
                let found = quote(&self.written(value.span()));
                let mut mistake =
                    Diagnostic::error(name, value.span(), format!("expected {expected}"))
                        .found(found);
                if let Some(near) = nearest(&read, known.iter().map(String::as_str)) {
                    mistake = mistake.help(format!("write `\"{near}\"`"));
                }
                self.mistake(mistake);
                None
            }
        }
    }

    fn wrong_kind(
        &mut self,
        name: &str,
        kind: Kind,
        value: &Spanned<DeValue<'_>>,
        help: Option<String>,
    ) {
        let expected = format!("expected {}", kind.expected());
        let found = match value.get_ref() {
            DeValue::Table(_) => "a table".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            _ => quote(&self.written(value.span())),
        };
        let mut mistake = Diagnostic::error(name, value.span(), expected).found(found);
        mistake.help = help;
        self.mistake(mistake);
    }

    fn unknown(&mut self, name: &str, at: Range<usize>) {
        let names = self.keys.iter().map(|key| key.name.as_str());
        let help = match nearest(name, names) {
            Some(near) => format!("write `{near}`"),
            None => "`arfw run --help` and docs/settings.md name all settings".to_owned(),
        };
        let mistake = Diagnostic::error(name, at, "expected the name of a setting");
        self.mistake(mistake.found(quote(name)).help(help));
    }

    fn written(&self, span: Range<usize>) -> String {
        self.text.get(span).unwrap_or_default().to_owned()
    }

    fn mistake(&mut self, mistake: Diagnostic) {
        self.reading.diagnostics.push(mistake);
    }
}

/// A value that is no list, when it is of the right kind.
fn scalar(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match (kind, value) {
        (Kind::Flag, DeValue::Boolean(flag)) => Some(flag.to_string()),
        (Kind::Number, DeValue::Integer(number)) => {
            let number = i128::from_str_radix(number.as_str(), number.radix());
            number.ok().map(|number| number.to_string())
        }
        (Kind::Text, DeValue::String(text)) => Some(text.to_string()),
        _ => None,
    }
}
