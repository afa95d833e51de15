//! Three ways of deciding one alert have to agree: by index, by explanation, and by the specification's
//! own words, written down here once more and slowly.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use super::explain::{Outcome, explain};
use super::guard::Reason;
use super::tests::{config, section};
use super::*;
use crate::alert::Group;
use crate::config::{EntryKind, WhiteList, WhiteListEntry};
use crate::offender::Prefix;

const TOKENS: [&str; 12] = [
    "sshd",
    "syslog",
    "Web",
    "ftpd",
    "vsftpd",
    " attack",
    "active_response",
    "ACTIVE_RESPONSE ",
    "ossec",
    "authentication_failed",
    "a",
    "active_response2",
];
const ALTERNATIVES: [&str; 18] = [
    "sshd,",
    "SSHD",
    ",syslog,sshd,",
    "ftpd,",
    ",ftpd",
    "auth",
    "active_response,",
    "active",
    "_",
    "d,",
    ",",
    "pci_dss_11.4,",
    "pci_dss",
    "web,a",
    "attack,",
    "ossec,active_response,",
    "é",
    ",a,",
];
const OFFENDERS: [&str; 12] = [
    "203.0.113.5",
    "::ffff:203.0.113.5",
    "2001:db8::7",
    "198.51.100.9",
    "192.0.2.1",
    "127.0.0.1",
    "ff02::1",
    "host.example",
    "-",
    "203.0.113.5/32",
    "",
    "::",
];
const USERS: [&str; 5] = ["root", "", "a@b.c?-_", "x y", "rööt"];

/// An alert as a person would note it.
#[derive(Clone, Debug)]
struct Note {
    level: u8,
    rule: Option<u32>,
    groups: Vec<&'static str>,
    pci_dss: Vec<&'static str>,
    srcip: Option<&'static str>,
    dstuser: Option<&'static str>,
}

impl Note {
    fn line(&self) -> Vec<u8> {
        let rule = json!({
            "level": self.level, "id": self.rule, "groups": self.groups, "pci_dss": self.pci_dss,
        });
        let data = json!({ "srcip": self.srcip, "dstuser": self.dstuser });
        json!({ "id": "1.2", "rule": rule, "data": data })
            .to_string()
            .into_bytes()
    }
}

fn note() -> impl Strategy<Value = Note> {
    (
        0..18_u8,
        prop::option::of(0..6_u32),
        subsequence(&TOKENS[..], 0..5).prop_shuffle(),
        subsequence(&["11.4", "11.40", "10.2"][..], 0..3),
        prop::option::weighted(0.9, select(&OFFENDERS[..])),
        prop::option::of(select(&USERS[..])),
    )
        .prop_map(|(level, rule, groups, pci_dss, srcip, dstuser)| Note {
            level,
            rule,
            groups,
            pci_dss,
            srcip,
            dstuser,
        })
}

fn response() -> impl Strategy<Value = Response> {
    let location = prop_oneof![
        3 => Just(Location::Local),
        1 => Just(Location::All),
        1 => (0..3_u32).prop_map(|number| Location::DefinedAgent(AgentId::new(number))),
    ];
    (
        prop::option::of(1..=16_u8),
        prop::option::of(subsequence(&ALTERNATIVES[..], 1..4)),
        prop::collection::btree_set(0..6_u32, 0..3),
        location,
    )
        .prop_map(|(level, alternatives, rules_id, location)| Response {
            rules_id,
            location,
            ..section(0, level, &alternatives.unwrap_or_default().join("|"), &[])
        })
}

/// Sections with gaps between their numbers, as settings sections leave them.
fn configuration() -> impl Strategy<Value = Config> {
    let responses = prop::collection::vec(response(), 0..8);
    (responses, prop::bool::weighted(0.95)).prop_map(|(mut responses, enabled)| {
        for (at, response) in responses.iter_mut().enumerate() {
            response.index = at * 2 + 1;
        }
        let spared = Prefix::new("198.51.100.0".parse().unwrap(), 24).unwrap();
        let mut config = Config {
            enabled,
            ..config(responses)
        };
        config.white_list = WhiteList::new(vec![WhiteListEntry {
            line: 3,
            span: 0..0,
            text: spared.to_string(),
            kind: EntryKind::Network(spared),
        }]);
        config
    })
}

/// The sections that fire, in the words of AR-MATCH, AR-OFF, AR-WL-1 and AR-CFG-6, 9.
fn by_the_book(config: &Config, note: &Note) -> Vec<usize> {
    if !config.enabled || note.level == 0 || !may_be_banned(note) {
        return Vec::new();
    }
    let tokens: Vec<String> = note
        .groups
        .iter()
        .map(|group| group.trim().to_lowercase())
        .chain(note.pci_dss.iter().map(|value| format!("pci_dss_{value}")))
        .collect();
    let joined: String = tokens.iter().map(|token| format!("{token},")).collect();
    let groups = format!(",{joined}");
    let own_log = tokens.iter().any(|token| token == "active_response");
    let matching = config.responses.iter().filter(|response| {
        let by_level = response.level.is_some_and(|level| note.level >= level);
        let by_rule = note
            .rule
            .is_some_and(|rule| response.rules_id.contains(&rule));
        let alternatives = response
            .rules_group
            .as_ref()
            .map(|group| &group.alternatives);
        let alternatives = alternatives.into_iter().flatten();
        let by_group = |text: &str| {
            alternatives.clone().any(|alternative| {
                let alternative = alternative.to_lowercase();
                let whole = alternative.ends_with(',') && !alternative.starts_with(',');
                text.contains(&if whole {
                    format!(",{alternative}")
                } else {
                    alternative
                })
            })
        };
        let to_manager = response.location == Location::DefinedAgent(AgentId::new(0));
        let fires = if own_log {
            by_rule || by_group(",active_response,")
        } else {
            by_level || by_rule || by_group(&groups)
        };
        fires && !to_manager
    });
    matching.map(|response| response.index).collect()
}

fn may_be_banned(note: &Note) -> bool {
    let only = |text: &str, others: &str| {
        text.chars()
            .all(|it| it.is_ascii_alphanumeric() || others.contains(it))
    };
    let Some(srcip) = note.srcip else {
        return false;
    };
    let Ok(address) = srcip.parse::<IpAddr>() else {
        return false;
    };
    let address = address.to_canonical();
    let spared = ["192.0.2.1", "127.0.0.1", "ff02::1", "::"];
    only(srcip, ".:_-")
        && only(note.dstuser.unwrap_or(""), "._@?-")
        && !spared.contains(&&*address.to_string())
        && !address.to_string().starts_with("198.51.100.")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_remembered_of_alerts_changes_no_decision(
        config in configuration(),
        notes in prop::collection::vec(note(), 1..24),
        long in 0..24_usize,
    ) {
        let config = Arc::new(config);
        let mut remembers = Policy::new(Arc::clone(&config));
        for (number, note) in notes.iter().enumerate() {
            let line = note.line();
            let mut alert = Alert::parse(&line).unwrap();
            if number == long {
                alert.groups.push(Group::new("g".repeat(600)));
            }
            // Those of one place are not told apart by it.
            for rule_id in [alert.rule_id, alert.rule_id.map(|rule| rule + 256)] {
                alert.rule_id = rule_id;
                let fresh = Policy::new(Arc::clone(&config)).decide(&alert, &Guard::default());
                prop_assert_eq!(remembers.decide(&alert, &Guard::default()), fresh.clone());
                prop_assert_eq!(remembers.decide(&alert, &Guard::default()), fresh);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// AR-MATCH-1 to 9, AR-OFF-1 to 5, AR-WL-1
    #[test]
    fn index_explanation_and_book_agree(config in configuration(), note in note()) {
        let mut guard = Guard::default();
        guard.protect("192.0.2.1".parse().unwrap(), Reason::Gateway);
        let line = note.line();
        let alert = Alert::parse(&line).unwrap();
        let explained = explain(&config, &alert, &guard);
        let book = by_the_book(&config, &note);

        let firing: Vec<_> = explained.iter().filter(|it| it.outcome == Outcome::Fires).collect();
        let refused: Vec<_> = explained
            .iter()
            .filter_map(|it| match &it.outcome {
                Outcome::Refused(refusal) => Some((it.response, refusal.clone())),
                _ => None,
            })
            .collect();
        prop_assert_eq!(firing.iter().map(|it| it.response).collect::<Vec<_>>(), &book[..]);
        match Policy::new(Arc::new(config)).decide(&alert, &guard) {
            Decision::Unmatched => prop_assert!(firing.is_empty() && refused.is_empty()),
            Decision::Refused { refusal, responses } => {
                let expected: Vec<_> = responses.into_iter().map(|it| (it, refusal.clone())).collect();
                prop_assert_eq!(refused, expected);
                prop_assert!(firing.is_empty());
            }
            Decision::Fired(offences) => {
                let fired = |it: &Offence| (it.response, it.target.clone(), it.timeout);
                let explained = |it: &&explain::Explanation| (it.response, it.target.clone(), it.ladder.first().copied());
                prop_assert_eq!(
                    offences.iter().map(fired).collect::<Vec<_>>(),
                    firing.iter().map(explained).collect::<Vec<_>>()
                );
                prop_assert!(!offences.is_empty() && refused.is_empty());
            }
        }
    }
}
