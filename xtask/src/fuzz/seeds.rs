//! Seeds from the samples and vectors that lie beside the project; without these there are only the
//! committed ones.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::workspace::Workspace;

/// Every so many of the samples is one seed: they are much alike.
const EVERY: usize = 10;

/// Writes the seeds of a target into a directory, and says how many there are.
pub(super) fn make(ws: &Workspace, target: &str, into: &Path) -> Result<usize> {
    let mut seeds: Vec<String> = Vec::new();
    for file in files(&beside(ws, "ARFW_VECTORS", "vectors")) {
        let tree: Value = serde_json::from_str(&read(&file)?)
            .with_context(|| format!("`{}` is no JSON", file.display()))?;
        collect(&tree, target, &mut seeds);
    }
    if target == "alert" {
        for file in files(&beside(ws, "ARFW_DATA", "data")) {
            let text = read(&file)?;
            seeds.extend(text.lines().step_by(EVERY).map(str::to_owned));
        }
    }
    seeds.sort();
    seeds.dedup();
    for (index, seed) in seeds.iter().enumerate() {
        fs::write(into.join(format!("{index:05}")), seed)?;
    }
    Ok(seeds.len())
}

/// The configurations or the alerts that stand anywhere in a tree.
fn collect(tree: &Value, target: &str, seeds: &mut Vec<String>) {
    match tree {
        Value::String(text) if target == "config" && text.contains("<ossec_config") => {
            seeds.push(text.clone());
        }
        Value::Object(fields) if target == "alert" && fields.contains_key("rule") => {
            seeds.push(tree.to_string());
        }
        Value::Object(fields) => fields.values().for_each(|it| collect(it, target, seeds)),
        Value::Array(items) => items.iter().for_each(|it| collect(it, target, seeds)),
        _ => {}
    }
}

/// Where the tests look for them too: in the directory that a variable names, else beside the project.
fn beside(ws: &Workspace, variable: &str, name: &str) -> PathBuf {
    let beside = || ws.root.join("../shared").join(name);
    std::env::var_os(variable).map_or_else(beside, PathBuf::from)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect();
    files.sort();
    files
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tree: &str, target: &str, expected: &[&str]) {
        let mut seeds = Vec::new();
        collect(&serde_json::from_str(tree).unwrap(), target, &mut seeds);
        assert_eq!(seeds, expected, "{tree}");
    }

    #[test]
    fn seeds_are_found_wherever_they_stand() {
        let tree = r#"{"cases":[{"config":"<ossec_config/>","alerts":[{"alert":{"rule":{}}}]},{"config":"x"}]}"#;
        check(tree, "config", &["<ossec_config/>"]);
        check(tree, "alert", &[r#"{"rule":{}}"#]);
    }
}
