//! More alerts at once than anybody can decide at once: they wait in their file, in bounded memory, and none is lost.
//!
//! `ARFW_FAULTS=long` makes it a million; docs/limits.md has the bound that is checked here.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use arfw::control::view;
use rustix::process::{Pid, Signal, kill_process};
use tests::support::alert;
use tests::support::daemon::Home;
use tests::support::pins;
use xtask::netns::Link;

const CONF: &str = "
<ossec_config>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <level>10</level>
    <timeout>36000</timeout>
  </active-response>
</ossec_config>
";

/// What a daemon may take at its highest: as it is without a ban, and for each ban.
const AT_REST_KB: u64 = 64 * 1024;
const PER_BAN_BYTES: u64 = 512;

/// How long the burst may take, many times what it does.
const PATIENCE: Duration = Duration::from_secs(400);

#[test]
fn a_burst_waits_in_its_file_in_bounded_memory_and_none_of_it_is_lost() -> Result<()> {
    let (count, room) = match std::env::var("ARFW_FAULTS").as_deref() {
        Ok("long") => (1_000_000, "1048576"),
        _ => (200_000, "262144"),
    };
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut daemon = home.start_with_room(&link, room)?;
    let text = burst(count)?;
    // It sees the whole burst at once, and is asked before it has begun with it.
    kill_process(daemon.pid(), Signal::STOP)?;
    home.append(&text)?;
    let mut socket = UnixStream::connect(home.run_dir().join("arfw.sock"))?;
    socket.write_all(b"GET /v1/status HTTP/1.1\r\nHost: arfw\r\nConnection: close\r\n\r\n")?;
    kill_process(daemon.pid(), Signal::CONT)?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let (_, body) = answer.split_once("\r\n\r\n").context("an answer")?;
    let status: view::Status = serde_json::from_str(body)?;
    let length = text.len() as u64;
    ensure!(
        (1..=length).contains(&status.load.behind_bytes),
        "{status:?}"
    );

    let begun = Instant::now();
    let status = loop {
        let status = home.status()?;
        if status.counts.lines >= count.into() && status.load.behind_bytes == 0 {
            break status;
        }
        ensure!(begun.elapsed() < PATIENCE, "{status:?}");
        std::thread::park_timeout(Duration::from_millis(100));
    };
    ensure!(status.load.queue_full > 0, "{status:?}");
    let counts = &status.counts;
    let found = (counts.lines, counts.matched, counts.bans);
    ensure!(
        found == (count.into(), count.into(), count.into()),
        "{counts:?}"
    );
    ensure!((counts.failed, counts.over_limit) == (0, 0), "{counts:?}");
    let in_kernel = pins::bans(home.pin_dir())?.len();
    ensure!(
        in_kernel == usize::try_from(count)?,
        "{in_kernel} in the kernel"
    );

    let (highest_kb, bound_kb) = (
        highest_kb(daemon.pid())?,
        AT_REST_KB + u64::from(count) * PER_BAN_BYTES / 1024,
    );
    println!(
        "{count} alerts, {length} bytes: {highest_kb} kB at the highest, {bound_kb} kB allowed"
    );
    ensure!(
        highest_kb <= bound_kb,
        "{highest_kb} kB, allowed are {bound_kb}"
    );
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

/// So many alerts, each about an offender of its own.
fn burst(count: u32) -> Result<String> {
    const SAMPLE: &str = "198.51.100.200";
    let line = alert::without_id(5763, 10, &["sshd"], SAMPLE);
    let (before, after) = line.split_once(SAMPLE).context("the address")?;
    ensure!(!after.contains(SAMPLE), "{line}");
    let first = Ipv4Addr::new(20, 0, 0, 0).to_bits();
    // So that all of it in memory would be more than is allowed.
    let padding = "x".repeat(140_000_000 / usize::try_from(count)?);
    let after = after.trim_end().strip_suffix('}').context("an object")?;
    let mut text = String::new();
    for number in 0..count {
        let address = Ipv4Addr::from_bits(first + number);
        writeln!(text, r#"{before}{address}{after},"padding":"{padding}"}}"#)?;
    }
    Ok(text)
}

fn highest_kb(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let highest = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = highest.and_then(|text| text.trim().strip_suffix(" kB"));
    Ok(number.context("no VmHWM")?.parse()?)
}
