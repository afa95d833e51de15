//! Packages of the distribution, by apt-get: named when they are missing, installed when this is root.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::shell;

/// Installs `names`, asking nothing.
///
/// # Errors
///
/// Names the packages and the remedy when this is not root, or the machine has no apt-get, or it fails.
pub(crate) fn install(names: &[&str]) -> Result<()> {
    let list = names.join(" ");
    if shell::find("apt-get").is_none() {
        bail!("install what Debian calls `{list}`: there is no apt-get here to do it");
    }
    if !shell::is_root() {
        bail!("run `apt-get install {list}` as root");
    }
    if !lists_are_here() {
        apt_get(&["update"])?;
        return apt_install(names);
    }
    // Lists that are older than the archive name files that are gone: refresh them once and try again.
    apt_install(names).or_else(|_| {
        apt_get(&["update"])?;
        apt_install(names)
    })
}

/// Version that the distribution would install, when it has the package.
pub(crate) fn candidate(name: &str) -> Option<String> {
    let mut show = Command::new("apt-cache");
    show.args(["show", "--no-all-versions", name]);
    let text = shell::look_up(&mut show).ok()?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("Version:"))?;
    Some(version.trim().to_owned())
}

/// Fetches the lists when there are none, so that [`candidate`] can answer. Does nothing without root.
pub(crate) fn refresh_when_empty() -> Result<()> {
    if shell::is_root() && shell::find("apt-get").is_some() && !lists_are_here() {
        apt_get(&["update"])?;
    }
    Ok(())
}

fn apt_install(names: &[&str]) -> Result<()> {
    apt_get(&[&["install", "--yes", "--no-install-recommends"], names].concat())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut apt_get = Command::new("apt-get");
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(apt_get.arg("-qq").args(args))
}

fn lists_are_here() -> bool {
    let lists = fs::read_dir(Path::new("/var/lib/apt/lists"));
    lists
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}
