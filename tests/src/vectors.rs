//! The conformance vectors: every case of every file, through the code that `arfw` runs on.
//!
//! What is done with a case depends on its `kind` alone. A file that cannot be read, a schema or a kind that
//! is not known, and a case that panics are failures with a name, never something to pass over.

mod case;
mod changes;
mod reading;

use std::any::Any;
use std::fmt;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use case::{Case, Kind};

const SCHEMA: &str = "ar-vectors/1";

/// What came of a directory.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases that passed.
    pub passed: usize,
    /// What did not, in the order of files and cases.
    pub failures: Vec<Failure>,
}

/// A case or a file that does not hold.
#[derive(Debug)]
pub struct Failure {
    /// The case's name, else that of the file.
    pub name: String,
    /// What the case shows; empty for a file.
    pub requirement: String,
    /// What was expected and what came.
    pub why: String,
}

impl Report {
    /// Whether there was a case and every one passed.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.passed > 0 && self.failures.is_empty()
    }

    fn file_failed(&mut self, file: &Path, why: &anyhow::Error) {
        self.failures.push(Failure {
            name: file.display().to_string(),
            requirement: String::new(),
            why: format!("{why:#}"),
        });
    }
}

impl fmt::Display for Report {
    /// A line for each failure, then the closing line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for failure in &self.failures {
            writeln!(f, "{failure}")?;
        }
        let (passed, failed) = (self.passed, self.failures.len());
        writeln!(f, "{passed} passed, {failed} failed")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requirement = match self.requirement.as_str() {
            "" => String::new(),
            requirement => format!(" [{requirement}]"),
        };
        let why = self.why.escape_debug().to_string();
        // Quotes stand in nearly every answer and harm nobody.
        let why = why.replace("\\\"", "\"").replace("\\'", "'");
        write!(f, "FAILED {}{requirement}: {why}", self.name)
    }
}

/// Runs every case of every `*.json` file of a directory, in the order of the files' names.
#[must_use]
pub fn run(directory: &Path) -> Report {
    let mut report = Report::default();
    let files = match files(directory) {
        Ok(files) => files,
        Err(error) => {
            report.file_failed(directory, &error);
            return report;
        }
    };
    if files.is_empty() {
        report.file_failed(directory, &anyhow::anyhow!("no file there ends in .json"));
    }
    let mut seen = std::collections::BTreeSet::new();
    for file in files {
        match cases(&file) {
            Ok(cases) => {
                for (index, value) in cases.into_iter().enumerate() {
                    let name = value["name"].as_str().map_or_else(
                        || format!("{}, case {index}", file.display()),
                        str::to_owned,
                    );
                    let result = if seen.insert(name.clone()) {
                        judge(&value)
                    } else {
                        Err(anyhow::anyhow!("another case has this name"))
                    };
                    match result {
                        Ok(()) => report.passed += 1,
                        Err(why) => report.failures.push(Failure {
                            name,
                            requirement: value["requirement"].as_str().unwrap_or("").to_owned(),
                            why: format!("{why:#}"),
                        }),
                    }
                }
            }
            Err(error) => report.file_failed(&file, &error),
        }
    }
    report
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context("cannot list it")? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn cases(file: &Path) -> Result<Vec<Value>> {
    let bytes = fs::read(file).context("cannot read it")?;
    let mut tree: Value = serde_json::from_slice(&bytes).context("no JSON")?;
    ensure!(
        tree["schema"] == SCHEMA,
        "schema: expected \"{SCHEMA}\", found {}",
        tree["schema"]
    );
    match tree["cases"].take() {
        Value::Array(cases) => Ok(cases),
        other => bail!("cases: expected an array, found {other}"),
    }
}

/// Runs one case. The bugs of one must not hide the others, so a panic is its failure.
fn judge(value: &Value) -> Result<()> {
    panic::catch_unwind(AssertUnwindSafe(|| {
        let case = Case::read(value)?;
        match case.kind {
            Kind::Config => reading::judge(&case),
            Kind::Match => changes::fires(&case),
            Kind::Route => changes::routes(&case),
            Kind::Timeline => changes::timeline(&case),
        }
    }))
    .unwrap_or_else(|panic| bail!("panicked: {}", message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// Fails with both sides when they differ.
fn same<T: PartialEq + fmt::Debug>(expected: &T, came: &T) -> Result<()> {
    ensure!(expected == came, "expected {expected:?}, came {came:?}");
    Ok(())
}
