//! What the daemon may do once it runs: no capability that it does not need, no writing outside its directories.
//!
//! Rights belong to threads, and a thread hands its own on to those that it starts. So the first thread gives up what
//! it does not need before there are others, and one that was started before keeps everything: it starts whoever
//! needs more, executables above all, and looks at what only it may see. This bounds mistakes. Foreign code within the process is bounded
//! by what the service manager grants; docs/service.md.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};

use anyhow::Context as _;
use landlock::{
    ABI, AccessFs, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _,
    RulesetStatus,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

/// What is kept: loading and attaching programs and their maps, nftables and sockets; alert files and
/// configurations of other users.
const KEPT: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::DAC_READ_SEARCH);

type Work = Box<dyn FnOnce() + Send>;

/// The thread that keeps everything. One for the process, as the rights that it keeps were given to the process.
static KEEPER: OnceLock<Sender<Work>> = OnceLock::new();

/// How far the process was confined.
#[derive(Debug)]
pub struct Confined {
    /// The capabilities that are left.
    pub kept: CapabilitySet,
    /// Whether writing elsewhere is refused; not by a kernel without Landlock.
    pub writes: bool,
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.kept.iter_names().map(|(name, _)| name).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        let writes = if self.writes {
            "to its own directories"
        } else {
            "anywhere, as this kernel has no Landlock"
        };
        write!(f, "capabilities left: {names}; writes {writes}")
    }
}

/// Confines the calling thread and those that it starts. To be called before there is any other.
///
/// Directories of `own` are made when they are not there, and everything below them may be written; so may what is
/// below the directory that the file system with `pins` is mounted in, because it may be mounted anew.
///
/// # Errors
///
/// When the kernel refuses to take rights away.
pub fn confine(own: &[&Path], pins: &Path) -> anyhow::Result<Confined> {
    let (sender, inbox) = channel::<Work>();
    std::thread::Builder::new()
        .name("unconfined".to_owned())
        .spawn(move || inbox.into_iter().for_each(|work| work()))
        .context("cannot start a thread")?;
    // A second call changes nothing: the first thread has kept more.
    let _ = KEEPER.set(sender);

    let permitted = capabilities(None)
        .context("cannot read the capabilities")?
        .permitted;
    let kept = permitted & KEPT;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets).context("cannot give up capabilities")?;
    set_no_new_privs(true).context("cannot give up new privileges")?;
    let writes = confine_writes(own, pins).context("cannot restrict writing by Landlock")?;
    Ok(Confined { kept, writes })
}

fn confine_writes(own: &[&Path], pins: &Path) -> anyhow::Result<bool> {
    let write = AccessFs::from_write(ABI::V3);
    let mut ruleset = Ruleset::default().handle_access(write)?.create()?;
    let mut allowed: Vec<PathBuf> = own.iter().map(|&path| path.to_owned()).collect();
    for directory in own {
        // Whoever needs it tells why it cannot be made.
        let _ = fs::create_dir_all(directory);
    }
    allowed.extend(above_mount(pins));
    for path in allowed.iter().filter(|path| path.exists()) {
        let rule = PathBeneath::new(PathFd::new(path)?, write);
        ruleset = ruleset.add_rule(rule)?;
    }
    let status = ruleset.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// The directory that holds the mount point of the file system that `path` is on, or is going to be on.
fn above_mount(path: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| fs::metadata(path).map(|there| there.dev());
    let mut there = path.ancestors().filter(|path| path.exists());
    let first = there.next()?;
    let on = device(first).ok()?;
    let mut above = there.find(|path| device(path).is_ok_and(|device| device != on));
    // Where nothing is mounted yet, the file system comes to stand at the first directory that is there.
    above
        .get_or_insert_with(|| first.parent().unwrap_or(first))
        .to_owned()
        .into()
}

/// Does something with all rights that the process was given, and waits for it.
///
/// # Errors
///
/// When the thread that keeps them is gone.
pub fn unconfined<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let Some(keeper) = KEEPER.get() else {
        return Ok(work());
    };
    let (sender, done) = sync_channel(1);
    let work = Box::new(move || drop(sender.send(work())));
    let gone = || io::Error::other("the thread that keeps the rights of the process is gone");
    keeper.send(work).map_err(|_| gone())?;
    done.recv().map_err(|_| gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_above_a_mount_is_found() {
        assert_eq!(above_mount(Path::new("/proc/gone/x")), Some("/".into()));
        assert_eq!(above_mount(Path::new("/proc/self")), Some("/".into()));
    }

    #[test]
    fn writing_elsewhere_is_refused_and_reading_is_not() {
        let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inner = own.path().join("state");
        // A thread, so that the other tests keep their rights.
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| {
                assert!(confine_writes(&[&inner], &inner).unwrap());
                fs::write(inner.join("file"), "kept").unwrap();
                fs::rename(inner.join("file"), inner.join("renamed")).unwrap();
                let refused = fs::write(other.path().join("file"), "kept").unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0);
            });
            confined.join().unwrap();
        });
        fs::write(other.path().join("file"), "kept").unwrap();
    }

    #[test]
    fn what_is_left_is_told() {
        let confined = Confined {
            kept: CapabilitySet::BPF | CapabilitySet::NET_ADMIN,
            writes: true,
        };
        assert_eq!(
            confined.to_string(),
            "capabilities left: NET_ADMIN, BPF; writes to its own directories"
        );
    }
}
