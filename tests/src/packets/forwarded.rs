//! Traffic that the host forwards: a banned source reaches nobody behind it either.

use std::net::IpAddr;

use anyhow::Result;
use tests::support::daemon::Enforcer;
use xtask::netns::{INNER_V4, INNER_V6, Link};
use xtask::traffic::Receiver;

use super::{Scene, on_each_enforcer};

on_each_enforcer! {
    /// AR-FW-1
    #[test]
    fn forwarded_packets_of_a_banned_ipv4_source_are_dropped(on) -> Result<()> {
        forwarded_is_dropped(on, false)
    }

    /// AR-FW-1, AR-IMP-3
    #[test]
    fn forwarded_packets_of_a_banned_ipv6_source_are_dropped(on) -> Result<()> {
        forwarded_is_dropped(on, true)
    }
}

fn forwarded_is_dropped(enforcer: Enforcer, v6: bool) -> Result<()> {
    let link = Link::new()?;
    let inner = link.add_inner()?;
    let address: IpAddr = if v6 { INNER_V6.into() } else { INNER_V4.into() };
    let receiver = Receiver::start(&inner, address)?;
    let scene = Scene::with(link, receiver, enforcer, v6, &[])?;
    scene.alert(100_100)?;
    scene.is_dropped(50)?;
    scene.arrives(scene.neighbour)?;
    scene.end()
}
