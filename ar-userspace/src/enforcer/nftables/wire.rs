//! Messages of nf_tables as bytes: attributes are written and read here and nowhere else.
//!
//! Numbers are those of linux/netfilter/nf_tables.h. Those in attributes travel in network order.

use netlink_packet_core::{NLA_ALIGNTO, NLA_F_NESTED, NLM_F_REQUEST, NlasIterator};

/// `NFNL_SUBSYS_NFTABLES`: the high byte of every message's type.
const SUBSYSTEM: u16 = 10;

/// `NFPROTO_INET`: the table sees packets of IPv4 and of IPv6.
const INET: u8 = 1;

/// Header of netlink, and the `nfgenmsg` behind it.
pub(super) const NETLINK_HEADER: usize = 16;
const HEADERS: usize = NETLINK_HEADER + 4;

/// Writes attributes, nested to any depth. None is longer than some hundred bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes
            .resize(self.bytes.len().next_multiple_of(NLA_ALIGNTO), 0);
        self
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nest(self, kind: u16, inner: Self) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.bytes)
    }

    /// A value of a register: `NFTA_DATA_VALUE` within `kind`.
    pub(super) fn value(self, kind: u16, value: &[u8]) -> Self {
        self.nest(kind, Self::default().bytes(1, value))
    }

    /// One expression: its name, and what it is told.
    pub(super) fn expression(self, kind: u16, name: &str, inner: Self) -> Self {
        self.nest(kind, Self::default().text(1, name).nest(2, inner))
    }
}

/// One message to nf_tables.
#[derive(Clone, Debug)]
pub(super) struct Request {
    kind: u16,
    flags: u16,
    attributes: Attributes,
}

impl Request {
    /// A message of a kind (`NFT_MSG_...`), about the family `inet`.
    pub(super) fn new(kind: u16, flags: u16, attributes: Attributes) -> Self {
        Self {
            kind,
            flags,
            attributes,
        }
    }

    /// Appends the message.
    pub(super) fn write(&self, more_flags: u16, sequence: u32, to: &mut Vec<u8>) {
        write_header(
            HEADERS + self.attributes.bytes.len(),
            (SUBSYSTEM << 8) | self.kind,
            NLM_F_REQUEST | self.flags | more_flags,
            sequence,
            to,
        );
        to.extend([INET, 0, 0, 0]);
        to.extend(&self.attributes.bytes);
    }
}

/// Appends the message that begins or ends (`NFNL_MSG_BATCH_...`) a transaction.
pub(super) fn write_bound(kind: u16, sequence: u32, to: &mut Vec<u8>) {
    write_header(HEADERS, kind, NLM_F_REQUEST, sequence, to);
    to.extend([0, 0]);
    to.extend(SUBSYSTEM.to_be_bytes());
}

fn write_header(length: usize, kind: u16, flags: u16, sequence: u32, to: &mut Vec<u8>) {
    to.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(flags.to_ne_bytes());
    to.extend(sequence.to_ne_bytes());
    to.extend([0; 4]);
}

/// One message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// All behind the header of netlink.
    body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The attributes of a message of nf_tables.
    pub(super) fn attributes(self) -> &'a [u8] {
        self.body.get(4..).unwrap_or_default()
    }

    /// The error number of an `NLMSG_ERROR`, positive; 0 acknowledges.
    pub(super) fn error(self) -> i32 {
        let number = self
            .body
            .first_chunk()
            .map_or(0, |&n| i32::from_ne_bytes(n));
        number.saturating_neg()
    }
}

/// The messages of one datagram.
pub(super) fn answers(datagram: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let u16_at = |at: usize| Some(u16::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
        let u32_at = |at: usize| Some(u32::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
        let length = usize::try_from(u32_at(0)?).ok()?;
        let answer = Answer {
            kind: u16_at(4)?,
            flags: u16_at(6)?,
            sequence: u32_at(8)?,
            body: rest.get(NETLINK_HEADER..length)?,
        };
        rest = rest
            .get(length.next_multiple_of(NLA_ALIGNTO)..)
            .unwrap_or_default();
        Some(answer)
    })
}

/// The value of the first attribute of a kind.
pub(super) fn find(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    all(attributes, kind).next()
}

/// The values of all attributes of a kind. What cannot be read ends them.
pub(super) fn all(attributes: &[u8], kind: u16) -> impl Iterator<Item = &[u8]> {
    NlasIterator::new(attributes)
        .map_while(Result::ok)
        .filter(move |attribute| attribute.kind() == kind)
        .map(|attribute| {
            // The buffer's own accessor would borrow from the short-lived view.
            let bytes: &[u8] = attribute.into_inner();
            let length = u16::from_ne_bytes(*bytes.first_chunk().unwrap_or(&[0; 2]));
            bytes.get(4..length.into()).unwrap_or_default()
        })
}

/// A text without its final NUL.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|&byte| byte == 0);
    std::str::from_utf8(&value[..end.unwrap_or(value.len())]).ok()
}

pub(super) fn u32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

pub(super) fn u64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let inner = Attributes::default().text(1, "abc").u64(7, 1 << 40);
        let attributes = Attributes::default().u32(2, 5).nest(3, inner);
        let mut bytes = Vec::new();
        Request::new(12, 0x200, attributes).write(4, 9, &mut bytes);
        write_bound(0x11, 10, &mut bytes);
        let [request, end] = answers(&bytes).collect::<Vec<_>>()[..] else {
            panic!("expected two messages");
        };
        assert_eq!(
            (request.kind, request.flags, request.sequence),
            (0x0a0c, 0x205, 9)
        );
        assert_eq!(
            (end.kind, end.sequence, end.attributes()),
            (0x11, 10, &[][..])
        );
        assert_eq!(find(request.attributes(), 2).and_then(u32), Some(5));
        let inner = find(request.attributes(), 3).unwrap();
        assert_eq!(find(inner, 1).and_then(text), Some("abc"));
        assert_eq!(find(inner, 7).and_then(u64), Some(1 << 40));
        assert_eq!(find(inner, 2), None);
    }

    #[test]
    fn cut_answers_are_not_read_beyond_their_end() {
        let mut bytes = Vec::new();
        Request::new(12, 0, Attributes::default().u32(2, 5)).write(0, 1, &mut bytes);
        for length in 0..bytes.len() {
            for answer in answers(&bytes[..length]) {
                assert_eq!(find(answer.attributes(), 2), None);
            }
        }
    }
}
