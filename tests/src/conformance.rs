//! The runner of the conformance vectors finds what is wrong: one that cannot fail shows nothing.

use std::fs;

use anyhow::Result;
use serde_json::{Value, json};
use tests::vectors;

const CONFIG: &str = "<ossec_config>
  <command><name>fd</name><executable>firewall-drop</executable><timeout_allowed>yes</timeout_allowed></command>
  <active-response><command>fd</command><location>local</location><rules_id>5712</rules_id><timeout>60</timeout></active-response>
</ossec_config>";

/// Runs the cases as one file and compares all that is printed.
#[track_caller]
fn check(cases: &Value, expected: &str) {
    let run = || -> Result<String> {
        let directory = tempfile::tempdir()?;
        let file = json!({"schema": "ar-vectors/1", "cases": cases});
        fs::write(directory.path().join("some.json"), file.to_string())?;
        Ok(vectors::run(directory.path()).to_string())
    };
    assert_eq!(run().expect("the file is written and run"), expected);
}

fn case(name: &str, kind: &str, alerts: Value, expect: Value) -> Value {
    json!({"name": name, "requirement": "AR-X-1", "kind": kind, "config": CONFIG, "alerts": alerts, "expect": expect})
}

fn alert(at: u64, agent: &str, address: &str) -> Value {
    json!({"at": at, "alert": {
        "rule": {"id": 5712, "level": 10}, "agent": {"id": agent}, "data": {"srcip": address}
    }})
}

#[test]
fn what_holds_passes() {
    let two = json!([alert(0, "000", "203.0.113.5"), {"at": 10, "restart": true}, alert(30, "0", "::ffff:203.0.113.5")]);
    check(
        &json!([
            case(
                "a",
                "config",
                json!([]),
                json!([{"valid": true, "enabled": true, "response_count": 1,
                "repeated_offenders": [], "responses": [{"index": 0, "rules_id": [5712], "level": null, "timeout": 60}]}])
            ),
            case(
                "b",
                "match",
                json!([alert(0, "7", "203.0.113.5"), alert(0, "7", "-")]),
                json!([{"alert": 0, "fires": [0], "ip": "203.0.113.5"}, {"alert": 1, "fires": [], "ip": null}])
            ),
            case(
                "c",
                "timeline",
                two,
                json!([
                {"at": 90, "action": "delete", "executable": "firewall-drop", "ip": "203.0.113.5"},
                {"at": 0, "action": "add", "executable": "firewall-drop", "ip": "203.0.113.5"}])
            ),
        ]),
        "3 passed, 0 failed\n",
    );
}

#[test]
fn agents_are_the_same_with_and_without_their_zeros() {
    let mut route = case(
        "route",
        "route",
        json!([alert(0, "7", "203.0.113.5"), alert(0, "8", "203.0.113.5")]),
        json!([{"alert": 0, "response": 0, "executors": ["7"]}, {"alert": 1, "response": 0, "executors": []}]),
    );
    route["agents"] = json!([{"id": "07", "connected": true}, {"id": "008", "connected": true, "ar_disabled": true}]);
    let mut timeline = case(
        "timeline",
        "timeline",
        json!([
            alert(0, "7", "203.0.113.5"),
            alert(1, "8", "203.0.113.6"),
            alert(2, "007", "203.0.113.5")
        ]),
        json!([{"at": 0, "action": "add", "executable": "firewall-drop", "ip": "203.0.113.5"},
            {"at": 302, "action": "delete", "executable": "firewall-drop", "ip": "203.0.113.5"}]),
    );
    timeline["executor"] = json!("7");
    timeline["agent_config"] = json!(
        "<ossec_config><active-response><repeated_offenders>5</repeated_offenders></active-response></ossec_config>"
    );
    check(&json!([route, timeline]), "2 passed, 0 failed\n");
}

#[test]
fn what_does_not_hold_is_named_with_both_sides() {
    check(
        &json!([
            case(
                "a",
                "config",
                json!([]),
                json!([{"valid": false, "element": "level"}])
            ),
            case(
                "b",
                "config",
                json!([]),
                json!([{"valid": true, "response_count": 2}])
            ),
            case(
                "c",
                "match",
                json!([alert(0, "000", "203.0.113.5")]),
                json!([{"alert": 0, "fires": [0], "ip": null}])
            ),
            case(
                "d",
                "timeline",
                json!([alert(0, "000", "203.0.113.5")]),
                json!([
                {"at": 0, "action": "add", "executable": "firewall-drop", "ip": "203.0.113.5"},
                {"at": 61, "action": "delete", "executable": "firewall-drop", "ip": "203.0.113.5"}])
            ),
            case(
                "e",
                "match",
                json!([alert(0, "000", "203.0.113.5")]),
                json!([{"alert": 0, "fires": [0]}])
            ),
        ]),
        "FAILED a [AR-X-1]: expected {\"element\":\"level\",\"valid\":false}, came a valid configuration\n\
         FAILED b [AR-X-1]: response_count: expected 2, came 1\n\
         FAILED c [AR-X-1]: expected [(0, [0], None)], came [(0, [0], Some(\"203.0.113.5\"))]\n\
         FAILED d [AR-X-1]: expected [(0, \"add\", \"firewall-drop\", \"203.0.113.5\"), (61, \"delete\", \"firewall-drop\", \"203.0.113.5\")], \
         came [(0, \"add\", \"firewall-drop\", \"203.0.113.5\"), (60, \"delete\", \"firewall-drop\", \"203.0.113.5\")]\n\
         1 passed, 4 failed\n",
    );
}

#[test]
fn a_case_that_is_not_understood_fails() {
    let backwards = json!([
        alert(5, "000", "203.0.113.5"),
        alert(4, "000", "203.0.113.5")
    ]);
    check(
        &json!([
            case("a", "verdict", json!([]), json!([])),
            case("b", "match", backwards, json!([])),
            case(
                "c",
                "config",
                json!([]),
                json!([{"valid": true, "colour": "red"}])
            ),
            case("d", "config", json!([]), json!([{"valid": true}])),
            case("d", "config", json!([]), json!([{"valid": true}])),
        ]),
        "FAILED a [AR-X-1]: there is no kind `verdict`\n\
         FAILED b [AR-X-1]: the times of `alerts` decrease\n\
         FAILED c [AR-X-1]: `expect` has the unknown key `colour`\n\
         FAILED d [AR-X-1]: another case has this name\n\
         1 passed, 4 failed\n",
    );
}

#[test]
fn a_directory_without_cases_does_not_hold() {
    let run = || -> Result<()> {
        let directory = tempfile::tempdir()?;
        assert!(!vectors::run(&directory.path().join("missing")).holds());
        assert!(!vectors::run(directory.path()).holds());
        fs::write(
            directory.path().join("a.json"),
            r#"{"schema": "ar-vectors/2", "cases": []}"#,
        )?;
        let report = vectors::run(directory.path());
        assert!(!report.holds());
        assert_eq!(
            report.failures[0].why,
            "schema: expected \"ar-vectors/1\", found \"ar-vectors/2\""
        );
        Ok(())
    };
    run().unwrap();
}
