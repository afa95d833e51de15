//! Finds files that the alert file was before it was rotated.
//!
//! Looked for beside it, under its own name with a number (`alerts.json.1`, `alerts.json-20261124`), and in the layout in which
//! Wazuh and OSSEC keep a file per day (`YYYY/Mon/ossec-alerts-DD.json`), of which the alert file is a hard link.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::position::{As, FileId, Position};

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// What has to be read before the present file, oldest first: the file of a position, and those that came
/// between it and the present one, by when they were written last. Files that were written last within one tick
/// of the file system's clock, some milliseconds, all count as later than that of the position: what is read
/// again of them is known by its identifiers. Empty when the file of the position is not there any more.
pub(super) fn since(path: &Path, position: &Position, as_what: As) -> io::Result<Vec<File>> {
    let live = fs::metadata(path).ok().map(|there| FileId::of(&there));
    let mut files = Vec::new();
    for candidate in candidates(path)? {
        let Ok(file) = File::open(&candidate) else {
            continue;
        };
        let metadata = file.metadata()?;
        if metadata.is_file() && Some(FileId::of(&metadata)) != live {
            files.push((metadata.modified()?, FileId::of(&metadata), file));
        }
    }
    // Of files that were written last at the same time, that of the position is the older one.
    files.sort_by_key(|(modified, id, _)| (*modified, *id != position.file));
    // One file may stand under two names.
    let mut seen: Vec<FileId> = Vec::new();
    files.retain(|(_, id, _)| {
        let new = !seen.contains(id);
        seen.push(*id);
        new
    });
    let mut first = None;
    for (place, (_, id, file)) in files.iter().enumerate() {
        if first.is_none() && position.is_known_in(file, *id, as_what)? {
            first = Some(place);
        }
    }
    let from_first = first.unwrap_or(files.len());
    Ok(files
        .into_iter()
        .skip(from_first)
        .map(|(_, _, file)| file)
        .collect())
}

/// Every file that may once have been the alert file. Compressed ones are not read.
fn candidates(path: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = super::file::directory_of(path);
    let own_name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.len() == 4 && name.bytes().all(|byte| byte.is_ascii_digit()) {
            dated(&entry.path(), &mut found);
        } else if name.strip_prefix(&*own_name).is_some_and(is_number) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// The day files of one year. A directory that cannot be read holds none.
fn dated(year: &Path, found: &mut Vec<PathBuf>) {
    for month in MONTHS {
        let Ok(days) = fs::read_dir(year.join(month)) else {
            continue;
        };
        found.extend(days.flatten().map(|day| day.path()).filter(|day| {
            let name = day.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("ossec-alerts-") && name.ends_with(".json")
        }));
    }
}

fn is_number(suffix: &str) -> bool {
    let digits = suffix.strip_prefix(['.', '-']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
