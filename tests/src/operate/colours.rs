//! Colours: on a terminal of its own, which `script` makes, and in a pipe.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tests::support::daemon::binary;

use super::{CONF, Scene, V4};

const ESCAPE: char = '\u{1b}';

/// What each command has in colours.
const COLOURED: [(&[&str], &str); 6] = [
    (&["status"], "\u{1b}[1m\u{1b}[31mnone\u{1b}[0m"),
    (&["list"], "\u{1b}[1mADDRESS"),
    (&["why", V4], "\u{1b}[1m\u{1b}[31m198.51.100.7 is banned"),
    (
        &["why", "203.0.113.1"],
        "\u{1b}[32m203.0.113.1 is not banned",
    ),
    (&["history"], "\u{1b}[1m\u{1b}[31mbanned\u{1b}[0m"),
    (
        &["check", "DIR/wrong.conf"],
        "\u{1b}[1m\u{1b}[31m1 errors\u{1b}[0m",
    ),
];

/// How a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Pipe,
    Terminal,
}

impl Scene {
    /// What a command prints, standard output and errors.
    fn printed(&self, on: On, no_color: &str, more: &[&str], arguments: &[&str]) -> Result<String> {
        let dir = self.home.dir().display().to_string();
        let arguments: Vec<String> = more
            .iter()
            .chain(arguments)
            .map(|it| it.replace("DIR", &dir))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let plain = match arguments.contains(&"check") {
            true => {
                let mut command = Command::new(binary());
                command.args(&arguments);
                command
            }
            false => self.home.command(&arguments),
        };
        let mut command = match on {
            On::Pipe => plain,
            On::Terminal => {
                let words = [plain.get_program()].into_iter().chain(plain.get_args());
                let words: Vec<_> = words.map(|word| format!("'{}'", word.display())).collect();
                let mut script = Command::new("script");
                script.args([
                    "--quiet",
                    "--return",
                    "--command",
                    &words.join(" "),
                    "/dev/null",
                ]);
                script
            }
        };
        let output = command
            .env("TERM", "xterm")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output()
            .context("cannot run `script`")?;
        Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
    }
}

#[test]
fn there_are_colours_on_a_terminal_and_nowhere_else() -> Result<()> {
    let mut scene = Scene::new(CONF, &[])?;
    scene.alert(5763, V4, " ban ")?;
    let wrong = CONF.replacen("<timeout>600<", "<timeout>soon<", 1);
    fs::write(scene.home.dir().join("wrong.conf"), wrong)?;
    for (arguments, expected) in COLOURED {
        let coloured = scene.printed(On::Terminal, "", &[], arguments)?;
        ensure!(coloured.contains(expected), "{arguments:?}: {coloured:?}");
        let forced = scene.printed(On::Pipe, "1", &["--color", "always"], arguments)?;
        ensure!(forced.contains(expected), "{arguments:?}: {forced:?}");
        for (on, no_color, more) in [
            (On::Pipe, "", &[][..]),
            (On::Terminal, "1", &[]),
            (On::Terminal, "", &["--color", "never"]),
            (On::Terminal, "", &["--json"]),
        ] {
            let plain = scene.printed(on, no_color, more, arguments)?;
            let told = !plain.is_empty() && !plain.contains(ESCAPE);
            ensure!(
                told,
                "{on:?} {no_color:?} {more:?} {arguments:?}: {plain:?}"
            );
        }
    }
    scene.daemon.stop(Signal::TERM)?;
    Ok(())
}
