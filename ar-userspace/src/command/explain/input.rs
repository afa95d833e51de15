//! Where the alert comes from: the command line, a file, standard input.
//!
//! Nothing here knows what an alert means, but for whether a text is one as a whole.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::PathBuf;

use anyhow::Context as _;

use crate::alert::Alert;
use crate::source::{Lines, MAX_LINE};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// Of a longer file only so much of its end is read to find the last line.
const TAIL: u64 = 2 * MAX_LINE as u64;

/// Where alerts are read from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The alert itself.
    Text(String),
    File(PathBuf),
    Stdin,
}

impl Source {
    /// A text that begins like JSON is the alert; any other is a file's name.
    pub(super) fn of(argument: Option<&str>) -> Self {
        match argument {
            None | Some("-") => Self::Stdin,
            Some(text) if text.trim_start().starts_with(['{', '[', '"']) => {
                Self::Text(text.to_owned())
            }
            Some(path) => Self::File(path.into()),
        }
    }

    /// The text, or enough of a long file's end to hold its last line.
    pub(super) fn last_part(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Self::Text(text) => bytes.extend_from_slice(text.as_bytes()),
            Self::Stdin => {
                io::stdin()
                    .lock()
                    .read_to_end(&mut bytes)
                    .context("cannot read standard input")?;
            }
            Self::File(path) => {
                let read = |bytes: &mut Vec<u8>| -> io::Result<()> {
                    let mut file = File::open(path)?;
                    let metadata = file.metadata()?;
                    if metadata.is_file() && metadata.len() > TAIL {
                        file.seek(SeekFrom::Start(metadata.len() - TAIL))?;
                    }
                    file.read_to_end(bytes)?;
                    Ok(())
                };
                read(&mut bytes).with_context(|| format!("cannot read {self}"))?;
            }
        }
        Ok(bytes)
    }

    /// Hands on every line that is not blank, with its number from 1.
    pub(super) fn each_line(
        &self,
        mut take: impl FnMut(u64, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut reader: Box<dyn Read> = match self {
            Self::Text(text) => Box::new(io::Cursor::new(text.as_bytes())),
            Self::Stdin => Box::new(io::stdin().lock()),
            Self::File(path) => {
                Box::new(File::open(path).with_context(|| format!("cannot read {self}"))?)
            }
        };
        let (mut lines, mut number) = (Lines::default(), 0);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = reader
                .read(&mut chunk)
                .with_context(|| format!("cannot read {self}"))?;
            let cut = match read {
                0 => lines.finish(),
                read => lines.push(&chunk[..read]),
            };
            number += cut.skipped_long;
            for line in cut.lines() {
                number += 1;
                if !line.trim_ascii().is_empty() {
                    take(number, line)?;
                }
            }
            if read == 0 {
                return Ok(());
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("the alert"),
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Stdin => f.write_str("standard input"),
        }
    }
}

/// The alert of a text: all of it, as `jq` prints one over many lines, else its last line that is not blank.
pub(super) fn last_alert(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii();
    let mut mended = String::new();
    if Alert::parse_lossy(text, &mut mended).is_ok() {
        return Some(text);
    }
    text.rsplit(|&byte| byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty())
}
