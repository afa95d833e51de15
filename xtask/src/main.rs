//! `cargo xtask`: reads the command line and dispatches; each command has a file of its own.

#![forbid(unsafe_code)]

mod bench;
mod build;
mod demo;
mod faults;
mod fuzz;
mod interrupt;
mod package;
mod run;
mod scene;
mod setup;
mod shell;
mod test;
mod tidy;
mod vectors;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, runs and checks arfw. Every program that changes something is echoed before it runs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Finds or installs what the kernel program needs (a compiler with its library's source, bpf-linker), and `ip`, `bpftool`, `nft`, `ping` and `jq`
    Setup,
    /// Builds the kernel program and the daemon that carries it
    Build {
        /// Builds the daemon optimised; the kernel program always is
        #[arg(long)]
        release: bool,
    },
    /// Builds all and starts `arfw run` on this host, with Wazuh's or OSSEC's files or else a sample of its own
    Run {
        /// Further arguments of `arfw run`; they win over ours
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Shows it in half a minute: an attacker's namespace, real packets, a ban that begins, ends and grows; checks itself
    Demo,
    /// Measures the daemon: from an alert to the drop and a flood beside its peers, bursts, alerts a second, and growth
    Bench(bench::Arguments),
    /// Does what CI does: format, lints, documents, tidy, unit tests, and behaviour tests on this kernel
    Test {
        /// Arguments of the test programs, such as part of a test's name
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Kills, fills, unmounts and takes away, again and again, and tells in a table what was lost, doubled or wrong
    Faults(faults::Arguments),
    /// Runs the conformance vectors, and says how many passed and how many failed
    Vectors {
        /// Directory of the *.json files [default: vectors in $ARFW_SHARED, else ../shared/vectors]
        directory: Option<PathBuf>,
    },
    /// Makes a Debian package with the daemon, its unit, man pages and completions
    Package(package::Arguments),
    /// Checks what the documents promise and a compiler cannot
    Tidy,
    /// Feeds the readers of configurations and alerts with damaged input, until the time is over or one falls
    Fuzz {
        /// What to feed: config or alert [default: each in turn]
        target: Option<String>,
        /// How long to feed each
        #[arg(long, value_name = "N", default_value_t = 60)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    let ws = Workspace::find()?;
    match command {
        Command::Setup => setup::command(&ws),
        Command::Build { release } => build::command(&ws, release).map(drop),
        Command::Run { args } => run::command(&ws, &args),
        Command::Demo => demo::command(&ws),
        Command::Bench(arguments) => bench::command(&ws, &arguments),
        Command::Test { args } => test::command(&ws, &args),
        Command::Faults(arguments) => faults::command(&ws, &arguments),
        Command::Vectors { directory } => vectors::command(&ws, directory),
        Command::Package(arguments) => package::command(&ws, &arguments),
        Command::Tidy => tidy::command(&ws),
        Command::Fuzz { target, seconds } => fuzz::command(&ws, target.as_deref(), seconds),
    }
}
