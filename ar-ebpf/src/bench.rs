//! Programs for `cargo xtask bench`, never for a host: a driver that puts one of many source addresses into the
//! frame and calls the program that is measured, and the floor, programs that do nothing. `designs` are other ways
//! to hold bans, beside which that of the host's program is measured. `flood` makes packets for `cargo xtask bench flood`.
//!
//! One address again and again would find its table entry in the nearest cache; many cost what they cost a host. They are
//! taken in the order in which they stand, which user space makes a random one: so the next is near when its turn comes,
//! as the header of a frame is that was just received, and no program waits for the driver's memory in its own time.
//! The kernel lets a program call only such as agree with it in multi-buffer frames, hence two of each.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
// As for the programs of a host.
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod designs;
#[cfg(target_arch = "bpf")]
#[expect(
    dead_code,
    reason = "these programs take frames of several buffers only"
)]
mod packet;

#[cfg(target_arch = "bpf")]
mod entry {
    use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP, XDP_PASS};
    use aya_ebpf::helpers::bpf_redirect;
    use aya_ebpf::macros::{map, xdp};
    use aya_ebpf::maps::{Array, ProgramArray};
    use aya_ebpf::programs::XdpContext;

    /// Addresses that are sent from, in network byte order.
    const KEYS: u32 = 1 << 20;

    #[map]
    static KEYS_V4: Array<u32> = Array::with_max_entries(KEYS, 0);
    #[map]
    static KEYS_V6: Array<[u64; 2]> = Array::with_max_entries(KEYS, 0);
    /// How many of them are used, less one: a power of two less one.
    #[map]
    static MASK: Array<u32> = Array::with_max_entries(1, 0);
    /// How many were taken.
    #[map]
    static STATE: Array<u32> = Array::with_max_entries(1, 0);
    /// The program that is measured.
    #[map]
    static TARGET: ProgramArray = ProgramArray::with_max_entries(1, 0);

    /// Index of the interface that `flood` sends out of.
    #[map]
    static OUT: Array<u32> = Array::with_max_entries(1, 0);

    /// Bytes before the source address, and before the end of it.
    const V4: usize = 14 + 12;
    const V6: usize = 14 + 8;
    const ETHERTYPE: usize = 12;

    #[xdp(frags)]
    fn drive(ctx: XdpContext) -> u32 {
        call(&ctx)
    }

    #[xdp]
    fn drive_linear(ctx: XdpContext) -> u32 {
        call(&ctx)
    }

    /// Sends the frame out of an interface, from another source each time, when it is run with live frames.
    #[xdp]
    fn flood(ctx: XdpContext) -> u32 {
        match (write_source(&ctx), write_check_sum(&ctx), OUT.get(0)) {
            // SAFETY: the helper takes no pointer. It returns an action.
            (Some(()), Some(()), Some(&out)) => unsafe { bpf_redirect(out, 0) as u32 },
            _ => XDP_ABORTED,
        }
    }

    #[xdp(frags)]
    fn bare_drop(_ctx: XdpContext) -> u32 {
        XDP_DROP
    }

    #[xdp]
    fn bare_drop_linear(_ctx: XdpContext) -> u32 {
        XDP_DROP
    }

    #[xdp(frags)]
    fn bare_pass(_ctx: XdpContext) -> u32 {
        XDP_PASS
    }

    #[xdp]
    fn bare_pass_linear(_ctx: XdpContext) -> u32 {
        XDP_PASS
    }

    #[inline(always)]
    fn call(ctx: &XdpContext) -> u32 {
        if write_source(ctx).is_some() {
            // SAFETY: the map holds one program of this type.
            unsafe { TARGET.tail_call(ctx, 0) };
        }
        XDP_ABORTED
    }

    #[inline(always)]
    fn write_source(ctx: &XdpContext) -> Option<()> {
        let state = STATE.get_ptr_mut(0)?;
        let mask = *MASK.get(0)?;
        // SAFETY: the pointer came from a look-up in an array; one CPU runs the measurement.
        let index = unsafe {
            *state = (*state).wrapping_add(1);
            *state & mask
        };
        let (start, end) = (ctx.data(), ctx.data_end());
        if start + V6 + 16 > end {
            return None;
        }
        // SAFETY: checked just above.
        unsafe {
            if ((start + ETHERTYPE) as *const u16).read_unaligned() == 0x0800_u16.to_be() {
                let key = *KEYS_V4.get(index)?;
                ((start + V4) as *mut u32).write_unaligned(key);
            } else {
                let [subnet, interface] = *KEYS_V6.get(index)?;
                ((start + V6) as *mut u64).write_unaligned(subnet);
                ((start + V6 + 8) as *mut u64).write_unaligned(interface);
            }
        }
        Some(())
    }

    /// That of an IPv4 header without options.
    #[inline(always)]
    fn write_check_sum(ctx: &XdpContext) -> Option<()> {
        const HEADER: usize = 14;
        const WORDS: usize = 10;
        const SUM: usize = 5;
        let start = ctx.data() + HEADER;
        if start + WORDS * 2 > ctx.data_end() {
            return None;
        }
        // The sum is of one's complement, the same in either byte order.
        let mut sum = 0_u32;
        for word in (0..WORDS).filter(|&word| word != SUM) {
            // SAFETY: all words were checked just above.
            sum += u32::from(unsafe { ((start + word * 2) as *const u16).read_unaligned() });
        }
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        // SAFETY: as above.
        unsafe { ((start + SUM * 2) as *mut u16).write_unaligned(!(sum as u16)) };
        Some(())
    }

    /// As for the programs of a host.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "license")]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    /// Never called: nothing in the programs can panic.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
