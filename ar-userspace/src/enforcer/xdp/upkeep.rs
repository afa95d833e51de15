//! What was pinned and attached, and whether it still is.
//!
//! The daemon holds maps and links itself, so that they stay while it runs, whatever becomes of their pins.
//! Pins that are gone are made again. Interfaces that come and go are `follow`'s.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ar_ebpf::map;
use aya::maps::MapData;
use aya::programs::links::FdLink;

use super::{Place, bpffs, links};

/// An interface that is to be covered.
pub(super) struct Covered {
    /// None while it is away.
    pub(super) index: Option<u32>,
    pub(super) place: Place,
    /// None when it is not covered.
    pub(super) link: Option<Link>,
    /// Whether the interface was up when it was tried; a refusal may be another then. None when it is to be tried again.
    pub(super) tried_up: Option<bool>,
}

/// A link and its pin.
pub(super) struct Link {
    held: FdLink,
    pin: PathBuf,
    /// Where the kernel tells to which interface it belongs.
    info: Option<PathBuf>,
}

impl Link {
    pub(super) fn new(held: FdLink, pin: PathBuf) -> Self {
        let info = held.info().ok().and_then(|info| told_in(info.id()));
        Self { held, pin, info }
    }

    /// Whether it belongs to this interface. The kernel names 0 when that was removed or the link was detached.
    pub(super) fn is_on(&self, index: u32) -> bool {
        let told = self.info.as_deref().map(fs::read_to_string);
        let Some(Ok(told)) = told else {
            return true;
        };
        field(&told, "ifindex").is_none_or(|found| found == index.to_string())
    }

    /// Takes the program off the interface, if it is on one.
    pub(super) fn detach(self) -> anyhow::Result<()> {
        let Self { held, pin, .. } = self;
        // One that is held stays attached.
        drop(held);
        if pin.exists() {
            links::detach(&pin)
        } else {
            Ok(())
        }
    }
}

/// Which file of this process's /proc/self/fdinfo tells of a link.
fn told_in(id: u32) -> Option<PathBuf> {
    let files = fs::read_dir("/proc/self/fdinfo").ok()?;
    let mut paths = files.flatten().map(|entry| entry.path());
    paths.find(|path| {
        fs::read_to_string(path)
            .is_ok_and(|told| field(&told, "link_id").is_some_and(|found| found == id.to_string()))
    })
}

fn field<'a>(told: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = told.lines().filter_map(|line| line.split_once(':'));
    fields
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.trim())
}

pub(super) struct Upkeep {
    pub(super) pin_dir: PathBuf,
    maps: Vec<(PathBuf, MapData)>,
    pub(super) covered: Vec<Covered>,
    /// Why pins that are gone cannot be made again.
    unpinned: Option<String>,
}

impl Upkeep {
    /// Holds what is pinned in `pin_dir`.
    pub(super) fn new(pin_dir: &Path, covered: Vec<Covered>) -> anyhow::Result<Self> {
        let held = |name| {
            let pin = bpffs::pin(pin_dir, name);
            let map = MapData::from_pin(&pin)
                .with_context(|| format!("cannot open the pinned map `{}`", pin.display()))?;
            Ok((pin, map))
        };
        let maps: anyhow::Result<_> = map::ALL.into_iter().map(held).collect();
        Ok(Self {
            pin_dir: pin_dir.to_owned(),
            maps: maps?,
            covered,
            unpinned: None,
        })
    }

    /// How each interface stands.
    pub(super) fn places(&self) -> Vec<Place> {
        let place = |covered: &Covered| {
            let mut place = covered.place.clone();
            if let (Some(_), Some(cause)) = (&covered.link, &self.unpinned) {
                place.why = format!("the pins are gone: {cause}");
            }
            place
        };
        self.covered.iter().map(place).collect()
    }

    /// Looks at the pins once, and says what has changed.
    pub(super) fn look(&mut self) {
        if self.is_pinned() {
            self.unpinned = None;
            return;
        }
        match self.pin_again() {
            Ok(()) => {
                self.unpinned = None;
                tracing::warn!(
                    "pins in `{}` were gone and are made again",
                    self.pin_dir.display()
                );
            }
            Err(error) => {
                let cause = format!("{error:#}");
                if self.unpinned.as_ref() != Some(&cause) {
                    tracing::error!(
                        "THE PINS ARE GONE, and no ban outlasts this daemon until they can be made again: {cause}"
                    );
                }
                self.unpinned = Some(cause);
            }
        }
    }

    fn is_pinned(&self) -> bool {
        let links = self.covered.iter().flat_map(|covered| &covered.link);
        let links = links.map(|link| &link.pin);
        let mut pins = self.maps.iter().map(|(pin, _)| pin).chain(links);
        pins.all(|pin| pin.exists())
    }

    fn pin_again(&mut self) -> anyhow::Result<()> {
        bpffs::prepare(&self.pin_dir)?;
        let pinning = |pin: &Path| format!("cannot make the pin `{}`", pin.display());
        for (pin, map) in self.maps.iter().filter(|(pin, _)| !pin.exists()) {
            map.pin(pin).with_context(|| pinning(pin))?;
        }
        // Last: a link that cannot be pinned is lost, and where maps could be pinned it can be.
        for Covered {
            place,
            link,
            tried_up,
            ..
        } in &mut self.covered
        {
            let Some(Link { held, pin, .. }) = link.take_if(|link| !link.pin.exists()) else {
                continue;
            };
            match held.pin(&pin) {
                Ok(pinned) => *link = Some(Link::new(FdLink::from(pinned), pin)),
                Err(error) => {
                    place.mode = "none";
                    place.since = None;
                    *tried_up = None;
                    place.why = format!("its link could not be pinned again: {error}");
                    return Err(error).with_context(|| pinning(&pin));
                }
            }
        }
        Ok(())
    }
}
