//! Documents: links that lead somewhere, and a changelog with a place for what is new.

use super::code::line_of;
use super::{Finding, Text};

/// Relative links of one document that lead nowhere: no such file, or no such heading in it.
pub(crate) fn links(document: &Text, texts: &[Text], paths: &[String]) -> Vec<Finding> {
    let prose = prose(&document.text);
    let targets = prose.match_indices("](").filter_map(|(at, open)| {
        let rest = &prose[at + open.len()..];
        Some((at, rest.split([')', ' ']).next()?))
    });
    let broken = targets.filter(|(_, target)| !resolves(document, target, texts, paths));
    broken
        .map(|(at, target)| Finding {
            file: document.path.clone(),
            line: line_of(&document.text, at),
            what: format!("the link `{target}` leads nowhere"),
            why: "a reader follows it",
            mend: "mend the path or the heading's name",
        })
        .collect()
}

/// A changelog that is missing or has no section for what is not released.
pub(crate) fn changelog(text: Option<&str>) -> Option<Finding> {
    let is_unreleased = |line: &str| {
        line.strip_prefix("## ")
            .is_some_and(|name| name.trim_matches(['[', ']', ' ']) == "Unreleased")
    };
    let has_section = text.is_some_and(|text| text.lines().any(is_unreleased));
    (!has_section).then(|| Finding {
        file: "CHANGELOG.md".to_owned(),
        line: 1,
        what: "there is no section `Unreleased`".to_owned(),
        why: "every change that a user notices is told there",
        mend: "add `## Unreleased` above the last release",
    })
}

/// The text with fenced blocks and code spans blanked; every byte keeps its place.
pub(crate) fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut prose = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with("```");
        let mut in_code = fenced || is_fence;
        fenced ^= is_fence;
        for c in line.chars() {
            let is_tick = c == '`' && !fenced && !is_fence;
            in_code ^= is_tick;
            if (in_code || is_tick) && c != '\n' {
                prose.extend(std::iter::repeat_n(' ', c.len_utf8()));
            } else {
                prose.push(c);
            }
        }
    }
    prose
}

fn resolves(document: &Text, target: &str, texts: &[Text], paths: &[String]) -> bool {
    if target.contains("://") || target.starts_with("mailto:") {
        return true;
    }
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        document.path.clone()
    } else {
        let Some(path) = join(&document.path, path) else {
            return false;
        };
        path
    };
    if !path.is_empty() && !paths.contains(&path) {
        return false;
    }
    let text = texts.iter().find(|text| text.path == path);
    heading.is_empty() || text.is_some_and(|text| has_heading(&text.text, heading))
}

/// The place that `relative` means in the document at `from`; `None` when it is outside the workspace.
fn join(from: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn has_heading(text: &str, slug: &str) -> bool {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| slug_of(line.trim_start_matches('#').trim()))
        .any(|heading| heading == slug)
}

/// The anchor that forges make of a heading.
fn slug_of(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| {
        if c == ' ' {
            '-'
        } else {
            c.to_ascii_lowercase()
        }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(usize, &str)]) {
        let document = |path: &str, text: &str| Text {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let texts = [
            document("docs/a.md", text),
            document("README.md", "# Get it, now\n"),
        ];
        let paths = ["docs", "docs/a.md", "README.md", "LICENSE"].map(str::to_owned);
        let found = links(&texts[0], &texts, &paths);
        let found: Vec<(usize, String)> = found.into_iter().map(|f| (f.line, f.what)).collect();
        let expected: Vec<(usize, String)> = expected
            .iter()
            .map(|(line, target)| (*line, format!("the link `{target}` leads nowhere")))
            .collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        check(
            "[a](../README.md) [b](a.md) [c](../LICENSE) [d](../docs/) [e](..)",
            &[],
        );
        check("[a](../README.md#get-it-now)\n# Here\n[b](#here)", &[]);
        check(
            "[a](https://example.org/x) <b> [c](mailto:d@example.org)",
            &[],
        );
        check("`[a](nowhere)`\n```\n[b](nowhere)\n```\n", &[]);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        check("x\n[a](README.md)", &[(2, "README.md")]);
        check("[a](../../README.md)", &[(1, "../../README.md")]);
        check("[a](../README.md#get-it)", &[(1, "../README.md#get-it")]);
        check("[b](#here)", &[(1, "#here")]);
        check("```\n```\n[b](c.md)", &[(3, "c.md")]);
    }

    #[test]
    fn a_changelog_has_a_place_for_what_is_new() {
        assert!(changelog(Some("# Changelog\n\n## Unreleased\n")).is_none());
        assert!(changelog(Some("# Changelog\n\n## [Unreleased]\n")).is_none());
        assert!(changelog(Some("# Changelog\n\nUnreleased\n## 1.0.0\n")).is_some());
        assert!(changelog(None).is_some());
    }
}
