//! The shared data directory: alerts of real sites, which are too big to stand in this repository.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// The directory: ARFW_SHARED, else `shared` beside the workspace. Without it the caller is skipped, and says so.
///
/// The line goes past the test program's capture of output, so that it is seen although nothing failed.
///
/// # Panics
///
/// When it is not there in CI (environment variable CI), where a skipped test is a failure.
#[must_use]
pub fn directory(who: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared");
    let path = env::var_os("ARFW_SHARED").map_or_else(|| beside.into(), PathBuf::from);
    if path.join("data").is_dir() {
        return Some(path);
    }
    let why = format!(
        "{}/data is not there; ARFW_SHARED says where it is",
        path.display()
    );
    assert!(env::var_os("CI").is_none(), "{why}");
    // Standard error that cannot be written to is nobody's to read either.
    let _ = writeln!(io::stderr(), "SKIPPED {who}: {why}");
    None
}
