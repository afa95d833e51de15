//! One element of a set: a ban with its end, what it has dropped, and where it came from.
//!
//! The end is the kernel's own timeout. Rule and beginning stand in the comment, which `nft` shows.

use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::layout::{Family, Set, counted, counter, octets};
use super::wire::{Attributes, Request, find, text, u64};
use crate::enforcer::{Counters, Enforced};
use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::{Expiry, KernelClock, Moment};

// `enum nf_tables_msg_types`.
const NEW: u16 = 12;
const GET: u16 = 13;
const DELETE: u16 = 14;

// `enum nft_set_elem_attributes`.
const KEY: u16 = 1;
const FLAGS: u16 = 3;
const TIMEOUT: u16 = 4;
const EXPIRATION: u16 = 5;
const USER_DATA: u16 = 6;
const EXPRESSION: u16 = 7;

const INTERVAL_END: u32 = 1;

/// Two of the longest jiffies that kernels are built with. A timeout is cut to jiffies and counts from the last jiffy,
/// and a ban must not be over before its end.
const MARGIN: Duration = Duration::from_millis(20);

/// How much later than at its time the kernel may end a ban: the margin, and what is rounded up.
pub(super) const LATE: Duration = Duration::from_millis(22);

/// How far apart the end that was wanted and the one that is read back may be: besides, what is left is told from the
/// last jiffy, and some time passes until it is read.
pub(super) const GRAIN: Duration = Duration::from_millis(50);

/// Writes a ban that is not there yet.
pub(super) fn add(
    table: &str,
    set: Set,
    addr: IpAddr,
    standing: Standing,
    counters: Counters,
    clock: KernelClock,
) -> Request {
    let now = clock.moment(clock.now_nanos());
    let mut element = Attributes::default().value(KEY, &octets(addr));
    if let Some(left) = standing.until.left(now) {
        let left = milliseconds(left.saturating_add(MARGIN));
        let whole = standing.until.left(standing.since).unwrap_or_default();
        element = element
            .u64(TIMEOUT, left.max(milliseconds(whole)))
            .u64(EXPIRATION, left);
    }
    element = element.bytes(USER_DATA, &comment(standing)).expression(
        EXPRESSION,
        "counter",
        counter(counters),
    );
    Request::new(NEW, NLM_F_CREATE | NLM_F_EXCL, list(table, set, element))
}

pub(super) fn delete(table: &str, set: Set, addr: IpAddr) -> Request {
    Request::new(DELETE, 0, one(table, set, addr))
}

/// Asks for one element.
pub(super) fn get(table: &str, set: Set, addr: IpAddr) -> Request {
    Request::new(GET, 0, one(table, set, addr))
}

/// Asks for all of a set.
pub(super) fn get_all(table: &str, set: Set) -> Request {
    let whole = Attributes::default()
        .text(1, table)
        .text(2, &set.to_string());
    Request::new(GET, 0, whole)
}

/// Makes a set of intervals hold exactly these networks, of which none may hold another.
pub(super) fn replace_all<'a>(
    table: &'a str,
    set: Set,
    networks: &'a [Prefix],
) -> impl Iterator<Item = Request> + 'a {
    let name = set.to_string();
    let whole = Attributes::default().text(1, table).text(2, &name);
    let bounds = networks.iter().flat_map(move |&network| {
        let first = Attributes::default().value(KEY, &octets(network.addr()));
        let end = behind(network).map(|end| {
            Attributes::default()
                .value(KEY, &end)
                .u32(FLAGS, INTERVAL_END)
        });
        [Some(first), end].into_iter().flatten()
    });
    std::iter::once(Request::new(DELETE, 0, whole))
        .chain(bounds.map(move |bound| Request::new(NEW, NLM_F_CREATE, list(table, set, bound))))
}

/// Those networks that none of the others holds, in order.
pub(super) fn widest(networks: &[Prefix]) -> Vec<Prefix> {
    let mut sorted = networks.to_vec();
    // The holder before what it holds.
    sorted.sort_unstable();
    let mut widest: Vec<Prefix> = Vec::new();
    for network in sorted {
        let is_held = widest
            .last()
            .is_some_and(|last| last.covers(Offender::network(network)));
        if !is_held {
            widest.push(network);
        }
    }
    widest
}

/// The first address behind a network; `None` when it holds the last one.
fn behind(network: Prefix) -> Option<Vec<u8>> {
    let bits = u32::from(network.bits());
    match network.addr() {
        IpAddr::V4(addr) => {
            let end = u64::from(addr.to_bits()) + (1_u64 << (32 - bits));
            Some(u32::try_from(end).ok()?.to_be_bytes().to_vec())
        }
        IpAddr::V6(addr) => {
            let length = 1_u128.checked_shl(128 - bits)?;
            Some(addr.to_bits().checked_add(length)?.to_be_bytes().to_vec())
        }
    }
}

/// The bans that a message about elements tells of.
pub(super) fn read(set: Set, attributes: &[u8], clock: KernelClock) -> Vec<Enforced> {
    let elements = find(attributes, 3).unwrap_or_default();
    super::wire::all(elements, 1)
        .filter_map(|element| read_one(set, element, clock))
        .collect()
}

fn read_one(set: Set, element: &[u8], clock: KernelClock) -> Option<Enforced> {
    let key = find(find(element, KEY)?, 1)?;
    let addr = match set.family() {
        Family::V4 => IpAddr::from(<[u8; 4]>::try_from(key).ok()?),
        Family::V6 => IpAddr::from(<[u8; 16]>::try_from(key).ok()?),
    };
    let now = clock.moment(clock.now_nanos());
    let left = find(element, EXPIRATION).and_then(u64);
    // An element that somebody else added has no comment of ours, and began when we noticed.
    let comment = find(element, USER_DATA).and_then(read_comment);
    let (rule_id, since) = comment.unwrap_or((0, now));
    Some(Enforced {
        offender: set.offender(addr)?,
        standing: Standing {
            until: match left {
                Some(left) => Expiry::At(now.after(Duration::from_millis(left))),
                None => Expiry::Never,
            },
            since,
            rule_id,
            shadow: false,
        },
        last_seen: None,
        counters: find(element, EXPRESSION)
            .and_then(counted)
            .unwrap_or_default(),
    })
}

fn one(table: &str, set: Set, addr: IpAddr) -> Attributes {
    list(table, set, Attributes::default().value(KEY, &octets(addr)))
}

fn list(table: &str, set: Set, element: Attributes) -> Attributes {
    Attributes::default()
        .text(1, table)
        .text(2, &set.to_string())
        .nest(3, Attributes::default().nest(1, element))
}

/// Whole milliseconds, rounded up.
fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// User data as `nft` keeps a comment in it: type 0, the length with its NUL, the text.
fn comment(standing: Standing) -> Vec<u8> {
    let since = standing.since.as_nanos();
    let text = format!(
        "rule {} since {}.{:09}",
        standing.rule_id,
        since / 1_000_000_000,
        since % 1_000_000_000
    );
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// The rule, and the moment of the beginning in seconds since the host's boot.
fn read_comment(user_data: &[u8]) -> Option<(u32, Moment)> {
    let words = text(user_data.get(2..)?)?.strip_prefix("rule ")?;
    let (rule, since) = words.split_once(" since ")?;
    let (seconds, nanos) = since.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let nanos: u64 = nanos.parse().ok().filter(|_| nanos.len() == 9)?;
    let since = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some((rule.parse().ok()?, Moment::from_nanos(since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_back_and_others_are_passed_over() {
        let since = Moment::from_nanos(81_234_000_000_567);
        let standing = Standing {
            until: Expiry::Never,
            since,
            rule_id: 5763,
            shadow: false,
        };
        let written = comment(standing);
        assert_eq!(text(&written[2..]), Some("rule 5763 since 81234.000000567"));
        assert_eq!(read_comment(&written), Some((5763, since)));
        for other in ["by hand", "rule x since 1.000000000", "rule 1 since 1.5"] {
            let other = [&[0, 9], other.as_bytes()].concat();
            assert_eq!(read_comment(&other), None);
        }
    }

    #[test]
    fn a_network_ends_before_the_first_address_behind_it() {
        let end = |text: &str| behind(text.parse().unwrap());
        assert_eq!(end("192.0.2.0/24"), Some(vec![192, 0, 3, 0]));
        assert_eq!(end("255.255.255.0/24"), None);
        assert_eq!(end("0.0.0.0/0"), None);
        assert_eq!(end("::/0"), None);
        assert_eq!(end("ffff::/16"), None);
        assert_eq!(end("2001:db8::1").unwrap()[15], 2);
    }

    #[test]
    fn a_network_within_another_is_left_out() {
        let networks = |texts: &[&str]| -> Vec<Prefix> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(
            widest(&networks(&[
                "10.1.0.0/16",
                "10.0.0.0/8",
                "10.0.0.1",
                "::/0",
                "11.0.0.0/8",
                "10.1.2.0/24",
                "2001:db8::/32"
            ])),
            networks(&["10.0.0.0/8", "11.0.0.0/8", "::/0"])
        );
    }
}
