//! `arfw generate`: writes what packages ship and no repository holds: man pages and shell completions.
//!
//! Both are made from the command line itself, so that they cannot say anything else than `--help`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_complete::aot::generate_to;

use super::Exit;

/// The name of the program, and of all that is made for it.
const NAME: &str = "arfw";

/// Shells that packages have a directory for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

/// Arguments of `arfw generate`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Directory to write to; made when it is not there
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let manuals = arguments.directory.join("man");
    let completions = arguments.directory.join("completions");
    for directory in [&manuals, &completions] {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make `{}`", directory.display()))?;
    }
    let mut command = super::Arguments::command();
    command.build();
    write_manuals(&command, &manuals)?;
    for shell in SHELLS {
        generate_to(shell, &mut command, NAME, &completions)
            .with_context(|| format!("cannot write to `{}`", completions.display()))?;
    }
    Ok(Exit::Done)
}

/// One page for the program, and one for each of its commands and theirs: `arfw-store-check.1`.
fn write_manuals(command: &Command, directory: &Path) -> anyhow::Result<()> {
    let name = command.get_display_name().unwrap_or(NAME).to_owned();
    let path = directory.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(name)
        .render(&mut page)?;
    fs::write(&path, page).with_context(|| format!("cannot write `{}`", path.display()))?;
    let inner = command.get_subcommands();
    for inner in inner.filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        write_manuals(inner, directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(command: &Command, of: &mut BTreeSet<String>) {
        for inner in command.get_subcommands() {
            if !inner.is_hide_set() && inner.get_name() != "help" {
                of.insert(inner.get_display_name().unwrap_or_default().to_owned());
                names(inner, of);
            }
        }
    }

    #[test]
    fn manuals_and_completions_name_every_command() {
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().to_owned();
        run(&Arguments { directory }).unwrap();
        let mut command = super::super::Arguments::command();
        command.build();
        let mut expected = BTreeSet::new();
        names(&command, &mut expected);
        assert!(expected.contains("arfw-run") && expected.contains("arfw-store-check"));

        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let main = read("man/arfw.1").replace('\\', "");
        let [bash, zsh, fish] =
            ["arfw.bash", "_arfw", "arfw.fish"].map(|file| read(&format!("completions/{file}")));
        for name in &expected {
            let page = read(&format!("man/{name}.1")).replace('\\', "");
            assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
            let word = name.rsplit('-').next().unwrap();
            // As each shell has a command in its place, and not a word of a description.
            let bash_name = name
                .rsplit_once('-')
                .map(|(of, _)| of.replace('-', "__subcmd__"));
            let in_bash = format!("{},{word})", bash_name.unwrap_or_default());
            assert!(bash.contains(&in_bash), "{name}: no `{in_bash}`");
            let in_zsh = format!("({word})");
            let has_it = zsh.lines().any(|line| line.trim() == in_zsh);
            assert!(has_it, "{name}: no `{in_zsh}`");
            let in_fish = format!("-a \"{word}\" ");
            assert!(fish.contains(&in_fish), "{name}: no `{in_fish}`");
        }
        for command in command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set())
        {
            let page = format!("arfw-{}(1)", command.get_name());
            assert!(main.contains(&page), "{page}");
        }
        let written = fs::read_dir(dir.path().join("man")).unwrap().count();
        assert_eq!(written, expected.len() + 1);
    }
}
