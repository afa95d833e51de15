//! `arfw stop`: ends the daemon in order, and on request everything that it holds in the kernel.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::run::on_runtime;
use super::{Directories, Exit, output};
use crate::clock;
use crate::control::{self, Unreachable, view};
use crate::daemon::instance::{self, Instance};
use crate::enforcer::{nftables, xdp};
use crate::ledger::{Event, Ledger, OnStop, Settings};
use crate::store::Store;

const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(super) fn run(directories: &Directories, release: bool) -> anyhow::Result<Exit> {
    let running = match instance::running(&directories.run_dir) {
        Err(error) if is_denied(&error) => return stop_as_member(directories, release),
        running => running?,
    };
    match running {
        Some(pid) => stop(directories, pid, release)?,
        None if release => {}
        None => {
            output::error_text("the daemon does not run\n");
            return Ok(Exit::NotRunning);
        }
    }
    if release {
        // A daemon that was told to release has done all this; it does no harm twice.
        let _instance = Instance::take(&directories.run_dir)?;
        forget_bans(directories)?;
        // Whichever enforcer it was, and also what is left of an earlier one.
        let table = nftables::release(&directories.nft_table);
        xdp::release(&directories.pin_dir).and(table)?;
    }
    Ok(Exit::Done)
}

fn stop(directories: &Directories, pid: Pid, release: bool) -> anyhow::Result<()> {
    let order = view::Stop { release };
    match on_runtime(control::post::<()>(
        &directories.socket(),
        control::STOP,
        &order,
    )) {
        Ok(()) => {}
        // It has just begun to listen or has lost its socket, and understands a signal all the same.
        Err(error) if error.is::<Unreachable>() => kill_process(pid, Signal::TERM)
            .with_context(|| format!("cannot stop process {}", pid.as_raw_nonzero()))?,
        Err(error) => return Err(error),
    }
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
    Ok(())
}

fn is_denied(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// For whoever may use the socket and not look at the lock. The daemon does by itself all that there is to do.
fn stop_as_member(directories: &Directories, release: bool) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let status: view::Status = on_runtime(control::get(&socket, control::STATUS))?;
    let pid = i32::try_from(status.pid).ok().and_then(Pid::from_raw);
    let pid = pid.context("expected the daemon's process number")?;
    let process = pidfd_open(pid, PidfdFlags::empty())
        .with_context(|| format!("cannot look at process {}", status.pid))?;
    let order = view::Stop { release };
    on_runtime(control::post::<()>(&socket, control::STOP, &order))?;
    let within = Timespec::try_from(PATIENCE)?;
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    match poll(&mut ends, Some(&within)).context("cannot wait for the daemon's end")? {
        0 => bail!("process {} did not end in {PATIENCE:?}", status.pid),
        _ => Ok(Exit::Done),
    }
}

/// Ends every ban in the store, so that the next start does not bring it back. Counters stay.
fn forget_bans(directories: &Directories) -> anyhow::Result<()> {
    if !directories.state_dir.exists() {
        return Ok(());
    }
    let (store, held) = Store::open(&directories.state_dir)?;
    let now = clock::clocks();
    let boot = clock::boot(now).reading(store.boot());
    let (clocks, now) = (boot.clocks(now.moment), now.moment);
    let records = held
        .records
        .into_iter()
        .map(|record| record.since_boot(clocks));
    let mut ledger = Ledger::restore(Settings::default(), records, now);
    ledger.track_changes();
    ledger.apply(Event::Stop(OnStop::ReleaseAll), now);
    let history = ledger.drain_history();
    store.save(ledger.drain_changes(), history, None, clocks);
    Ok(())
}
