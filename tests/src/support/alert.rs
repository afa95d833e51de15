//! Alert lines as Wazuh writes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

/// A line of `alerts.json`, with its line end: written at this moment, with an identifier of its own.
#[must_use]
pub fn wazuh(rule: u32, level: u8, groups: &[&str], srcip: &str) -> String {
    line(
        rule,
        level,
        groups,
        srcip,
        Some(&fresh_id()),
        Timestamp::now(),
    )
}

/// The same without an identifier.
#[must_use]
pub fn without_id(rule: u32, level: u8, groups: &[&str], srcip: &str) -> String {
    line(rule, level, groups, srcip, None, Timestamp::now())
}

/// The same, written a while ago.
#[must_use]
pub fn old(age: Duration, rule: u32, level: u8, groups: &[&str], srcip: &str) -> String {
    let written = Timestamp::now() - age;
    line(rule, level, groups, srcip, Some(&fresh_id()), written)
}

fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}.{number}", Timestamp::now().as_second())
}

fn line(
    rule: u32,
    level: u8,
    groups: &[&str],
    srcip: &str,
    id: Option<&str>,
    written: Timestamp,
) -> String {
    let mut alert = json!({
        "timestamp": written.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string(),
        "rule": {
            "level": level,
            "description": "sshd: brute force trying to get access to the system.",
            "id": rule.to_string(),
            "groups": groups,
        },
        "agent": {"id": "000", "name": "host"},
        "manager": {"name": "host"},
        "data": {"srcip": srcip, "dstuser": "root"},
        "location": "/var/log/auth.log",
    });
    if let Some(id) = id {
        alert["id"] = id.into();
    }
    format!("{alert}\n")
}
