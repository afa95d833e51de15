//! What the unit of packaging grants a process.

use anyhow::{Context as _, Result};

const UNIT: &str = include_str!("../../../packaging/systemd/arfw.service");

/// The words of a program that becomes the one whose words follow, with the capabilities of the unit and the `/proc` that it
/// shows. It needs a mount namespace of its own, and makes it.
///
/// # Errors
///
/// When the unit says nothing of these.
pub fn words() -> Result<Vec<String>> {
    let mut dropped = String::from("--bounding-set=-all");
    for name in value("CapabilityBoundingSet=")?.split_ascii_whitespace() {
        let name = name.strip_prefix("CAP_").context("a capability")?;
        dropped.push_str(&format!(",+{}", name.to_lowercase()));
    }
    let shown = value("ProtectProc=")?;
    let script = format!(
        "mount -t proc -o hidepid={shown} proc /proc && exec setpriv --no-new-privs --inh-caps=-all {dropped} \"$@\""
    );
    let words = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    Ok(words.map(str::to_owned).to_vec())
}

fn value(name: &str) -> Result<&'static str> {
    let mut lines = UNIT.lines();
    let value = lines.find_map(|line| line.strip_prefix(name));
    value.with_context(|| format!("no `{name}` in the unit"))
}
