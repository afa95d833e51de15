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
use ar_ebpf::TCX_PROGRAM;
use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, loaded_programs};

use super::upkeep::{Covered, Link};
use super::{Interface, Place, interface, program};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attached {
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

/// The programs of the kernel object; that of the TCX hook is loaded when an interface needs it.
pub(super) struct Programs<'k> {
    kernel: &'k mut Ebpf,
    xdp: &'static str,
    is_tcx_loaded: bool,
}

impl<'k> Programs<'k> {
    /// `xdp` names the XDP program that this kernel has taken.
    pub(super) fn new(kernel: &'k mut Ebpf, xdp: &'static str) -> Self {
        Self {
            kernel,
            xdp,
            is_tcx_loaded: false,
        }
    }

    fn xdp(&mut self) -> anyhow::Result<&mut Xdp> {
        program(self.kernel, self.xdp)
    }

    fn tcx(&mut self) -> anyhow::Result<&mut SchedClassifier> {
        let program: &mut SchedClassifier = program(self.kernel, TCX_PROGRAM)?;
        if !self.is_tcx_loaded {
            program
                .load()
                .context("the kernel refused the program for TCX")?;
            self.is_tcx_loaded = true;
        }
        Ok(program)
    }

    /// Attaches the program anew. At TCX, before others: what they see, they may let in.
    fn attach(&mut self, interface: &Interface, attached: Attached) -> Result<FdLink, Refused> {
        let by_kernel = |error| Refused::by_kernel(error, interface);
        let xdp_mode = match attached {
            Attached::Native => XdpMode::Driver,
            Attached::Generic => XdpMode::Skb,
            Attached::Tcx => {
                let order = TcAttachOptions::TcxOrder(LinkOrder::first());
                let program = self.tcx()?;
                let id = program
                    .attach_with_options(&interface.name, TcAttachType::Ingress, order)
                    .map_err(by_kernel)?;
                let link = program.take_link(id).map_err(by_kernel)?;
                return Ok(FdLink::try_from(link).context("no TCX link")?);
            }
        };
        let program = self.xdp()?;
        let id = program
            .attach_to_if_index(interface.index, xdp_mode)
            .map_err(by_kernel)?;
        let link = program.take_link(id).map_err(by_kernel)?;
        Ok(FdLink::try_from(link).context("no XDP link")?)
    }

    /// Puts the program in the place of the one behind a link.
    fn replace(&mut self, link: FdLink, attached: Attached) -> anyhow::Result<FdLink> {
        let replacing = "cannot replace the program behind the link";
        if attached == Attached::Tcx {
            let link = SchedClassifierLink::try_from(link).context("the pin is not a TCX link")?;
            let program = self.tcx()?;
            let id = program.attach_to_link(link).context(replacing)?;
            return Ok(FdLink::try_from(program.take_link(id)?)?);
        }
        let link = XdpLink::try_from(link).context("the pin is not an XDP link")?;
        let program = self.xdp()?;
        let id = program.attach_to_link(link).context(replacing)?;
        Ok(FdLink::try_from(program.take_link(id)?)?)
    }
}

/// Covers every interface that can be covered, and tells how, or why not.
///
/// # Errors
///
/// When there are interfaces and not one of them could be covered.
pub(super) fn cover(
    programs: &mut Programs<'_>,
    pin_dir: &Path,
    interfaces: &[Interface],
    mode: Mode,
) -> anyhow::Result<Vec<Covered>> {
    forget_others(pin_dir, interfaces)?;
    let covered: Vec<Covered> = interfaces
        .iter()
        .map(|interface| cover_one(programs, pin_dir, interface, mode))
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

fn cover_one(
    programs: &mut Programs<'_>,
    pin_dir: &Path,
    interface: &Interface,
    mode: Mode,
) -> Covered {
    let covered = |mode, why, link| Covered {
        place: Place {
            interface: interface.name.clone(),
            mode,
            why,
        },
        link,
    };
    match adopt(programs, pin_dir, interface, mode) {
        Ok(Some((attached, link))) => return covered(attached.name(), String::new(), Some(link)),
        Ok(None) => {}
        Err(error) => tracing::warn!(
            interface = interface.name,
            "cannot adopt the pinned link, attaching anew: {error:#}"
        ),
    }
    let mut why_not = Vec::new();
    let mut is_taken = false;
    for &attached in mode.ways() {
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
    programs: &mut Programs<'_>,
    pin_dir: &Path,
    interface: &Interface,
    mode: Mode,
) -> anyhow::Result<Option<(Attached, Link)>> {
    for attached in Attached::ALL {
        let pin = link_pin(pin_dir, interface.index, attached);
        if !pin.exists() {
            continue;
        }
        let adopted = if mode.ways().contains(&attached) {
            PinnedLink::from_pin(&pin)
                .context("cannot open the pinned link")
                .and_then(|pinned| programs.replace(FdLink::from(pinned), attached))
        } else {
            Err(anyhow::anyhow!("the settings ask for another mode"))
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
    programs: &mut Programs<'_>,
    pin_dir: &Path,
    interface: &Interface,
    attached: Attached,
) -> Result<Link, Refused> {
    let link = programs.attach(interface, attached)?;
    let pin = link_pin(pin_dir, interface.index, attached);
    match link.pin(&pin) {
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

    fn by_kernel(error: ProgramError, interface: &Interface) -> Self {
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
    let mut programs = loaded_programs().flatten();
    let name = programs
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned));
    name.map_or_else(
        || format!(" (id {id})"),
        |name| format!(" (id {id}, `{name}`)"),
    )
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
