//! Which interfaces there are.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// Room for one answer. The kernel makes none longer than 32 KiB.
const DATAGRAM: usize = 64 * 1024;

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

/// Identifier of the XDP program that is attached to the interface, whosoever it is.
///
/// # Errors
///
/// When the kernel does not tell.
pub(super) fn xdp_program(interface: &Interface) -> anyhow::Result<Option<u32>> {
    let mut link = LinkMessage::default();
    link.header.index = interface.index;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let request = RouteNetlinkMessage::GetLink(link);
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // NETLINK_ROUTE is 0.
        None,
    )
    .context("no netlink socket")?;
    send(&socket, &bytes, SendFlags::empty()).context("cannot ask")?;
    let mut buffer = vec![0; DATAGRAM];
    let (len, _) = recv(&socket, &mut buffer[..], RecvFlags::empty()).context("no answer")?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer[..len])
        .context("cannot read the answer")?;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = answer.payload else {
        bail!("expected an interface, found another answer");
    };
    let mut attributes = link.attributes.into_iter();
    Ok(attributes.find_map(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => facts.into_iter().find_map(|fact| match fact {
            LinkXdp::ProgId(id) => Some(id),
            _ => None,
        }),
        _ => None,
    }))
}
