//! Compilers that could build the kernel program: which ones are here, and how they are called.
//!
//! Fit is a compiler that has its library's source beside it, for `-Z build-std=core`, and is not older than
//! the workspace allows. Nothing here installs anything.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{shell, workspace};

/// A rustc and its cargo, of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// `cargo` beside `rustc`.
    pub(crate) cargo: PathBuf,
    /// The compiler itself, never rustup's stand-in.
    pub(crate) rustc: PathBuf,
    /// What it says of itself.
    pub(crate) version: Version,
}

/// What `rustc -vV` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// As printed: `1.96.0`, `1.97.0-nightly`.
    pub(crate) release: String,
    /// The same, to compare: (1, 96).
    pub(crate) number: (u32, u32),
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
}

impl Toolchain {
    /// Whether unstable options need RUSTC_BOOTSTRAP=1.
    pub(crate) fn is_stable(&self) -> bool {
        !self.version.release.contains("-nightly") && !self.version.release.contains("-dev")
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { release, llvm, .. } = &self.version;
        write!(f, "rustc {release} (LLVM {llvm}), {}", self.rustc.display())
    }
}

/// The fit compilers of this machine, best first: rustup's nightlies, the system's, rustup's others.
///
/// `unfit` gets a line for each one that was passed over.
pub(crate) fn present(unfit: &mut Vec<String>) -> Vec<Toolchain> {
    let (nightlies, others) = rustup_dirs();
    let mut found = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for bin in nightlies.into_iter().chain(system_dirs()).chain(others) {
        let rustc = bin.join("rustc");
        let known = seen.iter().any(|other| same(other, &rustc));
        if known || !shell::is_program(&rustc) {
            continue;
        }
        match examine(&bin) {
            Ok(toolchain) => found.push(toolchain),
            Err(why) => unfit.push(format!("{}: {why:#}", rustc.display())),
        }
        seen.push(rustc);
    }
    found
}

fn examine(bin: &Path) -> Result<Toolchain> {
    let (rustc, cargo) = (bin.join("rustc"), bin.join("cargo"));
    if !shell::is_program(&cargo) {
        bail!("has no cargo beside it");
    }
    let sysroot = shell::look_up(Command::new(&rustc).args(["--print", "sysroot"]))?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    if !core.is_file() {
        bail!(
            "has no library source (rustup component `rust-src`, Debian's `rust-src` or `rust-web-src`)"
        );
    }
    let version = Version::parse(&shell::look_up(Command::new(&rustc).arg("-vV"))?)?;
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    if version.number < number(oldest).context("rust-version is not a version")? {
        bail!("is older than {oldest}");
    }
    Ok(Toolchain {
        cargo,
        rustc,
        version,
    })
}

impl Version {
    fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim)
                .with_context(|| format!("`rustc -vV` has no line `{name}`"))
        };
        let (release, llvm) = (field("release:")?, field("LLVM version:")?);
        Ok(Self {
            release: release.to_owned(),
            number: number(release).with_context(|| format!("odd release `{release}`"))?,
            llvm: leading_number(llvm).with_context(|| format!("odd LLVM version `{llvm}`"))?,
        })
    }
}

/// The first two numbers of `1.96.0` or of `1.63.0+dfsg1-2`.
pub(crate) fn number(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim().split('.');
    Some((parts.next()?.parse().ok()?, leading_number(parts.next()?)?))
}

/// The decimal number that `text` begins with.
pub(crate) fn leading_number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    text[..end.unwrap_or(text.len())].parse().ok()
}

/// `bin` of rustup's nightlies, newest first, and of its other toolchains.
///
/// The directories are read, and rustup is not run: asked for a toolchain it lacks, it may download one.
fn rustup_dirs() -> (Vec<PathBuf>, Vec<PathBuf>) {
    let dir = workspace::rustup_home().map(|home| home.join("toolchains"));
    let entries = dir.and_then(|dir| fs::read_dir(dir).ok());
    let entries = entries.into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    // `nightly-x86_64..` sorts after every `nightly-2026-..`, so the undated one comes first.
    names.sort();
    names.reverse();
    let (nightlies, others): (Vec<PathBuf>, Vec<PathBuf>) = names.into_iter().partition(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("nightly"))
    });
    let bin = |dirs: Vec<PathBuf>| dirs.into_iter().map(|dir| dir.join("bin")).collect();
    (bin(nightlies), bin(others))
}

/// Where distributions put compilers, without the directory of rustup's stand-ins.
fn system_dirs() -> Vec<PathBuf> {
    let versioned = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut versioned: Vec<PathBuf> = versioned
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rust-"))
        .map(|entry| entry.path().join("bin"))
        .collect();
    versioned.sort();
    versioned.reverse();
    let dirs = shell::path_dirs().chain(versioned);
    dirs.filter(|dir| !dir.join("rustup").exists()).collect()
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(release: &str, llvm: &str, expected: ((u32, u32), u32)) {
        let text = format!("rustc x\nbinary: rustc\nrelease: {release}\nLLVM version: {llvm}\n");
        let version = Version::parse(&text).unwrap();
        assert_eq!((version.number, version.llvm), expected);
    }

    #[test]
    fn releases_and_llvm_versions_are_read() {
        check("1.96.0", "22.1.8", ((1, 96), 22));
        check("1.101.0-nightly", "23.1", ((1, 101), 23));
        assert_eq!(number("1.63.0+dfsg1-2"), Some((1, 63)));
        assert_eq!(number("1.90"), Some((1, 90)));
        assert_eq!(number("nightly"), None);
    }

    #[test]
    fn a_compiler_that_does_not_name_its_llvm_is_refused() {
        let error = Version::parse("release: 1.96.0\n").unwrap_err();
        assert_eq!(error.to_string(), "`rustc -vV` has no line `LLVM version:`");
    }
}
