//! Packages of the distribution, by apt-get: named when they are missing, installed when this is root.

use std::path::Path;
use std::process::Command;
use std::sync::Once;

use anyhow::{Result, bail};

use crate::shell::{self, say};

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
    refresh();
    apt_get(&[&["install", "--yes", "--no-install-recommends"], names].concat())
}

/// Takes one file out of a package, which is not installed: no service of it is started.
///
/// # Errors
///
/// When the package cannot be fetched or has no such file.
pub(crate) fn unpack(package: &str, file: &str, into: &Path) -> Result<()> {
    refresh();
    let fetched = into.join("fetched");
    std::fs::create_dir_all(&fetched)?;
    let mut download = Command::new("apt-get");
    shell::run(
        download
            .args(["-qq", "download", package])
            .current_dir(&fetched),
    )?;
    for entry in fetched.read_dir()? {
        let mut extract = Command::new("dpkg-deb");
        extract
            .arg("--extract")
            .arg(entry?.path())
            .arg(into.join("unpacked"));
        shell::run(&mut extract)?;
    }
    let (unpacked, name) = (into.join("unpacked"), Path::new(file).file_name());
    std::fs::rename(unpacked.join(file), into.join(name.unwrap_or_default()))?;
    std::fs::remove_dir_all(fetched)?;
    Ok(std::fs::remove_dir_all(unpacked)?)
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

/// Fetches the lists, once in the life of this process: lists of another day name versions that are gone, or know only
/// of older ones. Where they cannot be fetched, or without root, those that are here have to do.
pub(crate) fn refresh() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if shell::is_root()
            && shell::find("apt-get").is_some()
            && let Err(why) = apt_get(&["update"])
        {
            say(format_args!(
                "goes on with the lists of packages that are here: {why:#}"
            ));
        }
    });
}

fn apt_get(args: &[&str]) -> Result<()> {
    let mut apt_get = Command::new("apt-get");
    apt_get.env("DEBIAN_FRONTEND", "noninteractive");
    shell::run(apt_get.arg("-qq").args(args))
}
