//! Where things are: the workspace, its target directory, and an environment free of the outer cargo's.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

/// The directories that every command needs.
pub(crate) struct Workspace {
    /// Where the workspace's `Cargo.toml` stands.
    pub(crate) root: PathBuf,
    /// Where cargo builds, as it says itself: CARGO_TARGET_DIR and configuration files count.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let mut metadata = shell::cargo();
        metadata.args(["metadata", "--no-deps", "--format-version=1", "--offline"]);
        metadata.current_dir(env!("CARGO_MANIFEST_DIR"));
        let text = shell::look_up(&mut metadata).context("cannot ask cargo for the workspace")?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let path = |key: &str| {
            let text = json[key].as_str();
            text.map(PathBuf::from)
                .with_context(|| format!("cargo's metadata has no {key}"))
        };
        Ok(Self {
            root: path("workspace_root")?,
            target: path("target_directory")?,
        })
    }

    /// The kernel object that `ar-userspace/build.rs` embeds.
    pub(crate) fn kernel_object(&self) -> PathBuf {
        self.target.join("bpf").join("arfw-xdp.o")
    }

    /// The daemon of one profile.
    pub(crate) fn daemon(&self, release: bool) -> PathBuf {
        let profile = if release { "release" } else { "debug" };
        self.target.join(profile).join("arfw")
    }

    /// A cargo command that runs at the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = shell::cargo();
        cargo.current_dir(&self.root);
        cargo
    }

    /// Takes from `command` what the outer cargo and rustup put into the environment.
    ///
    /// Left alone, RUSTUP_TOOLCHAIN and RUSTC would choose the compiler, and LD_LIBRARY_PATH its libraries.
    pub(crate) fn clean<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        for (name, _) in env::vars_os() {
            if is_cargos(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        if let Some(path) = env::var_os("LD_LIBRARY_PATH") {
            let rustup = rustup_home();
            let ours = |dir: &Path| {
                dir.starts_with(&self.target) || rustup.as_ref().is_some_and(|r| dir.starts_with(r))
            };
            let kept: Vec<PathBuf> = env::split_paths(&path).filter(|dir| !ours(dir)).collect();
            match env::join_paths(&kept) {
                Ok(kept) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", kept),
                _ => command.env_remove("LD_LIBRARY_PATH"),
            };
        }
        command
    }
}

/// Where rustup keeps its toolchains.
pub(crate) fn rustup_home() -> Option<PathBuf> {
    home("RUSTUP_HOME", ".rustup")
}

/// Where cargo keeps what it installs for the user, whichever clone asks.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    home("CARGO_HOME", ".cargo")
}

fn home(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| value != OsStr::new(""));
    set(variable)
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(below_home)))
}

/// Whether a variable chooses a compiler, its flags or its directories.
///
/// What tells cargo how to reach the network or how to print is the user's and stays.
fn is_cargos(name: &str) -> bool {
    const STAYS: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const GOES: [&str; 5] = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];
    GOES.iter().any(|start| name.starts_with(start))
        && !STAYS.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_cargos_choices_go_and_the_users_network_stays() {
        for name in [
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_BOOTSTRAP",
            "RUSTFLAGS",
            "RUSTDOCFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_MANIFEST_DIR",
        ] {
            assert!(is_cargos(name), "{name}");
        }
        for name in [
            "PATH",
            "RUSTUP_HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_CRATES_IO_PROTOCOL",
            "CARGO_HTTP_PROXY",
            "CARGO_TERM_COLOR",
        ] {
            assert!(!is_cargos(name), "{name}");
        }
    }
}
