//! Traffic that the host forwards: a banned source reaches nobody behind it either.

use std::net::IpAddr;

use anyhow::Result;
use xtask::netns::{INNER_V4, INNER_V6, Link};
use xtask::traffic::Receiver;

use super::Scene;

fn forwarded_is_dropped(v6: bool) -> Result<()> {
    let link = Link::new()?;
    let inner = link.add_inner()?;
    let address: IpAddr = if v6 { INNER_V6.into() } else { INNER_V4.into() };
    let receiver = Receiver::start(&inner, address)?;
    let scene = Scene::with(link, receiver, v6, &[])?;
    scene.alert(100_100)?;
    scene.is_dropped(50)?;
    scene.arrives(scene.neighbour)?;
    scene.end()
}

/// AR-FW-1
#[test]
fn forwarded_packets_of_a_banned_ipv4_source_are_dropped() -> Result<()> {
    forwarded_is_dropped(false)
}

/// AR-FW-1, AR-IMP-3
#[test]
fn forwarded_packets_of_a_banned_ipv6_source_are_dropped() -> Result<()> {
    forwarded_is_dropped(true)
}
