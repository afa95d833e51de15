//! What the ledger tells of bans that are over.

use super::*;
use crate::ledger::ByHand;

/// Runs a script and tells every entry: address, end, why, and when and how it ended, in seconds of the script.
fn told(script: &str) -> Vec<String> {
    let mut host = Host::new(ladder(&["10"]));
    host.ledger.track_changes();
    for line in script.lines().map(str::trim) {
        if !line.is_empty() {
            host.step(line);
        }
    }
    tell_all(&mut host)
}

fn tell_all(host: &mut Host) -> Vec<String> {
    let history = host.ledger.drain_history();
    let seconds = |at: Moment| at.since(host.origin).as_secs();
    let tell = |past: &Past| {
        let until = match past.ban.until {
            Expiry::At(end) => seconds(end).to_string(),
            Expiry::Never => "never".to_owned(),
        };
        format!(
            "{} {} {}-{until} rule {} {} {:?}",
            past.key.executable,
            past.key.offender,
            seconds(past.ban.since),
            past.ban.rule_id,
            seconds(past.at),
            past.end,
        )
    };
    history.entries().iter().map(tell).collect()
}

#[test]
fn each_end_is_told_once_with_its_ban_and_how_it_came() {
    let script = "
        0 offence drop 198.51.100.7 60
        5 offence drop 198.51.100.8 never
        6 offence drop 198.51.100.9 60
        7 offence a.sh 198.51.100.9 600
        8 failed
        10 offence drop 198.51.100.7 60
        20 unban drop 198.51.100.8
        21 unban drop 198.51.100.8
        900 timers
        901 offence drop 198.51.100.7 60
        902 stop all
    ";
    let expected = [
        "a.sh 198.51.100.9 7-607 rule 5712 8 Failed",
        "drop 198.51.100.7 0-60 rule 5712 10 Moved",
        "drop 198.51.100.8 5-never rule 5712 20 Hand { uid: 0, pid: Some(7) }",
        "drop 198.51.100.9 6-66 rule 5712 66 Time",
        "drop 198.51.100.7 0-610 rule 5712 610 Time",
        "drop 198.51.100.7 901-1501 rule 5712 902 Stop",
    ];
    assert_eq!(told(script), expected);
}

#[test]
fn who_banned_by_hand_and_why_is_told_of_what_replaced_it_and_of_its_end() {
    let mut host = Host::new(Settings::default());
    host.ledger.track_changes();
    for (second, reason) in [("0", "a scan"), ("5", "again")] {
        let ban = HandBan {
            key: key("manual", "198.51.100.0"),
            until: Expiry::At(host.at("60")),
            by: ByHand {
                uid: 1000,
                pid: None,
                reason: reason.into(),
            },
        };
        host.ledger.apply(Event::Ban(ban), host.at(second));
    }
    let unban = Event::Unban(Whom::Everyone, End::WhiteList);
    host.ledger.apply(unban, host.at("9"));
    let history = host.ledger.drain_history();
    let told = history.entries().iter().map(|past| {
        let reason = past.ban.by_hand.as_deref().map(|by| &*by.reason);
        (past.end, reason.unwrap_or_default().to_owned())
    });
    assert!(told.eq([
        (End::Moved, "a scan".to_owned()),
        (End::WhiteList, "again".to_owned())
    ]));
}

#[test]
fn what_was_no_ban_leaves_no_entry() {
    let mut host = Host::new(Settings::default());
    host.ledger.track_changes();
    host.step("0 offence a.sh 198.51.100.9 600");
    let effect = host.last_effect.clone().unwrap();
    host.ledger.apply(Event::NotMade(effect), host.at("1"));
    assert_eq!(host.ledger.bans(host.at("1")).count(), 0);
    assert_eq!(tell_all(&mut host), [""; 0]);
}

#[test]
fn a_mass_release_keeps_the_last_entries_and_counts_the_others() {
    let most = History::<Moment>::MOST;
    let mut host = Host::new(Settings::default());
    host.ledger.track_changes();
    for number in 0..most + 10 {
        let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
        let event = Event::Offence {
            offence: offence("drop", &address, "60"),
            at: host.origin,
        };
        host.ledger.apply(event, host.origin);
    }
    host.ledger
        .apply(Event::Stop(OnStop::ReleaseAll), host.at("1"));
    let mut history = host.ledger.drain_history();
    assert_eq!(history.entries().len(), most);
    assert_eq!(history.forgotten(), 10);
    let addresses = |history: &History| -> Vec<String> {
        let entries = history.entries().iter();
        entries.map(|past| past.key.offender.to_string()).collect()
    };
    assert_eq!(addresses(&history)[0], "10.0.0.10");
    // What came later displaces what is here, and stands behind it.
    let later: History = history.entries().iter().take(7).cloned().collect();
    history.append(later);
    assert_eq!((history.entries().len(), history.forgotten()), (most, 17));
    assert_eq!(addresses(&history)[0], "10.0.0.17");
    assert_eq!(addresses(&history)[most - 1], "10.0.0.16");
    // What came later and forgot some itself has nothing of before.
    let mut before: History = history.entries().iter().take(3).cloned().collect();
    before.append(history.clone());
    assert_eq!(before.entries(), history.entries());
    assert_eq!(before.forgotten(), 20);
}
