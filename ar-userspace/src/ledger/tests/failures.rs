//! Effects that could not be performed (AR-IMP-5), and bans that were found in the kernel.

use super::*;

/// AR-IMP-5
#[test]
fn a_ban_that_was_not_made_is_none_and_the_next_alert_tries_again() {
    check(
        ladder(&["1", "5"]),
        "0  offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 20 [kernel 20]
         0  failed                    -> retract fd 203.0.113.5 [kernel -]
         0  failed                    ->
         5  offence fd 203.0.113.5 20 -> ban fd 203.0.113.5 until 65 [kernel 65]
         65 timers                    -> unban fd 203.0.113.5 [kernel -]",
    );
}

/// AR-IMP-5
#[test]
fn a_program_that_fails_late_takes_back_its_ban_although_that_was_moved() {
    let mut host = Host::new(ladder(&["1", "5"]));
    host.step("0 offence deny.sh 203.0.113.5 20");
    let ban = host.last_effect.clone().expect("a ban");
    host.step("1 offence deny.sh 203.0.113.5 20");
    host.ledger.apply(Event::Failed(ban.clone()), seconds(2));
    assert_eq!(host.drain(), "retract deny.sh 203.0.113.5");
    assert_eq!(
        host.step("3 offence deny.sh 203.0.113.5 20"),
        "ban deny.sh 203.0.113.5 until 303"
    );
    // The failure of an earlier ban says nothing about a later one.
    host.ledger.apply(Event::Failed(ban), seconds(4));
    assert_eq!(host.drain(), "");
    assert_eq!(host.ledger.bans(seconds(4)).count(), 1);
}

/// AR-IMP-5
#[test]
fn a_move_that_failed_leaves_the_end_before_it() {
    check(
        ladder(&[]),
        "0  offence fd 203.0.113.5 20  -> ban fd 203.0.113.5 until 20 [kernel 20]
         10 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 110 [kernel 110]
         11 failed                     -> retract fd 203.0.113.5 until 20 [kernel 20]
         12 offence fd 203.0.113.5 100 -> move fd 203.0.113.5 until 112 [kernel 112]
         30 failed                     -> retract fd 203.0.113.5 until 20 [kernel 20]; unban fd 203.0.113.5 [kernel -]",
    );
}

/// AR-IMP-5
#[test]
fn a_failure_gives_the_kernel_what_other_keys_hold() {
    let mut host = Host::new(ladder(&[]));
    host.step("0 offence fd 203.0.113.5 100");
    let ban = host.last_effect.clone().expect("a ban");
    assert_eq!(
        host.step("0 offence nft 203.0.113.5 50"),
        "ban nft 203.0.113.5 until 50"
    );
    host.ledger.apply(Event::Failed(ban), seconds(0));
    assert_eq!(host.drain(), "retract fd 203.0.113.5 [kernel 50]");
}

/// AR-IMP-5
#[test]
fn an_unban_that_failed_in_the_kernel_is_tried_once_more() {
    check(
        ladder(&[]),
        "0 offence fd 203.0.113.5 never -> ban fd 203.0.113.5 until never [kernel never]
         1 unban 203.0.113.5            -> unban fd 203.0.113.5 [kernel -]
         1 failed                       -> retract fd 203.0.113.5 [kernel -]
         1 failed                       ->
         2 offence deny.sh 203.0.113.5 never -> ban deny.sh 203.0.113.5 until never
         3 unban 203.0.113.5            -> unban deny.sh 203.0.113.5
         3 failed                       ->",
    );
}

#[test]
fn a_ban_found_in_the_kernel_is_adopted_with_its_end_and_without_an_offence() {
    check(
        ladder(&["1"]),
        "10  adopt fd 203.0.113.5 100    -> ban fd 203.0.113.5 until 100 [kernel 100]
         10  adopt fd 203.0.113.6 10     ->
         11  adopt fd 203.0.113.5 500    ->
         12  adopt nft 203.0.113.5 50    -> ban nft 203.0.113.5 until 50
         50  timers                      -> unban nft 203.0.113.5
         60  offence fd 203.0.113.5 20   -> move fd 203.0.113.5 until 80 [kernel 80]
         80  timers                      -> unban fd 203.0.113.5 [kernel -]
         90  adopt fd 203.0.113.5 never  -> ban fd 203.0.113.5 until never [kernel never]",
    );
    let mut host = Host::new(ladder(&[]));
    host.step("0 adopt fd 203.0.113.5 100");
    let adopted = |ledger: &Ledger| {
        let ban = ledger.bans(seconds(1)).next().and_then(|record| record.ban);
        ban.map(|ban| ban.adopted)
    };
    assert_eq!(adopted(&host.ledger), Some(true));
    host.step("1 offence fd 203.0.113.5 100");
    assert_eq!(adopted(&host.ledger), Some(false));
}

/// A report that comes late, after the kernel has taken over the key with the same beginning.
#[test]
fn a_programs_failure_does_not_end_the_kernels_ban_of_its_key() {
    let mut ledger = Ledger::new(ladder(&[]));
    let offence = offence("deny.sh", "203.0.113.1", "1");
    let key = Key {
        offender: offence.offender,
        executable: offence.executable.clone(),
    };
    let at = seconds(0);
    ledger.apply(Event::Offence { offence, at }, at);
    let ban = ledger.next_effect().unwrap();
    assert_eq!(ban.enforcement, Enforcement::Program);
    ledger.handle_timeout(seconds(1));
    let adoption = Adoption {
        key,
        since: at,
        until: Expiry::Never,
        rule_id: 7,
    };
    ledger.apply(Event::Adopt(adoption), seconds(1));
    while ledger.next_effect().is_some() {}
    let ruling = ledger.apply(Event::Failed(ban), seconds(1));
    assert_eq!(ruling, Ruling::Done { changed: 0 });
    assert_eq!(ledger.standings(seconds(1)).count(), 1);
    assert_eq!(ledger.next_effect(), None);
}
