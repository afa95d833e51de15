//! `cargo xtask vectors`: the conformance vectors, run by the `vectors` program of the `tests` package.
//!
//! Here is only where they are looked for. What a case means is the runner's to know.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::shell;
use crate::workspace::Workspace;

/// The directory that holds the shared files, when they do not stand beside the workspace.
const SHARED: &str = "ARFW_SHARED";

/// Builds the runner and hands it `directory`, or the one where the vectors are expected.
pub(crate) fn command(ws: &Workspace, directory: Option<PathBuf>) -> Result<()> {
    let directory = match directory {
        // Cargo starts the runner at the workspace's root.
        Some(directory) => env::current_dir()?.join(directory),
        None => default(ws),
    };
    if !directory.is_dir() {
        bail!(
            "there is no directory {}: name the one with the vectors, or set {SHARED}",
            directory.display()
        );
    }
    let mut cargo = ws.cargo();
    cargo.args(["run", "--quiet", "--package", "tests", "--bin", "vectors"]);
    shell::run(cargo.arg("--").arg(directory))
}

/// Where the vectors are expected: `vectors` below ARFW_SHARED, else below `shared` beside the workspace.
pub(crate) fn default(ws: &Workspace) -> PathBuf {
    shared(ws).join("vectors")
}

/// Where the files are that several projects share.
pub(crate) fn shared(ws: &Workspace) -> PathBuf {
    beside(&ws.root, env::var_os(SHARED).map(PathBuf::from))
}

/// Names of all cases of a directory; `None` when it or one of its files cannot be read.
pub(crate) fn names(directory: &Path) -> Option<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).ok()? {
        let path = entry.ok()?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let file: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
            let cases = file["cases"].as_array()?.iter();
            names.extend(cases.filter_map(|case| Some(case["name"].as_str()?.to_owned())));
        }
    }
    Some(names)
}

fn beside(root: &Path, named: Option<PathBuf>) -> PathBuf {
    let named = named.filter(|path| !path.as_os_str().is_empty());
    named.unwrap_or_else(|| root.with_file_name("shared"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_files_stand_beside_the_workspace_unless_told_otherwise() {
        let root = Path::new("/src/arfw");
        assert_eq!(beside(root, None), Path::new("/src/shared"));
        assert_eq!(beside(root, Some("".into())), Path::new("/src/shared"));
        assert_eq!(beside(root, Some("/mnt/x".into())), Path::new("/mnt/x"));
    }
}
