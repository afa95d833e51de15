//! Matching by requirement, on configurations built by hand; the offender's checks stand beside.

mod explanations;
mod offenders;

use std::collections::BTreeSet;

use super::*;
use crate::config::RulesGroup;

/// A section with `index`; an empty `rules_group` and `rules_id` mean that the element is not there.
pub(super) fn section(
    index: usize,
    level: Option<u8>,
    rules_group: &str,
    rules_id: &[u32],
) -> Response {
    let alternatives = || rules_group.split('|').map(str::to_owned).collect();
    Response {
        index,
        line: index + 1,
        command: "firewall-drop".to_owned(),
        executable: Executable::new("firewall-drop"),
        enforcement: Enforcement::Kernel,
        extra_args: Vec::new(),
        location: Location::Local,
        level,
        rules_group: (!rules_group.is_empty()).then(|| RulesGroup {
            alternatives: alternatives(),
        }),
        rules_id: BTreeSet::from_iter(rules_id.iter().copied()),
        timeout: Some(Duration::from_secs(600)),
    }
}

pub(super) fn config(responses: Vec<Response>) -> Config {
    Config {
        responses,
        ..Config::default()
    }
}

/// An alert of the documentation address 203.0.113.5.
fn alert(level: u8, rule: u32, groups: &str) -> String {
    let groups = groups.replace(' ', r#"",""#);
    format!(
        r#"{{"id":"1.2","rule":{{"level":{level},"id":"{rule}","groups":["{groups}"]}},"data":{{"srcip":"203.0.113.5"}}}}"#
    )
}

/// A decision in one line: the sections, and who is banned or why not.
fn tell(decision: &Decision) -> String {
    let list = |sections: &[usize]| {
        let sections: Vec<_> = sections.iter().map(ToString::to_string).collect();
        sections.join(" ")
    };
    match decision {
        Decision::Unmatched => "unmatched".to_owned(),
        Decision::Refused { refusal, responses } => {
            format!("{} refused: {refusal}", list(responses))
        }
        Decision::Fired(offences) => {
            let sections: Vec<_> = offences.iter().map(|offence| offence.response).collect();
            let offender = offences.first().map(|offence| offence.offender.to_string());
            format!("{} ban {}", list(&sections), offender.unwrap_or_default())
        }
    }
}

fn decide(config: Config, guard: &Guard, line: &str) -> Decision {
    let alert = Alert::parse(line.as_bytes()).expect("the line is an alert");
    Policy::new(Arc::new(config)).decide(&alert, guard)
}

/// `expected` is the sections that fire.
fn check(sections: Vec<Response>, line: &str, expected: &[usize]) {
    let decision = decide(config(sections), &Guard::default(), line);
    let fired: Vec<_> = match decision {
        Decision::Unmatched => Vec::new(),
        Decision::Refused { .. } => panic!("{}", tell(&decision)),
        Decision::Fired(offences) => offences.iter().map(|offence| offence.response).collect(),
    };
    assert_eq!(fired, expected, "{line}");
}

/// AR-MATCH-2
#[test]
fn a_level_matches_when_reached() {
    let sections = || vec![section(0, Some(10), "", &[]), section(1, Some(16), "", &[])];
    check(sections(), &alert(9, 1, "a"), &[]);
    check(sections(), &alert(10, 1, "a"), &[0]);
    check(sections(), &alert(16, 1, "a"), &[0, 1]);
    check(
        sections(),
        r#"{"rule":{"level":900},"srcip":"203.0.113.5"}"#,
        &[0, 1],
    );
}

/// AR-MATCH-3
#[test]
fn rules_are_compared_as_numbers() {
    let sections = || vec![section(0, None, "", &[571, 5712])];
    check(sections(), &alert(3, 571, "a"), &[0]);
    check(sections(), &alert(3, 5710, "a"), &[]);
    check(sections(), &alert(3, 57, "a"), &[]);
    check(
        sections(),
        r#"{"rule":{"level":3},"srcip":"203.0.113.5"}"#,
        &[],
    );
}

/// AR-MATCH-4
#[test]
fn an_alternative_with_a_comma_is_a_whole_group() {
    let sections = |groups| vec![section(0, None, groups, &[])];
    check(
        sections("authentication"),
        &alert(3, 1, "sshd authentication_success"),
        &[0],
    );
    check(
        sections("authentication,"),
        &alert(3, 1, "sshd authentication_success"),
        &[],
    );
    check(
        sections("authentication,"),
        &alert(3, 1, "authentication local"),
        &[0],
    );
    check(sections("ftpd,"), &alert(3, 1, "syslog vsftpd"), &[]);
    check(sections(",ftpd,"), &alert(3, 1, "syslog ftpd"), &[0]);
    check(sections(",ftp"), &alert(3, 1, "syslog vsftpd"), &[]);
    check(sections("syslog,ftpd,"), &alert(3, 1, "syslog ftpd"), &[0]);
    check(sections("g.d"), &alert(3, 1, "god"), &[]);
    check(
        sections("pci_dss_11.4,"),
        r#"{"rule":{"level":3,"pci_dss":["11.40"]},"srcip":"203.0.113.5"}"#,
        &[],
    );
    check(
        sections("pci_dss_11.4,"),
        r#"{"rule":{"level":3,"pci_dss":["11.4"]},"srcip":"203.0.113.5"}"#,
        &[0],
    );
    check(sections("x|b,|y"), &alert(3, 1, "a b"), &[0]);
}

/// AR-MATCH-5
#[test]
fn groups_are_compared_without_case() {
    let sections = || vec![section(0, None, "SSHD,", &[]), section(1, None, "web", &[])];
    check(sections(), &alert(3, 1, "sshd"), &[0]);
    check(sections(), &alert(3, 1, "SshD MyWeb"), &[0, 1]);
}

/// AR-MATCH-1, AR-MATCH-7
#[test]
fn criteria_add_up_and_each_section_fires_once_in_order() {
    let sections = || {
        vec![
            section(1, Some(10), "sshd,|ssh|syslog", &[5712]),
            section(4, None, "web,", &[]),
            section(6, None, "", &[5712, 5710]),
            section(7, Some(3), "", &[]),
        ]
    };
    check(sections(), &alert(10, 5712, "syslog sshd"), &[1, 6, 7]);
    check(sections(), &alert(1, 5710, "local"), &[6]);
    check(sections(), &alert(3, 1, "web sshd"), &[1, 4, 7]);
}

/// AR-MATCH-6, AR-CFG-11
#[test]
fn a_section_without_a_criterion_never_fires() {
    let mut empty = section(1, None, "x", &[]);
    empty.rules_group = Some(RulesGroup {
        alternatives: Vec::new(),
    });
    check(
        vec![section(0, None, "", &[]), empty],
        &alert(15, 5712, "sshd"),
        &[],
    );
}

/// AR-MATCH-8
#[test]
fn an_alert_without_a_level_fires_nothing() {
    let sections = || vec![section(0, Some(1), "sshd", &[5712])];
    check(sections(), &alert(0, 5712, "sshd"), &[]);
    check(
        sections(),
        r#"{"rule":{"id":"5712","groups":["sshd"]},"srcip":"203.0.113.5"}"#,
        &[],
    );
    check(sections(), &alert(1, 5712, "sshd"), &[0]);
}

/// AR-MATCH-9
#[test]
fn the_own_log_fires_only_what_names_it() {
    let sections = || {
        vec![
            section(0, Some(1), "ossec,|pci_dss_11.4,", &[652]),
            section(1, None, "", &[651]),
            section(2, None, "active_response,", &[]),
            section(3, None, "ACTIVE", &[]),
            section(4, None, "ossec,active_response,", &[]),
        ]
    };
    check(
        sections(),
        &alert(3, 651, "ossec active_response"),
        &[1, 2, 3],
    );
    check(
        sections(),
        &alert(3, 652, "ossec Active_Response"),
        &[0, 2, 3],
    );
    check(
        sections(),
        &alert(3, 600, "ossec active_response_x"),
        &[0, 3],
    );
}

/// AR-CFG-9
#[test]
fn agent_zero_by_number_never_fires() {
    let mut manager = section(0, Some(1), "", &[]);
    manager.location = Location::DefinedAgent(AgentId::new(0));
    let mut agent = section(1, Some(1), "", &[]);
    agent.location = Location::DefinedAgent(AgentId::new(7));
    check(vec![manager, agent], &alert(5, 1, "a"), &[1]);
}

/// AR-CFG-6
#[test]
fn nothing_fires_when_the_capability_is_off() {
    let mut off = config(vec![section(0, Some(5), "", &[])]);
    off.enabled = false;
    let decision = decide(off.clone(), &Guard::default(), &alert(5, 1, "a"));
    assert_eq!(tell(&decision), "0 refused: active response is disabled");
    let decision = decide(off, &Guard::default(), &alert(4, 1, "a"));
    assert_eq!(decision, Decision::Unmatched);
}

/// AR-ROUTE-1 to 4
#[test]
fn an_offence_carries_what_the_ledger_needs() {
    let located = |index, location| Response {
        location,
        ..section(index, Some(3), "", &[])
    };
    let sections = vec![
        located(0, Location::Local),
        located(1, Location::Server),
        located(2, Location::DefinedAgent(AgentId::new(32))),
        Response {
            timeout: None,
            executable: Executable::new("host-deny"),
            ..located(3, Location::All)
        },
    ];
    let line = r#"{"id":"1.2","agent":{"id":"1"},"rule":{"level":3,"id":"7"},"data":{"srcip":"203.0.113.5"}}"#;
    let offence = |response, target| Offence {
        response,
        executable: Executable::new("firewall-drop"),
        enforcement: Enforcement::Kernel,
        offender: "203.0.113.5".parse().unwrap(),
        timeout: Some(Duration::from_secs(600)),
        rule_id: 7,
        alert_id: Some("1.2".into()),
        target,
    };
    let expected = vec![
        offence(0, Target::Agent(AgentId::new(1))),
        offence(1, Target::Server),
        offence(2, Target::Agent(AgentId::new(32))),
        Offence {
            timeout: None,
            executable: Executable::new("host-deny"),
            ..offence(3, Target::AllAgents)
        },
    ];
    let decision = decide(config(sections), &Guard::default(), line);
    assert_eq!(decision, Decision::Fired(expected));
}
