//! Every metric by its name. Names are stable: dashboards and rules hold them.

/// Name, type and meaning of every metric. docs/metrics.md has the same.
pub const ALL: [(&str, &str, &str); 45] = [
    (
        "arfw_build_info",
        "gauge",
        "Always 1; the version is in the label.",
    ),
    (
        "arfw_start_time_seconds",
        "gauge",
        "When the daemon started, in seconds since 1970.",
    ),
    (
        "arfw_active_response_enabled",
        "gauge",
        "0 when the configuration switches active response off.",
    ),
    (
        "arfw_lines_read_total",
        "counter",
        "Lines of the alert file that were read, alerts or not.",
    ),
    (
        "arfw_parse_failures_total",
        "counter",
        "Lines that were no alert, by reason.",
    ),
    (
        "arfw_alerts_matched_total",
        "counter",
        "Alerts that at least one section matched.",
    ),
    (
        "arfw_alerts_repeated_total",
        "counter",
        "Alerts that matched and had been handled before.",
    ),
    (
        "arfw_alerts_late_total",
        "counter",
        "Alerts that were read late, after an outage.",
    ),
    (
        "arfw_section_matches_total",
        "counter",
        "Offences by the section that fired; begins anew at a reload.",
    ),
    (
        "arfw_refusals_total",
        "counter",
        "Alerts and offences that led to no ban, by reason.",
    ),
    (
        "arfw_offences_elsewhere_total",
        "counter",
        "Offences for other hosts.",
    ),
    (
        "arfw_bans_active",
        "gauge",
        "Addresses that the enforcer bans, by enforcer and family; networks apart.",
    ),
    (
        "arfw_bans_active_networks",
        "gauge",
        "Networks that the enforcer bans, of both families.",
    ),
    ("arfw_bans_total", "counter", "Bans made."),
    (
        "arfw_bans_moved_total",
        "counter",
        "Bans whose end was moved by a repeat.",
    ),
    ("arfw_unbans_total", "counter", "Bans ended."),
    (
        "arfw_ban_latency_seconds",
        "histogram",
        "From the moment at which the daemon takes up a batch of lines to the enforcer's confirmation of a ban from it.",
    ),
    (
        "arfw_effects_failed_total",
        "counter",
        "Effects that an enforcer or an executable did not perform.",
    ),
    ("arfw_executables_run_total", "counter", "Executables run."),
    (
        "arfw_executables_left_out_total",
        "counter",
        "Executables not run for want of room, or at a stop.",
    ),
    (
        "arfw_executables_running",
        "gauge",
        "Executables that run, or are about to.",
    ),
    (
        "arfw_executables_waiting",
        "gauge",
        "Runs of executables that wait for a place, or for an earlier run for the same address.",
    ),
    (
        "arfw_sockets_destroyed_total",
        "counter",
        "TCP sockets with banned peers that were destroyed.",
    ),
    (
        "arfw_sockets_failed_total",
        "counter",
        "Sockets, and whole looks at them, that failed.",
    ),
    (
        "arfw_packets_total",
        "counter",
        "Packets by what the kernel found out about them, all interfaces together.",
    ),
    ("arfw_bytes_total", "counter", "Bytes of these packets."),
    (
        "arfw_interface_packets_total",
        "counter",
        "Packets that came in at a covered interface, by whether they were dropped.",
    ),
    (
        "arfw_interface_bytes_total",
        "counter",
        "Bytes of the packets that came in at it.",
    ),
    (
        "arfw_interface_covered",
        "gauge",
        "1 when the interface is covered, 0 when it is not, and how.",
    ),
    (
        "arfw_interfaces",
        "gauge",
        "Interfaces by how they are covered.",
    ),
    (
        "arfw_map_entries",
        "gauge",
        "Bans that stand in a map of the kernel, or set of nftables.",
    ),
    (
        "arfw_map_capacity_entries",
        "gauge",
        "Bans that it has room for.",
    ),
    (
        "arfw_map_fill_ratio",
        "gauge",
        "The one divided by the other.",
    ),
    (
        "arfw_keys_remembered",
        "gauge",
        "Keys (address and executable) that are remembered, banned or only counted.",
    ),
    (
        "arfw_counters_forgotten_total",
        "counter",
        "Counters of offences that were forgotten for want of room.",
    ),
    (
        "arfw_alert_file_readable",
        "gauge",
        "0 while the alert file is not there or cannot be read.",
    ),
    (
        "arfw_alert_files_lost_total",
        "counter",
        "Rotated files that were compressed before they were read.",
    ),
    (
        "arfw_alert_lag_bytes",
        "gauge",
        "Bytes of the alert file that are unread, or read and not decided yet.",
    ),
    (
        "arfw_alert_lag_seconds",
        "gauge",
        "For how long the oldest of these bytes may have waited, at most; 0 when there are none.",
    ),
    (
        "arfw_queue_batches",
        "gauge",
        "Batches of lines that were read and are not decided yet: up to 16 in the queue and one before it.",
    ),
    (
        "arfw_queue_full_total",
        "counter",
        "How often reading waited because the queue of batches was full.",
    ),
    (
        "arfw_drift_total",
        "counter",
        "Entries that stood otherwise in the enforcer than they ought to, by what was done.",
    ),
    (
        "arfw_store_writable",
        "gauge",
        "0 while the store cannot be written.",
    ),
    (
        "arfw_store_commit_seconds",
        "histogram",
        "How long it took to put what was learned on the disk, each time that it succeeded.",
    ),
    (
        "arfw_store_waiting_keys",
        "gauge",
        "Keys that wait to be written while the store cannot be.",
    ),
];
