//! Frames under VLAN tags on a real interface. The stack takes the outer tag out of a frame before the TCX hook.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::Outcome;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrLike as _, bind, send, socket,
};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::Home;
use tests::support::packet::{
    self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ipv4, Ipv6, TAG_SERVICE, TAG_VLAN, udp,
};
use xtask::netns::{INTERFACE, Link, Namespace};

use super::CONF;

const TIMES: u64 = 20;

/// Puts frames on the namespace's interface as they are.
pub(super) fn transmit(namespace: &Namespace, frame: &[u8], times: u64) -> Result<()> {
    namespace.run(|| {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let interface = getifaddrs()?
            .filter(|entry| entry.interface_name == INTERFACE)
            .filter_map(|entry| entry.address)
            .find(|address| address.family() == Some(AddressFamily::Packet))
            .context("the interface has an address of its own")?;
        bind(socket.as_raw_fd(), &interface)?;
        for _ in 0..times {
            let sent = send(socket.as_raw_fd(), frame, MsgFlags::empty())?;
            ensure!(sent == frame.len());
        }
        Ok(())
    })?
}

/// Every frame of a banned source is dropped and counted whole; under one tag too many, none is read as IP.
fn are_dropped(mode: &str) -> Result<()> {
    let link = Link::new()?;
    let home = Home::new(CONF)?;
    let mut daemon = home.start(&link, &["--xdp-mode", mode])?;
    let (v4, v6) = ("198.18.0.7", "2001:db8:a:7::1");
    for address in [v4, v6] {
        home.append(&alert::wazuh(100_100, 10, &["sshd"], address))?;
        daemon.wait_for(" ban ")?;
    }
    let packets = [
        (v4, ETHERTYPE_IPV4, Ipv4::new(v4.parse()?, udp()).bytes()),
        (v6, ETHERTYPE_IPV6, Ipv6::new(v6.parse()?, udp()).bytes()),
    ];
    let tags = [TAG_SERVICE, TAG_VLAN, TAG_VLAN];
    for (address, ether_type, packet) in packets {
        let (mut count, mut bytes) = (0, 0);
        for depth in 0..=2 {
            let frame = packet::tagged(&tags[..depth], ether_type, &packet);
            transmit(&link.offender, &frame, TIMES)?;
            count += TIMES;
            bytes += TIMES * frame.len() as u64;
            let mut told = None;
            for _ in 0..1000 {
                let bans = home.bans()?;
                told = bans.into_iter().find(|ban| ban.address == address);
                if told.as_ref().is_some_and(|ban| ban.packets >= count) {
                    break;
                }
            }
            let told = told.with_context(|| format!("{address} is banned"))?;
            ensure!(
                (told.packets, told.bytes) == (count, bytes),
                "under {depth} tags, {count} packets of {bytes} bytes in all: {told:?}"
            );
        }
        let frame = packet::tagged(&tags, ether_type, &packet);
        transmit(&link.offender, &frame, TIMES)?;
    }
    let status = home.output(&["status", "--json"])?;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout)?;
    ensure!(status["interfaces"][0]["mode"] == mode, "{status}");
    let not_ip = status["packets"]
        .as_array()
        .and_then(|totals| totals.iter().find(|total| total["outcome"] == "not ip"))
        .with_context(|| format!("{:?} is counted: {status}", Outcome::NotIp))?;
    ensure!(
        not_ip["packets"].as_u64() >= Some(2 * TIMES),
        "three tags are not read: {status}"
    );
    daemon.stop(Signal::TERM)?;
    ensure!(home.output(&["stop", "--release"])?.status.success());
    Ok(())
}

#[test]
fn offenders_under_one_and_two_tags_are_dropped_in_every_mode() {
    for mode in ["native", "generic", "tcx"] {
        are_dropped(mode).unwrap_or_else(|error| panic!("{mode}: {error:#}"));
    }
}
