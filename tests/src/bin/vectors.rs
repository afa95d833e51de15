//! `vectors DIR`: runs the conformance vectors of a directory and prints what does not hold.
//!
//! Only arguments, printing and the exit status stand here: 0 when every case passed and there was one.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use tests::vectors;

fn main() -> io::Result<ExitCode> {
    let Some(directory) = env::args_os().nth(1).map(PathBuf::from) else {
        writeln!(io::stderr(), "usage: vectors DIR")?;
        return Ok(ExitCode::from(2));
    };
    let report = vectors::run(&directory);
    write!(io::stdout(), "{report}")?;
    Ok(match report.holds() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
