//! Asks the kernel for addresses and routes, and hears of their changes, over rtnetlink.
//!
//! Which of them matter is `kernel`'s to say.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail};
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::route::RouteMessage;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};
use tokio::net::unix::pipe;

/// Room for one datagram. The kernel makes none longer than 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// How often a list that changed while it was read is asked for.
const ATTEMPTS: usize = 3;

/// Groups of the kernel's notices, as bits of `linux/rtnetlink.h`: interfaces.
pub(super) const LINKS: u32 = 0x1;

/// Interfaces, IPv4 addresses and routes, IPv6 addresses and routes.
pub(super) const ALL: u32 = LINKS | 0x10 | 0x40 | 0x100 | 0x400;

type Message = NetlinkMessage<RouteNetlinkMessage>;

/// Every address and every route of every table and family.
pub(super) fn facts() -> anyhow::Result<Vec<RouteNetlinkMessage>> {
    let addresses = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let routes = RouteNetlinkMessage::GetRoute(RouteMessage::default());
    let mut facts = list(&addresses).context("cannot list the host's addresses")?;
    facts.extend(list(&routes).context("cannot list the host's routes")?);
    Ok(facts)
}

/// A list that was not changed while it was read; after some attempts, one that was.
fn list(request: &RouteNetlinkMessage) -> anyhow::Result<Vec<RouteNetlinkMessage>> {
    let mut entries = Vec::new();
    for _ in 0..ATTEMPTS {
        let whole = dump(request.clone(), &mut entries)?;
        if whole {
            break;
        }
    }
    Ok(entries)
}

/// Asks once; whether nothing changed while the answer was read.
fn dump(
    request: RouteNetlinkMessage,
    entries: &mut Vec<RouteNetlinkMessage>,
) -> anyhow::Result<bool> {
    entries.clear();
    let socket = socket(SocketFlags::empty(), 0).context("no netlink socket")?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = Message::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(&socket, &bytes, SendFlags::empty()).context("cannot ask")?;

    let mut buffer = vec![0; DATAGRAM];
    let mut whole = true;
    loop {
        let (length, _) =
            recv(&socket, &mut buffer[..], RecvFlags::empty()).context("no answer")?;
        for bytes in messages(&buffer[..length]) {
            // One entry of a kind that the library does not know must not hide the others.
            let Ok(message) = Message::deserialize(bytes) else {
                tracing::debug!("passed over an address or a route that cannot be read");
                continue;
            };
            whole &= message.header.flags & NLM_F_DUMP_INTR == 0;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(whole),
                NetlinkPayload::Error(error) => bail!("the kernel refuses: {error}"),
                NetlinkPayload::InnerMessage(entry) => entries.push(entry),
                _ => {}
            }
        }
    }
}

/// The messages of one datagram, each with its header.
fn messages(datagram: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        let message = rest.get(..length).filter(|message| message.len() >= 16)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// A socket of its own, which hears of `groups`.
fn socket(flags: SocketFlags, groups: u32) -> io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        // The family's protocol of number 0 is rtnetlink.
        None,
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// The kernel's notices of changes.
pub(super) struct Notices {
    // Not a pipe, but read like one: the runtime waits for any descriptor in the same way.
    socket: pipe::Receiver,
    buffer: Vec<u8>,
}

impl Notices {
    /// Hears of these groups. Must be called within a runtime.
    pub(super) fn subscribe(groups: u32) -> anyhow::Result<Self> {
        let socket = socket(SocketFlags::NONBLOCK, groups)
            .and_then(pipe::Receiver::from_owned_fd_unchecked)
            .context("cannot hear of changes of interfaces, addresses and routes")?;
        Ok(Self {
            socket,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Waits for a change for which `matters` holds. Safe to drop and call again: no change is lost.
    pub(super) async fn change(
        &mut self,
        matters: impl Fn(&RouteNetlinkMessage) -> bool,
    ) -> io::Result<()> {
        let any = |datagram: &[u8]| {
            messages(datagram).any(|bytes| match Message::deserialize(bytes) {
                Ok(message) => match &message.payload {
                    NetlinkPayload::InnerMessage(entry) => matters(entry),
                    _ => false,
                },
                Err(_) => true,
            })
        };
        loop {
            self.socket.readable().await?;
            match self.socket.try_read(&mut self.buffer) {
                Ok(length) if any(&self.buffer[..length]) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The kernel had more to say than the socket holds: something has changed.
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what has been said so far off the queue, without looking at it.
    pub(super) fn skip(&mut self) {
        while self
            .socket
            .try_read(&mut self.buffer)
            .is_ok_and(|count| count > 0)
        {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_at_the_lengths_of_its_messages() {
        let message = |length: u32, bytes: usize| {
            let mut message = vec![0; bytes];
            message[..4].copy_from_slice(&length.to_ne_bytes());
            message
        };
        let lengths = |datagram: &[u8]| messages(datagram).map(<[u8]>::len).collect::<Vec<_>>();
        assert_eq!(
            lengths(&[message(18, 20), message(16, 16)].concat()),
            [18, 16]
        );
        assert_eq!(lengths(&[message(16, 16), message(40, 20)].concat()), [16]);
        assert_eq!(lengths(&message(0, 16)), [0; 0]);
        assert_eq!(lengths(&[1, 2, 3]), [0; 0]);
    }

    #[test]
    fn the_kernel_lists_addresses_and_routes() {
        let facts = facts().unwrap();
        let has = |kind: fn(&RouteNetlinkMessage) -> bool| facts.iter().any(kind);
        assert!(has(|fact| matches!(
            fact,
            RouteNetlinkMessage::NewAddress(_)
        )));
        assert!(has(|fact| matches!(fact, RouteNetlinkMessage::NewRoute(_))));
    }
}
