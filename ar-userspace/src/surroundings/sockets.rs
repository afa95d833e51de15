//! The TCP sockets of this network namespace, as `/proc/net/tcp` and `tcp6` list them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

const ESTABLISHED: &str = "01";
const LISTENING: &str = "0A";

/// Every socket that listens or has a peer.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    established: Vec<Socket>,
    listening: Vec<Socket>,
    /// Ports that the kernel gives to connections that are made from here.
    ephemeral: Option<RangeInclusive<u16>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    port: u16,
    peer: IpAddr,
    inode: u64,
}

impl Sockets {
    /// Reads the kernel's tables. What cannot be read is empty.
    pub(super) fn read() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let mut sockets = Self {
            ephemeral: range(&read("/proc/sys/net/ipv4/ip_local_port_range")),
            ..Self::default()
        };
        sockets.note(&read("/proc/net/tcp"));
        sockets.note(&read("/proc/net/tcp6"));
        sockets
    }

    fn note(&mut self, table: &str) {
        for line in table.lines() {
            let mut columns = line.split_ascii_whitespace().skip(1);
            let (Some(local), Some(peer), Some(state), Some(inode)) = (
                columns.next(),
                columns.next(),
                columns.next(),
                columns.nth(5),
            ) else {
                continue;
            };
            let list = match state {
                ESTABLISHED => &mut self.established,
                LISTENING => &mut self.listening,
                _ => continue,
            };
            if let (Some((_, port)), Some((peer, _)), Ok(inode)) =
                (end(local), end(peer), inode.parse())
            {
                list.push(Socket { port, peer, inode });
            }
        }
    }

    /// Who is at the other end of the connections, among the sockets `held`, that came to a server of this
    /// host. `by_sessions` are the sockets that sessions hold, of all of them.
    ///
    /// A session may also hold connections that it forwards: those that it made itself have a port that the
    /// kernel chose, and those that came to it have one at which a session listens. Strangers make these.
    pub(super) fn clients(&self, held: &BTreeSet<u64>, by_sessions: &BTreeSet<u64>) -> Vec<IpAddr> {
        let listens = |port, by_session| {
            self.listening.iter().any(|socket| {
                socket.port == port && by_sessions.contains(&socket.inode) == by_session
            })
        };
        let is_server = |port| {
            let chosen = |range: &RangeInclusive<u16>| range.contains(&port);
            // The server may be gone while its sessions last.
            let may_be = listens(port, false) || !self.ephemeral.as_ref().is_some_and(chosen);
            may_be && !listens(port, true)
        };
        self.established
            .iter()
            .filter(|socket| held.contains(&socket.inode) && is_server(socket.port))
            .map(|socket| socket.peer)
            .collect()
    }
}

/// One end of a socket: address and port, both in hexadecimal, the address in words of the host's byte order.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let text = address.get(at..at + 8)?;
        Some(u32::from_str_radix(text, 16).ok()?.to_ne_bytes())
    };
    let address = match address.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes
                .iter_mut()
                .zip(words.iter().flatten())
                .for_each(|(byte, from)| *byte = *from);
            IpAddr::from(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((address, port))
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut ends = text.split_ascii_whitespace();
    Some(ends.next()?.parse().ok()?..=ends.next()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the kernel's table: local and remote end, state, inode.
    fn line(local: (&str, u16), peer: (&str, u16), state: &str, inode: u64) -> String {
        let end = |(address, port): (&str, u16)| {
            let words: String = match address.parse().unwrap() {
                IpAddr::V4(address) => format!("{:08X}", u32::from_ne_bytes(address.octets())),
                IpAddr::V6(address) => address
                    .octets()
                    .chunks(4)
                    .map(|word| u32::from_ne_bytes(word.try_into().unwrap()))
                    .map(|word| format!("{word:08X}"))
                    .collect(),
            };
            format!("{words}:{port:04X}")
        };
        format!(
            "   0: {} {} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n",
            end(local),
            end(peer)
        )
    }

    fn sockets() -> Sockets {
        let mut sockets = Sockets {
            ephemeral: range("32768\t60999\n"),
            ..Sockets::default()
        };
        let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let nobody = ("0.0.0.0", 0);
        sockets.note(
            &[
                header,
                &line(("0.0.0.0", 22), nobody, LISTENING, 1),
                &line(("0.0.0.0", 40022), nobody, LISTENING, 2),
                &line(("0.0.0.0", 8080), nobody, LISTENING, 3),
                &line(("192.0.2.1", 22), ("198.51.100.7", 50000), ESTABLISHED, 10),
                &line(
                    ("192.0.2.1", 40022),
                    ("198.51.100.8", 50000),
                    ESTABLISHED,
                    11,
                ),
                &line(("192.0.2.1", 8080), ("203.0.113.9", 50000), ESTABLISHED, 12),
                &line(("192.0.2.1", 45000), ("203.0.113.10", 80), ESTABLISHED, 13),
                &line(
                    ("192.0.2.1", 2222),
                    ("198.51.100.9", 50000),
                    ESTABLISHED,
                    14,
                ),
                &line(("192.0.2.1", 22), ("203.0.113.11", 50000), "06", 15),
            ]
            .concat(),
        );
        sockets.note(&line(
            ("::ffff:192.0.2.1", 22),
            ("::ffff:198.51.100.6", 50000),
            ESTABLISHED,
            16,
        ));
        sockets.note(&line(
            ("2001:db8::1", 22),
            ("2001:db8::7", 50000),
            ESTABLISHED,
            17,
        ));
        sockets
    }

    fn check(held: &[u64], expected: &[&str]) {
        let all: BTreeSet<u64> = [3, 10, 11, 12, 13, 14, 15, 16, 17].into();
        let clients = sockets().clients(&held.iter().copied().collect(), &all);
        let clients: Vec<String> = clients.iter().map(ToString::to_string).collect();
        assert_eq!(clients, expected, "{held:?}");
    }

    #[test]
    fn a_client_is_who_came_to_a_server_port() {
        check(&[10], &["198.51.100.7"]);
        check(&[11], &["198.51.100.8"]);
        check(&[16, 17], &["::ffff:198.51.100.6", "2001:db8::7"]);
        check(&[15], &[]);
        check(&[], &[]);
    }

    #[test]
    fn a_server_that_is_gone_keeps_its_clients() {
        check(&[14], &["198.51.100.9"]);
    }

    /// A stranger who uses a port that an administrator forwards is no administrator.
    #[test]
    fn forwarded_connections_protect_nobody() {
        check(&[12], &[]);
        check(&[13], &[]);
    }
}
