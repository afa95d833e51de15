//! The configurations that `cargo xtask bench sections` measures with are what they are said to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use arfw::alert::Alert;
use arfw::config;
use arfw::policy::{Decision, Guard, Policy};
use xtask::sections::{Criterion, LEVEL, SIZES, configuration, criterion};

fn policy(sections: usize) -> Policy {
    let reading = config::read(&configuration(sections));
    assert!(reading.diagnostics.is_empty(), "{:?}", reading.diagnostics);
    Policy::new(Arc::new(reading.config.expect("there is no mistake in it")))
}

/// The sections that fire for an alert.
fn fired(policy: &mut Policy, level: u8, rule: u32, groups: &str) -> Vec<usize> {
    let line = format!(
        r#"{{"rule":{{"level":{level},"sidid":{rule},"groups":[{groups}]}},"srcip":"198.51.100.7"}}"#
    );
    let alert = Alert::parse(line.as_bytes()).expect("it is an alert");
    match policy.decide(&alert, &Guard::default()) {
        Decision::Unmatched => Vec::new(),
        Decision::Fired(offences) => offences.iter().map(|offence| offence.response).collect(),
        refused @ Decision::Refused { .. } => panic!("{refused:?}"),
    }
}

#[test]
fn each_section_can_match_and_is_asked_for_its_own() {
    for sections in SIZES {
        let mut policy = policy(sections);
        assert_eq!(policy.config().responses.len(), sections);
        let mut levels = BTreeSet::new();
        for (number, place) in (0..).zip(0..sections) {
            match criterion(number) {
                Criterion::Level => {
                    levels.insert(place);
                }
                Criterion::Rule(rule) => assert_eq!(fired(&mut policy, 3, rule, ""), [place]),
                Criterion::Group(group) => {
                    let groups = format!(r#""syslog","{group}""#);
                    assert_eq!(fired(&mut policy, 3, 5716, &groups), [place]);
                }
            }
        }
        assert!(fired(&mut policy, LEVEL, 5716, "").into_iter().eq(levels));
    }
}

#[test]
fn no_section_matches_what_the_sample_data_has() {
    let groups = r#""syslog","sshd","invalid_login","authentication_failed","web","accesslog""#;
    for sections in SIZES {
        let mut policy = policy(sections);
        for (level, rule) in [(0, 1002), (5, 5716), (10, 5712), (15, 100_000)] {
            let fired = fired(&mut policy, level, rule, groups);
            assert!(fired.is_empty(), "{sections} sections: {fired:?}");
        }
    }
}
