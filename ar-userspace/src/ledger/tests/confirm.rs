//! Changes by hand that are taken back unless they are confirmed.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::ledger::ByHand;

const WHO: &str = "198.51.100.7";
const SECOND: (u32, Option<i32>) = (1000, Some(9));

fn propose(host: &Host, until: &str, confirm_by: &str) -> Event {
    Event::Propose {
        ban: HandBan {
            key: key("manual", WHO),
            until: host.until(until),
            by: ByHand {
                uid: 0,
                pid: Some(7),
                reason: "a scan".into(),
            },
        },
        key: key("waiting", WHO),
        confirm_by: host.at(confirm_by),
    }
}

fn lift(host: &Host, offender: &str, confirm_by: &str) -> Event {
    Event::Lift {
        offender: offender.parse().expect("an address"),
        uid: 0,
        pid: Some(7),
        confirm_by: host.at(confirm_by),
    }
}

fn confirm(whom: Whom) -> Event {
    let (uid, pid) = SECOND;
    Event::Confirm { whom, uid, pid }
}

/// Runs a script in which `propose UNTIL CONFIRM_BY`, `lift CONFIRM_BY` and `confirm` are about one address, and
/// compares the effects of each line and, behind the last, the entries of the history.
#[track_caller]
fn check_all(script: &str) {
    let mut host = Host::new(Settings::default());
    host.ledger.track_changes();
    let (mut got, mut expected) = (String::new(), String::new());
    let lines = script.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty()) {
        let (event, effects) = line.split_once("->").unwrap_or((line, ""));
        let event = event.trim();
        let words: Vec<&str> = event.split_whitespace().collect();
        let special = match &words[..] {
            [_, "propose", until, confirm_by] => Some(propose(&host, until, confirm_by)),
            [_, "lift", confirm_by] => Some(lift(&host, WHO, confirm_by)),
            [_, "confirm"] => Some(confirm(Whom::Everyone)),
            _ => None,
        };
        let did = match special {
            Some(special) => {
                host.ledger.apply(special, host.at(words[0]));
                host.drain()
            }
            None if event == "history" => history(&mut host),
            None => host.step(event),
        };
        let _ = writeln!(got, "{event} -> {did}");
        let _ = writeln!(expected, "{event} -> {}", effects.trim());
    }
    assert_eq!(got, expected, "\n{got}");
}

/// Name, begin and end of each ban, when it ended and how.
fn history(host: &mut Host) -> String {
    let seconds = |at: Moment| at.since(host.origin).as_secs();
    let history = host.ledger.drain_history();
    let told = history.entries().iter().map(|past| {
        let until = match past.ban.until {
            Expiry::At(end) => seconds(end).to_string(),
            Expiry::Never => "never".to_owned(),
        };
        let (name, since) = (&past.key.executable, seconds(past.ban.since));
        let how = match past.end {
            End::Hand { uid, .. } => format!("Hand {uid}"),
            End::Confirmed { uid, .. } => format!("Confirmed {uid}"),
            End::Lifted { uid, .. } => format!("Lifted {uid}"),
            end => format!("{end:?}"),
        };
        format!("{name} {since}-{until} {} {how}", seconds(past.at))
    });
    told.collect::<Vec<_>>().join("; ")
}

#[test]
fn a_ban_that_is_not_confirmed_ends_and_leaves_what_stood_before() {
    check_all(
        "
        0 propose 600 60 -> ban waiting 198.51.100.7 until 60 [kernel 60]
        60 timers -> unban waiting 198.51.100.7 [kernel -]
        61 confirm ->
        history -> waiting 0-60 60 NotConfirmed
        ",
    );
    check_all(
        "
        0 offence drop 198.51.100.7 90 -> ban drop 198.51.100.7 until 90 [kernel 90]
        5 propose never 60 -> ban waiting 198.51.100.7 until 60
        60 timers -> unban waiting 198.51.100.7
        90 timers -> unban drop 198.51.100.7 [kernel -]
        history -> waiting 5-60 60 NotConfirmed; drop 0-90 90 Time
        ",
    );
}

#[test]
fn a_ban_that_is_confirmed_has_its_length_from_its_begin() {
    check_all(
        "
        0 propose 600 60 -> ban waiting 198.51.100.7 until 60 [kernel 60]
        59 confirm -> ban manual 198.51.100.7 until 600 [kernel 600]; unban waiting 198.51.100.7
        60 timers ->
        599 timers ->
        600 timers -> unban manual 198.51.100.7 [kernel -]
        history -> waiting 0-60 59 Confirmed 1000; manual 0-600 600 Time
        ",
    );
    // The same over one that stood.
    check_all(
        "
        0 propose never 60 -> ban waiting 198.51.100.7 until 60 [kernel 60]
        1 confirm -> ban manual 198.51.100.7 until never [kernel never]; unban waiting 198.51.100.7
        10 propose 600 60 -> ban waiting 198.51.100.7 until 60
        20 confirm -> move manual 198.51.100.7 until 600 [kernel 600]; unban waiting 198.51.100.7
        history -> waiting 0-60 1 Confirmed 1000; manual 0-never 20 Moved; waiting 10-60 20 Confirmed 1000
        ",
    );
}

#[test]
fn an_unban_that_is_not_confirmed_is_as_if_it_had_not_been() {
    check_all(
        "
        0 offence drop 198.51.100.7 600 -> ban drop 198.51.100.7 until 600 [kernel 600]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        69 timers ->
        70 timers -> ban drop 198.51.100.7 until 600 [kernel 600]
        600 timers -> unban drop 198.51.100.7 [kernel -]
        history -> drop 0-600 10 Lifted 0; drop 0-600 600 Time
        ",
    );
}

#[test]
fn an_unban_that_is_confirmed_ended_the_ban_when_it_was_given() {
    check_all(
        "
        0 offence drop 198.51.100.7 never -> ban drop 198.51.100.7 until never [kernel never]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        69 confirm ->
        70 timers ->
        history -> drop 0-never 10 Hand 0
        ",
    );
    // At its time it is too late.
    check_all(
        "
        0 offence drop 198.51.100.7 never -> ban drop 198.51.100.7 until never [kernel never]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        70 confirm -> ban drop 198.51.100.7 until never [kernel never]
        history -> drop 0-never 10 Lifted 0
        ",
    );
}

#[test]
fn a_ban_whose_end_came_while_it_was_lifted_is_not_put_back() {
    check_all(
        "
        0 offence drop 198.51.100.7 60 -> ban drop 198.51.100.7 until 60 [kernel 60]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        70 timers ->
        history -> drop 0-60 10 Hand 0
        ",
    );
}

#[test]
fn whatever_is_decided_about_a_lifted_ban_meanwhile_has_the_last_word() {
    // An offence: as if it had stood, so that a permanent ban is no shorter for it.
    check_all(
        "
        0 offence drop 198.51.100.7 never -> ban drop 198.51.100.7 until never [kernel never]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        20 offence drop 198.51.100.7 5 -> ban drop 198.51.100.7 until never [kernel never]
        70 timers ->
        history -> drop 0-never 10 Lifted 0
        ",
    );
    // An unban without condition.
    check_all(
        "
        0 offence drop 198.51.100.7 never -> ban drop 198.51.100.7 until never [kernel never]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        20 unban 198.51.100.7 ->
        70 timers ->
        history -> drop 0-never 10 Hand 0
        ",
    );
    // One that waits itself, and one that the kernel was found to hold.
    check_all(
        "
        0 propose never 60 -> ban waiting 198.51.100.7 until 60 [kernel 60]
        10 lift 70 -> unban waiting 198.51.100.7 [kernel -]
        70 timers ->
        80 offence drop 198.51.100.7 600 -> ban drop 198.51.100.7 until 680 [kernel 680]
        90 lift 150 -> unban drop 198.51.100.7 [kernel -]
        100 adopt drop 198.51.100.7 400 -> ban drop 198.51.100.7 until 400 [kernel 400]
        150 timers ->
        history -> waiting 0-60 10 Hand 0; drop 80-680 90 Hand 0
        ",
    );
}

#[test]
fn nothing_that_waits_outlives_the_daemon() {
    check_all(
        "
        0 offence drop 198.51.100.7 600 -> ban drop 198.51.100.7 until 600 [kernel 600]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        20 propose never 60 -> ban waiting 198.51.100.7 until 60 [kernel 60]
        30 stop -> ban drop 198.51.100.7 until 600 [kernel 600]; unban waiting 198.51.100.7
        31 confirm ->
        history -> drop 0-600 10 Lifted 0; waiting 20-60 30 NotConfirmed
        ",
    );
    // What a store has is what a crash leaves: the ban as it was.
    check_all(
        "
        0 offence drop 198.51.100.7 600 -> ban drop 198.51.100.7 until 600 [kernel 600]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        20 restart ->
        21 lift 80 -> unban drop 198.51.100.7 [kernel -]
        80 timers -> ban drop 198.51.100.7 until 600 [kernel 600]
        ",
    );
}

#[test]
fn a_ban_that_the_kernel_does_not_take_back_is_told_as_failed() {
    check_all(
        "
        0 offence drop 198.51.100.7 600 -> ban drop 198.51.100.7 until 600 [kernel 600]
        10 lift 70 -> unban drop 198.51.100.7 [kernel -]
        70 timers -> ban drop 198.51.100.7 until 600 [kernel 600]
        71 failed -> retract drop 198.51.100.7 [kernel -]
        history -> drop 0-600 10 Lifted 0; drop 0-600 71 Failed
        ",
    );
}

#[test]
fn changes_that_wait_are_bounded() {
    let mut host = Host::new(Settings::default());
    let address = |n: usize| format!("10.0.{}.{}", n / 256, n % 256);
    for n in 0..=Ledger::MOST_PENDING {
        host.step(&format!("0 offence drop {} 600", address(n)));
        let ruling = host
            .ledger
            .apply(lift(&host, &address(n), "60"), host.at("0"));
        let full = n == Ledger::MOST_PENDING;
        let refused = Ruling::Refused {
            limit: Limit::Pending,
            rung: None,
        };
        assert_eq!(ruling == refused, full, "{n}: {ruling:?}");
    }
    let ruling = host.ledger.apply(propose(&host, "600", "60"), host.at("0"));
    assert!(matches!(ruling, Ruling::Refused { .. }), "{ruling:?}");
    assert_eq!(host.ledger.bans_v4(), 1);
    host.step("60 timers");
    while host
        .ledger
        .next_deadline()
        .is_some_and(|due| due <= host.at("60"))
    {
        host.step("60 timers");
    }
    assert_eq!(
        (host.ledger.bans_v4(), host.ledger.pending().count()),
        (1025, 0)
    );
}

proptest! {
    /// Whatever else happens, once an unban was taken back the ledger is as without it, and so is the kernel.
    #[test]
    fn once_an_unban_was_taken_back_all_is_as_without_it(
        steps in vec((0..20_u64, select(vec![
            "offence drop 198.51.100.7 30", "offence nft 198.51.100.7 never", "offence drop 198.51.100.7 5",
            "offence drop 198.51.100.8 60", "forgive 198.51.100.7", "unban 198.51.100.8", "timers",
        ])), 1..12),
        lifted in 0..12_usize,
        within in 1..60_u64,
    ) {
        let mut with = Host::new(ladder(&["1", "3"]));
        let mut without = Host::new(ladder(&["1", "3"]));
        let mut second = 0;
        let mut held = BTreeMap::new();
        for (number, (wait, event)) in steps.iter().enumerate() {
            second += wait;
            if number == lifted {
                let confirm_by = (second + within).to_string();
                let event = lift(&with, WHO, &confirm_by);
                with.ledger.apply(event, with.at(&second.to_string()));
                obey(&mut with, &mut held);
                prop_assert!(!held.contains_key(&WHO.parse::<Offender>().expect("an address")));
            }
            let step = format!("{second} {event}");
            let words: Vec<&str> = step.split_whitespace().collect();
            for host in [&mut with, &mut without] {
                let now = host.at(words[0]);
                match &words[1..] {
                    ["timers"] => host.ledger.handle_timeout(now),
                    event => {
                        let event = host.event(event, now);
                        host.ledger.apply(event, now);
                    }
                }
            }
            obey(&mut with, &mut held);
        }
        let end = (second + within).to_string();
        let end = with.at(&end);
        for host in [&mut with, &mut without] {
            while host.ledger.next_deadline().is_some_and(|due| due <= end) {
                host.ledger.handle_timeout(end);
            }
        }
        obey(&mut with, &mut held);
        let standing = |host: &Host| host.ledger.standings(end).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(standing(&with), standing(&without));
        prop_assert_eq!(&held, &standing(&with));
        let bans = |host: &Host| host.ledger.bans(end).map(|record| (record.key, record.ban, record.offences)).collect::<Vec<_>>();
        prop_assert_eq!(bans(&with), bans(&without));
        prop_assert_eq!(with.ledger.bans_v4(), without.ledger.bans_v4());
        prop_assert_eq!(with.ledger.pending().count(), 0);
    }
}

/// What a kernel holds that performs only effects that change it.
fn obey(host: &mut Host, held: &mut BTreeMap<Offender, Standing>) {
    while let Some(effect) = host.ledger.next_effect() {
        if effect.standing_changed {
            match effect.standing {
                Some(standing) => held.insert(effect.key.offender, standing),
                None => held.remove(&effect.key.offender),
            };
        }
    }
}
