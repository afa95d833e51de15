//! Running other programs, and the only place that prints.
//!
//! What is run is echoed first, as a line that works when it is pasted into a shell; look-ups that change
//! nothing (`rustc -vV`) are not. Nothing here knows what the programs are for.

#![allow(
    clippy::print_stderr,
    reason = "a build tool talks to whoever started it, and does so here"
)]

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Prints one line.
pub(crate) fn say(line: impl Display) {
    eprintln!("{line}");
}

/// Echoes and runs `command`; an exit status other than 0 is an error that names the program.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    echo(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", program(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", program(command));
    }
    Ok(())
}

/// Runs a look-up quietly and returns what it wrote to standard output.
pub(crate) fn look_up(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", program(command)))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} ended with {}: {}",
            program(command),
            output.status,
            why.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Prints the line that [`run`] runs.
pub(crate) fn echo(command: &Command) {
    say(format_args!("$ {}", line(command)));
}

/// The cargo that runs this program, and in whose place it acts.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where `name` is: in PATH, or in the directories that only root's PATH has.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    path_dirs()
        .map(|dir| dir.join(name))
        .find(|path| is_program(path))
}

/// The directories of PATH, then the system's own.
pub(crate) fn path_dirs() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = env::split_paths(&path).collect();
    let system = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    dirs.into_iter().chain(system.map(PathBuf::from))
}

/// Whether a regular file that somebody may execute stands at `path`.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this process may administer the machine.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn program(command: &Command) -> String {
    format!("`{}`", Path::new(command.get_program()).display())
}

fn line(command: &Command) -> String {
    let env = command.get_envs().filter_map(|(name, value)| {
        let value = quoted(value?);
        Some(format!("{}={value}", name.display()))
    });
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = env.chain(words.map(quoted)).collect();
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echoed_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("/usr/bin/cargo");
        command
            .args(["a b", "it's", "", "--x=1"])
            .env("FLAGS", "-C y");
        command.env_remove("GONE");
        assert_eq!(
            line(&command),
            r"FLAGS='-C y' /usr/bin/cargo 'a b' 'it'\''s' '' --x=1"
        );
    }

    #[test]
    fn a_failing_program_is_named_with_its_status() {
        let error = look_up(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh` ended with exit status: 3: no");
    }
}
