//! What the daemon counts, as Prometheus reads it: plain numbers of the one task, written as text when they are asked for.
//!
//! Labels come from closed sets, sections of the configuration and interfaces, up to a bound; never from an alert.

mod names;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::Daemon;
use crate::clock;
use crate::config::Enforcement;
use crate::enforcer::{Counters, Traffic};
use crate::time::{Moment, Spans};
pub use names::ALL;

/// Sections and interfaces that have series of their own, at most; the sections beyond share one.
const SERIES: usize = 256;

/// What only metrics tell.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    malformed: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    /// By the index of the section.
    sections: BTreeMap<usize, u64>,
    /// When the batch that is being read was taken up.
    taken_up: Option<Moment>,
    latency: Spans,
}

impl Metrics {
    pub(super) fn malformed(&mut self, reason: &'static str) {
        *self.malformed.entry(reason).or_default() += 1;
    }

    pub(super) fn refused(&mut self, reason: &'static str) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// The sections beyond the bound are told together.
    pub(super) fn matched(&mut self, section: usize) {
        let is_full = self.sections.len() >= SERIES && !self.sections.contains_key(&section);
        let section = if is_full { usize::MAX } else { section };
        *self.sections.entry(section).or_default() += 1;
    }

    /// Another configuration has other sections.
    pub(super) fn configure(&mut self) {
        self.sections.clear();
    }

    /// A batch is taken up, or done with.
    pub(super) fn take_up(&mut self, at: Option<Moment>) {
        self.taken_up = at;
    }

    /// So many bans are confirmed. Reads the clock once, and only for bans of a batch.
    pub(super) fn confirmed(&mut self, bans: usize) {
        if let Some(since) = self.taken_up.filter(|_| bans > 0) {
            self.latency.add(clock::now().since(since), bans);
        }
    }
}

/// The text, as it grows.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// What follows are series of this metric.
    fn begin(&mut self, name: &str) {
        for (name, kind, help) in ALL.iter().filter(|(known, ..)| *known == name) {
            // Writing to a string cannot fail.
            let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
    }

    fn series(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escape = |text: &str| {
            let text = text.replace('\\', r"\\").replace('"', "\\\"");
            text.replace('\n', r"\n")
        };
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escape(value)))
            .collect();
        let _ = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{}}} {value}", labels.join(",")),
        };
    }

    fn one(&mut self, name: &str, value: f64) {
        self.begin(name);
        self.series(name, &[], value);
    }

    /// Series that differ in one label.
    fn each<'a>(
        &mut self,
        name: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.begin(name);
        for (value, number) in values {
            self.series(name, &[(label, value)], number);
        }
    }

    fn spans(&mut self, name: &str, spans: &Spans) {
        self.begin(name);
        let bucket = format!("{name}_bucket");
        for (end, count) in spans.up_to() {
            self.series(&bucket, &[("le", &end.to_string())], number(count));
        }
        self.series(&bucket, &[("le", "+Inf")], number(spans.count()));
        self.series(&format!("{name}_sum"), &[], spans.sum().as_secs_f64());
        self.series(&format!("{name}_count"), &[], number(spans.count()));
    }
}

/// Prometheus knows no other numbers. Exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "nothing here counts so far")]
fn number(count: u64) -> f64 {
    count as f64
}

impl Daemon {
    /// What `GET /metrics` tells.
    pub(super) fn metrics(&self) -> anyhow::Result<String> {
        let status = self.status()?;
        let (counts, load, drift) = (&status.counts, &status.load, &status.drift);
        let mut text = Text::default();
        text.each("arfw_build_info", "version", [(&*status.version, 1.0)]);
        let started = clock::clocks().wall_at(self.started).as_nanos();
        let started = Duration::from_nanos(started.max(0).unsigned_abs());
        text.one("arfw_start_time_seconds", started.as_secs_f64());
        let is = |yes: bool| if yes { 1.0 } else { 0.0 };
        text.one("arfw_active_response_enabled", is(status.enabled));
        let mut malformed = self.metrics.malformed.clone();
        malformed.insert("too_long", counts.too_long);
        let named = |all: &BTreeMap<&'static str, u64>| -> Vec<(&'static str, f64)> {
            all.iter()
                .map(|(&name, &count)| (name, number(count)))
                .collect()
        };
        text.each("arfw_parse_failures_total", "reason", named(&malformed));
        let mut refused = self.metrics.refused.clone();
        refused.insert("over_limit", counts.over_limit);
        text.each("arfw_refusals_total", "reason", named(&refused));
        self.tell_sections(&mut text);
        for (name, count) in [
            ("arfw_lines_read_total", counts.lines),
            ("arfw_alerts_matched_total", counts.matched),
            ("arfw_alerts_repeated_total", counts.repeated),
            ("arfw_alerts_late_total", counts.late),
            ("arfw_offences_elsewhere_total", counts.elsewhere),
            ("arfw_bans_total", counts.bans),
            ("arfw_bans_moved_total", counts.moved),
            ("arfw_unbans_total", counts.unbans),
            ("arfw_effects_failed_total", counts.failed),
            ("arfw_executables_run_total", counts.runs),
            ("arfw_executables_left_out_total", counts.left_out),
            ("arfw_sockets_destroyed_total", counts.sockets_destroyed),
            ("arfw_sockets_failed_total", counts.sockets_failed),
            ("arfw_counters_forgotten_total", load.forgotten),
            ("arfw_alert_files_lost_total", status.source.compressed),
            ("arfw_alert_lag_bytes", load.behind_bytes),
            ("arfw_queue_batches", self.load.queued_batches()),
            ("arfw_queue_full_total", load.queue_full),
            ("arfw_executables_running", self.programs.running() as u64),
            ("arfw_executables_waiting", self.programs.waiting() as u64),
            ("arfw_keys_remembered", self.ledger.remembered() as u64),
            ("arfw_bans_active_networks", self.ledger.prefixes() as u64),
        ] {
            text.one(name, number(count));
        }
        let lag = self.lag.seconds(load.behind_bytes, clock::now());
        text.one("arfw_alert_lag_seconds", lag);
        let source = &status.source;
        let readable = source.trouble.is_none() && !source.missing;
        text.one("arfw_alert_file_readable", is(readable));
        let trouble = status.store.trouble.as_ref();
        text.one("arfw_store_writable", is(trouble.is_none()));
        let waiting = trouble.map_or(0, |trouble| trouble.waiting as u64);
        text.one("arfw_store_waiting_keys", number(waiting));
        text.begin("arfw_bans_active");
        let active = &status.active;
        for (family, count) in [("ipv4", active.v4), ("ipv6", active.v6)] {
            let labels = [("enforcer", &*status.enforcer), ("family", family)];
            text.series("arfw_bans_active", &labels, number(count as u64));
        }
        let maps = [
            ("bans_v4", active.v4 as u64, active.room_v4 as u64),
            ("bans_v6", active.v6 as u64, active.room_v6 as u64),
        ];
        let of =
            |value: fn(u64, u64) -> f64| maps.map(|(map, held, room)| (map, value(held, room)));
        text.each("arfw_map_entries", "map", of(|held, _| number(held)));
        text.each(
            "arfw_map_capacity_entries",
            "map",
            of(|_, room| number(room)),
        );
        let ratio = |held: u64, room: u64| number(held) / number(room.max(1));
        text.each("arfw_map_fill_ratio", "map", of(ratio));
        text.each(
            "arfw_drift_total",
            "kind",
            [
                ("restored", number(drift.restored)),
                ("corrected", number(drift.corrected)),
                ("adopted", number(drift.adopted)),
                ("refused", number(drift.refused)),
                ("swept", number(drift.swept)),
            ],
        );
        let seen = &status.packets;
        if !seen.is_empty() {
            let packets = seen.iter().map(|it| (&*it.outcome, number(it.packets)));
            text.each("arfw_packets_total", "outcome", packets);
            let bytes = seen.iter().map(|it| (&*it.outcome, number(it.bytes)));
            text.each("arfw_bytes_total", "outcome", bytes);
        }
        let traffic = self.enforcer.traffic()?;
        if !traffic.is_empty() {
            tell_traffic(&mut text, "arfw_interface_packets_total", &traffic, |it| {
                it.packets
            });
            tell_traffic(&mut text, "arfw_interface_bytes_total", &traffic, |it| {
                it.bytes
            });
        }
        let mut modes: BTreeMap<&str, u64> = BTreeMap::from([("none", 0)]);
        text.begin("arfw_interface_covered");
        for (place, it) in status.interfaces.iter().enumerate() {
            *modes.entry(&it.mode).or_default() += 1;
            if place < SERIES {
                let labels = [("interface", &*it.name), ("mode", &*it.mode)];
                text.series("arfw_interface_covered", &labels, is(it.mode != "none"));
            }
        }
        let modes = modes.into_iter().map(|(mode, count)| (mode, number(count)));
        text.each("arfw_interfaces", "mode", modes);
        text.spans("arfw_ban_latency_seconds", &self.metrics.latency);
        text.spans("arfw_store_commit_seconds", &self.store.commits());
        Ok(text.0)
    }

    fn tell_sections(&self, text: &mut Text) {
        let name = "arfw_section_matches_total";
        text.begin(name);
        let responses = self.settings.config.responses.iter();
        for response in responses.take(SERIES) {
            let count = self.metrics.sections.get(&response.index);
            let enforcement = match response.enforcement {
                Enforcement::Kernel => "kernel",
                Enforcement::Program => "program",
            };
            let section = self.journal.section(response.line);
            let labels = [("section", &*section), ("by", enforcement)];
            text.series(name, &labels, number(count.copied().unwrap_or(0)));
        }
        if let Some(&count) = self.metrics.sections.get(&usize::MAX) {
            let labels = [("section", "others"), ("by", "any")];
            text.series(name, &labels, number(count));
        }
    }
}

fn tell_traffic(text: &mut Text, name: &str, traffic: &[Traffic], of: fn(&Counters) -> u64) {
    text.begin(name);
    for it in traffic {
        for (outcome, counters) in [("banned", &it.dropped), ("passed", &it.passed)] {
            let labels = [("interface", &*it.interface), ("outcome", outcome)];
            text.series(name, &labels, number(of(counters)));
        }
    }
}
