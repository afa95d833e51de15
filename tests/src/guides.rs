//! The commands of the documents, run as they stand there, and what they print compared with what is shown.

mod compare;
mod document;
mod sandbox;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use compare::is_as_shown;
use document::{Block, Kind, Step, blocks};
use sandbox::Sandbox;

#[test]
fn the_first_ten_minutes_are_as_they_are_told() -> Result<()> {
    check("docs/guides/first-ten-minutes.md")
}

#[test]
fn the_way_from_wazuh_4_is_as_it_is_told() -> Result<()> {
    check("docs/guides/from-wazuh-4-and-ossec.md")
}

#[test]
fn the_way_to_wazuh_5_is_as_it_is_told() -> Result<()> {
    check("docs/guides/to-wazuh-5.md")
}

#[test]
fn what_is_wrong_shows_as_it_is_told() -> Result<()> {
    check("docs/guides/when-something-is-wrong.md")
}

#[test]
fn the_other_documents_are_as_they_are_told() -> Result<()> {
    for document in documents()? {
        if !document.starts_with("docs/guides/") {
            check(&document)?;
        }
    }
    Ok(())
}

/// Each guide is run by a test of its own, so that they run side by side; here none is forgotten.
#[test]
fn every_guide_is_run() -> Result<()> {
    let source = include_str!("guides.rs");
    for document in documents()? {
        let is_run = source.contains(&format!("check(\"{document}\")"));
        ensure!(
            is_run || !document.starts_with("docs/guides/"),
            "no test runs {document}"
        );
    }
    Ok(())
}

/// What operators read, by its path in the workspace.
fn documents() -> Result<Vec<String>> {
    let mut found = vec!["README.md".to_owned()];
    for directory in ["docs", "docs/guides"] {
        for entry in workspace().join(directory).read_dir()? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let is_text = Path::new(&name).extension() == Some("md".as_ref());
            found.extend(is_text.then(|| format!("{directory}/{name}")));
        }
    }
    Ok(found)
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs what is to be run of a document; with `--nocapture` it prints what came of it.
fn check(document: &str) -> Result<()> {
    let path = workspace().join(document);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let blocks = blocks(&text).with_context(|| document.to_owned())?;
    let is_run = |block: &Block| !matches!(block.kind, Kind::Package(_) | Kind::Elsewhere);
    let mut sandbox = match blocks.iter().any(is_run) {
        true => Some(Sandbox::new()?),
        false => None,
    };
    for block in &blocks {
        let done = match (&block.kind, &mut sandbox) {
            (Kind::Package(steps), _) => steps.iter().try_for_each(is_in_trial),
            (_, Some(sandbox)) => perform(&block.kind, sandbox),
            (_, None) => Ok(()),
        };
        done.with_context(|| format!("{document}:{}", block.line))?;
    }
    if let Some(sandbox) = &mut sandbox {
        let gone = sandbox.wait(|sandbox| {
            let (status, _) = sandbox.run("pgrep --exact arfw")?;
            Ok((status == 1).then_some(()))
        })?;
        ensure!(gone.is_some(), "{document} leaves a daemon behind");
    }
    Ok(())
}

fn perform(kind: &Kind, sandbox: &mut Sandbox) -> Result<()> {
    match kind {
        Kind::Run(steps, last) => {
            let (end, before) = steps.split_last().context("a command")?;
            before.iter().try_for_each(|step| run(step, 0, sandbox))?;
            run(end, *last, sandbox)
        }
        Kind::Until(steps) => steps.iter().try_for_each(|step| {
            let mut last = String::new();
            let found = sandbox.wait(|sandbox| {
                last = sandbox.run(&step.command)?.1;
                Ok(is_as_shown(&step.shown, &last).then_some(()))
            })?;
            judge(step, found.is_some(), &last)
        }),
        Kind::Stays(step) => {
            let name = sandbox.start(&step.command)?;
            let found = sandbox.wait(|sandbox| {
                Ok(is_as_shown(&step.shown, &sandbox.read(&name)?).then_some(()))
            })?;
            judge(step, found.is_some(), &sandbox.read(&name)?)
        }
        Kind::File(name, text) => sandbox.write(name, text),
        Kind::Package(_) | Kind::Elsewhere => Ok(()),
    }
}

fn run(step: &Step, expected: i32, sandbox: &mut Sandbox) -> Result<()> {
    let (status, output) = sandbox
        .run(&step.command)
        .with_context(|| step.command.clone())?;
    judge(step, is_as_shown(&step.shown, &output), &output)?;
    ensure!(
        status == expected,
        "line {}: `{}` ended with {status} and not with {expected}:\n{output}",
        step.line,
        step.command
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a test's output is shown on demand")]
fn judge(step: &Step, is_so: bool, output: &str) -> Result<()> {
    let Step {
        line,
        command,
        shown,
    } = step;
    println!("# {command}\n{output}");
    if !is_so {
        let shown = shown.join("\n");
        bail!("line {line}: `{command}` printed\n{output}\nand is said to print\n{shown}");
    }
    Ok(())
}

/// What `cargo xtask package --try` runs has this command in it.
fn is_in_trial(step: &Step) -> Result<()> {
    let trial = fs::read_to_string(workspace().join("packaging/debian/try.sh"))?;
    let wanted = format!("run {}", step.command);
    ensure!(
        trial.lines().any(|line| line == wanted),
        "line {}: packaging/debian/try.sh has no line `{wanted}`",
        step.line
    );
    Ok(())
}
