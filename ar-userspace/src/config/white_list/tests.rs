//! Who is covered by which list.

use super::*;

fn list(entries: &[&str]) -> WhiteList {
    let entry = |(index, text): (usize, &&str)| WhiteListEntry {
        line: index + 1,
        span: 0..0,
        text: (*text).to_owned(),
        kind: entry_kind(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}")),
    };
    WhiteList::new(entries.iter().enumerate().map(entry).collect())
}

/// Compares the line of the entry that covers `offender`.
#[track_caller]
fn check(entries: &[&str], offender: &str, line: Option<usize>) {
    let list = list(entries);
    let covering = list.covers(offender.parse().unwrap(), offender);
    let got = covering.map(|entry| entry.line);
    assert_eq!(got, line, "{offender} in {entries:?}");
}

/// AR-WL-1
#[test]
fn addresses_and_networks_cover_what_is_in_them() {
    check(&["203.0.113.5"], "203.0.113.5", Some(1));
    check(&["203.0.113.5"], "203.0.113.50", None);
    check(&["198.51.100.77/25"], "198.51.100.127", Some(1));
    check(&["198.51.100.77/25"], "198.51.100.128", None);
    check(&["10.0.0.0/255.255.0.0"], "10.0.255.1", Some(1));
    check(&["10.0.0.0/255.255.0.0"], "10.1.0.1", None);
    check(&["10.0.0.0/0"], "203.0.113.5", Some(1));
    check(&["0.0.0.0/0"], "2001:db8::1", None);
    check(
        &["192.0.2.0/24", "192.0.2.7", "192.0.0.0/16"],
        "192.0.2.7",
        Some(3),
    );
    check(&["192.0.2.1", "192.0.2.1"], "192.0.2.1", Some(1));
}

/// AR-WL-3
#[test]
fn patterns_are_plain_text_perhaps_tied_to_an_end() {
    check(&["^192.168."], "192.168.3.4", Some(1));
    check(&["^192.168."], "10.192.168.1", None);
    check(&["^192.168."], "192.1.68.1", None);
    check(&[".77$"], "10.0.0.77", Some(1));
    check(&[".77$"], "10.0.77.1", None);
    check(&[".113."], "203.0.113.9", Some(1));
    check(&["^10.9.|^10.8.|.77$"], "10.8.1.1", Some(1));
    check(&["^10.9.|^10.8.|.77$"], "10.7.1.1", None);
    check(&["^10.0.0.1$"], "10.0.0.10", None);
    check(&["^10.0.0.1$"], "10.0.0.1", Some(1));
    check(&["2001:DB8:"], "2001:db8:1::1", Some(1));
    check(&["a||b"], "10.0.0.1", Some(1));
    check(&["^$"], "10.0.0.1", None);
    check(&["2001:db8:0:", "192.0.2.0/24"], "2001:DB8:0:0::1", Some(1));
    check(&["^2001:db8::1$"], "2001:DB8:0:0:0:0:0:1", Some(1));
}

/// AR-WL-4
#[test]
fn mapped_addresses_are_ipv4_on_both_sides() {
    check(&["203.0.113.5"], "::ffff:203.0.113.5", Some(1));
    check(&["::ffff:203.0.113.5"], "203.0.113.5", Some(1));
    check(&["::ffff:203.0.113.0/120"], "203.0.113.5", Some(1));
    check(&["::ffff:203.0.113.0/120"], "203.0.112.5", None);
    check(&["^203.0.113."], "::ffff:203.0.113.5", Some(1));
}

/// AR-WL-5
#[test]
fn ipv6_entries_are_compared_as_addresses() {
    check(&["2001:DB8:0:0:0:0:0:1"], "2001:db8::1", Some(1));
    check(&["2001:db8::1"], "2001:db8::10", None);
    check(&["2001:db8:aaaa::/48"], "2001:db8:aaaa:1::2", Some(1));
    check(&["2001:db8:aaaa::/48"], "2001:db8:aaab::1", None);
}

#[test]
fn networks_are_listed_once_and_in_order() {
    let list = list(&["10.0.0.0/8", "^x", "192.0.2.1", "10.1.2.3/8", "::1"]);
    let networks: Vec<String> = list.networks().map(|network| network.to_string()).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "::1/128"]);
    assert_eq!(list.entries().len(), 5);
}

#[test]
fn a_long_list_is_looked_up_and_not_walked() {
    let entries: Vec<String> = (0..10_000u32)
        .map(|number| Ipv4Addr::from_bits(number * 7).to_string())
        .collect();
    let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
    let list = list(&entries);
    for number in 0..70_000u32 {
        let addr = Ipv4Addr::from_bits(number);
        let covered = list.covers(Offender::new(IpAddr::V4(addr)), "").is_some();
        assert_eq!(covered, number % 7 == 0, "{addr}");
    }
}
