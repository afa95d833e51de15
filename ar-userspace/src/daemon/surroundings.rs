//! What this host must stay able to reach: the facts behind the lock-out guard (AR-OFF-5).
//!
//! Looked up once at the start. That an address must not be banned is `policy`'s to say.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

use crate::offender::Offender;
use crate::policy::{Guard, Reason};

/// Own addresses, default gateways and resolvers.
///
/// # Errors
///
/// When the kernel does not tell the host's addresses. Routes and resolvers that cannot be read protect nobody.
pub fn guard() -> anyhow::Result<Guard> {
    let mut guard = Guard::default();
    for address in getifaddrs()
        .context("cannot list the host's addresses")?
        .filter_map(address_of)
    {
        guard.protect(Offender::new(address), Reason::OwnAddress);
    }
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let v4 = gateways_v4(&read("/proc/net/route"));
    let v6 = gateways_v6(&read("/proc/net/ipv6_route"));
    for gateway in v4.into_iter().chain(v6) {
        guard.protect(Offender::new(gateway), Reason::Gateway);
    }
    for resolver in resolvers(&read("/etc/resolv.conf")) {
        guard.protect(Offender::new(resolver), Reason::Resolver);
    }
    Ok(guard)
}

/// The name of this host, as messages to executables tell it.
pub(super) fn node() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

fn address_of(entry: InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

/// Gateways of default routes in the form of `/proc/net/route`: interface, destination and gateway, the
/// addresses in hexadecimal and in the host's byte order.
fn gateways_v4(table: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let mut columns = line.split_whitespace().skip(1);
        let destination = u32::from_str_radix(columns.next()?, 16).ok()?;
        let gateway = u32::from_str_radix(columns.next()?, 16).ok()?;
        let is_default = destination == 0 && gateway != 0;
        is_default.then(|| Ipv4Addr::from(gateway.to_ne_bytes()).into())
    };
    table.lines().filter_map(gateway).collect()
}

/// Gateways of default routes in the form of `/proc/net/ipv6_route`: destination, its length, source, its
/// length, gateway; the addresses in hexadecimal.
fn gateways_v6(table: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let [_, "00", _, _, gateway, ..] = columns[..] else {
            return None;
        };
        let gateway = u128::from_str_radix(gateway, 16).ok()?;
        (gateway != 0).then(|| Ipv6Addr::from_bits(gateway).into())
    };
    table.lines().filter_map(gateway).collect()
}

fn resolvers(resolv_conf: &str) -> Vec<IpAddr> {
    let resolver = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words
            .next()
            .filter(|&word| word == "nameserver")
            .and(words.next())?;
        // A link-local resolver may carry its zone.
        address.split('%').next()?.parse().ok()
    };
    resolv_conf.lines().filter_map(resolver).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[IpAddr], expected: &[&str]) {
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn gateways_are_those_of_default_routes() {
        let gateway = u32::from_ne_bytes([192, 0, 2, 1]);
        let network = u32::from_ne_bytes([198, 51, 100, 0]);
        let table = format!(
            "Iface\tDestination\tGateway \tFlags\n\
             eth0\t00000000\t{gateway:08X}\t0003\n\
             eth0\t{network:08X}\t{gateway:08X}\t0003\n\
             eth1\t00000000\t00000000\t0001\n"
        );
        check(&gateways_v4(&table), &["192.0.2.1"]);
        let table = "\
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";
        check(&gateways_v6(table), &["fe80::1"]);
    }

    #[test]
    fn resolvers_are_the_name_servers() {
        let text = "# nameserver 192.0.2.9\nsearch example.net\nnameserver 192.0.2.53\nnameserver fe80::53%eth0\nnameserver\n";
        check(&resolvers(text), &["192.0.2.53", "fe80::53"]);
    }
}
