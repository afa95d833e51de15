//! The unit of packaging, judged by systemd's own tool.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The exposure that `systemd-analyze security` may find, from 0 to 10.
const EXPOSURE: f64 = 2.45;

#[test]
fn the_unit_leaves_little_open() -> Result<()> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/arfw.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager"])
        .arg(unit)
        .output()
        .context("cannot run `systemd-analyze`, of Debian's package systemd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text
        .lines()
        .find_map(|line| line.split_once("exposure level for arfw.service: "))
        .and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
    let found = found.with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("no exposure level in:\n{text}{error}")
    })?;
    ensure!(found < EXPOSURE, "{text}");
    Ok(())
}
