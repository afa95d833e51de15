//! `cargo xtask tidy`: checks what the documents promise and a compiler cannot.
//!
//! Files are read here. Every check is a function over their text that returns findings, and is tried on a
//! bad and on a good input by its own tests.

mod architecture;
mod code;
mod conformance;
mod documents;
mod layers;
mod names;
mod paths;
mod purity;
mod words;

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::code::Code;
use crate::shell::say;
use crate::vectors;
use crate::workspace::Workspace;

/// Something to mend, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path below the workspace's root.
    file: String,
    /// From 1.
    line: usize,
    what: String,
    why: &'static str,
    mend: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            what,
            why,
            mend,
        } = self;
        write!(f, "{file}:{line}: {what}; {why}; {mend}")
    }
}

/// A text file of the workspace.
struct Text {
    /// Path below the workspace's root, with `/`.
    path: String,
    text: String,
}

/// A source file, read and taken apart once for all checks.
struct Source {
    path: String,
    text: String,
    code: Code,
}

/// What the checks look at.
struct Tree {
    /// Every `.rs` file.
    sources: Vec<Source>,
    /// Documents, manifests, scripts and configuration.
    texts: Vec<Text>,
    /// Every path below the root, of files and directories.
    paths: Vec<String>,
}

/// Prints every finding; any finding is a failure.
pub(crate) fn command(ws: &Workspace) -> Result<()> {
    let tree = read_tree(&ws.root)?;
    let mut findings = check(&tree);
    findings.extend(check_conformance(&tree, &vectors::shared(ws)));
    findings.sort();
    findings.dedup();
    for finding in &findings {
        say(finding);
    }
    match findings.len() {
        0 => {
            let (sources, texts) = (tree.sources.len(), tree.texts.len());
            say(format_args!(
                "tidy: {sources} source files and {texts} other texts are as promised"
            ));
            Ok(())
        }
        1 => bail!("tidy found one thing to mend"),
        count => bail!("tidy found {count} things to mend"),
    }
}

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &tree.sources {
        findings.extend(words::module_docs(&source.path, &source.text));
        findings.extend(words::unfinished_macros(&source.path, &source.code));
        findings.extend(words::forbidden(&source.path, &source.text));
        findings.extend(purity::unsafe_code(&source.path, &source.code));
    }
    for text in &tree.texts {
        findings.extend(words::forbidden(&text.path, &text.text));
        if text.path.ends_with(".md") {
            findings.extend(documents::links(text, &tree.texts, &tree.paths));
        }
    }
    findings.extend(documents::changelog(text_of(tree, "CHANGELOG.md")));
    findings.extend(check_architecture(tree));
    findings
}

fn check_architecture(tree: &Tree) -> Vec<Finding> {
    let Some(text) = text_of(tree, architecture::FILE) else {
        return vec![architecture::missing()];
    };
    let (rows, mut findings) = architecture::rows(text);
    findings.extend(names::check(text, tree));
    let daemon = |source: &&Source| source.path.starts_with(layers::SOURCES);
    let declared: Vec<String> = tree
        .sources
        .iter()
        .filter(daemon)
        .flat_map(|source| layers::declared_modules(&source.path, &source.code))
        .collect();
    findings.extend(architecture::complete(&rows, &declared));
    for source in tree.sources.iter().filter(daemon) {
        let module = layers::module_of(&source.path);
        if layers::is_test(&module) {
            continue;
        }
        let paths = paths::paths(&source.code);
        findings.extend(layers::may_use(&source.path, &source.code, &paths, &rows));
        findings.extend(purity::clocks(&source.path, &module, &source.code, &paths));
        findings.extend(purity::kernel_abi(
            &source.path,
            &module,
            &source.code,
            &paths,
        ));
        if architecture::is_core(&rows, &module) {
            findings.extend(purity::core(&source.path, &source.code, &paths));
        }
    }
    findings
}

/// `shared` is the directory of what several projects share; what is not there is not compared.
fn check_conformance(tree: &Tree, shared: &Path) -> Vec<Finding> {
    let sources = tree.sources.iter();
    let tests = sources.flat_map(|source| names::tests_of(&source.code.all));
    let shared = conformance::Shared {
        specification: fs::read_to_string(shared.join("spec/active-response.md")).ok(),
        vectors: vectors::names(&shared.join("vectors")),
    };
    conformance::check(text_of(tree, conformance::FILE), &tests.collect(), &shared)
}

fn text_of<'a>(tree: &'a Tree, path: &str) -> Option<&'a str> {
    let found = tree.texts.iter().find(|text| text.path == path);
    found.map(|text| text.text.as_str())
}

/// Reads every text of the workspace, but for what cargo or git keep.
fn read_tree(root: &Path) -> Result<Tree> {
    let mut tree = Tree {
        sources: Vec::new(),
        texts: Vec::new(),
        paths: Vec::new(),
    };
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                if !is_generated(&path) {
                    tree.paths.push(below(root, &path)?);
                    pending.push(path);
                }
            } else {
                tree.paths.push(below(root, &path)?);
                read(root, &path, &mut tree)?;
            }
        }
    }
    tree.sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(tree)
}

fn read(root: &Path, path: &PathBuf, tree: &mut Tree) -> Result<()> {
    const TEXTS: [&str; 6] = ["md", "toml", "sh", "conf", "yml", "service"];
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let is_script = path.parent().and_then(Path::file_name) == Some(OsStr::new(".ci"));
    let is_source = extension == "rs";
    if !is_source && !is_script && !TEXTS.contains(&&*extension) {
        return Ok(());
    }
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    // A fixture may be broken on purpose.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let path = below(root, path)?;
    if is_source {
        let code = Code::new(&text);
        tree.sources.push(Source { path, text, code });
    } else {
        tree.texts.push(Text { path, text });
    }
    Ok(())
}

/// Whether a directory is git's or holds what cargo made, which is marked by its tag.
fn is_generated(dir: &Path) -> bool {
    dir.ends_with(".git") || dir.ends_with("target") || dir.join("CACHEDIR.TAG").exists()
}

fn below(root: &Path, path: &Path) -> Result<String> {
    Ok(path.strip_prefix(root)?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where_what_why_and_how_to_mend_it() {
        let finding = Finding {
            file: "a/b.rs".to_owned(),
            line: 7,
            what: "`x` is odd".to_owned(),
            why: "odd things break",
            mend: "make it even",
        };
        let line = "a/b.rs:7: `x` is odd; odd things break; make it even";
        assert_eq!(finding.to_string(), line);
    }

    #[test]
    fn only_texts_are_read_and_nothing_that_cargo_made() {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("src/a.rs", "//! A.\n"),
            ("README.md", "x"),
            ("picture.png", "\u{0}"),
            ("target/b.rs", "bad"),
            ("elsewhere/CACHEDIR.TAG", ""),
            ("elsewhere/c.rs", "bad"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut tree = read_tree(dir.path()).unwrap();
        tree.paths.sort();
        assert_eq!(tree.paths, ["README.md", "picture.png", "src", "src/a.rs"]);
        let sources: Vec<&str> = tree.sources.iter().map(|s| s.path.as_str()).collect();
        assert_eq!(sources, ["src/a.rs"]);
        assert_eq!(text_of(&tree, "README.md"), Some("x"));
    }
}
