//! The resolvers that this host asks, from `resolv.conf` and from what stands behind a local stub.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// What the C library reads.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where the servers stand that a stub on this host asks.
const BEHIND_A_STUB: [&str; 2] = [
    "/run/systemd/resolve/resolv.conf",
    "/run/NetworkManager/no-stub-resolv.conf",
];

/// The files that name resolvers; not all of them exist everywhere.
pub(super) fn files() -> impl Iterator<Item = &'static Path> {
    [RESOLV_CONF]
        .into_iter()
        .chain(BEHIND_A_STUB)
        .map(Path::new)
}

/// The resolvers in use at this moment. A file that cannot be read names nobody.
pub(super) fn in_use() -> BTreeSet<IpAddr> {
    in_use_by(|path| fs::read_to_string(path).unwrap_or_default())
}

fn in_use_by(read: impl Fn(&str) -> String) -> BTreeSet<IpAddr> {
    let mut found = resolvers(&read(RESOLV_CONF));
    // Without any, the C library asks this host.
    if found.iter().all(IpAddr::is_loopback) {
        for path in BEHIND_A_STUB {
            found.extend(resolvers(&read(path)));
        }
    }
    found
}

fn resolvers(resolv_conf: &str) -> BTreeSet<IpAddr> {
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

    fn check(resolv_conf: &str, behind: &str, expected: &[&str]) {
        let found = in_use_by(|path| match path {
            RESOLV_CONF => resolv_conf.to_owned(),
            "/run/systemd/resolve/resolv.conf" => behind.to_owned(),
            _ => String::new(),
        });
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{resolv_conf}");
    }

    /// AR-OFF-5
    #[test]
    fn resolvers_are_the_name_servers() {
        let text = "# nameserver 192.0.2.9\nsearch example.net\nnameserver 192.0.2.53\n\
            nameserver fe80::53%eth0\nnameserver\nnameserver resolver.example\n";
        check(text, "", &["192.0.2.53", "fe80::53"]);
    }

    #[test]
    fn what_stands_behind_a_stub_counts_only_when_the_stub_is_asked() {
        let behind = "nameserver 192.0.2.53\n";
        check(
            "nameserver 127.0.0.53\n",
            behind,
            &["127.0.0.53", "192.0.2.53"],
        );
        check("", behind, &["192.0.2.53"]);
        check("nameserver 192.0.2.1\n", behind, &["192.0.2.1"]);
    }
}
