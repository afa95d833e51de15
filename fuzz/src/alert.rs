//! What must hold for any line of an `alerts.json`.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arfw::alert::Alert;
use arfw::config::read;
use arfw::policy::explain::{Outcome, explain};
use arfw::policy::{Decision, Guard, Policy, Reason};
use serde_json::Value;

/// Sections of every kind, some of which fire for nearly everything. What it remembers of earlier lines changes nothing.
static POLICY: LazyLock<Mutex<Policy>> = LazyLock::new(|| {
    let section = |body: &str| {
        format!(
            "<active-response><command>c</command><location>local</location>{body}</active-response>"
        )
    };
    let text = format!(
        "<ossec_config><global><white_list>198.51.100.0/24</white_list>\
         <white_list>^2001:db8:f|evil</white_list></global>\
         <command><name>c</name><executable>firewall-drop</executable>\
         <timeout_allowed>yes</timeout_allowed></command>{}{}{}{}{}</ossec_config>",
        section("<level>1</level>"),
        section("<rules_group>sshd,|attack|pci_dss_11.4,</rules_group>"),
        section("<rules_id>5710,5712,651</rules_id><level>16</level>"),
        section("<rules_group>active_response,</rules_group><timeout>5</timeout>"),
        section(""),
    );
    let config = read(&text).config.unwrap_or_default();
    Mutex::new(Policy::new(Arc::new(config)))
});

/// Protects some of what the seeds name.
static GUARD: LazyLock<Guard> = LazyLock::new(|| {
    let mut guard = Guard::default();
    for address in ["203.0.113.1", "2001:db8::53"] {
        if let Ok(address) = address.parse() {
            guard.protect(address, Reason::Gateway);
        }
    }
    guard
});

/// Nesting that `serde_json` refuses and the reader does not; see `Malformed`.
const DEPTH_MAX: usize = 100;

/// Reads a line and decides it.
///
/// # Panics
///
/// When the reader and a tree of the whole line disagree, or a decision and its explanation do, or somebody
/// is banned who must not be.
pub fn alert(line: &[u8]) {
    if depth(line) <= DEPTH_MAX {
        check_against_tree(line);
    }
    let mut policy = POLICY.lock().unwrap_or_else(PoisonError::into_inner);
    agrees(&mut policy, line, &GUARD);
    // The daemon's way with bytes that are no text.
    if std::str::from_utf8(line).is_err() {
        let text = String::from_utf8_lossy(line);
        agrees(&mut policy, text.as_bytes(), &GUARD);
    }
}

/// What `serde_json` makes of the line. Fields by their paths are compared one by one.
fn check_against_tree(line: &[u8]) {
    let tree: Option<Value> = serde_json::from_slice(line).ok().filter(Value::is_object);
    let parsed = Alert::parse(line);
    let (tree, alert) = match (&tree, &parsed) {
        (None, Err(_)) => return,
        (Some(tree), Ok(alert)) => (tree, alert),
        _ => panic!("{parsed:?}, and a tree says {tree:?}"),
    };
    let string = |value: &Value| value.as_str().map(str::to_owned);
    let level = tree["rule"]["level"].as_u64().unwrap_or(0).min(255);
    assert_eq!(u64::from(alert.level), level);
    assert_eq!(alert.id.as_deref(), tree["id"].as_str());
    assert_eq!(alert.agent_id.as_deref(), tree["agent"]["id"].as_str());
    let eventdata = &tree["data"]["win"]["eventdata"];
    let sources = [
        &eventdata["ipAddress"],
        &eventdata["destinationIp"],
        &tree["data"]["srcip"],
        &tree["srcip"],
    ];
    let offender = sources.into_iter().find_map(string);
    let found = alert.offender.as_ref().map(|found| found.text.to_string());
    assert_eq!(found, offender);
    let log = alert.context.full_log.map(|log| log.decode().into_owned());
    assert_eq!(log, string(&tree["full_log"]));
}

/// How deep brackets are nested at most; those in strings count as well, which only makes a line pass.
fn depth(line: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in line {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The indexed decision and the explanation, section by section, come to the same.
pub(crate) fn agrees(policy: &mut Policy, line: &[u8], guard: &Guard) {
    let Ok(alert) = Alert::parse(line) else {
        return;
    };
    let decision = policy.decide(&alert, guard);
    let explained = explain(policy.config(), &alert, guard);
    let sections = |wanted: fn(&Outcome) -> bool| -> Vec<usize> {
        let explained = explained.iter().filter(|it| wanted(&it.outcome));
        explained.map(|it| it.response).collect()
    };
    let fires = sections(|outcome| *outcome == Outcome::Fires);
    let refused = sections(|outcome| matches!(outcome, Outcome::Refused(_)));
    match &decision {
        Decision::Unmatched => assert!(fires.is_empty() && refused.is_empty()),
        Decision::Refused { responses, refusal } => {
            assert_eq!((&refused, fires.len()), (responses, 0));
            assert!(!refusal.to_string().contains(char::is_control));
        }
        Decision::Fired(offences) => {
            let fired: Vec<usize> = offences.iter().map(|offence| offence.response).collect();
            assert_eq!((&fires, refused.len()), (&fired, 0));
            for offence in offences {
                let offender = offence.offender;
                let received = alert.offender.as_ref().map_or("", |it| &it.text);
                let white_list = &policy.config().white_list;
                assert_eq!(offender.special(), None);
                assert_eq!(guard.reason(offender), None);
                assert_eq!(white_list.covers(offender, received), None);
            }
        }
    }
    // They go to terminals.
    for explanation in &explained {
        let criteria = explanation.criteria.iter().map(ToString::to_string);
        for told in criteria.chain([explanation.outcome.to_string()]) {
            assert!(!told.contains(char::is_control), "{told:?}");
        }
    }
}
