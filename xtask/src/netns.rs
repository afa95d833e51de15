//! Two network namespaces with a veth pair between them, in which real packets can be sent and dropped.
//!
//! The guard removes everything, however its process ends. Only a thread of its own ever enters a namespace:
//! the caller's threads stay where they are.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::panic;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Name of the interface on both sides.
pub const INTERFACE: &str = "veth0";

/// The host's IPv4 address, of the benchmarking range.
pub const HOST_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// The host's IPv6 address, of the documentation range.
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 1);

/// IPv4 address of a machine behind the host, of the benchmarking range.
pub const INNER_V4: Ipv4Addr = Ipv4Addr::new(198, 19, 1, 2);
/// IPv6 address of a machine behind the host, of the documentation range.
pub const INNER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);

/// The `n`th address that the offender may send from: one of 198.18.0.0/16, all of which are its own.
#[must_use]
pub fn offender_v4(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(198, 18, high, low).into()
}

/// The `n`th address that the offender may send from: the first of the `n`th /64 of 2001:db8:a::/48.
#[must_use]
pub fn offender_v6(n: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, n, 0, 0, 0, 1).into()
}

/// A host and an offender, joined by a cable. Dropping it ends what still runs in them and removes both.
///
/// Neighbours are entered for good and there are no link-local addresses, so that little else than the
/// caller's own packets travels between the two.
pub struct Link {
    /// The side that is to be protected.
    pub host: Namespace,
    /// The side that owns every address of [`offender_v4`] and [`offender_v6`].
    pub offender: Namespace,
    /// Name of the namespace behind the host, when there is one.
    inner: String,
    reaper: Reaper,
}

impl Link {
    /// Makes both namespaces, their interfaces, addresses and routes. Names are never used twice.
    ///
    /// # Errors
    ///
    /// Without root, or without the `ip` program; what was made up to then is removed.
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!(
            "arfw-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let (host, offender) = (format!("{id}-host"), format!("{id}-offender"));
        let inner = format!("{id}-inner");
        // First of all, so that there is no moment in which nobody would clean up.
        let reaper = Reaper::start(&[&host, &offender, &inner])?;
        ip(&[], &join_script(&host, &offender))?;
        ip(&["-n", &host], HOST_SCRIPT)?;
        ip(&["-n", &offender], OFFENDER_SCRIPT)?;
        let link = Self {
            host: Namespace::open(host)?,
            offender: Namespace::open(offender)?,
            inner,
            reaper,
        };
        // A local route is enough to bind to an IPv4 address; IPv6 asks for this as well.
        let any_ipv6 = || fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1");
        let written = link.offender.run(any_ipv6).and_then(|written| written);
        written.context("cannot set ip_nonlocal_bind in a namespace")?;
        Ok(link)
    }

    /// Makes a machine behind the host, which from here on forwards: [`INNER_V4`] and [`INNER_V6`] can be
    /// reached from the offender. Once for a link.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be made, as for a second time.
    pub fn add_inner(&self) -> Result<Namespace> {
        let (host, inner) = (&self.host.name, &self.inner);
        ip(&[], &inner_script(host, inner))?;
        ip(&["-n", inner], INNER_SCRIPT)?;
        ip(&["-n", host], HOST_OF_INNER_SCRIPT)?;
        let forward = || {
            fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
        };
        let written = self.host.run(forward).and_then(|written| written);
        written.context("cannot have a namespace forward")?;
        Namespace::open(inner.clone())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let ended = self.reaper.finish();
        // A second panic would hide the first one, which is the one to read.
        if !thread::panicking() {
            let (host, offender) = (&self.host.name, &self.offender.name);
            assert!(
                ended.is_ok_and(|clean| clean),
                "cannot remove namespaces {host} and {offender}"
            );
        }
    }
}

/// One network namespace of a [`Link`].
pub struct Namespace {
    name: String,
    handle: File,
}

impl Namespace {
    fn open(name: String) -> Result<Self> {
        let path = format!("/run/netns/{name}");
        let handle = File::open(&path).with_context(|| format!("cannot open {path}"))?;
        Ok(Self { name, handle })
    }

    /// Its name, as `ip netns` has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `work` on a thread that is in the namespace, and waits for it; a panic in it goes on here.
    ///
    /// A socket that `work` opens stays in the namespace, whichever thread uses it later.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered; `work` has not run then.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let inside = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.handle.as_fd(), network)?;
            Ok(work())
        };
        let joined = thread::scope(|scope| scope.spawn(inside).join());
        joined.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }

    /// Starts `command` in the namespace.
    ///
    /// Unlike under `ip netns exec`, the child sees the file systems of its parent: /sys/fs/bpf is the
    /// same, and /sys/class/net lists the parent's interfaces.
    ///
    /// # Errors
    ///
    /// When the namespace cannot be entered or the program not started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.run(|| command.spawn())?
    }
}

/// A child that waits for the end of its standard input, then removes the namespaces.
///
/// The kernel closes the pipe however this process ends, by SIGKILL too; no signal handler can do that, and a
/// library should set none.
struct Reaper {
    child: Child,
}

impl Reaper {
    fn start(names: &[&str]) -> Result<Self> {
        // A process that holds a namespace keeps it alive without its name, hence the kill.
        const SCRIPT: &str = r#"
            trap '' HUP INT QUIT TERM
            read -r _
            status=0
            for name do
                [ -e "/run/netns/$name" ] || continue
                pids=$(ip netns pids "$name")
                [ -z "$pids" ] || kill -KILL $pids
                ip netns delete "$name" || status=1
            done
            exit $status"#;
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "reaper"])
            .args(names)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Signals from a terminal go to a process group, and this child must outlive ours.
            .process_group(0)
            .spawn()
            .context("cannot start `sh`")?;
        Ok(Self { child })
    }

    /// Sends it to work and waits; whether it left nothing.
    fn finish(&mut self) -> io::Result<bool> {
        drop(self.child.stdin.take());
        self.child.wait().map(|status| status.success())
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        // Waits when making a link failed half-way; after `Link::drop` the child has been waited for.
        let _ = self.finish();
    }
}

/// Feeds `script` to `ip`, which stops at the first line that fails.
fn ip(options: &[&str], script: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start `ip` (package iproute2)")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(script.as_bytes())
            .context("cannot write to `ip`")?;
    }
    let output = child.wait_with_output().context("cannot wait for `ip`")?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cannot set up a network namespace, which needs root: {}",
        why.trim()
    );
    Ok(())
}

fn join_script(host: &str, offender: &str) -> String {
    format!(
        "netns add {host}
         netns add {offender}
         link add {INTERFACE} netns {host} address 02:00:00:00:00:01 type veth peer name {INTERFACE} netns {offender} address 02:00:00:00:00:02
        "
    )
}

const HOST_SCRIPT: &str = "
    link set lo up
    link set veth0 addrgenmode none
    addr add 198.19.0.1/24 dev veth0
    addr add 2001:db8:b::1/64 dev veth0 nodad
    link set veth0 up
    neigh add 198.19.0.2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent
    neigh add 2001:db8:b::2 lladdr 02:00:00:00:00:02 dev veth0 nud permanent
    route add 198.18.0.0/16 via 198.19.0.2
    route add 2001:db8:a::/48 via 2001:db8:b::2
";

fn inner_script(host: &str, inner: &str) -> String {
    format!(
        "netns add {inner}
         link add {INNER_INTERFACE} netns {host} address 02:00:00:00:01:01 type veth peer name {INTERFACE} netns {inner} address 02:00:00:00:01:02
        "
    )
}

/// The host's interface to the machine behind it.
const INNER_INTERFACE: &str = "veth1";

const HOST_OF_INNER_SCRIPT: &str = "
    link set veth1 addrgenmode none
    addr add 198.19.1.1/24 dev veth1
    addr add 2001:db8:c::1/64 dev veth1 nodad
    link set veth1 up
    neigh add 198.19.1.2 lladdr 02:00:00:00:01:02 dev veth1 nud permanent
    neigh add 2001:db8:c::2 lladdr 02:00:00:00:01:02 dev veth1 nud permanent
";

const INNER_SCRIPT: &str = "
    link set lo up
    link set veth0 addrgenmode none
    addr add 198.19.1.2/24 dev veth0
    addr add 2001:db8:c::2/64 dev veth0 nodad
    link set veth0 up
    neigh add 198.19.1.1 lladdr 02:00:00:00:01:01 dev veth0 nud permanent
    neigh add 2001:db8:c::1 lladdr 02:00:00:00:01:01 dev veth0 nud permanent
    route add default via 198.19.1.1
    route add default via 2001:db8:c::1
";

const OFFENDER_SCRIPT: &str = "
    link set lo up
    link set veth0 addrgenmode none
    addr add 198.19.0.2/24 dev veth0
    addr add 2001:db8:b::2/64 dev veth0 nodad
    link set veth0 up
    neigh add 198.19.0.1 lladdr 02:00:00:00:00:01 dev veth0 nud permanent
    neigh add 2001:db8:b::1 lladdr 02:00:00:00:00:01 dev veth0 nud permanent
    route add 198.19.1.0/24 via 198.19.0.1
    route add 2001:db8:c::/64 via 2001:db8:b::1
    route add local 198.18.0.0/16 dev lo
    route add local 2001:db8:a::/48 dev lo
";
