//! Embeds the kernel object that `cargo xtask build` made; without one, nothing, so that `cargo check` needs no BPF compiler.
//!
//! Builds nothing itself: docs/decisions/0001 says why.

use std::env;
use std::error::Error;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ARFW_BPF_OBJECT");
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo set no OUT_DIR")?);
    let object = match env::var_os("ARFW_BPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => default_object(&out_dir)?,
    };
    println!("cargo::rerun-if-changed={}", object.display());
    fs::copy(&object, out_dir.join("arfw-xdp.o")).map_err(|error| {
        format!(
            "cannot copy the kernel object {}: {error}",
            object.display()
        )
    })?;
    Ok(())
}

/// `bpf/arfw-xdp.o` below the target directory; made empty when it is missing.
///
/// Cargo takes a watched file that does not exist for changed and would build the crate each time, hence
/// the empty one. Its age keeps cargo from taking it for newer than this run.
fn default_object(out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let object = target_dir(out_dir)?.join("bpf").join("arfw-xdp.o");
    if !object.exists() {
        let parent = object.parent().ok_or("the object has no directory")?;
        fs::create_dir_all(parent)?;
        match File::create_new(&object) {
            Ok(empty) => empty.set_modified(SystemTime::UNIX_EPOCH)?,
            // Another profile's build was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(object)
}

/// OUT_DIR is `TARGET_DIR/[TRIPLE/]PROFILE/build/PACKAGE-HASH/out`; the triple stands there with `--target`.
fn target_dir(out_dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let dir = out_dir.ancestors().nth(4).ok_or("OUT_DIR is too short")?;
    let triple = env::var_os("TARGET").ok_or("cargo set no TARGET")?;
    let above_triple = dir.parent().filter(|_| dir.file_name() == Some(&*triple));
    Ok(above_triple.unwrap_or(dir).to_owned())
}
