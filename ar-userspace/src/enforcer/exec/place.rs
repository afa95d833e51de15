//! Where executables are, and which of them may be run: a file of root's that nobody else can write.
//!
//! Looks at files and changes none.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use crate::config::Executable;

/// Where Wazuh and OSSEC keep executables.
pub const DEFAULT_BIN_DIR: &str = "/var/ossec/active-response/bin";

/// What the directory ends in below Wazuh's home; the path that the reference gives begins with it.
const BELOW_HOME: &str = "active-response/bin";

/// The directory of executables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    bin_dir: PathBuf,
}

/// Why an executable is not run.
#[derive(Debug)]
pub struct Unfit {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Unseen(io::Error),
    NoFile,
    NotExecutable,
    Owner(u32),
    Writable { mode: u32, what: &'static str },
}

impl Place {
    /// Takes the directory, which need not be there yet.
    #[must_use]
    pub fn new(bin_dir: PathBuf) -> Self {
        Self { bin_dir }
    }

    /// The working directory of executables: Wazuh's home when the directory lies below one, else the
    /// directory above.
    #[must_use]
    pub fn home(&self) -> &Path {
        let levels = if self.is_below_home() { 2 } else { 1 };
        let home = self.bin_dir.ancestors().nth(levels);
        home.filter(|home| !home.as_os_str().is_empty())
            .unwrap_or(&self.bin_dir)
    }

    /// What is executed: below a home relative to it, as the reference does, because scripts write their
    /// own path into their log, and the stock decoders look for that form.
    #[must_use]
    pub fn program(&self, name: &Executable) -> PathBuf {
        if self.is_below_home() {
            Path::new(BELOW_HOME).join(name.name())
        } else {
            self.file(name)
        }
    }

    /// Whether the executable may be run.
    ///
    /// # Errors
    ///
    /// When it is missing, no file, not executable, owned by somebody else than root (or whoever runs
    /// arfw), or writable by others; or when its directory is.
    pub fn check(&self, name: &Executable) -> Result<(), Unfit> {
        let path = self.file(name);
        let unfit = |why| Unfit {
            path: path.clone(),
            why,
        };
        let file = fs::metadata(&path).map_err(|error| unfit(Why::Unseen(error)))?;
        if !file.is_file() {
            return Err(unfit(Why::NoFile));
        }
        if file.mode() & 0o111 == 0 {
            return Err(unfit(Why::NotExecutable));
        }
        belongs(&file, "it").map_err(unfit)?;
        let directory = fs::metadata(&self.bin_dir).map_err(|error| unfit(Why::Unseen(error)))?;
        belongs(&directory, "its directory").map_err(unfit)
    }

    fn file(&self, name: &Executable) -> PathBuf {
        self.bin_dir.join(name.name())
    }

    fn is_below_home(&self) -> bool {
        self.bin_dir.is_absolute() && self.bin_dir.ends_with(BELOW_HOME)
    }
}

/// Whether nobody but root, or whoever runs arfw, can change it.
fn belongs(found: &fs::Metadata, what: &'static str) -> Result<(), Why> {
    let owner = found.uid();
    if owner != 0 && owner != geteuid().as_raw() {
        return Err(Why::Owner(owner));
    }
    let by_others = found.mode() & 0o002 != 0;
    let by_group = found.mode() & 0o020 != 0 && found.gid() != 0;
    if by_others || by_group {
        let mode = found.mode() & 0o7777;
        return Err(Why::Writable { mode, what });
    }
    Ok(())
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Unseen(error) if error.kind() == io::ErrorKind::NotFound => {
                write!(f, "`{path}` is not there")
            }
            Why::Unseen(error) => write!(f, "`{path}` cannot be looked at: {error}"),
            Why::NoFile => write!(f, "`{path}` is not a file"),
            Why::NotExecutable => write!(f, "`{path}` is not executable"),
            Why::Owner(uid) => write!(f, "`{path}` belongs to user {uid} and not to root"),
            Why::Writable { mode, what } => {
                write!(
                    f,
                    "`{path}` can be changed by others than root: {what} has mode {mode:04o}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn check(file_mode: u32, dir_mode: u32, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let name = Executable::new("deny.sh");
        let path = dir.path().join("deny.sh");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(file_mode)).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(dir_mode)).unwrap();
        let found = Place::new(dir.path().to_owned()).check(&name);
        let found = found.err().map_or(String::new(), |unfit| {
            unfit
                .to_string()
                .replace(&path.display().to_string(), "PATH")
        });
        assert_eq!(found, expected, "{file_mode:o} in {dir_mode:o}");
    }

    #[test]
    fn only_what_nobody_else_can_change_is_run() {
        check(0o750, 0o750, "");
        check(0o500, 0o755, "");
        check(0o640, 0o750, "`PATH` is not executable");
        check(
            0o757,
            0o750,
            "`PATH` can be changed by others than root: it has mode 0757",
        );
        check(
            0o750,
            0o757,
            "`PATH` can be changed by others than root: its directory has mode 0757",
        );
    }

    #[test]
    fn what_is_missing_or_no_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(dir.path().to_owned());
        let told = |name: &str| place.check(&Executable::new(name)).unwrap_err().to_string();
        assert!(
            told("gone").ends_with("/gone` is not there"),
            "{}",
            told("gone")
        );
        fs::create_dir(dir.path().join("sub")).unwrap();
        assert!(
            told("sub").ends_with("/sub` is not a file"),
            "{}",
            told("sub")
        );
    }

    #[test]
    fn below_a_home_paths_are_as_the_reference_gives_them() {
        let name = Executable::new("deny");
        let stock = Place::new(DEFAULT_BIN_DIR.into());
        assert_eq!(stock.home(), Path::new("/var/ossec"));
        assert_eq!(stock.program(&name), Path::new("active-response/bin/deny"));
        let other = Place::new("/opt/responses".into());
        assert_eq!(other.home(), Path::new("/opt"));
        assert_eq!(other.program(&name), Path::new("/opt/responses/deny"));
    }
}
