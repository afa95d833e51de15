//! What is accepted with a warning, and what is accepted without.

use super::{check, conf, response};

/// AR-CFG-6
#[test]
fn one_yes_among_others_is_told_at_its_place() {
    let off = "<active-response><disabled>yes</disabled></active-response>";
    let on = "<active-response><disabled>no</disabled></active-response>";
    check(&conf(&format!("{on}{off}")), &["warning disabled `yes`"]);
    check(
        &response(&format!(
            "<level>3</level></active-response>{off}<active-response><disabled>yes</disabled>"
        )),
        &["warning disabled `yes`"],
    );
    check(&conf(off), &[]);
    check(&conf(on), &[]);
    check(&conf(&format!("{off}{off}")), &[]);
}

/// AR-CFG-8, AR-CFG-9
#[test]
fn old_words_and_agents_without_effect_are_told() {
    let at = |body: &str| {
        conf(&format!(
            "<active-response><command>firewall-drop</command><level>3</level>{body}</active-response>"
        ))
    };
    check(&at("<location>Any</location>"), &["warning location `Any`"]);
    check(
        &at("<location>server</location><agent_id>x</agent_id>"),
        &["warning agent_id `x`"],
    );
    check(
        &at("<location>defined-agent</location><agent_id>00</agent_id>"),
        &["warning agent_id `00`"],
    );
}

/// AR-ALERT-4
#[test]
fn a_level_whose_alerts_are_not_written_is_told() {
    let with = |alerts: &str, level: &str| {
        response(&format!(
            "<level>{level}</level></active-response>{alerts}<active-response><ca_store/>"
        ))
    };
    let log = |level: &str| format!("<alerts><log_alert_level>{level}</log_alert_level></alerts>");
    check(&with("", "2"), &["warning level `2`"]);
    check(&with("", "3"), &[]);
    check(&with(&log("1"), "1"), &[]);
    check(&with(&log("7"), "6"), &["warning level `6`"]);
    check(&with(&log("x"), "3"), &[]);
}

/// AR-MATCH-6
#[test]
fn a_response_that_nothing_fires_is_told() {
    check(
        &response(""),
        &["warning active-response `<active-response>`"],
    );
    check(
        &response("<rules_id>,</rules_id><rules_group>|</rules_group><level/>"),
        &["warning active-response `<active-response>`"],
    );
}

/// AR-CFG-11, AR-MATCH-4
#[test]
fn groups_that_mean_more_or_less_than_they_seem_to_are_told() {
    let told = |groups: &str, expected: &[&str]| {
        let lines: Vec<String> = expected
            .iter()
            .map(|group| format!("warning rules_group `{group}`"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        check(
            &response(&format!("<rules_group>{groups}</rules_group>")),
            &lines,
        );
    };
    told("authentication", &["authentication"]);
    told("sshd,|SSHD|pci_dss_11.4,|my_own_group", &[]);
    told("Attack|attack,", &["Attack"]);
    told(",attack", &[",attack"]);
    told("^sshd|ssh\\d|sshd$|a*", &["^sshd", "ssh\\d", "sshd$", "a*"]);
    told("sshd,web|syslog,sshd,", &["sshd,web", "syslog,sshd,"]);
    told(",| , |,,", &[",", ",", ",,"]);
}

/// AR-CFG-13, AR-CMD-2
#[test]
fn timeouts_without_effect_are_told() {
    check(
        &response("<level>3</level><timeout>00</timeout>"),
        &["warning timeout `00`"],
    );
    let forever = |timeout: &str| {
        conf(&format!(
            "<command><name>x</name><executable>x</executable></command><active-response>\
             <command>x</command><location>all</location><level>3</level>\
             <timeout>{timeout}</timeout></active-response>"
        ))
    };
    check(&forever("60"), &["warning timeout `60`"]);
    check(&forever("0"), &["warning timeout `0`"]);
    check(&forever(""), &[]);
}

/// AR-CFG-14, AR-CFG-15
#[test]
fn lists_of_repeated_offenders_that_are_odd_are_told() {
    let list = |text: &str| {
        format!(
            "<active-response><repeated_offenders>{text}</repeated_offenders></active-response>"
        )
    };
    check(&conf(&list("1,2,3,4,5")), &[]);
    check(
        &conf(&list("1,2,3,4,5,6")),
        &["warning repeated_offenders `1,2,3,4,5,6`"],
    );
    check(&conf(&list("1,1")), &["warning repeated_offenders `1,1`"]);
    check(
        &conf(&list("1,2,3,4,5,1")),
        &["warning repeated_offenders `1,2,3,4,5,1`"],
    );
    let other = "<active-response><disabled>no</disabled></active-response>";
    check(
        &conf(&format!("{other}{}", list("2"))),
        &["warning repeated_offenders `2`"],
    );
    check(
        &conf(&(list("2") + &list("3"))),
        &["warning repeated_offenders `3`"],
    );
}

/// AR-CFG-16, AR-CMD-4
#[test]
fn what_stands_twice_is_told() {
    check(
        &response("<level>3</level><level>4</level><level>5</level>"),
        &["warning level `level`"],
    );
    check(
        &conf("<command><name>firewall-drop</name><executable>x</executable></command>"),
        &["warning command `firewall-drop`"],
    );
}

/// AR-WL-3, AR-WL-7
#[test]
fn white_list_entries_that_cover_all_or_nobody_are_told() {
    let told = |entry: &str, expected: &[&str]| {
        let lines: Vec<String> = expected
            .iter()
            .map(|place| format!("warning white_list `{place}`"))
            .collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let text = conf(&format!(
            "<global><white_list>{entry}</white_list></global>"
        ));
        check(&text, &lines);
    };
    told("^localhost.localdomain$", &[]);
    told("127.0.0.1", &[]);
    told("", &["<white_list>"]);
    for all in [
        "0.0.0.0/0",
        "10.0.0.0/0.0.0.0",
        "::/0",
        "^",
        "$",
        ".",
        ":",
        "::ffff:0:0/96",
    ] {
        told(all, &[all]);
    }
    told("^10.||x", &[""]);
    told("^$|.77$|^192.168.|.113.", &[]);
    told("10.1.*|^10\\.", &["10.1.*", "^10\\."]);
    told("10.1.|10.2.3.4|host", &["10.1.", "10.2.3.4"]);
    told("10.1.1.1, 10.1.1.2", &["10.1.1.1, 10.1.1.2"]);
}

#[test]
fn what_is_written_where_nothing_is_read_is_told() {
    check(
        "<ossec_config>text</ossec_config><agent_config><active-response/></agent_config>",
        &[
            "warning ossec_config `text`",
            "warning agent_config `agent_config`",
        ],
    );
    check(
        &response("<level>3</level>stray"),
        &["warning active-response `stray`"],
    );
    check(
        &conf("<global><jsonout_output>no</jsonout_output></global>"),
        &["warning jsonout_output `no`"],
    );
}
