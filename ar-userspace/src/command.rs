//! The commands of the command line: arguments in; text or JSON and an exit status out.
//!
//! What is a command's own stands in a file of its name. Only this module and those print.

mod ban;
mod check;
mod colours;
mod confirm;
mod events;
mod executables;
mod explain;
mod forgive;
mod generate;
mod history;
mod list;
mod log;
mod output;
mod page;

mod reload;
mod replay;
mod run;
mod schema;
mod settings;
mod status;
mod stop;
mod store;
mod top;
mod unban;
mod why;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand, ValueEnum};

use crate::control;
use crate::enforcer::{Pattern, Selection, nftables, xdp};
use crate::offender::{Offender, Prefix};

/// Where OSSEC and Wazuh keep their configuration.
const OSSEC_CONF: &str = "/var/ossec/etc/ossec.conf";

/// Where they write their alerts.
const ALERTS_JSON: &str = "/var/ossec/logs/alerts/alerts.json";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "arfw",
    version,
    about = "Active response for OSSEC and Wazuh, enforced in the kernel",
    after_help = "Exit status: 0 done, 1 failed (ban, unban, forgive and confirm: also when there was one to refuse, \
                  nothing to end, to forget or to confirm; why: when it is no address and no alert has it; events: \
                  when the daemon ended without saying so), 2 wrong command line, 3 errors in the configuration or, for \
                  run and check, in the settings, 4 the daemon does not run, 5 nothing fires (explain). \
                  docs/exit-status.md has each command's."
)]
pub struct Arguments {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Colour text [auto: on a terminal that has colours, and not with NO_COLOR]
    #[arg(long, global = true, value_name = "WHEN", default_value_t)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(Box<RunArguments>),
    /// Read a configuration and print every error and warning with its place and remedy
    Check {
        /// The configuration
        #[arg(default_value = OSSEC_CONF)]
        file: PathBuf,
        /// Print the `ar.conf` that a manager gives its agents for it; errors and warnings go to standard error
        #[arg(long)]
        ar_conf: bool,
        /// Settings of the daemon, checked as well [default: /etc/arfw/arfw.toml, if it is there]
        #[arg(long, value_name = "FILE")]
        settings: Option<PathBuf>,
        #[command(flatten)]
        executables: executables::Executables,
    },
    /// Show what each section of a configuration does with an alert, and why
    Explain(explain::Arguments),
    /// Run past alerts through a configuration in virtual time: who would have been banned, when, how long, by which rule
    Replay(replay::Arguments),
    /// List who is banned: address, time left, packets dropped, rule
    List {
        /// List who is quiet instead, until when, as who asked and why: alerts about them ban nobody
        #[arg(long)]
        quiet: bool,
        #[command(flatten)]
        directories: Directories,
    },
    /// Show why an address is banned or is not: bans and what led to them, alerts and what came of them, what ended
    Why(why::Arguments),
    /// List who was banned, when, why, until when, and how it ended; newest first
    History(history::Arguments),
    /// Show how the daemon stands: interfaces, alerts, bans, packets
    Status {
        #[command(flatten)]
        directories: Directories,
    },
    /// Watch who is dropped, on a screen that goes on; unban from there
    Top(top::Arguments),
    /// Print what happens as it comes, a line each, until the daemon stops: bans, unbans, refusals, failures, drift
    Events {
        #[command(flatten)]
        directories: Directories,
    },
    /// Have the daemon read its configuration again; one with errors changes nothing. Settings are read at a start only
    Reload {
        #[command(flatten)]
        directories: Directories,
    },
    /// Ban addresses or networks by hand
    Ban(ban::Arguments),
    /// End all bans of addresses or networks now; their offences still count. With --quiet, new alerts do not ban them again
    Unban {
        /// Addresses or networks, IPv4 or IPv6
        #[arg(required = true, value_name = "ADDRESS[/BITS]", value_parser = control::network)]
        addresses: Vec<Offender>,
        /// Ban again as before after this time, 1s to 1h, unless `arfw confirm` comes before
        #[arg(long, value_name = "TIME", value_parser = control::confirm_within)]
        confirm: Option<Duration>,
        #[command(flatten)]
        quiet: unban::Quiet,
        #[command(flatten)]
        directories: Directories,
    },
    /// Make bans and unbans last that were given with `--confirm`
    Confirm {
        /// Addresses or networks, IPv4 or IPv6 [default: all that wait]
        #[arg(value_name = "ADDRESS[/BITS]", value_parser = control::network)]
        addresses: Vec<Offender>,
        #[command(flatten)]
        directories: Directories,
    },
    /// Forget the offences of addresses; their bans stay
    Forgive {
        /// Addresses, IPv4 or IPv6
        #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "ADDRESS", value_parser = control::address)]
        addresses: Vec<Offender>,
        /// Forget everyone's
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        directories: Directories,
    },
    /// Print a sample of the settings file, with every setting and its default
    #[command(hide = true)]
    Settings {
        /// Print docs/settings.md instead
        #[arg(long)]
        markdown: bool,
    },
    /// Print the OpenAPI document of the control socket, which is docs/openapi.json
    #[command(hide = true)]
    Schema {
        /// Print docs/commands.schema.json instead: what the commands print with `--json`
        #[arg(long)]
        commands: bool,
    },
    /// Check the store, print it as lines of JSON, or make one of them; while no daemon runs
    Store(store::Arguments),
    /// Write man pages and shell completions to a directory
    #[command(hide = true)]
    Generate(generate::Arguments),
    /// Stop the daemon and wait for its end; bans stand until their time
    Stop {
        /// Let everyone go, and remove the program, its maps and pins, and the nftables table from the kernel
        #[arg(long)]
        release: bool,
        #[command(flatten)]
        directories: Directories,
    },
}

/// Where the daemon keeps what others look at.
#[derive(Clone, Debug, Args)]
struct Directories {
    /// Settings, on top of which come the flags [default: /etc/arfw/arfw.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Directory of the pinned maps and links, on a BPF file system
    #[arg(long, value_name = "DIR", default_value = xdp::DEFAULT_PIN_DIR)]
    pin_dir: PathBuf,
    /// Name of the nftables table, of family inet
    #[arg(long, value_name = "NAME", default_value = nftables::DEFAULT_TABLE, value_parser = table_name)]
    nft_table: String,
    /// Directory of the control socket and the lock
    #[arg(long, value_name = "DIR", default_value = "/run/arfw")]
    run_dir: PathBuf,
    /// Directory of the store: bans and offence counters, which outlive restarts
    #[arg(long, value_name = "DIR", default_value = "/var/lib/arfw")]
    state_dir: PathBuf,
}

impl Directories {
    fn socket(&self) -> PathBuf {
        self.run_dir.join("arfw.sock")
    }
}

/// A name of a table that every `nft` reads back as it is.
fn table_name(text: &str) -> Result<String, &'static str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if begins && text.len() <= 64 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err("expected a letter, then letters, digits, `-` and `_`, 64 at most")
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The configuration
    #[arg(long, value_name = "FILE", default_value = OSSEC_CONF)]
    config: PathBuf,
    /// The alerts to follow
    #[arg(long, value_name = "FILE", default_value = ALERTS_JSON)]
    alerts: PathBuf,
    /// Interfaces to cover, now and when they come: a name, or a pattern with `*` and `?`; may be repeated
    /// [default: all but loopback]. nftables covers all
    #[arg(long = "interface", value_name = "PATTERN")]
    interfaces: Vec<Pattern>,
    /// Interfaces not to cover; may be repeated
    #[arg(long = "exclude-interface", value_name = "PATTERN")]
    excluded_interfaces: Vec<Pattern>,
    /// What enforces bans
    #[arg(long, value_enum, default_value_t)]
    enforcer: EnforcerKind,
    /// How the program is put on interfaces
    #[arg(long, value_enum, default_value_t)]
    xdp_mode: xdp::Mode,
    /// Bans per address family that the kernel's maps or sets have room for
    #[arg(
        long,
        value_name = "N",
        default_value_t = xdp::DEFAULT_MAX_BANS,
        value_parser = clap::value_parser!(u32).range(1..=16_777_216)
    )]
    max_bans: u32,
    /// Shortest IPv4 prefix that may be banned
    #[arg(long, value_name = "BITS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    widest_v4: u8,
    /// Shortest IPv6 prefix that may be banned
    #[arg(long, value_name = "BITS", default_value_t = 20, value_parser = clap::value_parser!(u8).range(8..=128))]
    widest_v6: u8,
    /// Forget the offences of an address after so long without an offence or a ban [default: never]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    forgive_after: Option<Duration>,
    /// Count offences of an address that are less than this apart as one [default: each counts]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    debounce: Option<Duration>,
    /// Look this long after the last time whether the kernel still holds the bans as it should; 0s for never
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    inspect_every: Duration,
    /// Shadow mode: decide and count as always, but drop nothing and run no executable
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    shadow: bool,
    /// Shadow mode for the sections with these commands only
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    shadow_commands: Vec<String>,
    /// Shadow mode for what alerts of these rules lead to only
    #[arg(long, value_name = "RULE,...", value_delimiter = ',')]
    shadow_rules: Vec<u32>,
    /// When a ban begins, destroy TCP sockets of this host with that peer, so that no server waits for it
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    kill_sockets: bool,
    /// Group whose members may use the control socket, by its name in `/etc/group` or its number [default: `arfw`, if there is
    /// such a group]
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// What members of that group may do
    #[arg(long, value_enum, default_value_t)]
    group_may: control::GroupMay,
    /// Give metrics for Prometheus at this address too, for anyone who reaches it [default: at the control socket only]
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_address: Option<SocketAddr>,
    /// What a stop leaves in the kernel
    #[arg(long, value_enum, default_value_t)]
    on_stop: OnStop,
    /// Address or network that is never banned; may be repeated. So are, without it, this host's own
    /// addresses, its gateways, resolvers and manager
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    protect: Vec<Prefix>,
    /// Also ban the peers of SSH sessions of root and of members of group wheel, sudo or admin
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true"
    )]
    no_protect_ssh: bool,
    #[command(flatten)]
    executables: executables::Executables,
    #[command(flatten)]
    runs: executables::Runs,
    #[command(flatten)]
    directories: Directories,
}

impl RunArguments {
    fn selection(&self) -> Selection {
        Selection {
            wanted: self.interfaces.clone(),
            excluded: self.excluded_interfaces.clone(),
        }
    }
}

/// What enforces bans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum EnforcerKind {
    /// An XDP program drops the packets
    #[default]
    Xdp,
    /// A rule of nftables drops them, on hosts where no XDP program can run
    Nftables,
    /// Nothing does: bans are only told
    DryRun,
}

/// What a stop leaves in the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnStop {
    /// Bans stand until their time; without any, nothing is left
    #[default]
    Keep,
    /// Nothing
    Release,
}

/// How a command ended: the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    // 2 is clap's, for a wrong command line.
    WrongConfiguration = 3,
    NotRunning = 4,
    NothingFires = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the command of a command line, whose first item is the name of the program, to its end. `give_back` gives the
/// kernel all memory that is free.
#[must_use]
pub fn run(line: &[OsString], give_back: fn()) -> ExitCode {
    let result = match settings::apply(line) {
        Ok(Ok(arguments)) => perform(arguments, give_back),
        Ok(Err(exit)) => Ok(exit),
        Err(error) => Err(error),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) if error.is::<control::Unreachable>() => {
            output::error(&error);
            Exit::NotRunning.into()
        }
        Err(error) => {
            output::error(&error);
            Exit::Failed.into()
        }
    }
}

fn perform(arguments: Arguments, give_back: fn()) -> anyhow::Result<Exit> {
    let json = arguments.json;
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments, give_back),
        Command::Check {
            file,
            ar_conf: true,
            executables,
            ..
        } => check::ar_conf(&file, &executables, json),
        Command::Check {
            file,
            executables,
            settings,
            ..
        } => check::run(&file, settings.as_deref(), &executables, json),
        Command::Explain(arguments) => explain::run(&arguments, json),
        Command::Replay(arguments) => replay::run(&arguments, json),
        Command::List {
            quiet: true,
            directories,
        } => list::quiet(&directories, json),
        Command::List { directories, .. } => list::run(&directories, json),
        Command::Why(arguments) => why::run(&arguments, json),
        Command::History(arguments) => history::run(&arguments, json),
        Command::Status { directories } => status::run(&directories, json),
        Command::Top(arguments) => top::run(&arguments, json),
        Command::Events { directories } => events::run(&directories, json),
        Command::Reload { directories } => reload::run(&directories, json),
        Command::Ban(arguments) => ban::run(&arguments, json),
        Command::Unban {
            addresses,
            confirm,
            quiet,
            directories,
        } => unban::run(&directories, &addresses, confirm, &quiet, json),
        Command::Confirm {
            addresses,
            directories,
        } => confirm::run(&directories, &addresses, json),
        Command::Forgive {
            addresses,
            all,
            directories,
        } => forgive::run(&directories, &addresses, all, json),
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Store(arguments) => store::run(&arguments, json),
        Command::Stop {
            release,
            directories,
        } => stop::run(&directories, release),
        Command::Schema { commands } => {
            let text = match commands {
                true => schema::text(),
                false => control::openapi(),
            };
            output::text(&text).map(|()| Exit::Done)
        }
        Command::Settings { markdown } => {
            let text = match markdown {
                true => settings::markdown(),
                false => settings::sample(),
            };
            output::text(&text).map(|()| Exit::Done)
        }
    }
}
