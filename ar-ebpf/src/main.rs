//! The XDP program `arfw_xdp`; a stub where the target is not the kernel.

fn main() {}
