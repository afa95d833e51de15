//! `arfw reload`: has the daemon read its configuration again, and tells what that changed.

use std::fmt::Write as _;

use super::run::on_runtime;
use super::{Directories, Exit, output, unban};
use crate::control::{self, view};
use crate::diagnostic::quote;

pub(super) fn run(directories: &Directories, json: bool) -> anyhow::Result<Exit> {
    let socket = directories.socket();
    let reload: view::Reload =
        on_runtime(control::post(&socket, control::RELOAD, &())).map_err(unban::nothing_changed)?;
    if json {
        output::json(&reload)?;
    } else {
        output::error_text(&reload.text);
        output::text(&render(&reload))?;
    }
    Ok(if reload.applied {
        Exit::Done
    } else {
        Exit::WrongConfiguration
    })
}

fn render(reload: &view::Reload) -> String {
    let mut text = reload.summary.clone();
    if !reload.applied {
        text.push_str("the configuration in force stays\n");
        return text;
    }
    for change in &reload.changes {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", change_line(change));
    }
    if reload.changes.is_empty() {
        text.push_str("nothing changed\n");
    }
    for white_listed in &reload.released {
        let _ = writeln!(
            text,
            "{}: {}, white-listed by {} in line {}",
            white_listed.address,
            unban::releases(&white_listed.released),
            quote(&white_listed.entry),
            white_listed.line,
        );
    }
    text
}

fn change_line(change: &view::Change) -> String {
    let place = match (change.line, change.old_line) {
        (Some(line), Some(old)) if line != old => format!(" in line {line}, before in line {old}"),
        (Some(line), _) => format!(" in line {line}"),
        (None, Some(old)) => format!(" from line {old}"),
        (None, None) => String::new(),
    };
    let view::Change {
        subject,
        kind,
        detail,
        ..
    } = change;
    format!("{subject} {kind}{place}: {detail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(subject: &str, kind: &str, lines: [Option<usize>; 2], detail: &str) -> view::Change {
        let [line, old_line] = lines;
        view::Change {
            subject: subject.to_owned(),
            kind: kind.to_owned(),
            line,
            old_line,
            detail: detail.to_owned(),
        }
    }

    fn reload() -> view::Reload {
        view::Reload {
            config: "ossec.conf".to_owned(),
            applied: true,
            diagnostics: Vec::new(),
            text: String::new(),
            summary: "ossec.conf: 0 errors, 0 warnings; 2 responses\n".to_owned(),
            changes: Vec::new(),
            released: Vec::new(),
        }
    }

    fn check(reload: &view::Reload, expected: &str) {
        assert_eq!(render(reload), expected);
    }

    #[test]
    fn changes_and_releases_have_a_line_each() {
        let changes = vec![
            change("disabled", "changed", [None, None], "no, was yes"),
            change("section", "changed", [Some(9), Some(7)], "level 7, was 10"),
            change("section", "removed", [None, Some(20)], "command `x`"),
            change("white_list", "added", [Some(2), None], "`192.0.2.0/24`"),
        ];
        let released = vec![view::WhiteListed {
            address: "192.0.2.7".to_owned(),
            entry: "192.0.2.0/24".to_owned(),
            line: 2,
            released: vec![view::Release {
                executable: "firewall-drop".to_owned(),
                state: view::ReleaseState::Ended,
                cause: None,
            }],
        }];
        check(
            &view::Reload {
                changes,
                released,
                ..reload()
            },
            "\
ossec.conf: 0 errors, 0 warnings; 2 responses
disabled changed: no, was yes
section changed in line 9, before in line 7: level 7, was 10
section removed from line 20: command `x`
white_list added in line 2: `192.0.2.0/24`
192.0.2.7: firewall-drop ended, white-listed by `192.0.2.0/24` in line 2
",
        );
    }

    #[test]
    fn no_change_and_no_reload_are_said() {
        check(
            &reload(),
            "ossec.conf: 0 errors, 0 warnings; 2 responses\nnothing changed\n",
        );
        let refused = view::Reload {
            applied: false,
            summary: "ossec.conf: 1 errors, 0 warnings; nothing of it is applied\n".to_owned(),
            ..reload()
        };
        check(
            &refused,
            "ossec.conf: 1 errors, 0 warnings; nothing of it is applied\nthe configuration in force stays\n",
        );
    }
}
