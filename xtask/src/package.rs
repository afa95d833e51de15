//! `cargo xtask package`: a Debian package with all that an operator needs, by cargo-deb; `--try` installs, upgrades
//! and purges it in the root of a fresh system.
//!
//! What goes in is laid out below `package/root` in the target directory as it is to stand on the host;
//! `ar-userspace/Cargo.toml` says the rest. cargo-deb goes into the target directory too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::build;
use crate::setup::packages;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// The version of cargo-deb that is used, whatever the machine has.
const CARGO_DEB: &str = "3.8.0";

/// The release of Debian that `--try` tries.
const SUITE: &str = "bookworm";

/// Arguments of `cargo xtask package`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Version of the package [default: the workspace's]
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
    /// Also installs, runs, upgrades and purges it in a root made by debootstrap, as root
    #[arg(long = "try")]
    tries: bool,
}

pub(crate) fn command(ws: &Workspace, arguments: &Arguments) -> Result<()> {
    let daemon = build::command(ws, true)?;
    lay_out(ws, &daemon)?;
    let cargo_deb = cargo_deb(ws)?;
    let version = arguments.deb_version.as_deref();
    let version = version.unwrap_or(env!("CARGO_PKG_VERSION"));
    let package = make(ws, &cargo_deb, version)?;
    say(format_args!("the package: {}", package.display()));
    if arguments.tries {
        let next = make(ws, &cargo_deb, &format!("{version}+try"))?;
        try_out(ws, &package, &next)?;
        fs::remove_file(&next).with_context(|| format!("cannot remove {}", next.display()))?;
    }
    Ok(())
}

/// From where in the workspace to where on the host; a directory is taken whole.
const FILES: [(&str, &str); 13] = [
    ("packaging/systemd/arfw.service", "usr/lib/systemd/system"),
    ("packaging/tmpfiles.d/arfw.conf", "usr/lib/tmpfiles.d"),
    ("packaging/sysusers.d/arfw.conf", "usr/lib/sysusers.d"),
    ("packaging/arfw.toml", "etc/arfw"),
    (
        "packaging/systemd/executables.conf",
        "usr/share/doc/arfw/examples",
    ),
    ("packaging/sample", "usr/share/doc/arfw/examples"),
    ("packaging/grafana", "usr/share/arfw/grafana"),
    ("packaging/prometheus", "usr/share/arfw/prometheus"),
    ("README.md", "usr/share/doc/arfw"),
    ("CHANGELOG.md", "usr/share/doc/arfw"),
    ("docs", "usr/share/doc/arfw"),
    ("LICENSE-MIT", "usr/share/doc/arfw"),
    ("LICENSE-APACHE", "usr/share/doc/arfw"),
];

/// What a workspace may be without.
const OPTIONAL: [&str; 3] = [
    "packaging/arfw.toml",
    "packaging/grafana",
    "packaging/prometheus",
];

fn lay_out(ws: &Workspace, daemon: &Path) -> Result<()> {
    let root = ws.target.join("package/root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot empty {}", root.display()))?;
    }
    for (from, to) in FILES {
        let from_path = ws.root.join(from);
        if !from_path.exists() && OPTIONAL.contains(&from) {
            say(format_args!("left out, as it is not there: {from}"));
            continue;
        }
        if from_path.is_dir() {
            copy_all(&from_path, &root.join(to))?;
        } else {
            copy(&from_path, &root.join(to))?;
        }
    }
    let options = root.join("etc/default");
    copy(&ws.root.join("packaging/arfw.default"), &options)?;
    fs::rename(options.join("arfw.default"), options.join("arfw"))?;

    let made = ws.target.join("package/made");
    shell::run(Command::new(daemon).arg("generate").arg(&made))?;
    copy_all(&made.join("man"), &root.join("usr/share/man/man1"))?;
    for (file, to, name) in [
        ("arfw.bash", "usr/share/bash-completion/completions", "arfw"),
        ("_arfw", "usr/share/zsh/vendor-completions", "_arfw"),
        (
            "arfw.fish",
            "usr/share/fish/vendor_completions.d",
            "arfw.fish",
        ),
    ] {
        let to = root.join(to);
        copy(&made.join("completions").join(file), &to)?;
        fs::rename(to.join(file), to.join(name))?;
    }
    fs::remove_dir_all(made)?;
    Ok(())
}

fn copy(file: &Path, to: &Path) -> Result<()> {
    let name = file.file_name().context("a file without a name")?;
    fs::create_dir_all(to)
        .and_then(|()| fs::copy(file, to.join(name)))
        .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    Ok(())
}

fn copy_all(directory: &Path, to: &Path) -> Result<()> {
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().context("a file without a name")?;
        if path.is_dir() {
            copy_all(&path, &to.join(name))?;
        } else {
            copy(&path, to)?;
        }
    }
    Ok(())
}

/// The one of the version that is wanted, made when it is not there.
fn cargo_deb(ws: &Workspace) -> Result<PathBuf> {
    let tools = ws.target.join("tools");
    let program = tools.join("bin/cargo-deb");
    let found = shell::look_up(Command::new(&program).arg("--version"));
    if found.is_ok_and(|found| found.trim() == format!("cargo-deb {CARGO_DEB}")) {
        return Ok(program);
    }
    let mut cargo = ws.cargo();
    cargo.args(["install", "cargo-deb", "--locked", "--version", CARGO_DEB]);
    shell::run(cargo.arg("--root").arg(&tools)).context("cannot make cargo-deb")?;
    Ok(program)
}

fn make(ws: &Workspace, cargo_deb: &Path, version: &str) -> Result<PathBuf> {
    let package = ws.target.join(format!("package/arfw_{version}.deb"));
    let mut command = Command::new(cargo_deb);
    command.current_dir(&ws.root).arg("deb");
    command.args(["--package", "ar-userspace", "--no-build", "--strip"]);
    command.args(["--deb-version", version, "--output"]);
    shell::run(command.arg(&package)).context("cannot make the package")?;
    Ok(package)
}

fn try_out(ws: &Workspace, first: &Path, second: &Path) -> Result<()> {
    if !shell::is_root() {
        bail!("run `cargo xtask package --try` as root");
    }
    if shell::find("debootstrap").is_none() {
        packages::install(&["debootstrap"])?;
    }
    let root = ws.target.join("package/try");
    let tried = try_in(ws, &root, first, second);
    // The namespaces have ended, and took the mounts below it along.
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    tried
}

fn try_in(ws: &Workspace, root: &Path, first: &Path, second: &Path) -> Result<()> {
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", SUITE]);
    shell::run(debootstrap.arg(root)).context("cannot make a root")?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--pid", "--net", "--fork", "--kill-child"]);
    unshare.arg("--mount-proc");
    unshare.arg(ws.root.join("packaging/debian/try.sh"));
    shell::run(unshare.args([root, first, second]))
}
