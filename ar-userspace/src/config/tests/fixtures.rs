//! Whole files and all that is said about them, as it is printed.
//!
//! `fixtures/NAME.conf` is read and what comes out is compared with `fixtures/NAME.txt`, to the byte.
//! With UPDATE_EXPECT=1 in the environment the expected files are written anew instead; look at the
//! difference before you commit it.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::read_bytes;
use crate::diagnostic::render;

/// Fixtures that must not be refused: files as they are installed.
const STOCK: [&str; 3] = ["ossec-stock", "wazuh-agent-stock", "wazuh-stock"];

fn fixtures() -> Vec<PathBuf> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/fixtures");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "conf")
        })
        .collect();
    paths.sort();
    paths
}

fn rendered(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let (text, reading) = read_bytes(&bytes);
    let name = path.file_stem().unwrap().to_str().unwrap();
    if STOCK.contains(&name) {
        assert!(
            reading.config.is_some(),
            "{name} is refused: {:#?}",
            reading.diagnostics
        );
    }
    render(&reading.diagnostics, "ossec.conf", &text, false)
}

/// AR-CFG-18
#[test]
fn what_is_said_about_whole_files_is_as_expected() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some_and(|value| value == "1");
    let paths = fixtures();
    assert!(paths.len() > STOCK.len(), "{paths:?}");
    let mut differ = Vec::new();
    for path in paths {
        let got = rendered(&path);
        let expected = path.with_extension("txt");
        if update {
            fs::write(&expected, got).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != got {
            differ.push(format!("{}:\n{got}", path.display()));
        }
    }
    assert!(
        differ.is_empty(),
        "differs from what is expected (UPDATE_EXPECT=1 writes it):\n{}",
        differ.join("\n")
    );
}

#[test]
fn stock_files_are_among_the_fixtures() {
    let names: Vec<PathBuf> = fixtures();
    for stock in STOCK {
        let found = names
            .iter()
            .any(|path| path.file_stem().is_some_and(|stem| stem == stock));
        assert!(found, "{stock}");
    }
}
