//! Whole answers: `fixtures/NAME.json` against `fixtures/ossec.conf`.
//!
//! The text is compared with `fixtures/NAME.txt` and the JSON with `fixtures/NAME.out`, to the byte. With
//! UPDATE_EXPECT=1 in the environment the expected files are written anew instead; look at the difference
//! before you commit it.

use std::fs;
use std::path::Path;

use super::*;
use crate::config;
use crate::policy::Reason;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/command/explain/fixtures");

fn explainer() -> Explainer {
    let text = fs::read_to_string(Path::new(FIXTURES).join("ossec.conf")).unwrap();
    let mut guard = Guard::default();
    guard.protect("192.0.2.1".parse().unwrap(), Reason::Gateway);
    Explainer {
        name: "ossec.conf".to_owned(),
        node: "manager-1".to_owned(),
        config: config::read(&text).config.unwrap(),
        guard,
    }
}

#[track_caller]
fn check(name: &str) {
    let path = Path::new(FIXTURES).join(name);
    let bytes = fs::read(path.with_extension("json")).unwrap();
    let mut mended = String::new();
    let alert = Alert::parse_lossy(&bytes, &mut mended).unwrap();
    let facts = facts::facts(&explainer(), &alert, &bytes);
    let text = render::text(&facts);
    let json = serde_json::to_string_pretty(&facts).unwrap() + "\n";
    for (extension, got) in [("txt", text), ("out", json)] {
        let expected = path.with_extension(extension);
        if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
            fs::write(&expected, got).unwrap();
        } else {
            let expected = fs::read_to_string(&expected).unwrap_or_default();
            assert_eq!(got, expected, "{name}.{extension}");
        }
    }
}

/// AR-MATCH-1, AR-MATCH-7, AR-TIME-5, AR-WIRE-2
#[test]
fn every_section_says_why_it_fires_and_for_how_long() {
    check("fires");
}

/// AR-WL-1, AR-WL-4
#[test]
fn a_white_listed_offender_is_told_with_its_entry_and_line() {
    check("white-listed");
}

/// AR-OFF-5
#[test]
fn a_protected_offender_is_told_with_the_reason() {
    check("protected");
}

/// AR-OFF-3
#[test]
fn text_of_an_attacker_is_shown_and_never_acts() {
    check("hostile");
    let text = fs::read_to_string(Path::new(FIXTURES).join("hostile.txt")).unwrap();
    let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    assert!(!text.contains(acts), "{text:?}");
}

/// AR-MATCH-9
#[test]
fn the_loop_guard_is_told() {
    check("own-log");
}

/// AR-MATCH-8
#[test]
fn an_alert_without_level_or_offender_says_so() {
    check("nobody");
}

#[test]
fn pages_keep_to_80_columns() {
    for entry in fs::read_dir(FIXTURES).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path).unwrap();
            let wide: Vec<&str> = text.lines().filter(|it| it.chars().count() > 80).collect();
            assert!(wide.is_empty(), "{}: {wide:#?}", path.display());
        }
    }
}

#[test]
fn a_malformed_line_gives_the_reason_and_the_column() {
    let check = |bytes: &[u8], expected: &str| {
        let malformed = Alert::parse(bytes).unwrap_err();
        let name = "the alert".to_owned();
        assert_eq!(not_an_alert(&Line { name, bytes }, &malformed), expected);
    };
    check(
        br#"{"rule": {"level": 5} "srcip": "203.0.113.5"}"#,
        "the alert, column 23: expected `,` or `}`, near `\"srcip\": \"203.0.113.5\"}`",
    );
    check(
        br#"{"rule": {"level": 5"#,
        "the alert, column 21: the line ends in the middle of a value, at the end",
    );
    check(
        b"[1]",
        "the alert, column 1: expected an object, found an array, near `[1]`",
    );
    check(
        b"{\"a\": \"\x1b[2J\"}",
        "the alert, column 8: control character in a string, near `\\u{1b}[2J\"}`",
    );
}

#[test]
fn the_last_alert_of_a_text_is_taken() {
    let check = |text: &str, expected: Option<&str>| {
        let got = input::last_alert(text.as_bytes());
        assert_eq!(got, expected.map(str::as_bytes), "{text:?}");
    };
    check("", None);
    check("\n \n", None);
    check("{\"id\":\"1\"}", Some("{\"id\":\"1\"}"));
    check("{\"id\":\"1\"}\n{\"id\":\"2\"}\n\n", Some("{\"id\":\"2\"}"));
    check("{\"id\":\"1\"}\n{\"id\":", Some("{\"id\":"));
    // As `jq` prints one.
    check("{\n  \"id\": \"1\"\n}\n", Some("{\n  \"id\": \"1\"\n}"));
}

#[test]
fn what_begins_like_json_is_the_alert_and_else_a_file() {
    use input::Source;
    assert_eq!(Source::of(None), Source::Stdin);
    assert_eq!(Source::of(Some("-")), Source::Stdin);
    assert_eq!(Source::of(Some(" {")), Source::Text(" {".to_owned()));
    assert_eq!(
        Source::of(Some("alerts.json")),
        Source::File("alerts.json".into())
    );
}

#[test]
fn every_line_of_a_text_is_handed_on_with_its_number() {
    let mut seen = Vec::new();
    let source = input::Source::Text("{}\n\n{\"id\":\"2\"}\n[".to_owned());
    let take = |number, line: &[u8]| {
        seen.push((number, String::from_utf8(line.to_vec()).unwrap()));
        Ok(())
    };
    source.each_line(take).unwrap();
    let expected = [(1, "{}"), (3, "{\"id\":\"2\"}"), (4, "[")];
    assert_eq!(
        seen,
        expected.map(|(number, line)| (number, line.to_owned()))
    );
}

#[test]
fn the_exit_status_tells_whether_something_fires() {
    assert_eq!(exit(true, false), Exit::Done);
    assert_eq!(exit(true, true), Exit::Done);
    assert_eq!(exit(false, true), Exit::Failed);
    assert_eq!(exit(false, false), Exit::NothingFires);
}
