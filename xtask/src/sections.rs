//! Configurations of as many sections as one likes, for measuring what their number costs.
//!
//! The first section asks for a level, the next for a rule, the next for a group, and so on in turn. Each can
//! match, but none does in the sample data: there is no alert of level 16 there, rules have other numbers, and
//! groups only begin like those that are asked for.

use std::fmt::Write as _;

/// Numbers of sections that are compared with the first of them.
pub const SIZES: [usize; 4] = [1, 10, 100, 1_000];

/// Of sections that ask for a level.
pub const LEVEL: u8 = 16;

/// Beginnings of groups that are asked for: whole groups of the stock rules, so that comparing does not end at
/// their first letter.
const GROUPS: [&str; 6] = [
    "authentication_failed",
    "syslog",
    "sshd",
    "web",
    "invalid_login",
    "accesslog",
];

/// What a section asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// [`LEVEL`].
    Level,
    /// This rule.
    Rule(u32),
    /// This group.
    Group(String),
}

/// What section `number` asks for, counted from 0; of rules and groups each is asked for once.
#[must_use]
pub fn criterion(number: u32) -> Criterion {
    /// Wazuh's and OSSEC's own rules end far below.
    const FIRST_RULE: u32 = 900_000;
    match number % 3 {
        0 => Criterion::Level,
        1 => Criterion::Rule(FIRST_RULE + number),
        _ => {
            let begin = GROUPS[number as usize / 3 % GROUPS.len()];
            Criterion::Group(format!("{begin}_{number}"))
        }
    }
}

/// An `ossec.conf` of so many sections.
#[must_use]
pub fn configuration(count: usize) -> String {
    let mut text = String::from(
        "\
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
",
    );
    for number in (0..).take(count) {
        let criterion = match criterion(number) {
            Criterion::Level => format!("<level>{LEVEL}</level>"),
            Criterion::Rule(rule) => format!("<rules_id>{rule}</rules_id>"),
            Criterion::Group(group) => format!("<rules_group>{group},</rules_group>"),
        };
        // Writing to a `String` cannot fail.
        let _ = write!(
            text,
            "  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    {criterion}
    <timeout>600</timeout>
  </active-response>
"
        );
    }
    text + "</ossec_config>\n"
}
