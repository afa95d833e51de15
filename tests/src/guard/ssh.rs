//! A real `sshd` and a real login: who administers the host keeps his connection.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tests::support::unit;
use xtask::netns::{HOST_V4, Link, offender_v4};

use super::Scene;

const PORT: u16 = 2222;
const SSHD: &str = "/usr/sbin/sshd";

/// Whether the machine has what the test needs. Where it has not, that is shown, and in CI it is a failure.
fn has_sshd() -> bool {
    let found = Path::new(SSHD).exists();
    if !found {
        let remedy = format!("there is no {SSHD}: install openssh-server");
        assert!(std::env::var_os("CI").is_none(), "{remedy}");
        // Not by `eprintln`, which the test's harness keeps to itself when a test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED, and shown nothing: {remedy}");
    }
    found
}

/// A server in the host's namespace, with keys of its own. Dropping it ends it.
struct Server {
    child: Child,
    keys: TempDir,
}

impl Server {
    fn start(scene: &Scene) -> Result<Self> {
        let (link, etc) = (&scene.link, scene.etc.path());
        let keys = tempfile::tempdir()?;
        let path = |name: &str| keys.path().join(name);
        for name in ["host", "client"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path(name));
            ensure!(keygen.status()?.success(), "cannot make a key");
        }
        let conf = format!(
            "Port {PORT}\nListenAddress {HOST_V4}\nHostKey {}\n\
             AuthorizedKeysFile /etc/authorized_keys\n\
             PermitRootLogin yes\nStrictModes no\nUsePAM no\nPidFile none\nMaxStartups 100\n",
            path("host").display(),
        );
        fs::copy(path("client.pub"), etc.join("authorized_keys"))?;
        fs::write(path("sshd_config"), conf)?;
        // The server insists on a directory in /run, which it gets for itself alone.
        let script = r#"mount -t tmpfs -o mode=755 tmpfs /run && mkdir /run/sshd &&
            mount --bind "$2" /etc && exec "$0" -D -e -f "$1""#;
        let mut sshd = Command::new("unshare");
        sshd.args(["--mount", "sh", "-c", script, SSHD])
            .arg(path("sshd_config"))
            .arg(etc)
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = link.host.spawn(&mut sshd)?;
        let stderr = child.stderr.take().context("standard error is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut said = Vec::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line.contains("listening") => break,
                Some(Ok(line)) => said.push(line),
                _ => bail!("sshd does not start: {}", said.join("\n")),
            }
        }
        // Nobody reads on, and a server with a full pipe would stand still.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { child, keys })
    }

    /// Logs in from one of the offender's addresses.
    fn log_in(&self, link: &Link, user: &str, from: IpAddr) -> Result<Session> {
        let key: PathBuf = self.keys.path().join("client");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-T", "-o", "BatchMode=yes"])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-i"])
            .arg(key)
            .args(["-b", &from.to_string(), "-p", &PORT.to_string()])
            .args([&format!("{user}@{HOST_V4}"), "echo in; cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = link.offender.spawn(&mut ssh)?;
        let stdout = child.stdout.take().context("standard output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "in\n", "no login: {line:?}");
        Ok(Session { child })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Session {
    child: Child,
}

impl Session {
    fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        ensure!(
            self.child.wait()?.success(),
            "the session does not end well"
        );
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects to the server without logging in, and reads its greeting.
fn knock(link: &Link, from: IpAddr) -> Result<TcpStream> {
    let connected = link.offender.run(|| -> Result<TcpStream> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &SocketAddr::new(HOST_V4.into(), PORT))?;
        Ok(socket.into())
    })?;
    let mut stream = connected?;
    let mut greeting = [0; 4];
    stream.read_exact(&mut greeting)?;
    ensure!(&greeting == b"SSH-", "{greeting:?}");
    Ok(stream)
}

/// AR-OFF-5
#[test]
fn an_administrators_session_protects_its_peer_while_it_lasts() {
    protects_while_it_lasts(&[]).unwrap();
}

/// What the unit grants, and shows of other processes, is enough.
#[test]
fn an_administrators_session_protects_its_peer_also_from_a_daemon_in_the_unit() {
    protects_while_it_lasts(&unit::words().unwrap()).unwrap();
}

fn protects_while_it_lasts(words: &[String]) -> Result<()> {
    if !has_sshd() {
        return Ok(());
    }
    let mut scene = Scene::by(words, &[])?;
    let server = Server::start(&scene)?;
    let (admin, attacker) = (offender_v4(7), offender_v4(8));
    let knocking = knock(&scene.link, attacker)?;
    let session = server.log_in(&scene.link, "root", admin)?;
    let why = "the peer of an SSH session of root";
    scene.alert(admin)?;
    scene.becomes_protected(&admin.to_string(), why)?;
    scene
        .daemon
        .wait_for(&format!("no ban: {admin} is protected: {why}"))?;
    // Who is connected and has not logged in is nobody's administrator.
    scene.is_banned(attacker)?;
    scene.is_refused(admin, why)?;
    session.end()?;
    bans_in_the_end(&mut scene, admin)?;
    drop((knocking, server));
    scene.end()
}

/// The server's process may outlive its client by a moment.
fn bans_in_the_end(scene: &mut Scene, address: IpAddr) -> Result<()> {
    for _ in 0..100 {
        scene.alert(address)?;
        let line = scene.daemon.wait_for("ban")?;
        if line.contains(" ban ") && line.contains(&address.to_string()) {
            return Ok(());
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    bail!("{address} stays protected after its session")
}

/// A session goes on when the server that took it is gone.
#[test]
fn a_session_protects_its_peer_without_the_server() {
    let protected = || -> Result<()> {
        let mut scene = Scene::new(&[])?;
        let server = Server::start(&scene)?;
        let session = server.log_in(&scene.link, "root", offender_v4(7))?;
        kill_process(Pid::from_child(&server.child), Signal::TERM)?;
        drop(server);
        scene.alert(offender_v4(7))?;
        scene.daemon.wait_for("no ban: 198.18.0.7 is protected")?;
        session.end()?;
        scene.end()
    };
    if has_sshd() {
        protected().unwrap();
    }
}

#[test]
fn sessions_protect_nobody_when_that_is_switched_off() {
    let switched_off = || -> Result<()> {
        let mut scene = Scene::new(&["--no-protect-ssh"])?;
        let server = Server::start(&scene)?;
        let session = server.log_in(&scene.link, "root", offender_v4(7))?;
        scene.is_banned(offender_v4(7))?;
        drop((session, server));
        scene.end()
    };
    if has_sshd() {
        switched_off().unwrap();
    }
}

#[test]
fn members_of_an_administrators_group_are_protected_and_other_users_are_not() {
    let told_apart = || -> Result<()> {
        let mut scene = Scene::new(&[])?;
        let server = Server::start(&scene)?;
        let (alice, bob) = (offender_v4(7), offender_v4(8));
        let sessions = [
            server.log_in(&scene.link, "alice", alice)?,
            server.log_in(&scene.link, "bob", bob)?,
        ];
        let why = "the peer of an SSH session of alice";
        scene.alert(alice)?;
        scene.becomes_protected(&alice.to_string(), why)?;
        scene
            .daemon
            .wait_for(&format!("no ban: {alice} is protected: {why}"))?;
        scene.is_banned(bob)?;
        scene.is_refused(alice, why)?;
        drop((sessions, server));
        scene.end()
    };
    if has_sshd() {
        told_apart().unwrap();
    }
}
