//! A program that drops every packet on an interface: the floor of `cargo xtask bench flood`. Nothing here is a test.

use std::path::Path;

use anyhow::{Context as _, Result};
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};

/// Puts the program of `object`, that of `cargo xtask bench`, on an interface in native mode, until it is dropped.
///
/// # Errors
///
/// When the kernel or the interface takes no such program.
pub fn attach(object: &Path, interface: &str) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    // The driver's, a million entries each.
    for name in ["KEYS_V4", "KEYS_V6"] {
        loader.map_max_entries(name, 1);
    }
    let mut kernel = loader
        .load_file(object)
        .with_context(|| format!("loading {}", object.display()))?;
    let program = kernel.program_mut("bare_drop").context("no `bare_drop`")?;
    let program: &mut Xdp = program.try_into()?;
    program.load()?;
    program
        .attach(interface, XdpMode::Driver)
        .with_context(|| format!("attaching to {interface}"))?;
    Ok(kernel)
}
