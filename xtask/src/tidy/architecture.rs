//! The code map of ARCHITECTURE.md: which modules there are, and which others each may use.
//!
//! The table's rows stand in the order in which data flows, and a row names only rows above it: so nothing
//! calls backwards.

use super::Finding;

/// The document that holds the table.
pub(crate) const FILE: &str = "ARCHITECTURE.md";

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Whether the module is of the core, which is pure.
    pub(crate) core: bool,
    /// The module's name.
    pub(crate) module: String,
    /// The modules that it may use.
    pub(crate) may_use: Vec<String>,
    /// The row's line.
    pub(crate) line: usize,
}

/// The rows of the table whose header is `module | responsibility | may use`, and what is wrong with them.
pub(crate) fn rows(text: &str) -> (Vec<Row>, Vec<Finding>) {
    let mut rows: Vec<Row> = Vec::new();
    let mut findings = Vec::new();
    let lines = (1..).zip(text.lines());
    let table = lines
        .skip_while(|(_, line)| !is_header(line))
        .skip(2)
        .take_while(|(_, line)| line.trim_start().starts_with('|'));
    for (line, text) in table {
        let Some(row) = row(line, text) else {
            findings.push(finding(
                line,
                "the row is not `core|shell MODULE | ... | may use`",
            ));
            continue;
        };
        let is_above = |name: &String| rows.iter().any(|other| other.module == *name);
        for name in row.may_use.iter().filter(|name| !is_above(name)) {
            let what = format!(
                "`{}` may use `{name}`, which is no row above it",
                row.module
            );
            findings.push(finding(line, &what));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        findings.push(finding(
            1,
            "there is no table `module | responsibility | may use`",
        ));
    }
    (rows, findings)
}

/// That the document is not there.
pub(crate) fn missing() -> Finding {
    finding(1, "the document is missing")
}

/// Compares the rows with the modules that the daemon's crate declares.
pub(crate) fn complete(rows: &[Row], declared: &[String]) -> Vec<Finding> {
    let without_row = declared
        .iter()
        .filter(|module| row_of(rows, module).is_none());
    let without_row =
        without_row.map(|module| finding(1, &format!("module `{module}` has no row")));
    let without_module = rows.iter().filter(|row| !declared.contains(&row.module));
    let without_module = without_module
        .map(|row| finding(row.line, &format!("there is no module `{}`", row.module)));
    without_row.chain(without_module).collect()
}

/// The row of a module.
pub(crate) fn row_of<'a>(rows: &'a [Row], module: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.module == module)
}

/// Whether a module path lies in the core.
pub(crate) fn is_core(rows: &[Row], module: &[String]) -> bool {
    let first = module.first().and_then(|first| row_of(rows, first));
    first.is_some_and(|row| row.core)
}

/// What stands between single backticks on a line.
pub(crate) fn backticked(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

fn is_header(line: &str) -> bool {
    let cells = cells(line);
    let names = ["module", "responsibility", "may use"];
    cells.len() == names.len()
        && cells
            .iter()
            .zip(names)
            .all(|(cell, name)| cell.eq_ignore_ascii_case(name))
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(str::trim).collect()
}

fn row(line: usize, text: &str) -> Option<Row> {
    let cells = cells(text);
    let [module, _, may_use] = cells.as_slice() else {
        return None;
    };
    let core = match module.split_whitespace().next()? {
        "core" => true,
        "shell" => false,
        _ => return None,
    };
    let [module] = backticked(module)[..] else {
        return None;
    };
    Some(Row {
        core,
        module: module.to_owned(),
        may_use: backticked(may_use).into_iter().map(str::to_owned).collect(),
        line,
    })
}

fn finding(line: usize, what: &str) -> Finding {
    Finding {
        file: FILE.to_owned(),
        line,
        what: what.to_owned(),
        why: "the code map must be true and flow one way",
        mend: "mend the table, or the code that it describes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Map\n\n| Module | Responsibility | May use |\n| --- | --- | --- |\n\
        | core `time` | Moments. | |\n| shell `clock` | Reads `x`. | `time` |\n\nrest | of | it\n";

    fn whats(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.what.as_str())
            .collect()
    }

    #[test]
    fn a_good_table_is_read() {
        let (rows, findings) = rows(GOOD);
        assert_eq!(whats(&findings), [""; 0]);
        let [time, clock] = &rows[..] else {
            panic!("{rows:?}")
        };
        assert_eq!(
            (time.core, time.module.as_str(), time.line),
            (true, "time", 5)
        );
        assert_eq!(
            (clock.core, clock.may_use.as_slice()),
            (false, &["time".to_owned()][..])
        );
        assert!(is_core(&rows, &["time".to_owned(), "deep".to_owned()]));
        assert!(!is_core(&rows, &["clock".to_owned()]));
        assert!(!is_core(&rows, &[]));
    }

    #[test]
    fn a_row_that_uses_one_below_it_is_found() {
        let text = GOOD.replace("Moments. | |", "Moments. | `clock` |");
        let (_, findings) = rows(&text);
        assert_eq!(
            whats(&findings),
            ["`time` may use `clock`, which is no row above it"]
        );
        assert_eq!(findings[0].line, 5);
    }

    #[test]
    fn a_broken_row_and_a_missing_table_are_found() {
        let (_, findings) = rows(&GOOD.replace("shell `clock`", "clock"));
        assert_eq!(
            whats(&findings),
            ["the row is not `core|shell MODULE | ... | may use`"]
        );
        let (_, findings) = rows("# Map\n");
        assert_eq!(
            whats(&findings),
            ["there is no table `module | responsibility | may use`"]
        );
    }

    #[test]
    fn table_and_crate_have_the_same_modules() {
        let (rows, _) = rows(GOOD);
        let declared = ["time", "store"].map(str::to_owned);
        let findings = complete(&rows, &declared);
        assert_eq!(
            whats(&findings),
            ["module `store` has no row", "there is no module `clock`"]
        );
        assert!(complete(&rows, &["time", "clock"].map(str::to_owned)).is_empty());
    }
}
