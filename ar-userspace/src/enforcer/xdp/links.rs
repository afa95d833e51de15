//! Puts a program on interfaces: native XDP where the driver can, generic where it cannot, and at the TCX hook
//! where the XDP hook is taken or refuses.
//!
//! Each link is pinned, as `xdp_INDEX_MODE` or `tcx_INDEX`, and a pinned link is adopted by putting the new program
//! in its place, so that no packet passes unseen in between. A foreign program is never replaced. One interface has
//! one link, so that no packet is counted twice.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramError, loaded_programs};

use super::interface::{self, Interface};
use super::programs::Programs;
use super::upkeep::{Covered, Link};
use super::{Place, bpffs};
use crate::confinement::unconfined;
use crate::time::Moment;

/// Which way of attaching is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Native where the driver can, else generic, else at the TCX hook.
    #[default]
    Auto,
    /// Native only: the driver runs the program, before a packet costs memory.
    Native,
    /// Generic only: works on every interface that has no other XDP program.
    Generic,
    /// Not XDP, but the TCX hook behind it, where others may stand too; Linux 6.6 and later.
    Tcx,
}

impl Mode {
    /// What may be tried, the best first.
    const fn ways(self) -> &'static [Attached] {
        match self {
            Self::Auto => &Attached::ALL,
            Self::Native => &[Attached::Native],
            Self::Generic => &[Attached::Generic],
            Self::Tcx => &[Attached::Tcx],
        }
    }
}

/// A way in which an interface is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attached {
    Native,
    Generic,
    Tcx,
}

impl Attached {
    /// The best first.
    const ALL: [Self; 3] = [Self::Native, Self::Generic, Self::Tcx];

    const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Tcx => "tcx",
        }
    }
}

/// Covers every interface that can be covered, and tells how, or why not.
///
/// # Errors
///
/// When there are interfaces and not one of them could be covered.
pub(super) fn cover(
    programs: &mut Programs,
    pin_dir: &Path,
    interfaces: &[Interface],
    mode: Mode,
    now: Moment,
) -> anyhow::Result<Vec<Covered>> {
    forget_others(pin_dir, interfaces)?;
    let covered: Vec<Covered> = interfaces
        .iter()
        .map(|interface| cover_one(programs, pin_dir, interface, mode, now))
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

/// Covers one interface in the best way that it takes, or tells why it takes none.
pub(super) fn cover_one(
    programs: &mut Programs,
    pin_dir: &Path,
    interface: &Interface,
    mode: Mode,
    now: Moment,
) -> Covered {
    let covered = |mode, why, link: Option<Link>| Covered {
        index: Some(interface.index),
        place: Place {
            interface: interface.name.clone(),
            mode,
            why,
            since: link.as_ref().map(|_| now),
        },
        tried_up: Some(interface.is_up),
        link,
    };
    // Without a place for its pin no link lasts.
    if let Err(error) = bpffs::prepare(pin_dir) {
        return Covered {
            tried_up: None,
            ..covered("none", format!("cannot pin a link: {error:#}"), None)
        };
    }
    // When the kernel does not tell, it is taken for what most are.
    let has_ethernet = interface::has_ethernet(interface).unwrap_or(true);
    let mut why_not = Vec::new();
    let (ways, blind): (Vec<_>, Vec<_>) = mode
        .ways()
        .iter()
        .partition(|way| has_ethernet || **way == Attached::Tcx);
    if !blind.is_empty() {
        why_not.push("no XDP mode: its frames have no Ethernet header".to_owned());
    }
    match adopt(programs, pin_dir, interface, &ways) {
        Ok(Some((attached, link))) => {
            return covered(attached.name(), why_not.join("; "), Some(link));
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(
            interface = interface.name,
            "cannot adopt the pinned link, attaching anew: {error:#}"
        ),
    }
    let mut is_taken = false;
    for attached in ways {
        if is_taken && attached == Attached::Generic {
            continue;
        }
        match attach(programs, pin_dir, interface, attached) {
            Ok(link) => return covered(attached.name(), why_not.join("; "), Some(link)),
            Err(refused) => {
                is_taken |= refused.taken;
                why_not.push(format!("no {} mode: {refused}", attached.name()));
            }
        }
    }
    covered("none", why_not.join("; "), None)
}

/// Puts the program in the place of the one behind a pinned link.
fn adopt(
    programs: &mut Programs,
    pin_dir: &Path,
    interface: &Interface,
    ways: &[Attached],
) -> anyhow::Result<Option<(Attached, Link)>> {
    for attached in Attached::ALL {
        let pin = link_pin(pin_dir, interface.index, attached);
        if !pin.exists() {
            continue;
        }
        let adopted = if ways.contains(&attached) {
            PinnedLink::from_pin(&pin)
                .context("cannot open the pinned link")
                .and_then(|pinned| programs.replace(FdLink::from(pinned), attached))
        } else {
            Err(anyhow::anyhow!("another mode is meant"))
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

fn attach(
    programs: &mut Programs,
    pin_dir: &Path,
    interface: &Interface,
    attached: Attached,
) -> Result<Link, Refused> {
    let link = programs.attach(interface, attached)?;
    let pin = link_pin(pin_dir, interface.index, attached);
    let link = match link.pin(&pin) {
        Ok(pinned) => Link::new(FdLink::from(pinned), pin),
        Err(error) => return Err(Refused::because(format!("cannot pin the link: {error:#}"))),
    };
    // The TCX hook is found by the interface's name, which may be another's by now.
    if !link.is_on(interface.index) {
        link.detach()?;
        return Err(Refused::because("its name has just changed"));
    }
    Ok(link)
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
pub(super) fn detach(pin: &Path) -> anyhow::Result<()> {
    let removed = match PinnedLink::from_pin(pin) {
        Ok(pinned) => pinned.unpin().map(drop),
        // Whatever stands there under a link's name.
        Err(_) => fs::remove_file(pin),
    };
    removed.with_context(|| format!("cannot remove the pin `{}`", pin.display()))
}

fn is_link(path: &Path) -> bool {
    let prefixes = [XDP_PREFIX, TCX_PREFIX];
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    })
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

const XDP_PREFIX: &str = "xdp_";
const TCX_PREFIX: &str = "tcx_";

fn link_pin(pin_dir: &Path, index: u32, attached: Attached) -> PathBuf {
    pin_dir.join(match attached {
        Attached::Tcx => format!("{TCX_PREFIX}{index}"),
        Attached::Native | Attached::Generic => format!("{XDP_PREFIX}{index}_{}", attached.name()),
    })
}

/// Why an interface could not be covered in one way.
#[derive(Debug)]
pub(super) struct Refused {
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

    pub(super) fn by_kernel(error: ProgramError, interface: &Interface) -> Self {
        let errno = match &error {
            ProgramError::SyscallError(call) => call.io_error.raw_os_error(),
            _ => None,
        };
        match errno.map(rustix::io::Errno::from_raw_os_error) {
            Some(rustix::io::Errno::BUSY | rustix::io::Errno::EXIST) => Self {
                why: format!(
                    "another XDP program{} is attached and is left alone",
                    foreign_program(interface)
                ),
                taken: true,
            },
            Some(rustix::io::Errno::OPNOTSUPP) => Self::because("the driver does not support it"),
            Some(errno) => Self::because(io::Error::from(errno).to_string()),
            None => Self::because(format!("{:#}", anyhow::Error::from(error))),
        }
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self::because(format!("{error:#}"))
    }
}

/// What is known of the XDP program on an interface, to be put behind that word.
fn foreign_program(interface: &Interface) -> String {
    let Ok(Some(id)) = interface::xdp_program(interface) else {
        return String::new();
    };
    // Programs of others are shown to CAP_SYS_ADMIN alone.
    let name = unconfined(move || {
        let mut programs = loaded_programs().flatten();
        programs
            .find(|program| program.id() == id)
            .and_then(|program| program.name_as_str().map(str::to_owned))
    });
    name.ok().flatten().map_or_else(
        || format!(" (id {id})"),
        |name| format!(" (id {id}, `{name}`)"),
    )
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
