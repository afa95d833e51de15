//! Who may be banned, and the reason when nobody may.

use super::{config, decide, section, tell};
use crate::config::Location;
use crate::config::{EntryKind, WhiteList, WhiteListEntry};
use crate::offender::Prefix;
use crate::policy::guard::{Guard, Reason};
use crate::policy::{Decision, quieted};
use crate::quiet::{Quiet, Quiets};
use crate::time::{Clocks, Moment, Wall};

/// `fields` are those of an alert that a section matches; `expected` is the decision in words.
fn check_offender(fields: &str, expected: &str) {
    let mut guard = Guard::default();
    guard.protect("192.0.2.1".parse().unwrap(), Reason::Gateway);
    guard.protect("127.0.0.1".parse().unwrap(), Reason::OwnAddress);
    guard.protect("198.51.100.1".parse().unwrap(), Reason::Manager);
    let spared = Prefix::new("198.51.100.0".parse().unwrap(), 24).unwrap();
    let mut config = config(vec![section(0, Some(3), "", &[])]);
    config.white_list = WhiteList::new(vec![WhiteListEntry {
        line: 3,
        span: 0..0,
        text: spared.to_string(),
        kind: EntryKind::Network(spared),
    }]);
    let line = format!(r#"{{"rule":{{"level":3}},{fields}}}"#);
    let decision = decide(config, &guard, &line);
    assert_eq!(tell(&decision), expected, "{fields}");
}

/// AR-OFF-1, AR-OFF-2, AR-OFF-4
#[test]
fn only_a_literal_address_is_banned() {
    check_offender(r#""srcip":"203.0.113.5""#, "0 ban 203.0.113.5");
    check_offender(r#""srcip":"2001:DB8:0::1""#, "0 ban 2001:db8::1");
    check_offender(r#""srcip":"::ffff:203.0.113.5""#, "0 ban 203.0.113.5");
    check_offender(r#""srcip":7"#, "0 refused: the alert names no offender");
    check_offender(
        r#""srcip":"-""#,
        "0 refused: srcip is no literal address: `-`",
    );
    check_offender(
        r#""srcip":"""#,
        "0 refused: srcip is no literal address: ``",
    );
    check_offender(
        r#""data":{"srcip":"evil.example"},"srcip":"203.0.113.5""#,
        "0 refused: data.srcip is no literal address: `evil.example`",
    );
}

/// AR-OFF-3
#[test]
fn injected_text_stops_everything() {
    let expected =
        |field: &str, text: &str| format!("0 refused: possible log injection in {field}: `{text}`");
    check_offender(
        r#""srcip":"203.0.113.5/8""#,
        &expected("srcip", "203.0.113.5/8"),
    );
    check_offender(
        r#""srcip":"203.0.113.5\n\u001b[2J""#,
        &expected("srcip", "203.0.113.5\\n\\u{1b}[2J"),
    );
    check_offender(
        r#""srcip":"fe80::1%eth0""#,
        &expected("srcip", "fe80::1%eth0"),
    );
    check_offender(
        r#""srcip":"203.0.113.5","dstuser":"a b""#,
        &expected("dstuser", "a b"),
    );
    check_offender(
        r#""srcip":"203.0.113.5","dstuser":"röot""#,
        &expected("dstuser", "röot"),
    );
    check_offender(
        r#""srcip":"203.0.113.5","dstuser":"a:b""#,
        &expected("dstuser", "a:b"),
    );
    check_offender(r#""srcip":"x/","dstuser":"a b""#, &expected("srcip", "x/"));
    check_offender(r#""dstuser":";""#, &expected("dstuser", ";"));
    check_offender(
        r#""srcip":"203.0.113.5","dstuser":"A.b_c@d?e-9""#,
        "0 ban 203.0.113.5",
    );
    check_offender(
        r#""srcip":"203.0.113.5","srcuser":"; reboot""#,
        "0 ban 203.0.113.5",
    );
}

/// AR-OFF-5
#[test]
fn addresses_that_must_stay_reachable_are_refused() {
    check_offender(
        r#""srcip":"::ffff:127.0.0.1""#,
        "0 refused: 127.0.0.1 is loopback",
    );
    check_offender(r#""srcip":"0.0.0.0""#, "0 refused: 0.0.0.0 is unspecified");
    check_offender(r#""srcip":"ff02::1""#, "0 refused: ff02::1 is multicast");
    check_offender(
        r#""srcip":"255.255.255.255""#,
        "0 refused: 255.255.255.255 is broadcast",
    );
    check_offender(
        r#""srcip":"192.0.2.1""#,
        "0 refused: 192.0.2.1 is protected: a default gateway",
    );
    check_offender(
        r#""srcip":"198.51.100.1""#,
        "0 refused: 198.51.100.1 is protected: the manager",
    );
}

/// AR-WL-1, AR-WL-6
#[test]
fn white_listed_addresses_are_refused_whatever_the_field() {
    let expected = "0 refused: 198.51.100.7 is white-listed by `198.51.100.0/24` in line 3";
    check_offender(r#""srcip":"198.51.100.7""#, expected);
    check_offender(
        r#""data":{"win":{"eventdata":{"ipAddress":"::ffff:198.51.100.7"}}}"#,
        expected,
    );
}

#[test]
fn a_refusal_keeps_only_the_head_of_a_long_text() {
    let text = "é".repeat(4_000);
    check_offender(
        &format!(r#""srcip":"{text}""#),
        &format!(
            "0 refused: possible log injection in srcip: `{}`",
            "é".repeat(128)
        ),
    );
}

/// Alerts of 203.0.113.5 for a section with this location, raised and read at some seconds, of which 10 to 60 are quiet for
/// its network; `expected` is why nothing comes of them.
#[track_caller]
fn check_quiet(location: Location, raised: u64, read: u64, expected: Option<&str>) {
    let at = |seconds: u64| Moment::from_nanos(seconds * 1_000_000_000);
    let quiet = Quiet {
        offender: crate::offender::Offender::network("203.0.113.0/24".parse().unwrap()),
        since: at(10),
        until: at(60),
        uid: 0,
        pid: None,
        reason: "a test".into(),
    };
    let quiets = Quiets::restore([quiet], at(10));
    let clocks = Clocks {
        moment: at(read),
        wall: Wall::from_nanos(i64::try_from(at(read).as_nanos()).unwrap()),
    };
    let mut section = section(0, Some(3), "", &[]);
    section.location = location;
    let line = r#"{"rule":{"level":3},"srcip":"203.0.113.5"}"#;
    let Decision::Fired(offences) = decide(config(vec![section]), &Guard::default(), line) else {
        panic!("it does not fire");
    };
    let found = quieted(&offences, &quiets, at(raised), clocks);
    let told = found.map(|refusal| format!("{}: {refusal}", refusal.word()));
    assert_eq!(told.as_deref(), expected, "{raised} {read}");
}

#[test]
fn alerts_about_who_is_quiet_lead_to_nothing_here_and_other_hosts_are_not_asked() {
    let told = "quiet: 203.0.113.5, as part of 203.0.113.0/24, is quiet until 1970-01-01T00:01:00Z, as user 0 asked: a test";
    check_quiet(Location::Server, 59, 59, Some(told));
    check_quiet(Location::Server, 60, 60, None);
    // Raised while it lasted, and read late.
    check_quiet(Location::Server, 59, 90, Some(told));
    check_quiet(Location::Server, 9, 90, None);
    check_quiet(Location::All, 59, 59, None);
}
