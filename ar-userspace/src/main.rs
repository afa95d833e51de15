//! Command line, logging and exit status of `arfw`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use arfw::command;
use clap::Parser as _;

fn main() -> ExitCode {
    command::run(command::Arguments::parse())
}
