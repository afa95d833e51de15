//! `cargo xtask fuzz`: feeds the readers with what libFuzzer makes up, from seeds and from what it found before.
//!
//! What must hold is in `fuzz/src`. The stable compiler is enough: it can instrument code for libFuzzer by
//! itself, and there is no unsafe code for a sanitizer to watch.

mod seeds;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell::{self, say};
use crate::workspace::Workspace;

/// The binaries of `fuzz`, each with the longest input that makes sense, in bytes.
const TARGETS: [(&str, u32); 3] = [("config", 8192), ("alert", 8192), ("reply", 8192)];

/// How the compiler instruments code for libFuzzer: counters and comparisons.
const RUSTFLAGS: [&str; 7] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Runs one target or all, each for so many seconds; a find is kept and ends the command.
pub(crate) fn command(ws: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    let wanted: Vec<_> = TARGETS
        .into_iter()
        .filter(|(name, _)| target.is_none_or(|target| target == *name))
        .collect();
    if wanted.is_empty() {
        let names = TARGETS.map(|(name, _)| name).join(", ");
        bail!("there is no such target; there are {names}");
    }
    let built = build(ws, &wanted)?;
    for (name, longest) in wanted {
        run(ws, &built.join(name), name, longest, seconds)?;
    }
    Ok(())
}

/// Where the corpus of a target and its finds are, below the directory of all builds.
fn directory(ws: &Workspace, what: &str, target: &str) -> Result<PathBuf> {
    let directory = ws.target.join("fuzz").join(what).join(target);
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make `{}`", directory.display()))?;
    Ok(directory)
}

/// Builds the binaries in a directory of their own, and gives it.
fn build(ws: &Workspace, targets: &[(&str, u32)]) -> Result<PathBuf> {
    let rustc = shell::look_up(Command::new("rustc").arg("-vV"))?;
    let host = rustc
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not say for which machine it builds")?;
    let target = ws.target.join("fuzz");
    let mut cargo = ws.cargo();
    // With a target named, flags reach neither build scripts nor macros, which are not to be instrumented.
    cargo
        .env("RUSTFLAGS", RUSTFLAGS.join(" "))
        .args(["build", "--package", "fuzz", "--features", "libfuzzer"])
        .args(["--profile", "fuzz", "--target", host, "--target-dir"])
        .arg(&target);
    for (name, _) in targets {
        cargo.args(["--bin", name]);
    }
    shell::run(&mut cargo)?;
    Ok(target.join(host).join("fuzz"))
}

fn run(ws: &Workspace, program: &PathBuf, name: &str, longest: u32, seconds: u32) -> Result<()> {
    let corpus = directory(ws, "corpus", name)?;
    let seeds = directory(ws, "seeds", name)?;
    let finds = directory(ws, "finds", name)?;
    let made = seeds::make(ws, name, &seeds)?;
    say(format_args!("{name}: {made} seeds"));
    let mut fuzzer = Command::new(program);
    fuzzer
        .args([&corpus, &seeds])
        .arg(ws.root.join("fuzz/seeds").join(name))
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={longest}"))
        .arg(format!("-artifact_prefix={}/", finds.display()))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    shell::run(&mut fuzzer).with_context(|| {
        format!(
            "{name}: what fell is in `{}`; mend it, and keep the input in `fuzz/seeds/{name}`",
            finds.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_binary_and_seeds() {
        let ws = Workspace::find().unwrap();
        let bins = fs::read_dir(ws.root.join("fuzz/bin")).unwrap();
        assert_eq!(bins.count(), TARGETS.len());
        for (name, _) in TARGETS {
            assert!(
                ws.root.join(format!("fuzz/bin/{name}.rs")).exists(),
                "{name}"
            );
            let seeds = fs::read_dir(ws.root.join("fuzz/seeds").join(name)).unwrap();
            assert!(seeds.count() > 0, "{name}");
        }
    }
}
