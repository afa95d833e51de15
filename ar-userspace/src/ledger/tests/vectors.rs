//! The cases of the conformance vectors about time, as the ledger sees them: what fired, and when.
//!
//! What the configuration, white list and routing decide about a case is not the ledger's; a case whose
//! alerts all stop there has no line here.

use super::*;

/// Runs timers by the ledger's own deadlines until nothing is left, and compares every ban and unban.
/// `offences` are lines `SECONDS EXECUTABLE ADDRESS TIMEOUT` or `SECONDS restart`.
#[track_caller]
fn timeline(minutes: &[&str], offences: &[&str], expected: &[&str]) {
    let mut host = Host::new(ladder(minutes));
    let mut told = Vec::new();
    for line in offences {
        let (at, rest) = line.split_once(' ').expect("a time and an event");
        run_timers(&mut host, Some(at.parse().expect("seconds")), &mut told);
        let event = if rest == "restart" { "" } else { "offence " };
        note(at, &host.step(&format!("{at} {event}{rest}")), &mut told);
    }
    run_timers(&mut host, None, &mut told);
    assert_eq!(told, expected);
}

fn run_timers(host: &mut Host, until: Option<u64>, told: &mut Vec<String>) {
    while let Some(due) = host.ledger.next_deadline() {
        let at = due.since(host.origin).as_secs();
        if until.is_some_and(|until| until < at) {
            break;
        }
        let at = at.to_string();
        note(&at, &host.step(&format!("{at} timers")), told);
    }
}

fn note(at: &str, effects: &str, told: &mut Vec<String>) {
    for effect in effects.split("; ") {
        match effect.split_whitespace().collect::<Vec<_>>()[..] {
            ["ban", executable, offender, ..] => {
                told.push(format!("{at} add {executable} {offender}"));
            }
            ["unban", executable, offender, ..] => {
                told.push(format!("{at} delete {executable} {offender}"));
            }
            _ => {}
        }
    }
}

/// AR-TIME-1, AR-TIME-2, AR-CMD-2: `time-add-and-delete`, `time-no-timeout-is-permanent`,
/// `time-block-again-after-expiry`, `time-timeout-not-allowed`
#[test]
fn vectors_of_one_key() {
    timeline(
        &[],
        &["0 fd 203.0.113.5 600"],
        &["0 add fd 203.0.113.5", "600 delete fd 203.0.113.5"],
    );
    timeline(
        &[],
        &[
            "0 fd 203.0.113.5 never",
            "100 fd 203.0.113.5 never",
            "90000 fd 203.0.113.5 never",
        ],
        &["0 add fd 203.0.113.5"],
    );
    timeline(
        &[],
        &["0 fd 203.0.113.5 100", "300 fd 203.0.113.5 100"],
        &[
            "0 add fd 203.0.113.5",
            "100 delete fd 203.0.113.5",
            "300 add fd 203.0.113.5",
            "400 delete fd 203.0.113.5",
        ],
    );
}

/// AR-TIME-3, AR-WL-1: `time-two-addresses`, `time-different-executables-independent`,
/// `time-same-executable-shared-key`, `time-white-listed-never-blocked`
#[test]
fn vectors_of_several_keys() {
    timeline(
        &[],
        &["0 fd 203.0.113.5 100", "10 fd 198.51.100.9 100"],
        &[
            "0 add fd 203.0.113.5",
            "10 add fd 198.51.100.9",
            "100 delete fd 203.0.113.5",
            "110 delete fd 198.51.100.9",
        ],
    );
    timeline(
        &[],
        &["0 fd 203.0.113.5 100", "0 host-deny 203.0.113.5 200"],
        &[
            "0 add fd 203.0.113.5",
            "0 add host-deny 203.0.113.5",
            "100 delete fd 203.0.113.5",
            "200 delete host-deny 203.0.113.5",
        ],
    );
    timeline(
        &[],
        &["0 fd 203.0.113.5 100", "0 fd 203.0.113.5 300"],
        &["0 add fd 203.0.113.5", "300 delete fd 203.0.113.5"],
    );
    timeline(
        &["1", "5", "10"],
        &["2 fd 198.51.100.9 20"],
        &["2 add fd 198.51.100.9", "22 delete fd 198.51.100.9"],
    );
}

/// AR-TIME-4, AR-OFF-4: `time-duplicate-refreshes`, `time-ipv6-forms-are-one-address`
#[test]
fn vectors_of_repeats() {
    timeline(
        &[],
        &[
            "0 fd 203.0.113.5 100",
            "60 fd 203.0.113.5 100",
            "120 fd 203.0.113.5 100",
        ],
        &["0 add fd 203.0.113.5", "220 delete fd 203.0.113.5"],
    );
    timeline(
        &[],
        &["0 fd 2001:db8::1 100", "50 fd 2001:0DB8:0:0:0:0:0:1 100"],
        &["0 add fd 2001:db8::1", "150 delete fd 2001:db8::1"],
    );
}

/// One address, one executable: the lines are the times of the offences, the times of bans, of unbans.
#[track_caller]
fn rungs(minutes: &[&str], timeout: &str, offences: &[u32], bans: &[u32], unbans: &[u32]) {
    let lines: Vec<String> = offences
        .iter()
        .map(|at| format!("{at} fd 203.0.113.5 {timeout}"))
        .collect();
    let mut expected: Vec<(u32, String)> = Vec::new();
    expected.extend(
        bans.iter()
            .map(|&at| (at, format!("{at} add fd 203.0.113.5"))),
    );
    expected.extend(
        unbans
            .iter()
            .map(|&at| (at, format!("{at} delete fd 203.0.113.5"))),
    );
    expected.sort();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let expected: Vec<&str> = expected.iter().map(|(_, line)| line.as_str()).collect();
    timeline(minutes, &lines, &expected);
}

/// AR-TIME-5, AR-TIME-8, AR-CFG-14: `rep-ladder`, `rep-single-entry`, `rep-not-increasing-used-as-written`,
/// `rep-six-entries-first-five`, `rep-seed-samples-manager-and-agent`, `rep-counter-does-not-age`
#[test]
fn vectors_of_the_ladder() {
    let times = [0, 100, 1000, 2000, 5000];
    rungs(
        &["1", "5", "10"],
        "20",
        &times,
        &times,
        &[20, 160, 1300, 2600, 5600],
    );
    let times = [0, 100, 4000];
    rungs(&["30"], "60", &times, &times, &[60, 1900, 5800]);
    let times = [0, 10, 2000, 3000];
    rungs(
        &["30", "5", "10"],
        "1",
        &times,
        &times,
        &[1, 1810, 2300, 3600],
    );
    let times = [0, 1000, 2000, 3000, 4000, 5000, 6000];
    let ends = [10, 1060, 2120, 3180, 4240, 5300, 6300];
    rungs(&["1", "2", "3", "4", "5"], "10", &times, &times, &ends);
    let times = [0, 30, 1000];
    rungs(&["1", "5", "10"], "1", &times, &times, &[1, 90, 1300]);
    let times = [0, 2_592_000];
    rungs(&["1", "5", "10"], "20", &times, &times, &[20, 2_592_060]);
}

/// AR-TIME-6, AR-TIME-7: `rep-counts-while-blocked`, `rep-burst-escalates`, `rep-needs-a-timeout`
#[test]
fn vectors_of_counting() {
    rungs(&["1", "5", "10"], "100", &[0, 50], &[0], &[110]);
    rungs(&["1", "5", "10"], "100", &[0, 1, 2, 3, 4], &[0], &[604]);
    rungs(&["1", "5", "10"], "never", &[0, 100], &[0], &[]);
}

/// AR-TIME-3, AR-TIME-5: `rep-per-address`, `rep-per-executable`
#[test]
fn vectors_of_counters_apart() {
    timeline(
        &["1", "5", "10"],
        &[
            "0 fd 203.0.113.5 20",
            "100 fd 203.0.113.5 20",
            "200 fd 198.51.100.9 20",
        ],
        &[
            "0 add fd 203.0.113.5",
            "20 delete fd 203.0.113.5",
            "100 add fd 203.0.113.5",
            "160 delete fd 203.0.113.5",
            "200 add fd 198.51.100.9",
            "220 delete fd 198.51.100.9",
        ],
    );
    timeline(
        &["1", "5", "10"],
        &[
            "0 fd 203.0.113.5 20",
            "100 host-deny 203.0.113.5 20",
            "300 fd 203.0.113.5 20",
        ],
        &[
            "0 add fd 203.0.113.5",
            "20 delete fd 203.0.113.5",
            "100 add host-deny 203.0.113.5",
            "120 delete host-deny 203.0.113.5",
            "300 add fd 203.0.113.5",
            "360 delete fd 203.0.113.5",
        ],
    );
}

/// AR-IMP-1: `rep-survives-restart`
#[test]
fn vectors_of_a_restart() {
    timeline(
        &["1", "5", "10"],
        &["0 fd 203.0.113.5 20", "50 restart", "100 fd 203.0.113.5 20"],
        &[
            "0 add fd 203.0.113.5",
            "20 delete fd 203.0.113.5",
            "100 add fd 203.0.113.5",
            "160 delete fd 203.0.113.5",
        ],
    );
}
