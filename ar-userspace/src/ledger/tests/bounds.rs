//! Limits (AR-IMP-9) and bounded work.

use super::*;

fn limits(bans_v4: usize, bans_v6: usize, remembered: usize) -> Settings {
    Settings {
        limits: Limits {
            bans_v4,
            bans_v6,
            prefixes: bans_v4,
            remembered,
        },
        ..ladder(&["1"])
    }
}

#[track_caller]
fn refused(host: &mut Host, line: &str) -> Option<(Limit, Option<u32>)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let now = host.at(words[0]);
    let event = host.event(&words[1..], now);
    match host.ledger.apply(event, now) {
        Ruling::Refused { limit, rung } => Some((limit, rung.map(|rung| rung.offence))),
        _ => None,
    }
}

/// AR-IMP-9
#[test]
fn a_full_family_refuses_new_offenders_and_counts_their_offences() {
    let mut host = Host::new(limits(1, 1, 9));
    assert_eq!(refused(&mut host, "0 offence fd 203.0.113.1 100"), None);
    assert_eq!(
        refused(&mut host, "1 offence fd 203.0.113.2 100"),
        Some((Limit::BansV4, Some(1)))
    );
    assert_eq!(
        refused(&mut host, "2 offence fd 203.0.113.2 never"),
        Some((Limit::BansV4, None))
    );
    assert_eq!(refused(&mut host, "3 offence nft 203.0.113.1 100"), None);
    assert_eq!(
        refused(&mut host, "4 offence deny.sh 203.0.113.2 100"),
        None
    );
    assert_eq!(refused(&mut host, "5 offence fd 2001:db8::1 never"), None);
    assert_eq!(
        refused(&mut host, "6 offence fd 2001:db8::2 100"),
        Some((Limit::BansV6, Some(1)))
    );
    assert_eq!((host.ledger.bans_v4(), host.ledger.bans_v6()), (1, 1));
    host.drain();
    assert_eq!(
        host.step("103 offence fd 203.0.113.2 100"),
        "unban fd 203.0.113.1 [kernel -]; unban nft 203.0.113.1; ban fd 203.0.113.2 until 163 [kernel 163]"
    );
}

/// AR-IMP-9
#[test]
fn the_quietest_counter_is_forgotten_first_and_a_ban_never() {
    let mut host = Host::new(limits(9, 9, 3));
    host.step("0 offence fd 203.0.113.1 1000");
    host.step("1 offence fd 203.0.113.2 5");
    host.step("2 offence fd 203.0.113.3 1");
    // The third key has been quiet since 3 and the second since 6, whether or not timers ran.
    host.step("7 offence fd 203.0.113.4 10");
    let count = |host: &Host, offender| host.ledger.offence_count(&key("fd", offender), seconds(7));
    assert_eq!(count(&host, "203.0.113.3"), 0);
    assert_eq!(count(&host, "203.0.113.2"), 1);
    host.step("8 offence fd 203.0.113.5 10");
    assert_eq!(count(&host, "203.0.113.2"), 0);
    assert_eq!(host.ledger.evicted(), 2);
    assert_eq!(
        refused(&mut host, "9 offence fd 203.0.113.6 10"),
        Some((Limit::Remembered, None))
    );
    assert_eq!(host.ledger.bans(seconds(9)).count(), 3);
    assert_eq!(host.ledger.remembered(), 3);
}

/// AR-IMP-9
#[test]
fn lower_limits_leave_bans_and_drop_counters() {
    let mut host = Host::new(limits(9, 9, 9));
    host.step("0 offence fd 203.0.113.1 1000");
    host.step("0 offence fd 203.0.113.2 1000");
    host.step("0 offence fd 203.0.113.3 1");
    let ruling = host
        .ledger
        .apply(Event::Settings(limits(1, 1, 1)), seconds(1));
    assert_eq!(ruling, Ruling::Done { changed: 1 });
    assert_eq!(host.ledger.remembered(), 2);
    assert_eq!(host.ledger.bans(seconds(1)).count(), 2);
    assert_eq!(
        refused(&mut host, "2 offence fd 203.0.113.3 1"),
        Some((Limit::BansV4, None))
    );
    assert_eq!(refused(&mut host, "3 offence fd 203.0.113.1 1"), None);
}

#[test]
fn bans_that_the_kernel_holds_already_are_adopted_over_the_limit() {
    let mut host = Host::new(limits(1, 1, 1));
    host.step("0 offence fd 203.0.113.1 1000");
    assert_eq!(
        host.step("0 adopt fd 203.0.113.2 50"),
        "ban fd 203.0.113.2 until 50 [kernel 50]"
    );
    assert_eq!(host.ledger.bans_v4(), 2);
}

#[test]
fn a_mass_release_is_done_in_parts_and_loses_nobody() {
    let mut ledger = Ledger::new(ladder(&[]));
    let mut many = 0;
    for last in 0..=255 {
        for third in 0..3 {
            let offence = offence("fd", &format!("203.0.{third}.{last}"), "60");
            ledger.apply(
                Event::Offence {
                    offence,
                    at: seconds(0),
                },
                seconds(0),
            );
            many += 1;
        }
    }
    while ledger.next_effect().is_some() {}
    let mut released = Vec::new();
    while ledger.next_deadline().is_some_and(|due| due <= seconds(60)) {
        ledger.handle_timeout(seconds(60));
        let part: Vec<_> = std::iter::from_fn(|| ledger.next_effect()).collect();
        assert!(part.len() <= Ledger::TIMEOUTS_PER_CALL);
        released.extend(part.into_iter().map(|effect| effect.key.offender));
    }
    assert_eq!(released.len(), many);
    assert!(released.is_sorted());
    assert_eq!(ledger.bans_v4(), 0);
}

#[test]
fn places_are_used_again_and_a_chain_survives_the_loss_of_any_link() {
    let names = ["a", "b", "c", "d.sh"];
    for gone in names {
        let mut host = Host::new(ladder(&[]));
        for name in names.iter().rev() {
            host.step(&format!("0 offence {name} 203.0.113.1 never"));
        }
        host.step(&format!("1 unban {gone} 203.0.113.1"));
        let left = || names.iter().copied().filter(|&name| name != gone);
        let told: Vec<_> = host.ledger.bans(seconds(1)).collect();
        assert!(
            told.iter()
                .map(|record| record.key.executable.name())
                .eq(left())
        );
        host.step("2 offence fd 203.0.113.2 never");
        host.step(&format!("3 offence {gone} 203.0.113.1 never"));
        assert_eq!(host.ledger.remembered(), 5);
        let told: Vec<_> = host.ledger.records_of(told[0].key.offender).collect();
        assert!(
            told.iter()
                .map(|record| record.key.executable.name())
                .eq(names)
        );
    }
}

#[test]
fn whoever_the_kernel_has_room_for_can_be_remembered() {
    assert_eq!(Limits::with_room(131_072, 131_072).remembered, 1_000_000);
    let big = Limits::with_room(1_000_000, 1_000_000);
    assert_eq!(big.remembered, 2_262_144);
    assert_eq!(
        (big.bans_v4, big.bans_v6, big.prefixes),
        (1_000_000, 1_000_000, 131_072)
    );
}
