//! Text of an `ossec.conf` in; a [`Config`] or diagnostics out (AR-CFG, AR-CMD, AR-WL).
//!
//! `raw` is the file as written, with spans; `resolved` is what it means. One error refuses the whole
//! text (AR-CFG-18). Nothing here opens a file.

mod command;
mod difference;
mod fields;
mod lint;
mod managers;
mod raw;
mod reading;
mod resolved;
mod response;
mod stock_groups;
pub(crate) mod suggest;
mod value;
mod white_list;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::difference::{Change, Kind, Subject};
pub use self::reading::{Reading, read, read_bytes};
pub use self::white_list::{EntryKind, Pattern, WhiteList, WhiteListEntry};
use crate::offender::Offender;

/// The longest time of a ban that ends: 4294967295 seconds, 136 years. A longer one is an error.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

/// Executables that the kernel stands in for, unless a setting names others: those of OSSEC and Wazuh
/// that do nothing but block an address.
pub const KERNEL_EXECUTABLES: &[&str] = &[
    "firewall-drop",
    "firewall-drop.sh",
    "host-deny",
    "host-deny.sh",
];

/// What a text means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// False when any section says `disabled` `yes`: then nothing ever fires (AR-CFG-6).
    pub enabled: bool,
    /// The usable responses, in document order.
    pub responses: Vec<Response>,
    /// Ban times of the second, third, ... offence; the last one stays (AR-TIME-5). Empty without a list,
    /// at most five.
    pub repeated_offenders: Vec<Duration>,
    /// Who is never banned.
    pub white_list: WhiteList,
    /// The addresses of an agent's managers, in document order (AR-OFF-5). A host name is not one.
    pub managers: Vec<Offender>,
}

/// One section that names a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Place among all `<active-response>` elements of the text, from 0.
    pub index: usize,
    /// Line of the text where the section begins, from 1.
    pub line: usize,
    /// Name of the command.
    pub command: String,
    /// What the command runs.
    pub executable: Executable,
    /// Who bans: the kernel, or the executable itself.
    pub enforcement: Enforcement,
    /// Arguments of the command, split at blanks (AR-CMD-3).
    pub extra_args: Vec<String>,
    /// Which hosts act.
    pub location: Location,
    /// Fires at this rule level and above, 1 to 16 (AR-MATCH-2).
    pub level: Option<u8>,
    /// Fires when one alternative matches the rule's groups (AR-MATCH-4). `None` without the element, and
    /// when it has no alternative.
    pub rules_group: Option<RulesGroup>,
    /// Fires for these rules (AR-MATCH-3). Empty without the element.
    pub rules_id: BTreeSet<u32>,
    /// How long a first offence is banned; `None` for ever (AR-TIME-1, AR-TIME-2). From one second to
    /// [`MAX_TIMEOUT`]; `None` also when the command allows no timeout (AR-CMD-2).
    pub timeout: Option<Duration>,
}

/// Who bans for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    /// arfw itself, in the kernel.
    Kernel,
    /// The executable, which is run.
    Program,
}

impl Enforcement {
    /// The kernel for the executables of [`KERNEL_EXECUTABLES`], the program for others.
    #[must_use]
    pub fn of(executable: &Executable) -> Self {
        Self::among(executable, KERNEL_EXECUTABLES)
    }

    fn among(executable: &Executable, kernel: &[impl AsRef<str>]) -> Self {
        if kernel.iter().any(|name| name.as_ref() == executable.name()) {
            Self::Kernel
        } else {
            Self::Program
        }
    }
}

/// What the names of executables begin with whose bans only count packets.
const SHADOW: &str = "shadow/";

/// Base name of an executable: one half of a ban's key (AR-TIME-3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Executable(Arc<str>);

impl Executable {
    /// Takes the base name as it stands in the configuration.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The base name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Under which name its bans are held in shadow, apart from those that drop: no base name has a slash.
    #[must_use]
    pub fn in_shadow(&self) -> Self {
        match self.is_shadow() {
            true => self.clone(),
            false => Self::new(&format!("{SHADOW}{}", self.0)),
        }
    }

    /// Whether bans of this name only count packets.
    #[must_use]
    pub fn is_shadow(&self) -> bool {
        self.0.starts_with(SHADOW)
    }
}

impl fmt::Display for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which hosts a response acts on (AR-CFG-8, AR-ROUTE-1 to 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The agent that produced the alert; the manager for its own alerts.
    Local,
    /// The manager.
    Server,
    /// The agent of this identifier. With the manager's, `000`, the response never fires (AR-CFG-9).
    DefinedAgent(AgentId),
    /// Every connected agent, never the manager.
    All,
}

/// An agent's number, padded to three digits (AR-CFG-9). `000` is the manager.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentId(Arc<str>);

impl AgentId {
    /// The manager's own number.
    pub const MANAGER: &str = "000";

    /// Pads a number.
    #[must_use]
    pub fn new(number: u32) -> Self {
        Self(format!("{number:03}").into())
    }

    /// Reads a decimal number and pads it: `7`, `07` and `0007` are `007`. `None` for anything else, and
    /// for a number that does not fit into 32 bits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        fields::decimal(text).map(Self::new)
    }

    /// The padded number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the manager's own number.
    #[must_use]
    pub fn is_manager(&self) -> bool {
        &*self.0 == Self::MANAGER
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The alternatives of a `rules_group` (AR-CFG-11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulesGroup {
    /// Trimmed, not empty, as written; case is ignored when they are compared (AR-MATCH-5).
    pub alternatives: Vec<String>,
}

impl Default for Config {
    /// What an empty file means.
    fn default() -> Self {
        Self {
            enabled: true,
            responses: Vec::new(),
            repeated_offenders: Vec::new(),
            white_list: WhiteList::default(),
            managers: Vec::new(),
        }
    }
}

impl Config {
    /// The configuration of an executor that has a file of its own: its list of repeated offenders replaces
    /// this one's, also when it has none, it may switch itself off (AR-CFG-15, AR-ROUTE-6), and it knows its
    /// managers.
    #[must_use]
    pub fn with_agent(self, agent: &Self) -> Self {
        Self {
            enabled: self.enabled && agent.enabled,
            repeated_offenders: agent.repeated_offenders.clone(),
            managers: agent.managers.clone(),
            ..self
        }
    }

    /// The configuration in which the kernel stands in for exactly the executables named.
    #[must_use]
    pub fn with_kernel_executables(mut self, names: &[impl AsRef<str>]) -> Self {
        for response in &mut self.responses {
            response.enforcement = Enforcement::among(&response.executable, names);
        }
        self
    }
}

#[cfg(test)]
mod tests;
