//! `cargo xtask setup`: finds, or installs, what building the kernel program and testing it need.
//!
//! What is there is taken, and nothing is downloaded when nothing is missing. A compiler and a bpf-linker count
//! as a pair, and only when the pair has linked something; see docs/decisions/0001.

mod bitcode;
mod linker;
pub(crate) mod packages;
mod toolchain;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

pub(crate) use self::toolchain::Toolchain;
use crate::shell::{self, say};
use crate::workspace::{self, Workspace};

/// What builds the kernel program.
pub(crate) struct Kernel {
    /// Its compiler.
    pub(crate) toolchain: Toolchain,
    /// The bpf-linker that was tried with it.
    pub(crate) linker: PathBuf,
}

/// A way to get what is missing: what it brings, and how.
type Way = (&'static str, fn(&Workspace) -> Result<()>);

/// A program that tests and the operator need, and the package that has it.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("bpftool", "bpftool"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("jq", "jq"),
];

/// Makes ready for every other command, and says in one line each what was taken.
pub(crate) fn command(ws: &Workspace) -> Result<()> {
    kernel(ws)?;
    tools()
}

/// The compiler and linker of the kernel program; installs them when there is no pair that fits.
pub(crate) fn kernel(ws: &Workspace) -> Result<Kernel> {
    let mut search = Search::default();
    let kernel = match search.among_present(ws) {
        Some(kernel) => kernel,
        None => search.install(ws)?,
    };
    say(format_args!("kernel compiler: {}", kernel.toolchain));
    say(format_args!("kernel linker: {}", kernel.linker.display()));
    Ok(kernel)
}

/// The programs of [`TOOLS`]; installs their packages as root.
pub(crate) fn tools() -> Result<()> {
    let missing = || {
        TOOLS
            .into_iter()
            .filter(|(name, _)| shell::find(name).is_none())
    };
    let packages: Vec<&str> = missing().map(|(_, package)| package).collect();
    if !packages.is_empty() {
        let names: Vec<&str> = missing().map(|(name, _)| name).collect();
        say(format_args!("missing: {}", names.join(", ")));
        packages::install(&packages)?;
    }
    if let Some((name, package)) = missing().next() {
        bail!("there is no `{name}`, although {package} is installed");
    }
    for path in TOOLS.iter().filter_map(|(name, _)| shell::find(name)) {
        say(format_args!("tool: {}", path.display()));
    }
    Ok(())
}

/// What some tests need and no user's machine is given unasked, such as a server: installed in CI, where the
/// machine is made for the tests. Elsewhere those tests say that they were skipped.
pub(crate) fn for_ci(ws: &Workspace) -> Result<()> {
    const SSHD: &str = "/usr/sbin/sshd";
    if env::var_os("CI").is_none() {
        return Ok(());
    }
    let tools = ws.target.join("tools");
    if shell::find("promtool").is_none() && !tools.join("promtool").exists() {
        say(format_args!("missing: promtool"));
        packages::unpack("prometheus", "usr/bin/promtool", &tools)?;
    }
    if Path::new(SSHD).exists() {
        return Ok(());
    }
    say(format_args!("missing: {SSHD}"));
    packages::install(&["openssh-server"])
}

/// A search for a pair, and why it took so long.
#[derive(Default)]
struct Search {
    /// What was passed over, each once.
    unfit: Vec<String>,
    /// Compilers for which a linker has been built, or could not be.
    linker_tried: Vec<Toolchain>,
}

impl Search {
    /// The first pair of what is here that works.
    fn among_present(&mut self, ws: &Workspace) -> Option<Kernel> {
        for toolchain in self.toolchains() {
            for linker in linker::present() {
                match linker::check(ws, &toolchain, &linker) {
                    Ok(()) => return Some(Kernel { toolchain, linker }),
                    Err(why) => {
                        self.pass_over(format!("{} for {toolchain}: {why:#}", linker.display()));
                    }
                }
            }
        }
        None
    }

    /// Tries in turn: a linker for a compiler that is here, a nightly by rustup, the distribution's compiler.
    fn install(&mut self, ws: &Workspace) -> Result<Kernel> {
        for line in &self.unfit {
            say(format_args!("passed over: {line}"));
        }
        const WAYS: [Way; 3] = [
            ("what is here", |_| Ok(())),
            ("a nightly by rustup", rustup_nightly),
            ("the distribution's compiler", |_| system_compiler()),
        ];
        for (what, bring) in WAYS {
            if let Err(why) = bring(ws) {
                self.pass_over(format!("{what}: {why:#}"));
                continue;
            }
            let found = self.among_present(ws);
            if let Some(kernel) = found.or_else(|| self.with_new_linker(ws)) {
                return Ok(kernel);
            }
        }
        bail!(
            "found nothing that builds the kernel program\n  {}\n  remedy: `rustup toolchain install nightly --component rust-src`, or on Debian `apt-get install rustc-web rust-web-src cargo-web`; then {}",
            self.unfit.join("\n  "),
            linker::REMEDY
        )
    }

    fn with_new_linker(&mut self, ws: &Workspace) -> Option<Kernel> {
        for toolchain in self.toolchains() {
            if self.linker_tried.contains(&toolchain) {
                continue;
            }
            self.linker_tried.push(toolchain.clone());
            let built = linker::install(ws, &toolchain).and_then(|linker| {
                linker::check(ws, &toolchain, &linker)?;
                Ok(linker)
            });
            match built {
                Ok(linker) => return Some(Kernel { toolchain, linker }),
                Err(why) => self.pass_over(format!("a new bpf-linker for {toolchain}: {why:#}")),
            }
        }
        None
    }

    fn toolchains(&mut self) -> Vec<Toolchain> {
        let mut unfit = Vec::new();
        let found = toolchain::present(&mut unfit);
        unfit.into_iter().for_each(|line| self.pass_over(line));
        found
    }

    fn pass_over(&mut self, line: String) {
        if !self.unfit.contains(&line) {
            self.unfit.push(line);
        }
    }
}

/// Gives the nightly that is here its library source; without a nightly, installs one.
fn rustup_nightly(ws: &Workspace) -> Result<()> {
    let Some(rustup) = shell::find("rustup") else {
        bail!("there is no rustup");
    };
    let has_nightly = workspace::rustup_home().is_some_and(|home| {
        let entries = home.join("toolchains").read_dir();
        let mut entries = entries.into_iter().flatten().flatten();
        entries.any(|entry| undated_nightly(&entry.file_name().to_string_lossy()))
    });
    let mut command = Command::new(rustup);
    ws.clean(&mut command);
    if has_nightly {
        command.args(["component", "add", "rust-src", "--toolchain", "nightly"]);
    } else {
        command.args(["toolchain", "install", "nightly", "--no-self-update"]);
        command.args(["--profile", "minimal", "--component", "rust-src"]);
    }
    shell::run(&mut command)
}

/// Whether a directory of rustup's is `nightly` itself, and not one of a date.
fn undated_nightly(name: &str) -> bool {
    name.strip_prefix("nightly-")
        .is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Debian keeps a newer compiler beside its own for web browsers; elsewhere the usual packages may be new enough.
fn system_compiler() -> Result<()> {
    const SETS: [[&str; 3]; 2] = [
        ["rustc-web", "rust-web-src", "cargo-web"],
        ["rustc", "rust-src", "cargo"],
    ];
    packages::refresh();
    let oldest = toolchain::number(env!("CARGO_PKG_RUST_VERSION"));
    let fit = SETS.iter().find(|[rustc, ..]| {
        let version = packages::candidate(rustc);
        version.as_deref().and_then(toolchain::number) >= oldest
    });
    match fit {
        Some(set) => packages::install(set),
        None => bail!(
            "the distribution has no compiler of {} or later",
            env!("CARGO_PKG_RUST_VERSION")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_nightly_is_not_the_nightly() {
        assert!(undated_nightly("nightly-x86_64-unknown-linux-gnu"));
        assert!(!undated_nightly(
            "nightly-2026-05-20-x86_64-unknown-linux-gnu"
        ));
        assert!(!undated_nightly("stable-x86_64-unknown-linux-gnu"));
    }
}
