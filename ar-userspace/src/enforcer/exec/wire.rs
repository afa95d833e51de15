//! What arfw and an executable say to each other, as text (AR-WIRE-3). Runs nothing.
//!
//! An alert goes out as it came in, byte for byte: what it means to an executable is the executable's affair.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Executable;
use crate::ledger::AlertId;
use crate::offender::Offender;
use crate::request::Message;

/// Longest message, with its line end: stock executables read into a buffer of 64 KiB and take no more.
pub const MAX_MESSAGE: usize = 65_535;

/// Longest text of keys that is told apart, in bytes, as in the reference.
const MAX_KEYS: usize = 4_096;

/// Who speaks, as the reference names itself; executables may look at it.
const MODULE: &str = "wazuh-execd";

/// How an executable is told what to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// One JSON line on standard input, and the handshake of AR-WIRE-3.
    #[default]
    Wazuh,
    /// Five arguments, as OSSEC's shell scripts take them: `add USER ADDRESS ALERT RULE`. No handshake.
    Ossec,
}

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Ban.
    Add,
    /// Unban.
    Delete,
    /// The answer to `check_keys`: act.
    Continue,
    /// The answer to `check_keys`: the key is active, do nothing.
    Abort,
}

impl Verb {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Delete => "delete",
            Self::Continue => "continue",
            Self::Abort => "abort",
        }
    }
}

/// Everything that the messages of one ban are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Base name of the executable.
    pub program: Executable,
    /// Arguments of the command (AR-CMD-3).
    pub extra_args: Arc<[String]>,
    /// The alert as received, one JSON object on one line; or what [`reduced`] makes of it.
    pub alert: Arc<str>,
    /// Who.
    pub offender: Offender,
    /// The destination user, checked already (AR-OFF-3).
    pub user: Option<Box<str>>,
    /// The rule; 0 when there is none.
    pub rule_id: u32,
    /// The alert's identifier; empty when it has none.
    pub alert_id: AlertId,
}

impl Call {
    /// The executable's path as Wazuh gives it, which the stock decoders look for.
    #[must_use]
    pub fn path(&self) -> String {
        format!("active-response/bin/{}", self.program)
    }

    /// One message, without a line end. `node` is the name of this host.
    ///
    /// An alert that makes it longer than [`MAX_MESSAGE`] is sent reduced: a long log line must not be a
    /// way around a ban.
    #[must_use]
    pub fn message(&self, node: &str, verb: Verb) -> String {
        let message = self.message_with(node, verb, &self.alert);
        if message.len() < MAX_MESSAGE {
            return message;
        }
        self.message_with(node, verb, &self.reduced_alert())
    }

    fn message_with(&self, node: &str, verb: Verb, alert: &str) -> String {
        Message {
            node,
            module: MODULE,
            command: verb.word(),
            extra_args: &self.extra_args,
            alert,
            program: Some(&self.path()),
        }
        .to_string()
    }

    /// The same call with an alert that has only what is needed to reverse it.
    #[must_use]
    pub fn reduced(&self) -> Self {
        Self {
            alert: self.reduced_alert().into(),
            ..self.clone()
        }
    }

    fn reduced_alert(&self) -> String {
        reduced(
            self.rule_id,
            &self.alert_id,
            Some(self.offender),
            self.user.as_deref(),
        )
    }

    /// The arguments of an OSSEC script. What has no value, or one that is not plain, is a `-`.
    #[must_use]
    pub fn ossec_arguments(&self, verb: Verb) -> [String; 5] {
        let plain = |text: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._@?-".contains(&byte);
            if !text.is_empty() && text.bytes().all(fits) {
                text.to_owned()
            } else {
                "-".to_owned()
            }
        };
        [
            verb.word().to_owned(),
            plain(self.user.as_deref().unwrap_or_default()),
            self.offender.to_string(),
            plain(&self.alert_id.to_string()),
            self.rule_id.to_string(),
        ]
    }
}

/// An alert of which only this is known: the rule, the identifier, and who it was about.
#[must_use]
pub fn reduced(
    rule_id: u32,
    alert_id: &AlertId,
    offender: Option<Offender>,
    user: Option<&str>,
) -> String {
    let mut members = Vec::new();
    if rule_id != 0 {
        members.push(format!(r#""rule":{{"id":"{rule_id}"}}"#));
    }
    if !alert_id.is_empty() {
        members.push(format!(r#""id":{}"#, json!(alert_id.to_string())));
    }
    let mut about = Vec::new();
    if let Some(offender) = offender {
        about.push(format!(r#""srcip":"{offender}""#));
    }
    if let Some(user) = user {
        about.push(format!(r#""dstuser":{}"#, json!(user)));
    }
    members.push(format!(r#""data":{{{}}}"#, about.join(",")));
    format!("{{{}}}", members.join(","))
}

/// What an executable printed before it acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `check_keys` with these keys.
    Keys(Vec<String>),
    /// Something else, which names no key.
    Other,
}

impl Said {
    /// Reads the first line of an executable's output.
    #[must_use]
    pub fn read(line: &[u8]) -> Self {
        Self::keys(line).map_or(Self::Other, Self::Keys)
    }

    fn keys(line: &[u8]) -> Option<Vec<String>> {
        let said: Value = serde_json::from_slice(line).ok()?;
        let valid = said["version"].is_number()
            && said["origin"].is_object()
            && said["command"] == "check_keys";
        let keys = said["parameters"]["keys"].as_array().filter(|_| valid)?;
        let texts = keys.iter().filter_map(Value::as_str);
        Some(texts.map(str::to_owned).collect())
    }

    /// Whether the only key is the offender's address, in any spelling; what names no key counts as that.
    #[must_use]
    pub fn is_about(&self, offender: Offender) -> bool {
        match self {
            Self::Keys(keys) => matches!(&keys[..], [key] if key.parse() == Ok(offender)),
            Self::Other => true,
        }
    }

    /// The key as text: the base name and, each after a `-`, the keys. Keys that do not fit are left out.
    #[must_use]
    pub fn key_name(&self, program: &Executable) -> Executable {
        let mut name = program.name().to_owned();
        if let Self::Keys(keys) = self {
            for key in keys {
                if name.len() + key.len() + 1 > MAX_KEYS {
                    break;
                }
                name.push('-');
                name.push_str(key);
            }
        }
        Executable::new(&name)
    }
}

/// What a stock executable prints for an address, for logs of bans that need no executable.
#[must_use]
pub fn check_keys(program: &Executable, offender: Offender) -> String {
    format!(
        r#"{{"version":1,"origin":{{"name":{},"module":"active-response"}},"command":"check_keys","parameters":{{"keys":["{offender}"]}}}}"#,
        json!(program.name())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            program: Executable::new("firewalld-drop"),
            extra_args: Arc::new(["-v".to_owned(), "say \"hi\"".to_owned()]),
            alert: r#"{"id":"1.2","data":{"srcip":"198.51.100.7"} }"#.into(),
            offender: "198.51.100.7".parse().unwrap(),
            user: Some("root".into()),
            rule_id: 5763,
            alert_id: AlertId::new("1.2"),
        }
    }

    /// AR-WIRE-3
    #[test]
    fn a_message_is_one_line_with_the_alert_as_received() {
        assert_eq!(
            call().message("web-1", Verb::Add),
            r#"{"version":1,"origin":{"name":"web-1","module":"wazuh-execd"},"command":"add","parameters":{"extra_args":["-v","say \"hi\""],"alert":{"id":"1.2","data":{"srcip":"198.51.100.7"} },"program":"active-response/bin/firewalld-drop"}}"#
        );
        for (verb, word) in [
            (Verb::Delete, "delete"),
            (Verb::Continue, "continue"),
            (Verb::Abort, "abort"),
        ] {
            let told = call().message("web-1", verb);
            let expected = call().message("web-1", Verb::Add);
            assert_eq!(told, expected.replace(r#""add""#, &format!(r#""{word}""#)));
        }
    }

    #[test]
    fn an_alert_that_no_buffer_holds_is_sent_reduced() {
        let long = Call {
            extra_args: Arc::new([]),
            alert: format!(r#"{{"full_log":"{}"}}"#, "x".repeat(MAX_MESSAGE)).into(),
            ..call()
        };
        assert_eq!(
            long.message("h", Verb::Add),
            r#"{"version":1,"origin":{"name":"h","module":"wazuh-execd"},"command":"add","parameters":{"extra_args":[],"alert":{"rule":{"id":"5763"},"id":"1.2","data":{"srcip":"198.51.100.7","dstuser":"root"}},"program":"active-response/bin/firewalld-drop"}}"#
        );
        assert_eq!(
            reduced(0, &AlertId::default(), None, None),
            r#"{"data":{}}"#
        );
    }

    #[test]
    fn an_ossec_script_gets_five_plain_arguments() {
        assert_eq!(
            call().ossec_arguments(Verb::Delete),
            ["delete", "root", "198.51.100.7", "1.2", "5763"]
        );
        let odd = Call {
            user: None,
            alert_id: AlertId::new("$(id)"),
            rule_id: 0,
            ..call()
        };
        assert_eq!(
            odd.ossec_arguments(Verb::Add),
            ["add", "-", "198.51.100.7", "-", "0"]
        );
    }

    fn check(line: &str, is_about: bool, key_name: &str) {
        let said = Said::read(line.as_bytes());
        let offender = "198.51.100.7".parse().unwrap();
        assert_eq!(said.is_about(offender), is_about, "{line}");
        let name = said.key_name(&Executable::new("deny"));
        assert_eq!(name.name(), key_name, "{line}");
    }

    /// AR-WIRE-3
    #[test]
    fn the_key_is_the_base_name_and_the_keys() {
        let keys = |keys: &str| {
            format!(
                r#"{{"version":1,"origin":{{"name":"deny","module":"active-response"}},"command":"check_keys","parameters":{{"keys":{keys}}}}}"#
            )
        };
        check(&keys(r#"["198.51.100.7"]"#), true, "deny-198.51.100.7");
        check(
            &keys(r#"["::ffff:198.51.100.7"]"#),
            true,
            "deny-::ffff:198.51.100.7",
        );
        check(&keys(r#"["198.51.100.8"]"#), false, "deny-198.51.100.8");
        check(
            &keys(r#"["root", 1, "198.51.100.7"]"#),
            false,
            "deny-root-198.51.100.7",
        );
        check(&keys("[]"), false, "deny");
        check(
            &keys(&format!(r#"["{}"]"#, "x".repeat(5_000))),
            false,
            "deny",
        );
        check("starting", true, "deny");
        check(&keys("1"), true, "deny");
        check(&keys("[]").replace("check_keys", "add"), true, "deny");
        check(
            &keys("[]").replace(r#""version":1"#, r#""version":"1""#),
            true,
            "deny",
        );
    }

    #[test]
    fn what_is_logged_for_a_stock_executable_is_read_as_its_key() {
        let offender = "2001:db8::7".parse().unwrap();
        let line = check_keys(&Executable::new("firewall-drop"), offender);
        assert_eq!(
            line,
            r#"{"version":1,"origin":{"name":"firewall-drop","module":"active-response"},"command":"check_keys","parameters":{"keys":["2001:db8::7"]}}"#
        );
        assert!(Said::read(line.as_bytes()).is_about(offender));
    }
}
