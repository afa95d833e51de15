//! Who is compared: a name for the command line, a label for the table, how many are banned, and what filters.

use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use xtask::netns::{INTERFACE, Link};

use super::filter::{self, BareDrop, Filter, Ipset, Nothing, Ours, Rules, XdpFilter};
use crate::bench::peers::{Available, Peer};
use crate::interrupt::Interrupt;

/// Bans of all but the rules of iptables of another number; xdp-filter has room for no more.
pub(super) const BANS: u16 = 10_000;

/// One of those that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Candidate {
    /// No filter
    Nothing,
    /// An XDP program that drops everything, native
    BareDrop,
    /// arfw, native XDP
    Native,
    /// arfw, generic XDP
    Generic,
    /// arfw, TCX
    Tcx,
    /// arfw, nftables
    Nftables,
    /// xdp-filter, native XDP
    XdpFilter,
    /// A set of nftables at the ingress hook of the interface
    NftIngress,
    /// A set of nftables at prerouting, before connections are tracked
    NftRaw,
    /// ipset, from the raw table of iptables
    Ipset,
    /// iptables with one rule
    #[value(name = "iptables-1")]
    Iptables1,
    /// iptables with 1,000 rules
    #[value(name = "iptables-1000")]
    Iptables1000,
    /// iptables with 10,000 rules
    #[value(name = "iptables-10000")]
    Iptables10000,
}

/// What the candidates are started from.
pub(super) struct Means<'a> {
    pub(super) daemon: &'a Path,
    /// Where `bare-drop` and `live-flood` are, and the object that they load.
    pub(super) bare_drop: &'a Path,
    pub(super) live_flood: &'a Path,
    pub(super) object: &'a Path,
}

impl Means<'_> {
    /// What sends as a card does, and the object that it loads.
    pub(super) fn live_flood(&self) -> (&Path, &Path) {
        (self.live_flood, self.object)
    }
}

impl Candidate {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Nothing => "no filter",
            Self::BareDrop => "bare XDP drop, native",
            Self::Native => "arfw, XDP native",
            Self::Generic => "arfw, XDP generic",
            Self::Tcx => "arfw, TCX",
            Self::Nftables => "arfw, nftables",
            Self::XdpFilter => "xdp-filter, native",
            Self::NftIngress => "nftables set, ingress",
            Self::NftRaw => "nftables set, prerouting",
            Self::Ipset => "ipset, raw table",
            Self::Iptables1 => "iptables, 1 rule",
            Self::Iptables1000 => "iptables, 1,000 rules",
            Self::Iptables10000 => "iptables, 10,000 rules",
        }
    }

    /// How many are banned, and send.
    pub(super) fn bans(self) -> u16 {
        match self {
            Self::Iptables1 => 1,
            Self::Iptables1000 => 1_000,
            _ => BANS,
        }
    }

    /// Whether the banned are dropped, and whether the others arrive.
    pub(super) fn drops(self) -> bool {
        self != Self::Nothing
    }

    pub(super) fn lets_others_pass(self) -> bool {
        self != Self::BareDrop
    }

    /// The programs that it needs.
    pub(super) fn peers(self) -> &'static [Peer] {
        match self {
            Self::XdpFilter => &[Peer::XdpFilter, Peer::Bpftool],
            Self::NftIngress | Self::NftRaw => &[Peer::Nft],
            Self::Ipset => &[Peer::Ipset, Peer::Iptables],
            Self::Iptables1 | Self::Iptables1000 | Self::Iptables10000 => &[Peer::Iptables],
            _ => &[],
        }
    }

    /// What is missing for it.
    pub(super) fn is_missing(self, available: &Available) -> Option<String> {
        let mut peers = self.peers().iter();
        let missing = peers.find(|&&peer| available.program(peer).is_none());
        missing.map(|peer| format!("package {} is not installed", peer.package()))
    }

    /// Starts it on a link, without a ban.
    pub(super) fn start(
        self,
        means: &Means<'_>,
        interrupt: &Interrupt,
        link: &Link,
    ) -> Result<Box<dyn Filter>> {
        let ours = |arguments: &[&str]| -> Result<Box<dyn Filter>> {
            Ok(Box::new(Ours::start(
                means.daemon,
                interrupt,
                link,
                arguments,
            )?))
        };
        let xdp = |mode| ours(&["--interface", INTERFACE, "--xdp-mode", mode]);
        let rules = |program, arguments, text| -> Result<Box<dyn Filter>> {
            Ok(Box::new(Rules {
                program,
                arguments,
                text,
            }))
        };
        let started = match self {
            Self::Nothing => Ok(Box::new(Nothing) as Box<dyn Filter>),
            Self::BareDrop => {
                Ok(Box::new(BareDrop::new(means.bare_drop, means.object)) as Box<dyn Filter>)
            }
            Self::Native => xdp("native"),
            Self::Generic => xdp("generic"),
            Self::Tcx => xdp("tcx"),
            Self::Nftables => ours(&["--enforcer", "nftables"]),
            Self::XdpFilter => {
                XdpFilter::start(interrupt, link).map(|filter| Box::new(filter) as Box<dyn Filter>)
            }
            Self::NftIngress => rules("nft", &["-f", "-"], filter::nft_ingress),
            Self::NftRaw => rules("nft", &["-f", "-"], filter::nft_raw),
            Self::Ipset => Ok(Box::new(Ipset) as Box<dyn Filter>),
            Self::Iptables1 | Self::Iptables1000 | Self::Iptables10000 => {
                rules("iptables-restore", &[], filter::iptables)
            }
        };
        started.with_context(|| format!("cannot start {}", self.label()))
    }
}
