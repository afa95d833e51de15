//! Alert lines as Wazuh writes them.

use serde_json::json;

/// A line of `alerts.json`, with its line end.
#[must_use]
pub fn wazuh(rule: u32, level: u8, groups: &[&str], srcip: &str) -> String {
    let alert = json!({
        "timestamp": "2026-11-24T06:00:00.000+0000",
        "rule": {
            "level": level,
            "description": "sshd: brute force trying to get access to the system.",
            "id": rule.to_string(),
            "groups": groups,
        },
        "agent": {"id": "000", "name": "host"},
        "manager": {"name": "host"},
        "id": "1795500000.12345",
        "data": {"srcip": srcip, "dstuser": "root"},
        "location": "/var/log/auth.log",
    });
    format!("{alert}\n")
}
