//! Words that must open a file, and words that must stand in none.

use super::Finding;
use super::code::{Code, line_of, words};

/// Marks of unfinished work. Put together here, so that this file does not hold them.
const UNFINISHED: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Macros that say the same.
const UNFINISHED_MACROS: [&str; 3] = [
    concat!("db", "g!"),
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
];

/// Beginnings of paths of one developer's machine.
const LOCAL_PATHS: [&str; 4] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/tmp/", "wt"),
];

/// A source file that does not begin with what it owns.
pub(crate) fn module_docs(file: &str, text: &str) -> Option<Finding> {
    (!text.starts_with("//! ")).then(|| Finding {
        file: file.to_owned(),
        line: 1,
        what: "the file does not open with `//!`".to_owned(),
        why: "a reader must see first what it owns and what it must not do",
        mend: "write that in its first lines",
    })
}

/// Marks of unfinished work and paths of one machine.
pub(crate) fn forbidden(file: &str, text: &str) -> Vec<Finding> {
    let marks = UNFINISHED
        .iter()
        .flat_map(|word| words(text, word).map(move |at| (at, *word)));
    let marks = marks.map(|(at, word)| Finding {
        file: file.to_owned(),
        line: line_of(text, at),
        what: format!("`{word}` stands here"),
        why: "a mark is no plan",
        mend: "do it, or open an issue",
    });
    let places = LOCAL_PATHS.iter().flat_map(|path| places_of(text, path));
    let places = places.map(|(at, path)| Finding {
        file: file.to_owned(),
        line: line_of(text, at),
        what: format!("`{path}` is a path of one machine"),
        why: "nobody else has it",
        mend: "name the place by what it is",
    });
    marks.chain(places).collect()
}

/// Macros that mark unfinished work, in code.
pub(crate) fn unfinished_macros(file: &str, code: &Code) -> Vec<Finding> {
    let uses = UNFINISHED_MACROS.iter().flat_map(|name| {
        let places = code.all.match_indices(name);
        places.map(|(at, name)| (at, name.to_owned()))
    });
    uses.map(|(at, name)| Finding {
        file: file.to_owned(),
        line: line_of(&code.all, at),
        what: format!("`{name}` stands here"),
        why: "it is for the time before a commit",
        mend: "finish what it stands for",
    })
    .collect()
}

/// Where `path` begins a path: nothing that could belong to one stands before it.
fn places_of<'a>(text: &'a str, path: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.match_indices(path).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_.-}/".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(findings: Vec<Finding>) -> Vec<(usize, String)> {
        findings.into_iter().map(|f| (f.line, f.what)).collect()
    }

    #[test]
    fn a_file_opens_with_what_it_owns() {
        assert!(module_docs("a.rs", "//! Owns it.\n\nfn f() {}").is_none());
        for text in [
            "",
            "fn f() {}",
            "// A comment\n//! late",
            "\n//! late",
            "//!\n",
        ] {
            assert!(module_docs("a.rs", text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn marks_of_unfinished_work_are_found_with_their_line() {
        for mark in UNFINISHED {
            let found = whats(forbidden("a.md", &format!("fine\n// {mark}: later")));
            assert_eq!(found, [(2, format!("`{mark}` stands here"))]);
        }
        assert!(forbidden("a.md", "to do: the TODOS of mastodon").is_empty());
    }

    #[test]
    fn macros_for_the_time_before_a_commit_are_found_in_code_only() {
        for name in UNFINISHED_MACROS {
            let found = whats(unfinished_macros(
                "a.rs",
                &Code::new(&format!("fn f() {{\n{name}() }}")),
            ));
            assert_eq!(found, [(2, format!("`{name}` stands here"))]);
            assert!(
                unfinished_macros("a.rs", &Code::new(&format!("// {name}\n\"{name}\""))).is_empty()
            );
        }
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for path in LOCAL_PATHS {
            let found = whats(forbidden("a.md", &format!("see `{path}x`")));
            assert_eq!(found, [(1, format!("`{path}` is a path of one machine"))]);
            assert!(forbidden("a.md", &format!("see `some{path}x`")).is_empty());
        }
        assert!(forbidden("a.md", "see `/var/ossec/etc` and `/tmp`").is_empty());
    }
}
