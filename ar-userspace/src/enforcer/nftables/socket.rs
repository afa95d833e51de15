//! A conversation with nf_tables over netlink: lists, look-ups, and transactions, which hold as a whole or not at all.

use std::os::fd::OwnedFd;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use super::wire::{Answer, Request, answers, write_bound};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

/// Room for one datagram. The kernel makes none longer than 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// Room for a transaction on its way, and for the refusals of all of its messages. Nothing is reserved.
const QUEUE: usize = 16 * 1024 * 1024;

/// How often a list that changed while it was read is asked for.
const ATTEMPTS: usize = 3;

/// A message of a transaction that the kernel did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which, counted from zero.
    pub(super) place: usize,
    pub(super) why: Errno,
}

/// A socket of its own for each piece of work, so that no late answer is taken for another's.
pub(super) struct Socket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn open() -> Result<Self, Errno> {
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(NETFILTER),
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        // Only the real root may have more than the system's usual bound, and needs it only for great batches.
        let _ = set_socket_send_buffer_size_force(&socket, QUEUE);
        let _ = set_socket_recv_buffer_size_force(&socket, QUEUE);
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Asks about one thing; `each` gets what is told about it.
    pub(super) fn look_up(
        &mut self,
        request: &Request,
        each: impl FnMut(&[u8]),
    ) -> Result<(), Errno> {
        self.ask(request, NLM_F_ACK, each).map(drop)
    }

    /// A list that was not changed while it was read; after some attempts, one that was.
    pub(super) fn list<T>(
        &mut self,
        request: &Request,
        read: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, Errno> {
        let mut entries = Vec::new();
        for _ in 0..ATTEMPTS {
            entries.clear();
            let each = |attributes: &[u8]| entries.extend(read(attributes));
            if self.ask(request, NLM_F_DUMP, each)? {
                break;
            }
        }
        Ok(entries)
    }

    /// Whether nothing changed while the answer was read.
    fn ask(
        &mut self,
        request: &Request,
        flags: u16,
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let sequence = self.sequence;
        let mut bytes = Vec::new();
        request.write(flags, sequence, &mut bytes);
        send(&self.socket, &bytes, SendFlags::empty())?;
        let mut whole = true;
        loop {
            for answer in self.receive()? {
                whole &= answer.flags & NLM_F_DUMP_INTR == 0;
                match answer.kind {
                    _ if answer.sequence != sequence => {}
                    NLMSG_DONE => return Ok(whole),
                    NLMSG_ERROR => return refusal(answer).map_or(Ok(whole), Err),
                    _ => each(answer.attributes()),
                }
            }
        }
    }

    /// Does all of the requests at once, or nothing when there is one that the kernel refuses. Those are given.
    ///
    /// An error is one of the transaction as a whole.
    pub(super) fn transact(&mut self, requests: &[Request]) -> Result<Vec<Refusal>, Errno> {
        let Some(last) = requests.len().checked_sub(1) else {
            return Ok(Vec::new());
        };
        let first = self.sequence.wrapping_add(1);
        let mut sequence = first;
        let mut bytes = Vec::new();
        write_bound(BATCH_BEGIN, sequence, &mut bytes);
        for (place, request) in requests.iter().enumerate() {
            sequence = sequence.wrapping_add(1);
            let acknowledge = if place == last { NLM_F_ACK } else { 0 };
            request.write(acknowledge, sequence, &mut bytes);
        }
        sequence = sequence.wrapping_add(1);
        write_bound(BATCH_END, sequence, &mut bytes);
        self.sequence = sequence;
        send(&self.socket, &bytes, SendFlags::empty())?;

        // The kernel has done it before it returns from there, and every answer waits.
        let mut refusals = Vec::new();
        let mut is_answered = false;
        let mut lost = None;
        loop {
            let answers = match self.receive() {
                Ok(answers) => answers,
                Err(Errno::AGAIN) => break,
                // More refusals than there is room for: the others are met at the next attempt.
                Err(Errno::NOBUFS) => {
                    lost = Some(Errno::NOBUFS);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for answer in answers.filter(|answer| answer.kind == NLMSG_ERROR) {
                is_answered = true;
                let Some(why) = refusal(answer) else {
                    continue;
                };
                // The two that begin and end it stand for the whole.
                match answer.sequence.wrapping_sub(first) as usize {
                    number if (1..=requests.len()).contains(&number) => {
                        refusals.push(Refusal {
                            place: number - 1,
                            why,
                        });
                    }
                    _ => return Err(why),
                }
            }
        }
        match lost {
            Some(lost) if refusals.is_empty() => Err(lost),
            None if !is_answered => Err(Errno::NOMSG),
            _ => Ok(refusals),
        }
    }

    fn receive(&mut self) -> Result<impl Iterator<Item = Answer<'_>>, Errno> {
        let (length, _) = recv(&self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT)?;
        Ok(answers(&self.buffer[..length]))
    }
}

/// Why; `None` for an acknowledgement.
fn refusal(answer: Answer<'_>) -> Option<Errno> {
    match answer.error() {
        0 => None,
        number => Some(Errno::from_raw_os_error(number)),
    }
}
