//! The specification once more, as slowly as it reads: the whole history, and state made from it anew.
//!
//! It shares no code with the ledger beyond the types of what goes in and what comes out.

use super::*;

/// Everything that ever happened.
#[derive(Clone)]
pub(super) struct Model {
    first_settings: Settings,
    history: Vec<(Moment, Event)>,
}

/// What the history leads to.
#[derive(Default)]
pub(super) struct State {
    settings: Settings,
    pub(super) entries: Vec<Entry>,
    pub(super) evicted: u64,
    /// What the last event did to keys.
    pub(super) actions: Vec<(Key, Action)>,
}

#[derive(Clone)]
pub(super) struct Entry {
    key: Key,
    count: u32,
    last: Option<Moment>,
    free: Option<Moment>,
    ban: Option<Ban>,
}

impl Model {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            first_settings: settings,
            history: Vec::new(),
        }
    }

    /// Writes the event down, and says what comes of it.
    pub(super) fn add(&mut self, event: Event, now: Moment) -> (Ruling, State) {
        self.history.push((now, event));
        let mut state = State {
            settings: self.first_settings.clone(),
            ..State::default()
        };
        let mut ruling = Ruling::Done { changed: 0 };
        for (now, event) in &self.history {
            state.actions.clear();
            state.pass(*now);
            ruling = state.happen(event.clone(), *now);
            state.pass(*now);
        }
        (ruling, state)
    }
}

impl State {
    /// Time reaches `now`.
    fn pass(&mut self, now: Moment) {
        for entry in &mut self.entries {
            if let Some(Expiry::At(end)) = entry.ban.as_ref().map(|ban| ban.until)
                && end <= now
            {
                entry.ban = None;
                entry.free = Some(end);
                self.actions.push((entry.key.clone(), Action::Unban));
            }
            if let Some(quiet) = self.settings.forgive_after
                && entry.ban.is_none()
                && entry.quiet_since().after(quiet) <= now
            {
                entry.count = 0;
            }
        }
        self.entries
            .retain(|entry| entry.count > 0 || entry.ban.is_some());
        self.entries.sort_by(|left, right| left.key.cmp(&right.key));
    }

    fn happen(&mut self, event: Event, now: Moment) -> Ruling {
        let changed = match event {
            Event::Offence { offence, at } => return self.offend(&offence, at.min(now), now),
            Event::Failed(effect) | Event::NotMade(effect) => self.fail(&effect, now),
            // `hand` tells what it does, one case after another.
            Event::Ban(_) | Event::Propose { .. } | Event::Lift { .. } | Event::Confirm { .. } => {
                unreachable!("the properties do nothing by hand but unban")
            }
            Event::Adopt(adoption) => self.adopt(adoption, now),
            Event::Unban(whom, _) => self.end(now, |entry, _| entry.is(&whom)),
            Event::Forgive(whom) => {
                let meant = |entry: &&mut Entry| entry.count > 0 && entry.is(&whom);
                let meant = self.entries.iter_mut().filter(meant);
                meant.map(|entry| entry.count = 0).count()
            }
            Event::Settings(settings) => {
                self.settings = settings;
                self.pass(now);
                let before = self.entries.len();
                self.evict(0);
                before - self.entries.len()
            }
            Event::Stop(OnStop::ReleaseAll) => self.end(now, |_, _| true),
            Event::Stop(OnStop::ReleasePrograms) => self.end(now, |_, ban| {
                ban.enforcement == Enforcement::Program && ban.until != Expiry::Never
            }),
        };
        Ruling::Done { changed }
    }

    fn offend(&mut self, offence: &Offence, at: Moment, now: Moment) -> Ruling {
        let key = Key {
            offender: offence.offender,
            executable: offence.executable.clone(),
        };
        let known = self.entries.iter().position(|entry| entry.key == key);
        let before = known.map(|index| self.entries[index].clone());
        let rung = offence
            .timeout
            .map(|timeout| self.rung(before.as_ref(), timeout, at));
        let until = rung.map_or(Expiry::Never, |rung| Expiry::At(at.after(rung.length)));
        let ban = Ban {
            since: now,
            until,
            enforcement: offence.enforcement,
            response: 1,
            rule_id: offence.rule_id,
            alert_id: AlertId::new("1732412580.218"),
            adopted: false,
            by_hand: None,
        };
        let standing = before.as_ref().and_then(|entry| entry.ban.clone());
        let last = before.as_ref().and_then(|entry| entry.last);
        let over = until.is_over(now);
        let full = standing.is_none()
            && !over
            && offence.enforcement == Enforcement::Kernel
            && self.is_full(offence.offender);
        let limit = if offence.offender.addr().is_ipv4() {
            Limit::BansV4
        } else {
            Limit::BansV6
        };
        if full && rung.is_none() {
            return Ruling::Refused { limit, rung };
        }
        let index = match known {
            Some(index) => index,
            None if self.evict(1) => self.insert(key.clone()),
            None if full => return Ruling::Refused { limit, rung: None },
            None => {
                let limit = Limit::Remembered;
                return Ruling::Refused { limit, rung: None };
            }
        };
        let entry = &mut self.entries[index];
        if let Some(rung) = rung {
            entry.count = rung.offence;
            entry.last = entry.last.max(Some(at));
        }
        match (standing, rung) {
            (
                Some(Ban {
                    until: Expiry::Never,
                    ..
                }),
                _,
            ) => Ruling::AlreadyPermanent { rung },
            (None, _) if full => Ruling::Refused { limit, rung },
            (None, Some(rung)) if over => Ruling::OnlyCounted { rung },
            (Some(_), Some(rung)) if over || last > Some(at) => Ruling::OnlyCounted { rung },
            (None, _) => {
                entry.ban = Some(ban);
                entry.free = None;
                self.actions.push((key, Action::Ban { until }));
                Ruling::Banned { until, rung }
            }
            (Some(old), _) => {
                let from = old.until;
                entry.ban = Some(Ban {
                    since: old.since,
                    enforcement: old.enforcement,
                    ..ban
                });
                self.actions.push((key, Action::Move { from, until }));
                Ruling::Moved { from, until, rung }
            }
        }
    }

    fn rung(&self, before: Option<&Entry>, timeout: Duration, at: Moment) -> Rung {
        let count = before.map_or(0, |entry| entry.count);
        let debounced = match (self.settings.debounce, before.and_then(|entry| entry.last)) {
            (Some(window), Some(last)) if count > 0 => {
                at < last.after(window) && last < at.after(window)
            }
            _ => false,
        };
        let offence = if debounced { count } else { count + 1 };
        let mut lengths = vec![timeout];
        lengths.extend(&self.settings.repeated_offenders);
        let step = (offence as usize).min(lengths.len());
        Rung {
            offence,
            length: lengths[step - 1],
            debounced,
        }
    }

    fn fail(&mut self, effect: &Effect, now: Moment) -> usize {
        let entry = self
            .entries
            .iter_mut()
            .find(|entry| entry.key == effect.key);
        let mut changed = false;
        if let Action::Retract { .. } = effect.action {
            return 0;
        }
        let mut stands = None;
        if let Some(entry) = entry {
            let is_meant = |ban: &Ban| ban.enforcement == effect.enforcement;
            match (effect.action, entry.ban.clone().filter(is_meant)) {
                (Action::Ban { .. }, Some(ban)) if ban.since == effect.at => {
                    entry.ban = None;
                    entry.free = Some(now);
                    changed = true;
                }
                (Action::Move { from, until }, Some(ban)) if ban.until == until => {
                    entry.ban = Some(Ban { until: from, ..ban });
                    changed = true;
                }
                _ => {}
            }
            stands = entry.ban.as_ref().map(|ban| ban.until);
        }
        if changed || effect.enforcement == Enforcement::Kernel {
            let retract = Action::Retract { until: stands };
            self.actions.push((effect.key.clone(), retract));
        }
        usize::from(changed)
    }

    fn adopt(&mut self, adoption: Adoption, now: Moment) -> usize {
        let Adoption {
            key,
            since,
            until,
            rule_id,
        } = adoption;
        let known = self.entries.iter().position(|entry| entry.key == key);
        let banned = known.is_some_and(|index| self.entries[index].ban.is_some());
        if banned || until.is_over(now) {
            return 0;
        }
        let index = known.unwrap_or_else(|| {
            self.evict(1);
            self.insert(key.clone())
        });
        self.entries[index].free = None;
        self.entries[index].ban = Some(Ban {
            since,
            until,
            enforcement: Enforcement::Kernel,
            response: 0,
            rule_id,
            alert_id: AlertId::default(),
            adopted: true,
            by_hand: None,
        });
        self.actions.push((key, Action::Ban { until }));
        1
    }

    fn end(&mut self, now: Moment, meant: impl Fn(&Entry, &Ban) -> bool) -> usize {
        let before = self.actions.len();
        for entry in &mut self.entries {
            if entry.ban.as_ref().is_some_and(|ban| meant(entry, ban)) {
                entry.ban = None;
                entry.free = Some(now);
                self.actions.push((entry.key.clone(), Action::Unban));
            }
        }
        self.actions.len() - before
    }

    fn is_full(&self, offender: Offender) -> bool {
        let standing = self.standings();
        let ipv4 = |offender: Offender| offender.addr().is_ipv4();
        let family = standing
            .iter()
            .filter(|(other, _)| ipv4(*other) == ipv4(offender));
        let limits = self.settings.limits;
        let most = if ipv4(offender) {
            limits.bans_v4
        } else {
            limits.bans_v6
        };
        family.count() >= most && standing.iter().all(|(other, _)| *other != offender)
    }

    fn evict(&mut self, more: usize) -> bool {
        while self.entries.len() + more > self.settings.limits.remembered {
            let free = self.entries.iter().filter(|entry| entry.ban.is_none());
            let Some(oldest) = free.min_by_key(|entry| (entry.quiet_since(), entry.key.clone()))
            else {
                return false;
            };
            let oldest = oldest.key.clone();
            self.entries.retain(|entry| entry.key != oldest);
            self.evicted += 1;
        }
        true
    }

    fn insert(&mut self, key: Key) -> usize {
        self.entries.push(Entry {
            key,
            count: 0,
            last: None,
            free: None,
            ban: None,
        });
        self.entries.len() - 1
    }

    pub(super) fn records(&self) -> Vec<Record> {
        let record = |entry: &Entry| Record {
            key: entry.key.clone(),
            offences: entry.count,
            last_offence: entry.last,
            free_since: entry.free,
            ban: entry.ban.clone(),
        };
        self.entries.iter().map(record).collect()
    }

    /// What the kernel has to hold, by offender.
    pub(super) fn standings(&self) -> Vec<(Offender, Standing)> {
        let mut offenders: Vec<_> = self
            .entries
            .iter()
            .map(|entry| entry.key.offender)
            .collect();
        offenders.dedup();
        let bans_of = |offender: Offender| {
            let of = self
                .entries
                .iter()
                .filter(move |entry| entry.key.offender == offender);
            let bans = of.filter_map(|entry| entry.ban.as_ref());
            bans.filter(|ban| ban.enforcement == Enforcement::Kernel)
        };
        let standing = |&offender: &Offender| {
            let until = bans_of(offender).map(|ban| ban.until).max()?;
            let longest = bans_of(offender).find(|ban| ban.until == until)?;
            let standing = Standing {
                until,
                since: bans_of(offender).map(|ban| ban.since).min()?,
                rule_id: longest.rule_id,
                shadow: false,
            };
            Some((offender, standing))
        };
        offenders.iter().filter_map(standing).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Moment> {
        let deadline = |entry: &Entry| match &entry.ban {
            Some(Ban {
                until: Expiry::At(end),
                ..
            }) => Some(*end),
            Some(_) => None,
            None => Some(entry.quiet_since().after(self.settings.forgive_after?)),
        };
        self.entries.iter().filter_map(deadline).min()
    }
}

impl Entry {
    fn is(&self, whom: &Whom) -> bool {
        match whom {
            Whom::Key(key) => self.key == *key,
            Whom::Offender(offender) => self.key.offender == *offender,
            Whom::Everyone => true,
        }
    }

    fn quiet_since(&self) -> Moment {
        self.last.max(self.free).expect("a counter or an ended ban")
    }
}
