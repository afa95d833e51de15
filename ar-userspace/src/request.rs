//! What one host asks of another, as text: names of responses, the manager's `ar.conf`, and messages
//! (AR-WIRE-1, AR-WIRE-2). Sends nothing.
//!
//! An alert goes out as it came in, byte for byte: what it means to others is their affair.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::json;

use crate::config::{Config, Response};

/// What stands before a request on the link to an agent.
pub const LINK_PREFIX: &str = "#!-execd ";

/// Who asks, as the reference names itself.
const MANAGER: &str = "wazuh-analysisd";

/// What every manager's `ar.conf` begins with, whatever its configuration: with these an agent is restarted.
/// So much is known to agents of every version and system.
const RESTARTS: [Entry<'static>; 6] = [
    restart("restart-ossec", "restart-ossec.sh"),
    restart("restart-ossec", "restart-ossec.cmd"),
    restart("restart-wazuh", "restart-ossec.sh"),
    restart("restart-wazuh", "restart-ossec.cmd"),
    restart("restart-wazuh", "restart-wazuh"),
    restart("restart-wazuh", "restart-wazuh.exe"),
];

const fn restart(command: &'static str, executable: &'static str) -> Entry<'static> {
    let name = WireName {
        command,
        seconds: 0,
    };
    Entry { name, executable }
}

/// How messages and `ar.conf` name a response: its command and its timeout in seconds, 0 without one (AR-WIRE-1).
///
/// Two responses may have one name, as text: the text is written and never compared or kept as a key. It begins with no `!`, which
/// would make it the name of a file, because a command's name does not (AR-CMD-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireName<'a> {
    command: &'a str,
    seconds: u64,
}

impl<'a> WireName<'a> {
    /// The name of a response. How often the offender offended before is the executing host's to count.
    #[must_use]
    pub fn of(response: &'a Response) -> Self {
        Self {
            command: &response.command,
            seconds: response.timeout.map_or(0, |timeout| timeout.as_secs()),
        }
    }
}

impl fmt::Display for WireName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.command, self.seconds)
    }
}

/// One line of `ar.conf`: `NAME - EXECUTABLE - SECONDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry<'a> {
    /// What messages call it.
    pub name: WireName<'a>,
    /// Base name of what is run.
    pub executable: &'a str,
}

impl Entry<'_> {
    /// The timeout in seconds, 0 without one.
    #[must_use]
    pub const fn seconds(&self) -> u64 {
        self.name.seconds
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, executable } = self;
        write!(f, "{name} - {executable} - {}", name.seconds)
    }
}

/// The lines of `ar.conf`: those that are there in any case, and one for each command with each of its
/// timeouts, in document order. A configuration that is switched off adds none.
#[must_use]
pub fn ar_conf(config: &Config) -> Vec<Entry<'_>> {
    let mut entries = RESTARTS.to_vec();
    let mut known: BTreeSet<Entry<'_>> = RESTARTS.into();
    for response in config.responses.iter().filter(|_| config.enabled) {
        let entry = Entry {
            name: WireName::of(response),
            executable: response.executable.name(),
        };
        if known.insert(entry) {
            entries.push(entry);
        }
    }
    entries
}

/// Asks a host to execute a response for an alert, one JSON object, without [`LINK_PREFIX`] (AR-WIRE-2).
///
/// `node` is the name of the host that asks; `alert` is one JSON object, as received.
#[must_use]
pub fn request(node: &str, response: &Response, alert: &str) -> String {
    Message {
        node,
        module: MANAGER,
        command: &WireName::of(response).to_string(),
        extra_args: &response.extra_args,
        alert,
        program: None,
    }
    .to_string()
}

/// What hosts, and a host and its executables, say to each other about an alert: one JSON object.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Name of the host that speaks.
    pub node: &'a str,
    /// Which of its parts speaks, as the reference names them.
    pub module: &'a str,
    /// What is to be done.
    pub command: &'a str,
    /// Arguments of the command (AR-CMD-3).
    pub extra_args: &'a [String],
    /// The alert, one JSON object, which is not looked at.
    pub alert: &'a str,
    /// The path of the executable, when one is spoken to.
    pub program: Option<&'a str>,
}

impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"version":1,"origin":{{"name":{},"module":{}}},"command":{},"parameters":{{"extra_args":{},"alert":{}"#,
            json!(self.node),
            json!(self.module),
            json!(self.command),
            json!(self.extra_args),
            self.alert,
        )?;
        if let Some(program) = self.program {
            write!(f, r#","program":{}"#, json!(program))?;
        }
        f.write_str("}}")
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::config::read;

    /// Commands `block` and `block1`, which may end, and `tell`, which may not, in these sections.
    fn config(sections: &[(&str, u32)]) -> Config {
        let command = |name: &str, rest: &str| {
            format!(
                "<command><name>{name}</name><executable>{name}.sh</executable>{rest}</command>"
            )
        };
        let ends = "<timeout_allowed>yes</timeout_allowed>";
        let mut text = command("block", ends) + &command("block1", ends);
        text += &command("tell", "<extra_args>-v &quot;hi&quot;</extra_args>");
        text += &command("restart-wazuh", "");
        for (name, seconds) in sections {
            let timeout = match seconds {
                0 => String::new(),
                seconds => format!("<timeout>{seconds}</timeout>"),
            };
            let _ = write!(
                text,
                "<active-response><command>{name}</command><location>local</location><level>5</level>{timeout}</active-response>"
            );
        }
        read(&format!("<ossec_config>{text}</ossec_config>"))
            .config
            .unwrap()
    }

    /// `expected` is what follows the lines that are always there.
    #[track_caller]
    fn check(config: &Config, expected: &[&str]) {
        let lines: Vec<String> = ar_conf(config).iter().map(ToString::to_string).collect();
        let restarts = [
            "restart-ossec0 - restart-ossec.sh - 0",
            "restart-ossec0 - restart-ossec.cmd - 0",
            "restart-wazuh0 - restart-ossec.sh - 0",
            "restart-wazuh0 - restart-ossec.cmd - 0",
            "restart-wazuh0 - restart-wazuh - 0",
            "restart-wazuh0 - restart-wazuh.exe - 0",
        ];
        assert_eq!(lines, [&restarts[..], expected].concat());
    }

    /// AR-WIRE-1
    #[test]
    fn a_command_has_a_line_for_each_of_its_timeouts_in_document_order() {
        check(&config(&[]), &[]);
        check(
            &config(&[("tell", 0), ("block", 600), ("block", 60), ("block", 600)]),
            &[
                "tell0 - tell.sh - 0",
                "block600 - block.sh - 600",
                "block60 - block.sh - 60",
            ],
        );
        let off = Config {
            enabled: false,
            ..config(&[("block", 600)])
        };
        check(&off, &[]);
    }

    /// AR-WIRE-1
    #[test]
    fn responses_of_one_wire_name_stay_two() {
        let config = config(&[("block", 10), ("block1", 0)]);
        check(
            &config,
            &["block10 - block.sh - 10", "block10 - block1.sh - 0"],
        );
        let [first, second] = &config.responses[..] else {
            panic!("{:?}", config.responses);
        };
        let (first, second) = (WireName::of(first), WireName::of(second));
        assert_eq!(first.to_string(), second.to_string());
        assert_ne!(first, second);
    }

    /// AR-WIRE-2
    #[test]
    fn a_request_has_the_wire_name_and_the_whole_alert() {
        let config = config(&[("tell", 0), ("block", 600)]);
        let alert = r#"{"id":"1.2", "n":1e2,"data":{"srcip":"198.51.100.7","x":"\u0041"} }"#;
        let parts = |command: &str, arguments: &str| {
            format!(
                r#"{{"version":1,"origin":{{"name":"m\"1","module":"wazuh-analysisd"}},"command":"{command}","parameters":{{"extra_args":{arguments},"alert":{alert}}}}}"#
            )
        };
        let told = |index: usize| request("m\"1", &config.responses[index], alert);
        assert_eq!(told(0), parts("tell0", r#"["-v","\"hi\""]"#));
        assert_eq!(told(1), parts("block600", "[]"));
    }
}
