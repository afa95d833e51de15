//! The ledger beside the model, on random events and times.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::model::{Model, State};
use super::*;

const EXECUTABLES: [&str; 3] = ["fd", "nft", "deny.sh"];
const OFFENDERS: [&str; 5] = [
    "203.0.113.1",
    "203.0.113.2",
    "203.0.113.3",
    "2001:db8::1",
    "2001:db8::2",
];

/// One thing that happens after some time.
#[derive(Clone, Debug)]
struct Step {
    wait: Wait,
    /// Whether timers run before it. After it they always do.
    prompt: bool,
    what: What,
    /// The effect of this step that the kernel cannot perform.
    fails: Option<Index>,
}

#[derive(Clone, Debug)]
enum Wait {
    Seconds(u64),
    /// Exactly to the ledger's next deadline.
    Deadline,
    /// To a nanosecond before it.
    AlmostDeadline,
}

#[derive(Clone, Debug)]
enum What {
    Offence {
        offence: Offence,
        late: u64,
    },
    Adopt {
        key: Key,
        lasts: Option<u64>,
    },
    /// One of the effects so far is reported to have failed, although it may be long past.
    Failed(Index),
    Event(Event),
}

fn any_key() -> impl Strategy<Value = Key> {
    (select(&EXECUTABLES[..]), select(&OFFENDERS[..])).prop_map(|(name, who)| key(name, who))
}

fn any_offence() -> impl Strategy<Value = Offence> {
    let timeout = prop_oneof![1 => Just("never"), 6 => select(vec!["1", "10", "10", "25", "60"])];
    (any_key(), timeout, 0..3_u32, prop::bool::weighted(0.1)).prop_map(
        |(key, timeout, rule_id, otherwise)| {
            let mut offence = offence(key.executable.name(), &key.offender.to_string(), timeout);
            offence.rule_id = rule_id;
            if otherwise {
                // As after a reload that gives the executable to the other side.
                offence.enforcement = match offence.enforcement {
                    Enforcement::Kernel => Enforcement::Program,
                    Enforcement::Program => Enforcement::Kernel,
                };
            }
            offence
        },
    )
}

fn any_whom() -> impl Strategy<Value = Whom> {
    prop_oneof![
        4 => any_key().prop_map(Whom::Key),
        4 => any_key().prop_map(|key| Whom::Offender(key.offender)),
        1 => Just(Whom::Everyone),
    ]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let seconds =
        |range| prop::option::weighted(0.3, range).prop_map(|s| s.map(Duration::from_secs));
    (
        vec((1..40_u64).prop_map(Duration::from_secs), 0..4),
        (0..4_usize, 0..4_usize, 0..9_usize),
        prop::bool::ANY,
        seconds(1..60_u64),
        seconds(1..20_u64),
    )
        .prop_map(
            |(ladder, (bans_v4, bans_v6, remembered), bounded, forgive_after, debounce)| Settings {
                repeated_offenders: ladder,
                limits: if bounded {
                    Limits {
                        bans_v4,
                        bans_v6,
                        prefixes: bans_v4,
                        remembered,
                    }
                } else {
                    Limits::default()
                },
                forgive_after,
                debounce,
                shadow: false,
            },
        )
}

fn any_step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        30 => (any_offence(), prop_oneof![3 => Just(0_u64), 1 => 0..80_u64])
            .prop_map(|(offence, late)| What::Offence { offence, late }),
        2 => (any_key(), prop::option::of(0..50_u64))
            .prop_map(|(key, lasts)| What::Adopt { key, lasts }),
        3 => any::<Index>().prop_map(What::Failed),
        3 => any_whom().prop_map(|whom| What::Event(Event::Unban(whom, BY_HAND))),
        2 => any_whom().prop_map(|whom| What::Event(Event::Forgive(whom))),
        1 => any_settings().prop_map(|settings| What::Event(Event::Settings(settings))),
        1 => select(vec![OnStop::ReleasePrograms, OnStop::ReleaseAll])
            .prop_map(|on_stop| What::Event(Event::Stop(on_stop))),
    ];
    let wait = prop_oneof![
        3 => Just(Wait::Seconds(0)),
        4 => (0..30_u64).prop_map(Wait::Seconds),
        1 => (0..300_u64).prop_map(Wait::Seconds),
        2 => Just(Wait::Deadline),
        1 => Just(Wait::AlmostDeadline),
    ];
    let fails = prop::option::weighted(0.15, any::<Index>());
    (wait, any::<bool>(), what, fails).prop_map(|(wait, prompt, what, fails)| Step {
        wait,
        prompt,
        what,
        fails,
    })
}

/// A kernel as an enforcer drives it.
#[derive(Default)]
struct Kernel(BTreeMap<Offender, Standing>);

impl Kernel {
    fn perform(&mut self, effect: &Effect) {
        match effect.standing {
            Some(standing) => self.0.insert(effect.key.offender, standing),
            None => self.0.remove(&effect.key.offender),
        };
    }

    fn holds(&self) -> Vec<(Offender, Standing)> {
        self.0.iter().map(|(who, what)| (*who, *what)).collect()
    }
}

/// A ledger, its model, and three kernels that are driven each in another way.
struct Run {
    ledger: Ledger,
    model: Model,
    now: Moment,
    effects: Vec<Effect>,
    /// Performs every effect.
    eager: Kernel,
    /// Performs every effect twice.
    doubting: Kernel,
    /// Performs only what says that it changes something.
    thrifty: Kernel,
}

impl Run {
    fn new(settings: Settings) -> Self {
        Self {
            ledger: Ledger::new(settings.clone()),
            model: Model::new(settings),
            now: seconds(1_000),
            effects: Vec::new(),
            eager: Kernel::default(),
            doubting: Kernel::default(),
            thrifty: Kernel::default(),
        }
    }

    fn step(&mut self, step: Step) {
        self.now = wait(step.wait, &self.ledger, self.now);
        if step.prompt {
            run_timers(&mut self.ledger, self.now);
        }
        let Some(event) = event(step.what, &self.effects, self.now) else {
            return;
        };
        let failed = self.happen(event, step.fails);
        if let Some(effect) = failed {
            self.happen(Event::Failed(effect), None);
        }
    }

    /// Lets an event happen on both sides; says which effect the kernels did not perform.
    fn happen(&mut self, event: Event, fails: Option<Index>) -> Option<Effect> {
        let ruling = self.ledger.apply(event.clone(), self.now);
        run_timers(&mut self.ledger, self.now);
        let (expected_ruling, state) = self.model.add(event, self.now);
        assert_eq!(ruling, expected_ruling);
        let effects: Vec<Effect> = std::iter::from_fn(|| self.ledger.next_effect()).collect();
        assert_eq!(by_key(&effects), actions_by_key(&state));
        let can_fail: Vec<&Effect> = effects
            .iter()
            .filter(|effect| effect.standing_changed)
            .filter(|effect| !matches!(effect.action, Action::Retract { .. }))
            .collect();
        let failed = fails.filter(|_| !can_fail.is_empty());
        let failed = failed.map(|index| (*index.get(&can_fail)).clone());
        for effect in &effects {
            assert!(effect.enforcement == Enforcement::Kernel || !effect.standing_changed);
        }
        for effect in effects
            .iter()
            .filter(|effect| failed.as_ref() != Some(effect))
        {
            self.eager.perform(effect);
            self.doubting.perform(effect);
            self.doubting.perform(effect);
            if effect.standing_changed {
                self.thrifty.perform(effect);
            }
        }
        self.compare(&state, failed.is_none());
        self.effects.extend(effects);
        failed
    }

    fn compare(&self, state: &State, performed: bool) {
        let (ledger, now) = (&self.ledger, self.now);
        assert_eq!(ledger.records().collect::<Vec<_>>(), state.records());
        let banned = |record: &Record| record.ban.is_some();
        assert!(
            ledger
                .bans(now)
                .eq(state.records().into_iter().filter(banned))
        );
        for record in state.records() {
            assert_eq!(ledger.offence_count(&record.key, now), record.offences);
        }
        assert_eq!(ledger.next_deadline(), state.next_deadline());
        assert_eq!(ledger.remembered(), state.entries.len());
        assert_eq!(ledger.evicted(), state.evicted);
        let standings = state.standings();
        assert!(ledger.standings(now).eq(standings.iter().copied()));
        let of_v4 = standings.iter().filter(|(who, _)| who.addr().is_ipv4());
        assert_eq!(ledger.bans_v4(), of_v4.count());
        assert_eq!(ledger.bans_v4() + ledger.bans_v6(), standings.len());
        if performed {
            assert_eq!(self.eager.holds(), standings);
            assert_eq!(self.doubting.holds(), standings);
            assert_eq!(self.thrifty.holds(), standings);
        }
    }
}

fn wait(wait: Wait, ledger: &Ledger, now: Moment) -> Moment {
    let due = ledger.next_deadline().unwrap_or(now).max(now);
    match wait {
        Wait::Seconds(seconds) => now.after(Duration::from_secs(seconds)),
        Wait::Deadline => due,
        Wait::AlmostDeadline => due.before(Duration::from_nanos(1)).max(now),
    }
}

fn event(what: What, effects: &[Effect], now: Moment) -> Option<Event> {
    Some(match what {
        What::Offence { offence, late } => Event::Offence {
            offence,
            at: now.before(Duration::from_secs(late)),
        },
        What::Adopt { key, lasts } => Event::Adopt(Adoption {
            key,
            since: now.before(Duration::from_secs(1)),
            until: lasts.map_or(Expiry::Never, |lasts| {
                Expiry::At(now.after(Duration::from_secs(lasts)))
            }),
            rule_id: 7,
        }),
        What::Failed(_) if effects.is_empty() => return None,
        What::Failed(index) => Event::Failed(index.get(effects).clone()),
        What::Event(event) => event,
    })
}

fn run_timers(ledger: &mut Ledger, now: Moment) {
    while ledger.next_deadline().is_some_and(|due| due <= now) {
        ledger.handle_timeout(now);
    }
}

type ByKey = BTreeMap<Key, Vec<Action>>;

fn by_key(effects: &[Effect]) -> ByKey {
    let mut sorted = ByKey::new();
    for effect in effects {
        sorted
            .entry(effect.key.clone())
            .or_default()
            .push(effect.action);
    }
    sorted
}

fn actions_by_key(state: &State) -> ByKey {
    let mut sorted = ByKey::new();
    for (key, action) in &state.actions {
        sorted.entry(key.clone()).or_default().push(*action);
    }
    sorted
}

proptest! {
    /// AR-TIME-1 to 9, AR-IMP-5, AR-IMP-9, AR-IMP-10
    #[test]
    fn the_ledger_does_what_the_model_says(
        settings in any_settings(),
        steps in vec(any_step(), 1..60),
    ) {
        let mut run = Run::new(settings);
        for step in steps {
            run.step(step);
        }
    }

    /// AR-IMP-1
    #[test]
    fn a_restored_ledger_does_what_the_first_would_have(
        settings in any_settings(),
        before in vec(any_step(), 1..40),
        after in vec(any_step(), 1..40),
    ) {
        let mut first = Ledger::new(settings);
        let mut now = seconds(1_000);
        let mut effects = Vec::new();
        for step in before {
            now = wait(step.wait, &first, now);
            if let Some(event) = event(step.what, &effects, now) {
                first.apply(event, now);
                effects.extend(std::iter::from_fn(|| first.next_effect()));
            }
        }
        let clocks = Clocks { moment: now, wall: Wall::from_nanos(1_700_000_000_000_000_000) };
        let records: Vec<_> = first.records().map(|record| record.on_the_wall(clocks)).collect();
        let records = records.into_iter().map(|record| record.since_boot(clocks));
        let mut second = Ledger::restore(first.settings().clone(), records, now);
        for step in after {
            now = wait(step.wait, &first, now);
            if step.prompt {
                first.handle_timeout(now);
                second.handle_timeout(now);
            }
            if let Some(event) = event(step.what, &effects, now) {
                prop_assert_eq!(first.apply(event.clone(), now), second.apply(event, now));
            }
            let told: Vec<_> = std::iter::from_fn(|| first.next_effect()).collect();
            let told_again: Vec<_> = std::iter::from_fn(|| second.next_effect()).collect();
            prop_assert_eq!(&told, &told_again);
            prop_assert_eq!(first.next_deadline(), second.next_deadline());
            prop_assert_eq!(first.snapshot(), second.snapshot());
            effects.extend(told);
        }
    }

    /// What a store is told, written down, is what it would read from the ledger as a whole.
    #[test]
    fn changes_add_up_to_the_records(
        settings in any_settings(),
        steps in vec((any_step(), any::<bool>()), 1..60),
    ) {
        let mut ledger = Ledger::new(settings);
        ledger.track_changes();
        let mut now = seconds(1_000);
        let mut effects = Vec::new();
        let mut stored = BTreeMap::new();
        for (step, commits) in steps {
            now = wait(step.wait, &ledger, now);
            if let Some(event) = event(step.what, &effects, now) {
                ledger.apply(event, now);
                effects.extend(std::iter::from_fn(|| ledger.next_effect()));
            }
            if commits {
                for Change { key, record } in ledger.drain_changes() {
                    match record {
                        Some(record) => stored.insert(key, record),
                        None => stored.remove(&key),
                    };
                }
                prop_assert!(ledger.records().eq(stored.values().cloned()));
            }
        }
    }
}
