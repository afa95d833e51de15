//! `arfw run`: sets up the log and the runtime, reads the configuration, and hands over to the daemon.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;

use super::colours::Colours;
use super::{EnforcerKind, Exit, OnStop, RunArguments, check, log, output};
use crate::clock;
use crate::confinement::confine;
use crate::control::Access;
use crate::daemon::reload::{Fresh, Source};
use crate::daemon::{self, Removal, Settings, Shadow, Started};
use crate::diagnostic;
use crate::enforcer::dry_run::DryRun;
use crate::enforcer::{nftables, xdp};
use crate::ledger::Limits;
use crate::surroundings;

/// The allocator's own setting: after how many milliseconds memory that is free goes back to the kernel.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";

/// Starts this program again with that setting, which is read before anything of ours runs. Left to itself the allocator
/// waits a second, and then for something to happen: a daemon that is idle keeps all that a burst took.
fn with_purge_delay() {
    if std::env::var_os(PURGE_DELAY).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        // It comes back only where that fails, and then memory is all that is lost.
        let _ = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(PURGE_DELAY, "10")
            .exec();
    }
}

pub(super) fn run(arguments: &RunArguments, give_back: fn()) -> anyhow::Result<Exit> {
    with_purge_delay();
    let (text, reading) = check::read_regular(&arguments.config, &arguments.executables)?;
    let name = arguments.config.display().to_string();
    output::error_text(&check::rendered(&reading, &name, &text));
    let Some(config) = reading.config else {
        output::error_text(&check::summary(&reading, &name, Colours::errors()));
        return Ok(Exit::WrongConfiguration);
    };
    // Before the first thread is started, as each has the rights of the one that starts it.
    let directories = &arguments.directories;
    let confined = confine(
        &[&directories.state_dir, &directories.run_dir],
        &directories.pin_dir,
    )?;
    let _log = log::start();
    match confined.writes {
        true => tracing::debug!("{confined}"),
        false => tracing::warn!("{confined}"),
    }
    let surroundings = surroundings::Settings {
        protect: arguments.protect.clone(),
        ssh_sessions: !arguments.no_protect_ssh,
        ..surroundings::Settings::of(&config)
    };
    let settings = Settings {
        config_path: arguments.config.clone(),
        settings_path: arguments.directories.settings.clone(),
        config,
        alerts: arguments.alerts.clone(),
        state_dir: arguments.directories.state_dir.clone(),
        run_dir: arguments.directories.run_dir.clone(),
        forgive_after: arguments.forgive_after.filter(|quiet| !quiet.is_zero()),
        debounce: arguments.debounce.filter(|window| !window.is_zero()),
        release_on_stop: arguments.on_stop == OnStop::Release,
        kernel_executables: arguments.executables.kernel(),
        programs: arguments.executables.settings(&arguments.runs),
        responses_log: arguments.runs.responses_log.clone(),
        log_programs: arguments.runs.log_programs(),
        inspect_every: Some(arguments.inspect_every).filter(|every| !every.is_zero()),
        surroundings,
        give_back,
        shadow: Shadow {
            all: arguments.shadow,
            commands: arguments.shadow_commands.clone(),
            rules: arguments.shadow_rules.clone(),
        },
        access: Access::of(arguments.socket_group.as_deref(), arguments.group_may)?,
        metrics_address: arguments.metrics_address,
        // Whoever is not banned for real keeps the connections.
        kill_sockets: arguments.kill_sockets && arguments.enforcer != EnforcerKind::DryRun,
        widest: daemon::Widest {
            v4: arguments.widest_v4,
            v6: arguments.widest_v6,
        },
    };
    anyhow::ensure!(
        arguments.enforcer != EnforcerKind::Nftables || !settings.shadow.is_on(),
        "expected `--enforcer xdp` or `dry-run` in shadow mode, found `nftables`, which cannot count without dropping; \
         take `shadow`, `shadow_commands` and `shadow_rules` away to ban for real"
    );
    on_runtime(daemon::run(settings, source(arguments), || {
        enforcer(arguments)
    }))?;
    Ok(Exit::Done)
}

/// Reads the configuration again as it was read at the start.
fn source(arguments: &RunArguments) -> Source {
    let (file, executables) = (arguments.config.clone(), arguments.executables.clone());
    let name = file.display().to_string();
    Arc::new(move || {
        let (text, reading) = check::read_regular(&file, &executables)?;
        Ok(Fresh {
            diagnostics: diagnostic::locate(&reading.diagnostics, &name, &text),
            text: diagnostic::render(&reading.diagnostics, &name, &text, false),
            summary: check::summary(&reading, &name, Colours::PLAIN),
            config: reading.config,
        })
    })
}

/// Runs a future on a runtime of this thread alone.
pub(super) fn on_runtime<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(future)
}

fn enforcer(arguments: &RunArguments) -> anyhow::Result<Started> {
    let limits = |bans_v4: u32, bans_v6: u32| Limits::with_room(bans_v4 as usize, bans_v6 as usize);
    match arguments.enforcer {
        EnforcerKind::DryRun => Ok(Started {
            enforcer: Box::new(DryRun::default()),
            limits: limits(arguments.max_bans, arguments.max_bans),
            found: Vec::new(),
            succeeds: None,
        }),
        EnforcerKind::Nftables => {
            let settings = nftables::Settings {
                table: arguments.directories.nft_table.clone(),
                max_bans: arguments.max_bans,
                interfaces: arguments.interfaces.clone(),
            };
            let (nftables, found) = nftables::Nftables::start(&settings, clock::kernel_clock)?;
            let (v4, v6) = nftables.room();
            let pin_dir = arguments.directories.pin_dir.clone();
            let are_pins_left = pin_dir.exists();
            Ok(Started {
                enforcer: Box::new(nftables),
                limits: limits(v4, v6),
                found: found
                    .iter()
                    .map(|ban| (ban.offender, ban.standing))
                    .collect(),
                succeeds: are_pins_left
                    .then(|| Box::new(move || xdp::release(&pin_dir)) as Removal),
            })
        }
        EnforcerKind::Xdp => {
            let settings = xdp::Settings {
                pin_dir: arguments.directories.pin_dir.clone(),
                max_bans: arguments.max_bans,
                mode: arguments.xdp_mode,
                interfaces: arguments.selection(),
            };
            let (xdp, found) = xdp::Xdp::start(&settings, clock::kernel_clock())?;
            let (v4, v6) = xdp.room();
            let table = arguments.directories.nft_table.clone();
            let is_table_left = nftables::is_there(&table);
            Ok(Started {
                enforcer: Box::new(xdp),
                limits: limits(v4, v6),
                found,
                succeeds: is_table_left
                    .then(|| Box::new(move || nftables::release(&table)) as Removal),
            })
        }
    }
}
