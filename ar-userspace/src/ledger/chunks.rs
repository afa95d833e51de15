//! A vector in pieces: it grows without a copy of what is there, which with a million keys would hold up the alert that
//! needs the next slot, and would take twice the memory meanwhile.

use std::ops::{Index, IndexMut};

/// Elements of a piece.
const PIECE: usize = 1024;

#[derive(Debug)]
pub(super) struct Chunks<T> {
    /// All but the last are full.
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Chunks<T> {
    pub(super) fn len(&self) -> usize {
        self.pieces
            .last()
            .map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    pub(super) fn push(&mut self, element: T) {
        match self.pieces.last_mut() {
            Some(last) if last.len() < PIECE => last.push(element),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(element);
                self.pieces.push(piece);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, index: usize) -> &T {
        &self.pieces[index / PIECE][index % PIECE]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, index: usize) -> &mut T {
        &mut self.pieces[index / PIECE][index % PIECE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_a_vector_and_nothing_in_them_moves() {
        let mut chunks = Chunks::default();
        let mut vector = Vec::new();
        let mut first: Option<*const usize> = None;
        for number in 0..3 * PIECE + 1 {
            assert_eq!(chunks.len(), number);
            chunks.push(number);
            vector.push(number);
            let at: *const usize = &raw const chunks[0];
            assert_eq!(*first.get_or_insert(at), at);
        }
        chunks[PIECE] = 7;
        vector[PIECE] = 7;
        assert!(chunks.iter().eq(&vector));
        assert!((0..vector.len()).all(|index| chunks[index] == vector[index]));
    }
}
