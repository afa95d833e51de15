//! Puts the program on interfaces: native where the driver can, generic where it cannot.
//!
//! Each link is pinned as `xdp_INDEX_MODE`, and a pinned link is adopted by putting the new program in
//! its place, so that no packet passes unseen in between. A foreign program is never replaced.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{ProgramError, Xdp as Program};

use super::upkeep::{Covered, Link};
use super::{Interface, Place};

/// Which way of attaching is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Native where the driver can, else generic.
    #[default]
    Auto,
    /// Native only: the driver runs the program, before a packet costs memory.
    Native,
    /// Generic only: works on every interface.
    Generic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attached {
    Native,
    Generic,
}

impl Attached {
    const ALL: [Self; 2] = [Self::Native, Self::Generic];

    const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }

    const fn xdp_mode(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

/// Covers every interface that can be covered, and tells how, or why not.
///
/// # Errors
///
/// When there are interfaces and not one of them could be covered.
pub(super) fn cover(
    program: &mut Program,
    pin_dir: &Path,
    interfaces: &[Interface],
    mode: Mode,
) -> anyhow::Result<Vec<Covered>> {
    forget_others(pin_dir, interfaces)?;
    let covered: Vec<Covered> = interfaces
        .iter()
        .map(|interface| cover_one(program, pin_dir, interface, mode))
        .collect();
    let failed: Vec<String> = covered
        .iter()
        .map(|covered| &covered.place)
        .filter(|place| place.mode == "none")
        .map(|place| format!("`{}`: {}", place.interface, place.why))
        .collect();
    ensure!(
        failed.is_empty() || failed.len() < covered.len(),
        "no interface could be covered: {}",
        failed.join("; ")
    );
    Ok(covered)
}

fn cover_one(program: &mut Program, pin_dir: &Path, interface: &Interface, mode: Mode) -> Covered {
    let covered = |mode, why, link| Covered {
        place: Place {
            interface: interface.name.clone(),
            mode,
            why,
        },
        link,
    };
    match adopt(program, pin_dir, interface, mode) {
        Ok(Some((attached, link))) => return covered(attached.name(), String::new(), Some(link)),
        Ok(None) => {}
        Err(error) => tracing::warn!(
            interface = interface.name,
            "cannot adopt the pinned link, attaching anew: {error:#}"
        ),
    }
    let native = match mode {
        Mode::Generic => Err(Refused::because("the settings ask for generic mode")),
        Mode::Auto | Mode::Native => attach(program, pin_dir, interface, Attached::Native),
    };
    let why_not_native = match native {
        Ok(link) => return covered(Attached::Native.name(), String::new(), Some(link)),
        Err(refused) if refused.taken || mode == Mode::Native => {
            return covered("none", refused.to_string(), None);
        }
        Err(refused) => refused.to_string(),
    };
    match attach(program, pin_dir, interface, Attached::Generic) {
        Ok(link) => covered(
            Attached::Generic.name(),
            format!("no native mode: {why_not_native}"),
            Some(link),
        ),
        Err(refused) => covered(
            "none",
            format!("no native mode: {why_not_native}; no generic mode: {refused}"),
            None,
        ),
    }
}

/// Puts the program in the place of the one behind a pinned link.
fn adopt(
    program: &mut Program,
    pin_dir: &Path,
    interface: &Interface,
    mode: Mode,
) -> anyhow::Result<Option<(Attached, Link)>> {
    for attached in Attached::ALL {
        let pin = link_pin(pin_dir, interface.index, attached);
        if !pin.exists() {
            continue;
        }
        let unwanted = matches!(
            (mode, attached),
            (Mode::Native, Attached::Generic) | (Mode::Generic, Attached::Native)
        );
        let adopted = if unwanted {
            Err(anyhow::anyhow!("the settings ask for another mode"))
        } else {
            replace(program, &pin)
        };
        match adopted {
            Ok(link) => return Ok(Some((attached, Link::new(link, pin)))),
            Err(error) => {
                detach(&pin)?;
                return Err(error);
            }
        }
    }
    Ok(None)
}

fn replace(program: &mut Program, pin: &Path) -> anyhow::Result<FdLink> {
    let pinned = PinnedLink::from_pin(pin).context("cannot open the pinned link")?;
    let link = XdpLink::try_from(FdLink::from(pinned)).context("the pin is not an XDP link")?;
    let id = program
        .attach_to_link(link)
        .context("cannot replace the program behind the link")?;
    Ok(FdLink::try_from(program.take_link(id)?)?)
}

fn attach(
    program: &mut Program,
    pin_dir: &Path,
    interface: &Interface,
    attached: Attached,
) -> Result<Link, Refused> {
    let id = program
        .attach_to_if_index(interface.index, attached.xdp_mode())
        .map_err(Refused::by_kernel)?;
    let pin = link_pin(pin_dir, interface.index, attached);
    let pinned = program
        .take_link(id)
        .map_err(anyhow::Error::from)
        .and_then(|link| Ok(FdLink::try_from(link)?.pin(&pin)?));
    match pinned {
        Ok(pinned) => Ok(Link::new(FdLink::from(pinned), pin)),
        Err(error) => Err(Refused::because(format!("cannot pin the link: {error:#}"))),
    }
}

/// Takes the program off the interfaces of all links pinned here. Everything is tried; one failure is told.
///
/// # Errors
///
/// When the directory cannot be read, or a pin cannot be removed.
pub(super) fn detach_all(pin_dir: &Path) -> anyhow::Result<()> {
    let entries = match fs::read_dir(pin_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read `{}`", pin_dir.display()));
        }
    };
    let links = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_link(path));
    let failed = links.filter_map(|path| detach(&path).err()).last();
    failed.map_or(Ok(()), Err)
}

/// Removes a pinned link, and the program from its interface before this returns: of a pin that is only
/// unlinked, the kernel takes the program off some time later.
fn detach(pin: &Path) -> anyhow::Result<()> {
    let removed = match PinnedLink::from_pin(pin) {
        Ok(pinned) => pinned.unpin().map(drop),
        // Whatever stands there under a link's name.
        Err(_) => fs::remove_file(pin),
    };
    removed.with_context(|| format!("cannot remove the pin `{}`", pin.display()))
}

fn is_link(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with(LINK_PREFIX))
}

/// Removes the links of interfaces that are gone or not to be covered.
fn forget_others(pin_dir: &Path, interfaces: &[Interface]) -> anyhow::Result<()> {
    let kept: Vec<PathBuf> = interfaces
        .iter()
        .flat_map(|interface| {
            Attached::ALL.map(|attached| link_pin(pin_dir, interface.index, attached))
        })
        .collect();
    let entries = fs::read_dir(pin_dir)
        .with_context(|| format!("cannot read the pin directory `{}`", pin_dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if is_link(&path) && !kept.contains(&path) {
            detach(&path)?;
        }
    }
    Ok(())
}

const LINK_PREFIX: &str = "xdp_";

fn link_pin(pin_dir: &Path, index: u32, attached: Attached) -> PathBuf {
    pin_dir.join(format!("{LINK_PREFIX}{index}_{}", attached.name()))
}

/// Why an interface could not be covered in one way.
#[derive(Debug)]
struct Refused {
    why: String,
    /// Another program stands there, so that no other XDP mode is possible either.
    taken: bool,
}

impl Refused {
    fn because(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            taken: false,
        }
    }

    fn by_kernel(error: ProgramError) -> Self {
        let errno = match &error {
            ProgramError::SyscallError(call) => call.io_error.raw_os_error(),
            _ => None,
        };
        match errno.map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::BUSY | rustix::io::Errno::EXIST) => Self {
                why: "another XDP program is attached and is left alone".to_owned(),
                taken: true,
            },
            Some(rustix::io::Errno::OPNOTSUPP) => Self::because("the driver does not support it"),
            Some(errno) => Self::because(io::Error::from(errno).to_string()),
            None => Self::because(format!("{:#}", anyhow::Error::from(error))),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
