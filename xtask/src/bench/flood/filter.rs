//! What stands between the flood and the host: each is started without a ban, then filled, and goes with its link.
//!
//! Programs run in the host's namespace. Whether they drop whom they should is not decided here.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use xtask::netns::{INTERFACE, Link};

use super::frame::offender;
use super::helper::Helper;
use crate::bench::{BANNING, BANNING_RULE, until_banned};
use crate::interrupt::Interrupt;
use crate::scene::{Alerts, Scene, alert};

/// Something that drops whom it is told to.
pub(super) trait Filter {
    /// Has it drop the first `bans` addresses of the offender.
    fn fill(&mut self, interrupt: &Interrupt, link: &Link, bans: u16) -> Result<()>;

    /// Ends it in order.
    fn stop(&mut self) -> Result<()> {
        Ok(())
    }
}

/// No filter at all.
pub(super) struct Nothing;

impl Filter for Nothing {
    fn fill(&mut self, _: &Interrupt, _: &Link, _: u16) -> Result<()> {
        Ok(())
    }
}

/// The daemon, which reads alerts.
pub(super) struct Ours(Scene);

impl Ours {
    pub(super) fn start(
        daemon: &Path,
        interrupt: &Interrupt,
        link: &Link,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut scene = Scene::new(daemon, BANNING)?;
        scene.start(interrupt, &link.host, arguments)?;
        Ok(Self(scene))
    }
}

impl Filter for Ours {
    fn fill(&mut self, interrupt: &Interrupt, _: &Link, bans: u16) -> Result<()> {
        let of = |number| alert(BANNING_RULE, 10, &offender(number).to_string());
        let lines: String = (0..bans).map(of).collect();
        let start = Instant::now();
        let mut alerts = Alerts::open(&self.0.alerts())?;
        alerts.append(&lines).context("cannot append alerts")?;
        until_banned(&self.0, interrupt, start, "v4", u32::from(bans)).map(drop)
    }

    fn stop(&mut self) -> Result<()> {
        self.0.stop()
    }
}

/// Rules that a program reads from its standard input: nothing of it runs afterwards.
pub(super) struct Rules {
    pub(super) program: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) text: fn(bans: u16) -> String,
}

impl Filter for Rules {
    fn fill(&mut self, _: &Interrupt, link: &Link, bans: u16) -> Result<()> {
        feed(link, self.program, self.arguments, &(self.text)(bans))
    }
}

/// Has `program` read `text` in the host's namespace.
pub(super) fn feed(link: &Link, program: &str, arguments: &[&str], text: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = link.host.spawn(&mut command);
    let mut child = child.with_context(|| format!("cannot start `{program}`"))?;
    let mut stdin = child.stdin.take();
    // What it says first is why it does not read on, and comes below.
    let _ = stdin.as_mut().map(|stdin| stdin.write_all(text.as_bytes()));
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let status = output.status;
    ensure!(
        status.success(),
        "`{program}` ended with {status}: {}",
        said.trim()
    );
    Ok(())
}

fn addresses(bans: u16, separator: &str) -> String {
    let all: Vec<String> = (0..bans)
        .map(|number| offender(number).to_string())
        .collect();
    all.join(separator)
}

/// A set that is looked up in the hook of one interface, before anything else.
pub(super) fn nft_ingress(bans: u16) -> String {
    nft(
        "netdev",
        &format!("hook ingress device {INTERFACE} priority 0"),
        bans,
    )
}

/// A set that is looked up before the tracking of connections.
pub(super) fn nft_raw(bans: u16) -> String {
    nft("inet", "hook prerouting priority raw", bans)
}

fn nft(family: &str, hook: &str, bans: u16) -> String {
    format!(
        "table {family} flood {{
           set banned {{ type ipv4_addr; elements = {{ {} }}; }}
           chain in {{ type filter {hook}; ip saddr @banned drop; }}
         }}
        ",
        addresses(bans, ", ")
    )
}

/// The set that [`IPSET_RULE`] looks up.
pub(super) fn ipset(bans: u16) -> String {
    let all = addresses(bans, "\nadd banned ");
    format!("create banned hash:ip\nadd banned {all}\n")
}

pub(super) const IPSET_RULE: &str = "\
*raw
-A PREROUTING -m set --match-set banned src -j DROP
COMMIT
";

/// A rule for each, as the stock executable makes them.
pub(super) fn iptables(bans: u16) -> String {
    let mut rules = "*filter\n".to_owned();
    for number in 0..bans {
        // Writing to a string does not fail.
        let _ = writeln!(rules, "-A INPUT -s {} -j DROP", offender(number));
    }
    rules + "COMMIT\n"
}

/// ipset, and the rule that looks it up.
pub(super) struct Ipset;

impl Filter for Ipset {
    fn fill(&mut self, _: &Interrupt, link: &Link, bans: u16) -> Result<()> {
        feed(link, "ipset", &["restore"], &ipset(bans))?;
        feed(link, "iptables-restore", &[], IPSET_RULE)
    }
}

/// A program that drops everything, honest or not: no filter on this hook costs less.
pub(super) struct BareDrop {
    program: PathBuf,
    object: PathBuf,
    helper: Option<Helper>,
}

impl BareDrop {
    /// `program` is `bare-drop` of the package `tests`, `object` has the program for the kernel.
    pub(super) fn new(program: &Path, object: &Path) -> Self {
        Self {
            program: program.to_owned(),
            object: object.to_owned(),
            helper: None,
        }
    }
}

impl Filter for BareDrop {
    fn fill(&mut self, interrupt: &Interrupt, link: &Link, _: u16) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(&self.object).arg(INTERFACE);
        let mut helper = Helper::start(&link.host, &mut command)?;
        helper.await_word(interrupt, "attached")?;
        self.helper = Some(helper);
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.helper = None;
        Ok(())
    }
}

/// xdp-filter, whose pins and lock stand on file systems of its own.
pub(super) struct XdpFilter(Helper);

/// Ten thousand calls of `xdp-filter ip` take minutes; the addresses go into its map as it would write them.
const XDP_FILTER: &str = "\
mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs tmpfs /run || exit
xdp-filter load --mode native --features ipv4 \"$1\" >&2 || exit
echo loaded
read -r file || exit
bpftool batch file \"$file\" >&2 || exit
echo filled
read -r _
";

impl XdpFilter {
    pub(super) fn start(interrupt: &Interrupt, link: &Link) -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", XDP_FILTER, "sh", INTERFACE]);
        let mut helper = Helper::start(&link.host, &mut command)?;
        helper.await_word(interrupt, "loaded")?;
        Ok(Self(helper))
    }
}

impl Filter for XdpFilter {
    fn fill(&mut self, interrupt: &Interrupt, _: &Link, bans: u16) -> Result<()> {
        let file = self.0.directory().join("batch");
        fs::write(&file, batch(bans)).context("cannot write for `bpftool`")?;
        self.0.tell(&file.display().to_string())?;
        self.0.await_word(interrupt, "filled")
    }
}

/// What `bpftool batch` reads: each address is listed as a source.
fn batch(bans: u16) -> String {
    let mut lines = String::new();
    for number in 0..bans {
        let [a, b, c, d] = offender(number).octets();
        let _ = writeln!(
            lines,
            "map update pinned /sys/fs/bpf/xdp-filter/filter_ipv4 key {a} {b} {c} {d} value 1 0 0 0 0 0 0 0"
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(words(text), words(expected));
    }

    #[test]
    fn each_banned_address_is_in_the_rules() {
        check(
            &nft_ingress(2),
            "table netdev flood { set banned { type ipv4_addr; elements = { 198.18.0.0, 198.18.0.1 }; }
             chain in { type filter hook ingress device veth0 priority 0; ip saddr @banned drop; } }",
        );
        check(
            &ipset(2),
            "create banned hash:ip add banned 198.18.0.0 add banned 198.18.0.1",
        );
        check(
            &iptables(2),
            "*filter -A INPUT -s 198.18.0.0 -j DROP -A INPUT -s 198.18.0.1 -j DROP COMMIT",
        );
        check(
            &batch(1),
            "map update pinned /sys/fs/bpf/xdp-filter/filter_ipv4 key 198 18 0 0 value 1 0 0 0 0 0 0 0",
        );
    }
}
