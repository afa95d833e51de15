//! Keys in the order of their turn: the end of a ban, or the beginning of a free key's quiet time.
//!
//! A binary heap of four-byte places whose members know where they stand, so that one can leave from
//! the middle without a search. It compares keys of one turn by name, so the order is the same after a
//! restart. It does not know what a turn means.

use super::slot::{Place, Slots};

/// The keys that wait, the next one first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: Vec<Place>,
}

impl Queue {
    /// The key whose turn is next.
    pub(super) fn first(&self) -> Option<Place> {
        self.heap.first().copied()
    }

    /// Lets `place` in. It must not be in any queue.
    pub(super) fn push(&mut self, place: Place, slots: &mut Slots) {
        self.heap.push(place);
        self.rise(self.heap.len() - 1, slots);
    }

    /// Lets `place` out, which must be in this queue, if in any, and have the turn that it came with.
    pub(super) fn remove(&mut self, place: Place, slots: &mut Slots) {
        let Some(at) = slots[place].queued_at() else {
            return;
        };
        let last = self.heap.len() - 1;
        self.heap.swap(at, last);
        self.heap.pop();
        slots[place].set_queued_at(None);
        if at < last {
            self.rise(at, slots);
            // Whoever stands here after a rise was above before, so this moves nothing then.
            self.sink(at, slots);
        }
    }

    fn rise(&mut self, mut at: usize, slots: &mut Slots) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !slots.comes_before(self.heap[at], self.heap[parent]) {
                break;
            }
            self.heap.swap(at, parent);
            slots[self.heap[at]].set_queued_at(Some(at));
            at = parent;
        }
        slots[self.heap[at]].set_queued_at(Some(at));
    }

    fn sink(&mut self, mut at: usize, slots: &mut Slots) {
        loop {
            let children = 2 * at + 1..(2 * at + 3).min(self.heap.len());
            let Some(child) = children.reduce(|left, right| {
                if slots.comes_before(self.heap[right], self.heap[left]) {
                    right
                } else {
                    left
                }
            }) else {
                break;
            };
            if !slots.comes_before(self.heap[child], self.heap[at]) {
                break;
            }
            self.heap.swap(at, child);
            slots[self.heap[at]].set_queued_at(Some(at));
            at = child;
        }
        slots[self.heap[at]].set_queued_at(Some(at));
    }
}
