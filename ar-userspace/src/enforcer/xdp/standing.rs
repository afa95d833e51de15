//! From what has to stand to what the kernel holds of it, and back.

use ar_ebpf::{Ban, NEVER, flag};

use super::address::Address;
use crate::enforcer::{Counters, Enforced};
use crate::ledger::Standing;
use crate::offender::Offender;
use crate::time::{Expiry, KernelClock};

/// A ban, if it is not over.
pub(super) fn running<A: Address>(address: A, ban: &Ban, clock: KernelClock) -> Option<Enforced> {
    (ban.expires_at_ns > clock.now_nanos()).then(|| {
        let offender = Offender::new(address.addr());
        told(offender, ban, ban.expires_at_ns, clock)
    })
}

/// One ban whose end is `expires_at_ns`.
pub(super) fn told(
    offender: Offender,
    ban: &Ban,
    expires_at_ns: u64,
    clock: KernelClock,
) -> Enforced {
    Enforced {
        offender,
        standing: Standing {
            until: match expires_at_ns {
                NEVER => Expiry::Never,
                ns => Expiry::At(clock.moment(ns)),
            },
            since: clock.moment(ban.banned_at_ns),
            rule_id: ban.rule_id,
            shadow: ban.flags & flag::SHADOW != 0,
        },
        counters: Counters {
            packets: ban.packets,
            bytes: ban.bytes,
        },
        last_seen: (ban.last_seen_ns > 0).then(|| clock.moment(ban.last_seen_ns)),
    }
}

/// The value of a ban that begins.
pub(super) fn fresh(standing: Standing, clock: KernelClock) -> Ban {
    let (expires_at_ns, mut flags) = match standing.until {
        Expiry::At(end) => (clock.nanos(end), 0),
        Expiry::Never => (NEVER, flag::PERMANENT),
    };
    if standing.shadow {
        flags |= flag::SHADOW;
    }
    Ban {
        expires_at_ns,
        packets: 0,
        bytes: 0,
        last_seen_ns: 0,
        banned_at_ns: clock.nanos(standing.since),
        rule_id: standing.rule_id,
        flags,
    }
}

/// The value of a ban that changes: the new standing, with the counters of one that still runs.
///
/// The map replaces a value as a whole, so that packets which the kernel counts between the look-up
/// and the update, about a microsecond, are dropped all the same but not counted.
pub(super) fn merge(old: Ban, standing: Standing, clock: KernelClock) -> Ban {
    let ban = fresh(standing, clock);
    // What would have been dropped is not counted together with what was.
    let is_other = (old.flags ^ ban.flags) & flag::SHADOW != 0;
    if is_other || old.expires_at_ns <= clock.now_nanos() {
        return ban;
    }
    Ban {
        packets: old.packets,
        bytes: old.bytes,
        last_seen_ns: old.last_seen_ns,
        banned_at_ns: old.banned_at_ns,
        ..ban
    }
}
