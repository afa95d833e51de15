//! The lock-out guard: what the host must be able to reach is never banned, whatever an alert says.

mod ssh;

use std::ffi::OsStr;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tempfile::TempDir;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home};
use xtask::netns::{HOST_V4, HOST_V6, Link, offender_v4};

const CONF: &str = "
<ossec_config>
  <client>
    <server><address>198.18.4.4</address></server>
  </client>
  <command>
    <name>firewall-drop</name>
    <executable>firewall-drop</executable>
    <timeout_allowed>yes</timeout_allowed>
  </command>
  <active-response>
    <command>firewall-drop</command>
    <location>local</location>
    <level>5</level>
    <timeout>600</timeout>
  </active-response>
</ossec_config>
";

/// Alice administers the host, and bob does not. The server of SSH wants a user of its own.
const PASSWD: &str = "root:x:0:0::/:/bin/sh
nobody:x:65534:65534::/:/usr/sbin/nologin
sshd:x:4000:65534::/:/usr/sbin/nologin
alice:x:4001:4001::/:/bin/sh
bob:x:4002:4002::/:/bin/sh
";
const GROUP: &str = "root:x:0:
sudo:x:27:alice
nogroup:x:65534:
alice:x:4001:
bob:x:4002:
";

/// A daemon whose `/etc` is a directory of the test's.
struct Scene {
    link: Link,
    home: Home,
    daemon: Daemon,
    etc: TempDir,
}

impl Scene {
    fn new(arguments: &[&str]) -> Result<Self> {
        Self::by(&[], arguments)
    }

    /// A daemon that another program becomes, whose words are given.
    fn by(words: &[String], arguments: &[&str]) -> Result<Self> {
        let link = Link::new()?;
        ip(&link, &["route", "add", "default", "via", "198.19.0.2"])?;
        ip(
            &link,
            &["-6", "route", "add", "default", "via", "2001:db8:b::2"],
        )?;
        let etc = tempfile::tempdir()?;
        // Others than root look things up there as well.
        fs::set_permissions(etc.path(), fs::Permissions::from_mode(0o755))?;
        fs::write(etc.path().join("passwd"), PASSWD)?;
        fs::write(etc.path().join("group"), GROUP)?;
        write_resolv_conf(etc.path(), "198.18.5.5")?;
        let home = Home::new(CONF)?;
        let script = r#"mount --bind "$0" /etc && exec "$@""#;
        let by = ["unshare", "--mount", "sh", "-c", script].map(OsStr::new);
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let by = [&by[..], &[etc.path().as_os_str()], &words].concat();
        let daemon = home.start_by(&link, &by, arguments)?;
        Ok(Self {
            link,
            home,
            daemon,
            etc,
        })
    }

    fn alert(&self, about: impl ToString) -> Result<()> {
        self.home
            .append(&alert::wazuh(5763, 10, &["sshd"], &about.to_string()))
    }

    /// An alert about this address bans nobody, and the log says why.
    fn is_refused(&mut self, about: impl ToString, why: &str) -> Result<()> {
        let about = about.to_string();
        self.alert(&about)?;
        let line = self.daemon.wait_for("ban")?;
        let expected = format!("no ban: {about} is protected: {why}");
        ensure!(
            line.contains(&expected),
            "expected `{expected}` in `{line}`"
        );
        self.is_free(&about)
    }

    fn is_banned(&mut self, about: impl ToString) -> Result<()> {
        let about = about.to_string();
        self.alert(&about)?;
        let line = self.daemon.wait_for("ban")?;
        ensure!(line.contains(" ban ") && line.contains(&about), "{line}");
        let bans = self.home.bans()?;
        ensure!(bans.iter().any(|ban| ban.address == about), "{bans:?}");
        Ok(())
    }

    fn is_free(&self, about: &str) -> Result<()> {
        let bans = self.home.bans()?;
        ensure!(bans.iter().all(|ban| ban.address != about), "{bans:?}");
        Ok(())
    }

    /// Waits for the log to say that an address is protected from here on, and why.
    fn becomes_protected(&mut self, address: &str, why: &str) -> Result<()> {
        let line = self
            .daemon
            .wait_for(&format!("address={address}"))
            .with_context(|| format!("{address} does not become protected"))?;
        let expected = format!("protected from here on: {why}");
        ensure!(
            line.contains(&expected),
            "expected `{expected}` in `{line}`"
        );
        Ok(())
    }

    fn is_released(&mut self, address: &str, why: &str) -> Result<()> {
        let line = self.daemon.wait_for("releasing a ban")?;
        ensure!(line.contains(address) && line.contains(why), "{line}");
        self.daemon.wait_for(" unban ")?;
        self.is_free(address)
    }

    fn end(mut self) -> Result<()> {
        self.daemon.stop(Signal::TERM)?;
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        drop((self.link, self.etc));
        Ok(())
    }
}

/// Runs `ip` in the host's namespace.
fn ip(link: &Link, arguments: &[&str]) -> Result<()> {
    let mut ip = Command::new("ip");
    let output = ip.args(["-n", link.host.name()]).args(arguments).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Replaces the file as a resolver's manager does: under another name first.
fn write_resolv_conf(etc: &Path, resolver: &str) -> Result<()> {
    let temporary = etc.join("resolv.conf.new");
    fs::write(&temporary, format!("nameserver {resolver}\n"))?;
    Ok(fs::rename(&temporary, etc.join("resolv.conf"))?)
}

/// AR-OFF-5
#[test]
fn what_the_host_must_reach_is_not_banned() {
    let reached = || -> Result<()> {
        let mut scene = Scene::new(&["--protect", "198.18.6.0/24", "--protect", "198.18.7.7"])?;
        scene.is_refused(HOST_V4, "an address of this host")?;
        scene.is_refused(HOST_V6, "an address of this host")?;
        let broadcast = "the broadcast address of a network of this host";
        scene.is_refused("198.19.0.255", broadcast)?;
        scene.is_refused("198.19.0.2", "a default gateway")?;
        scene.is_refused("2001:db8:b::2", "a default gateway")?;
        scene.is_refused("198.18.5.5", "a resolver of this host")?;
        scene.is_refused("198.18.4.4", "the manager")?;
        scene.is_refused("198.18.6.9", "by `--protect 198.18.6.0/24`")?;
        scene.is_refused("198.18.7.7", "by `--protect 198.18.7.7/32`")?;
        scene.is_banned("198.18.7.8")?;
        ensure!(scene.home.status()?.counts.refused == 9);
        scene.end()
    };
    reached().unwrap();
}

/// AR-OFF-5
#[test]
fn what_the_host_gets_later_is_protected_from_then_on() {
    let later = || -> Result<()> {
        let mut scene = Scene::new(&[])?;
        ip(
            &scene.link,
            &["addr", "add", "198.18.9.1/32", "dev", "veth0"],
        )?;
        scene.becomes_protected("198.18.9.1", "an address of this host")?;
        scene.is_refused("198.18.9.1", "an address of this host")?;

        let table = [
            "route",
            "add",
            "default",
            "via",
            "198.19.0.9",
            "table",
            "77",
        ];
        ip(&scene.link, &table)?;
        scene.becomes_protected("198.19.0.9", "a default gateway")?;
        scene.is_refused("198.19.0.9", "a default gateway")?;

        let v6 = ["-6", "route", "replace", "default", "via", "2001:db8:b::9"];
        ip(&scene.link, &v6)?;
        scene.becomes_protected("2001:db8:b::9", "a default gateway")?;
        scene.is_banned("2001:db8:b::2")?;

        write_resolv_conf(scene.etc.path(), "198.18.9.53")?;
        scene.becomes_protected("198.18.9.53", "a resolver of this host")?;
        scene.is_refused("198.18.9.53", "a resolver of this host")?;
        scene.is_banned("198.18.5.5")?;
        scene.end()
    };
    later().unwrap();
}

/// AR-OFF-5
#[test]
fn a_ban_of_an_address_that_becomes_the_hosts_own_ends() {
    let released = || -> Result<()> {
        let mut scene = Scene::new(&[])?;
        let (own, gateway): (IpAddr, IpAddr) = (offender_v4(7), "198.19.0.9".parse()?);
        scene.is_banned(own)?;
        scene.is_banned(gateway)?;
        scene.is_banned(offender_v4(8))?;
        ip(
            &scene.link,
            &["addr", "add", &format!("{own}/32"), "dev", "veth0"],
        )?;
        scene.is_released(&own.to_string(), "an address of this host")?;
        let metric = [
            "route",
            "add",
            "default",
            "via",
            "198.19.0.9",
            "metric",
            "9",
        ];
        ip(&scene.link, &metric)?;
        scene.is_released("198.19.0.9", "a default gateway")?;
        scene.is_refused(own, "an address of this host")?;
        let [ban] = &scene.home.bans()?[..] else {
            anyhow::bail!("expected that the third ban stands");
        };
        ensure!(ban.address == offender_v4(8).to_string(), "{ban:?}");
        scene.end()
    };
    released().unwrap();
}

/// A ban that an earlier daemon left is looked at as well.
#[test]
fn a_ban_of_a_protected_address_does_not_outlast_a_restart() {
    let restarted = || -> Result<()> {
        let mut scene = Scene::new(&[])?;
        scene.is_banned(offender_v4(7))?;
        scene.is_banned(offender_v4(8))?;
        let Scene {
            link,
            home,
            mut daemon,
            etc,
        } = scene;
        daemon.stop(Signal::TERM)?;
        let mut daemon = home.start(&link, &["--protect", "198.18.0.7"])?;
        let [ban] = &home.bans()?[..] else {
            anyhow::bail!("expected that one ban stands");
        };
        ensure!(ban.address == offender_v4(8).to_string(), "{ban:?}");
        daemon.stop(Signal::TERM)?;
        ensure!(home.output(&["stop", "--release"])?.status.success());
        drop((link, etc));
        Ok(())
    };
    restarted().unwrap();
}
