//! What refuses a text, and at which place.

use super::super::{read, read_bytes};
use super::{check, conf, response, told};

/// AR-CFG-4
#[test]
fn other_children_are_errors() {
    check(
        &response("<level>3</level><Level>3</Level><timeout_allowed>yes</timeout_allowed>"),
        &[
            "error Level `Level`",
            "error timeout_allowed `timeout_allowed`",
        ],
    );
    check(&response("<level>3</level><ca_store><x/></ca_store>"), &[]);
}

/// AR-CFG-5
#[test]
fn disabled_is_yes_or_no() {
    check(&response("<level>3</level><disabled> no\n</disabled>"), &[]);
    check(
        &response("<level>3</level><disabled>NO</disabled><disabled>1</disabled>"),
        &["error disabled `NO`", "error disabled `1`"],
    );
    check(
        &response("<level>3</level><disabled></disabled>"),
        &["error disabled ``"],
    );
}

/// AR-CFG-6
#[test]
fn a_section_that_is_off_may_be_incomplete_but_its_values_are_checked() {
    let off = |body: &str| {
        conf(&format!(
            "<active-response><disabled>yes</disabled>{body}</active-response>"
        ))
    };
    check(&off("<command>unknown</command>"), &[]);
    check(&off("<location>defined-agent</location>"), &[]);
    check(
        &off(
            "<level>17</level><location>here</location><rules_id>x</rules_id><timeout>x</timeout>",
        ),
        &[
            "error level `17`",
            "error location `here`",
            "error rules_id `x`",
            "error timeout `x`",
        ],
    );
}

/// AR-CFG-7, AR-CFG-8, AR-CFG-17
#[test]
fn a_response_names_a_command_and_a_location() {
    check(
        &conf("<active-response><level>3</level></active-response>"),
        &[
            "error command `<active-response>`",
            "error location `<active-response>`",
        ],
    );
    check(
        &conf(
            "<active-response><command>Firewall-drop</command><location>local,all</location>\
             </active-response>",
        ),
        &[
            "error command `Firewall-drop`",
            "error location `local,all`",
        ],
    );
    check(
        &conf("<active-response><command/><location>company</location></active-response>"),
        &["error command `<command/>`", "error location `company`"],
    );
}

/// AR-CFG-7
#[test]
fn a_misspelt_element_is_not_also_missing() {
    check(
        &conf(
            "<active-response><comand>firewall-drop</comand><Location>all</Location>\
             </active-response>",
        ),
        &["error comand `comand`", "error Location `Location`"],
    );
}

/// AR-CFG-9
#[test]
fn a_defined_agent_has_a_number() {
    let agent = |body: &str| {
        conf(&format!(
            "<active-response><command>firewall-drop</command><location>defined-agent</location>\
             <level>3</level>{body}</active-response>"
        ))
    };
    check(&agent(""), &["error agent_id `<active-response>`"]);
    check(
        &agent("<agent_id> </agent_id>"),
        &["error agent_id `<agent_id>`"],
    );
    check(
        &agent("<agent_id>1,2</agent_id>"),
        &["error agent_id `1,2`"],
    );
    check(
        &agent("<agent_id>99999999999</agent_id>"),
        &["error agent_id `99999999999`"],
    );
}

/// AR-CFG-10
#[test]
fn a_level_is_from_1_to_16() {
    for level in [
        "0",
        "17",
        "256",
        "-1",
        "+7",
        "7.5",
        "0x7",
        "seven",
        "99999999999",
    ] {
        let expected = format!("error level `{level}`");
        check(
            &response(&format!("<level> {level}\n</level>")),
            &[&expected],
        );
    }
}

/// AR-CFG-12
#[test]
fn every_wrong_item_of_a_list_is_reported_at_its_place() {
    check(
        &response("<rules_id>5710, ssh,<!-- x -->57a,\n 4294967296,-1</rules_id>"),
        &[
            "error rules_id `ssh`",
            "error rules_id `57a`",
            "error rules_id `4294967296`",
            "error rules_id `-1`",
        ],
    );
}

/// AR-CFG-13
#[test]
fn a_timeout_is_a_whole_number() {
    for timeout in ["-5", "10m", "1.5", "ten", "4294967296", "1 2"] {
        let expected = format!("error timeout `{timeout}`");
        let body = format!("<level>3</level><timeout>{timeout}</timeout>");
        check(&response(&body), &[&expected]);
    }
}

/// AR-CFG-14
#[test]
fn repeated_offenders_are_whole_minutes() {
    check(
        &response(
            "<level>3</level><repeated_offenders>5m,0,1.5,-1,x,71582789</repeated_offenders>",
        ),
        &[
            "error repeated_offenders `5m`",
            "error repeated_offenders `0`",
            "error repeated_offenders `1.5`",
            "error repeated_offenders `-1`",
            "error repeated_offenders `x`",
            "error repeated_offenders `71582789`",
        ],
    );
}

/// AR-CFG-17
#[test]
fn a_section_without_children_is_an_error() {
    check(
        "<ossec_config><active-response/><active-response><!-- x --></active-response></ossec_config>",
        &[
            "error active-response `<active-response/>`",
            "error active-response `<active-response>`",
        ],
    );
    check(
        "<ossec_config><active-response><ca_store>x</ca_store></active-response></ossec_config>",
        &[],
    );
}

#[test]
fn elements_in_a_value_are_an_error() {
    check(
        &response("<level>3<b>4</b></level>"),
        &["error level `<b>`"],
    );
}

/// AR-CMD-1, AR-CMD-2
#[test]
fn commands_have_a_name_and_a_bare_executable() {
    let command = |body: &str| format!("<ossec_config><command>{body}</command></ossec_config>");
    check(
        &command(""),
        &["error name `<command>`", "error executable `<command>`"],
    );
    check(
        &command(
            "<name>!x</name><executable>x</executable><timeout_allowed>YES</timeout_allowed><a/>",
        ),
        &[
            "error name `!x`",
            "error timeout_allowed `YES`",
            "error a `a`",
        ],
    );
    for executable in ["bin/x", "/x", "..", "a..b", "a\\b", ".", "a\u{7}"] {
        let expected = format!("error executable `{executable}`");
        let body = format!("<name>x</name><executable>{executable}</executable>");
        check(&command(&body), &[&expected]);
    }
}

/// AR-CMD-1
#[test]
fn a_command_with_a_mistake_is_still_known_by_its_name() {
    check(
        &conf(
            "<command><name>x</name></command><active-response><command>x</command>\
             <location>all</location><level>3</level></active-response>",
        ),
        &["error executable `<command>`"],
    );
}

/// AR-WL-2
#[test]
fn white_list_entries_that_look_like_addresses_are_addresses() {
    for entry in [
        "10.0.0.256",
        "1.2.3.4.5",
        "010.0.0.1",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/x",
        "10.0/16",
        "10.0.0.0/255.0.255.0",
        "10.0.0.0/1.2.3",
        "!10.0.0.1",
        "!x",
        "2001:db8::/129",
        "::1/",
    ] {
        let expected = format!("error white_list `{entry}`");
        let text = conf(&format!(
            "<global><white_list> {entry} </white_list></global>"
        ));
        check(&text, &[&expected]);
    }
}

/// AR-CFG-18
#[test]
fn text_that_is_not_well_formed_is_an_error_of_the_xml() {
    for (text, place) in [
        ("<ossec_config></osec_config>", "</osec_config>"),
        ("<ossec_config>\n\n", ""),
        ("</ossec_config>", "</ossec_config>"),
        ("<ossec_config/>x", "x"),
        ("x & y<ossec_config/>", "x"),
        ("<ossec_config><!-- </ossec_config>", "<!--"),
        ("<ossec_config><![CDATA[ </ossec_config>", "<![CDATA["),
        ("<ossec_config/><?x", "<?"),
        ("<ossec_config/><!x", "<!"),
        ("<ossec_config/><", "<"),
        ("<ossec_config/><!-\u{3a3}", "<"),
        ("<ossec_config></ossec_config", "<"),
        ("<ossec_config><global <x/></global></ossec_config>", "<"),
        ("<ossec_config><global>a < b</global></ossec_config>", "<"),
        ("<ossec_config><x><y></x></ossec_config>", "</x>"),
    ] {
        check(text, &[&format!("error xml `{place}`")]);
    }
}

/// AR-CFG-18
#[test]
fn reading_goes_on_behind_a_mistake_of_the_xml() {
    let text = conf(
        "<active-response><location>all</loc><level>99</level></active-response>\n\
         <active-response><command>firewall-drop</command>\n\
         <active-response><command>unknown</command><location>all</location><level>98</level></active-response>\n\
         <global><white_list>10.0.0.256</white_list></global>",
    );
    check(
        &text,
        &[
            "error xml `</loc>`",
            "error xml `<active-response>`",
            "error level `98`",
            "error white_list `10.0.0.256`",
        ],
    );
}

/// Each such mistake costs the length of the text, so that a text of nothing else is given up.
#[test]
fn a_text_that_is_no_xml_at_all_is_given_up() {
    let said = read(&"<".repeat(10_000)).diagnostics.len();
    assert!((1..100).contains(&said), "{said} messages");
}

#[test]
fn what_stands_in_skipped_elements_may_be_as_ossec_reads_it() {
    let text =
        conf("<localfile><query>\\<Select Path=\"System\">*[x]\\</Select></query></localfile>");
    check(&text, &[]);
    let text = conf("<localfile><location>C:\\logs\\</location></localfile>");
    check(&text, &[]);
}

#[test]
fn bytes_that_are_no_utf8_are_an_error_in_a_value_only() {
    let (text, reading) = read_bytes(b"<!-- \xe9 --><ossec_config/>");
    assert_eq!(
        told(&text, &reading.diagnostics),
        ["warning xml `\u{fffd}`"]
    );
    assert!(reading.config.is_some());
    let (text, reading) = read_bytes(
        b"<ossec_config><global><white_list>\xff\xfe.1</white_list></global></ossec_config>",
    );
    assert!(told(&text, &reading.diagnostics).contains(&"error xml `\u{fffd}`".to_owned()));
    assert!(reading.config.is_none());
    let (text, reading) = read_bytes("<ossec_config/>".as_bytes());
    assert_eq!(text, "<ossec_config/>");
    assert!(reading.config.is_some());
}
