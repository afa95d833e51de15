//! One daemon per run directory: a locked file that holds its process number.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Pid;

/// Holds the run directory; another daemon cannot start in it as long as this lives.
///
/// The file stays when the daemon ends: were it removed, two daemons could each lock a file of that name.
#[derive(Debug)]
pub struct Instance {
    _locked: File,
}

impl Instance {
    /// Takes the run directory, and makes it when it is not there.
    ///
    /// # Errors
    ///
    /// When another daemon holds it, or it cannot be written.
    pub fn take(run_dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(run_dir)
            .with_context(|| format!("cannot make the run directory `{}`", run_dir.display()))?;
        let path = lock_path(run_dir);
        let mut file = open(&path).with_context(|| format!("cannot open `{}`", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!(
                "a daemon already runs here{}; `arfw status` shows it, `arfw stop` ends it",
                read_pid(&mut file).map_or(String::new(), |pid| format!(
                    " as process {}",
                    pid.as_raw_nonzero()
                ))
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
            }
        }
        // Of an older version.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(Self { _locked: file })
    }
}

/// The process that holds the run directory; `None` when no daemon runs.
///
/// # Errors
///
/// When the lock file is there and cannot be looked at.
pub fn running(run_dir: &Path) -> anyhow::Result<Option<Pid>> {
    let path = lock_path(run_dir);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot open `{}`", path.display()));
        }
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(read_pid(&mut file)),
        Err(error) => Err(error).with_context(|| format!("cannot look at `{}`", path.display())),
    }
}

fn lock_path(run_dir: &Path) -> PathBuf {
    run_dir.join("arfw.lock")
}

fn open(path: &Path) -> std::io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // Root's alone: whoever may read it could lock it, and keep the daemon from starting.
        .mode(0o600)
        .open(path)
}

fn read_pid(file: &mut File) -> Option<Pid> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    Pid::from_raw(text.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_has_one_daemon_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(running(directory.path()).unwrap(), None);
        let first = Instance::take(directory.path()).unwrap();
        assert_eq!(
            running(directory.path()).unwrap(),
            Some(rustix::process::getpid())
        );
        let refused = Instance::take(directory.path()).unwrap_err().to_string();
        assert!(
            refused.contains(&format!("process {}", std::process::id())),
            "{refused}"
        );
        drop(first);
        assert_eq!(running(directory.path()).unwrap(), None);
        Instance::take(directory.path()).unwrap();
    }

    #[test]
    fn the_lock_is_roots_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = lock_path(directory.path());
        for older in [None, Some(0o644)] {
            if let Some(mode) = older {
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
            drop(Instance::take(directory.path()).unwrap());
            let lock = fs::metadata(&path).unwrap();
            assert_eq!(lock.permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_lock_file_that_a_crash_left_holds_nobody_up() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(lock_path(directory.path()), "1\n").unwrap();
        assert_eq!(running(directory.path()).unwrap(), None);
        Instance::take(directory.path()).unwrap();
    }
}
