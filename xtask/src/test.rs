//! `cargo xtask test`: every check there is, in the order in which they are cheap to fail.
//!
//! CI runs this and nothing else. A step that fails ends it; a step that cannot run here is skipped with its
//! reason in the closing table, and in CI (environment variable CI) that is a failure too.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::thread::CapabilitySet;

use crate::shell::{self, say};
use crate::workspace::Workspace;
use crate::{build, setup, tidy, vectors};

/// A step: its name and what it does.
type Step = (&'static str, fn(&Workspace, &[String]) -> Result<End>);

/// How a step ended, when it did not fail.
enum End {
    Passed,
    /// It cannot run here, and why.
    Skipped(String),
}

/// Packages whose tests need neither root nor a built daemon.
const UNIT: [&str; 8] = [
    "--package",
    "ar-userspace",
    "--package",
    "fuzz",
    "--package",
    "ar-ebpf",
    "--package",
    "xtask",
];

const STEPS: [Step; 10] = [
    ("setup", |ws, _| {
        setup::command(ws)?;
        setup::for_ci(ws).map(passed)
    }),
    ("format", |ws, _| cargo(ws, &["fmt", "--all", "--check"])),
    ("tidy", |ws, _| tidy::command(ws).map(passed)),
    ("kernel program", kernel_program),
    ("clippy", |ws, _| {
        let lints = ["--", "--deny", "warnings"];
        cargo(
            ws,
            &[&["clippy", "--workspace", "--all-targets"][..], &lints].concat(),
        )
    }),
    ("documents", documents),
    ("unit tests", |ws, args| {
        cargo(
            ws,
            &with_args(&[&["test"][..], &UNIT, &["--lib", "--bins"]].concat(), args),
        )
    }),
    ("vectors", conformance),
    ("daemon", |ws, _| {
        build::daemon(ws, true).map(|_| End::Passed)
    }),
    ("behaviour tests", behaviour),
];

/// Runs every step, then prints what each took.
pub(crate) fn command(ws: &Workspace, args: &[String]) -> Result<()> {
    let mut table: Vec<(&str, String, Duration)> = Vec::new();
    for (name, step) in STEPS {
        say(format_args!("\n== {name} =="));
        let start = Instant::now();
        let end = step(ws, args).and_then(strict_in_ci);
        let took = start.elapsed();
        say(format_args!("== {name}: {:.1} s ==", took.as_secs_f64()));
        let failed = end.is_err();
        let result = match &end {
            Ok(End::Passed) => "passed".to_owned(),
            Ok(End::Skipped(why)) => format!("SKIPPED: {why}"),
            Err(_) => "FAILED".to_owned(),
        };
        table.push((name, result, took));
        if failed {
            print(&table);
            return end
                .map(drop)
                .with_context(|| format!("step `{name}` failed"));
        }
    }
    print(&table);
    Ok(())
}

fn print(table: &[(&str, String, Duration)]) {
    say("");
    for (name, result, took) in table {
        say(format_args!(
            "{name:<16} {:>7.1} s  {result}",
            took.as_secs_f64()
        ));
    }
    let whole: Duration = table.iter().map(|(_, _, took)| took).sum();
    say(format_args!("{:<16} {:>7.1} s", "all", whole.as_secs_f64()));
}

fn passed((): ()) -> End {
    End::Passed
}

fn strict_in_ci(end: End) -> Result<End> {
    match end {
        End::Skipped(why) if env::var_os("CI").is_some() => bail!("{why}, and CI may skip nothing"),
        end => Ok(end),
    }
}

fn cargo(ws: &Workspace, args: &[&str]) -> Result<End> {
    shell::run(ws.cargo().args(args)).map(passed)
}

fn with_args<'a>(cargo: &[&'a str], args: &'a [String]) -> Vec<&'a str> {
    let separator = (!args.is_empty()).then_some("--");
    let args = separator.into_iter().chain(args.iter().map(String::as_str));
    cargo.iter().copied().chain(args).collect()
}

fn kernel_program(ws: &Workspace, _: &[String]) -> Result<End> {
    // The step before has said which one; here it is only looked up again.
    build::kernel_object(ws, &setup::kernel(ws)?).map(passed)
}

fn documents(ws: &Workspace, _: &[String]) -> Result<End> {
    let mut cargo = ws.cargo();
    cargo.env("RUSTDOCFLAGS", "--deny warnings");
    shell::run(cargo.args(["doc", "--workspace", "--no-deps"])).map(passed)
}

/// The vectors are not part of the repository.
fn conformance(ws: &Workspace, _: &[String]) -> Result<End> {
    let directory = vectors::default(ws);
    if !directory.is_dir() {
        let directory = directory.display();
        return Ok(End::Skipped(format!("there is no directory {directory}")));
    }
    vectors::command(ws, Some(directory)).map(passed)
}

/// Tests that make namespaces, attach programs and start the daemon that was just built.
fn behaviour(ws: &Workspace, args: &[String]) -> Result<End> {
    let missing = missing_capabilities()?;
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Ok(End::Skipped(format!("needs {missing}: run it as root")));
    }
    let mut cargo = ws.cargo();
    cargo.env("ARFW_BIN", ws.daemon(true));
    let tests = [
        "test",
        "--package",
        "tests",
        "--package",
        "xtask",
        "--test",
        "*",
    ];
    shell::run(cargo.args(with_args(&tests, args))).map(passed)
}

fn missing_capabilities() -> Result<Vec<&'static str>> {
    let needed = [
        ("CAP_BPF", CapabilitySet::BPF),
        ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ];
    let held = rustix::thread::capabilities(None).context("cannot ask for capabilities")?;
    let missing = needed
        .iter()
        .filter(|(_, one)| !held.effective.contains(*one));
    Ok(missing.map(|(name, _)| *name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_test_programs_behind_a_separator() {
        let args = ["bans".to_owned()];
        assert_eq!(with_args(&["test"], &args), ["test", "--", "bans"]);
        assert_eq!(with_args(&["test"], &[]), ["test"]);
    }
}
