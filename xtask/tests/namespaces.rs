//! Links of two namespaces and the traffic between them. Needs root.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use xtask::netns::{HOST_V4, HOST_V6, INTERFACE, Link, offender_v4, offender_v6};
use xtask::traffic::{Receiver, Sender};

/// Longer than anything here takes on the busiest machine.
const LIMIT: Duration = Duration::from_secs(20);

fn exists(name: &str) -> bool {
    Path::new("/run/netns").join(name).exists()
}

fn names(link: &Link) -> [String; 2] {
    [link.host.name().to_owned(), link.offender.name().to_owned()]
}

/// Has two offenders send to `host` at once, and compares what was sent with what came.
fn check_traffic(host: IpAddr, offenders: [IpAddr; 2]) -> Result<()> {
    let link = Link::new()?;
    let receiver = Receiver::start(&link.host, host)?;
    let start = |source| {
        let interval = Duration::from_millis(1);
        Sender::start(&link.offender, source, receiver.address(), interval)
    };
    let senders = [start(offenders[0])?, start(offenders[1])?];
    for (sender, source) in senders.into_iter().zip(offenders) {
        let has_come = |count: u64| {
            receiver.wait_until(source, LIMIT, |arrivals| {
                arrivals.is_some_and(|arrivals| arrivals.count >= count)
            })
        };
        assert!(has_come(10), "nothing from {source}");
        let sent = sender.stop()?;
        assert!(has_come(sent), "lost some of {sent} from {source}");
        let arrivals = receiver.from(source);
        let summary = arrivals.map(|arrivals| (arrivals.count, arrivals.last_number));
        assert_eq!(summary, Some((sent, sent - 1)), "{source}");
    }
    Ok(())
}

#[test]
fn every_datagram_of_any_ipv4_offender_arrives() -> Result<()> {
    check_traffic(HOST_V4.into(), [offender_v4(1), offender_v4(0xFFFE)])
}

#[test]
fn every_datagram_of_any_ipv6_offender_arrives() -> Result<()> {
    check_traffic(HOST_V6.into(), [offender_v6(0), offender_v6(0xFFFF)])
}

#[test]
fn the_host_can_answer_every_offender() {
    let link = Link::new().unwrap();
    for (host, offender) in [
        (IpAddr::from(HOST_V4), offender_v4(77)),
        (HOST_V6.into(), offender_v6(77)),
    ] {
        let receiver = Receiver::start(&link.offender, offender).unwrap();
        let interval = Duration::from_millis(1);
        let _sender = Sender::start(&link.host, host, receiver.address(), interval).unwrap();
        assert!(receiver.wait_until(host, LIMIT, |arrivals| arrivals.is_some()));
    }
}

#[test]
fn children_and_sockets_are_in_the_namespace_and_the_caller_is_not() {
    let link = Link::new().unwrap();
    let show = || {
        let mut ip = Command::new("ip");
        ip.args(["-brief", "link", "show", "dev", INTERFACE]);
        ip.stdout(Stdio::piped()).stderr(Stdio::null());
        ip
    };
    let child = link.host.spawn(&mut show()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(output.contains("02:00:00:00:00:01"), "{output}");

    let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    let before = here();
    assert_ne!(link.host.run(here).unwrap(), before);
    assert_ne!(
        link.host.run(here).unwrap(),
        link.offender.run(here).unwrap()
    );
    assert_eq!(here(), before);
}

#[test]
fn dropping_a_link_removes_it_and_ends_what_runs_there() {
    let link = Link::new().unwrap();
    let names = names(&link);
    assert!(names.iter().all(|name| exists(name)));
    let mut sleeper = Command::new("sleep");
    let mut child = link.host.spawn(sleeper.arg("1000")).unwrap();
    drop(link);
    assert!(!names.iter().any(|name| exists(name)));
    assert_eq!(child.wait().unwrap().code(), None, "it ended by a signal");
}

#[test]
fn a_panic_leaves_nothing() {
    let mut made = None;
    let result = catch_unwind(AssertUnwindSafe(|| {
        let link = Link::new().unwrap();
        made = Some(names(&link));
        link.offender.run(|| panic!("on purpose")).unwrap();
    }));
    let message = *result.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(message, "on purpose");
    assert!(!made.unwrap().iter().any(|name| exists(name)));
}

/// The same test in a process of its own is the one that gets killed.
#[test]
fn being_killed_leaves_nothing() {
    const ROLE: &str = "ARFW_TEST_HOLDS_A_LINK";
    if env::var_os(ROLE).is_some() {
        let link = Link::new().unwrap();
        println!("holding {}", names(&link).join(" "));
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "being_killed_leaves_nothing", "--nocapture"])
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let line = lines
        .map_while(std::result::Result::ok)
        .find(|line| line.contains("holding "));
    let line = line.expect("the holder made a link");
    let (_, names) = line.split_once("holding ").unwrap();
    let names: Vec<&str> = names.split_whitespace().collect();
    assert!(names.iter().all(|name| exists(name)), "{names:?}");

    holder.kill().unwrap();
    holder.wait().unwrap();
    // The reaper has the holder's standard error too: its end is the reaper's.
    let mut rest = String::new();
    holder
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut rest)
        .unwrap();
    assert!(!names.iter().any(|name| exists(name)), "{names:?}: {rest}");
}
