//! Which interfaces there are.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkLayerType, LinkMessage, LinkXdp};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nameindex};
use rustix::io::Errno;
use rustix::net::netdevice::index_to_name;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

use crate::enforcer::Selection;

/// Room for one answer. The kernel makes none longer than 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// A network interface of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// Its index, which no other has.
    pub(super) index: u32,
    /// Its name.
    pub(super) name: String,
    pub(super) is_up: bool,
    is_loopback: bool,
}

impl Interface {
    pub(super) fn is_in(&self, selection: &Selection) -> bool {
        selection.takes(&self.name, self.is_loopback)
    }
}

/// Every interface, whether it is up or not. While interfaces come and go, one may be missing: [`is_there`] knows.
///
/// # Errors
///
/// When the kernel does not tell.
pub(super) fn all() -> anyhow::Result<Vec<Interface>> {
    let listing = "cannot list the network interfaces";
    let flags: BTreeMap<String, InterfaceFlags> = getifaddrs()
        .context(listing)?
        .map(|entry| (entry.interface_name, entry.flags))
        .collect();
    let names = if_nameindex().context(listing)?;
    let interface = |found: &nix::net::if_::Interface| {
        let name = found.name().to_string_lossy().into_owned();
        let has = |flag| flags.get(&name).is_some_and(|flags| flags.contains(flag));
        Interface {
            index: found.index(),
            is_up: has(InterfaceFlags::IFF_UP),
            is_loopback: has(InterfaceFlags::IFF_LOOPBACK),
            name,
        }
    };
    Ok(names.iter().map(interface).collect())
}

/// Whether there is an interface of this index; also when the kernel does not tell.
pub(super) fn is_there(index: u32) -> bool {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None);
    let name = socket.and_then(|socket| index_to_name(socket, index));
    name != Err(Errno::NODEV)
}

/// The interfaces to cover at the start.
///
/// # Errors
///
/// When the kernel does not tell, or an interface that is asked for by name is not there.
pub(super) fn at_start(selection: &Selection) -> anyhow::Result<Vec<Interface>> {
    let mut interfaces = all()?;
    for name in selection.required()? {
        if !interfaces.iter().any(|interface| interface.name == name) {
            let there: Vec<&str> = interfaces.iter().map(|it| it.name.as_str()).collect();
            bail!(
                "expected an interface, found `{name}`; there are {}",
                there.join(", ")
            );
        }
    }
    interfaces.retain(|interface| interface.is_in(selection));
    Ok(interfaces)
}

/// Identifier of the XDP program that is attached to the interface, whosoever it is.
///
/// # Errors
///
/// When the kernel does not tell.
pub(super) fn xdp_program(interface: &Interface) -> anyhow::Result<Option<u32>> {
    let mut attributes = link(interface)?.attributes.into_iter();
    Ok(attributes.find_map(|attribute| match attribute {
        LinkAttribute::Xdp(facts) => facts.into_iter().find_map(|fact| match fact {
            LinkXdp::ProgId(id) => Some(id),
            _ => None,
        }),
        _ => None,
    }))
}

/// Whether its frames begin with an Ethernet header, as the programs at the XDP hooks read them. Those of a tunnel
/// may begin with the IP header.
///
/// # Errors
///
/// When the kernel does not tell.
pub(super) fn has_ethernet(interface: &Interface) -> anyhow::Result<bool> {
    let kind = link(interface)?.header.link_layer_type;
    Ok(matches!(
        kind,
        LinkLayerType::Ether | LinkLayerType::Loopback
    ))
}

/// What the kernel tells of one interface.
fn link(interface: &Interface) -> anyhow::Result<LinkMessage> {
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
    Ok(link)
}
