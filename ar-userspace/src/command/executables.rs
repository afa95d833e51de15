//! Flags about executables, and the warning about those that cannot be run.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::{Enforcement, KERNEL_EXECUTABLES, Reading};
use crate::diagnostic::{Diagnostic, quote};
use crate::enforcer::exec::place::{DEFAULT_BIN_DIR, Place};
use crate::enforcer::exec::{Settings, wire};

/// Which executables there are.
#[derive(Clone, Debug, Args)]
pub(super) struct Executables {
    /// Directory of the executables
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BIN_DIR)]
    bin_dir: PathBuf,
    /// Executables that the kernel stands in for; the others are run. An empty list runs all
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_values = KERNEL_EXECUTABLES)]
    kernel_executables: Vec<String>,
}

/// How executables are run.
#[derive(Clone, Debug, Args)]
pub(super) struct Runs {
    /// How executables are told what to do
    #[arg(long, value_enum, default_value_t)]
    wire: Wire,
    /// Time that an executable may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    exec_timeout: Duration,
    /// Executables that run at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    exec_at_once: u16,
    /// Bans that may wait for their executable; more of them fail
    #[arg(long, value_name = "N", default_value_t = 1_024)]
    exec_queue: u32,
    /// Log active responses as Wazuh does
    #[arg(long, value_name = "FILE")]
    pub(super) responses_log: Option<PathBuf>,
    /// What is logged there
    #[arg(long, value_enum, default_value_t)]
    responses_log_of: LogOf,
}

/// How executables are told what to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Wire {
    /// A line of JSON on standard input, as Wazuh 4 does
    #[default]
    Wazuh,
    /// Arguments, as OSSEC does: add USER ADDRESS ALERT RULE
    Ossec,
}

/// What the log of active responses tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum LogOf {
    /// Bans of the kernel and executables
    #[default]
    All,
    /// Bans of the kernel only: for a log in which executables write by themselves
    Kernel,
}

impl Executables {
    /// The names that the kernel stands in for.
    pub(super) fn kernel(&self) -> Vec<String> {
        let names = self.kernel_executables.iter().map(|name| name.trim());
        names
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// Applies the names, and warns about executables that a response needs and that cannot be run.
    pub(super) fn apply(&self, mut reading: Reading) -> Reading {
        let Some(config) = reading.config.take() else {
            return reading;
        };
        let config = config.with_kernel_executables(&self.kernel());
        let place = self.place();
        for (executable, span) in &reading.executables {
            let mut responses = config.responses.iter();
            let is_needed = responses.any(|response| {
                response.executable == *executable && response.enforcement == Enforcement::Program
            });
            if let Err(unfit) = place.check(executable)
                && is_needed
            {
                let name = quote(executable.name());
                let warning = Diagnostic::warning(
                    "executable",
                    span.clone(),
                    format!("{name} cannot be run, so that its responses fail"),
                );
                reading.diagnostics.push(warning.found(unfit.to_string()).help(
                    "put it there as a file of root's that nobody else can write, or name the right `--bin-dir`",
                ));
            }
        }
        reading
            .diagnostics
            .sort_by_key(|diagnostic| (diagnostic.span.start, diagnostic.severity));
        reading.config = Some(config);
        reading
    }

    /// How they are run.
    pub(super) fn settings(&self, runs: &Runs) -> Settings {
        Settings {
            place: self.place(),
            limit: runs.exec_timeout,
            at_once: runs.exec_at_once.into(),
            queue: usize::try_from(runs.exec_queue).unwrap_or(usize::MAX),
            wire: match runs.wire {
                Wire::Wazuh => wire::Wire::Wazuh,
                Wire::Ossec => wire::Wire::Ossec,
            },
        }
    }

    fn place(&self) -> Place {
        // What is executed may be named from another directory.
        let bin_dir = std::path::absolute(&self.bin_dir);
        Place::new(bin_dir.unwrap_or_else(|_| self.bin_dir.clone()))
    }
}

impl Runs {
    /// Whether executables are logged as well.
    pub(super) fn log_programs(&self) -> bool {
        self.responses_log_of == LogOf::All
    }
}
