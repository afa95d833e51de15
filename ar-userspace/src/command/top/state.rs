//! What the live screen knows, without a terminal and without a clock: looks and keys in, orders out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use schemars::JsonSchema;
use serde::Serialize;

use crate::control::view;

/// Looks whose drops are kept for the sparkline: more than the widest terminal has columns.
const DROPS_KEPT: usize = 512;

/// Events that are kept.
const EVENTS_KEPT: usize = 64;

/// Bytes that a filter may have.
const FILTER_MOST: usize = 64;

/// What one look at the daemon told.
#[derive(Debug)]
pub(super) struct Look {
    /// When, since the screen was opened.
    pub(super) at: Duration,
    pub(super) status: view::Status,
    pub(super) bans: Vec<view::Ban>,
}

/// One banned address or network.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "TopHost")]
pub(in crate::command) struct Host {
    /// The address in canonical form.
    pub(super) address: String,
    /// Packets dropped a second since the look before; 0 at the first.
    pub(super) packets_per_second: f64,
    /// Packets dropped since the ban began.
    pub(super) packets: u64,
    /// Bytes dropped since the ban began.
    pub(super) bytes: u64,
    /// Time left; `null` for a permanent ban.
    pub(super) seconds_left: Option<f64>,
    /// The rule of the alert that led to it; 0 when that is not known.
    pub(super) rule_id: u32,
    /// The executables that hold it.
    pub(super) by: Vec<String>,
}

/// What the hosts are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Rate,
    Dropped,
    Left,
    Address,
}

impl Order {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rate => "drops a second",
            Self::Dropped => "packets dropped",
            Self::Left => "time left",
            Self::Address => "address",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Rate => Self::Dropped,
            Self::Dropped => Self::Left,
            Self::Left => Self::Address,
            Self::Address => Self::Rate,
        }
    }
}

/// What the last line is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Keys move, sort and ask.
    #[default]
    Watching,
    /// A filter is being typed.
    Filtering,
    /// Whether to end the bans of this address is asked.
    Asking(String),
}

/// What a key asks the screen's owner for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Unban(String),
}

/// The state of the screen.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) status: Option<view::Status>,
    /// Why the last look failed; empty when it did not.
    pub(super) trouble: String,
    /// What became of the last order.
    pub(super) said: String,
    pub(super) drops: VecDeque<u64>,
    pub(super) events: VecDeque<String>,
    pub(super) order: Order,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) selected: usize,
    hosts: Vec<Host>,
    /// Packets of each host, and of all, at the look before, and when that was.
    before: Option<(Duration, BTreeMap<String, u64>, u64)>,
}

impl State {
    /// Takes in what a look told.
    pub(super) fn look(&mut self, look: Look) {
        let Look { at, status, bans } = look;
        let all = dropped(&status, &bans);
        let passed = self
            .before
            .as_ref()
            .map_or(0.0, |(before, ..)| at.saturating_sub(*before).as_secs_f64());
        let rate = |now: u64, before: u64| match passed > 0.0 {
            // A ban that was made anew counts from 0 again.
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            true => now.saturating_sub(before) as f64 / passed,
            false => 0.0,
        };
        let known = self.before.as_ref().map(|(_, known, _)| known);
        let marked = self.marked();
        self.hosts = bans
            .iter()
            .map(|ban| {
                // Of one that was not there before, all packets are of the time since.
                let before = known.map_or(ban.packets, |known| {
                    known.get(&ban.address).copied().unwrap_or(0)
                });
                host(ban, rate(ban.packets, before))
            })
            .collect();
        if let Some((_, _, before)) = self.before {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "never negative, and a rate for people"
            )]
            self.drops.push_back(rate(all, before).round() as u64);
            if self.drops.len() > DROPS_KEPT {
                self.drops.pop_front();
            }
        }
        let packets = |ban: view::Ban| (ban.address, ban.packets);
        self.before = Some((at, bans.into_iter().map(packets).collect(), all));
        self.status = Some(status);
        self.trouble.clear();
        self.sort(marked);
    }

    /// Takes in that something happened.
    pub(super) fn event(&mut self, text: String) {
        self.events.push_front(text);
        self.events.truncate(EVENTS_KEPT);
    }

    /// The hosts that pass the filter, in order.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| self.passes(host))
    }

    fn passes(&self, host: &Host) -> bool {
        let rule = host.rule_id.to_string();
        self.filter.is_empty()
            || host.address.contains(&self.filter)
            || rule == self.filter
            || host.by.iter().any(|by| by.contains(&self.filter))
    }

    /// Puts the hosts in order, and the mark on the host that has this address, wherever that is by now.
    fn sort(&mut self, marked: Option<String>) {
        let left = |host: &Host| host.seconds_left.unwrap_or(f64::INFINITY);
        match self.order {
            Order::Rate => self.hosts.sort_by(|a, b| {
                let rates = b.packets_per_second.total_cmp(&a.packets_per_second);
                rates.then(b.packets.cmp(&a.packets))
            }),
            Order::Dropped => self.hosts.sort_by_key(|host| Reverse(host.packets)),
            Order::Left => self.hosts.sort_by(|a, b| left(a).total_cmp(&left(b))),
            Order::Address => self.hosts.sort_by(|a, b| a.address.cmp(&b.address)),
        }
        let place = marked.and_then(|marked| self.hosts().position(|host| host.address == marked));
        let count = self.hosts().count();
        self.selected = place.unwrap_or(self.selected).min(count.saturating_sub(1));
    }

    fn chosen(&self) -> Option<String> {
        let host = self.hosts().nth(self.selected);
        host.map(|host| host.address.clone())
    }

    /// The host that the mark has to follow: none as long as it was left at the top.
    fn marked(&self) -> Option<String> {
        self.chosen().filter(|_| self.selected > 0)
    }

    /// Does what a key asks, of a screen that shows `rows` hosts at once.
    pub(super) fn key(&mut self, key: KeyEvent, rows: usize) -> Option<Wish> {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(Wish::Quit);
        }
        match std::mem::take(&mut self.mode) {
            Mode::Watching => return self.watch(key.code, rows),
            Mode::Filtering => self.filter_key(key.code),
            Mode::Asking(address) => {
                if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                    return Some(Wish::Unban(address));
                }
                self.said = format!("{address} stays banned");
            }
        }
        None
    }

    fn watch(&mut self, key: KeyCode, rows: usize) -> Option<Wish> {
        let last = self.hosts().count().saturating_sub(1);
        match key {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Esc if self.filter.is_empty() => return Some(Wish::Quit),
            KeyCode::Esc => self.refilter(String::clear),
            KeyCode::Char('/') => self.mode = Mode::Filtering,
            KeyCode::Char('s') => {
                let marked = self.marked();
                self.order = self.order.next();
                self.sort(marked);
            }
            KeyCode::Char('u') => match self.chosen() {
                Some(address) => self.mode = Mode::Asking(address),
                None => "nobody is chosen".clone_into(&mut self.said),
            },
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(rows),
            KeyCode::PageDown => self.selected = (self.selected + rows).min(last),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            _ => {}
        }
        None
    }

    fn filter_key(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => return,
            KeyCode::Esc => return self.refilter(String::clear),
            KeyCode::Backspace => self.refilter(|filter| _ = filter.pop()),
            KeyCode::Char(c) if self.filter.len() < FILTER_MOST && !c.is_control() => {
                self.refilter(|filter| filter.push(c));
            }
            _ => {}
        }
        self.mode = Mode::Filtering;
    }

    fn refilter(&mut self, change: impl FnOnce(&mut String)) {
        let marked = self.marked();
        change(&mut self.filter);
        self.sort(marked);
    }
}

fn host(ban: &view::Ban, packets_per_second: f64) -> Host {
    Host {
        address: ban.address.clone(),
        packets_per_second,
        packets: ban.packets,
        bytes: ban.bytes,
        seconds_left: ban.seconds_left,
        rule_id: ban.rule_id,
        by: ban.by.iter().map(|by| by.executable.clone()).collect(),
    }
}

/// Packets dropped so far: as the kernel program counted them, or, with another enforcer, of those who are banned now.
fn dropped(status: &view::Status, bans: &[view::Ban]) -> u64 {
    let mut totals = status.packets.iter();
    let total = totals.find(|total| total.outcome == "banned");
    total.map_or_else(
        || bans.iter().map(|ban| ban.packets).sum(),
        |total| total.packets,
    )
}
