//! `cargo xtask faults`: the fault tests in their long form, and a table of what came of each; `cargo xtask test`
//! has the short form.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use crate::build;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// Behaviour tests that make faults.
const BEHAVIOUR: [&str; 3] = ["faults::", "outages::", "store::"];

/// Figures of a fault, as a report names them.
const FIGURES: [&str; 4] = ["tried", "lost", "doubled", "wrong"];

/// Which faults.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Only tests whose names contain one of these, such as `takeover` [default: all that make faults]
    names: Vec<String>,
}

/// What came of one fault.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    name: String,
    figures: [u64; FIGURES.len()],
}

/// Builds what is missing, makes each fault many times and prints what came of it.
pub(crate) fn command(ws: &Workspace, arguments: &Arguments) -> Result<()> {
    ensure!(
        shell::is_root(),
        "these tests make network namespaces and load a program into the kernel: run it as root"
    );
    let daemon = build::command(ws, true)?;
    let start = Instant::now();
    let report = tempfile::NamedTempFile::new().context("cannot make a file for the report")?;
    let names = |all: &[&str]| -> Vec<String> {
        match arguments.names.as_slice() {
            [] => all.iter().map(ToString::to_string).collect(),
            names => names.to_vec(),
        }
    };
    let test = |target: &[&str], names: Vec<String>| {
        let mut cargo = ws.cargo();
        cargo.env("ARFW_BIN", &daemon);
        cargo.env("ARFW_FAULTS", "long");
        cargo.env("ARFW_FAULTS_REPORT", report.path());
        shell::run(cargo.arg("test").args(target).arg("--").args(names))
    };
    let store = ["--package", "ar-userspace", "--lib"];
    let behaviour = ["--package", "tests", "--test", "behaviour"];
    // All are tried, so that the table is whole also when something fails.
    let ended = [
        test(&store, names(&["power_cut::"])),
        test(&behaviour, names(&BEHAVIOUR)),
    ];
    let faults = read(report.path())?;
    table(&faults).iter().for_each(say);
    say(format_args!(
        "faults: {} kinds in {:.0} s",
        faults.len(),
        start.elapsed().as_secs_f64()
    ));
    ended.into_iter().collect()
}

fn read(report: &Path) -> Result<Vec<Fault>> {
    let text = fs::read_to_string(report).context("cannot read the report")?;
    let mut faults = text.lines().map(fault).collect::<Result<Vec<_>>>()?;
    faults.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(faults)
}

fn fault(line: &str) -> Result<Fault> {
    let value: Value = serde_json::from_str(line)?;
    let figure = |name| {
        let figure = value[name].as_u64();
        figure.with_context(|| format!("expected a number `{name}` in the report, found `{line}`"))
    };
    let name = value["fault"].as_str();
    let [tried, lost, doubled, wrong] = FIGURES;
    Ok(Fault {
        name: name.context("a fault has a name")?.to_owned(),
        figures: [
            figure(tried)?,
            figure(lost)?,
            figure(doubled)?,
            figure(wrong)?,
        ],
    })
}

fn table(faults: &[Fault]) -> Vec<String> {
    let width = faults.iter().map(|fault| fault.name.len()).max();
    let width = width.unwrap_or(0).max("fault".len());
    let [tried, lost, doubled, wrong] = FIGURES;
    let head = format!(
        "{:<width$} | {tried:>7} | {lost:>7} | {doubled:>7} | {wrong:>7}",
        "fault"
    );
    let rows = faults.iter().map(|fault| {
        let [tried, lost, doubled, wrong] = fault.figures;
        format!(
            "{:<width$} | {tried:>7} | {lost:>7} | {doubled:>7} | {wrong:>7}",
            fault.name
        )
    });
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_becomes_a_table() {
        let line = r#"{"doubled":0,"fault":"a stop and a start","lost":3,"tried":100,"wrong":0}"#;
        assert_eq!(
            table(&[fault(line).unwrap()]),
            [
                "fault              |   tried |    lost | doubled |   wrong",
                "a stop and a start |     100 |       3 |       0 |       0"
            ]
        );
        assert!(fault(r#"{"fault":"a stop"}"#).is_err());
    }
}
