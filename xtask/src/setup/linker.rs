//! bpf-linker: where it is, whether it can read what a given compiler writes, and how to get one.
//!
//! It reads LLVM bitcode, so its LLVM must not be older than the compiler's. That is found out by linking
//! something, not by asking for version numbers of packages.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::bitcode;
use super::packages;
use super::toolchain::{Toolchain, leading_number};
use crate::shell;
use crate::workspace::{self, Workspace};

/// How else to get one, for a message.
pub(crate) const REMEDY: &str = "put a bpf-linker whose LLVM is at least the compiler's into PATH: `cargo binstall bpf-linker`, or a release from its project's page";

/// Every bpf-linker of this machine: PATH first, then where cargo installs.
pub(crate) fn present() -> Vec<PathBuf> {
    let cargos = env::var_os("CARGO_INSTALL_ROOT").map(PathBuf::from);
    let cargos = cargos.into_iter().chain(workspace::cargo_home());
    let dirs = shell::path_dirs().chain(cargos.map(|root| root.join("bin")));
    let mut found = Vec::new();
    for path in dirs.map(|dir| dir.join("bpf-linker")) {
        if shell::is_program(&path) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// Compiles a function with `toolchain` and links it for the kernel with `linker`.
///
/// The function is compiled for the host and as bitcode, so no library has to be built: this takes a tenth
/// of a second, and every command can afford it.
pub(crate) fn check(ws: &Workspace, toolchain: &Toolchain, linker: &Path) -> Result<()> {
    let dir = ws
        .target
        .join("xtask")
        .join(format!("probe-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let result = link_probe(ws, toolchain, linker, &dir);
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    result
}

fn link_probe(ws: &Workspace, toolchain: &Toolchain, linker: &Path, dir: &Path) -> Result<()> {
    const SOURCE: &str = "#![no_std]\n#[unsafe(no_mangle)]\npub extern \"C\" fn probe(a: u64) -> u64 { a.wrapping_mul(3) }\n";
    fs::write(dir.join("probe.rs"), SOURCE).context("cannot write the probe")?;

    let mut rustc = Command::new(&toolchain.rustc);
    ws.clean(&mut rustc).current_dir(dir);
    rustc.args(["--edition=2024", "--crate-type=lib", "--emit=llvm-bc"]);
    rustc.args(["-O", "-Cpanic=abort", "-o", "probe.bc", "probe.rs"]);
    shell::look_up(&mut rustc)?;

    let link = |emit: &str, output: &str| {
        let mut command = Command::new(linker);
        ws.clean(&mut command).current_dir(dir);
        command.args(["--target", "bpfel", "--export", "probe", "--emit", emit]);
        shell::look_up(command.args(["-o", output, "probe.bc"]))
    };
    link("obj", "probe.o")?;
    link("llvm-bc", "linked.bc")?;

    let linked = fs::read(dir.join("linked.bc")).context("cannot read what bpf-linker wrote")?;
    // A writer that does not sign its output in the usual way has shown that it can link, and may pass.
    if let Some(llvm) = bitcode::writer(&linked).as_deref().and_then(leading_number)
        && llvm < toolchain.version.llvm
    {
        let theirs = toolchain.version.llvm;
        bail!("is made with LLVM {llvm}, older than the compiler's LLVM {theirs}");
    }
    Ok(())
}

/// Builds one that fits `toolchain` and puts it into cargo's own home, where every clone finds it.
pub(crate) fn install(ws: &Workspace, toolchain: &Toolchain) -> Result<PathBuf> {
    let wanted = toolchain.version.llvm;
    let (llvm, prefix) = match llvm_prefix(wanted) {
        Some(found) => found,
        None => {
            let package = format!("llvm-{wanted}-dev");
            packages::refresh();
            if packages::candidate(&package).is_none() {
                bail!("there is no LLVM {wanted} here, and no package {package}");
            }
            packages::install(&[&package])?;
            llvm_prefix(wanted).context("the package brought no llvm-config")?
        }
    };
    let home = workspace::cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    let mut cargo = shell::cargo();
    ws.clean(&mut cargo).env("LLVM_PREFIX", prefix);
    cargo.args(["install", "bpf-linker", "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features"]);
    cargo.arg(format!("llvm-{llvm}"));
    shell::run(cargo.arg("--root").arg(&home))?;
    Ok(home.join("bin").join("bpf-linker"))
}

/// The oldest LLVM here, with its library, that is not older than `wanted`: its major version and prefix.
fn llvm_prefix(wanted: u32) -> Option<(u32, PathBuf)> {
    let set = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    let versioned = ["/usr/lib", "/usr/lib64"]
        .into_iter()
        .flat_map(fs::read_dir);
    let versioned = versioned.flatten().flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_string_lossy()
            .starts_with("llvm")
            .then(|| entry.path())
    });
    let prefixes = set
        .into_iter()
        .chain(versioned)
        .chain([PathBuf::from("/usr")]);
    let fit = prefixes.filter_map(|prefix| {
        let version = shell::look_up(Command::new(prefix.join("bin/llvm-config")).arg("--version"));
        let llvm = leading_number(version.ok()?.trim())?;
        let library = shell::look_up(Command::new(prefix.join("bin/llvm-config")).arg("--libdir"));
        let library = PathBuf::from(library.ok()?.trim()).join("libLLVM.so");
        (llvm >= wanted && library.exists()).then_some((llvm, prefix))
    });
    fit.min_by_key(|(llvm, _)| *llvm)
}
