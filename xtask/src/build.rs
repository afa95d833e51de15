//! `cargo xtask build`: the kernel program, then the daemon that carries it.
//!
//! The kernel program has its own compiler and its own target directory, `bpf` below the workspace's. The object
//! is handed over as `bpf/arfw-xdp.o`, which `ar-userspace/build.rs` embeds; it is touched only when its bytes
//! change, so that the daemon is not built again for nothing.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::{self, Kernel};
use crate::shell;
use crate::workspace::Workspace;

/// Builds both and returns the daemon's path.
pub(crate) fn command(ws: &Workspace, release: bool) -> Result<PathBuf> {
    kernel_object(ws, &setup::kernel(ws)?)?;
    daemon(ws, release)
}

/// Builds the kernel program; always optimised, for the verifier takes no other.
pub(crate) fn kernel_object(ws: &Workspace, kernel: &Kernel) -> Result<()> {
    hand_over(&object(ws, kernel, "arfw-xdp")?, &ws.kernel_object())
}

/// Builds the programs that measure the kernel program, and returns the object's path.
pub(crate) fn bench_object(ws: &Workspace) -> Result<PathBuf> {
    object(ws, &setup::kernel(ws)?, "arfw-bench")
}

fn object(ws: &Workspace, kernel: &Kernel, name: &str) -> Result<PathBuf> {
    let target = if cfg!(target_endian = "little") {
        "bpfel-unknown-none"
    } else {
        "bpfeb-unknown-none"
    };
    let target_dir = ws.target.join("bpf");

    let mut cargo = Command::new(&kernel.toolchain.cargo);
    ws.clean(&mut cargo).current_dir(&ws.root);
    // Found in PATH, rustc may be rustup's stand-in, which would choose the user-space compiler.
    cargo.env("RUSTC", &kernel.toolchain.rustc);
    if kernel.toolchain.is_stable() {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo.env("RUSTFLAGS", rust_flags());
    cargo.env(linker_variable(target), &kernel.linker);
    cargo.args(["build", "--release", "--package", "ar-ebpf"]);
    cargo.args(["--bin", name, "--target", target]);
    cargo.args(["-Z", "build-std=core", "--target-dir"]);
    shell::run(cargo.arg(&target_dir)).with_context(|| format!("cannot build `{name}`"))?;
    Ok(target_dir.join(target).join("release").join(name))
}

/// Builds the daemon around the object that stands in the target directory.
pub(crate) fn daemon(ws: &Workspace, release: bool) -> Result<PathBuf> {
    let mut cargo = ws.cargo();
    cargo.args(["build", "--package", "ar-userspace"]);
    if release {
        cargo.arg("--release");
    }
    shell::run(&mut cargo).context("cannot build the daemon")?;
    Ok(ws.daemon(release))
}

/// aya-ebpf reads registers by the architecture of the machine that runs the program; BTF is made from full
/// debug information.
fn rust_flags() -> String {
    format!("--cfg=bpf_target_arch=\"{ARCH}\" -Clink-arg=--btf -Cdebuginfo=2")
}

fn linker_variable(target: &str) -> String {
    let target = target.to_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{target}_LINKER")
}

/// Puts the bytes of `built` at `object`, unless they are there.
fn hand_over(built: &Path, object: &Path) -> Result<()> {
    let bytes = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(object).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(object, bytes).with_context(|| format!("cannot write {}", object.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_reads_the_linker_from_the_targets_variable() {
        assert_eq!(
            linker_variable("bpfel-unknown-none"),
            "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER"
        );
    }

    #[test]
    fn an_object_of_the_same_bytes_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (built, object) = (dir.path().join("built"), dir.path().join("object"));
        fs::write(&built, "one").unwrap();
        hand_over(&built, &object).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        let handle = fs::File::options().write(true).open(&object).unwrap();
        handle.set_modified(long_ago).unwrap();

        hand_over(&built, &object).unwrap();
        assert_eq!(object.metadata().unwrap().modified().unwrap(), long_ago);

        fs::write(&built, "two").unwrap();
        hand_over(&built, &object).unwrap();
        assert_eq!(fs::read(&object).unwrap(), b"two");
        assert!(object.metadata().unwrap().modified().unwrap() > long_ago);
    }
}
