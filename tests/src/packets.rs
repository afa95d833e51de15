//! Real packets against the real binary: bans begin, end, grow, and touch nobody else.

mod bans;
mod confirm;
mod connections;
mod forwarded;
mod interfaces;
mod nftables;
mod operate;
mod prefixes;
mod shadow;
mod tagged;

/// The same tests on everything that enforces bans: each is told by what.
macro_rules! on_each_enforcer {
    ($($(#[$meta:meta])* fn $name:ident($on:ident) -> Result<()> $body:block)*) => {
        on_each_enforcer!(@on native Native; $($(#[$meta])* fn $name($on) $body)*);
        on_each_enforcer!(@on generic Generic; $($(#[$meta])* fn $name($on) $body)*);
        on_each_enforcer!(@on tcx Tcx; $($(#[$meta])* fn $name($on) $body)*);
        on_each_enforcer!(@on nftables Nftables; $($(#[$meta])* fn $name($on) $body)*);
    };
    (@on $module:ident $enforcer:ident; $($(#[$meta:meta])* fn $name:ident($on:ident) $body:block)*) => {
        mod $module {
            use super::*;

            $(
                $(#[$meta])*
                fn $name() -> Result<()> {
                    let $on = Enforcer::$enforcer;
                    $body
                }
            )*
        }
    };
}
use on_each_enforcer;

use std::net::IpAddr;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Result, ensure};
use arfw::control::view;
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Enforcer, Home, PATIENCE};
use xtask::netns::{HOST_V4, HOST_V6, Link, offender_v4, offender_v6};
use xtask::traffic::{Receiver, Sender};

/// Two seconds, then one minute: long enough to see, short enough to wait for. Six, where there is much to see.
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
    <rules_id>5763</rules_id>
    <timeout>2</timeout>
    <repeated_offenders>1</repeated_offenders>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>100100</rules_id>
    <timeout>600</timeout>
  </active-response>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <rules_id>100200</rules_id>
    <timeout>6</timeout>
  </active-response>
</ossec_config>
";

const EVERY: Duration = Duration::from_millis(2);

/// One offender's and one neighbour's packets to the host.
struct Scene {
    link: Link,
    home: Home,
    enforcer: Enforcer,
    daemon: Daemon,
    receiver: Receiver,
    offender: IpAddr,
    neighbour: IpAddr,
    senders: [Sender; 2],
}

impl Scene {
    fn new(enforcer: Enforcer, v6: bool, arguments: &[&str]) -> Result<Self> {
        let link = Link::new()?;
        let host: IpAddr = if v6 { HOST_V6.into() } else { HOST_V4.into() };
        let receiver = Receiver::start(&link.host, host)?;
        Self::with(link, receiver, enforcer, v6, arguments)
    }

    /// The two send to `receiver`, wherever that is.
    fn with(
        link: Link,
        receiver: Receiver,
        enforcer: Enforcer,
        v6: bool,
        arguments: &[&str],
    ) -> Result<Self> {
        let home = Home::new(CONF)?;
        let daemon = home.start(&link, &[enforcer.flags(), arguments].concat())?;
        let address = if v6 { offender_v6 } else { offender_v4 };
        // Of IPv4, neighbours in one /24: the front bitmap has one bit for both.
        let (offender, neighbour) = (address(7), address(8));
        let send = |source| Sender::start(&link.offender, source, receiver.address(), EVERY);
        let senders = [send(offender)?, send(neighbour)?];
        let scene = Self {
            link,
            home,
            enforcer,
            daemon,
            receiver,
            offender,
            neighbour,
            senders,
        };
        scene.arrives(scene.offender)?;
        scene.arrives(scene.neighbour)?;
        Ok(scene)
    }

    fn alert(&self, rule: u32) -> Result<()> {
        self.home.append(&alert::wazuh(
            rule,
            10,
            &["sshd"],
            &self.offender.to_string(),
        ))
    }

    /// Something that is sent from here on arrives.
    fn arrives(&self, source: IpAddr) -> Result<()> {
        let before = self.count(source);
        let more = |arrivals: Option<xtask::traffic::Arrivals>| {
            arrivals.is_some_and(|arrivals| arrivals.count > before + 2)
        };
        ensure!(
            self.receiver.wait_until(source, PATIENCE, more),
            "nothing arrives from {source}"
        );
        Ok(())
    }

    fn count(&self, source: IpAddr) -> u64 {
        self.receiver
            .from(source)
            .map_or(0, |arrivals| arrivals.count)
    }

    /// Waits until the kernel has dropped `packets` of the offender's, and makes sure that none arrived meanwhile.
    fn is_dropped(&self, packets: u64) -> Result<()> {
        let mut arrived = None;
        for _ in 0..2_000 {
            let bans = self.bans()?;
            let ban = bans
                .iter()
                .find(|ban| ban.address == self.offender.to_string());
            let count = self.count(self.offender);
            match (ban, arrived) {
                // A packet may be under way from the kernel to the receiver when the ban begins.
                (Some(ban), None) if ban.packets > 0 => arrived = Some(count),
                (Some(ban), Some(before)) if ban.packets >= packets => {
                    ensure!(
                        count <= before + 1,
                        "{} arrived during the ban",
                        count - before
                    );
                    return Ok(());
                }
                _ => std::thread::park_timeout(EVERY),
            }
        }
        anyhow::bail!("the kernel did not drop {packets} packets")
    }

    /// Stops the daemon in order, lets `meanwhile` happen, and starts another.
    fn restart(&mut self, meanwhile: impl FnOnce(&Home) -> Result<()>) -> Result<()> {
        self.daemon.stop(Signal::INT)?;
        meanwhile(&self.home)?;
        self.start()
    }

    fn start(&mut self) -> Result<()> {
        self.daemon = self.home.start(&self.link, self.enforcer.flags())?;
        Ok(())
    }

    /// A command about the daemon, on its host.
    fn arfw(&self, arguments: &[&str]) -> Result<Output> {
        self.home.output_at(&self.link.host, arguments)
    }

    fn bans(&self) -> Result<Vec<view::Ban>> {
        self.home.bans_at(&self.link.host)
    }

    /// Everything that stands in the host's nftables.
    fn ruleset(&self) -> Result<String> {
        let list = || Command::new("nft").args(["list", "ruleset"]).output();
        let output = self.link.host.run(list)??;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Lets everyone go; then nothing of it is in the kernel.
    fn release(&self) -> Result<()> {
        let output = self.arfw(&["stop", "--release"])?;
        ensure!(output.status.success(), "{output:?}");
        ensure!(!self.home.pin_dir().exists(), "pins are left");
        ensure!(self.ruleset()?.is_empty(), "left: {}", self.ruleset()?);
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        self.daemon.stop(Signal::TERM)?;
        self.release()?;
        for sender in self.senders {
            sender.stop()?;
        }
        Ok(())
    }
}
