//! Which interfaces there are.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

/// A network interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index, which no other has.
    pub index: u32,
    /// Its name.
    pub name: String,
}

/// The interfaces of these names; every one that is up and not loopback when no name is given.
///
/// # Errors
///
/// When the kernel does not tell, or an interface of that name is not there.
pub fn all(names: &[String]) -> anyhow::Result<Vec<Interface>> {
    let flags: BTreeMap<String, InterfaceFlags> = getifaddrs()
        .context("cannot list the network interfaces")?
        .map(|entry| (entry.interface_name, entry.flags))
        .collect();
    let wanted: Vec<&String> = if names.is_empty() {
        let covered = |flags: &InterfaceFlags| {
            flags.contains(InterfaceFlags::IFF_UP) && !flags.contains(InterfaceFlags::IFF_LOOPBACK)
        };
        flags
            .iter()
            .filter(|(_, flags)| covered(flags))
            .map(|(name, _)| name)
            .collect()
    } else {
        names.iter().collect()
    };
    wanted
        .into_iter()
        .map(|name| {
            if !flags.contains_key(name) {
                let there: Vec<&str> = flags.keys().map(String::as_str).collect();
                bail!(
                    "expected an interface, found `{name}`; there are {}",
                    there.join(", ")
                );
            }
            let index = if_nametoindex(name.as_str())
                .with_context(|| format!("interface `{name}` has no index"))?;
            Ok(Interface {
                index,
                name: name.clone(),
            })
        })
        .collect()
}
