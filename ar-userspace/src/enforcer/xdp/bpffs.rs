//! The directory of the pins: made, named and removed here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rustix::fs::statfs;
use rustix::mount::{MountFlags, mount};

use crate::confinement::unconfined;

const MOUNT_POINT: &str = "/sys/fs/bpf";

/// `f_type` of a BPF file system (linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Where the pin of a map stands.
pub(super) fn pin(pin_dir: &Path, map: &str) -> PathBuf {
    pin_dir.join(map.to_lowercase())
}

/// Makes the directory, and mounts the BPF file system when it is to stand there and is not mounted.
pub(super) fn prepare(pin_dir: &Path) -> anyhow::Result<()> {
    if pin_dir.starts_with(MOUNT_POINT) && !is_bpffs(Path::new(MOUNT_POINT))? {
        unconfined(|| mount("bpf", MOUNT_POINT, "bpf", MountFlags::empty(), None))?
            .with_context(|| format!("cannot mount the BPF file system on `{MOUNT_POINT}`"))?;
        tracing::info!("mounted the BPF file system on {MOUNT_POINT}");
    }
    // Before it is made, so that none is left where it cannot be used.
    let there = pin_dir.ancestors().find(|path| path.exists());
    ensure!(
        is_bpffs(there.unwrap_or(pin_dir))?,
        "expected the pin directory on a BPF file system, found `{}` on another; mount one there, \
         or choose one under `{MOUNT_POINT}`",
        pin_dir.display()
    );
    fs::create_dir_all(pin_dir)
        .with_context(|| format!("cannot make the pin directory `{}`", pin_dir.display()))
}

/// Removes every pin and the directory. A directory that is not there is well removed.
pub(super) fn remove(pin_dir: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(pin_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", pin_dir.display()));
        }
    };
    let mut failed = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Err(error) = fs::remove_file(&path) {
            failed.push(format!("`{}`: {error}", path.display()));
        }
    }
    ensure!(failed.is_empty(), "cannot remove {}", failed.join(", "));
    fs::remove_dir(pin_dir).with_context(|| format!("cannot remove `{}`", pin_dir.display()))
}

fn is_bpffs(path: &Path) -> anyhow::Result<bool> {
    let stat = statfs(path).with_context(|| format!("cannot look at `{}`", path.display()))?;
    Ok(u64::try_from(stat.f_type).is_ok_and(|magic| magic == BPF_FS_MAGIC))
}
