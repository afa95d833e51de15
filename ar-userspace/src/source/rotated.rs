//! Finds files that the alert file was before it was rotated.
//!
//! Looked for beside it, under its own name with a number (`alerts.json.1`, `alerts.json-20261124`), and in the layout in which
//! Wazuh and OSSEC keep a file per day (`YYYY/Mon/ossec-alerts-DD.json`, more of one day `-DD-001.json`), of which
//! the alert file is a hard link. Compressed ones (`.gz`) are found and named, and not read.

use std::cmp::Reverse;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::position::{As, FileId, Finished, Position, modified_ns};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What comes between a position and the present file.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// What has to be read, oldest first.
    pub(super) files: Vec<File>,
    /// What would have to be read and is compressed.
    pub(super) compressed: Vec<PathBuf>,
}

/// The file of a position, and those that came between it and the present one, by when they were written last;
/// `None` when the file of the position is not there any more.
///
/// Files that were written last within one tick of the file system's clock all count as later than that of the
/// position, but for those that are known to be finished.
pub(super) fn since(
    path: &Path,
    position: &Position,
    finished: &[Finished],
    as_what: As,
) -> io::Result<Option<Between>> {
    let Found {
        mut plain,
        compressed,
    } = find(path, position, finished)?;
    let mut first = None;
    for (place, it) in plain.iter().enumerate() {
        if first.is_none() && position.is_known_in(&it.file, FileId::of(&it.metadata), as_what)? {
            first = Some(place);
        }
    }
    let Some(first) = first.map(|place| plain.remove(place)) else {
        return Ok(None);
    };
    let from = modified_ns(&first.metadata);
    let is_later = |it: &Compressed| match (it.age, first.age) {
        // A file may be compressed long after its day.
        (Age::Day(day), Age::Day(read)) => day > read,
        _ => it.modified_ns >= from,
    };
    let compressed = compressed.into_iter().filter(is_later);
    let compressed = compressed.map(|it| it.path).collect();
    let later = plain
        .into_iter()
        .filter(|it| modified_ns(&it.metadata) >= from);
    let files = std::iter::once(first).chain(later).map(|it| it.file);
    Ok(Some(Between {
        files: files.collect(),
        compressed,
    }))
}

/// What was written later than what was read of a file that is not there any more.
pub(super) fn after(
    path: &Path,
    position: &Position,
    finished: &[Finished],
) -> io::Result<Between> {
    let Some(from) = position.modified_ns else {
        return Ok(Between::default());
    };
    let found = find(path, position, finished)?;
    let later = |it: &Plain| modified_ns(&it.metadata) >= from;
    let plain = found.plain.into_iter().filter(later);
    let compressed = found.compressed.into_iter();
    let compressed = compressed.filter(|it| it.modified_ns >= from);
    Ok(Between {
        files: plain.map(|it| it.file).collect(),
        compressed: compressed.map(|it| it.path).collect(),
    })
}

/// What names tell of which file is older, where the times do not. The older one is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// Numbered: the newest one is number 1.
    Number(Reverse<u64>),
    /// With its date in its name.
    Date(u64),
    /// A day file: year, month, day, number within the day.
    Day([u64; 4]),
}

struct Plain {
    age: Age,
    metadata: Metadata,
    file: File,
}

struct Compressed {
    age: Age,
    modified_ns: i64,
    path: PathBuf,
}

struct Found {
    /// Each once, oldest first, without the present file and those that are finished.
    plain: Vec<Plain>,
    /// In the same order, without those of which a file that is not compressed is there or was finished.
    compressed: Vec<Compressed>,
}

fn find(path: &Path, position: &Position, finished: &[Finished]) -> io::Result<Found> {
    let live = fs::metadata(path).ok().map(|there| FileId::of(&there));
    let (packed, plain): (Vec<_>, Vec<_>) = candidates(path)?
        .into_iter()
        .partition(|(path, _)| path.extension().is_some_and(|it| it == "gz"));
    let compressed = packed.iter().filter_map(|(path, age)| {
        let twin = path.with_extension("");
        let modified_ns = modified_ns(&fs::metadata(path).ok()?);
        // What compresses a file may keep its time.
        let read = finished.iter().any(|it| it.modified_ns == modified_ns);
        let told = read || plain.iter().any(|(path, _)| *path == twin);
        (!told).then(|| Compressed {
            age: *age,
            modified_ns,
            path: path.clone(),
        })
    });
    let mut compressed: Vec<_> = compressed.collect();
    compressed.sort_by_key(|it| (it.modified_ns, it.age));
    let mut files = Vec::new();
    for (path, age) in &plain {
        let Ok(file) = File::open(path) else {
            continue;
        };
        let metadata = file.metadata()?;
        let id = FileId::of(&metadata);
        let is_read = id != position.file && finished.contains(&Finished::of(&metadata));
        if metadata.is_file() && Some(id) != live && !is_read {
            let age = *age;
            files.push(Plain {
                age,
                metadata,
                file,
            });
        }
    }
    files.sort_by_key(|it| (modified_ns(&it.metadata), it.age));
    // One file may stand under two names.
    let mut seen: Vec<FileId> = Vec::new();
    files.retain(|it| {
        let id = FileId::of(&it.metadata);
        let new = !seen.contains(&id);
        seen.push(id);
        new
    });
    Ok(Found {
        plain: files,
        compressed,
    })
}

/// Every file that may once have been the alert file.
fn candidates(path: &Path) -> io::Result<Vec<(PathBuf, Age)>> {
    let directory = super::file::directory_of(path);
    let own_name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == 4
            && let Some(year) = number(&name)
        {
            days(&entry.path(), year, &mut found);
        } else if let Some(age) = name.strip_prefix(&*own_name).and_then(numbered) {
            found.push((entry.path(), age));
        }
    }
    Ok(found)
}

/// What is behind the name of the alert file: `.1`, `-20261124`, either with `.gz`.
fn numbered(suffix: &str) -> Option<Age> {
    let suffix = suffix.strip_suffix(".gz").unwrap_or(suffix);
    let digits = suffix.strip_prefix(['.', '-'])?;
    let number = number(digits)?;
    Some(match digits.len() {
        ..8 => Age::Number(Reverse(number)),
        _ => Age::Date(number),
    })
}

/// The day files of one year. A directory that cannot be read holds none.
fn days(directory: &Path, year: u64, found: &mut Vec<(PathBuf, Age)>) {
    for (month, name) in (1..).zip(MONTHS) {
        let Ok(files) = fs::read_dir(directory.join(name)) else {
            continue;
        };
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            if let Some([day, part]) = day(&name) {
                found.push((file.path(), Age::Day([year, month, day, part])));
            }
        }
    }
}

/// The day and the number within the day of `ossec-alerts-DD.json` and `ossec-alerts-DD-001.json`.
fn day(name: &str) -> Option<[u64; 2]> {
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let middle = name.strip_prefix("ossec-alerts-")?.strip_suffix(".json")?;
    let (day, part) = middle.split_once('-').unwrap_or((middle, "0"));
    Some([number(day)?, number(part)?])
}

/// A number that does not fit stops at the end of what 64 bits hold.
fn number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}
