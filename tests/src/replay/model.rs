//! Who is banned, by the words of the specification alone: no line of arfw's own reading or deciding is used.
//!
//! Written to be plain and slow. Times are lengths from the moment at which an alert is read.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

/// Where a section's response is to happen (AR-CFG-8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Local,
    Server,
    DefinedAgent(&'static str),
    All,
}

/// One `<active-response>`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Name of its command.
    pub(super) command: &'static str,
    pub(super) location: Location,
    pub(super) level: Option<u64>,
    /// As written; empty for none.
    pub(super) rules_group: &'static str,
    /// As written; empty for none.
    pub(super) rules_id: &'static str,
    pub(super) timeout: Option<u64>,
}

/// One `<command>`: name, executable, and whether a timeout is allowed.
pub(super) type Command = (&'static str, &'static str, bool);

/// A configuration. Its settings section is the first one.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) commands: &'static [Command],
    /// `repeated_offenders`, in minutes.
    pub(super) ladder: &'static [u64],
    pub(super) sections: &'static [Section],
    pub(super) white_list: &'static [&'static str],
}

impl Configuration {
    /// The text of `ossec.conf`.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("<ossec_config>\n<global>\n");
        for entry in self.white_list {
            text += &format!("  <white_list>{entry}</white_list>\n");
        }
        text += "</global>\n";
        for (name, executable, timed) in self.commands {
            let timed = if *timed { "yes" } else { "no" };
            text += &format!(
                "<command>\n  <name>{name}</name>\n  <executable>{executable}</executable>\n  \
                 <timeout_allowed>{timed}</timeout_allowed>\n</command>\n"
            );
        }
        let ladder: Vec<String> = self.ladder.iter().map(u64::to_string).collect();
        text += &format!(
            "<active-response>\n  <repeated_offenders>{}</repeated_offenders>\n</active-response>\n",
            ladder.join(", ")
        );
        self.sections
            .iter()
            .for_each(|section| text += &section.text());
        text + "</ossec_config>\n"
    }
}

impl Section {
    fn text(&self) -> String {
        let (location, agent) = match self.location {
            Location::Local => ("local", None),
            Location::Server => ("server", None),
            Location::DefinedAgent(agent) => ("defined-agent", Some(agent.to_owned())),
            Location::All => ("all", None),
        };
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let children = [
            ("command", given(self.command)),
            ("location", given(location)),
            ("agent_id", agent),
            ("level", number(self.level)),
            ("rules_group", given(self.rules_group)),
            ("rules_id", given(self.rules_id)),
            ("timeout", number(self.timeout)),
        ];
        let lines = children
            .iter()
            .filter_map(|(name, value)| Some(format!("  <{name}>{}</{name}>\n", value.as_ref()?)));
        format!(
            "<active-response>\n{}</active-response>\n",
            lines.collect::<String>()
        )
    }
}

/// When a ban ends: never, or so many seconds after its alert was read.
pub(super) type Length = Option<u64>;

/// What is remembered of one key (AR-TIME-3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) offences: u32,
    /// `None` before the first ban.
    pub(super) length: Option<Length>,
    /// Of the response that set the end.
    pub(super) rule: u64,
    pub(super) section: usize,
    pub(super) alert: Option<String>,
}

/// What became of the alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) lines: u64,
    pub(super) matched: u64,
    pub(super) refused: u64,
    pub(super) elsewhere: u64,
}

/// The model: alerts in, bans out.
#[derive(Debug)]
pub(super) struct Model<'a> {
    configuration: &'a Configuration,
    own: &'a [IpAddr],
    pub(super) counts: Counts,
    /// By address and executable.
    pub(super) keys: BTreeMap<(IpAddr, &'static str), Key>,
}

impl<'a> Model<'a> {
    /// `own` are the addresses of the host itself.
    pub(super) fn new(configuration: &'a Configuration, own: &'a [IpAddr]) -> Self {
        Self {
            configuration,
            own,
            counts: Counts::default(),
            keys: BTreeMap::new(),
        }
    }

    /// Takes one line.
    pub(super) fn read(&mut self, line: &str) {
        let alert: Value = serde_json::from_str(line).expect("the files have only JSON");
        self.counts.lines += 1;
        let sections: Vec<(usize, &Section)> = self
            .configuration
            .sections
            .iter()
            .enumerate()
            .filter(|(_, section)| fires(section, &alert))
            .collect();
        if sections.is_empty() {
            return;
        }
        self.counts.matched += 1;
        let Some(offender) = self.offender(&alert) else {
            self.counts.refused += 1;
            return;
        };
        // AR-MATCH-7: all of them, in document order. The settings section stands before the first.
        for (place, section) in sections {
            if is_here(section.location, &alert) {
                self.offend(offender, place + 1, section, &alert);
            } else {
                self.counts.elsewhere += 1;
            }
        }
    }

    /// AR-OFF-1 to 5, AR-WL.
    fn offender(&self, alert: &Value) -> Option<IpAddr> {
        let text = offender_text(alert)?;
        let user = alert["data"]["dstuser"]
            .as_str()
            .or(alert["dstuser"].as_str())
            .unwrap_or("");
        let only = |text: &str, others: &str| {
            text.chars()
                .all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        };
        if !only(text, ".:_-") || !only(user, "._@?-") {
            return None;
        }
        let address = text.parse::<IpAddr>().ok()?.to_canonical();
        let nobody = address.is_unspecified()
            || address.is_loopback()
            || address.is_multicast()
            || address == Ipv4Addr::BROADCAST;
        let spared = self
            .configuration
            .white_list
            .iter()
            .any(|entry| spares(entry, address, text));
        (!nobody && !self.own.contains(&address) && !spared).then_some(address)
    }

    /// AR-TIME-2 to 7.
    fn offend(&mut self, offender: IpAddr, place: usize, section: &Section, alert: &Value) {
        let mut commands = self.configuration.commands.iter();
        let command = commands.find(|(name, ..)| *name == section.command);
        let &(_, executable, timed) = command.expect("sections name commands that are there");
        let key = self.keys.entry((offender, executable)).or_default();
        // AR-CMD-2: without permission there is no timeout.
        let length = section.timeout.filter(|_| timed).map(|timeout| {
            key.offences += 1;
            let rungs = self.configuration.ladder;
            match key.offences {
                1 => timeout,
                offences => {
                    let rung = rungs.get(offences as usize - 2).or(rungs.last());
                    rung.map_or(timeout, |minutes| minutes * 60)
                }
            }
        });
        if key.length == Some(None) {
            return;
        }
        key.length = Some(length);
        key.section = place;
        key.rule = rule_id(alert).unwrap_or(0);
        key.alert = alert["id"].as_str().map(str::to_owned);
    }
}

/// AR-OFF-1
fn offender_text(alert: &Value) -> Option<&str> {
    let event = &alert["data"]["win"]["eventdata"];
    let fields = [
        &event["ipAddress"],
        &event["destinationIp"],
        &alert["data"]["srcip"],
        &alert["srcip"],
    ];
    fields.into_iter().find_map(Value::as_str)
}

/// AR-ROUTE-1 to 4, on the manager.
fn is_here(location: Location, alert: &Value) -> bool {
    match location {
        Location::Local => matches!(alert["agent"]["id"].as_str(), None | Some("000")),
        Location::Server => true,
        Location::DefinedAgent(_) | Location::All => false,
    }
}

/// AR-MATCH-1 to 9
fn fires(section: &Section, alert: &Value) -> bool {
    let level = alert["rule"]["level"].as_u64().unwrap_or(0);
    if level == 0 {
        return false;
    }
    let by_level = section.level.is_some_and(|least| level >= least);
    let rule = rule_id(alert);
    let mut ids = section
        .rules_id
        .split(',')
        .filter_map(|id| id.trim().parse::<u64>().ok());
    let by_id = ids.any(|id| rule == Some(id));
    let groups = groups(alert);
    let by_group = |groups: &[String]| {
        let joined = format!(",{},", groups.join(",")).to_lowercase();
        let mut alternatives = section
            .rules_group
            .split('|')
            .map(|text| text.trim().to_lowercase());
        alternatives.any(|alternative| match alternative.strip_suffix(',') {
            _ if alternative.is_empty() => false,
            Some(whole) => joined.contains(&format!(",{},", whole.trim_start_matches(','))),
            None => joined.contains(&alternative),
        })
    };
    let own_log = "active_response".to_owned();
    if groups.contains(&own_log) {
        return by_id || by_group(&[own_log]);
    }
    by_level || by_id || by_group(&groups)
}

/// AR-ALERT-1, AR-ALERT-5
fn rule_id(alert: &Value) -> Option<u64> {
    let rule = &alert["rule"];
    let id = &rule["id"];
    let wazuh = id
        .as_str()
        .and_then(|text| text.parse().ok())
        .or(id.as_u64());
    wazuh.or(rule["sidid"].as_u64())
}

/// AR-ALERT-2, AR-ALERT-3, AR-ALERT-5
fn groups(alert: &Value) -> Vec<String> {
    const COMPLIANCE: [&str; 7] = [
        "pci_dss",
        "cis",
        "gdpr",
        "gpg13",
        "hipaa",
        "nist_800_53",
        "tsc",
    ];
    let rule = &alert["rule"];
    let strings = |value: &Value| -> Vec<String> {
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        items
            .iter()
            .filter_map(Value::as_str)
            .map(|item| item.trim().to_owned())
            .collect()
    };
    let mut tokens = match rule["group"].as_str() {
        Some(list) => list.split(',').map(|item| item.trim().to_owned()).collect(),
        None => strings(&rule["groups"]),
    };
    tokens.retain(|token| !token.is_empty());
    for name in COMPLIANCE {
        tokens.extend(
            strings(&rule[name])
                .iter()
                .map(|value| format!("{name}_{value}")),
        );
    }
    tokens
}

/// AR-WL-1, AR-WL-3 to 5
fn spares(entry: &str, address: IpAddr, received: &str) -> bool {
    let (base, length) = entry.split_once('/').unwrap_or((entry, ""));
    let Ok(base) = base.parse::<IpAddr>() else {
        let texts = [received.to_lowercase(), address.to_string()];
        return entry.to_lowercase().split('|').any(|alternative| {
            texts.iter().any(|text| {
                let rest = alternative.strip_prefix('^').unwrap_or(alternative);
                let middle = rest.strip_suffix('$').unwrap_or(rest);
                match (rest != alternative, middle != rest) {
                    (true, true) => text == middle,
                    (true, false) => text.starts_with(middle),
                    (false, true) => text.ends_with(middle),
                    (false, false) => text.contains(middle),
                }
            })
        });
    };
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
        IpAddr::V6(v6) => (128, v6.to_bits()),
    };
    let ((width, ours), (other, theirs)) = (bits(base), bits(address));
    let mask = length
        .parse::<Ipv4Addr>()
        .map(|mask| mask.to_bits().count_ones());
    let length = length.parse().or(mask).unwrap_or(width);
    width == other && (ours ^ theirs).checked_shr(width - length).unwrap_or(0) == 0
}
