//! Whether a program printed what a document shows, but for what is never the same twice.
//!
//! Times, lengths of time in two units (`9m 58s`), milliseconds, decimals, a `"pid":` and numbers of nine digits and more
//! are compared by their kind, all else by its text; blanks count as one. `...` in a line stands for anything there, as
//! a line of its own for any lines.

/// Whether `found` is what is `shown`.
pub(super) fn is_as_shown(shown: &[String], found: &str) -> bool {
    let shown: Vec<String> = trimmed(shown.iter().map(String::as_str));
    let found: Vec<String> = trimmed(found.lines());
    lines(&shown, &found)
}

fn trimmed<'a>(text: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut kinds: Vec<String> = text.map(by_kind).collect();
    while kinds.last().is_some_and(String::is_empty) {
        kinds.pop();
    }
    kinds
}

fn lines(shown: &[String], found: &[String]) -> bool {
    match shown.split_first() {
        None => found.is_empty(),
        Some((any, rest)) if any == "..." => (0..=found.len()).any(|n| lines(rest, &found[n..])),
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(next, after)| line(first, next) && lines(rest, after)),
    }
}

/// Whether the parts of `shown` around each `...` stand in `found` in their order, the outer ones at its ends.
fn line(shown: &str, found: &str) -> bool {
    let Some((first, rest)) = shown.split_once("...") else {
        return shown == found;
    };
    let Some(found) = found.strip_prefix(first) else {
        return false;
    };
    let starts = (0..=found.len()).filter(|at| found.is_char_boundary(*at));
    starts.map(|at| &found[at..]).any(|tail| line(rest, tail))
}

/// The line with its kinds in the place of what changes.
fn by_kind(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || ":.-+_".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            let other = rest.chars().next().unwrap_or(' ');
            if !(other.is_whitespace() && out.ends_with(' ')) {
                out.push(if other.is_whitespace() { ' ' } else { other });
            }
            rest = &rest[other.len_utf8()..];
            continue;
        }
        // A word begins and ends with a letter or digit; `:` and the like around it stay.
        let start = rest[..end].find(|c: char| c.is_ascii_alphanumeric());
        let (before, rest_of) = rest.split_at(start.unwrap_or(end));
        out.push_str(before);
        let word = rest_of[..end - before.len()].trim_end_matches([':', '.', '-', '+', '_']);
        let after = &rest_of[word.len()..];
        if word.is_empty() {
            rest = after;
            continue;
        }
        let next = after.strip_prefix(' ').unwrap_or_default();
        let next_end = next.find(|c| !is_word(c)).unwrap_or(next.len());
        if is_length(word) && is_length(&next[..next_end]) {
            out.push_str("<length>");
            rest = &next[next_end..];
        } else if out.ends_with("\"pid\":") && is_number(word) {
            out.push_str("<pid>");
            rest = after;
        } else {
            out.push_str(kind(word).unwrap_or(word));
            rest = after;
        }
    }
    out
}

fn is_length(word: &str) -> bool {
    word.strip_suffix(['d', 'h', 'm', 's'])
        .is_some_and(is_number)
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn kind(word: &str) -> Option<&'static str> {
    let digits = |pattern: &str| {
        word.len() >= pattern.len()
            && word.bytes().zip(pattern.bytes()).all(|(byte, as_in)| {
                if as_in == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == as_in
                }
            })
    };
    let is_decimal = |word: &str| {
        let halves = word.split_once('.');
        halves.is_some_and(|(whole, part)| is_number(whole) && is_number(part))
    };
    if digits("0000-00-00T00:00:00") {
        Some("<time>")
    } else if word.len() == 8 && digits("00:00:00") {
        Some("<clock>")
    } else if word.strip_suffix("ms").is_some_and(is_number) {
        Some("<ms>")
    } else if is_number(word) && word.len() >= 9 {
        Some("<number>")
    } else if is_decimal(word) {
        Some("<decimal>")
    } else {
        None
    }
}

#[test]
fn what_changes_is_compared_by_its_kind_and_all_else_by_its_text() {
    let check = |shown: &str, found: &str, expected| {
        let shown: Vec<String> = shown.lines().map(ToOwned::to_owned).collect();
        assert_eq!(is_as_shown(&shown, found), expected, "{shown:?}: {found}");
    };
    check(
        "203.0.113.7  9m 58s  3",
        "203.0.113.7  10m 2s     3\n",
        true,
    );
    check("203.0.113.7  9m 58s  3", "203.0.113.7  9m 58s  4\n", false);
    check("203.0.113.7  9m 58s  3", "203.0.113.8  9m 58s  3\n", false);
    check("length=\"10m\"", "length=\"9m\"\n", false);
    check(
        "2026-11-24T17:00:00Z INFO a",
        "2027-01-02T03:04:05.6Z INFO a\n",
        true,
    );
    check("{\"a\":1.5}.", "{\"a\":20.75}.", true);
    check("{\"pid\":31}", "{\"pid\":4032}", true);
    check("{\"uid\":31}", "{\"uid\":4032}", false);
    check("since 2026-11-24T17:00:00Z", "since today\n", false);
    check("a ... c", "a b c\n", true);
    check("a ... c", "a b d\n", false);
    check("a\n...\nz", "a\nb\nc\nz\n", true);
    check("a\n...\nz", "a\nb\nc\n", false);
    check("a", "a\nb\n", false);
    check("", "a\n", false);
}
