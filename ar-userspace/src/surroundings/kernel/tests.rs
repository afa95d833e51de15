//! What follows from lists of addresses and routes as the kernel gives them.

use netlink_packet_core::DefaultNla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteNextHop;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn address(len: u8, attributes: Vec<AddressAttribute>) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.prefix_len = len;
    message.attributes = attributes;
    RouteNetlinkMessage::NewAddress(message)
}

fn route(kind: RouteType, to: (&str, u8), attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let destination = ip(to.0);
    message.header.kind = kind;
    message.header.address_family = match destination {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = to.1;
    message.header.table = 254;
    message.attributes = attributes;
    if to.1 > 0 {
        let destination = RouteAttribute::Destination(destination.into());
        message.attributes.push(destination);
    }
    message
}

fn gateway(text: &str) -> RouteAttribute {
    RouteAttribute::Gateway(ip(text).into())
}

fn hop(attributes: Vec<RouteAttribute>) -> RouteNextHop {
    let mut hop = RouteNextHop::default();
    hop.attributes = attributes;
    hop
}

/// `expected` is each address with why it is protected, or `-`.
fn check(facts: &[RouteNetlinkMessage], expected: &[(&str, &str)]) {
    let mut guard = Guard::default();
    note(&mut guard, facts);
    for (address, why) in expected {
        let reason = guard.reason(address.parse().unwrap());
        let found = reason.map_or("-".to_owned(), |reason| reason.to_string());
        assert_eq!(found, *why, "{address}");
    }
}

fn check_routes(routes: Vec<RouteMessage>, expected: &[(&str, &str)]) {
    let facts: Vec<_> = routes
        .into_iter()
        .map(RouteNetlinkMessage::NewRoute)
        .collect();
    check(&facts, expected);
}

const OWN: &str = "an address of this host";
const BROADCAST: &str = "the broadcast address of a network of this host";
const GATEWAY: &str = "a default gateway";

/// AR-OFF-5
#[test]
fn an_address_and_the_broadcast_address_of_its_network_are_protected() {
    let facts = [
        address(
            24,
            vec![
                AddressAttribute::Address(ip("192.0.2.10")),
                AddressAttribute::Local(ip("192.0.2.10")),
            ],
        ),
        address(64, vec![AddressAttribute::Address(ip("2001:db8::10"))]),
        address(64, vec![]),
    ];
    check(
        &facts,
        &[
            ("192.0.2.10", OWN),
            ("192.0.2.255", BROADCAST),
            ("192.0.2.11", "-"),
            ("2001:db8::10", OWN),
            ("2001:db8::11", "-"),
        ],
    );
}

#[test]
fn the_broadcast_address_is_also_what_the_operator_made_it() {
    let own = |text: &str, len, more: Vec<AddressAttribute>| {
        let both = [
            AddressAttribute::Address(ip(text)),
            AddressAttribute::Local(ip(text)),
        ];
        address(len, both.into_iter().chain(more).collect())
    };
    let set = AddressAttribute::Broadcast([192, 0, 2, 100].into());
    let facts = [
        own("192.0.2.10", 24, vec![set]),
        own("198.51.100.2", 31, vec![]),
        own("203.0.113.1", 32, vec![]),
    ];
    check(
        &facts,
        &[
            ("192.0.2.100", BROADCAST),
            ("192.0.2.255", BROADCAST),
            ("198.51.100.3", "-"),
            ("203.0.113.1", OWN),
        ],
    );
}

#[test]
fn the_other_end_of_a_point_to_point_link_is_not_this_host() {
    let facts = [address(
        24,
        vec![
            AddressAttribute::Address(ip("198.51.100.1")),
            AddressAttribute::Local(ip("192.0.2.10")),
        ],
    )];
    check(
        &facts,
        &[
            ("192.0.2.10", OWN),
            ("198.51.100.1", "-"),
            ("198.51.100.255", "-"),
            ("192.0.2.255", "-"),
        ],
    );
}

/// AR-OFF-5
#[test]
fn gateways_of_every_table_family_and_path_are_protected() {
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::2".parse().unwrap()));
    let paths = RouteAttribute::MultiPath(vec![
        hop(vec![gateway("192.0.2.3")]),
        hop(vec![gateway("192.0.2.4")]),
    ]);
    let policy = RouteAttribute::Table(1000);
    check_routes(
        vec![
            route(
                RouteType::Unicast,
                ("0.0.0.0", 0),
                vec![gateway("192.0.2.1")],
            ),
            route(
                RouteType::Unicast,
                ("0.0.0.0", 0),
                vec![policy, gateway("192.0.2.2")],
            ),
            route(RouteType::Unicast, ("0.0.0.0", 0), vec![paths]),
            route(RouteType::Unicast, ("0.0.0.0", 0), vec![via]),
            route(RouteType::Unicast, ("::", 0), vec![gateway("fe80::1")]),
            route(RouteType::Unicast, ("0.0.0.0", 0), vec![]),
        ],
        &[
            ("192.0.2.1", GATEWAY),
            ("192.0.2.2", GATEWAY),
            ("192.0.2.3", GATEWAY),
            ("192.0.2.4", GATEWAY),
            ("fe80::1", GATEWAY),
            ("fe80::2", GATEWAY),
            ("192.0.2.5", "-"),
        ],
    );
}

#[test]
fn a_route_to_half_the_world_is_a_default_route_and_one_to_a_network_is_none() {
    check_routes(
        vec![
            route(
                RouteType::Unicast,
                ("128.0.0.0", 1),
                vec![gateway("192.0.2.1")],
            ),
            route(RouteType::Unicast, ("2000::", 3), vec![gateway("fe80::1")]),
            route(
                RouteType::Unicast,
                ("10.0.0.0", 8),
                vec![gateway("192.0.2.2")],
            ),
            route(RouteType::Unicast, ("fc00::", 7), vec![gateway("fe80::2")]),
        ],
        &[
            ("192.0.2.1", GATEWAY),
            ("fe80::1", GATEWAY),
            ("192.0.2.2", "-"),
            ("fe80::2", "-"),
        ],
    );
}

#[test]
fn a_network_that_is_all_this_hosts_is_protected_and_a_trap_for_a_proxy_is_not() {
    let local = |to, table| {
        let mut route = route(RouteType::Local, to, vec![RouteAttribute::Table(table)]);
        route.header.table = 0;
        route
    };
    check_routes(
        vec![
            local(("198.18.0.0", 16), TABLE_LOCAL),
            local(("192.0.2.1", 32), TABLE_LOCAL),
            local(("203.0.113.0", 24), 100),
            local(("0.0.0.0", 0), TABLE_LOCAL),
        ],
        &[
            ("198.18.7.7", OWN),
            ("192.0.2.1", OWN),
            ("203.0.113.7", "-"),
            ("8.8.8.8", "-"),
        ],
    );
}

#[test]
fn a_router_is_not_kept_busy_by_routes_that_protect_nobody() {
    let change = |route| matters(&RouteNetlinkMessage::DelRoute(route));
    let other = RouteAttribute::Other(DefaultNla::new(99, vec![]));
    assert!(!change(route(
        RouteType::Unicast,
        ("10.0.0.0", 8),
        vec![other]
    )));
    assert!(change(route(RouteType::Unicast, ("0.0.0.0", 0), vec![])));
    assert!(change(route(RouteType::Local, ("192.0.2.1", 32), vec![])));
    assert!(matters(&address(24, vec![])));
}
