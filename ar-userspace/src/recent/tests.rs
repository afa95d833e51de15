//! The bound of the memory, and what is found in it.

use super::*;

fn note(recent: &mut Recent, line: &str, now: u64) {
    let alert = Alert::parse(line.as_bytes()).unwrap();
    recent.unmatched(&alert, Moment::from_nanos(now));
}

#[test]
fn memory_is_bounded_and_what_came_last_is_there() {
    let mut recent = Recent::new(RandomState::default());
    let long = "\\u0041é".repeat(10_000);
    let last = 3 * Recent::MOST as u64;
    for number in 0..=last {
        let addr = std::net::Ipv4Addr::from_bits(0x0b00_0000 + u32::try_from(number).unwrap());
        let line = format!(
            r#"{{"rule":{{"level":3,"groups":["a","{long}"]}},"srcip":"{addr}","full_log":"{long}"}}"#
        );
        note(
            &mut recent,
            if number > last - 9 { &line } else { "{}" },
            number,
        );
        if number <= last - 9 {
            let short = format!(r#"{{"rule":{{"level":3}},"srcip":"{addr}"}}"#);
            note(&mut recent, &short, number);
        }
    }
    let network = "11.0.0.0/8".parse().unwrap();
    let kept = recent.within(network);
    assert!(kept.len() <= Recent::MOST && kept.len() > Recent::MOST / 2);
    assert_eq!(kept[0].at, Moment::from_nanos(last));
    // A row has room for eight, and two dozen came for it: of the first third hardly any is left.
    let first_third = Moment::from_nanos(last / 3);
    let old = kept.iter().filter(|kept| kept.at < first_third).count();
    assert!(old < Recent::MOST / 10, "{old}");
    assert!(kept[0].is_cut && kept[0].full_log().unwrap().len() <= 256);
    assert_eq!(kept[0].alert().groups.len(), 1);
}

#[test]
fn alerts_that_are_alike_are_one_and_texts_are_found_as_they_were() {
    let mut recent = Recent::new(RandomState::default());
    for (srcip, rule) in [
        ("::ffff:192.0.2.1", 1),
        ("192.0.2.1", 1),
        ("192.0.2.1", 2),
        ("a b", 1),
    ] {
        let line = format!(r#"{{"rule":{{"level":3,"id":{rule}}},"srcip":"{srcip}"}}"#);
        note(&mut recent, &line, 1);
    }
    let found = recent.of(Whom::Offender("192.0.2.1".parse().unwrap()));
    let found: Vec<_> = found
        .iter()
        .map(|kept| (kept.rule_id, kept.times))
        .collect();
    assert_eq!(found, [(Some(2), 1), (Some(1), 2)]);
    assert_eq!(recent.of(Whom::Text("a b")).len(), 1);
    assert!(recent.of(Whom::Text("a")).is_empty());
}
