//! Who uses whom in the daemon's crate, held against the code map.

use super::Finding;
use super::architecture::{Row, row_of};
use super::code::{Code, line_of};
use super::paths::Path;

/// Where the daemon's sources are.
pub(crate) const SOURCES: &str = "ar-userspace/src/";
/// Name of the daemon's library, by which its binary calls it.
const LIBRARY: &str = "arfw";

/// The module path of a source file: `config/raw.rs` is `config`, `raw`; the library's root has none.
///
/// The binary's root counts as a module named `main`.
pub(crate) fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_prefix(SOURCES).unwrap_or(path);
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    let segments = stem.split('/').filter(|segment| *segment != "lib");
    segments.map(str::to_owned).collect()
}

/// Whether a module exists for tests only.
pub(crate) fn is_test(module: &[String]) -> bool {
    module.iter().any(|segment| segment == "tests")
}

/// The modules that a root of the crate declares; the binary's root is one itself.
pub(crate) fn declared_modules(path: &str, code: &Code) -> Vec<String> {
    let is_main = path.ends_with("src/main.rs");
    if !is_main && !path.ends_with("src/lib.rs") {
        return Vec::new();
    }
    let mut words = code.product.split_whitespace().peekable();
    let mut declared: Vec<String> = is_main.then(|| "main".to_owned()).into_iter().collect();
    while let Some(word) = words.next() {
        if word == "mod"
            && let Some(name) = words.peek()
        {
            declared.push(name.trim_end_matches([';', '{']).to_owned());
        }
    }
    declared
}

/// Every use of a module that the code map does not allow to the module of this file.
pub(crate) fn may_use(path: &str, code: &Code, paths: &[Path], rows: &[Row]) -> Vec<Finding> {
    let module = module_of(path);
    let Some(own) = module.first() else {
        return Vec::new();
    };
    let Some(row) = row_of(rows, own) else {
        // That the row is missing has been found already.
        return Vec::new();
    };
    let mut findings = Vec::new();
    for found in paths {
        let finding = |what: String| Finding {
            file: path.to_owned(),
            line: line_of(&code.product, found.at),
            what,
            why: "its row of the code map in ARCHITECTURE.md does not say that it may",
            mend: "move what is shared to where both may reach it, or change the map and say why",
        };
        match target(&module, found) {
            None => {}
            Some(Target::Root) => {
                let path = found.segments.join("::");
                findings.push(finding(format!(
                    "`{own}` names the whole crate by `{path}`"
                )));
            }
            Some(Target::Module(name)) => {
                let allowed = name == own || row.may_use.iter().any(|may| may == name);
                if !allowed {
                    findings.push(finding(format!("`{own}` uses `{name}`")));
                }
            }
        }
    }
    findings
}

/// What a path reaches.
enum Target<'a> {
    /// A module below the crate's root, or another item that stands there.
    Module(&'a str),
    /// The root itself, and through it everything.
    Root,
}

/// What `path` reaches when it leads out of its file; `None` when it stays or goes to another crate.
fn target<'a>(file: &[String], path: &'a Path) -> Option<Target<'a>> {
    let mut segments = path.segments.iter().map(String::as_str).peekable();
    let is_main = file == ["main"];
    match *segments.peek()? {
        "crate" => {
            segments.next();
        }
        LIBRARY if is_main => {
            segments.next();
        }
        "self" | "super" => {
            // The binary's root is the root of its crate.
            let file = if is_main { &[] } else { file };
            let mut depth = file.len() + path.inline.len();
            if segments.peek() == Some(&"self") {
                segments.next();
            }
            while segments.peek() == Some(&"super") {
                segments.next();
                depth = depth.saturating_sub(1);
            }
            if depth > 0 {
                return None;
            }
        }
        _ => return None,
    }
    match segments.next() {
        Some("*") | None => Some(Target::Root),
        Some(module) => Some(Target::Module(module)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{architecture, paths};
    use super::*;

    const MAP: &str = "| module | responsibility | may use |\n| --- | --- | --- |\n\
        | core `time` | . | |\n| core `alert` | . | `time` |\n| shell `daemon` | . | `time`, `alert` |\n\
        | shell `main` | . | `daemon` |\n";

    fn check(file: &str, text: &str, expected: &[(usize, &str)]) {
        let (rows, _) = architecture::rows(MAP);
        let code = Code::new(text);
        let path = format!("{SOURCES}{file}");
        let found = may_use(&path, &code, &paths::paths(&code), &rows);
        let found: Vec<(usize, &str)> = found.iter().map(|f| (f.line, f.what.as_str())).collect();
        assert_eq!(found, expected, "{file}: {text}");
    }

    #[test]
    fn what_the_map_allows_passes() {
        check(
            "alert.rs",
            "use crate::time::Moment;\nuse crate::alert::Alert;",
            &[],
        );
        check(
            "alert/raw.rs",
            "use super::Alert; use super::super::time::Moment;",
            &[],
        );
        check(
            "daemon.rs",
            "use crate::{alert::Alert, time};\nself::go();",
            &[],
        );
        check("main.rs", "use arfw::daemon; daemon::run();", &[]);
        check("lib.rs", "pub mod daemon;", &[]);
        check(
            "alert.rs",
            "mod inner { use super::Alert; } pub(crate) fn f() {}",
            &[],
        );
    }

    #[test]
    fn a_use_that_the_map_does_not_allow_is_found() {
        check(
            "time.rs",
            "\nuse crate::alert::Alert;",
            &[(2, "`time` uses `alert`")],
        );
        check(
            "alert.rs",
            "fn f() { crate::daemon::run() }",
            &[(1, "`alert` uses `daemon`")],
        );
        check(
            "alert.rs",
            "use crate::{time, daemon::{self}};",
            &[(1, "`alert` uses `daemon`")],
        );
        check(
            "main.rs",
            "use arfw::{\ndaemon,\nalert};",
            &[(3, "`main` uses `alert`")],
        );
        check(
            "alert.rs",
            "use crate::VERSION;",
            &[(1, "`alert` uses `VERSION`")],
        );
    }

    #[test]
    fn super_does_not_lead_around_the_map() {
        check(
            "alert.rs",
            "use super::daemon;",
            &[(1, "`alert` uses `daemon`")],
        );
        check(
            "alert/raw.rs",
            "super::super::daemon::run();",
            &[(1, "`alert` uses `daemon`")],
        );
        check(
            "alert.rs",
            "mod inner { use super::super::daemon; }",
            &[(1, "`alert` uses `daemon`")],
        );
        check(
            "alert.rs",
            "use super::*;",
            &[(1, "`alert` names the whole crate by `super::*`")],
        );
        check(
            "alert.rs",
            "use crate as all;",
            &[(1, "`alert` names the whole crate by `crate`")],
        );
        check(
            "alert.rs",
            "use self::super::daemon;",
            &[(1, "`alert` uses `daemon`")],
        );
    }

    #[test]
    fn tests_may_use_anything() {
        check(
            "time.rs",
            "#[cfg(test)] mod tests { use crate::alert::Alert; }",
            &[],
        );
        assert!(is_test(&module_of("ar-userspace/src/alert/tests.rs")));
    }

    #[test]
    fn roots_declare_their_modules() {
        let code = Code::new("pub mod time;\nmod alert;\n#[cfg(test)]\nmod tests;\n// mod no;");
        let lib = declared_modules("ar-userspace/src/lib.rs", &code);
        assert_eq!(lib, ["time", "alert"]);
        let code = Code::new("fn main() {}");
        assert_eq!(
            declared_modules("ar-userspace/src/main.rs", &code),
            ["main"]
        );
        assert!(declared_modules("ar-userspace/src/time.rs", &code).is_empty());
    }
}
