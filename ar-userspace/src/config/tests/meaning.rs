//! What texts mean that are accepted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::{AgentId, Config, Enforcement, Executable, Location, Response, RulesGroup};
use super::{COMMAND, check, conf, meaning, response};

/// AR-CFG-1, AR-CFG-3
#[test]
fn a_response_has_all_that_its_section_says() {
    let text = "\u{feff}<?xml version='1.0'?>\r\n<ossec_config kind=\"a>b\">\r\n\
        <command><name>a&amp;b</name><executable>run.sh</executable><expect>srcip</expect>\
        <extra_args> -x  1\n-y </extra_args><timeout_allowed>yes</timeout_allowed></command>\r\n\
        </ossec_config>\r\n<ossec_config>\r\n<active-response>\r\n\
        <command>a<!-- x -->&#38;<![CDATA[b]]></command>\
        <location> Defined-Agent\r\n</location><agent_id>0032</agent_id><level>07</level>\
        <rules_group> sshd, | | web\n</rules_group><rules_id>5, 3,\n,5</rules_id>\
        <timeout>600</timeout></active-response>\r\n</ossec_config>";
    let config = meaning(text);
    let expected = Response {
        index: 0,
        line: 7,
        command: "a&b".to_owned(),
        executable: Executable::new("run.sh"),
        enforcement: Enforcement::Program,
        extra_args: vec!["-x".to_owned(), "1".to_owned(), "-y".to_owned()],
        location: Location::DefinedAgent(AgentId::parse("32").unwrap()),
        level: Some(7),
        rules_group: Some(RulesGroup {
            alternatives: vec!["sshd,".to_owned(), "web".to_owned()],
        }),
        rules_id: BTreeSet::from([3, 5]),
        timeout: Some(Duration::from_secs(600)),
    };
    assert_eq!(config.responses, [expected]);
}

/// AR-CFG-1, AR-CFG-2
#[test]
fn a_text_without_sections_means_nothing() {
    for text in [
        "",
        "\u{feff}",
        " \r\n",
        "<ossec_config/>",
        "<ossec_config></ossec_config>\n<ossec_config>\n</ossec_config>",
        "<ossec_config><wodle><command>x</command><active-response/></wodle></ossec_config>",
        "<ossec_config><sca><disabled>yes</disabled></sca></ossec_config>",
        "<!-- <ossec_config><active-response/> -->",
        "<!DOCTYPE ossec [ <!ENTITY a \"b\"> ]><ossec_config/><?php x ?>",
    ] {
        check(text, &[]);
        assert_eq!(meaning(text), Config::default(), "{text}");
    }
}

/// AR-CFG-3
#[test]
fn a_bare_ampersand_and_an_unknown_reference_stand_for_themselves() {
    let text = "<ossec_config><localfile><command>a & b && c &x; &#zz;</command></localfile>\
        <command><name>a & b;&nbsp;</name><executable>x&</executable></command></ossec_config>";
    check(text, &[]);
    let text = conf(
        "<command><name>R&D &x;</name><executable>x</executable></command>\
         <active-response><command>R&amp;D &x;</command><location>all</location><level>3</level>\
         </active-response>",
    );
    assert_eq!(meaning(&text).responses[0].command, "R&D &x;");
}

/// AR-CFG-6
#[test]
fn a_section_that_says_yes_is_no_response_and_keeps_its_place_in_the_count() {
    let text = conf(
        "<active-response><disabled>yes</disabled><disabled>no</disabled>\
         <command>unknown</command></active-response>\n\
         <active-response><command>firewall-drop</command><location>all</location>\
         <level>3</level></active-response>",
    );
    let config = meaning(&text);
    assert!(!config.enabled);
    let places: Vec<_> = config.responses.iter().map(|r| (r.index, r.line)).collect();
    assert_eq!(places, [(1, 4)]);
}

/// AR-CFG-8
#[test]
fn locations_are_four_words_and_their_old_names() {
    for (word, expected) in [
        ("local", Location::Local),
        ("Server", Location::Server),
        ("ALL", Location::All),
        ("as", Location::Server),
        ("AnalysisD", Location::Server),
        ("analysis-server", Location::Server),
        ("any", Location::All),
    ] {
        let text = conf(&format!(
            "<active-response><command>firewall-drop</command><location>{word}</location>\
             <level>3</level></active-response>"
        ));
        assert_eq!(meaning(&text).responses[0].location, expected, "{word}");
    }
}

/// AR-CFG-9
#[test]
fn agent_numbers_are_padded_to_three_digits() {
    let padded = |text: &str| AgentId::parse(text).map(|id| id.to_string());
    for (text, expected) in [
        ("7", Some("007")),
        ("032", Some("032")),
        ("0000", Some("000")),
        ("12345", Some("12345")),
        ("", None),
        ("+7", None),
        ("-1", None),
        ("7a", None),
        ("\u{0667}", None),
        ("99999999999", None),
    ] {
        assert_eq!(padded(text).as_deref(), expected, "{text}");
    }
    assert!(AgentId::parse("0").unwrap().is_manager());
    assert!(!AgentId::parse("10").unwrap().is_manager());
}

/// AR-CFG-11
#[test]
fn a_group_without_alternatives_is_no_criterion() {
    let text = response("<level>3</level><rules_group> | |</rules_group>");
    assert_eq!(meaning(&text).responses[0].rules_group, None);
}

/// AR-CFG-13
#[test]
fn a_timeout_is_seconds_and_zero_is_none() {
    for (text, expected) in [
        ("1", Some(1)),
        ("0600", Some(600)),
        ("4294967295", Some(4_294_967_295)),
        ("0", None),
        ("", None),
    ] {
        let config = meaning(&response(&format!(
            "<level>3</level><timeout>{text}</timeout>"
        )));
        let timeout = config.responses[0].timeout.map(|timeout| timeout.as_secs());
        assert_eq!(timeout, expected, "{text}");
    }
}

/// AR-CFG-14, AR-CFG-15
#[test]
fn the_first_list_of_repeated_offenders_counts_with_five_times_at_most() {
    let minutes = |body: &str| -> Vec<u64> {
        let config = meaning(&conf(body));
        config
            .repeated_offenders
            .iter()
            .map(|time| time.as_secs() / 60)
            .collect()
    };
    let list = |text: &str| {
        format!(
            "<active-response><repeated_offenders>{text}</repeated_offenders></active-response>"
        )
    };
    assert_eq!(minutes(&list("1 ,, 5\n,10,")), [1, 5, 10]);
    assert_eq!(minutes(&list("9,8,7,6,5,4")), [9, 8, 7, 6, 5]);
    assert_eq!(minutes(&(list(",") + &list("3") + &list("4"))), [3]);
    assert_eq!(minutes(&list("71582788")), [71_582_788]);
    assert_eq!(minutes(""), [0; 0]);
}

/// AR-CFG-16
#[test]
fn the_last_of_a_repeated_child_counts_unless_it_is_empty() {
    let config = meaning(&response("<level>3</level><level>5</level><level></level>"));
    assert_eq!(config.responses[0].level, Some(5));
}

/// AR-CFG-7
#[test]
fn a_command_is_found_behind_its_use() {
    let text = format!(
        "<ossec_config><active-response><command>firewall-drop</command><location>all</location>\
         <level>3</level></active-response></ossec_config><ossec_config>{COMMAND}</ossec_config>"
    );
    assert_eq!(meaning(&text).responses.len(), 1);
}

/// AR-CFG-19
#[test]
fn thousands_of_sections_are_read() {
    let section = "<active-response><command>firewall-drop</command><location>all</location>\
        <rules_id>5710</rules_id></active-response>\n";
    let config = meaning(&conf(&section.repeat(5000)));
    assert_eq!(config.responses.len(), 5000);
    assert_eq!(config.responses[4999].line, 5002);
}

/// AR-CFG-15, AR-ROUTE-6
#[test]
fn an_agents_own_file_replaces_the_list_and_may_switch_off() {
    let own = |body: &str| {
        meaning(&format!(
            "<ossec_config><active-response>{body}</active-response></ossec_config>"
        ))
    };
    let manager = meaning(&response(
        "<level>3</level><repeated_offenders>1</repeated_offenders>",
    ));
    let with = manager
        .clone()
        .with_agent(&own("<repeated_offenders>2</repeated_offenders>"));
    assert_eq!(with.repeated_offenders, [Duration::from_secs(120)]);
    assert!(with.enabled);
    assert_eq!(with.responses, manager.responses);
    let without = manager.with_agent(&own("<disabled>yes</disabled>"));
    assert!(!without.enabled);
    assert_eq!(without.repeated_offenders, [Duration::ZERO; 0]);
    let off = own("<disabled>yes</disabled>").with_agent(&own("<disabled>no</disabled>"));
    assert!(!off.enabled);
}

#[test]
fn the_kernel_stands_in_for_the_executables_named() {
    let of = |name: &str| Enforcement::of(&Executable::new(name));
    assert_eq!(of("firewall-drop"), Enforcement::Kernel);
    assert_eq!(of("host-deny.sh"), Enforcement::Kernel);
    assert_eq!(of("Firewall-drop"), Enforcement::Program);
    assert_eq!(of("disable-account"), Enforcement::Program);
    let config = meaning(&response("<level>3</level>"));
    assert_eq!(config.responses[0].enforcement, Enforcement::Kernel);
    let config = config.with_kernel_executables(&["route-null"]);
    assert_eq!(config.responses[0].enforcement, Enforcement::Program);
}
