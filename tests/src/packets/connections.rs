//! Connections that stand when their peer is banned: nothing of it arrives any more, and with `--kill-sockets` the
//! server is told at once.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketType};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home, PATIENCE};
use xtask::netns::{HOST_V4, HOST_V6, Link, offender_v4, offender_v6};

use super::CONF;

/// A server on the host, and both ends of connections to it.
struct Scene {
    link: Link,
    home: Home,
    daemon: Daemon,
    listener: TcpListener,
    /// Where clients connect to.
    host: SocketAddr,
}

/// One connection.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Scene {
    /// The server listens at `at`, and clients reach it at `host`.
    fn new(at: IpAddr, host: IpAddr, arguments: &[&str]) -> Result<Self> {
        let (link, home) = (Link::new()?, Home::new(CONF)?);
        let daemon = home.start(&link, arguments)?;
        let listener = link.host.run(|| TcpListener::bind((at, 0)))??;
        let host = (host, listener.local_addr()?.port()).into();
        Ok(Self {
            link,
            home,
            daemon,
            listener,
            host,
        })
    }

    fn connect(&self, source: IpAddr) -> Result<Connection> {
        let family = match source {
            IpAddr::V4(_) => AddressFamily::INET,
            IpAddr::V6(_) => AddressFamily::INET6,
        };
        let host = self.host;
        let connected = self.link.offender.run(|| -> rustix::io::Result<_> {
            let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
            rustix::net::bind(&socket, &SocketAddr::from((source, 0)))?;
            rustix::net::connect(&socket, &host)?;
            Ok(socket)
        })??;
        let (server, _) = self.listener.accept()?;
        server.set_read_timeout(Some(PATIENCE))?;
        let mut connection = Connection {
            client: connected.into(),
            server,
        };
        connection.carries(b"before")?;
        Ok(connection)
    }

    /// Bans by an alert, and waits until the kernel has been told.
    fn ban(&mut self, offender: IpAddr) -> Result<()> {
        let alert = alert::wazuh(100_100, 10, &["sshd"], &offender.to_string());
        self.home.append(&alert)?;
        self.daemon.wait_for(" ban ")?;
        Ok(())
    }

    fn unban(&self, offender: &str) -> Result<()> {
        ensure!(self.home.output(&["unban", offender])?.status.success());
        Ok(())
    }

    /// Waits until the kernel has dropped so many packets of this ban.
    fn drops(&self, offender: IpAddr, packets: u64) -> Result<()> {
        for _ in 0..PATIENCE.as_millis() / 10 {
            let bans = self.home.bans()?;
            let ban = bans.iter().find(|ban| ban.address == offender.to_string());
            if ban.context("it is banned")?.packets >= packets {
                return Ok(());
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
        bail!("the kernel does not drop {packets} packets of {offender}")
    }

    /// So many sockets were destroyed, which is counted a moment later, and nothing failed.
    fn destroyed(&self, sockets: u64) -> Result<()> {
        let mut counts = self.home.status()?.counts;
        for _ in 0..PATIENCE.as_millis() / 10 {
            if counts.sockets_destroyed >= sockets {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(10));
            counts = self.home.status()?.counts;
        }
        let found = (counts.sockets_destroyed, counts.sockets_failed);
        ensure!(found == (sockets, 0), "{counts:?}");
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        self.daemon.stop(Signal::TERM)?;
        ensure!(self.home.output(&["stop", "--release"])?.status.success());
        ensure!(!self.home.pin_dir().exists(), "pins are left");
        Ok(())
    }
}

impl Connection {
    /// What the client sends, the server reads.
    fn carries(&mut self, bytes: &[u8]) -> Result<()> {
        self.client.write_all(bytes)?;
        let mut read = vec![0; bytes.len()];
        self.server
            .read_exact(&mut read)
            .context("the server reads")?;
        ensure!(read == bytes, "found {read:?}");
        Ok(())
    }

    /// The server's read ends at once, and tells why.
    fn is_aborted(&mut self) -> Result<()> {
        match self.server.read(&mut [0; 16]) {
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => Ok(()),
            other => bail!("expected an aborted connection, found {other:?}"),
        }
    }
}

fn is_cut_and_stays(v6: bool) -> Result<()> {
    let host: IpAddr = if v6 { HOST_V6.into() } else { HOST_V4.into() };
    let address = if v6 { offender_v6 } else { offender_v4 };
    let mut scene = Scene::new(host, host, &[])?;
    let mut connection = scene.connect(address(7))?;
    scene.ban(address(7))?;
    connection.client.write_all(b"during")?;
    // The first one and what is sent again for want of an answer.
    scene.drops(address(7), 3)?;
    connection.server.set_nonblocking(true)?;
    let read = connection.server.read(&mut [0; 16]);
    ensure!(
        read.as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "found {read:?}"
    );
    connection.server.set_nonblocking(false)?;
    ensure!(scene.home.status()?.counts.sockets_destroyed == 0);
    scene.unban(&address(7).to_string())?;
    let mut read = [0; 6];
    connection.server.read_exact(&mut read)?;
    ensure!(&read == b"during", "found {read:?}");
    connection.carries(b"after")?;
    scene.end()
}

/// The kernel program needs no help to cut a connection: its packets have a source as all others. The server's end
/// stays, and when the ban is over in time the connection goes on.
#[test]
fn nothing_of_a_connection_arrives_when_its_ipv4_peer_is_banned() -> Result<()> {
    is_cut_and_stays(false)
}

#[test]
fn nothing_of_a_connection_arrives_when_its_ipv6_peer_is_banned() -> Result<()> {
    is_cut_and_stays(true)
}

fn is_destroyed(at: IpAddr, host: IpAddr, address: fn(u16) -> IpAddr) -> Result<()> {
    let mut scene = Scene::new(at, host, &["--kill-sockets"])?;
    let mut connections = [scene.connect(address(7))?, scene.connect(address(7))?];
    let mut neighbour = scene.connect(address(8))?;
    scene.ban(address(7))?;
    for connection in &mut connections {
        connection.is_aborted()?;
    }
    neighbour.carries(b"still there")?;
    scene.destroyed(2)?;
    scene.end()
}

#[test]
fn a_server_is_told_that_its_banned_ipv4_peer_is_gone() -> Result<()> {
    is_destroyed(HOST_V4.into(), HOST_V4.into(), offender_v4)
}

#[test]
fn a_server_is_told_that_its_banned_ipv6_peer_is_gone() -> Result<()> {
    is_destroyed(HOST_V6.into(), HOST_V6.into(), offender_v6)
}

/// One socket for both families has IPv4 peers in IPv6 form.
#[test]
fn a_server_of_both_families_is_told_that_its_banned_ipv4_peer_is_gone() -> Result<()> {
    is_destroyed(Ipv6Addr::UNSPECIFIED.into(), HOST_V4.into(), offender_v4)
}

/// A ban of a network spares the connections of those whom it spares, and a ban again begins anew.
#[test]
fn a_banned_networks_sockets_go_but_those_of_protected_addresses_stay() -> Result<()> {
    let protected = offender_v4(8).to_string();
    let arguments = ["--kill-sockets", "--protect", &protected];
    let scene = Scene::new(HOST_V4.into(), HOST_V4.into(), &arguments)?;
    let mut neighbour = scene.connect(offender_v4(8))?;
    for _ in 0..2 {
        let mut connection = scene.connect(offender_v4(7))?;
        let order = ["ban", "198.18.0.0/24", "--for", "10m", "--force"];
        let output = scene.home.output(&order)?;
        ensure!(output.status.success(), "{output:?}");
        connection.is_aborted()?;
        neighbour.carries(b"still there")?;
        scene.unban("198.18.0.0/24")?;
    }
    scene.destroyed(2)?;
    scene.end()
}

/// Whether the maps were found, or the bans come from the store, as after a reboot.
fn is_destroyed_at_a_start(after_a_reboot: bool) -> Result<()> {
    let [banned, protected, other] = [7, 8, 9].map(offender_v4);
    let protect = ["--protect", &protected.to_string()].map(str::to_owned);
    let protect = [protect[0].as_str(), &protect[1]];
    let mut scene = Scene::new(HOST_V4.into(), HOST_V4.into(), &protect)?;
    let mut connection = scene.connect(banned)?;
    let mut in_the_network = scene.connect(other)?;
    let mut neighbour = scene.connect(protected)?;
    scene.ban(banned)?;
    let order = ["ban", "198.18.0.0/24", "--for", "10m", "--force"];
    ensure!(scene.home.output(&order)?.status.success());
    scene.daemon.crash()?;
    if after_a_reboot {
        std::fs::remove_dir_all(scene.home.pin_dir())?;
    }
    let arguments = [&protect[..], &["--kill-sockets"]].concat();
    scene.daemon = scene.home.start(&scene.link, &arguments)?;
    connection.is_aborted()?;
    in_the_network.is_aborted()?;
    neighbour.carries(b"still there")?;
    scene.destroyed(2)?;
    scene.end()
}

#[test]
fn a_server_is_told_at_a_start_that_peers_of_bans_in_the_maps_are_gone() -> Result<()> {
    is_destroyed_at_a_start(false)
}

#[test]
fn a_server_is_told_at_a_start_that_peers_of_bans_in_the_store_are_gone() -> Result<()> {
    is_destroyed_at_a_start(true)
}

/// Nothing of them is dropped.
#[test]
fn sockets_of_peers_whose_bans_are_only_shadows_stay_at_a_start() -> Result<()> {
    let [shadow, banned] = [7, 8].map(offender_v4);
    let arguments = ["--shadow-rules", "100100"];
    let mut scene = Scene::new(HOST_V4.into(), HOST_V4.into(), &arguments)?;
    let mut connections = [scene.connect(shadow)?, scene.connect(banned)?];
    scene.ban(shadow)?;
    let order = ["ban", &banned.to_string(), "--for", "10m"];
    ensure!(scene.home.output(&order)?.status.success());
    scene.daemon.crash()?;
    let arguments = [&arguments[..], &["--kill-sockets"]].concat();
    scene.daemon = scene.home.start(&scene.link, &arguments)?;
    connections[1].is_aborted()?;
    connections[0].carries(b"still there")?;
    scene.destroyed(1)?;
    scene.end()
}
