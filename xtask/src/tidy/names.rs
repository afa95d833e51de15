//! Names in ARCHITECTURE.md that must exist: files, modules, types, functions, tests.
//!
//! A name is what stands alone between backticks. What cannot be a name of ours (commands, absolute paths,
//! patterns) is passed over.

use std::collections::BTreeSet;

use super::architecture::{FILE, backticked};
use super::code::words;
use super::{Finding, Tree};

/// Under this heading a long name is the name of a test.
const INVARIANTS: &str = "invariants";

/// What a name in the document stands for.
#[derive(Debug, PartialEq, Eq)]
enum Name<'a> {
    /// A file or directory below the root.
    Path(&'a str),
    /// Something that Rust code defines: the last segment of a path, or a single name.
    Item(&'a str),
}

/// Names of the document that nothing in the workspace bears.
pub(crate) fn check(text: &str, tree: &Tree) -> Vec<Finding> {
    let tests: BTreeSet<&str> = tree
        .sources
        .iter()
        .flat_map(|s| tests_of(&s.code.all))
        .collect();
    let mut findings = Vec::new();
    let (mut fenced, mut in_invariants) = (false, false);
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(heading) = text.strip_prefix('#') {
            in_invariants = heading.to_lowercase().contains(INVARIANTS);
        }
        fenced ^= text.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        for name in backticked(text) {
            let what = match name_of(name) {
                Some(Name::Path(path)) if !path_exists(path, &tree.paths) => {
                    format!("there is no `{path}`")
                }
                Some(Name::Item(item)) if in_invariants && is_tests_name(item) => {
                    if tests.contains(item) {
                        continue;
                    }
                    format!("there is no test `{item}`")
                }
                Some(Name::Item(item)) if !is_in_code(item, tree) => {
                    format!("nothing in the code is named `{item}`")
                }
                Some(Name::Path(_) | Name::Item(_)) | None => continue,
            };
            findings.push(Finding {
                file: FILE.to_owned(),
                line,
                what,
                why: "a reader will look for it",
                mend: "name what is there",
            });
        }
    }
    findings
}

/// The functions of masked source that are tests.
pub(crate) fn tests_of(code: &str) -> Vec<&str> {
    let mut tests = Vec::new();
    let mut is_test = false;
    for line in code.lines().map(str::trim) {
        is_test |= line.starts_with("#[") && words(line, "test").next().is_some();
        if let Some(at) = words(line, "fn").next() {
            let name = line[at + 2..].trim_start();
            let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
            if is_test {
                tests.push(&name[..end.unwrap_or(name.len())]);
            }
            is_test = false;
        }
    }
    tests
}

fn name_of(text: &str) -> Option<Name<'_>> {
    let is_word = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if text.contains("::") {
        let segments: Vec<&str> = text.split("::").collect();
        let all_words = segments.iter().all(|segment| is_word(segment));
        return segments
            .last()
            .filter(|_| all_words)
            .map(|last| Name::Item(last));
    }
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_-./{},".contains(c);
    let is_file = text.contains('/') || text.ends_with(".rs") || text.ends_with(".md");
    if is_file && text.chars().all(is_path) {
        let is_ours = !text.starts_with(['/', '.']) && !text.starts_with("target/");
        return is_ours.then_some(Name::Path(text));
    }
    let is_type = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.contains(|c: char| c.is_ascii_lowercase());
    let is_snake = text.contains('_') && !text.starts_with('_');
    (is_word(text) && (is_type || is_snake)).then_some(Name::Item(text))
}

fn is_tests_name(item: &str) -> bool {
    item.matches('_').count() >= 3
}

/// Whether every path exists that `path` means; `a/{b,c}.rs` means two.
fn path_exists(path: &str, paths: &[String]) -> bool {
    let exists = |path: &str| {
        paths
            .iter()
            .any(|other| other == path.trim_end_matches('/'))
    };
    let alternatives = path.split_once('{').and_then(|(head, rest)| {
        let (inner, tail) = rest.split_once('}')?;
        Some(
            inner
                .split(',')
                .map(move |part| format!("{head}{part}{tail}")),
        )
    });
    match alternatives {
        Some(mut all) => all.all(|path| exists(&path)),
        None => exists(path),
    }
}

/// Whether code, a manifest or a file's name has the word.
fn is_in_code(item: &str, tree: &Tree) -> bool {
    let in_code = |text: &str| words(text, item).next().is_some();
    let manifests = tree
        .texts
        .iter()
        .filter(|text| text.path.ends_with(".toml"));
    tree.sources.iter().any(|source| in_code(&source.code.all))
        || manifests.into_iter().any(|text| in_code(&text.text))
}

#[cfg(test)]
mod tests {
    use super::super::code::Code;
    use super::super::{Source, Text};
    use super::*;

    fn check_names(text: &str, expected: &[(usize, &str)]) {
        let source = "//! gone_word\npub struct Ledger { next_deadline: u8 }\n\
            #[cfg(test)]\nmod tests {\n#[test]\nfn one_ban_per_key() {}\nfn not_a_test_at_all() {}\n}";
        let tree = Tree {
            sources: vec![Source {
                path: "x/src/ledger.rs".to_owned(),
                text: source.to_owned(),
                code: Code::new(source),
            }],
            texts: vec![Text {
                path: "Cargo.toml".to_owned(),
                text: "lto_kind = 1".to_owned(),
            }],
            paths: ["x", "x/src", "x/src/ledger.rs", "README.md"]
                .map(str::to_owned)
                .to_vec(),
        };
        let found = check(text, &tree);
        let found: Vec<(usize, &str)> = found.iter().map(|f| (f.line, f.what.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn names_that_exist_pass() {
        check_names(
            "`x/src/ledger.rs`, `x/src/`, `README.md`, `Ledger`, `next_deadline`, `lto_kind`",
            &[],
        );
        check_names("`ledger::Ledger`, `x/src/{ledger}.rs`", &[]);
        check_names(
            "# Invariants\n1. One. `ledger::tests::one_ban_per_key`",
            &[],
        );
    }

    #[test]
    fn what_is_no_name_of_ours_is_passed_over() {
        check_names(
            "`cargo xtask test`, `/sys/fs/bpf/arfw`, `ossec.conf`, `target/bpf/x.o`, `Vec<u8>`, `a`",
            &[],
        );
        check_names("```\n`gone/file.rs`\n```", &[]);
    }

    #[test]
    fn names_that_do_not_exist_are_found() {
        check_names("x\n`gone/file.rs`", &[(2, "there is no `gone/file.rs`")]);
        check_names(
            "`x/src/{ledger,gone}.rs`",
            &[(1, "there is no `x/src/{ledger,gone}.rs`")],
        );
        check_names(
            "`ledger::Gone`",
            &[(1, "nothing in the code is named `Gone`")],
        );
        check_names(
            "`gone_word`",
            &[(1, "nothing in the code is named `gone_word`")],
        );
    }

    #[test]
    fn an_invariant_names_a_test_and_not_just_a_function() {
        let expected = [(2, "there is no test `not_a_test_at_all`")];
        check_names(
            "# Invariants\n`not_a_test_at_all`\n# Rest\n`not_a_test_at_all`",
            &expected,
        );
        let expected = [(2, "there is no test `two_bans_per_key`")];
        check_names("# Invariants\n`two_bans_per_key`", &expected);
    }
}
