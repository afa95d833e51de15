//! The difference of two configurations, as whole lists.

use crate::config::{Change, read};

const OLD: &str = "<ossec_config>
<global><white_list>192.0.2.1</white_list><white_list>10.0.0.0/8</white_list></global>
<command><name>drop</name><executable>firewall-drop</executable><timeout_allowed>yes</timeout_allowed></command>
<command><name>deny</name><executable>deny</executable><extra_args>-v two</extra_args></command>
<active-response><repeated_offenders>30,60</repeated_offenders></active-response>
<active-response><command>drop</command><location>local</location><level>10</level><timeout>600</timeout></active-response>
<active-response><command>deny</command><location>all</location><rules_group>sshd|web,</rules_group></active-response>
</ossec_config>
";

/// Compares the old text with what `edit` makes of it; a change is told as one line.
fn check(edit: impl FnOnce(&str) -> String, expected: &[&str]) {
    let config = |text: &str| {
        let reading = read(text);
        reading
            .config
            .unwrap_or_else(|| panic!("{:#?}", reading.diagnostics))
    };
    let changes = config(OLD).difference(&config(&edit(OLD)));
    let told: Vec<String> = changes.iter().map(line).collect();
    assert_eq!(told, expected);
}

fn line(change: &Change) -> String {
    let number = |line: Option<usize>| line.map_or("-".to_owned(), |line| line.to_string());
    let (old_line, line) = (number(change.old_line), number(change.line));
    let (subject, kind) = (change.subject.name(), change.kind.name());
    format!("{subject} {kind} {old_line} {line} {}", change.detail)
}

fn swapped(text: &str, one: usize, other: usize) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.swap(one, other);
    lines.join("\n")
}

#[test]
fn blanks_lines_and_comments_make_no_difference() {
    check(
        |old| old.replace("<active-response>", "\n<!-- here -->\n<active-response>"),
        &[],
    );
}

#[test]
fn a_section_that_changed_tells_what_it_was_and_is() {
    check(
        |old| {
            let new = old.replace("<timeout>600", "<rules_id>7,5</rules_id>\n<timeout>1200");
            new.replace("<level>10</level>", "")
                .replace("-v two", "-v three")
        },
        &[
            "section changed 6 6 level none, was 10; rules_id 5,7, was none; timeout 1200, was 600",
            "section changed 7 8 extra_args `-v three`, was `-v two`",
        ],
    );
}

#[test]
fn sections_come_and_go_at_their_lines() {
    check(
        |old| {
            old.replace(
                "<command>deny</command><location>all",
                "<command>drop</command><location>server",
            )
        },
        &[
            "section removed 7 - command `deny`; executable `deny`; extra_args `-v two`; location all; rules_group `sshd|web,`",
            "section added - 7 command `drop`; executable `firewall-drop`; location server; rules_group `sshd|web,`",
        ],
    );
}

#[test]
fn of_sections_that_are_the_same_each_counts_once() {
    let twice = |old: &str| {
        let line = old.lines().nth(5).unwrap_or_default();
        old.replace(line, &format!("{line}\n{line}"))
    };
    check(
        twice,
        &[
            "section added - 7 command `drop`; executable `firewall-drop`; location local; level 10; timeout 600",
        ],
    );
}

#[test]
fn another_order_is_told_as_such() {
    check(
        |old| swapped(old, 5, 6),
        &["order changed - - sections stand in another order"],
    );
}

#[test]
fn entries_of_the_white_list_are_compared_by_what_they_cover() {
    check(|old| old.replace("10.0.0.0/8", "10.9.9.9/255.0.0.0"), &[]);
    check(
        |old| {
            old.replace("<white_list>192.0.2.1</white_list>", "")
                .replace("</global>", "\n<white_list>2001:db8::/32</white_list><white_list>^lo\tcal</white_list></global>")
        },
        &[
            "white_list removed 2 - `192.0.2.1`",
            "white_list added - 3 `2001:db8::/32`",
            "white_list added - 3 `^lo\\tcal`",
        ],
    );
}

#[test]
fn the_switch_and_the_ladder_are_told_first() {
    check(
        |old| {
            let new = old.replace(
                "<repeated_offenders>30,60",
                "<disabled>yes</disabled><repeated_offenders>5",
            );
            new.replace("10.0.0.0/8", "10.0.0.0/9")
        },
        &[
            "disabled changed - - yes, was no",
            "repeated_offenders changed - - 5, was 30,60",
            "white_list removed 2 - `10.0.0.0/8`",
            "white_list added - 2 `10.0.0.0/9`",
        ],
    );
    check(
        |old| {
            old.replace(
                "<repeated_offenders>30,60</repeated_offenders>",
                "<disabled>no</disabled>",
            )
        },
        &["repeated_offenders changed - - none, was 30,60"],
    );
}

#[test]
fn managers_come_and_go() {
    let client = |address: &str| {
        let client =
            format!("<client><server><address>{address}</address></server></client><global>");
        move |old: &str| old.replacen("<global>", &client, 1)
    };
    check(client("198.18.4.4"), &["manager added - - `198.18.4.4`"]);
    check(client("manager.example"), &[]);
}
