//! `matching ALERTS`: measures what an alert costs until it is known that no section matches, and prints a line of JSON for
//! each number of sections.
//!
//! Only arguments, printing and the exit status stand here.

use std::env;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use tests::matching::measure;

/// That of the daemon: an alert allocates.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let alerts = env::args_os().nth(1).context("usage: matching ALERTS")?;
    for figure in measure(Path::new(&alerts))? {
        writeln!(io::stdout(), "{}", serde_json::to_string(&figure)?)?;
    }
    Ok(())
}
