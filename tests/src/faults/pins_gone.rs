//! Pins that somebody removes, or whose file system is unmounted: no ban ends by it while a daemon runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use arfw::control::view::Status;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;
use tests::support::alert;
use tests::support::daemon::{Daemon, Home};
use tests::support::fault::{self, Tally};
use tests::support::pins::{Pinned, Traces};
use xtask::netns::{INTERFACE, Link};

use super::CONF;
use super::stream::{Stream, the_ban};

/// A BPF file system of the test's own.
struct Bpffs {
    at: PathBuf,
}

impl Bpffs {
    /// Makes the place, and the file system on it.
    fn new(at: PathBuf) -> Result<Self> {
        fs::create_dir(&at)?;
        let bpffs = Self { at };
        bpffs.mount()?;
        Ok(bpffs)
    }

    fn mount(&self) -> Result<()> {
        mount("bpf", &self.at, "bpf", MountFlags::empty(), None).context("cannot mount a bpffs")
    }

    fn unmount(&self) -> Result<()> {
        unmount(&self.at, UnmountFlags::empty()).context("cannot unmount the bpffs")
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        // A test that fails has its own error to tell.
        let _ = unmount(&self.at, UnmountFlags::DETACH);
    }
}

/// A daemon whose pins stand there, and which has banned the host that sends.
struct Scene {
    daemon: Daemon,
    stream: Stream,
    link: Link,
    home: Home,
    // After the home, which may have pins to remove.
    bpffs: Bpffs,
}

impl Scene {
    fn new() -> Result<Self> {
        let (link, mut home) = (Link::new()?, Home::new(CONF)?);
        let bpffs = Bpffs::new(home.dir().join("bpf"))?;
        home.pin_in(bpffs.at.join("arfw"));
        let mut daemon = home.start(&link, &[])?;
        let mut stream = Stream::start(&link)?;
        ban(&home, &mut daemon, &Stream::offender().to_string())?;
        stream.is_banned(&home)?;
        Ok(Self {
            daemon,
            stream,
            link,
            home,
            bpffs,
        })
    }

    /// Waits until the daemon has made its pins again, as they were before.
    fn is_pinned_again(&mut self, before: &Pinned) -> Result<()> {
        self.daemon.wait_for("were gone and are made again")?;
        let after = Pinned::read(self.home.pin_dir())?;
        ensure!(*before == after, "{before:?} became {after:?}");
        ensure!(self.why()?.is_empty(), "trouble is told");
        Ok(())
    }

    /// What the status tells of the interface, which is covered.
    fn why(&self) -> Result<String> {
        let Status { interfaces, .. } = self.home.status()?;
        ensure!(interfaces[0].mode == "native", "{interfaces:?}");
        Ok(interfaces[0].why.clone())
    }

    fn passed(&mut self, tally: &mut Tally, when: &str) -> Result<()> {
        let passed = self.stream.passed()?;
        tally.lost(passed, format!("{passed} packets passed {when}"));
        Ok(())
    }

    /// The pins are worth something: they hold the ban from one daemon to the next.
    fn outlasts_a_crash(&mut self, tally: &mut Tally) -> Result<()> {
        self.daemon.crash()?;
        self.passed(tally, "without a daemon")?;
        self.daemon = self.home.start(&self.link, &[])?;
        self.passed(tally, "during the next start")
    }

    fn end(self) -> Result<()> {
        let Self {
            mut daemon,
            home,
            bpffs,
            ..
        } = self;
        let traces = Traces::of(home.pin_dir())?;
        daemon.stop(Signal::TERM)?;
        ensure!(home.output(&["stop", "--release"])?.status.success());
        ensure!(!home.pin_dir().exists(), "pins are left");
        traces.are_gone()?;
        bpffs.unmount()
    }
}

fn ban(home: &Home, daemon: &mut Daemon, address: &str) -> Result<()> {
    home.append(&alert::wazuh(5763, 10, &["sshd"], address))?;
    daemon.wait_for(" ban ")?;
    Ok(())
}

#[test]
fn pins_that_somebody_removes_are_made_again_and_no_packet_passes() -> Result<()> {
    let mut tally = Tally::of("pins removed while the daemon runs");
    let mut scene = Scene::new()?;
    for round in 0..fault::times(3, 50) {
        let before = Pinned::read(scene.home.pin_dir())?;
        if round % 2 == 0 {
            fs::remove_dir_all(scene.home.pin_dir())?;
        } else {
            for name in before.links.keys().chain(before.maps.keys().take(3)) {
                fs::remove_file(scene.home.pin_dir().join(name))?;
            }
        }
        tally.tried();
        scene.is_pinned_again(&before)?;
        scene.passed(&mut tally, "without the pins")?;
    }
    scene.outlasts_a_crash(&mut tally)?;
    scene.end()?;
    tally.end()
}

#[test]
fn no_packet_passes_while_the_bpf_file_system_is_unmounted() -> Result<()> {
    let mut tally = Tally::of("the BPF file system unmounted while the daemon runs");
    let mut scene = Scene::new()?;
    for round in 0..fault::times(2, 30) {
        let before = Pinned::read(scene.home.pin_dir())?;
        scene.bpffs.unmount()?;
        tally.tried();
        scene.daemon.wait_for("THE PINS ARE GONE")?;
        ensure!(
            !scene.home.pin_dir().exists(),
            "a directory is made where no pin can stand"
        );
        let why = scene.why()?;
        ensure!(
            why.contains("the pins are gone"),
            "the status tells `{why}`"
        );
        ban(
            &scene.home,
            &mut scene.daemon,
            &format!("198.18.9.{}", round + 1),
        )?;
        scene.passed(&mut tally, "without a BPF file system")?;
        scene.bpffs.mount()?;
        scene.is_pinned_again(&before)?;
    }
    scene.outlasts_a_crash(&mut tally)?;
    scene.end()?;
    tally.end()
}

/// The kernel has forgotten everything, and the store has not.
#[test]
fn bans_come_back_when_the_bpf_file_system_went_without_a_daemon() -> Result<()> {
    let mut tally = Tally::of("the BPF file system unmounted before a start");
    let mut scene = Scene::new()?;
    for round in 0..fault::times(2, 30) {
        if round % 2 == 0 {
            scene.daemon.stop(Signal::TERM)?;
        } else {
            scene.daemon.crash()?;
        }
        scene.bpffs.unmount()?;
        tally.tried();
        // Nothing in the kernel holds it any more.
        scene.stream.arrives(Stream::offender())?;
        let refused = scene
            .home
            .fail_to_start(&scene.link, &scene.home.alerts(), INTERFACE)?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(
            refused.status.code() == Some(1)
                && said.contains("expected the pin directory on a BPF file system"),
            "{said}"
        );
        ensure!(!scene.home.pin_dir().exists(), "a directory is left");
        scene.bpffs.mount()?;
        scene.daemon = scene.home.start(&scene.link, &[])?;
        let offences = the_ban(&scene.home)?.by[0].offences;
        tally.wrong(
            (offences != 1).into(),
            format!("{offences} offences of one"),
        );
        scene.stream.is_banned(&scene.home)?;
        scene.passed(&mut tally, "after the start")?;
    }
    scene.end()?;
    tally.end()
}

/// In a mount namespace of its own, in which nothing is mounted on /sys/fs/bpf.
#[test]
fn a_start_mounts_the_bpf_file_system_where_it_is_not_mounted() -> Result<()> {
    let mut tally = Tally::of("no BPF file system at a start");
    let (link, home) = (Link::new()?, Home::new(CONF)?);
    let mut stream = Stream::start(&link)?;
    let script = "while umount /sys/fs/bpf 2>/dev/null; do :; done; exec \"$0\" \"$@\"";
    let by = ["unshare", "--mount", "sh", "-c", script].map(AsRef::as_ref);
    let mut daemon = home.start_by(&link, &by, &[])?;
    tally.tried();
    ensure!(
        !home.pin_dir().exists(),
        "the pins stand in the other namespace"
    );
    ban(&home, &mut daemon, &Stream::offender().to_string())?;
    stream.is_banned_by(|| Ok(the_ban(&home)?.packets))?;
    let passed = stream.passed()?;
    tally.lost(passed, format!("{passed} packets passed"));
    let said = daemon.stop(Signal::TERM)?;
    ensure!(
        said.iter()
            .any(|line| line.contains("mounted the BPF file system on /sys/fs/bpf")),
        "{said:#?}"
    );
    // With the last process of the mount namespace its pins go.
    stream.arrives(Stream::offender())?;
    tally.end()
}
