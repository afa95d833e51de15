//! Whole files of real alerts through the real daemon and kernel, compared with a model that knows only the
//! specification's words.

mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::{NEVER, flag};
use arfw::control::view;
use rustix::process::Signal;
use tests::support::daemon::{Home, PATIENCE};
use tests::support::kernel::monotonic_ns;
use tests::support::{pins, shared};
use xtask::netns::{HOST_V4, HOST_V6, Link};

use model::{Configuration, Counts, Key, Length, Location, Model, Section};

/// No criterion at all: such a section never fires (AR-MATCH-6).
const NOTHING: Section = Section {
    command: "firewall-drop",
    location: Location::Local,
    level: None,
    rules_group: "",
    rules_id: "",
    timeout: Some(3_000),
};

/// Every length is another, and none is over while a test runs.
const CONFIGURATION: Configuration = Configuration {
    commands: &[
        ("firewall-drop", "firewall-drop", true),
        ("host-deny", "host-deny", true),
        ("drop-for-good", "firewall-drop", false),
    ],
    ladder: &[240, 300, 360, 420, 480],
    sections: &[
        Section {
            level: Some(8),
            timeout: Some(3_600),
            ..NOTHING
        },
        Section {
            command: "host-deny",
            rules_group: " invalid_login,| | RECON | pci_dss_10.2.4,|ossec,",
            timeout: Some(5_400),
            ..NOTHING
        },
        Section {
            location: Location::Server,
            rules_id: "5716, 31103,\n 31104,, 5760",
            timeout: Some(7_200),
            ..NOTHING
        },
        Section {
            command: "host-deny",
            location: Location::Server,
            level: Some(12),
            rules_group: "attacks,|pci_dss_11.4",
            rules_id: "3301",
            timeout: Some(9_000),
        },
        // Permanent, for its command allows no timeout; and one that has none.
        Section {
            command: "drop-for-good",
            rules_id: "31106",
            timeout: Some(60),
            ..NOTHING
        },
        Section {
            command: "host-deny",
            rules_id: "5551",
            timeout: None,
            ..NOTHING
        },
        // For others.
        Section {
            location: Location::All,
            rules_group: "vsftpd",
            timeout: Some(60),
            ..NOTHING
        },
        Section {
            location: Location::DefinedAgent("3"),
            rules_id: "5503",
            timeout: Some(60),
            ..NOTHING
        },
        NOTHING,
        // The only one that the product's own log fires, although another has a group of it.
        Section {
            rules_group: "active_response,",
            timeout: Some(10_800),
            ..NOTHING
        },
    ],
    white_list: &[
        "198.18.135.219",
        "198.18.172.0/22",
        "2001:db8:a:0:3934::/80",
        "^198.18.1.|.77$|2001:DB8:A:0:1ebc",
        "192.168.64.0/255.255.255.0",
    ],
};

/// What a file has to contain so that comparing tells something.
struct Expected {
    bans: usize,
    permanent: usize,
    by_both: usize,
    refused: u64,
    elsewhere: u64,
}

fn check(file: &str, least: &Expected) -> Result<()> {
    let Some(shared) = shared::directory(file) else {
        return Ok(());
    };
    let path = shared.join("data").join(file);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let own = [HOST_V4.into(), HOST_V6.into()];
    let mut model = Model::new(&CONFIGURATION, &own);
    text.lines().for_each(|line| model.read(line));
    says_something(&model, least)?;

    let link = Link::new()?;
    let home = Home::new(&CONFIGURATION.text())?;
    let mut daemon = home.start(&link, &[])?;
    let before = Span::begin();
    home.append(&text)?;
    let status = read_to_the_end(&home, model.counts.lines)?;
    let listed = home.bans()?;
    let pinned = pins::bans(home.pin_dir())?;
    let span = before.end();

    let counts = Counts {
        lines: status.counts.lines,
        matched: status.counts.matched,
        refused: status.counts.refused,
        elsewhere: status.counts.elsewhere,
    };
    ensure!(
        counts == model.counts,
        "{counts:?} instead of {:?}",
        model.counts
    );
    ensure!(
        status.counts.bans == u64::try_from(model.keys.len())?,
        "{:?}",
        status.counts
    );
    compare_list(&model, &listed, &span)?;
    compare_maps(&model, &pinned, &span)?;

    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

/// AR-MATCH, AR-OFF, AR-WL, AR-TIME-2 to 7, AR-ALERT-5
#[test]
fn alerts_of_ossec_ban_whom_the_specification_says() {
    let least = Expected {
        bans: 300,
        permanent: 10,
        by_both: 40,
        refused: 100,
        elsewhere: 100,
    };
    check("ossec-alerts.json", &least).unwrap();
}

/// AR-ALERT-1 to 3, AR-ROUTE-1 to 4
#[test]
fn alerts_of_wazuh_ban_whom_the_specification_says() {
    let least = Expected {
        bans: 6,
        permanent: 0,
        by_both: 1,
        refused: 1,
        elsewhere: 1,
    };
    check("wazuh-alerts-samples.json", &least).unwrap();
}

fn says_something(model: &Model<'_>, least: &Expected) -> Result<()> {
    let holders = by_address(model);
    let permanent = model
        .keys
        .values()
        .filter(|key| key.length == Some(None))
        .count();
    let by_both = holders.values().filter(|keys| keys.len() == 2).count();
    let found = [holders.len(), permanent, by_both];
    let enough = found >= [least.bans, least.permanent, least.by_both]
        && permanent >= least.permanent
        && by_both >= least.by_both
        && model.counts.refused >= least.refused
        && model.counts.elsewhere >= least.elsewhere;
    ensure!(
        enough,
        "too little to compare: {found:?}, {:?}",
        model.counts
    );
    Ok(())
}

fn read_to_the_end(home: &Home, lines: u64) -> Result<view::Status> {
    let start = Instant::now();
    loop {
        let status = home.status()?;
        if status.counts.lines >= lines {
            return Ok(status);
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "read {} of {lines} lines",
            status.counts.lines
        );
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The time in which the alerts were read and their bans looked at.
struct Span {
    start_ns: u64,
    end_ns: u64,
}

impl Span {
    fn begin() -> Self {
        Self {
            start_ns: monotonic_ns(),
            end_ns: 0,
        }
    }

    fn end(self) -> Self {
        Self {
            end_ns: monotonic_ns(),
            ..self
        }
    }

    /// Whether a ban of this length may have this much left, in seconds.
    fn fits_left(&self, length: u64, left: f64) -> bool {
        let elapsed = Duration::from_nanos(self.end_ns - self.start_ns).as_secs_f64();
        let length = Duration::from_secs(length).as_secs_f64();
        (length - elapsed..=length).contains(&left)
    }

    /// Whether a ban of this length may end at this time of the kernel's clock. The daemon converts between
    /// two clocks that are read one after the other, hence the millisecond.
    fn fits_end(&self, length: u64, end_ns: u64) -> bool {
        let length_ns = length * 1_000_000_000;
        let apart_ns = 1_000_000;
        (self.start_ns + length_ns - apart_ns..=self.end_ns + length_ns + apart_ns)
            .contains(&end_ns)
    }
}

type Holders<'m> = BTreeMap<IpAddr, BTreeMap<&'static str, &'m Key>>;

fn by_address<'m>(model: &'m Model<'_>) -> Holders<'m> {
    let mut holders = Holders::new();
    for ((address, executable), key) in &model.keys {
        holders.entry(*address).or_default().insert(executable, key);
    }
    holders
}

/// What the kernel holds for an address: the latest end, and the rules of the keys that have it.
fn latest(keys: &BTreeMap<&str, &Key>) -> (Length, BTreeSet<u64>) {
    let lengths = || keys.values().filter_map(|key| key.length);
    // `None`, which never ends, is later than every number.
    let latest = if lengths().any(|length| length.is_none()) {
        None
    } else {
        lengths().max().flatten()
    };
    let longest = keys.values().filter(|key| key.length == Some(latest));
    (latest, longest.map(|key| key.rule).collect())
}

fn compare_list(model: &Model<'_>, listed: &[view::Ban], span: &Span) -> Result<()> {
    let holders = by_address(model);
    let found: Vec<&str> = listed.iter().map(|ban| ban.address.as_str()).collect();
    let expected: Vec<String> = holders.keys().map(ToString::to_string).collect();
    ensure!(
        found == expected,
        "listed are {found:?} instead of {expected:?}"
    );
    for (ban, keys) in listed.iter().zip(holders.values()) {
        let (length, rules) = latest(keys);
        let fits = match (length, ban.seconds_left) {
            (None, None) => true,
            (Some(length), Some(left)) => span.fits_left(length, left),
            _ => false,
        };
        ensure!(fits, "expected {length:?} seconds: {ban:?}");
        ensure!(
            rules.contains(&u64::from(ban.rule_id)),
            "expected one of the rules {rules:?}: {ban:?}"
        );
        let by: Vec<view::Holder> = keys
            .iter()
            .map(|(executable, key)| holder(executable, key))
            .collect();
        ensure!(ban.by == by, "expected {by:?}: {ban:?}");
    }
    Ok(())
}

fn holder(executable: &str, key: &Key) -> view::Holder {
    view::Holder {
        executable: executable.to_owned(),
        offences: key.offences,
        response: Some(key.section),
        by_hand: None,
        alert_id: key.alert.clone(),
    }
}

fn compare_maps(
    model: &Model<'_>,
    pinned: &BTreeMap<IpAddr, ar_ebpf::Ban>,
    span: &Span,
) -> Result<()> {
    let holders = by_address(model);
    let found: Vec<&IpAddr> = pinned.keys().collect();
    let expected: Vec<&IpAddr> = holders.keys().collect();
    ensure!(
        found == expected,
        "pinned are {found:?} instead of {expected:?}"
    );
    for ((address, ban), keys) in pinned.iter().zip(holders.values()) {
        let (length, rules) = latest(keys);
        let fits = match length {
            None => (ban.expires_at_ns, ban.flags) == (NEVER, flag::PERMANENT),
            Some(length) => ban.flags == 0 && span.fits_end(length, ban.expires_at_ns),
        };
        ensure!(fits, "expected {length:?} seconds for {address}: {ban:?}");
        ensure!(
            rules.contains(&u64::from(ban.rule_id)),
            "expected one of {rules:?} for {address}: {ban:?}"
        );
    }
    Ok(())
}
