//! Whole answers: `fixtures/alerts.json` through the configurations beside it.
//!
//! What comes out is compared with `fixtures/NAME.txt`, to the byte. With UPDATE_EXPECT=1 in the environment
//! the expected files are written anew instead; look at the difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::*;
use crate::config;

fn fixture(name: &str) -> PathBuf {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/command/replay/fixtures");
    Path::new(directory).join(name)
}

fn run(name: &str) -> Run {
    let text = fs::read_to_string(fixture(name)).unwrap();
    let config = config::read(&text).config.unwrap();
    Run::new(name.to_owned(), config, Guard::default())
}

fn answer(alerts: &[u8], configs: &[&str], timeline: bool, json: bool) -> String {
    let runs = configs.iter().map(|name| run(name)).collect();
    let mut out = Vec::new();
    let times = Times::in_zone(TimeZone::UTC);
    replay(alerts, runs, times, timeline, json, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(name: &str, configs: &[&str], timeline: bool, json: bool) {
    let alerts = fs::read(fixture("alerts.json")).unwrap();
    let got = answer(&alerts, configs, timeline, json);
    if json {
        let _: serde_json::Value = serde_json::from_str(&got).expect("one JSON value");
    }
    let expected = fixture(name);
    if std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1") {
        fs::write(&expected, got).unwrap();
    } else {
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(got, expected, "{name}");
    }
}

#[test]
fn the_summary_tells_who_would_have_been_banned() {
    check("summary.txt", &["ossec.conf"], false, false);
    check("summary.json.txt", &["ossec.conf"], false, true);
}

/// AR-TIME-1, AR-TIME-5
#[test]
fn the_timeline_has_a_line_for_each_ban_move_and_unban() {
    check("timeline.txt", &["ossec.conf"], true, false);
    check("timeline.json.txt", &["ossec.conf"], true, true);
}

#[test]
fn two_configurations_are_told_apart() {
    let both = ["ossec.conf", "other.conf"];
    check("against.txt", &both, false, false);
    check("against.json.txt", &both, false, true);
}

#[test]
fn a_configuration_does_not_differ_from_itself() {
    let alerts = fs::read(fixture("alerts.json")).unwrap();
    let same = answer(&alerts, &["ossec.conf", "ossec.conf"], false, true);
    let same: serde_json::Value = serde_json::from_str(&same).unwrap();
    let difference = &same["against"];
    assert_eq!(difference["only_first"], serde_json::json!([]));
    assert_eq!(difference["only_second"], serde_json::json!([]));
    assert_eq!(difference["both"]["longer_by_first"], 0);
}

#[test]
fn without_alerts_there_is_nothing_to_tell() {
    for json in [false, true] {
        for timeline in [false, true] {
            let text = answer(b"", &["ossec.conf"], timeline, json);
            let told = if json { "\"alerts\":0" } else { "0 alerts" };
            assert!(text.contains(told), "{text}");
        }
    }
}

/// The answer does not depend on how the bytes arrive.
#[test]
fn lines_may_arrive_in_any_pieces() {
    let alerts = fs::read(fixture("alerts.json")).unwrap();
    let whole = answer(&alerts, &["ossec.conf"], true, false);
    let mut out = Vec::new();
    let pieces = OneByte(&alerts);
    let times = Times::in_zone(TimeZone::UTC);
    replay(
        pieces,
        vec![run("ossec.conf")],
        times,
        true,
        false,
        &mut out,
    )
    .unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), whole);
}

/// A reader that hands out one byte at a time.
struct OneByte<'a>(&'a [u8]);

impl Read for OneByte<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let [first, rest @ ..] = self.0 else {
            return Ok(0);
        };
        self.0 = rest;
        buffer[0] = *first;
        Ok(1)
    }
}
