//! From the kernel's addresses and routes to what is protected: own addresses, broadcast addresses, gateways.
//!
//! Pure: what was listed comes in, and the guard is added to.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia,
};

use crate::offender::{Offender, Prefix};
use crate::policy::{Guard, Reason};

/// The table in which the kernel keeps what belongs to this host.
const TABLE_LOCAL: u32 = 255;

/// Longest destinations of a route that leads to most of the world. Two halves, or the allocated eighth of
/// IPv6, are in use in place of a route to everything.
const WORLD_V4: u8 = 1;
const WORLD_V6: u8 = 3;

/// Protects what the kernel's list shows.
pub(super) fn note(guard: &mut Guard, facts: &[RouteNetlinkMessage]) {
    // The first reason is kept: an own address comes before anything that a route says of it.
    for fact in facts {
        if let RouteNetlinkMessage::NewAddress(address) = fact {
            note_address(guard, address);
        }
    }
    for fact in facts {
        if let RouteNetlinkMessage::NewRoute(route) = fact {
            note_route(guard, route);
        }
    }
}

/// Whether a change may change what is protected. On a router, most do not.
pub(super) fn matters(change: &RouteNetlinkMessage) -> bool {
    match change {
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            route.header.kind != RouteType::Unicast || leads_to_the_world(route)
        }
        _ => true,
    }
}

fn note_address(guard: &mut Guard, message: &AddressMessage) {
    let (mut address, mut local, mut broadcast) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(found) => address = Some(*found),
            AddressAttribute::Local(found) => local = Some(*found),
            AddressAttribute::Broadcast(found) => broadcast = Some(IpAddr::V4(*found)),
            _ => {}
        }
    }
    // On a point-to-point link, `address` is the other end.
    let Some(own) = local.or(address) else { return };
    guard.protect(Offender::new(own), Reason::OwnAddress);
    let on_a_network = address == Some(own);
    let directed = directed_broadcast(own, message.header.prefix_len).filter(|_| on_a_network);
    for broadcast in broadcast.into_iter().chain(directed) {
        guard.protect(Offender::new(broadcast), Reason::Broadcast);
    }
}

/// The last address of a network that is large enough to have one for this.
fn directed_broadcast(own: IpAddr, len: u8) -> Option<IpAddr> {
    let IpAddr::V4(own) = own else { return None };
    let host_bits = u32::MAX.checked_shr(len.into()).unwrap_or(0);
    (1..=30)
        .contains(&len)
        .then(|| Ipv4Addr::from_bits(own.to_bits() | host_bits).into())
}

fn note_route(guard: &mut Guard, route: &RouteMessage) {
    match route.header.kind {
        // A whole network may be this host's own. Other tables hold traps for transparent proxies.
        RouteType::Local | RouteType::Anycast if table(route) == TABLE_LOCAL => {
            protect_destination(guard, route, &Reason::OwnAddress);
        }
        RouteType::Broadcast => protect_destination(guard, route, &Reason::Broadcast),
        RouteType::Unicast if leads_to_the_world(route) => {
            for gateway in gateways(&route.attributes) {
                guard.protect(Offender::new(gateway), Reason::Gateway);
            }
        }
        _ => {}
    }
}

fn protect_destination(guard: &mut Guard, route: &RouteMessage, reason: &Reason) {
    let destination = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Destination(address) => ip(address),
            _ => None,
        });
    let len = route.header.destination_prefix_length;
    let Some(network) = destination
        .and_then(|address| Prefix::new(address, len))
        .filter(|network| network.bits() > 0)
    else {
        return;
    };
    match (destination, len) {
        (Some(address @ IpAddr::V4(_)), 32) | (Some(address @ IpAddr::V6(_)), 128) => {
            guard.protect(Offender::new(address), reason.clone());
        }
        _ => guard.protect_network(network, reason.clone()),
    }
}

fn table(route: &RouteMessage) -> u32 {
    let named = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    named.unwrap_or(route.header.table.into())
}

fn leads_to_the_world(route: &RouteMessage) -> bool {
    let longest = match route.header.address_family {
        netlink_packet_route::AddressFamily::Inet => WORLD_V4,
        netlink_packet_route::AddressFamily::Inet6 => WORLD_V6,
        _ => return false,
    };
    route.header.destination_prefix_length <= longest
}

/// The gateways of a route, of each of its paths.
fn gateways(attributes: &[RouteAttribute]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(address) => found.extend(ip(address)),
            RouteAttribute::Via(RouteVia::Inet(address)) => found.push(IpAddr::V4(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => found.push(IpAddr::V6(*address)),
            RouteAttribute::MultiPath(hops) => {
                found.extend(hops.iter().flat_map(|hop| gateways(&hop.attributes)));
            }
            _ => {}
        }
    }
    found.retain(|address| !address.is_unspecified());
    found
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
