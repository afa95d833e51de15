//! A document's fenced blocks: which commands stand there, what they are said to print, and who runs them.
//!
//! A block of commands is fenced as `console`; words behind that say how it is run:
//!
//! | words | meaning |
//! | --- | --- |
//! | none | run here, one command after the other; each prints what follows it, and ends with 0 |
//! | `until` | run again until it prints that: it only looks, and what it looks for is on its way |
//! | `stays` | goes on while the next blocks run, as in another terminal; it prints that before they do |
//! | `status=N` | the last command ends with N |
//! | `package` | run by `packaging/debian/try.sh`, in the root of a fresh Debian |
//! | `elsewhere: REASON` | not run here, for this reason |
//!
//! A block in an HTML comment is read as well: it sets a scene without being shown. A block of another language
//! with `file=NAME` is written to that file.

use anyhow::{Context as _, Result, bail, ensure};

/// What is to be done for one block.
#[derive(Debug)]
pub(super) struct Block {
    /// The line in which it begins, from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Commands, and the exit status of the last one.
    Run(Vec<Step>, i32),
    Until(Vec<Step>),
    Stays(Step),
    Package(Vec<Step>),
    Elsewhere,
    /// A file's name and its text.
    File(String, String),
}

/// A command and the lines that follow it.
#[derive(Debug)]
pub(super) struct Step {
    /// The line in which it stands, from 1.
    pub(super) line: usize,
    pub(super) command: String,
    pub(super) shown: Vec<String>,
}

/// Languages of blocks that hold no commands.
const OTHERS: [&str; 7] = ["text", "xml", "json", "toml", "yaml", "ini", "sh"];

/// The blocks of `text` that something is to be done for, in their order.
///
/// # Errors
///
/// With the line: a block without a language or with one that is not known, a word that is not known, a command in a block that is not
/// `console`, an output without a command, a block that does not end.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let mut body = Vec::new();
        loop {
            let (number, line) = lines
                .next()
                .with_context(|| format!("line {}: the block does not end", at + 1))?;
            if line.trim() == "```" {
                break;
            }
            let line = line.get(indent..).unwrap_or(line.trim_start());
            body.push((number + 1, line));
        }
        let kind = kind(info, &body).with_context(|| format!("line {}", at + 1))?;
        found.extend(kind.map(|kind| Block { line: at + 1, kind }));
    }
    Ok(found)
}

fn kind(info: &str, body: &[(usize, &str)]) -> Result<Option<Kind>> {
    let (language, words) = info.split_once(' ').unwrap_or((info, ""));
    if language != "console" {
        ensure!(
            OTHERS.contains(&language),
            "expected a block of `console` or of {OTHERS:?}, found `{language}`"
        );
        let prompt = body.iter().find(|(_, line)| line.starts_with("$ "));
        ensure!(
            prompt.is_none(),
            "a command in a block of `{language}`, which nobody runs: {prompt:?}"
        );
        let Some(name) = words.strip_prefix("file=") else {
            ensure!(
                words.is_empty() && language != "sh",
                "expected `file=NAME` behind `{language}`, found `{words}`"
            );
            return Ok(None);
        };
        let text = body.iter().map(|(_, line)| format!("{line}\n"));
        return Ok(Some(Kind::File(name.to_owned(), text.collect())));
    }
    let steps = steps(body)?;
    Ok(Some(match words {
        "" => Kind::Run(steps, 0),
        "until" => Kind::Until(steps),
        "package" => Kind::Package(steps),
        "stays" => {
            let [step] = <[Step; 1]>::try_from(steps).map_err(|steps| {
                anyhow::anyhow!("{} commands, of which one may stay", steps.len())
            })?;
            Kind::Stays(step)
        }
        _ => {
            if let Some(reason) = words.strip_prefix("elsewhere: ") {
                ensure!(!reason.trim().is_empty(), "no reason");
                Kind::Elsewhere
            } else if let Some(status) = words.strip_prefix("status=") {
                Kind::Run(steps, status.parse().context("status")?)
            } else {
                bail!("no way to run a block is called `{words}`")
            }
        }
    }))
}

/// A command begins with a prompt, and goes on in the next line behind a `|` or `\`.
fn steps(body: &[(usize, &str)]) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for (number, line) in body {
        let prompt = line.strip_prefix("# ").or_else(|| line.strip_prefix("$ "));
        match (prompt, steps.last_mut()) {
            (_, Some(step)) if goes_on => {
                step.command.push('\n');
                step.command.push_str(line);
            }
            (Some(command), _) => steps.push(Step {
                line: *number,
                command: command.to_owned(),
                shown: Vec::new(),
            }),
            (None, Some(step)) => step.shown.push((*line).to_owned()),
            (None, None) => bail!("line {number}: an output without a command"),
        }
        let in_command = goes_on || prompt.is_some();
        goes_on = in_command && (line.ends_with('|') || line.ends_with('\\'));
    }
    ensure!(!steps.is_empty(), "a block of `console` without a command");
    Ok(steps)
}

#[test]
fn a_block_that_nobody_would_run_is_an_error() {
    for (text, why) in [
        ("```\n# ls\n```\n", "expected a block"),
        ("```sh\nls\n```\n", "expected `file=NAME`"),
        ("```text\n$ ls\n```\n", "which nobody runs"),
        ("```console\nls\n```\n", "without a command"),
        ("```console later\n# ls\n```\n", "no way to run"),
        ("```console elsewhere: \n# ls\n```\n", "no reason"),
        ("```console\n# ls\n", "does not end"),
    ] {
        let told = blocks(text).map_err(|error| format!("{error:#}"));
        let told = told.expect_err(text);
        assert!(told.contains(why), "{text}: {told}");
    }
}

#[test]
fn commands_go_on_behind_a_pipe_and_outputs_follow_them() {
    let text = "```console\n# ls |\n    cat\na\n# true\n```\n```xml file=a.conf\n<a/>\n```\n";
    let found = blocks(text).expect("two blocks");
    let [first, second] = &found[..] else {
        panic!("{found:?}")
    };
    let Kind::Run(steps, 0) = &first.kind else {
        panic!("{first:?}")
    };
    assert_eq!(steps[0].command, "ls |\n    cat");
    assert_eq!(steps[0].shown, ["a"]);
    assert_eq!((steps[1].line, &*steps[1].command), (5, "true"));
    assert!(matches!(&second.kind, Kind::File(name, text) if name == "a.conf" && text == "<a/>\n"));
}
