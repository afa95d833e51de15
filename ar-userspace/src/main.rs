//! Command line, logging and exit status of `arfw`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use arfw::command;

fn main() -> ExitCode {
    command::run(&std::env::args_os().collect::<Vec<_>>())
}
