//! `arfw store`: checks the store, writes it as lines of JSON, and makes one of them.

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Exit, output};
use crate::diagnostic::visible;
use crate::store::transfer::{Contents, export, import, parse, read};
use crate::time::Expiry;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Directory of the store
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/var/lib/arfw"
    )]
    state_dir: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read everything in the store and tell how much there is and what is damaged; writes nothing
    Check,
    /// Print the store as lines of JSON; what is damaged is told on standard error and left out
    Export,
    /// Make a new store from what `export` printed; all of it, or nothing when anything is wrong
    Import {
        /// What `export` printed
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(arguments: &Arguments, json: bool) -> anyhow::Result<Exit> {
    let state_dir = &arguments.state_dir;
    match &arguments.verb {
        Verb::Check => check(state_dir, json),
        Verb::Export => {
            let contents = read_quietly(state_dir)?;
            tell(&contents.damage);
            output::streamed(export(&contents.held, output::stream()), ())?;
            Ok(ending(&contents))
        }
        Verb::Import { file } => take(state_dir, file),
    }
}

/// Reads without the reports of panics over damaged pages: what they mean is told afterwards.
fn read_quietly(state_dir: &Path) -> anyhow::Result<Contents> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let contents = read(state_dir);
    panic::set_hook(hook);
    contents
}

/// What a store holds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "StoreCounts")]
pub(super) struct Counts<'a> {
    /// Addresses and networks by executable, with their bans and offences.
    records: usize,
    /// Those of them with a ban.
    bans: usize,
    /// Those of these without an end.
    permanent: usize,
    /// Files whose alerts were read, with how far.
    positions: usize,
    /// Identifiers of alerts that were handled.
    handled: usize,
    /// Quiet times.
    quiet: usize,
    /// Bans that are over, in the history.
    past: usize,
    /// Size of the file.
    file_bytes: u64,
    /// Of the whole file; `null` without records.
    bytes_per_record: Option<u64>,
    /// Whether it was closed in order.
    closed: bool,
    /// What is damaged, for people; empty when nothing is.
    damage: &'a [String],
}

fn check(state_dir: &Path, json: bool) -> anyhow::Result<Exit> {
    let contents = read_quietly(state_dir)?;
    let counts = Counts::of(&contents);
    if json {
        output::json(&counts)?;
        return Ok(ending(&contents));
    }
    output::text(&counts.told())?;
    tell(&contents.damage);
    if !contents.damage.is_empty() {
        output::error_text(
            "the store is damaged; to keep the rest: `arfw store export > FILE`, move `arfw.redb` away, \
             `arfw store import FILE`\n",
        );
    }
    Ok(ending(&contents))
}

impl<'a> Counts<'a> {
    fn of(contents: &'a Contents) -> Self {
        let held = &contents.held;
        let bans = || held.records.iter().filter_map(|record| record.ban.as_ref());
        Self {
            records: held.records.len(),
            bans: bans().count(),
            permanent: bans().filter(|ban| ban.until == Expiry::Never).count(),
            positions: held.positions.len(),
            handled: held.handled.len(),
            quiet: held.quiet.len(),
            past: held.history.len(),
            file_bytes: contents.file_bytes,
            bytes_per_record: contents.file_bytes.checked_div(held.records.len() as u64),
            closed: contents.closed,
            damage: &contents.damage,
        }
    }

    fn told(&self) -> String {
        let per_record = self.bytes_per_record.map_or(String::new(), |bytes| {
            format!(", {} for each record", output::count(bytes))
        });
        let closed = if self.closed {
            ""
        } else {
            "it was not closed, which is mended when it is opened\n"
        };
        format!(
            "{} records, {} bans, {} of them permanent; {} positions, {} handled alerts, {} quiet times, {} past \
             bans\n{} bytes{per_record}\n{closed}",
            self.records,
            self.bans,
            self.permanent,
            self.positions,
            self.handled,
            self.quiet,
            self.past,
            output::count(self.file_bytes)
        )
    }
}

fn take(state_dir: &Path, file: &Path) -> anyhow::Result<Exit> {
    let text = fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    match parse(&text) {
        Ok(held) => {
            import(state_dir, &held)?;
            output::text(&format!(
                "a store of {} records, {} positions, {} handled alerts, {} quiet times and {} past bans\n",
                held.records.len(),
                held.positions.len(),
                held.handled.len(),
                held.quiet.len(),
                held.history.len()
            ))?;
            Ok(Exit::Done)
        }
        Err(mistakes) => {
            for mistake in mistakes {
                output::error_text(&format!("{}:{mistake}\n", file.display()));
            }
            output::error_text("nothing was written\n");
            Ok(Exit::Failed)
        }
    }
}

fn tell(damage: &[String]) {
    for damage in damage {
        output::error_text(&format!("arfw: {}\n", visible(damage)));
    }
}

fn ending(contents: &Contents) -> Exit {
    if contents.damage.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}
