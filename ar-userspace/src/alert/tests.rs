//! Alerts by requirement, and the lines of real ones.

use std::path::PathBuf;

use super::model::{facts, model};
use super::*;

fn parse(line: &str) -> Alert<'_> {
    Alert::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// `expected` is the joined groups.
fn check_groups(rule: &str, expected: &str) {
    let line = format!(r#"{{"rule":{{{rule}}}}}"#);
    let groups = parse(&line)
        .groups
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(groups.join("|"), expected, "{rule}");
}

fn check_rule(rule: &str, rule_id: Option<u32>, level: u8) {
    let line = format!(r#"{{"rule":{rule}}}"#);
    let alert = parse(&line);
    assert_eq!((alert.rule_id, alert.level), (rule_id, level), "{rule}");
}

/// `expected` is the field and the text.
fn check_offender(fields: &str, expected: Option<(&str, &str)>) {
    let line = format!("{{{fields}}}");
    let alert = parse(&line);
    let found = alert.offender.as_ref().map(|it| (it.field, &*it.text));
    assert_eq!(found, expected, "{fields}");
}

fn check_refused(line: impl AsRef<[u8]>, expected: Malformed) {
    let line = line.as_ref();
    assert_eq!(
        Alert::parse(line),
        Err(expected),
        "{:?}",
        String::from_utf8_lossy(line)
    );
}

fn not_json(offset: usize, reason: Syntax) -> Malformed {
    Malformed::NotJson { offset, reason }
}

/// AR-ALERT-1
#[test]
fn a_wazuh_alert_is_read() {
    let alert = parse(
        r#"{"timestamp":"2024-11-24T01:43:00.218+0000","rule":{"level":10,"description":"many","id":"5712",
        "groups":["syslog","sshd"]},"agent":{"id":"001","name":"web","ip":"10.0.0.2"},"manager":{"name":"m"},
        "id":"1732412580.1","full_log":"a \"b\"","decoder":{"name":"sshd"},"location":"/var/log/auth.log",
        "data":{"srcip":"203.0.113.5","dstuser":"root","srcuser":"x"}}"#,
    );
    let text = |quoted: Option<Quoted<'_>>| quoted.map(|it| it.decode().into_owned());
    assert_eq!(alert.id.as_deref(), Some("1732412580.1"));
    assert_eq!((alert.rule_id, alert.level), (Some(5712), 10));
    assert_eq!(alert.groups, [Group::new("syslog"), Group::new("sshd")]);
    assert_eq!(alert.agent_id.as_deref(), Some("001"));
    assert_eq!(alert.dstuser.as_deref(), Some("root"));
    let context = alert.context;
    assert_eq!(
        text(context.timestamp).as_deref(),
        Some("2024-11-24T01:43:00.218+0000")
    );
    assert_eq!(text(context.description).as_deref(), Some("many"));
    assert_eq!(text(context.agent_name).as_deref(), Some("web"));
    assert_eq!(text(context.manager_name).as_deref(), Some("m"));
    assert_eq!(text(context.location).as_deref(), Some("/var/log/auth.log"));
    assert_eq!(text(context.full_log).as_deref(), Some("a \"b\""));
    assert_eq!(text(context.srcuser).as_deref(), Some("x"));
}

/// AR-ALERT-5
#[test]
fn an_ossec_alert_is_read() {
    let alert = parse(
        r#"{"rule":{"level":5,"comment":"c","sidid":5710,"group":"syslog,sshd,"},"id":"1.3","TimeStamp":1795489577000,
        "srcip":"198.18.94.11","dstuser":"dev","agent_name":"bastion","data":"text","timestamp":"2026 Nov 24 03:06:17"}"#,
    );
    assert_eq!((alert.rule_id, alert.level), (Some(5710), 5));
    assert_eq!(alert.groups, [Group::new("syslog"), Group::new("sshd")]);
    assert_eq!(
        alert.offender.map(|it| it.text),
        Some("198.18.94.11".into())
    );
    assert_eq!(alert.dstuser.as_deref(), Some("dev"));
    assert_eq!(alert.agent_id, None);
    assert_eq!(alert.context.timestamp_ms, Some(1_795_489_577_000));
}

/// AR-ALERT-1
#[test]
fn a_field_of_an_unexpected_type_counts_as_absent() {
    let line = r#"{"id":1,"rule":[],"agent":{"id":1},"data":"x","srcip":["203.0.113.5"],"dstuser":null,"manager":1}"#;
    assert_eq!(parse(line), Alert::default());
    check_rule(r#"{"id":"5710","level":5}"#, Some(5710), 5);
    check_rule(r#"{"id":5710,"level":"5"}"#, Some(5710), 0);
    check_rule(r#"{"id":"0005710","level":5.0}"#, Some(5710), 0);
    check_rule(r#"{"id":"+5710","level":-5}"#, None, 0);
    check_rule(r#"{"id":"57 10","level":300}"#, None, 255);
    check_rule(r#"{"id":"4294967296","level":true}"#, None, 0);
    check_rule(r#"{"id":"x","sidid":7}"#, Some(7), 0);
    check_rule(r#"{"sidid":"7"}"#, None, 0);
    check_rule(r#""5710""#, None, 0);
}

#[test]
fn of_a_key_that_stands_twice_the_last_one_counts() {
    check_rule(r#"{"id":"1","level":9},"rule":{"id":"2"}"#, Some(2), 0);
    check_rule(r#"{"id":"1","level":9},"r\u0075le":7"#, None, 0);
    check_groups(r#""groups":["a"],"groups":["b"],"tsc":["x"],"tsc":1"#, "b");
    check_groups(r#""group":"a","groups":["b"],"group":1"#, "b");
    check_offender(r#""srcip":"203.0.113.5","srcip":5"#, None);
    check_offender(r#""data":{"srcip":"203.0.113.5"},"data":"x""#, None);
}

/// AR-ALERT-2, AR-ALERT-3
#[test]
fn compliance_values_follow_the_groups_in_one_order() {
    check_groups(
        r#""tsc":["CC6.1"],"nist_800_53":["AC.7"],"hipaa":["164.312.b"],"gpg13":["7.1"],"gdpr":["IV_32.2"],
        "cis":["1"],"cis_csc":["9"],"pci_dss":["11.4","10.2"],"groups":["web"," attack","sql "]"#,
        "web|attack|sql|pci_dss_11.4|pci_dss_10.2|cis_1|gdpr_IV_32.2|gpg13_7.1|hipaa_164.312.b|nist_800_53_AC.7|tsc_CC6.1",
    );
    check_groups(
        r#""groups":["a",1,null,["x"],{"y":"z"},"b"],"pci_dss":"11.4","gdpr":[35]"#,
        "a|b",
    );
    check_groups(
        r#""groups":["\u0061\u0020"],"pci_dss":[" 11\u002e4"]"#,
        "a|pci_dss_11.4",
    );
    check_groups(r#""groups":"a,b""#, "");
}

/// AR-ALERT-5
#[test]
fn the_comma_list_comes_before_the_array() {
    check_groups(r#""groups":["a"],"group":"b, c,,d,""#, "b|c|d");
    check_groups(r#""group":"\u0062,c ,""#, "b|c");
    check_groups(r#""groups":["a"],"group":"""#, "");
    check_groups(
        r#""group":"ossec,","pci_dss":["11.4"]"#,
        "ossec|pci_dss_11.4",
    );
}

/// AR-OFF-1
#[test]
fn the_offender_is_the_first_string_of_the_four_fields() {
    let ip_address = r#""win":{"eventdata":{"destinationIp":"b","ipAddress":"a"}}"#;
    let destination = r#""win":{"eventdata":{"ipAddress":1,"destinationIp":"b"}}"#;
    let rest = r#""srcip":"c"},"srcip":"d""#;
    check_offender(
        &format!(r#""data":{{{ip_address},{rest}"#),
        Some(("data.win.eventdata.ipAddress", "a")),
    );
    check_offender(
        &format!(r#""data":{{{destination},{rest}"#),
        Some(("data.win.eventdata.destinationIp", "b")),
    );
    check_offender(
        &format!(r#""data":{{"win":"x",{rest}"#),
        Some(("data.srcip", "c")),
    );
    check_offender(r#""srcip":"d","data":{"srcip":7}"#, Some(("srcip", "d")));
    check_offender(
        r#""srcip":"d","data":{"srcip":""}"#,
        Some(("data.srcip", "")),
    );
    check_offender(r#""data":{"srcIP":"c"},"agent":{"ip":"e"}"#, None);
}

#[test]
fn an_empty_user_gives_way_to_the_other() {
    let line = r#"{"data":{"dstuser":""},"dstuser":"root"}"#;
    assert_eq!(parse(line).dstuser.as_deref(), Some("root"));
    assert_eq!(parse(r#"{"data":{"dstuser":""}}"#).dstuser, None);
}

#[test]
fn escapes_are_decoded_in_keys_and_values() {
    check_offender(
        r#""\u0073rcip":"2001\u003adb8\/\ud83d\ude00""#,
        Some(("srcip", "2001:db8/😀")),
    );
    assert_eq!(
        parse(r#"{"id":"\b\f\n\r\t\"\\\u00e9"}"#).id.as_deref(),
        Some("\u{8}\u{c}\n\r\t\"\\é")
    );
}

#[test]
fn every_way_of_being_malformed_has_its_name() {
    check_refused("", Malformed::Blank);
    check_refused(" \t\r\n", Malformed::Blank);
    check_refused(b"{\"a\":\"\xff\"}", Malformed::NotUtf8 { offset: 6 });
    check_refused("[1]", Malformed::NotAnObject { found: "an array" });
    check_refused("\"{}\"", Malformed::NotAnObject { found: "a string" });
    check_refused("-1", Malformed::NotAnObject { found: "a number" });
    check_refused("false", Malformed::NotAnObject { found: "a boolean" });
    check_refused("null", Malformed::NotAnObject { found: "null" });
    check_refused(r#"{"rule":{"level":5"#, not_json(18, Syntax::Truncated));
    check_refused(r#"{"a":"\ud83d"#, not_json(12, Syntax::Truncated));
    check_refused(r#"{"a":}"#, not_json(5, Syntax::ExpectedValue));
    check_refused("\0", not_json(0, Syntax::ExpectedValue));
    check_refused("{1:2}", not_json(1, Syntax::ExpectedKey));
    check_refused(r#"{"a":1,}"#, not_json(7, Syntax::ExpectedKey));
    check_refused(r#"{"a" 1}"#, not_json(5, Syntax::ExpectedColon));
    check_refused(
        r#"{"a":1 "b":2}"#,
        not_json(7, Syntax::ExpectedCommaOrBrace),
    );
    check_refused(
        r#"{"a":{"b":1]}"#,
        not_json(11, Syntax::ExpectedCommaOrBrace),
    );
    check_refused(r#"{"a":[1}"#, not_json(7, Syntax::ExpectedCommaOrBracket));
    check_refused("{\"a\":\"\0\"}", not_json(6, Syntax::ControlCharacter));
    check_refused(r#"{"a":"\x"}"#, not_json(6, Syntax::Escape));
    check_refused(r#"{"a":"\ud83d!"}"#, not_json(6, Syntax::Surrogate));
    check_refused(r#"{"a":01}"#, not_json(6, Syntax::ExpectedCommaOrBrace));
    check_refused(r#"{"a":-}"#, not_json(6, Syntax::Number));
    check_refused(r#"{"a":1e999}"#, not_json(5, Syntax::NumberRange));
    check_refused("{}{}", not_json(2, Syntax::Trailing));
    check_refused("\u{feff}{}", not_json(0, Syntax::ExpectedValue));
}

#[test]
fn reasons_read_as_sentences() {
    let message = |line: &str| Alert::parse(line.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        message("{\"a\":1 2}"),
        "not JSON at byte 7: expected `,` or `}`"
    );
    assert_eq!(message("[]"), "expected an object, found an array");
}

#[test]
fn no_depth_of_nesting_hides_an_alert() {
    let deep = 400_000;
    let brackets = format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    let mixed = format!("{}1{}", r#"[{"a":"#.repeat(deep), "}]".repeat(deep));
    for value in [brackets, mixed] {
        let line = format!(
            r#"{{"x":{value},"rule":{{"groups":[{value},"a"],"level":7}},"srcip":{value}}}"#
        );
        let alert = parse(&line);
        assert_eq!((alert.level, alert.groups.len()), (7, 1));
    }
    let open = "[".repeat(deep);
    check_refused(
        format!(r#"{{"x":{open}"#),
        not_json(deep + 5, Syntax::Truncated),
    );
    let crossed = format!("{}{}", "[".repeat(200), "]".repeat(136) + "}");
    check_refused(
        format!(r#"{{"x":{crossed}"#),
        not_json(341, Syntax::ExpectedCommaOrBracket),
    );
}

#[test]
fn a_string_may_end_anywhere_in_a_block() {
    for len in 0..70 {
        let text = "é".repeat(len / 2) + &"x".repeat(len % 2);
        let line = format!(r#"{{"id":"{text}","srcip":"{text}\n"}}"#);
        assert_eq!(parse(&line).id.as_deref(), Some(&*text));
        assert_eq!(
            parse(&line).offender.map(|it| it.text),
            Some(format!("{text}\n").into())
        );
    }
}

#[test]
fn a_line_of_real_products_means_what_its_tree_means() {
    let folder = std::env::var_os("ARFW_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    for (name, lines, offenders) in [
        ("ossec-alerts.json", 4_781, 4_135),
        ("wazuh-alerts-samples.json", 92, 15),
    ] {
        let path = folder.join(name);
        let text = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; set ARFW_DATA", path.display()));
        let mut found = (0, 0);
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let alert = Alert::parse(line).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Some(facts(&alert)), model(line));
            assert!(alert.rule_id.is_some() && alert.level > 0);
            found.0 += 1;
            found.1 += usize::from(alert.offender.is_some());
        }
        assert_eq!(found, (lines, offenders), "{name}");
    }
}
