//! Who runs next: one thing at a time per key and in order, few at once in all, and a bounded queue.
//!
//! Knows nothing of processes. Three kinds of turn wait in the lane of a key: an `Add`, a `Delete`, and
//! an `Answer`, which is a run that goes on already and needs the lane as well. Whoever has a turn holds
//! the lane until [`Lanes::release`], and an `Add` or a `Delete` one of the places until [`Lanes::ended`].

use std::collections::{BTreeMap, VecDeque};

use crate::ledger::Key;

/// Adds that may wait in one lane: no single key takes the whole queue.
const PER_LANE: usize = 64;

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Refused when the queue is full.
    Add,
    /// Never refused, since whoever is banned must be let go. Each follows an add that was made.
    Delete,
    /// Takes no place of its own.
    Answer,
}

/// All lanes.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: BTreeMap<Key, Lane<T>>,
    /// Lanes that nobody holds, by the kind of their first turn.
    answers: VecDeque<Key>,
    deletes: VecDeque<Key>,
    adds: VecDeque<Key>,
    at_once: usize,
    queue: usize,
    running: usize,
    adds_running: usize,
    adds_waiting: usize,
}

#[derive(Debug)]
struct Lane<T> {
    held: bool,
    waiting: VecDeque<(Kind, T)>,
}

impl<T> Lanes<T> {
    /// Lanes for `at_once` runs, at least one, and `queue` adds that wait.
    pub(super) fn new(at_once: usize, queue: usize) -> Self {
        Self {
            lanes: BTreeMap::new(),
            answers: VecDeque::new(),
            deletes: VecDeque::new(),
            adds: VecDeque::new(),
            at_once: at_once.max(1),
            queue,
            running: 0,
            adds_running: 0,
            adds_waiting: 0,
        }
    }

    /// Puts a turn at the end of a lane; gives an add back when there is no room.
    pub(super) fn push(&mut self, key: &Key, kind: Kind, item: T) -> Result<(), T> {
        if kind == Kind::Add {
            let lane = self.lanes.get(key);
            if self.adds_waiting >= self.queue
                || lane.is_some_and(|lane| lane.waiting.len() >= PER_LANE)
            {
                return Err(item);
            }
            self.adds_waiting += 1;
        }
        let lane = self.lane(key);
        lane.waiting.push_back((kind, item));
        if !lane.held && lane.waiting.len() == 1 {
            self.make_ready(key);
        }
        Ok(())
    }

    /// Puts a delete before everything else in a lane, which must be held.
    pub(super) fn push_first(&mut self, key: &Key, item: T) {
        let lane = self.lane(key);
        debug_assert!(lane.held, "nobody holds the lane");
        lane.waiting.push_front((Kind::Delete, item));
    }

    /// The next turn: its lane is held from here on.
    pub(super) fn next(&mut self) -> Option<(Kind, T)> {
        let key = self.next_lane()?;
        let lane = self.lanes.get_mut(&key)?;
        let (kind, item) = lane.waiting.pop_front()?;
        lane.held = true;
        if kind == Kind::Add {
            self.adds_waiting -= 1;
            self.adds_running += 1;
        }
        if kind != Kind::Answer {
            self.running += 1;
        }
        Some((kind, item))
    }

    /// An add waits in its lane for an answer that may have to wait for a delete, so that one place is
    /// kept for deletes.
    fn next_lane(&mut self) -> Option<Key> {
        if let Some(key) = self.answers.pop_front() {
            return Some(key);
        }
        if self.running >= self.at_once {
            return None;
        }
        if let Some(key) = self.deletes.pop_front() {
            return Some(key);
        }
        if self.adds_running >= self.at_once.saturating_sub(1).max(1) {
            return None;
        }
        self.adds.pop_front()
    }

    /// Turns that have a place, and those that wait for one or for their lane.
    pub(super) fn load(&self) -> (usize, usize) {
        let waiting = self.lanes.values().map(|lane| lane.waiting.len());
        (self.running, waiting.sum())
    }

    /// A run ended: its place is free.
    pub(super) fn ended(&mut self, kind: Kind) {
        match kind {
            Kind::Add => {
                self.running -= 1;
                self.adds_running -= 1;
            }
            Kind::Delete => self.running -= 1,
            Kind::Answer => {}
        }
    }

    /// Nobody holds the lane any longer.
    pub(super) fn release(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        lane.held = false;
        if lane.waiting.is_empty() {
            self.lanes.remove(key);
        } else {
            self.make_ready(key);
        }
    }

    /// Takes out every add that waits.
    pub(super) fn drop_adds(&mut self) -> Vec<T> {
        let mut dropped = Vec::new();
        for lane in self.lanes.values_mut() {
            for (kind, item) in std::mem::take(&mut lane.waiting) {
                match kind {
                    Kind::Add => dropped.push(item),
                    Kind::Delete | Kind::Answer => lane.waiting.push_back((kind, item)),
                }
            }
        }
        self.adds_waiting = 0;
        self.lanes
            .retain(|_, lane| lane.held || !lane.waiting.is_empty());
        for ready in [&mut self.answers, &mut self.deletes, &mut self.adds] {
            ready.clear();
        }
        let free = self.lanes.iter().filter(|(_, lane)| !lane.held);
        let free: Vec<Key> = free.map(|(key, _)| key.clone()).collect();
        for key in &free {
            self.make_ready(key);
        }
        dropped
    }

    fn lane(&mut self, key: &Key) -> &mut Lane<T> {
        self.lanes.entry(key.clone()).or_insert_with(|| Lane {
            held: false,
            waiting: VecDeque::new(),
        })
    }

    fn make_ready(&mut self, key: &Key) {
        let first = self.lanes.get(key).and_then(|lane| lane.waiting.front());
        let ready = match first {
            None => return,
            Some((Kind::Add, _)) => &mut self.adds,
            Some((Kind::Delete, _)) => &mut self.deletes,
            Some((Kind::Answer, _)) => &mut self.answers,
        };
        ready.push_back(key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Executable;

    fn key(last: u8) -> Key {
        Key {
            offender: format!("198.51.100.{last}").parse().unwrap(),
            executable: Executable::new("deny"),
        }
    }

    /// All turns that can begin, as text.
    fn begin(lanes: &mut Lanes<&'static str>) -> String {
        let turns: Vec<&str> = std::iter::from_fn(|| lanes.next().map(|(_, item)| item)).collect();
        turns.join(" ")
    }

    #[test]
    fn one_key_is_served_in_order_and_others_beside_it() {
        let mut lanes = Lanes::new(8, 100);
        lanes.push(&key(1), Kind::Add, "add-1").unwrap();
        lanes.push(&key(1), Kind::Delete, "delete-1").unwrap();
        lanes.push(&key(2), Kind::Add, "add-2").unwrap();
        assert_eq!(begin(&mut lanes), "add-1 add-2");
        lanes.ended(Kind::Add);
        lanes.release(&key(1));
        assert_eq!(begin(&mut lanes), "delete-1");
    }

    #[test]
    fn few_run_at_once_and_a_place_is_kept_for_deletes() {
        let mut lanes = Lanes::new(2, 100);
        for (last, item) in [(1, "add-1"), (2, "add-2"), (3, "add-3")] {
            lanes.push(&key(last), Kind::Add, item).unwrap();
        }
        lanes.push(&key(4), Kind::Delete, "delete-4").unwrap();
        lanes.push(&key(5), Kind::Delete, "delete-5").unwrap();
        assert_eq!(begin(&mut lanes), "delete-4 delete-5");
        lanes.ended(Kind::Delete);
        assert_eq!(begin(&mut lanes), "add-1");
        lanes.ended(Kind::Delete);
        assert_eq!(begin(&mut lanes), "", "the second place is for deletes");
        lanes.ended(Kind::Add);
        assert_eq!(begin(&mut lanes), "add-2");
    }

    /// AR-IMP-9
    #[test]
    fn a_full_queue_refuses_adds_and_never_a_delete() {
        let mut lanes = Lanes::new(1, 2);
        assert_eq!(lanes.push(&key(1), Kind::Add, "a"), Ok(()));
        assert_eq!(lanes.push(&key(2), Kind::Add, "b"), Ok(()));
        assert_eq!(lanes.push(&key(3), Kind::Add, "c"), Err("c"));
        assert_eq!(lanes.push(&key(3), Kind::Delete, "d"), Ok(()));
        assert_eq!(begin(&mut lanes), "d");
        lanes.ended(Kind::Delete);
        assert_eq!(begin(&mut lanes), "a");
        assert_eq!(lanes.push(&key(3), Kind::Add, "c"), Ok(()));
    }

    #[test]
    fn one_lane_does_not_take_the_whole_queue() {
        let mut lanes = Lanes::new(1, 1_000);
        let refused = (0..100).filter(|_| lanes.push(&key(1), Kind::Add, "x").is_err());
        assert_eq!(refused.count(), 36);
        assert_eq!(lanes.push(&key(2), Kind::Add, "y"), Ok(()));
    }

    #[test]
    fn an_answer_waits_for_its_lane_and_takes_no_place() {
        let mut lanes = Lanes::new(2, 10);
        lanes.push(&key(1), Kind::Add, "add-1").unwrap();
        lanes.push(&key(9), Kind::Delete, "delete-9").unwrap();
        assert_eq!(begin(&mut lanes), "delete-9 add-1");
        lanes.push(&key(9), Kind::Answer, "answer-9").unwrap();
        assert_eq!(begin(&mut lanes), "");
        lanes.push(&key(9), Kind::Delete, "delete-again").unwrap();
        lanes.release(&key(9));
        assert_eq!(begin(&mut lanes), "answer-9", "both places are taken");
        lanes.ended(Kind::Delete);
        assert_eq!(begin(&mut lanes), "", "the answer holds the lane");
        lanes.release(&key(9));
        assert_eq!(begin(&mut lanes), "delete-again");
    }

    #[test]
    fn what_makes_good_comes_before_what_waits() {
        let mut lanes = Lanes::new(3, 10);
        lanes.push(&key(1), Kind::Add, "failed").unwrap();
        lanes.push(&key(1), Kind::Add, "next").unwrap();
        assert_eq!(begin(&mut lanes), "failed");
        lanes.push_first(&key(1), "take-back");
        lanes.ended(Kind::Add);
        lanes.release(&key(1));
        assert_eq!(begin(&mut lanes), "take-back");
    }

    #[test]
    fn adds_that_wait_can_be_dropped_and_the_rest_goes_on() {
        let mut lanes = Lanes::new(1, 10);
        lanes.push(&key(1), Kind::Add, "running").unwrap();
        assert_eq!(begin(&mut lanes), "running");
        lanes.push(&key(1), Kind::Add, "waiting-1").unwrap();
        lanes.push(&key(1), Kind::Delete, "delete-1").unwrap();
        lanes.push(&key(2), Kind::Add, "waiting-2").unwrap();
        lanes.push(&key(3), Kind::Delete, "delete-3").unwrap();
        assert_eq!(lanes.drop_adds(), ["waiting-1", "waiting-2"]);
        lanes.ended(Kind::Add);
        lanes.release(&key(1));
        assert_eq!(begin(&mut lanes), "delete-3");
        lanes.ended(Kind::Delete);
        assert_eq!(begin(&mut lanes), "delete-1");
    }
}
