//! One script per rule of AR-TIME, and per trap in it.

use super::*;

/// AR-TIME-1
#[test]
fn a_ban_ends_at_its_end_and_not_before() {
    check(
        ladder(&[]),
        "0   offence fd 203.0.113.5 600 -> ban fd 203.0.113.5 until 600 [kernel 600]
         599 timers                     ->
         600 timers                     -> unban fd 203.0.113.5 [kernel -]
         600 timers                     ->",
    );
}

/// AR-TIME-1
#[test]
fn an_offence_at_the_end_finds_the_offender_free_although_no_timer_ran() {
    check(
        ladder(&[]),
        "0   offence fd 203.0.113.5 600 -> ban fd 203.0.113.5 until 600 [kernel 600]
         600 offence fd 203.0.113.5 100 -> unban fd 203.0.113.5 [kernel -]; ban fd 203.0.113.5 until 700 [kernel 700]
         900 offence fd 203.0.113.5 100 -> unban fd 203.0.113.5 [kernel -]; ban fd 203.0.113.5 until 1000 [kernel 1000]",
    );
}

/// AR-TIME-2
#[test]
fn a_permanent_ban_is_made_once_and_no_timed_response_ends_it() {
    check(
        ladder(&[]),
        "0      offence fd 203.0.113.5 never -> ban fd 203.0.113.5 until never [kernel never]
         10     offence fd 203.0.113.5 never ->
         20     offence fd 203.0.113.5 60    ->
         900000 timers                       ->",
    );
}

/// AR-TIME-2
#[test]
fn a_timed_ban_that_meets_a_permanent_response_becomes_permanent() {
    check(
        ladder(&[]),
        "0   offence fd 203.0.113.5 600   -> ban fd 203.0.113.5 until 600 [kernel 600]
         10  offence fd 203.0.113.5 never -> move fd 203.0.113.5 until never [kernel never]
         20  offence fd 203.0.113.5 600   ->
         700 timers                       ->",
    );
}

/// AR-TIME-3. The kernel is told once more when the oldest key leaves, because its `since` is another.
#[test]
fn executables_are_independent_and_the_kernel_holds_the_latest_end() {
    check(
        ladder(&[]),
        "0   offence fd 203.0.113.5 100  -> ban fd 203.0.113.5 until 100 [kernel 100]
         10  offence nft 203.0.113.5 200 -> ban nft 203.0.113.5 until 210 [kernel 210]
         20  offence fd 203.0.113.5 50   -> move fd 203.0.113.5 until 70
         30  offence fd 203.0.113.5 170  -> move fd 203.0.113.5 until 200
         200 timers                      -> unban fd 203.0.113.5 [kernel 210]
         210 timers                      -> unban nft 203.0.113.5 [kernel -]",
    );
}

/// AR-TIME-3
#[test]
fn keys_that_end_at_once_change_the_kernel_once() {
    check(
        ladder(&[]),
        "0   offence nft 203.0.113.5 100 -> ban nft 203.0.113.5 until 100 [kernel 100]
         0   offence fd 203.0.113.5 100  -> ban fd 203.0.113.5 until 100
         0   offence fd 203.0.113.4 100  -> ban fd 203.0.113.4 until 100 [kernel 100]
         100 timers -> unban fd 203.0.113.4 [kernel -]; unban fd 203.0.113.5 [kernel -]; unban nft 203.0.113.5",
    );
}

/// AR-TIME-3
#[test]
fn what_a_program_enforces_is_not_the_kernels() {
    check(
        ladder(&[]),
        "0   offence deny.sh 203.0.113.5 100 -> ban deny.sh 203.0.113.5 until 100
         0   offence fd 203.0.113.5 50       -> ban fd 203.0.113.5 until 50 [kernel 50]
         50  timers                          -> unban fd 203.0.113.5 [kernel -]
         100 timers                          -> unban deny.sh 203.0.113.5",
    );
}

/// AR-TIME-4
#[test]
fn reban_before_expiry_moves_the_end_even_if_that_is_sooner() {
    check(
        ladder(&[]),
        "0   offence fd 203.0.113.5 600 -> ban fd 203.0.113.5 until 600 [kernel 600]
         10  offence fd 203.0.113.5 20  -> move fd 203.0.113.5 until 30 [kernel 30]
         20  offence fd 203.0.113.5 600 -> move fd 203.0.113.5 until 620 [kernel 620]
         600 timers                     ->
         620 timers                     -> unban fd 203.0.113.5 [kernel -]",
    );
}

/// AR-TIME-5
#[test]
fn the_last_rung_of_the_ladder_stays() {
    check(
        ladder(&["1", "5"]),
        "0    offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 20 [kernel 20]
         20   timers                    -> unban fd 203.0.113.5 [kernel -]
         100  offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 160 [kernel 160]
         160  timers                    -> unban fd 203.0.113.5 [kernel -]
         1000 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 1300 [kernel 1300]
         1300 timers                    -> unban fd 203.0.113.5 [kernel -]
         2000 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 2300 [kernel 2300]",
    );
}

/// AR-TIME-6
#[test]
fn an_offence_while_banned_climbs_the_ladder() {
    check(
        ladder(&["1", "5"]),
        "0 offence fd 203.0.113.5 100 -> ban fd 203.0.113.5 until 100 [kernel 100]
         0 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 60 [kernel 60]
         1 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 301 [kernel 301]",
    );
}

/// AR-TIME-6
#[test]
fn timed_offences_against_a_permanent_ban_count() {
    check(
        ladder(&["1", "5"]),
        "0 offence fd 203.0.113.5 never -> ban fd 203.0.113.5 until never [kernel never]
         1 offence fd 203.0.113.5 20    ->
         2 unban 203.0.113.5            -> unban fd 203.0.113.5 [kernel -]
         3 offence fd 203.0.113.5 20    -> ban fd 203.0.113.5 until 63 [kernel 63]",
    );
}

/// AR-TIME-7
#[test]
fn responses_without_a_timeout_neither_count_nor_use_the_ladder() {
    check(
        ladder(&["1", "5"]),
        "0 offence fd 203.0.113.5 never -> ban fd 203.0.113.5 until never [kernel never]
         1 offence fd 203.0.113.5 never ->
         2 unban fd 203.0.113.5         -> unban fd 203.0.113.5 [kernel -]
         3 offence fd 203.0.113.5 20    -> ban fd 203.0.113.5 until 23 [kernel 23]
         4 offence fd 203.0.113.5 0     -> move fd 203.0.113.5 until never [kernel never]",
    );
}

/// AR-TIME-8
#[test]
fn counters_outlive_time_and_unbans_until_somebody_clears_them() {
    check(
        ladder(&["1", "5"]),
        "0        offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 20 [kernel 20]
         90000000 offence fd 203.0.113.5 20 -> unban fd 203.0.113.5 [kernel -]; ban fd 203.0.113.5 until 90000060 [kernel 90000060]
         90000001 unban 203.0.113.5         -> unban fd 203.0.113.5 [kernel -]
         90000002 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 90000302 [kernel 90000302]
         90000003 forgive 203.0.113.5       ->
         90000004 offence fd 203.0.113.5 20 -> move fd 203.0.113.5 until 90000024 [kernel 90000024]
         90000005 forgive fd 203.0.113.5    ->
         90000024 timers                    -> unban fd 203.0.113.5 [kernel -]
         90000025 offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 90000045 [kernel 90000045]",
    );
}

/// AR-TIME-9
#[test]
fn an_orderly_stop_releases_what_needs_a_program() {
    let bans = "0 offence fd 203.0.113.5 100        -> ban fd 203.0.113.5 until 100 [kernel 100]
                0 offence deny.sh 203.0.113.5 100   -> ban deny.sh 203.0.113.5 until 100
                0 offence deny.sh 203.0.113.6 never -> ban deny.sh 203.0.113.6 until never
                0 offence fd 203.0.113.7 never      -> ban fd 203.0.113.7 until never [kernel never]";
    check(
        ladder(&["1"]),
        &format!(
            "{bans}
             10 stop                              -> unban deny.sh 203.0.113.5
             11 restart                           ->
             12 offence deny.sh 203.0.113.5 100   -> ban deny.sh 203.0.113.5 until 72"
        ),
    );
    check(
        ladder(&[]),
        &format!(
            "{bans}
             10 stop all -> unban deny.sh 203.0.113.5; unban fd 203.0.113.5 [kernel -]; unban deny.sh 203.0.113.6; unban fd 203.0.113.7 [kernel -]"
        ),
    );
}

#[test]
fn unban_and_forgive_reach_one_key_or_one_offender_or_everyone() {
    check(
        ladder(&["1"]),
        "0 offence fd 203.0.113.5 100  -> ban fd 203.0.113.5 until 100 [kernel 100]
         0 offence nft 203.0.113.5 200 -> ban nft 203.0.113.5 until 200 [kernel 200]
         0 offence fd 203.0.113.6 100  -> ban fd 203.0.113.6 until 100 [kernel 100]
         1 unban nft 203.0.113.5       -> unban nft 203.0.113.5 [kernel 100]
         1 unban nft 203.0.113.6       ->
         1 unban 203.0.113.7           ->
         2 unban everyone              -> unban fd 203.0.113.5 [kernel -]; unban fd 203.0.113.6 [kernel -]
         3 forgive nft 203.0.113.5     ->
         3 offence fd 203.0.113.5 100  -> ban fd 203.0.113.5 until 63 [kernel 63]
         3 offence nft 203.0.113.5 200 -> ban nft 203.0.113.5 until 203 [kernel 203]
         4 forgive everyone            ->
         5 offence fd 203.0.113.6 100  -> ban fd 203.0.113.6 until 105 [kernel 105]",
    );
}

#[test]
fn a_new_ladder_leaves_running_bans_and_holds_from_the_next_offence() {
    check(
        ladder(&["1"]),
        "0  offence fd 203.0.113.5 100 -> ban fd 203.0.113.5 until 100 [kernel 100]
         10 ladder 5                   ->
         20 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 320 [kernel 320]
         30 ladder                     ->
         40 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 140 [kernel 140]",
    );
}

#[test]
fn a_ban_lasts_from_a_late_alert_and_one_that_is_over_only_counts() {
    check(
        ladder(&["1", "5"]),
        "1000 offence fd 203.0.113.5 100 of 950 -> ban fd 203.0.113.5 until 1050 [kernel 1050]
         1000 offence fd 203.0.113.6 100 of 900 ->
         1001 offence fd 203.0.113.6 100 of 901 ->
         1002 offence fd 203.0.113.6 100 of 902 -> ban fd 203.0.113.6 until 1202 [kernel 1202]
         1003 offence fd 203.0.113.7 100 of 2000 -> ban fd 203.0.113.7 until 1103 [kernel 1103]",
    );
}

#[test]
fn a_late_alert_does_not_undo_what_a_younger_one_has_set() {
    check(
        ladder(&[]),
        "1000 offence fd 203.0.113.5 100         -> ban fd 203.0.113.5 until 1100 [kernel 1100]
         1001 offence fd 203.0.113.5 100 of 950  ->
         1002 offence fd 203.0.113.5 100 of 1001 -> move fd 203.0.113.5 until 1101 [kernel 1101]
         1003 offence fd 203.0.113.5 never of 10 -> move fd 203.0.113.5 until never [kernel never]",
    );
}

/// AR-IMP-10
#[test]
fn a_burst_counts_once_when_offences_are_debounced() {
    check(
        Settings {
            debounce: Some(Duration::from_secs(10)),
            ..ladder(&["1", "5"])
        },
        "0  offence fd 203.0.113.5 100 -> ban fd 203.0.113.5 until 100 [kernel 100]
         9  offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 109 [kernel 109]
         18 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 118 [kernel 118]
         28 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 88 [kernel 88]
         29 unban 203.0.113.5          -> unban fd 203.0.113.5 [kernel -]
         30 offence fd 203.0.113.5 100 -> ban fd 203.0.113.5 until 90 [kernel 90]",
    );
}

/// AR-IMP-10
#[test]
fn a_counter_is_forgiven_after_quiet_time_without_offence_or_ban() {
    let forgiving = || Settings {
        forgive_after: Some(Duration::from_secs(100)),
        ..ladder(&["1", "5"])
    };
    check(
        forgiving(),
        "0   offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 20 [kernel 20]
         119 offence fd 203.0.113.5 20 -> unban fd 203.0.113.5 [kernel -]; ban fd 203.0.113.5 until 179 [kernel 179]
         279 offence fd 203.0.113.5 20 -> unban fd 203.0.113.5 [kernel -]; ban fd 203.0.113.5 until 299 [kernel 299]",
    );
    let mut host = Host::new(forgiving());
    host.step("0 offence fd 203.0.113.5 20");
    host.step("20 timers");
    assert_eq!(host.ledger.next_deadline(), Some(seconds(120)));
    let key = key("fd", "203.0.113.5");
    assert_eq!(host.ledger.offence_count(&key, seconds(119)), 1);
    assert_eq!(host.ledger.offence_count(&key, seconds(120)), 0);
    host.step("120 timers");
    assert_eq!(host.ledger.remembered(), 0);
    assert_eq!(host.ledger.next_deadline(), None);
}

#[test]
fn a_ruling_tells_the_place_on_the_ladder() {
    let mut ledger = Ledger::new(Settings {
        debounce: Some(Duration::from_secs(1)),
        ..ladder(&["1"])
    });
    let mut rule = |at, timeout| {
        let offence = offence("fd", "203.0.113.5", timeout);
        let at = seconds(at);
        ledger.apply(Event::Offence { offence, at }, at)
    };
    let rung = |offence, length, debounced| {
        Some(Rung {
            offence,
            length: Duration::from_secs(length),
            debounced,
        })
    };
    let until = |at| Expiry::At(seconds(at));
    assert_eq!(
        rule(0, "20"),
        Ruling::Banned {
            until: until(20),
            rung: rung(1, 20, false)
        }
    );
    assert_eq!(
        rule(0, "20"),
        Ruling::Moved {
            from: until(20),
            until: until(20),
            rung: rung(1, 20, true)
        }
    );
    assert_eq!(
        rule(5, "20"),
        Ruling::Moved {
            from: until(20),
            until: until(65),
            rung: rung(2, 60, false)
        }
    );
    assert_eq!(
        rule(6, "never"),
        Ruling::Moved {
            from: until(65),
            until: Expiry::Never,
            rung: None
        }
    );
    assert_eq!(
        rule(7, "20"),
        Ruling::AlreadyPermanent {
            rung: rung(3, 60, false)
        }
    );
}

#[test]
fn a_record_tells_why_and_since_when() {
    let mut ledger = Ledger::new(ladder(&["1"]));
    let mut offend = |at: u64, alert: &str| {
        let offence = Offence {
            rule_id: u32::try_from(at).expect("small"),
            alert_id: Some(alert.into()),
            ..offence("fd", "203.0.113.5", "20")
        };
        let at = seconds(at);
        ledger.apply(Event::Offence { offence, at }, at);
    };
    offend(1, "1732412580.218");
    offend(3, "5f1b");
    let told: Vec<_> = ledger.bans(seconds(5)).collect();
    assert_eq!(
        told,
        [Record {
            key: key("fd", "203.0.113.5"),
            offences: 2,
            last_offence: Some(seconds(3)),
            free_since: None,
            ban: Some(Ban {
                since: seconds(1),
                until: Expiry::At(seconds(63)),
                enforcement: Enforcement::Kernel,
                response: 1,
                rule_id: 3,
                alert_id: AlertId::new("5f1b"),
                adopted: false,
                by_hand: None,
            }),
        }]
    );
    let standing = Standing {
        until: Expiry::At(seconds(63)),
        since: seconds(1),
        rule_id: 3,
        shadow: false,
    };
    let everyone: Vec<_> = ledger.standings(seconds(62)).collect();
    assert_eq!(everyone, [(told[0].key.offender, standing)]);
    assert_eq!(ledger.standings(seconds(63)).count(), 0);
    assert_eq!(ledger.bans(seconds(63)).count(), 0);
    assert_eq!(ledger.records_of(told[0].key.offender).count(), 1);
}
