//! Asks the kernel program's linker, which is also its code generator, for loads of whole words.
//!
//! Without it every field of a header is put together from single bytes, since nothing promises where in
//! memory a frame begins. Changes nothing for other targets.

use std::env;

/// Machines whose kernels let a program read a frame at any address. Elsewhere the verifier may refuse it.
const UNALIGNED: [&str; 4] = ["aarch64", "powerpc64", "s390x", "x86_64"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let cfg = |name: &str| env::var(name).unwrap_or_default();
    // The machine behind the BPF target, which whoever calls the compiler names with `--cfg`.
    let machine = cfg("CARGO_CFG_BPF_TARGET_ARCH");
    if cfg("CARGO_CFG_TARGET_ARCH") == "bpf" && UNALIGNED.contains(&machine.as_str()) {
        println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
