//! Quiet times by hand, on made-up times, and beside a model that looks at every one of them.

use proptest::prelude::*;

use super::*;

fn offender(text: &str) -> Offender {
    Offender::network(text.parse().unwrap())
}

fn at(seconds: u64) -> Moment {
    Moment::from_nanos(seconds * 1_000_000_000)
}

fn quiet(text: &str, since: u64, until: u64) -> Quiet {
    Quiet {
        offender: offender(text),
        since: at(since),
        until: at(until),
        uid: 1000,
        pid: Some(7),
        reason: "maintenance".into(),
    }
}

fn quiets(all: &[(&str, u64, u64)]) -> Quiets {
    let all = all.iter();
    Quiets::restore(
        all.map(|&(text, since, until)| quiet(text, since, until)),
        at(1_000),
    )
}

/// The end of the quiet time that holds for an offender at some second.
#[track_caller]
fn check(quiets: &Quiets, text: &str, now: u64, expected: Option<u64>) {
    let found = quiets.of(offender(text), at(now)).map(|quiet| quiet.until);
    assert_eq!(found, expected.map(at), "{text} at {now}");
}

#[test]
fn a_quiet_time_holds_until_its_end_and_for_all_that_stands_in_it() {
    let quiets = quiets(&[("198.51.100.0/24", 0, 60), ("2001:db8::7", 0, 30)]);
    check(&quiets, "198.51.100.7", 59, Some(60));
    check(&quiets, "198.51.100.7", 60, None);
    check(&quiets, "198.51.100.128/25", 0, Some(60));
    check(&quiets, "198.51.100.0/24", 0, Some(60));
    // What holds it is not quiet as a whole.
    check(&quiets, "198.51.0.0/16", 0, None);
    check(&quiets, "198.51.101.7", 0, None);
    check(&quiets, "2001:db8::7", 29, Some(30));
    check(&quiets, "2001:db8::8", 29, None);
    check(&quiets, "::ffff:198.51.100.7", 59, Some(60));
    check(&Quiets::default(), "198.51.100.7", 0, None);
}

#[test]
fn of_several_the_one_that_lasts_longest_holds() {
    let both = quiets(&[("198.51.100.0/24", 0, 60), ("198.51.100.7", 0, 90)]);
    check(&both, "198.51.100.7", 0, Some(90));
    check(&both, "198.51.100.8", 0, Some(60));
    let both = quiets(&[("198.51.100.0/24", 0, 90), ("198.51.100.7", 0, 60)]);
    check(&both, "198.51.100.7", 0, Some(90));
}

#[test]
fn another_one_of_the_same_address_replaces_it_whichever_is_later() {
    let mut quiets = Quiets::default();
    let begin = |quiets: &mut Quiets, until, now| {
        let begun = quiets.begin(quiet("198.51.100.7", now, until), at(now));
        begun.unwrap().map(|before| before.until)
    };
    assert_eq!(begin(&mut quiets, 60, 0), None);
    assert_eq!(begin(&mut quiets, 30, 1), Some(at(60)));
    check(&quiets, "198.51.100.7", 29, Some(30));
    check(&quiets, "198.51.100.7", 30, None);
    // One that was over when it was replaced had ended by itself.
    assert_eq!(begin(&mut quiets, 90, 31), None);
    assert_eq!(quiets.lasting(at(31)).count(), 1);
}

#[test]
fn it_ends_by_hand_exactly_or_with_all_that_stands_in_a_network() {
    let all = [
        ("198.51.100.0/24", 0, 60),
        ("198.51.100.0/25", 0, 60),
        ("198.51.100.0", 0, 60),
        ("198.51.100.255", 0, 9),
        ("198.51.101.0", 0, 60),
        ("198.51.0.0/16", 0, 60),
    ];
    let mut some = quiets(&all);
    assert_eq!(some.end(offender("198.51.100.9"), at(0)), None);
    let ended = some.end(offender("198.51.100.0/24"), at(0));
    assert_eq!(ended, Some(quiet("198.51.100.0/24", 0, 60)));
    check(&some, "198.51.100.0/25", 0, Some(60));
    let mut some = quiets(&all);
    let network = "198.51.100.0/24".parse().unwrap();
    let ended = some.end_within(network, at(10));
    let ended: Vec<String> = ended.iter().map(|it| it.offender.to_string()).collect();
    // The one that was over by then is not told, and gone all the same.
    assert_eq!(
        ended,
        ["198.51.100.0/24", "198.51.100.0/25", "198.51.100.0"]
    );
    assert_eq!(some.held.len(), 2);
    check(&some, "198.51.100.7", 10, Some(60));
    assert_eq!(some.end_within(network, at(10)), []);
}

#[test]
fn an_alert_that_was_raised_in_a_quiet_time_is_held_however_late_it_is_read() {
    let mut some = quiets(&[("198.51.100.7", 10, 60)]);
    let held = |quiets: &Quiets, raised, now| {
        let quiet = quiets.of_alert(offender("198.51.100.7"), at(raised), at(now));
        quiet.is_some()
    };
    assert!(held(&some, 59, 100) && held(&some, 10, 100));
    assert!(!held(&some, 60, 100) && !held(&some, 9, 100));
    // While it lasts, whenever the alert was raised.
    assert!(held(&some, 9, 59) && held(&some, 59, 59));
    assert_eq!(some.lasting(at(100)).count(), 0);
    assert_eq!(some.forget(at(100)), [quiet("198.51.100.7", 10, 60)]);
    assert!(!held(&some, 59, 100) && some.lengths.is_empty());
}

#[test]
fn no_more_are_taken_than_there_is_room_for_and_those_that_are_over_make_room() {
    let many = (0..Quiets::MOST).map(|number| {
        let until = if number == 3 { 5 } else { 60 };
        quiet(&format!("10.{}.{}.1", number >> 8, number & 255), 0, until)
    });
    let mut quiets = Quiets::restore(many, at(4));
    let more = quiet("198.51.100.7", 4, 60);
    assert_eq!(quiets.begin(more.clone(), at(4)), Err(Full));
    assert_eq!(quiets.held.len(), Quiets::MOST);
    // One that is there already needs no room.
    assert!(quiets.begin(quiet("10.0.0.1", 4, 90), at(4)).is_ok());
    assert_eq!(quiets.begin(more, at(5)), Ok(None));
    assert_eq!(quiets.held.len(), Quiets::MOST);
    check(&quiets, "198.51.100.7", 5, Some(60));
    assert_eq!(
        Full.to_string(),
        "65536 addresses and networks are quiet already"
    );
}

#[test]
fn one_of_the_future_begins_at_the_start_and_is_no_longer_than_it_was() {
    let kept = [
        quiet("198.51.100.7", 500, 560),
        quiet("198.51.100.8", 50, 560),
        quiet("198.51.100.9", 10, 60),
    ];
    let mut quiets = Quiets::restore(kept, at(100));
    let changed: Vec<Offender> = quiets.drain_changes().map(|(it, _)| it).collect();
    assert_eq!(changed, [offender("198.51.100.7")]);
    let found: Vec<Quiet> = quiets.held.values().cloned().collect();
    let expected = [
        quiet("198.51.100.7", 100, 160),
        quiet("198.51.100.8", 50, 560),
        quiet("198.51.100.9", 10, 60),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_store_is_told_of_each_change_once_and_of_nothing_that_it_had() {
    let mut some = quiets(&[("198.51.100.7", 0, 60), ("2001:db8::7", 0, 60)]);
    let drained = |quiets: &mut Quiets| -> Vec<(String, bool)> {
        let changes = quiets.drain_changes();
        changes
            .map(|(offender, quiet)| (offender.to_string(), quiet.is_some()))
            .collect()
    };
    let changed = |text: &str, is_there| (text.to_owned(), is_there);
    assert_eq!(drained(&mut some), []);
    some.end(offender("198.51.100.7"), at(0));
    let _ = some.begin(quiet("203.0.113.7", 0, 60), at(0));
    let expected = [changed("198.51.100.7", false), changed("203.0.113.7", true)];
    assert_eq!(drained(&mut some), expected);
    assert_eq!(drained(&mut some), []);
    some.touch();
    let expected = [changed("203.0.113.7", true), changed("2001:db8::7", true)];
    assert_eq!(drained(&mut some), expected);
    some.forget(at(60));
    let expected = [changed("203.0.113.7", false), changed("2001:db8::7", false)];
    assert_eq!(drained(&mut some), expected);
}

#[test]
fn people_are_told_until_when_who_and_why_and_nothing_acts_on_a_terminal() {
    let clocks = Clocks {
        moment: at(100),
        wall: Wall::from_nanos(1_795_500_000_999_000_000),
    };
    let mut asked = quiet("198.51.100.7", 100, 160);
    let told = |quiet: &Quiet| quiet.clone().on_the_wall(clocks).to_string();
    assert_eq!(
        told(&asked),
        "quiet until 2026-11-24T06:01:00Z, as user 1000 asked: maintenance"
    );
    asked.reason = "a\u{1b}[2J\n".into();
    assert!(told(&asked).ends_with("asked: a\\u{1b}[2J\\n"));
    asked.reason = "".into();
    assert!(told(&asked).ends_with("as user 1000 asked"));
    let wall = asked.clone().on_the_wall(clocks);
    assert_eq!(wall.since_boot(clocks), asked);
}

/// One of few networks, so that they meet often.
fn network() -> impl Strategy<Value = Offender> {
    let v4 = (0..=3_u8, 28..=32_u8).prop_map(|(last, bits)| format!("198.51.100.{last}/{bits}"));
    let v6 = (0..=3_u8, 125..=128_u8).prop_map(|(last, bits)| format!("2001:db8::{last}/{bits}"));
    prop_oneof![v4, v6].prop_map(|text| offender(&text))
}

proptest! {
    #[test]
    fn whoever_is_quiet_is_found_as_by_a_look_at_all(
        steps in prop::collection::vec((network(), 0..5_u8, 0..20_u64), 1..40),
        asked in network(),
    ) {
        let mut quiets = Quiets::default();
        let mut model: Vec<Quiet> = Vec::new();
        for (now, (offender, step, lasts)) in (0..).zip(steps) {
            let begun = Quiet { offender, ..quiet("198.51.100.7", now, now + lasts) };
            match step {
                0 => {
                    quiets.end(offender, at(now));
                    model.retain(|it| it.offender != offender);
                }
                1 => {
                    quiets.end_within(offender.prefix(), at(now));
                    model.retain(|it| !offender.prefix().covers(it.offender));
                }
                2 => {
                    quiets.forget(at(now));
                    model.retain(|it| it.until > at(now));
                }
                _ => {
                    quiets.begin(begun.clone(), at(now)).unwrap();
                    model.retain(|it| it.offender != offender);
                    model.push(begun);
                }
            }
            let lasting = model.iter().filter(|it| it.until > at(now));
            let expected = lasting
                .filter(|it| it.offender.prefix().covers(asked))
                .map(|it| it.until)
                .max();
            prop_assert_eq!(quiets.of(asked, at(now)).map(|it| it.until), expected);
            prop_assert_eq!(quiets.lengths.values().sum::<usize>(), quiets.held.len());
        }
    }
}
