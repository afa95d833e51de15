//! The live screen without a terminal: what it shows, and what keys do.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::draw::{Paint, draw};
use super::state::{Look, Mode, State, Wish};
use crate::control::view;

fn ban(address: &str, packets: u64, seconds_left: Option<f64>, rule_id: u32) -> view::Ban {
    view::Ban {
        address: address.to_owned(),
        seconds_left,
        expires_at: None,
        banned_at: "2026-11-24T06:00:00Z".to_owned(),
        rule_id,
        packets,
        bytes: packets * 60,
        shadow: false,
        by: vec![view::Holder {
            executable: "firewall-drop".to_owned(),
            offences: 1,
            response: Some(0),
            alert_id: None,
            by_hand: None,
        }],
    }
}

fn look(seconds: u64, bans: Vec<view::Ban>) -> Look {
    let packets = bans.iter().map(|ban| ban.packets).sum();
    Look {
        at: Duration::from_secs(seconds),
        status: status(packets),
        bans,
    }
}

fn status(banned: u64) -> view::Status {
    view::Status {
        version: "0.1.0".to_owned(),
        pid: 4711,
        uptime_seconds: 3_725.4,
        config: "/var/ossec/etc/ossec.conf".to_owned(),
        settings: None,
        shadow: view::Shadow::default(),
        enabled: true,
        responses: 3,
        alerts: "/var/ossec/logs/alerts/alerts.json".to_owned(),
        source: view::Source::default(),
        load: view::Load::default(),
        counts: view::Counts::default(),
        drift: view::Drift::default(),
        active: view::Active {
            v4: 2,
            v6: 1,
            room_v4: 131_072,
            room_v6: 131_072,
        },
        pending: Vec::new(),
        store: view::Store::default(),
        enforcer: "xdp".to_owned(),
        interfaces: ["eth0", "eth1"]
            .map(|name| view::Interface {
                name: name.to_owned(),
                mode: "native".to_owned(),
                why: String::new(),
                since: None,
            })
            .to_vec(),
        packets: vec![view::Total {
            outcome: "banned".to_owned(),
            packets: banned,
            bytes: banned * 60,
        }],
    }
}

/// Two looks, two seconds apart.
fn watched() -> State {
    let mut state = State::default();
    state.look(look(
        1,
        vec![
            ban("198.51.100.7", 1_000, Some(598.0), 5763),
            ban("203.0.113.9", 50_000, None, 100_200),
        ],
    ));
    state.look(look(
        3,
        vec![
            ban("198.51.100.7", 6_000, Some(596.0), 5763),
            ban("203.0.113.9", 50_010, None, 100_200),
            ban("2001:db8::7", 40, Some(60.0), 5551),
        ],
    ));
    state
}

fn drawn(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let paint = Paint { colour: false };
    terminal
        .draw(|frame| _ = draw(frame, state, paint))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

fn press(state: &mut State, keys: &str) -> Option<Wish> {
    let keys = keys.chars().map(|c| match c {
        '\n' => KeyCode::Enter,
        '\u{1b}' => KeyCode::Esc,
        '\u{8}' => KeyCode::Backspace,
        '>' => KeyCode::Down,
        '<' => KeyCode::Up,
        c => KeyCode::Char(c),
    });
    let mut wish = None;
    for key in keys {
        wish = state.key(KeyEvent::new(key, KeyModifiers::NONE), 10);
    }
    wish
}

fn addresses(state: &State) -> Vec<&str> {
    state.hosts().map(|host| host.address.as_str()).collect()
}

#[test]
fn the_whole_screen_fits_80_columns_and_24_lines() {
    let mut state = watched();
    state.event("06:00:01 ban 2001:db8::7 by firewall-drop, rule 5551".to_owned());
    assert_eq!(
        drawn(&state, 80, 24),
        "\
arfw 0.1.0  up 1h 2m 5s  xdp  banned 2 IPv4, 1 IPv6
 dropped a second: 2,525 ───────────────────────────────────────────────────────
                                                                               █
                                                                               █
                                                                               █
eth0 native  eth1 native
 3 banned, by drops a second ───────────────────────────────────────────────────
ADDRESS                DROPS/S       DROPPED         LEFT    RULE BY
198.51.100.7             2,500         6,000       9m 56s    5763 firewall-drop
2001:db8::7                 20            40           1m    5551 firewall-drop
203.0.113.9                  5        50,010    permanent  100200 firewall-drop







 recent ────────────────────────────────────────────────────────────────────────
06:00:01 ban 2001:db8::7 by firewall-drop, rule 5551



q quit  s sort  / filter  u unban
"
    );
}

#[test]
fn what_is_wrong_stands_at_the_top() {
    let mut state = watched();
    let mut now = status(60_000);
    now.source.trouble = Some("Permission denied".to_owned());
    now.enabled = false;
    state.look(Look {
        at: Duration::from_secs(4),
        status: now,
        bans: Vec::new(),
    });
    state.trouble = "the daemon does not run".to_owned();
    let text = drawn(&state, 80, 24);
    for expected in [
        "\nNO ANSWER: the daemon does not run\n",
        "\nALERTS CANNOT BE READ: Permission denied\n",
        "\nACTIVE RESPONSE IS SWITCHED OFF in /var/ossec/etc/ossec.conf\n",
        " 0 banned, by drops a second ",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn any_size_of_a_terminal_is_drawn() {
    let mut state = watched();
    let many = (0..2_000).map(|n| ban(&format!("10.0.{}.{}", n / 250, n % 250), n, None, 1));
    state.look(look(5, many.collect()));
    for (width, height) in [(1, 1), (10, 3), (40, 12), (80, 24), (250, 80)] {
        drawn(&state, width, height);
    }
    state.selected = 1_999;
    assert!(
        drawn(&state, 80, 24).contains("10.0.0.0 "),
        "the last one is in sight"
    );
}

#[test]
fn hosts_are_ordered_as_asked_and_the_mark_stays_on_its_host() {
    let mut state = watched();
    assert_eq!(
        addresses(&state),
        ["198.51.100.7", "2001:db8::7", "203.0.113.9"]
    );
    press(&mut state, ">");
    press(&mut state, "s");
    assert_eq!(
        addresses(&state),
        ["203.0.113.9", "198.51.100.7", "2001:db8::7"]
    );
    assert_eq!(state.selected, 2);
    press(&mut state, "s");
    assert_eq!(
        addresses(&state),
        ["2001:db8::7", "198.51.100.7", "203.0.113.9"]
    );
    assert_eq!(state.selected, 0);
    press(&mut state, "s");
    assert_eq!(
        addresses(&state),
        ["198.51.100.7", "2001:db8::7", "203.0.113.9"]
    );
    // It goes: the mark stays within the list.
    press(&mut state, ">>>>");
    assert_eq!(state.selected, 2);
    state.look(look(9, vec![ban("198.51.100.7", 6_000, None, 5763)]));
    assert_eq!(state.selected, 0);
}

#[test]
fn a_filter_takes_addresses_rules_and_executables() {
    let mut state = watched();
    press(&mut state, "/198");
    assert_eq!(addresses(&state), ["198.51.100.7"]);
    assert!(drawn(&state, 80, 24).contains("1 banned, with \"198\", by"));
    press(&mut state, "\n");
    assert_eq!(state.mode, Mode::Watching);
    press(&mut state, "\u{1b}");
    assert_eq!(addresses(&state).len(), 3);
    press(&mut state, "/5551\n");
    assert_eq!(addresses(&state), ["2001:db8::7"]);
    press(&mut state, "/\u{8}\u{8}\u{8}\u{8}drop\n");
    assert_eq!(addresses(&state).len(), 3);
    // In a filter, letters are letters.
    assert_eq!(press(&mut state, "/q"), None);
    assert_eq!(addresses(&state).len(), 0);
}

#[test]
fn an_unban_is_asked_about_first_and_is_of_whom_was_asked() {
    let mut state = watched();
    assert_eq!(press(&mut state, "u"), None);
    assert!(drawn(&state, 80, 24).contains("End all bans of 198.51.100.7 now? y/n"));
    assert_eq!(press(&mut state, "n"), None);
    assert!(drawn(&state, 80, 24).contains("198.51.100.7 stays banned"));
    press(&mut state, "u");
    // Another host drops most by now; the question is about the same one as before.
    state.look(look(
        9,
        vec![
            ban("198.51.100.7", 6_000, Some(596.0), 5763),
            ban("203.0.113.9", 90_010, None, 100_200),
        ],
    ));
    assert_eq!(
        press(&mut state, "y"),
        Some(Wish::Unban("198.51.100.7".to_owned()))
    );
    press(&mut state, "/nobody\nu");
    assert!(drawn(&state, 80, 24).contains("nobody is chosen"));
}

#[test]
fn a_ban_that_was_made_anew_has_no_rate_below_zero() {
    let mut state = watched();
    state.look(look(5, vec![ban("198.51.100.7", 10, Some(600.0), 5763)]));
    assert_eq!(state.hosts().next().unwrap().packets_per_second, 0.0);
    assert_eq!(state.drops.back(), Some(&0));
}

#[test]
fn leaving_is_one_key() {
    let mut state = watched();
    assert_eq!(press(&mut state, "q"), Some(Wish::Quit));
    assert_eq!(press(&mut state, "\u{1b}"), Some(Wish::Quit));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    press(&mut state, "u");
    assert_eq!(state.key(interrupt, 10), Some(Wish::Quit));
}
