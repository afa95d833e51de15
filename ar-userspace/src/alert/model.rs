//! Alerts beside a naive model: the whole line as a tree, and each field looked up by its path.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::Alert;

/// What an alert decides with, in a form that both sides can be turned into.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    id: Option<String>,
    rule_id: Option<u64>,
    level: u64,
    groups: Vec<String>,
    agent_id: Option<String>,
    offender: Option<(String, String)>,
    dstuser: Option<String>,
    description: Option<String>,
    full_log: Option<String>,
}

pub(super) fn facts(alert: &Alert<'_>) -> Facts {
    let owned = |text: &std::borrow::Cow<'_, str>| text.clone().into_owned();
    let context = &alert.context;
    Facts {
        id: alert.id.as_ref().map(owned),
        rule_id: alert.rule_id.map(u64::from),
        level: alert.level.into(),
        groups: alert.groups.iter().map(ToString::to_string).collect(),
        agent_id: alert.agent_id.as_ref().map(owned),
        offender: alert
            .offender
            .as_ref()
            .map(|offender| (offender.field.to_owned(), owned(&offender.text))),
        dstuser: alert.dstuser.as_ref().map(owned),
        description: context.description.map(|text| text.decode().into_owned()),
        full_log: context.full_log.map(|text| text.decode().into_owned()),
    }
}

/// The same from a tree; `None` when the line is no object.
pub(super) fn model(line: &[u8]) -> Option<Facts> {
    let tree: Value = serde_json::from_slice(line).ok()?;
    let rule = &tree["rule"];
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let mut groups: Vec<String> = match rule["group"].as_str() {
        Some(list) => list
            .split(',')
            .map(|it| it.trim().to_owned())
            .filter(|it| !it.is_empty())
            .collect(),
        None => strings(&rule["groups"]),
    };
    for array in [
        "pci_dss",
        "cis",
        "gdpr",
        "gpg13",
        "hipaa",
        "nist_800_53",
        "tsc",
    ] {
        let values = strings(&rule[array]);
        groups.extend(values.iter().map(|value| format!("{array}_{value}")));
    }
    let sources = [
        (
            "data.win.eventdata.ipAddress",
            &tree["data"]["win"]["eventdata"]["ipAddress"],
        ),
        (
            "data.win.eventdata.destinationIp",
            &tree["data"]["win"]["eventdata"]["destinationIp"],
        ),
        ("data.srcip", &tree["data"]["srcip"]),
        ("srcip", &tree["srcip"]),
    ];
    tree.is_object().then(|| Facts {
        id: string(&tree["id"]),
        rule_id: number(&rule["id"]).or(rule["sidid"].as_u64().filter(fits)),
        level: rule["level"].as_u64().unwrap_or(0).min(255),
        groups,
        agent_id: string(&tree["agent"]["id"]),
        offender: sources
            .iter()
            .find_map(|(field, value)| Some(((*field).to_owned(), string(value)?))),
        dstuser: [&tree["data"]["dstuser"], &tree["dstuser"]]
            .into_iter()
            .filter_map(string)
            .find(|user| !user.is_empty()),
        description: string(&rule["description"]).or(string(&rule["comment"])),
        full_log: string(&tree["full_log"]),
    })
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items
        .filter_map(|item| Some(item.as_str()?.trim().to_owned()))
        .collect()
}

fn number(value: &Value) -> Option<u64> {
    let is_decimal = |text: &&str| text.chars().all(|digit| digit.is_ascii_digit());
    let number = match value.as_str() {
        Some(text) => Some(text).filter(is_decimal)?.parse().ok(),
        None => value.as_u64(),
    };
    number.filter(fits)
}

fn fits(number: &u64) -> bool {
    u32::try_from(*number).is_ok()
}

/// Pieces of strings that are valid, in many spellings.
const PIECES: [&str; 22] = [
    "a",
    "sshd",
    ",",
    " ",
    "é",
    "😀",
    "\\n",
    "\\t",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\/",
    "\\\\",
    "\\\"",
    "\\u0000",
    "198.51.100.7",
    "5710",
    "0",
    "+",
    "{",
    "]",
    ":",
    "a run of plain text of more than 16 bytes",
];
/// Pieces that no JSON string may hold.
const BAD_PIECES: [&str; 9] = [
    "\\ud800",
    "\\udc00",
    "\\ud800\\u0041",
    "\\x",
    "\u{1}",
    "\0",
    "\\u12",
    "\\u00g0",
    "\\ud800\\n",
];
const SCALARS: [&str; 17] = [
    "0",
    "5",
    "10",
    "-5",
    "-0",
    "5.0",
    "1e3",
    "1E-2",
    "255",
    "256",
    "5710",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "true",
    "false",
    "null",
];
const BAD_SCALARS: [&str; 10] = [
    "01", "1.", "-", "1e", "+1", "nul", "truee", "1e999", "-1e999", "",
];
const KEYS: [&str; 34] = [
    "id",
    "rule",
    "r\\u0075le",
    "agent",
    "data",
    "srcip",
    "s\\u0072cip",
    "dstuser",
    "full_log",
    "sidid",
    "level",
    "description",
    "comment",
    "group",
    "groups",
    "pci_dss",
    "cis",
    "gdpr",
    "gpg13",
    "hipaa",
    "nist_800_53",
    "tsc",
    "win",
    "eventdata",
    "ipAddress",
    "destinationIp",
    "name",
    "Rule",
    "",
    "\\ud83d\\ude00",
    "timestamp",
    "TimeStamp",
    "location",
    "manager",
];

fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![400 => select(&PIECES[..]), 1 => select(&BAD_PIECES[..])];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn key() -> impl Strategy<Value = String> {
    select(&KEYS[..]).prop_map(|key| format!("\"{key}\""))
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => select(&[" ", "\t", "\r\n"][..])]
}

/// A value of any kind, with objects whose keys may stand twice.
fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![300 => select(&SCALARS[..]), 1 => select(&BAD_SCALARS[..])];
    let leaf = prop_oneof![2 => string(), 1 => scalar.prop_map(str::to_owned)];
    leaf.prop_recursive(5, 48, 6, |inner| {
        let array = prop::collection::vec(inner.clone(), 0..5);
        prop_oneof![
            1 => (array, blank()).prop_map(|(items, blank)| {
                format!("[{blank}{}{blank}]", items.join(&format!("{blank},")))
            }),
            2 => object(key(), inner),
        ]
    })
}

fn object(
    key: impl Strategy<Value = String>,
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let field =
        (key, blank(), value).prop_map(|(key, blank, value)| format!("{key}{blank}:{value}"));
    (prop::collection::vec(field, 0..8), blank())
        .prop_map(|(fields, blank)| format!("{{{blank}{}{blank}}}", fields.join(",")))
}

/// An object in which the known fields mostly stand where they belong.
fn line() -> impl Strategy<Value = String> {
    let named = |names: &'static [&'static str]| select(names).prop_map(|it| format!("\"{it}\""));
    let list = prop::collection::vec(string(), 0..4).prop_map(|it| format!("[{}]", it.join(",")));
    let leaf = || prop_oneof![3 => string(), 1 => select(&SCALARS[..]).prop_map(str::to_owned), 1 => value()];
    let lists = object(
        named(&[
            "groups",
            "pci_dss",
            "cis",
            "gdpr",
            "gpg13",
            "hipaa",
            "nist_800_53",
            "tsc",
        ]),
        list,
    );
    let rule = object(
        named(&["id", "sidid", "level", "group", "comment", "description"]),
        leaf(),
    );
    let eventdata = object(named(&["ipAddress", "destinationIp"]), leaf());
    let win = object(named(&["eventdata"]), eventdata);
    let data = prop_oneof![
        object(named(&["srcip", "dstuser", "win"]), leaf()),
        object(named(&["win"]), win),
    ];
    let part = prop_oneof![
        4 => lists.prop_map(|it| format!("\"rule\":{it}")),
        4 => rule.prop_map(|it| format!("\"rule\":{it}")),
        4 => data.prop_map(|it| format!("\"data\":{it}")),
        4 => (named(&["srcip", "dstuser", "id", "full_log"]), leaf()).prop_map(|(key, it)| format!("{key}:{it}")),
        1 => (key(), value()).prop_map(|(key, it)| format!("{key}:{it}")),
    ];
    prop_oneof![
        8 => prop::collection::vec(part, 0..7).prop_map(|it| format!("{{{}}}", it.join(","))),
        1 => value(),
    ]
}

fn check(line: &[u8]) -> Result<(), TestCaseError> {
    let parsed = Alert::parse(line);
    let expected = model(line);
    prop_assert_eq!(parsed.as_ref().ok().map(facts), expected, "{:?}", parsed);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// AR-ALERT-1 to 5
    #[test]
    fn a_line_means_what_its_tree_means(line in line()) {
        check(line.as_bytes())?;
    }

    #[test]
    fn a_damaged_line_is_refused_exactly_when_it_is_no_json(
        line in line(),
        cut in any::<prop::sample::Index>(),
        byte in prop_oneof![select(&b"\"\\{}[]:,0e.- \x00\x1f\x80\xff"[..]), any::<u8>()],
        damage in 0..3,
    ) {
        let mut line = line.into_bytes();
        let at = cut.index(line.len() + 1);
        match damage {
            0 => line.truncate(at),
            1 => line.insert(at, byte),
            _ => {
                if let Some(place) = line.get_mut(at) {
                    *place = byte;
                }
            }
        }
        check(&line)?;
    }
}
