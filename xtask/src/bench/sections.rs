//! What alerts cost that nobody is banned for: reading, parsing and matching apart, and all of it as the sections grow.
//!
//! First the `matching` program of the `tests` package, which calls the daemon's own code on one CPU; how it measures is
//! said there. Then the whole daemon, as in `replay`. Rounds go in turns over all numbers of sections.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xtask::sections::{SIZES, configuration};

use super::figures::Times;
use super::replay::{self, Material};
use crate::interrupt::Interrupt;
use crate::shell::{self, say};
use crate::workspace::Workspace;

const ROUNDS: usize = 5;

/// How much longer a thousand sections may take than one.
const AT_MOST: f64 = 2.0;

/// Measures both.
pub(super) fn measure(
    ws: &Workspace,
    daemon: &Path,
    interrupt: &Interrupt,
    alerts: &Path,
) -> Result<Value> {
    let code = code(ws, alerts)?;
    let whole = whole(daemon, interrupt, &Material::read(alerts)?)?;
    Ok(json!({ "code": code, "daemon": whole }))
}

fn code(ws: &Workspace, alerts: &Path) -> Result<Value> {
    let mut cargo = ws.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "tests"]);
    cargo.args(["--bin", "matching", "--"]).arg(alerts);
    let text = shell::look_up(&mut cargo)?;
    let figures: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
    let figures = figures.context("cannot read what `matching` says")?;
    say(format_args!(
        "\nsections, none of which matches: {} alerts of OSSEC on one CPU, its time in ns a line, medians",
        figures
            .first()
            .map_or(&Value::Null, |figure| &figure["lines"]),
    ));
    say("  sections      read     parse     match       sum   alerts/s   times that of one");
    let mut one = None;
    for figure in &figures {
        let parts = ["read_ns", "parse_ns", "match_ns"].map(|part| median(figure, part));
        let [read, parse, matching] = parts;
        let sum: f64 = parts.iter().sum();
        let times = sum / *one.get_or_insert(sum);
        say(format_args!(
            "{:>10} {read:>9.0} {parse:>9.0} {matching:>9.0} {sum:>9.0} {:>10.0} {times:>19.2}",
            figure["sections"].as_u64().unwrap_or_default(),
            1e9 / sum,
        ));
        judge(times);
    }
    Ok(json!(figures))
}

/// The middle round, NaN without one.
fn median(figure: &Value, part: &str) -> f64 {
    let rounds = figure["rounds"].as_array().into_iter().flatten();
    let mut rounds: Vec<f64> = rounds.filter_map(|round| round[part].as_f64()).collect();
    rounds.sort_by(f64::total_cmp);
    let middle = rounds.len().saturating_sub(1) / 2;
    rounds.get(middle).copied().unwrap_or(f64::NAN)
}

#[allow(clippy::cast_precision_loss, reason = "of counts far below 2^52")]
fn whole(daemon: &Path, interrupt: &Interrupt, material: &Material) -> Result<Value> {
    let lines = material.all_lines();
    say(format_args!(
        "\nsections, none of which matches: {lines} alerts through the daemon, dry run; {ROUNDS} rounds in turns, medians"
    ));
    say("  sections   alerts/s   times that of one   CPU ns an alert   times that of one");
    let mut cases: Vec<_> = SIZES
        .iter()
        .map(|&sections| (sections, configuration(sections), Vec::new(), Vec::new()))
        .collect();
    for _ in 0..ROUNDS {
        for (_, conf, walls, cpus) in &mut cases {
            let round = replay::round(daemon, interrupt, material, conf)?;
            walls.push(round.took);
            cpus.push(round.cpu);
        }
    }
    let (mut one, mut figures) = (None, Vec::new());
    for (sections, _, walls, cpus) in cases {
        let wall = Times::new(walls).context("no round")?;
        let cpu = Times::new(cpus).context("no round")?;
        let medians = [&wall, &cpu].map(|times| times.median().as_secs_f64() / lines as f64);
        let [first_wall, first_cpu] = *one.get_or_insert(medians);
        let [of_wall, of_cpu] = medians;
        let times = of_wall / first_wall;
        say(format_args!(
            "{sections:>10} {:>10.0} {times:>19.2} {:>17.0} {:>19.2}",
            1.0 / of_wall,
            of_cpu * 1e9,
            of_cpu / first_cpu,
        ));
        judge(times);
        figures.push(json!({
            "sections": sections,
            "lines": lines,
            "wall": wall.json(),
            "cpu": cpu.json(),
            "alerts_per_second_median": 1.0 / of_wall,
            "times_that_of_one_section": times,
        }));
    }
    Ok(json!(figures))
}

fn judge(times: f64) {
    if times > AT_MOST {
        say(format_args!(
            "  more than {AT_MOST} times as long as with one section"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_a_round_that_was_measured() {
        let figure = json!({"rounds": [{"read_ns": 9.0}, {"read_ns": 1.0}, {"read_ns": 2.0}]});
        assert!((median(&figure, "read_ns") - 2.0).abs() < f64::EPSILON);
        assert!(median(&json!({"rounds": []}), "read_ns").is_nan());
    }
}
