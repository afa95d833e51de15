//! What survives a restart (AR-IMP-1, AR-IMP-2), and what a store is told to write.

use super::*;

/// AR-IMP-1
#[test]
fn a_restart_keeps_bans_ends_and_counters_also_over_a_reboot() {
    check(
        ladder(&["1", "5"]),
        "100 offence fd 203.0.113.5 20    -> ban fd 203.0.113.5 until 120 [kernel 120]
         100 offence fd 203.0.113.6 never -> ban fd 203.0.113.6 until never [kernel never]
         110 restart                      ->
         119 timers                       ->
         120 timers                       -> unban fd 203.0.113.5 [kernel -]
         130 restart                      ->
         140 offence fd 203.0.113.5 20    -> ban fd 203.0.113.5 until 200 [kernel 200]
         150 offence fd 203.0.113.6 20    ->",
    );
}

/// AR-IMP-2
#[test]
fn what_is_overdue_at_the_start_is_released_and_told() {
    check(
        ladder(&[]),
        "0   offence deny.sh 203.0.113.5 20 -> ban deny.sh 203.0.113.5 until 20
         0   offence fd 203.0.113.6 20      -> ban fd 203.0.113.6 until 20 [kernel 20]
         0   offence fd 203.0.113.7 200     -> ban fd 203.0.113.7 until 200 [kernel 200]
         50  restart                        ->
         50  timers                         -> unban deny.sh 203.0.113.5; unban fd 203.0.113.6 [kernel -]
         199 timers                         ->
         200 timers                         -> unban fd 203.0.113.7 [kernel -]",
    );
}

/// AR-IMP-10
#[test]
fn quiet_time_goes_on_through_a_reboot() {
    check(
        Settings {
            forgive_after: Some(Duration::from_secs(100)),
            ..ladder(&["1"])
        },
        "1000 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 1020 [kernel 1020]
         1020 timers                    -> unban fd 203.0.113.5 [kernel -]
         1100 restart                   ->
         1119 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 1179 [kernel 1179]
         1179 timers                    -> unban fd 203.0.113.5 [kernel -]
         1200 restart                   ->
         1279 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 1299 [kernel 1299]",
    );
}

#[test]
fn a_wall_clock_that_was_set_back_puts_no_past_into_the_future_and_makes_no_ban_longer() {
    let mut ledger = Ledger::new(ladder(&[]));
    let offence = offence("fd", "203.0.113.5", "600");
    ledger.apply(
        Event::Offence {
            offence,
            at: seconds(100),
        },
        seconds(100),
    );
    let restored = Ledger::restore(ladder(&[]), ledger.snapshot(), seconds(40));
    let record = restored.records().next().expect("the ban");
    assert_eq!(record.last_offence, Some(seconds(40)));
    let ban = record.ban.expect("the ban");
    assert_eq!(
        (ban.since, ban.until),
        (seconds(40), Expiry::At(seconds(640)))
    );
}

#[test]
fn of_two_records_of_one_key_the_later_counts() {
    let ledger_at = |timeout| {
        let mut ledger = Ledger::new(ladder(&[]));
        let offence = offence("fd", "203.0.113.5", timeout);
        ledger.apply(
            Event::Offence {
                offence,
                at: seconds(0),
            },
            seconds(0),
        );
        ledger.snapshot()
    };
    let both = ledger_at("never").into_iter().chain(ledger_at("60"));
    let restored = Ledger::restore(ladder(&[]), both, seconds(1));
    assert_eq!(restored.snapshot(), ledger_at("60"));
    assert_eq!(restored.bans_v4(), 1);
}

#[test]
fn records_are_restored_whatever_their_order() {
    let mut ledger = Ledger::new(ladder(&[]));
    for (executable, offender) in [
        ("fd", "203.0.113.5"),
        ("hd", "203.0.113.5"),
        ("fd", "198.51.100.7"),
        ("hd", "2001:db8::7"),
        ("fd", "192.0.2.1"),
        ("hd", "192.0.2.1"),
        ("fd", "2001:db8::1"),
    ] {
        let event = Event::Offence {
            offence: offence(executable, offender, "60"),
            at: seconds(0),
        };
        ledger.apply(event, seconds(0));
    }
    let ascending = ledger.snapshot();
    let mut records: Vec<Record> = ascending.clone().into_iter().collect();
    for _ in 0..records.len() {
        for records in [records.clone(), records.iter().rev().cloned().collect()] {
            let restored = Ledger::restore(ladder(&[]), records, seconds(1));
            assert_eq!(restored.snapshot(), ascending);
            assert_eq!((restored.bans_v4(), restored.bans_v6()), (3, 2));
            assert_eq!(restored.banned(seconds(1)).count(), 5);
            assert_eq!(restored.next_deadline(), Some(seconds(60)));
        }
        records.rotate_left(1);
    }
}

#[test]
fn a_store_is_told_each_changed_key_once_with_its_latest_state() {
    let mut host = Host::new(Settings {
        limits: Limits {
            remembered: 2,
            ..Limits::default()
        },
        ..ladder(&["1"])
    });
    host.step("0 offence fd 203.0.113.5 20");
    assert_eq!(host.ledger.drain_changes().count(), 0);
    host.ledger.track_changes();
    let changes = |host: &mut Host| -> Vec<(String, Option<u32>)> {
        let changes = host.ledger.drain_changes();
        changes
            .map(|change| {
                let offences = change.record.map(|record| record.offences);
                (change.key.offender.to_string(), offences)
            })
            .collect()
    };
    let told = |offender: &str, offences| (offender.to_owned(), offences);
    host.step("1 offence fd 203.0.113.6 20");
    host.step("2 offence fd 203.0.113.6 20");
    host.step("3 forgive 203.0.113.7");
    assert_eq!(changes(&mut host), [told("203.0.113.6", Some(2))]);
    assert_eq!(changes(&mut host), []);
    host.step("20 timers");
    host.step("21 offence fd 203.0.113.7 20");
    assert_eq!(
        changes(&mut host),
        [told("203.0.113.5", None), told("203.0.113.7", Some(1))]
    );
}
