//! What is decided without running anything. Real executables are run by the behaviour tests.

use super::wire::reduced;
use super::*;
use crate::config::{Config, Enforcement};
use crate::ledger::{AlertId, Ban, Record};
use crate::time::{Expiry, Moment};

fn programs(queue: usize) -> Programs {
    let settings = Settings {
        place: Place::new("/nowhere".into()),
        limit: Duration::from_secs(1),
        at_once: 1,
        queue,
        wire: Wire::Wazuh,
    };
    Programs::new(settings, "host".to_owned(), None).0
}

fn key(executable: &str) -> Key {
    Key {
        offender: "198.51.100.7".parse().unwrap(),
        executable: Executable::new(executable),
    }
}

fn config() -> Config {
    let response = |name: &str, args: &str| {
        format!(
            "<command><name>{name}</name><executable>{name}</executable>
               <extra_args>{args}</extra_args></command>
             <active-response><command>{name}</command><location>local</location>
               <level>7</level></active-response>"
        )
    };
    let text = format!(
        "<ossec_config>{}{}</ossec_config>",
        response("deny", "-d"),
        response("deny-all", "-a")
    );
    crate::config::read(&text).config.unwrap()
}

fn check_recalled(executable: &str, program: &str, extra_args: &[&str], alert: &str) {
    let mut programs = programs(1);
    let record = Record {
        key: key(executable),
        offences: 1,
        last_offence: None,
        free_since: None,
        ban: Some(Ban {
            since: Moment::default(),
            until: Expiry::Never,
            enforcement: Enforcement::Program,
            response: 0,
            rule_id: 5763,
            alert_id: AlertId::new("1.2"),
            adopted: false,
            by_hand: None,
        }),
    };
    programs.recall([record], &config());
    let call = programs.holds.get(&key(executable)).unwrap();
    assert_eq!(call.program.name(), program);
    assert_eq!(*call.extra_args, *extra_args);
    assert_eq!(&*call.alert, alert);
}

/// AR-IMP-2
#[test]
fn a_ban_of_an_earlier_daemon_can_be_reversed_with_what_is_known() {
    let offender = Some(key("").offender);
    let id = AlertId::new("1.2");
    let by_address = reduced(5763, &id, offender, None);
    check_recalled("deny", "deny", &["-d"], &by_address);
    check_recalled("deny-all", "deny-all", &["-a"], &by_address);
    check_recalled("unheard-of", "unheard-of", &[], &by_address);
    let by_user = reduced(5763, &id, offender, Some("root"));
    check_recalled("deny-root", "deny", &["-d"], &by_user);
    check_recalled("deny-all-root", "deny-all", &["-a"], &by_user);
}

fn effect(executable: &str, action: Action) -> Effect {
    Effect {
        key: key(executable),
        enforcement: Enforcement::Program,
        action,
        at: Moment::default(),
        standing: None,
        standing_changed: false,
    }
}

fn call(executable: &str) -> Call {
    Call {
        program: Executable::new(executable),
        extra_args: Arc::new([]),
        alert: "{}".into(),
        offender: key(executable).offender,
        user: None,
        rule_id: 1,
        alert_id: AlertId::default(),
    }
}

/// AR-IMP-5
#[test]
fn a_ban_that_finds_no_room_comes_back_with_its_effect() {
    let mut programs = programs(0);
    let until = Expiry::Never;
    let ruling = Ruling::Banned { until, rung: None };
    let run = programs.request(key("deny"), call("deny"), ruling);
    let effect = effect("deny", Action::Ban { until });
    programs.perform(effect.clone());
    programs.flush();
    let outcome = programs.next_outcome().unwrap();
    assert_eq!((outcome.run, outcome.verb), (run, Verb::Add));
    assert_eq!(outcome.effect, Some(effect));
    assert!(outcome.left_out && programs.is_idle());
}

#[test]
fn an_unban_of_what_no_executable_did_runs_nothing() {
    let mut programs = programs(1);
    programs.perform(effect("deny", Action::Unban));
    programs.flush();
    assert!(programs.is_idle() && programs.worker.is_none());
    assert!(programs.next_outcome().is_none());
}

#[test]
fn keys_that_are_no_addresses_are_bounded_and_kept_under_one_offender() {
    let mut programs = programs(1);
    let first = "198.51.100.1".parse().unwrap();
    let name = |number: usize| Executable::new(&format!("deny-user{number}"));
    for number in 0..MAX_NAMES {
        assert_eq!(programs.keeper(&name(number), first), Some(first));
    }
    let second = "198.51.100.2".parse().unwrap();
    assert_eq!(programs.keeper(&name(7), second), Some(first));
    assert_eq!(programs.keeper(&name(MAX_NAMES), second), None);
}
