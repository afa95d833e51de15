//! The simulation beside the ledger itself.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::config;
use crate::ledger::{Action, Key, Record};
use crate::policy::explain::explain;

const CONFIG: &str = "<ossec_config>
  <global><white_list>203.0.113.7</white_list></global>
  <command><name>drop</name><executable>firewall-drop</executable><timeout_allowed>yes</timeout_allowed></command>
  <command><name>run</name><executable>run.py</executable><timeout_allowed>yes</timeout_allowed></command>
  <active-response><repeated_offenders>1,3,2</repeated_offenders></active-response>
  <active-response><command>drop</command><location>local</location><level>5</level><timeout>30</timeout></active-response>
  <active-response><command>run</command><location>server</location><rules_id>7</rules_id><timeout>40</timeout></active-response>
  <active-response><command>drop</command><location>all</location><rules_id>8</rules_id></active-response>
  <active-response><command>drop</command><location>server</location><rules_id>9</rules_id></active-response>
</ossec_config>";

fn scene(host: Host, agent: Option<&str>) -> Scene {
    let read = |text| config::read(text).config.expect("a valid configuration");
    Scene {
        config: read(CONFIG),
        agent_config: agent.map(read),
        host,
        guard: Guard::default(),
        limits: Limits::default(),
    }
}

fn line(rule: u32, level: u8, agent: &str, address: &str) -> String {
    format!(
        r#"{{"rule":{{"id":"{rule}","level":{level}}},"agent":{{"id":"{agent}"}},"data":{{"srcip":"{address}"}}}}"#
    )
}

fn second(seconds: u64) -> Moment {
    Moment::default().after(Duration::from_secs(seconds))
}

/// Changes as `SECOND ACTION EXECUTABLE ADDRESS`, all else as one word.
fn told(happening: &Happening<'_>, out: &mut Vec<String>) {
    let word = match happening {
        Happening::Malformed(why) => why.word().to_owned(),
        Happening::Refused { refusal, .. } => refusal.word().to_owned(),
        Happening::Elsewhere(_) => "elsewhere".to_owned(),
        Happening::Fired { .. } | Happening::Ruled { .. } => return,
        Happening::Changed(effect) => {
            let action = match effect.action {
                Action::Ban { .. } => "ban",
                Action::Move { .. } => "move",
                Action::Unban => "unban",
                Action::Retract { .. } => "retract",
            };
            let at = effect.at.since(Moment::default()).as_secs();
            format!(
                "{at} {action} {} {}",
                effect.key.executable, effect.key.offender
            )
        }
    };
    out.push(word);
}

/// Reads lines at their seconds (`restart` is one too), lets time run out, and compares all that is told.
#[track_caller]
fn check(scene: Scene, lines: &[(u64, &str)], expected: &[&str]) {
    let mut simulation = Simulation::new(scene);
    let mut out = Vec::new();
    let mut tell = |happening: Happening<'_>| told(&happening, &mut out);
    for (at, line) in lines {
        match *line {
            "restart" => simulation.restart(second(*at), &mut tell),
            line => simulation.read(line.as_bytes(), second(*at), &mut tell),
        }
    }
    simulation.finish(&mut tell);
    assert_eq!(out, expected);
}

/// AR-TIME-1, AR-TIME-5
#[test]
fn deadlines_are_kept_between_lines_and_after_the_last() {
    let alert = line(1, 5, "000", "203.0.113.5");
    check(
        scene(Host::Server, None),
        &[(0, &alert), (100, &alert), (120, &alert)],
        &[
            "0 ban firewall-drop 203.0.113.5",
            "30 unban firewall-drop 203.0.113.5",
            "100 ban firewall-drop 203.0.113.5",
            "120 move firewall-drop 203.0.113.5",
            "300 unban firewall-drop 203.0.113.5",
        ],
    );
}

/// AR-TIME-9, AR-IMP-1
#[test]
fn a_restart_keeps_what_the_kernel_ends_and_releases_what_a_program_does() {
    let alert = line(7, 5, "000", "203.0.113.5");
    check(
        scene(Host::Server, None),
        &[
            (0, &alert),
            (10, "restart"),
            (20, &line(9, 1, "", "203.0.113.9")),
            (25, "restart"),
        ],
        &[
            "0 ban firewall-drop 203.0.113.5",
            "0 ban run.py 203.0.113.5",
            "10 unban run.py 203.0.113.5",
            "20 ban firewall-drop 203.0.113.9",
            "30 unban firewall-drop 203.0.113.5",
        ],
    );
}

/// AR-ROUTE-1, AR-ROUTE-2, AR-ROUTE-4
#[test]
fn only_what_the_host_under_test_does_is_told() {
    let lines = [
        (0, line(1, 5, "7", "203.0.113.5")),
        (1, line(8, 1, "000", "203.0.113.6")),
        (2, line(7, 1, "7", "203.0.113.8")),
    ];
    let lines: Vec<(u64, &str)> = lines.iter().map(|(at, line)| (*at, &**line)).collect();
    let agent = config::AgentId::new(7);
    check(
        scene(Host::Agent(agent), None),
        &lines,
        &[
            "0 ban firewall-drop 203.0.113.5",
            "1 ban firewall-drop 203.0.113.6",
            "elsewhere",
            "30 unban firewall-drop 203.0.113.5",
        ],
    );
    check(
        scene(Host::Server, None),
        &lines,
        &[
            "elsewhere",
            "elsewhere",
            "2 ban run.py 203.0.113.8",
            "42 unban run.py 203.0.113.8",
        ],
    );
}

/// AR-CFG-15, AR-ROUTE-6
#[test]
fn an_agents_own_file_switches_it_off_and_replaces_the_ladder() {
    let host = || Host::Agent(config::AgentId::new(7));
    let alert = line(1, 5, "007", "203.0.113.5");
    let own = "<ossec_config><active-response><repeated_offenders>10</repeated_offenders></active-response></ossec_config>";
    check(
        scene(host(), Some(own)),
        &[(0, &alert), (1, &alert)],
        &[
            "0 ban firewall-drop 203.0.113.5",
            "1 move firewall-drop 203.0.113.5",
            "601 unban firewall-drop 203.0.113.5",
        ],
    );
    let off =
        "<ossec_config><active-response><disabled>yes</disabled></active-response></ossec_config>";
    check(scene(host(), Some(off)), &[(0, &alert)], &["disabled"]);
}

#[test]
fn what_bans_nobody_is_told_too() {
    let spared = line(1, 5, "000", "203.0.113.7");
    check(
        scene(Host::Server, None),
        &[
            (0, &spared),
            (0, "{"),
            (0, &line(1, 4, "000", "203.0.113.5")),
        ],
        &["white_listed", "truncated"],
    );
}

#[test]
fn a_line_that_is_no_text_is_read_all_the_same() {
    let mut simulation = Simulation::new(scene(Host::Server, None));
    let mut out = Vec::new();
    let line = b"{\"full_log\":\"\xff\xfe\",\"rule\":{\"level\":5},\"srcip\":\"203.0.113.5\"}";
    simulation.read(line, second(3), &mut |it| told(&it, &mut out));
    assert_eq!(out, ["3 ban firewall-drop 203.0.113.5"]);
}

/// What `explain` says of the ladder is what offence after offence gets.
///
/// AR-TIME-5
#[test]
fn the_ladder_that_is_explained_is_the_one_that_is_climbed() {
    let mut simulation = Simulation::new(scene(Host::Server, None));
    let line = line(1, 5, "000", "203.0.113.5");
    let alert = Alert::parse(line.as_bytes()).unwrap();
    let explained = explain(simulation.config(), &alert, &Guard::default());
    let ladder = explained[0].ladder.clone();
    let mut climbed = Vec::new();
    for offence in 0..ladder.len() as u64 + 2 {
        simulation.judge(&alert, second(offence * 1_000), &mut |it| {
            if let Happening::Ruled { ruling, .. } = it
                && let Ruling::Banned { rung, .. } = ruling
            {
                climbed.extend(rung.map(|rung| rung.length));
            }
        });
    }
    let last = *ladder.last().unwrap();
    let expected: Vec<Duration> = ladder.into_iter().chain([last, last]).collect();
    assert_eq!(climbed, expected);
}

/// The same alerts, decided and handed to a ledger of which no timer ever runs.
fn by_hand(lines: &[(u64, String)], end: u64) -> Vec<Record> {
    let scene = scene(Host::Server, None);
    let mut ledger = Ledger::new(Settings {
        repeated_offenders: scene.config.repeated_offenders.clone(),
        limits: scene.limits,
        ..Settings::default()
    });
    let mut policy = Policy::new(Arc::new(scene.config));
    let mut now = 0;
    for (wait, line) in lines {
        now += wait;
        let alert = Alert::parse(line.as_bytes()).unwrap();
        if let Decision::Fired(offences) = policy.decide(&alert, &Guard::default()) {
            let here = offences
                .into_iter()
                .filter(|it| it.target == crate::policy::Target::Server);
            for offence in here {
                let at = second(now);
                ledger.apply(Event::Offence { offence, at }, at);
            }
        }
    }
    ledger.bans(second(now + end)).collect()
}

proptest! {
    #[test]
    fn lines_in_virtual_time_ban_as_offences_given_to_the_ledger(
        alerts in vec(
            (
                0..90u64,
                select(&[1u32, 7, 8, 9][..]),
                select(&[1u8, 5, 12][..]),
                select(&["203.0.113.5", "203.0.113.6", "203.0.113.7", "2001:db8::1", "-"][..]),
            ),
            0..40,
        ),
        end in 0..400u64,
    ) {
        let lines: Vec<(u64, String)> = alerts
            .into_iter()
            .map(|(wait, rule, level, address)| (wait, line(rule, level, "000", address)))
            .collect();
        let mut simulation = Simulation::new(scene(Host::Server, None));
        let mut now = 0;
        let mut standing = std::collections::BTreeSet::<Key>::new();
        let mut tell = |happening: Happening<'_>| {
            if let Happening::Changed(effect) = happening {
                match effect.action {
                    Action::Ban { .. } => assert!(standing.insert(effect.key.clone())),
                    Action::Unban => assert!(standing.remove(&effect.key)),
                    Action::Move { .. } | Action::Retract { .. } => {}
                }
            }
        };
        for (wait, line) in &lines {
            now += wait;
            simulation.read(line.as_bytes(), second(now), &mut tell);
        }
        simulation.run_to(second(now + end), &mut tell);
        let records = by_hand(&lines, end);
        let expected: std::collections::BTreeSet<Key> =
            records.iter().map(|record| record.key.clone()).collect();
        prop_assert_eq!(standing, expected);
        let own: Vec<Record> = simulation.ledger.bans(second(now + end)).collect();
        prop_assert_eq!(own, records);
    }
}
