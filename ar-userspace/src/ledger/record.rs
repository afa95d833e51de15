//! What the ledger knows of one key, as plain values for people and for a store.
//!
//! Times stand on the ledger's own clock or, for a store, on the wall clock. Nothing here decides.

use std::fmt;

use super::Key;
use crate::config::Enforcement;
use crate::time::{Clocks, Expiry, Moment, Wall};

/// Everything that is remembered of one key: its ban if it has one, and its counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<T = Moment> {
    /// Whose.
    pub key: Key,
    /// Offences that count (AR-TIME-6, AR-TIME-7).
    pub offences: u32,
    /// When the latest of them was; `None` when none ever counted.
    pub last_offence: Option<T>,
    /// When its last ban ended; `None` while banned, and when it never was.
    pub free_since: Option<T>,
    /// What stands. A ban whose end has come, but which has not been released yet, is still here.
    pub ban: Option<Ban<T>>,
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban<T = Moment> {
    /// When it was made.
    pub since: T,
    /// Its end.
    pub until: Expiry<T>,
    /// What made it, and what will end it.
    pub enforcement: Enforcement,
    /// The section that set its end; 0 for an adopted one.
    pub response: u32,
    /// The rule that set its end; 0 when there is none.
    pub rule_id: u32,
    /// The alert that set its end; empty when it has none.
    pub alert_id: AlertId,
    /// Found in the kernel, where nobody remembered having made it.
    pub adopted: bool,
    /// Who asked for it; `None` for a ban that an alert led to.
    pub by_hand: Option<Box<ByHand>>,
}

/// Who made a ban by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByHand {
    /// The user.
    pub uid: u32,
    /// The process; `None` when it could not be seen.
    pub pid: Option<i32>,
    /// In the operator's words; may be empty.
    pub reason: Box<str>,
}

/// One key of which a store has to write something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub key: Key,
    /// What is remembered; `None` when nothing is.
    pub record: Option<Record>,
}

/// Everything that has to survive a restart (AR-IMP-1), in the order of the offenders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot<T = Moment> {
    /// One per key.
    pub records: Vec<Record<T>>,
}

impl<T> Record<T> {
    /// The same record with every time on another clock.
    #[must_use]
    pub fn map<U>(self, convert: impl Fn(T) -> U) -> Record<U> {
        Record {
            key: self.key,
            offences: self.offences,
            last_offence: self.last_offence.map(&convert),
            free_since: self.free_since.map(&convert),
            ban: self.ban.map(|ban| ban.map(&convert)),
        }
    }
}

impl<T> Ban<T> {
    /// The same ban with every time on another clock.
    #[must_use]
    pub fn map<U>(self, convert: impl Fn(T) -> U) -> Ban<U> {
        Ban {
            since: convert(self.since),
            until: self.until.map(&convert),
            enforcement: self.enforcement,
            response: self.response,
            rule_id: self.rule_id,
            alert_id: self.alert_id,
            adopted: self.adopted,
            by_hand: self.by_hand,
        }
    }
}

impl Record {
    /// The record as a store keeps it.
    #[must_use]
    pub fn on_the_wall(self, clocks: Clocks) -> Record<Wall> {
        self.map(|moment| clocks.wall_at(moment))
    }
}

impl Record<Wall> {
    /// The record as a ledger takes it, also after a reboot.
    #[must_use]
    pub fn since_boot(self, clocks: Clocks) -> Record {
        self.map(|wall| clocks.moment_at(wall))
    }
}

impl<T> FromIterator<Record<T>> for Snapshot<T> {
    fn from_iter<I: IntoIterator<Item = Record<T>>>(records: I) -> Self {
        Self {
            records: records.into_iter().collect(),
        }
    }
}

impl<T> IntoIterator for Snapshot<T> {
    type Item = Record<T>;
    type IntoIter = std::vec::IntoIter<Record<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.records.into_iter()
    }
}

/// An alert's own identifier in 16 bytes: a million bans keep one each.
///
/// Wazuh's form, `SECONDS.PLACE`, takes no memory of its own. Any other text is kept up to
/// [`AlertId::MAX_LEN`] bytes, because it is an attacker's to choose; the rest is cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertId(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    Pair { seconds: u32, place: u32 },
    Text(Box<str>),
}

impl AlertId {
    /// Bytes that are kept of an identifier at most.
    pub const MAX_LEN: usize = 64;

    /// Takes the text of an identifier; an empty one stands for none.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let pair = pair(text.as_bytes()).map(|(seconds, place)| Repr::Pair { seconds, place });
        Self(pair.unwrap_or_else(|| Repr::Text(cut(text).into())))
    }

    /// Whether it stands for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Repr::Text(text) if text.is_empty())
    }
}

impl Default for AlertId {
    fn default() -> Self {
        Self(Repr::Text(Box::default()))
    }
}

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Pair { seconds, place } => write!(f, "{seconds}.{place}"),
            Repr::Text(text) => f.write_str(text),
        }
    }
}

/// Both numbers of Wazuh's form, when it is exactly what they would be written as. Each ban has one read: once through.
fn pair(text: &[u8]) -> Option<(u32, u32)> {
    let (seconds, rest) = number(text)?;
    let (place, rest) = number(rest.strip_prefix(b".")?)?;
    rest.is_empty().then_some((seconds, place))
}

/// The decimal number that a text begins with, when it is written without a zero before it, and what follows.
fn number(text: &[u8]) -> Option<(u32, &[u8])> {
    let mut number = 0_u32;
    let mut digits = 0;
    while let Some(byte) = text.get(digits).filter(|byte| byte.is_ascii_digit()) {
        if digits == 1 && number == 0 {
            return None;
        }
        number = number
            .checked_mul(10)?
            .checked_add(u32::from(byte - b'0'))?;
        digits += 1;
    }
    (digits > 0).then(|| (number, &text[digits..]))
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(AlertId::MAX_LEN);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_id_reads_as_it_was_written() {
        for text in [
            "",
            "1732412580.218",
            "0.0",
            "01.5",
            "1.05",
            "1.",
            ".1",
            "+1.2",
            "1732412580.4294967295",
            "1732412580.4294967296",
            "1.2.3",
            "00.5",
            "5f1b-ü",
        ] {
            assert_eq!(AlertId::new(text).to_string(), text);
            assert_eq!(AlertId::new(text).is_empty(), text.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn an_alert_id_takes_sixteen_bytes_and_a_bounded_text() {
        assert_eq!(size_of::<AlertId>(), 16);
        assert!(matches!(
            AlertId::new("1732412580.218").0,
            Repr::Pair { .. }
        ));
        let long = "ü".repeat(1_000);
        assert_eq!(AlertId::new(&long).to_string(), "ü".repeat(32));
        let odd = format!("x{}", "ü".repeat(1_000));
        assert_eq!(AlertId::new(&odd).to_string().len(), 63);
    }
}
