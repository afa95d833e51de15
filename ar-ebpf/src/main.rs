//! The kernel programs: entry points, and the two tables from [`ar_ebpf::Outcome`] to what a hook is told.
//!
//! What a packet is, `packet` reads; what it deserves, `filter` decides; what is known, `maps` holds.
//! On any other target than the kernel's this is a stub, so that the workspace builds everywhere.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// For the atomic additions in `maps`. Building `core` for this target asks for a nightly compiler anyway.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod filter;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod packet;

#[cfg(target_arch = "bpf")]
mod entry {
    use ar_ebpf::Outcome;
    use aya_ebpf::bindings::tcx_action_base::{TCX_DROP, TCX_NEXT};
    use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
    use aya_ebpf::macros::{classifier, xdp};
    use aya_ebpf::programs::{TcContext, XdpContext};

    use crate::filter;
    use crate::packet::{Frame, Skb};

    /// The program for kernels that know multi-buffer frames (5.18 and later).
    #[xdp(frags)]
    fn arfw_xdp(ctx: XdpContext) -> u32 {
        action(filter::judge(Frame::of_xdp(&ctx)))
    }

    /// The program for older kernels, which refuse both the flag and the helper of the other one.
    #[xdp]
    fn arfw_xdp_linear(ctx: XdpContext) -> u32 {
        action(filter::judge(Frame::of_linear_xdp(&ctx)))
    }

    /// The program for interfaces whose XDP hook is taken or refuses, on Linux 6.6 and later.
    #[classifier]
    fn arfw_tcx(ctx: TcContext) -> i32 {
        match filter::judge(Skb::of(&ctx)) {
            Outcome::Banned => TCX_DROP,
            Outcome::Clean
            | Outcome::Shadow
            | Outcome::Expired
            | Outcome::NotIp
            | Outcome::Truncated
            | Outcome::Malformed
            // Others may stand at this hook too, and have their say.
            | Outcome::Allowed => TCX_NEXT,
        }
    }

    #[inline(always)]
    fn action(outcome: Outcome) -> u32 {
        match outcome {
            Outcome::Banned => XDP_DROP,
            Outcome::Clean
            | Outcome::Shadow
            | Outcome::Expired
            | Outcome::NotIp
            | Outcome::Truncated
            | Outcome::Malformed
            | Outcome::Allowed => XDP_PASS,
        }
    }

    /// The terms under which the kernel takes the program; helpers reserved for the GPL may be called.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "license")]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    /// Never called: nothing in the program can panic, and the verifier would refuse the loop.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
