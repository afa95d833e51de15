//! The groups that the stock rules of OSSEC and Wazuh give to alerts, for warnings only.
//!
//! Compliance groups are left out: each is a family of numbers that one means as a whole.

/// Names of groups in lower case, sorted.
#[rustfmt::skip]
pub(super) const STOCK_GROUPS: &[&str] = &[
    "access_allowed", "access_control", "access_denied", "accesslog", "account_changed",
    "active_response", "adduser", "agent_flooding", "agent_restarting", "amazon", "apache",
    "apparmor", "appsec", "arpwatch", "asterisk", "attack", "attacks", "audit", "audit_command",
    "audit_selinux", "authentication_failed", "authentication_failures",
    "authentication_success", "automatic_attack", "aws", "aws_guardduty", "aws_macie", "azure",
    "cimserver", "ciscat", "cisco_ios", "clamd", "client_error", "client_misconfig",
    "config_changed", "connection_attempt", "courier", "dhcpd", "docker", "dovecot", "dropbear",
    "elevation_of_privilege", "errors", "exchange", "exim", "exploit_attempt", "firewall",
    "firewall_drop", "firewalld", "freebsd", "ftpd", "fts", "gcp", "github", "grsec",
    "hordeimp", "hostinfo", "ids", "imapd", "invalid_access", "invalid_login",
    "invalid_request", "ip_spoof", "linuxkernel", "local", "login_day", "login_denied",
    "login_time", "logs_cleared", "low_diskspace", "mailscanner", "modsecurity", "ms", "msauth",
    "multiple_drops", "multiple_spam", "mysql_log", "named", "netscreenfw", "new_host", "nginx",
    "office365", "openbsd", "openldap", "opensmtpd", "openvpn", "oracle", "oscap", "osquery",
    "ossec", "owncloud", "pam", "php", "pix", "policy_changed", "policy_violation", "portscan",
    "postfix", "postgresql_log", "process_monitor", "proftpd", "promisc", "pure-ftpd", "racoon",
    "recon", "rootcheck", "roundcube", "rsyslog", "samba", "sca", "sendmail",
    "service_availability", "service_start", "smbd", "smtpd", "snort", "solaris_bsm",
    "sonicwall", "spam", "sql_injection", "squid", "sshd", "stats", "su", "sudo", "suricata",
    "symantec", "syscheck", "syscheck_entry_added", "syscheck_entry_deleted",
    "syscheck_entry_modified", "syscheck_file", "syscheck_registry", "syslog", "sysmon",
    "system_error", "system_shutdown", "systemd", "telnetd", "time_changed", "trend_micro",
    "unbound", "unknown_resource", "virus", "virustotal", "vmpop3d", "vmware", "vpn",
    "vpopmail", "vsftpd", "vulnerability-detector", "wazuh", "web", "web_appsec", "web_attack",
    "web_scan", "win_authentication_failed", "windows", "windows_application",
    "windows_security", "windows_system", "wordpress", "yum", "zeus",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_sorted_and_in_lower_case() {
        assert!(STOCK_GROUPS.is_sorted_by(|a, b| a < b));
        let lower = |group: &&str| !group.is_empty() && group.to_ascii_lowercase() == **group;
        assert!(STOCK_GROUPS.iter().all(lower));
    }
}
