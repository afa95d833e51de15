//! `arfw stop`: ends the daemon in order, and on request everything that it holds in the kernel.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Signal, kill_process};

use super::{Directories, Exit, output};
use crate::daemon::instance;
use crate::enforcer::xdp;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(directories: &Directories, release: bool) -> anyhow::Result<Exit> {
    let running = instance::running(&directories.run_dir)?;
    if let Some(pid) = running {
        kill_process(pid, Signal::TERM)
            .with_context(|| format!("cannot stop process {}", pid.as_raw_nonzero()))?;
        let mut waited = Duration::ZERO;
        while instance::running(&directories.run_dir)?.is_some() {
            if waited >= PATIENCE {
                bail!(
                    "process {} did not end in {PATIENCE:?}",
                    pid.as_raw_nonzero()
                );
            }
            std::thread::sleep(LOOK_EVERY);
            waited += LOOK_EVERY;
        }
    }
    if release {
        xdp::release(&directories.pin_dir)?;
    } else if running.is_none() {
        output::error_text("the daemon does not run\n");
        return Ok(Exit::NotRunning);
    }
    Ok(Exit::Done)
}
