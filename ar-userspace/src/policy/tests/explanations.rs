//! What a person who asks about one alert is told.

use super::{config, section};
use crate::alert::Alert;
use crate::config::{AgentId, Config, Location};
use crate::policy::explain::explain;
use crate::policy::guard::Guard;

#[test]
fn an_explanation_says_why_of_every_criterion() {
    let mut manager = section(6, Some(1), "", &[]);
    manager.location = Location::DefinedAgent(AgentId::new(0));
    let rules: Vec<u32> = (1..=10).collect();
    let config = config(vec![
        section(0, Some(10), "sshd,|web,", &rules),
        section(1, Some(5), "web,|log|sys", &[5710]),
        section(5, None, "", &[]),
        manager,
    ]);
    check_explanation(
        &config,
        r#"{"rule":{"level":5,"id":"5710","groups":["syslog"]},"srcip":"203.0.113.5"}"#,
        &[
            "0: level 5 < 10; no alternative of `sshd,|web,` in `,syslog,`; \
             rule 5710 not among 1, 2, 3, 4, 5, 6, 7, 8 and 2 more -> does not match",
            "1: level 5 >= 5; `log|sys` in `,syslog,`; rule 5710 is listed -> fires",
            "5:  -> never fires: it has no level, rules_group or rules_id",
            "6: level 5 >= 1 -> never fires: agent_id 000 is the manager, for which location is `server`",
        ],
    );
    check_explanation(
        &config,
        r#"{"rule":{"level":5,"groups":["active_response"]},"srcip":"-"}"#,
        &[
            "0: level 5 < 10; no alternative of `sshd,|web,` in `,active_response,`; \
             the alert has no rule number -> does not match",
            "1: level 5 >= 5; no alternative of `web,|log|sys` in `,active_response,`; the alert has no rule number \
             -> held by the loop guard: the alert is from group `active_response`, which the section does not name",
            "5:  -> never fires: it has no level, rules_group or rules_id",
            "6: level 5 >= 1 -> never fires: agent_id 000 is the manager, for which location is `server`",
        ],
    );
    check_explanation(
        &super::config(vec![section(0, Some(3), "", &[])]),
        r#"{"rule":{"level":3},"srcip":"-"}"#,
        &["0: level 3 >= 3 -> matches, refused: srcip is no literal address: `-`"],
    );
}

fn check_explanation(config: &Config, line: &str, expected: &[&str]) {
    let alert = Alert::parse(line.as_bytes()).expect("the line is an alert");
    let explanations = explain(config, &alert, &Guard::default());
    let told: Vec<_> = explanations
        .iter()
        .map(|it| {
            let criteria: Vec<_> = it.criteria.iter().map(ToString::to_string).collect();
            format!("{}: {} -> {}", it.response, criteria.join("; "), it.outcome)
        })
        .collect();
    assert_eq!(told, expected, "{line}");
}
