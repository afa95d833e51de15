//! Offenders in numbers: different ones, scattered as real ones are, and the same ones in every run.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::scene::alert;

/// Odd, so that the products visit every number of so many bits once before they visit one again.
const STRIDE: u32 = 2_654_435_761;
const LONG_STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// IPv4 addresses from 11.0.0.0 to 126.255.255.255.
pub(super) fn v4(count: u32) -> impl Iterator<Item = IpAddr> {
    let first_octets = 11..=126_u32;
    (1..)
        .map(|number: u32| number.wrapping_mul(STRIDE))
        .filter(move |address| first_octets.contains(&(address >> 24)))
        .take(count as usize)
        .map(|address| Ipv4Addr::from_bits(address).into())
}

/// IPv6 addresses of 2400::/8, each in a /64 of its own.
pub(super) fn v6(count: u32) -> impl Iterator<Item = IpAddr> {
    (1..=count).map(|number| {
        let network = network_of(0x24, number);
        let host = u64::from(number).wrapping_mul(LONG_STRIDE);
        Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host)).into()
    })
}

/// Networks in turns: IPv4 ones of 130.0.0.0 to 161.255.255.255, of each length from /24 to /31, none of which holds
/// another, and /64 of 2a00::/8. A /32 is an address and no network.
pub(super) fn networks(count: u32) -> impl Iterator<Item = String> {
    /// /24s that there are from 130.0.0.0 on.
    const BLOCKS: u32 = 32 << 16;
    (0..count).map(|number| {
        let half = number / 2;
        if number % 2 == 0 {
            let block = (130 << 16) + half.wrapping_mul(STRIDE) % BLOCKS;
            let address = Ipv4Addr::from_bits(block << 8);
            format!("{address}/{}", 24 + half % 8)
        } else {
            let network = u128::from(network_of(0x2a, half)) << 64;
            format!("{}/64", Ipv6Addr::from_bits(network))
        }
    })
}

/// The upper half of an address: one of the /64s that begin with this octet.
fn network_of(first_octet: u8, number: u32) -> u64 {
    let scattered = u64::from(number).wrapping_mul(LONG_STRIDE) & (u64::MAX >> 8);
    u64::from(first_octet) << 56 | scattered
}

/// An alert of a rule about each address, a line each.
pub(super) fn alerts(rule: u32, addresses: impl Iterator<Item = IpAddr>) -> String {
    addresses
        .map(|address| alert(rule, 10, &address.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const COUNT: u32 = 100_000;

    #[test]
    fn nobody_is_there_twice() {
        let different: BTreeSet<_> = v4(COUNT).chain(v6(COUNT)).collect();
        assert_eq!(different.len(), 2 * COUNT as usize);
    }

    #[test]
    fn no_network_holds_another_or_an_address() {
        let mut blocks = BTreeSet::new();
        let mut lengths = BTreeSet::new();
        for network in networks(COUNT) {
            let (first, length) = network.split_once('/').unwrap();
            let first: IpAddr = first.parse().unwrap();
            lengths.insert((first.is_ipv4(), length.parse::<u8>().unwrap()));
            // What a /24 or a /64 has in common.
            blocks.insert(match first {
                IpAddr::V4(first) => u64::from(first.to_bits() >> 8),
                IpAddr::V6(first) => u64::try_from(first.to_bits() >> 64).unwrap(),
            });
            match first {
                IpAddr::V4(first) => assert!((130..=161).contains(&first.octets()[0]), "{network}"),
                IpAddr::V6(first) => assert_eq!(first.octets()[0], 0x2a, "{network}"),
            }
        }
        assert_eq!(blocks.len(), COUNT as usize);
        let of_v4 = (24..=31).map(|length| (true, length));
        assert_eq!(lengths, of_v4.chain([(false, 64)]).collect());
    }
}
