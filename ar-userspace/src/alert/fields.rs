//! Which fields of an alert are read, where they stand in each shape, and which one counts.
//!
//! This is the only place that knows field names. JSON itself is `scan`'s.

use std::borrow::Cow;

use super::malformed::Malformed;
use super::quoted::Quoted;
use super::scan::Scanner;
use super::{Alert, Context, Group, OffenderText};

/// The arrays that become tokens, with the tokens' prefix, in the order of AR-ALERT-2.
const COMPLIANCE: [(&str, &str); 7] = [
    ("pci_dss", "pci_dss_"),
    ("cis", "cis_"),
    ("gdpr", "gdpr_"),
    ("gpg13", "gpg13_"),
    ("hipaa", "hipaa_"),
    ("nist_800_53", "nist_800_53_"),
    ("tsc", "tsc_"),
];

/// Room for the groups of nearly every rule, so that the list is allocated once.
const USUAL_GROUPS: usize = 8;

/// Reads the fields of one line.
pub(super) fn read(line: &[u8]) -> Result<Alert<'_>, Malformed> {
    if line.iter().all(|byte| b" \t\r\n".contains(byte)) {
        return Err(Malformed::Blank);
    }
    let line = str::from_utf8(line).map_err(|error| Malformed::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let mut scanner = Scanner::new(line, 0);
    let kind = match scanner.peek()? {
        b'{' => None,
        b'[' => Some("an array"),
        b'"' => Some("a string"),
        b't' | b'f' => Some("a boolean"),
        b'n' => Some("null"),
        _ => Some("a number"),
    };
    let fields = Top::read(&mut scanner)?;
    scanner.finish()?;
    match kind {
        None => fields.into_alert(line),
        Some(found) => Err(Malformed::NotAnObject { found }),
    }
}

/// The fields of the alert itself.
#[derive(Default)]
struct Top<'a> {
    id: Option<Quoted<'a>>,
    rule: Rule<'a>,
    agent: Agent<'a>,
    data: Data<'a>,
    srcip: Option<Quoted<'a>>,
    dstuser: Option<Quoted<'a>>,
    srcuser: Option<Quoted<'a>>,
    agent_name: Option<Quoted<'a>>,
    manager_name: Option<Quoted<'a>>,
    timestamp: Option<Quoted<'a>>,
    timestamp_ms: Option<u64>,
    location: Option<Quoted<'a>>,
    full_log: Option<Quoted<'a>>,
}

impl<'a> Top<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut top = Self::default();
        scanner.object(|scanner, key| {
            match key {
                "id" => top.id = scanner.text()?,
                "rule" => top.rule = Rule::read(scanner)?,
                "agent" => top.agent = Agent::read(scanner)?,
                "data" => top.data = Data::read(scanner)?,
                "srcip" => top.srcip = scanner.text()?,
                "dstuser" => top.dstuser = scanner.text()?,
                "srcuser" => top.srcuser = scanner.text()?,
                "agent_name" => top.agent_name = scanner.text()?,
                "manager" => top.manager_name = Agent::read(scanner)?.name,
                "timestamp" => top.timestamp = scanner.text()?,
                "TimeStamp" => top.timestamp_ms = scanner.unsigned()?,
                "location" => top.location = scanner.text()?,
                "full_log" => top.full_log = scanner.text()?,
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(top)
    }

    fn into_alert(self, line: &'a str) -> Result<Alert<'a>, Malformed> {
        Ok(Alert {
            id: self.id.map(Quoted::decode),
            rule_id: self.rule.id.or(self.rule.sidid),
            level: self.rule.level,
            groups: self.rule.groups(line)?,
            agent_id: self.agent.id.map(Quoted::decode),
            offender: self.offender(),
            dstuser: [self.data.dstuser, self.dstuser]
                .into_iter()
                .flatten()
                .map(Quoted::decode)
                .find(|user| !user.is_empty()),
            context: Context {
                timestamp: self.timestamp,
                timestamp_ms: self.timestamp_ms,
                description: self.rule.description.or(self.rule.comment),
                agent_name: self.agent.name.or(self.agent_name),
                manager_name: self.manager_name,
                location: self.location,
                full_log: self.full_log,
                srcuser: self.data.srcuser.or(self.srcuser),
            },
        })
    }

    /// The first string among the four fields (AR-OFF-1), be it empty.
    fn offender(&self) -> Option<OffenderText<'a>> {
        let windows = &self.data.eventdata;
        [
            ("data.win.eventdata.ipAddress", windows.ip_address),
            ("data.win.eventdata.destinationIp", windows.destination_ip),
            ("data.srcip", self.data.srcip),
            ("srcip", self.srcip),
        ]
        .into_iter()
        .find_map(|(field, text)| {
            let text = text?.decode();
            Some(OffenderText { text, field })
        })
    }
}

/// The fields of `rule`.
#[derive(Default)]
struct Rule<'a> {
    id: Option<u32>,
    sidid: Option<u32>,
    level: u8,
    description: Option<Quoted<'a>>,
    comment: Option<Quoted<'a>>,
    group: Option<Quoted<'a>>,
    groups: Option<usize>,
    compliance: [Option<usize>; COMPLIANCE.len()],
}

impl<'a> Rule<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut rule = Self::default();
        scanner.object(|scanner, key| {
            match key {
                "id" => rule.id = read_rule_id(scanner)?,
                "sidid" => rule.sidid = scanner.unsigned()?.and_then(|id| id.try_into().ok()),
                "level" => rule.level = read_level(scanner)?,
                "description" => rule.description = scanner.text()?,
                "comment" => rule.comment = scanner.text()?,
                "group" => rule.group = scanner.text()?,
                "groups" => rule.groups = scanner.array_place()?,
                _ => match COMPLIANCE.iter().position(|(array, _)| *array == key) {
                    Some(at) => rule.compliance[at] = scanner.array_place()?,
                    None => scanner.skip()?,
                },
            }
            Ok(())
        })?;
        Ok(rule)
    }

    /// The tokens in order. The arrays are read here, once it is known which of them count.
    fn groups(&self, line: &'a str) -> Result<Vec<Group<'a>>, Malformed> {
        let mut groups = Vec::with_capacity(USUAL_GROUPS);
        if let Some(list) = self.group {
            push_list(&mut groups, list.decode());
        } else {
            push_array(&mut groups, "", line, self.groups)?;
        }
        for ((_, prefix), place) in COMPLIANCE.iter().zip(self.compliance) {
            push_array(&mut groups, prefix, line, place)?;
        }
        Ok(groups)
    }
}

/// A rule's number is a string with Wazuh, and a number in some of its samples (AR-ALERT-1).
fn read_rule_id(scanner: &mut Scanner<'_>) -> Result<Option<u32>, Malformed> {
    if scanner.peek()? != b'"' {
        return Ok(scanner.unsigned()?.and_then(|id| id.try_into().ok()));
    }
    let text = scanner.text()?.map(Quoted::decode).unwrap_or_default();
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    Ok(text.parse().ok().filter(|_| is_decimal))
}

fn read_level(scanner: &mut Scanner<'_>) -> Result<u8, Malformed> {
    let level = scanner.unsigned()?.unwrap_or(0);
    Ok(level.try_into().unwrap_or(u8::MAX))
}

/// Adds the groups of OSSEC's comma-separated list, which ends in a comma (AR-ALERT-5).
fn push_list<'a>(groups: &mut Vec<Group<'a>>, list: Cow<'a, str>) {
    let is_group = |name: &&str| !name.trim().is_empty();
    match list {
        Cow::Borrowed(list) => groups.extend(list.split(',').filter(is_group).map(Group::new)),
        Cow::Owned(list) => groups.extend(
            list.split(',')
                .filter(is_group)
                .map(|name| Group::new(name.to_owned())),
        ),
    }
}

/// Adds a token for each string of the array that begins at `place`.
fn push_array<'a>(
    groups: &mut Vec<Group<'a>>,
    prefix: &'static str,
    line: &'a str,
    place: Option<usize>,
) -> Result<(), Malformed> {
    let Some(place) = place else { return Ok(()) };
    Scanner::new(line, place).array(|scanner| {
        if let Some(name) = scanner.text()? {
            groups.push(Group::with_prefix(prefix, name.decode()));
        }
        Ok(())
    })
}

/// The fields of `agent`, and of `manager`, which has a name only.
#[derive(Default)]
struct Agent<'a> {
    id: Option<Quoted<'a>>,
    name: Option<Quoted<'a>>,
}

impl<'a> Agent<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut agent = Self::default();
        scanner.object(|scanner, key| {
            match key {
                "id" => agent.id = scanner.text()?,
                "name" => agent.name = scanner.text()?,
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(agent)
    }
}

/// The fields of `data`, which is a string in some OSSEC alerts and then has none.
#[derive(Default)]
struct Data<'a> {
    srcip: Option<Quoted<'a>>,
    dstuser: Option<Quoted<'a>>,
    srcuser: Option<Quoted<'a>>,
    eventdata: EventData<'a>,
}

impl<'a> Data<'a> {
    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut data = Self::default();
        scanner.object(|scanner, key| {
            match key {
                "srcip" => data.srcip = scanner.text()?,
                "dstuser" => data.dstuser = scanner.text()?,
                "srcuser" => data.srcuser = scanner.text()?,
                "win" => data.eventdata = EventData::read_win(scanner)?,
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(data)
    }
}

/// The fields of `data.win.eventdata`.
#[derive(Default)]
struct EventData<'a> {
    ip_address: Option<Quoted<'a>>,
    destination_ip: Option<Quoted<'a>>,
}

impl<'a> EventData<'a> {
    fn read_win(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut eventdata = Self::default();
        scanner.object(|scanner, key| {
            match key {
                "eventdata" => eventdata = Self::read(scanner)?,
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(eventdata)
    }

    fn read(scanner: &mut Scanner<'a>) -> Result<Self, Malformed> {
        let mut eventdata = Self::default();
        scanner.object(|scanner, key| {
            match key {
                "ipAddress" => eventdata.ip_address = scanner.text()?,
                "destinationIp" => eventdata.destination_ip = scanner.text()?,
                _ => scanner.skip()?,
            }
            Ok(())
        })?;
        Ok(eventdata)
    }
}
