//! The kernel's list of TCP sockets, and its end for one of them: messages of `linux/inet_diag.h`, byte by byte.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

/// `AF_INET` and `AF_INET6`; the latter has the IPv4 peers of sockets that listen for both.
pub(super) const FAMILIES: [u8; 2] = [INET, INET6];
const INET: u8 = 2;
const INET6: u8 = 10;

const TCP: u8 = 6;

/// Of `linux/sock_diag.h` and `linux/netlink.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;

const HEADER: usize = 16;

/// Of `net/tcp_states.h`, by number: every state with a peer that holds a socket, so not those of a socket that is
/// closed (7), listens (10), or only waits for late packets (6).
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

/// Room for one datagram. The kernel makes none longer than 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// `struct inet_diag_sockid`: ports, addresses, interface, cookie. Handed back as it came.
pub(super) type SocketId = [u8; 48];

/// Where the peer's address stands in it.
const PEER: usize = 20;

/// A conversation with the kernel about sockets.
pub(super) struct Diag {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Diag {
    pub(super) fn open() -> anyhow::Result<Self> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        );
        Ok(Self {
            socket: socket.context("no netlink socket for sockets")?,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// The TCP sockets of a family with a peer that `is_meant`.
    pub(super) fn sockets(
        &mut self,
        family: u8,
        is_meant: impl Fn(IpAddr) -> bool,
    ) -> anyhow::Result<Vec<SocketId>> {
        let request = request(SOCK_DIAG_BY_FAMILY, REQUEST | DUMP, family, &[0; 48]);
        self.send(&request)?;
        let mut found = Vec::new();
        loop {
            let length = self.receive()?;
            for (kind, body) in messages(&self.buffer[..length]) {
                match kind {
                    NLMSG_DONE => {
                        outcome(body).context("the kernel gave up")?;
                        return Ok(found);
                    }
                    NLMSG_ERROR => {
                        outcome(body).context("the kernel refuses")?;
                        bail!("the kernel lists nothing");
                    }
                    // `struct inet_diag_msg`: four bytes, then the identity.
                    SOCK_DIAG_BY_FAMILY => {
                        let id = body.get(4..).and_then(|rest| rest.first_chunk());
                        let id: SocketId = *id.context("a socket that is cut short")?;
                        if peer(family, &id).is_some_and(&is_meant) {
                            found.push(id);
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Ends the connection, as if the peer had done so rudely; whether it was still there.
    pub(super) fn destroy(&mut self, family: u8, id: &SocketId) -> anyhow::Result<bool> {
        self.send(&request(SOCK_DESTROY, REQUEST | ACK, family, id))?;
        loop {
            let length = self.receive()?;
            for (kind, body) in messages(&self.buffer[..length]) {
                if kind != NLMSG_ERROR {
                    continue;
                }
                return match outcome(body) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                    outcome => Ok(outcome.map(|()| true)?),
                };
            }
        }
    }

    fn send(&self, message: &[u8]) -> anyhow::Result<()> {
        send(&self.socket, message, SendFlags::empty()).context("cannot ask")?;
        Ok(())
    }

    fn receive(&mut self) -> anyhow::Result<usize> {
        let received = recv(&self.socket, &mut self.buffer[..], RecvFlags::empty());
        Ok(received.context("no answer")?.0)
    }
}

/// A header and a `struct inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, id: &SocketId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72_u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and port: one question at a time.
    bytes.extend([0; 8]);
    bytes.extend([family, TCP, 0, 0]);
    bytes.extend(STATES.to_ne_bytes());
    bytes.extend(id);
    bytes
}

/// Kind and body of each message of one datagram.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let body = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// What a `struct nlmsgerr`, or the end of a list, tells: 0, or the negative number of an error.
fn outcome(body: &[u8]) -> io::Result<()> {
    let code = body
        .first_chunk()
        .map_or(0, |code| i32::from_ne_bytes(*code));
    match code {
        0.. => Ok(()),
        _ => Err(io::Error::from_raw_os_error(code.saturating_neg())),
    }
}

fn peer(family: u8, id: &SocketId) -> Option<IpAddr> {
    let bytes = id.get(PEER..)?;
    match family {
        INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        _ => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
    }
}
