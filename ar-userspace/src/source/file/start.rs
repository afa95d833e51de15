//! Where a follower goes on, and what it has to read before the present file.

use std::collections::VecDeque;
use std::io;

use super::Follower;
use super::open::Open;
use crate::source::position::{As, FileId, Position};
use crate::source::rotated::{self, Between};

/// Where a start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the end of the file: nothing is known of it.
    AtEnd,
    /// The file, or its directory, is not there yet. It is read when it appears: from the position if it is the
    /// position's, and otherwise from its beginning.
    NotThere,
    /// At the position, in the file or in one that it was before it was rotated.
    AtPosition,
    /// At the beginning of the file: what the position belongs to is not there any more.
    PositionLost,
    /// The file cannot be read for the present, which the follower tells.
    Unreadable,
}

impl Start {
    /// What an operator has to know about it.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::AtEnd | Self::AtPosition | Self::Unreadable => None,
            Self::NotThere => Some("the alert file is not there yet; it is read when it appears"),
            Self::PositionLost => Some(
                "the file that was read before is gone; this one is read from its beginning, \
                 and alerts between the two may be missing",
            ),
        }
    }
}

impl Follower {
    /// Finds the place where to go on. After an error it can be tried again.
    pub(super) fn settle(&mut self) -> io::Result<Start> {
        self.open = self.open_path()?;
        let start = self.go_to()?;
        self.is_missing(self.open.is_none());
        let known = self
            .left_at
            .as_ref()
            .is_some_and(|position| position.file != FileId::default());
        // Its directory may be renamed or mounted later: the file is then read on where it was left.
        self.settled = start != Start::NotThere || !known;
        // What comes behind the end, or in a file that was never there, comes while somebody reads.
        self.backlog = known || start != Start::AtEnd && start != Start::NotThere;
        Ok(start)
    }

    fn go_to(&mut self) -> io::Result<Start> {
        let Some(position) = self.left_at.clone() else {
            return match &mut self.open {
                Some(open) => {
                    open.seek_to_last_line()?;
                    Ok(Start::AtEnd)
                }
                None => Ok(Start::NotThere),
            };
        };
        // Whatever is the file itself comes before anything that is only like it.
        for as_what in [As::Itself, As::Copy] {
            if let Some(open) = &mut self.open
                && open.is_known_by(&position, as_what)?
            {
                open.go_to(&position)?;
                return Ok(Start::AtPosition);
            }
            if let Some(rotated) = self.find_rotated(&position, as_what)? {
                self.rotated = rotated;
                return Ok(Start::AtPosition);
            }
        }
        let after = rotated::after(&self.path, &position, &self.finished)?;
        self.rotated = self.open_between(after, &position)?;
        Ok(match (&self.open, self.rotated.is_empty()) {
            (None, true) => Start::NotThere,
            _ => Start::PositionLost,
        })
    }

    /// The file of the position, at the position, and those that came between it and the present one.
    pub(super) fn find_rotated(
        &mut self,
        position: &Position,
        as_what: As,
    ) -> io::Result<Option<VecDeque<Open>>> {
        let Some(between) = rotated::since(&self.path, position, &self.finished, as_what)? else {
            return Ok(None);
        };
        let mut found = self.open_between(between, position)?;
        if let Some(first) = found.front_mut() {
            first.go_to(position)?;
        }
        Ok(Some(found))
    }

    /// Each at its beginning. What is compressed is told of.
    fn open_between(
        &mut self,
        between: Between,
        position: &Position,
    ) -> io::Result<VecDeque<Open>> {
        for path in between.compressed {
            self.is_compressed(path);
        }
        let files = between.files.into_iter();
        files
            .map(|file| Open::new(file, Some(position.repeatable())))
            .collect()
    }
}
