//! docs/conformance.md: every requirement once and in order, each with a test that exists or a gap.
//!
//! The specification is not part of the repository: its numbers stand here, and are compared with its text
//! where that is at hand.

use std::collections::BTreeSet;

use super::Finding;
use super::architecture::backticked;

/// The document.
pub(crate) const FILE: &str = "docs/conformance.md";

/// A gap begins with this.
const GAP: &str = "not yet: ";

/// A name of a case of the vectors begins with this.
const VECTOR: &str = "vector:";

/// The families of requirements, in order, and how many each has.
const FAMILIES: [(&str, usize); 12] = [
    ("CFG", 19),
    ("CMD", 4),
    ("WL", 7),
    ("ALERT", 5),
    ("MATCH", 9),
    ("OFF", 5),
    ("ROUTE", 6),
    ("TIME", 9),
    ("WIRE", 3),
    ("LOG", 1),
    ("FW", 1),
    ("IMP", 10),
];

/// What stands outside of the repository; `None` where it is not at hand.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Text of the specification.
    pub(crate) specification: Option<String>,
    /// Names of the cases of the vectors.
    pub(crate) vectors: Option<BTreeSet<String>>,
}

/// What is wrong with the document, given the names of all tests.
pub(crate) fn check(text: Option<&str>, tests: &BTreeSet<&str>, shared: &Shared) -> Vec<Finding> {
    let Some(text) = text else {
        let why = "nobody sees what of the specification is shown";
        return vec![finding(1, "there is no such document".to_owned(), why)];
    };
    let rows: Vec<(usize, &str, &str)> = (1..).zip(text.lines()).filter_map(row).collect();
    let mut findings: Vec<Finding> = numbers(&rows).into_iter().collect();
    for &(line, number, cell) in &rows {
        findings.extend(names(line, number, cell, tests, shared));
    }
    if let Some(specification) = &shared.specification {
        findings.extend(against(specification));
    }
    findings
}

fn row((line, text): (usize, &str)) -> Option<(usize, &str, &str)> {
    let (number, cell) = text
        .strip_prefix("| ")?
        .strip_suffix(" |")?
        .split_once(" | ")?;
    number.starts_with("AR-").then_some((line, number, cell))
}

fn known() -> impl Iterator<Item = String> {
    let family = |(family, count)| (1..=count).map(move |number| format!("AR-{family}-{number}"));
    FAMILIES.into_iter().flat_map(family)
}

/// The column of numbers beside the list: the first one that is not the next is told.
fn numbers(rows: &[(usize, &str, &str)]) -> Option<Finding> {
    let why = "every requirement stands there once and in order";
    let mut rows = rows.iter();
    for wanted in known() {
        match rows.next() {
            Some((_, number, _)) if *number == wanted => {}
            Some((line, number, _)) => {
                let what = format!("expected {wanted}, found {number}");
                return Some(finding(*line, what, why));
            }
            None => return Some(finding(1, format!("{wanted} is missing"), why)),
        }
    }
    let (line, number, _) = rows.next()?;
    Some(finding(*line, format!("{number} is one too many"), why))
}

fn names(
    line: usize,
    number: &str,
    cell: &str,
    tests: &BTreeSet<&str>,
    shared: &Shared,
) -> Vec<Finding> {
    let (shown, gap) = match cell.split_once(GAP) {
        Some((shown, gap)) => (shown, Some(gap)),
        None => (cell, None),
    };
    let names = backticked(shown);
    if names.is_empty() && gap.is_none_or(|gap| gap.trim().is_empty()) {
        let what = format!("{number} has neither a test nor a gap");
        return vec![finding(line, what, "a reader takes it for shown")];
    }
    let is_missing = |name: &&str| match name.strip_prefix(VECTOR) {
        Some(case) => {
            let vectors = shared.vectors.as_ref();
            vectors.is_some_and(|vectors| !vectors.contains(case))
        }
        None => !tests.contains(name),
    };
    let missing = names.into_iter().filter(is_missing);
    missing
        .map(|name| {
            finding(
                line,
                format!("there is no test `{name}`"),
                "a reader will look for it",
            )
        })
        .collect()
}

/// The numbers that the specification has in bold, beside the list.
fn against(specification: &str) -> Option<Finding> {
    let bold = specification.split("**").skip(1).step_by(2);
    let numbers: Vec<&str> = bold
        .filter_map(|text| text.split_whitespace().next())
        .filter(|word| word.starts_with("AR-"))
        .collect();
    let known: Vec<String> = known().collect();
    if numbers == known {
        return None;
    }
    let differs = numbers
        .iter()
        .find(|it| !known.iter().any(|known| known == *it));
    let missing = known.iter().find(|it| !numbers.contains(&it.as_str()));
    let which = differs.copied().or(missing.map(String::as_str));
    let what = format!(
        "the specification has other requirements: {}",
        which.unwrap_or("in another order")
    );
    Some(finding(
        1,
        what,
        "the list of this check is the specification's",
    ))
}

fn finding(line: usize, what: String, why: &'static str) -> Finding {
    Finding {
        file: FILE.to_owned(),
        line,
        what,
        why,
        mend: "mend the table, or the list in xtask/src/tidy/conformance.rs",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A document in which every number has the cell that `cell` gives it.
    fn document(cell: impl Fn(&str) -> Option<&'static str>) -> String {
        let rows = known().filter_map(|number| {
            let cell = cell(&number)?;
            Some(format!("| {number} | {cell} |\n"))
        });
        let head = "| requirement | shown by |\n| --- | --- |\n";
        head.chars()
            .chain(rows.collect::<String>().chars())
            .collect()
    }

    fn check_document(text: &str, specification: Option<&str>, expected: &[(usize, &str)]) {
        let shared = Shared {
            specification: specification.map(str::to_owned),
            vectors: Some(BTreeSet::from(["a-case".to_owned()])),
        };
        let found = check(Some(text), &BTreeSet::from(["it_is_shown"]), &shared);
        let found: Vec<(usize, &str)> = found.iter().map(|f| (f.line, f.what.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_complete_table_of_names_that_exist_passes() {
        let text = document(|number| match number {
            "AR-CFG-1" => Some("`it_is_shown`, `vector:a-case`"),
            "AR-CFG-2" => Some("`it_is_shown`; not yet: `other` things"),
            _ => Some("not yet: it is not built"),
        });
        check_document(&text, None, &[]);
    }

    #[test]
    fn numbers_that_are_missing_repeated_or_out_of_order_are_found() {
        let gap = Some("not yet: x");
        let without = |gone: &'static str| document(move |it| gap.filter(|_| it != gone));
        check_document(
            &without("AR-CFG-2"),
            None,
            &[(4, "expected AR-CFG-2, found AR-CFG-3")],
        );
        check_document(&without("AR-IMP-10"), None, &[(1, "AR-IMP-10 is missing")]);
        let twice = document(|_| gap) + "| AR-IMP-10 | not yet: x |\n";
        check_document(&twice, None, &[(82, "AR-IMP-10 is one too many")]);
    }

    #[test]
    fn names_that_do_not_exist_and_empty_cells_are_found() {
        let text = document(|number| match number {
            "AR-CFG-1" => Some("`it_is_gone`"),
            "AR-CFG-2" => Some("`vector:gone`"),
            "AR-CFG-3" => Some("in words"),
            "AR-CFG-4" => Some("not yet: "),
            _ => Some("`it_is_shown`"),
        });
        let expected = [
            (3, "there is no test `it_is_gone`"),
            (4, "there is no test `vector:gone`"),
            (5, "AR-CFG-3 has neither a test nor a gap"),
            (6, "AR-CFG-4 has neither a test nor a gap"),
        ];
        check_document(&text, None, &expected);
        let shared = Shared::default();
        let one = check(
            Some(&text),
            &BTreeSet::from(["it_is_shown", "it_is_gone"]),
            &shared,
        );
        assert_eq!(
            one.len(),
            2,
            "without the vectors, their names are not looked for"
        );
    }

    #[test]
    fn a_specification_with_other_numbers_is_found() {
        let text = document(|_| Some("`it_is_shown`"));
        let specification: String = known()
            .map(|number| format!("**{number} [better]** text **bold**\n"))
            .collect();
        check_document(&text, Some(&specification), &[]);
        let more = format!("{specification}**AR-IMP-11** more");
        let expected = "the specification has other requirements: AR-IMP-11";
        check_document(&text, Some(&more), &[(1, expected)]);
        let less = specification.replace("**AR-WL-3 ", "**");
        let expected = "the specification has other requirements: AR-WL-3";
        check_document(&text, Some(&less), &[(1, expected)]);
    }

    #[test]
    fn a_missing_document_is_found() {
        assert_eq!(check(None, &BTreeSet::new(), &Shared::default()).len(), 1);
    }
}
