//! `cargo xtask faults`: the tests that kill the daemon, with many kills; `cargo xtask test` has few.

use std::time::Instant;

use anyhow::{Result, ensure};
use clap::Args;

use crate::build;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// How often to kill.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Kills of each test, one for each way in which an alert file is rotated
    #[arg(long, value_name = "N", default_value_t = 500)]
    kills: u32,
}

/// Builds what is missing, and kills the daemon while alerts are written and files are rotated.
pub(crate) fn command(ws: &Workspace, arguments: &Arguments) -> Result<()> {
    ensure!(
        shell::is_root(),
        "these tests make network namespaces and load a program into the kernel: run it as root"
    );
    let daemon = build::command(ws, true)?;
    let start = Instant::now();
    let mut cargo = ws.cargo();
    cargo.env("ARFW_BIN", daemon);
    cargo.env("ARFW_KILLS", arguments.kills.to_string());
    cargo.args(["test", "--package", "tests", "--test", "behaviour"]);
    shell::run(cargo.args(["--", "faults::"]))?;
    say(format_args!(
        "faults: {} kills of each kind in {:.0} s",
        arguments.kills,
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}
