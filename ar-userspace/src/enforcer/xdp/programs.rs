//! The programs of the kernel object, and putting one on an interface.

use anyhow::Context as _;
use ar_ebpf::TCX_PROGRAM;
use aya::Ebpf;
use aya::programs::links::FdLink;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType, Xdp};

use super::interface::Interface;
use super::links::{Attached, Refused};
use super::program;

/// The programs of the kernel object; that of the TCX hook is loaded when an interface needs it.
pub(super) struct Programs {
    kernel: Ebpf,
    xdp: &'static str,
    is_tcx_loaded: bool,
}

impl Programs {
    /// `xdp` names the XDP program that this kernel has taken.
    pub(super) fn new(kernel: Ebpf, xdp: &'static str) -> Self {
        Self {
            kernel,
            xdp,
            is_tcx_loaded: false,
        }
    }

    fn xdp(&mut self) -> anyhow::Result<&mut Xdp> {
        program(&mut self.kernel, self.xdp)
    }

    fn tcx(&mut self) -> anyhow::Result<&mut SchedClassifier> {
        let program: &mut SchedClassifier = program(&mut self.kernel, TCX_PROGRAM)?;
        if !self.is_tcx_loaded {
            program
                .load()
                .context("the kernel refused the program for TCX")?;
            self.is_tcx_loaded = true;
        }
        Ok(program)
    }

    /// Attaches the program anew. At TCX, before others: what they see, they may let in.
    pub(super) fn attach(
        &mut self,
        interface: &Interface,
        attached: Attached,
    ) -> Result<FdLink, Refused> {
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
    pub(super) fn replace(&mut self, link: FdLink, attached: Attached) -> anyhow::Result<FdLink> {
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
