//! Bans in shadow: what drops wins, and nothing that was decided in shadow ever drops.

use super::*;

const WHO: &str = "203.0.113.5";

fn offence(executable: Executable, timeout: u64, rule_id: u32) -> Event {
    let offence = Offence {
        response: 0,
        executable,
        enforcement: Enforcement::Kernel,
        offender: WHO.parse().unwrap(),
        timeout: Some(Duration::from_secs(timeout)),
        rule_id,
        alert_id: None,
        target: Target::Server,
    };
    let at = seconds(0);
    Event::Offence { offence, at }
}

fn held(ledger: &Ledger, at: u64) -> Option<(u64, bool)> {
    let standing = ledger.standing(WHO.parse().unwrap(), seconds(at))?;
    let Expiry::At(end) = standing.until else {
        panic!("{standing:?}");
    };
    Some((end.since(seconds(0)).as_secs(), standing.shadow))
}

#[test]
fn what_drops_wins_whichever_came_first_and_lasts_longer() {
    let drop = Executable::new("firewall-drop");
    for first_in_shadow in [true, false] {
        let mut ledger = Ledger::new(Settings::default());
        let mut ban = |executable: Executable, timeout| {
            ledger.apply(offence(executable, timeout, 1), seconds(0));
        };
        if first_in_shadow {
            ban(drop.in_shadow(), 600);
        }
        ban(drop.clone(), 60);
        if !first_in_shadow {
            ban(drop.in_shadow(), 600);
        }
        assert_eq!(held(&ledger, 0), Some((60, false)));
        while let Some(effect) = ledger.next_effect() {
            let is_other = effect.key.executable == drop || first_in_shadow;
            assert_eq!(effect.standing_changed, is_other, "{effect:?}");
        }
        // What is left after it only counts, until its own end.
        ledger.handle_timeout(seconds(60));
        let effect = ledger.next_effect().unwrap();
        assert!(effect.standing_changed && effect.standing.unwrap().shadow);
        assert_eq!(held(&ledger, 60), Some((600, true)));
        assert_eq!(held(&ledger, 600), None);
    }
}

#[test]
fn offences_in_shadow_make_no_real_ban_longer() {
    let mut ledger = Ledger::new(Settings {
        repeated_offenders: vec![Duration::from_secs(1_800)],
        ..Settings::default()
    });
    let drop = Executable::new("firewall-drop");
    ledger.apply(offence(drop.in_shadow(), 60, 1), seconds(0));
    ledger.apply(offence(drop.in_shadow(), 60, 1), seconds(0));
    ledger.apply(offence(drop, 60, 1), seconds(0));
    assert_eq!(held(&ledger, 0), Some((60, false)));
}

#[test]
fn a_host_in_shadow_drops_nothing_and_what_was_decided_for_real_drops_again_after_it() {
    let drop = Executable::new("firewall-drop");
    let shadow = Settings {
        shadow: true,
        ..Settings::default()
    };
    let mut ledger = Ledger::new(shadow.clone());
    ledger.apply(offence(drop, 60, 1), seconds(0));
    assert_eq!(held(&ledger, 0), Some((60, true)));
    let records: Vec<Record> = ledger.records().collect();
    let after = Ledger::restore(Settings::default(), records.clone(), seconds(1));
    assert_eq!(held(&after, 1), Some((60, false)));
    let again = Ledger::restore(shadow, records, seconds(1));
    assert_eq!(held(&again, 1), Some((60, true)));
}
