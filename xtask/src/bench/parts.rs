//! The parts of a run one after the other: a part that fails loses no other, and what was measured is kept after each.

use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

use crate::shell::say;

/// What a part has found; `None` when it was skipped, and has said why.
pub(super) type Found = Result<Option<Value>>;

/// Measures each, and keeps all figures after each by `save`.
///
/// # Errors
///
/// When a part failed, after all others had their turn, or at once when `check` fails or figures cannot be kept.
pub(super) fn run<P: Copy>(
    parts: &[(P, &str)],
    mut figures: Map<String, Value>,
    check: impl Fn() -> Result<()>,
    mut measure: impl FnMut(P) -> Found,
    mut save: impl FnMut(&Value) -> Result<()>,
) -> Result<()> {
    let mut failed: Vec<(&str, String)> = Vec::new();
    let (mut seconds, mut failures) = (Map::new(), Map::new());
    let mut interrupted = Ok(());
    for &(part, name) in parts {
        let start = Instant::now();
        let found = panic::catch_unwind(AssertUnwindSafe(|| measure(part)));
        let found = found.unwrap_or_else(|_| Err(anyhow!("it panicked, as told above")));
        let taken = start.elapsed();
        seconds.insert(name.to_owned(), json!(taken.as_secs()));
        match found {
            Ok(value) => {
                say(format_args!("{name}: took {}", spoken(taken)));
                figures.extend(value.map(|value| (name.to_owned(), value)));
            }
            Err(error) => {
                let why = format!("{error:#}");
                say(format_args!(
                    "{name}: FAILED after {}: {why}",
                    spoken(taken)
                ));
                failures.insert(name.to_owned(), json!(why));
                failed.push((name, why));
            }
        }
        figures.insert("seconds".to_owned(), seconds.clone().into());
        figures.insert("failed".to_owned(), failures.clone().into());
        save(&figures.clone().into())?;
        interrupted = check();
        if interrupted.is_err() {
            break;
        }
    }
    if failed.is_empty() {
        return interrupted;
    }
    say("");
    for (name, why) in &failed {
        say(format_args!("{name}: FAILED: {why}"));
    }
    interrupted?;
    bail!("{} of {} parts failed", failed.len(), parts.len());
}

/// A time as people say it.
pub(super) fn spoken(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: [(u8, &str); 3] = [(1, "one"), (2, "two"), (3, "three")];

    #[test]
    fn a_part_that_fails_or_panics_loses_no_other() {
        let mut saved = Vec::new();
        let measure = |part| match part {
            1 => bail!("no kernel"),
            2 => panic!("on purpose"),
            _ => Ok(Some(json!(7))),
        };
        let save = |value: &Value| {
            saved.push(value.clone());
            Ok(())
        };
        let error = run(&PARTS, Map::new(), || Ok(()), measure, save).unwrap_err();
        assert_eq!(error.to_string(), "2 of 3 parts failed");
        assert_eq!(saved.len(), 3);
        assert_eq!(saved[0]["failed"]["one"], "no kernel");
        assert_eq!(saved[2]["three"], 7);
    }

    #[test]
    fn an_interrupted_run_keeps_what_it_has_and_goes_no_further() {
        let mut saved = Vec::new();
        let save = |value: &Value| {
            saved.push(value.clone());
            Ok(())
        };
        let check = || bail!("interrupted");
        let error = run(
            &PARTS,
            Map::new(),
            check,
            |part| Ok(Some(json!(part))),
            save,
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "interrupted");
        assert_eq!(saved.len(), 1);
        assert_eq!(saved[0]["one"], 1);
    }

    #[test]
    fn times_are_spoken() {
        let spoken = |seconds| spoken(Duration::from_secs(seconds));
        assert_eq!(spoken(42), "42 s");
        assert_eq!(spoken(125), "2 min 5 s");
        assert_eq!(spoken(3_900), "1 h 5 min");
    }
}
