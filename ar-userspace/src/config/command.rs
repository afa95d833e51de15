//! `<command>`: a name, what it runs, and whether its bans may end (AR-CMD-1 to 4).

use std::collections::BTreeMap;
use std::ops::Range;

use super::Executable;
use super::fields::{Fields, found, yes_no};
use super::raw::Element;
use super::suggest::nearest;
use super::value::Part;
use crate::diagnostic::{Diagnostic, quote};

const ALLOWED: [&str; 4] = ["name", "executable", "timeout_allowed", "extra_args"];
/// Obsolete, accepted, and of no effect (AR-CMD-3).
const IGNORED: [&str; 1] = ["expect"];

/// The commands of a file by name. Of two with one name the first counts (AR-CMD-4).
#[derive(Debug, Default)]
pub(super) struct Commands {
    by_name: BTreeMap<String, Command>,
}

/// One command. Without an executable it was reported, and only its name is known.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) executable: Option<String>,
    pub(super) extra_args: Vec<String>,
    pub(super) timeout_allowed: bool,
    /// Bytes of the start tag.
    pub(super) tag: Range<usize>,
    name_span: Range<usize>,
}

impl Commands {
    /// Reads every command and reports its mistakes.
    pub(super) fn read(elements: &[Element], out: &mut Vec<Diagnostic>) -> Self {
        let mut commands = Self::default();
        for element in elements.iter().filter(|element| !element.broken) {
            if let Some((name, command)) = read_one(element, out) {
                commands.insert(name, command, out);
            }
        }
        commands
    }

    /// The command of exactly this name (AR-CFG-7).
    pub(super) fn get(&self, name: &str) -> Option<&Command> {
        self.by_name.get(name)
    }

    /// How to mend the name of a command that is not there.
    pub(super) fn help_for(&self, name: &str) -> String {
        match nearest(name, self.by_name.keys().map(String::as_str)) {
            Some(meant) => format!("write {}", quote(meant)),
            None => format!(
                "define it: `<command><name>`{}`</name><executable>...</executable></command>`",
                quote(name)
            ),
        }
    }

    fn insert(&mut self, name: Part<'_>, command: Command, out: &mut Vec<Diagnostic>) {
        if let Some(first) = self.by_name.get(name.text()) {
            let message = format!(
                "command {} is defined before, and only the first one counts",
                quote(name.text())
            );
            out.push(
                Diagnostic::warning("command", name.span(), message)
                    .related(first.name_span.clone(), "first defined here"),
            );
            return;
        }
        self.by_name.insert(name.text().to_owned(), command);
    }
}

/// What the commands run, wherever one says so.
pub(super) fn executables(elements: &[Element]) -> Vec<(Executable, Range<usize>)> {
    let fields = elements.iter().flat_map(|element| &element.children);
    let values = fields.filter(|field| field.name == "executable");
    let parts = values.map(|field| field.value.trimmed());
    parts
        .map(|part| (Executable::new(part.text()), part.span()))
        .collect()
}

fn read_one<'r>(element: &'r Element, out: &mut Vec<Diagnostic>) -> Option<(Part<'r>, Command)> {
    let fields = Fields::check(element, &ALLOWED, &IGNORED, &[], out);
    let name = fields.value("name");
    let executable = fields.value("executable");
    if name.is_none() {
        fields.report_missing("name", "name it, so that a response can say it", out);
    }
    if executable.is_none() {
        let help = "name a file of `active-response/bin`, as `firewall-drop`";
        fields.report_missing("executable", help, out);
    }
    let timeout_allowed = fields
        .value("timeout_allowed")
        .is_some_and(|part| yes_no("timeout_allowed", part, out).unwrap_or_default());
    let executable = executable.filter(|part| executable_is_good(*part, out));
    let extra_args = fields.value("extra_args").map_or_else(Vec::new, |part| {
        part.text().split_whitespace().map(str::to_owned).collect()
    });
    let name = name?;
    if name.text().starts_with('!') {
        out.push(
            Diagnostic::error(
                "name",
                name.span(),
                "expected a name that does not begin with `!`",
            )
            .found(found(name)),
        );
    }
    let command = Command {
        executable: executable.map(|part| part.text().to_owned()),
        extra_args,
        timeout_allowed,
        tag: element.tag.clone(),
        name_span: name.span(),
    };
    Some((name, command))
}

/// Whether it is a bare file name (AR-CMD-1).
fn executable_is_good(part: Part<'_>, out: &mut Vec<Diagnostic>) -> bool {
    let name = part.text();
    let bare = !name.contains(['/', '\\'])
        && !name.contains("..")
        && name != "."
        && !name.contains(char::is_control);
    if !bare {
        let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
        let diagnostic = Diagnostic::error("executable", part.span(), "expected a bare file name")
            .found(found(part));
        out.push(match last {
            "" | "." | ".." => diagnostic,
            last => diagnostic.help(format!(
                "write {} and put the file into `active-response/bin`",
                quote(last)
            )),
        });
    }
    bare
}
