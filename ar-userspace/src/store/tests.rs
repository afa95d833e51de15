//! A store in a directory of its own, closed and opened again.

mod history;
mod quiet;

use redb::TableHandle as _;

use super::*;
use crate::config::{Enforcement, Executable};
use crate::ledger::{AlertId, Ban, ByHand, End};
use crate::offender::Offender;
use crate::source::{FileId, Finished};
use crate::time::{Expiry, Moment};

pub(super) const CLOCKS: Clocks = Clocks {
    moment: Moment::from_nanos(5_000_000_000),
    wall: Wall::from_nanos(1_700_000_000_000_000_000),
};

pub(super) fn record(address: &str, offences: u32, until: Option<Expiry>) -> Record {
    Record {
        key: Key {
            offender: address.parse().unwrap(),
            executable: Executable::new("firewall-drop"),
        },
        offences,
        last_offence: Some(Moment::from_nanos(1_000)),
        free_since: until.is_none().then_some(Moment::from_nanos(2_000)),
        ban: until.map(|until| Ban {
            since: Moment::from_nanos(1_000),
            until,
            enforcement: Enforcement::Kernel,
            response: 3,
            rule_id: 5763,
            alert_id: AlertId::new("1732412580.218"),
            adopted: false,
            by_hand: None,
        }),
    }
}

pub(super) fn change(record: &Record) -> Change {
    Change {
        key: record.key.clone(),
        record: Some(record.clone()),
    }
}

/// A ban that is over, on the wall clock.
pub(super) fn ended(address: &str) -> Past<Wall> {
    let until = Expiry::At(Moment::from_nanos(9_000));
    let Record { key, ban, .. } = record(address, 1, Some(until)).on_the_wall(CLOCKS);
    Past {
        key,
        ban: ban.unwrap(),
        at: Wall::from_nanos(1_700_000_000_000_000_000),
        end: End::Time,
        line: Some(12),
    }
}

/// Quiet for `seconds`.
pub(super) fn quiet(network: &str, seconds: u64) -> Quiet {
    Quiet {
        offender: Offender::network(network.parse().unwrap()),
        since: CLOCKS.moment,
        until: CLOCKS.moment.after(Duration::from_secs(seconds)),
        uid: 1000,
        pid: Some(7),
        reason: "maintenance".into(),
    }
}

fn reopened(directory: &Path) -> Vec<Record> {
    let (_, held) = Store::open(directory).unwrap();
    held.records
        .into_iter()
        .map(|record| record.since_boot(CLOCKS))
        .collect()
}

/// AR-IMP-1
#[test]
fn bans_and_counters_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, held) = Store::open(directory.path()).unwrap();
    assert_eq!(held.records, []);
    let timed = record(
        "198.51.100.9",
        2,
        Some(Expiry::At(Moment::from_nanos(9_000))),
    );
    let permanent = record("2001:db8::1", 0, Some(Expiry::Never));
    let counted = record("203.0.113.5", 7, None);
    let gone = record("203.0.113.6", 1, None);
    store.save(
        [&timed, &permanent, &counted, &gone].map(change),
        History::default(),
        None,
        CLOCKS,
    );
    store.save(
        [Change {
            key: gone.key,
            record: None,
        }],
        History::default(),
        None,
        CLOCKS,
    );
    drop(store);
    assert_eq!(reopened(directory.path()), [timed, counted, permanent]);
}

#[test]
fn bans_of_prefixes_and_who_made_them_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    let by_hand = |prefix: &str, reason: &str| {
        let mut record = record("198.51.100.9", 0, Some(Expiry::Never));
        record.key.offender = Offender::network(prefix.parse().unwrap());
        record.ban.as_mut().unwrap().by_hand = Some(Box::new(ByHand {
            uid: 1000,
            pid: (!reason.is_empty()).then_some(7),
            reason: reason.into(),
        }));
        record
    };
    let v4 = by_hand("198.51.100.0/24", "a scan");
    let v6 = by_hand("2001:db8::/32", "");
    let host = by_hand("198.51.100.0", "its first address");
    store.save(
        [&v4, &v6, &host].map(change),
        History::default(),
        None,
        CLOCKS,
    );
    drop(store);
    let mut kept = reopened(directory.path());
    kept.sort_by(|left, right| left.key.cmp(&right.key));
    assert_eq!(kept, [v4, host, v6]);
}

#[test]
fn a_later_change_replaces_an_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    for offences in 1..=100 {
        store.save(
            [change(&record("198.51.100.9", offences, None))],
            History::default(),
            None,
            CLOCKS,
        );
    }
    drop(store);
    assert_eq!(
        reopened(directory.path()),
        [record("198.51.100.9", 100, None)]
    );
}

#[test]
fn each_file_has_its_latest_position() {
    let directory = tempfile::tempdir().unwrap();
    let position = |offset, before: &[u8]| Position {
        file: FileId {
            device: 7,
            inode: 42,
        },
        offset,
        before: before.to_vec(),
        repeats_until: offset / 2,
        modified_ns: Some(i64::MIN),
        finished: vec![Finished {
            file: FileId {
                device: 7,
                inode: 41,
            },
            length: 12,
            modified_ns: -1,
        }],
    };
    let (store, held) = Store::open(directory.path()).unwrap();
    assert!(held.positions.is_empty());
    for (file, offset) in [("a.json", 10), ("b.json", 20), ("a.json", 30)] {
        store.save(
            [],
            History::default(),
            Some(Progress {
                file: Path::new(file),
                position: position(offset, b"end\n"),
                handled: Vec::new(),
            }),
            CLOCKS,
        );
    }
    drop(store);
    let (_, held) = Store::open(directory.path()).unwrap();
    let expected = [("a.json", 30), ("b.json", 20)];
    let expected = expected.map(|(file, offset)| (file.into(), position(offset, b"end\n")));
    assert_eq!(held.positions, BTreeMap::from(expected));
}

fn handle(store: &Store, handled: impl IntoIterator<Item = u64>) {
    let progress = Progress {
        file: Path::new("a.json"),
        position: Position::default(),
        handled: handled.into_iter().collect(),
    };
    store.save([], History::default(), Some(progress), CLOCKS);
}

/// AR-IMP-8
#[test]
fn the_last_alerts_are_remembered_and_older_ones_go() {
    let directory = tempfile::tempdir().unwrap();
    let kept = HANDLED_KEPT as u64;
    let (store, held) = Store::open(directory.path()).unwrap();
    assert_eq!(held.handled, [0; 0]);
    handle(&store, [1, u64::MAX]);
    drop(store);
    let (store, held) = Store::open(directory.path()).unwrap();
    assert_eq!(held.handled, [1, u64::MAX]);
    handle(&store, 2..kept);
    drop(store);
    let (store, held) = Store::open(directory.path()).unwrap();
    assert_eq!(held.handled.len(), HANDLED_KEPT);
    handle(&store, [kept, kept + 1]);
    drop(store);
    let (_, held) = Store::open(directory.path()).unwrap();
    assert!(held.handled.into_iter().eq(2..=kept + 1));
}

/// What earlier versions wrote ends earlier.
#[test]
fn a_position_of_an_older_version_is_read() {
    let position = Position {
        file: FileId {
            device: 7,
            inode: 42,
        },
        offset: 300,
        before: b"end\n".to_vec(),
        ..Position::default()
    };
    let mut value = encoding::position_value(&position).unwrap();
    // No time, no file that was finished; before them, no line that repeats.
    for lacks in [&[0, 0][..], &[0]] {
        assert!(value.ends_with(lacks));
        value.truncate(value.len() - lacks.len());
        assert_eq!(encoding::position(&value).unwrap(), position);
    }
}

/// Opens what `spoil` makes of a good store, and makes sure that it is refused in these words. Gives its bytes
/// before and after.
fn check_refused(spoil: impl FnOnce(&Path), words: &[&str]) -> [Vec<u8>; 2] {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(file::NAME);
    let (store, _) = Store::open(directory.path()).unwrap();
    let many = (0..50).map(|last| change(&record(&format!("198.51.100.{last}"), 1, None)));
    store.save(many, History::default(), None, CLOCKS);
    drop(store);
    spoil(&path);
    let before = fs::read(&path).unwrap();
    let error = format!("{:#}", Store::open(directory.path()).unwrap_err());
    for words in words {
        assert!(error.contains(words), "{error}\n\nlacks {words:?}");
    }
    assert!(error.contains("arfw.redb"), "{error}");
    [before, fs::read(&path).unwrap()]
}

/// The same, and not a byte of it is written.
fn check_untouched(spoil: impl FnOnce(&Path), words: &[&str]) {
    let [before, after] = check_refused(spoil, words);
    assert!(before == after, "it was written");
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_is() {
    check_untouched(
        |path| fs::write(path, b"somebody else's").unwrap(),
        &["cannot use the store", "it is damaged"],
    );
    check_untouched(
        |path| fs::write(path, b"").unwrap(),
        &["cannot use the store", "it is empty"],
    );
}

#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    check_untouched(
        |path| {
            let mut bytes = fs::read(path).unwrap();
            let at = bytes.windows(13).position(|at| at == b"firewall-drop");
            bytes[at.unwrap()] ^= 1;
            fs::write(path, bytes).unwrap();
        },
        &["it is damaged", "arfw store export"],
    );
    check_untouched(
        |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        &["cannot use the store"],
    );
}

#[test]
fn another_programs_database_is_refused_and_keeps_its_tables() {
    const THEIRS: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
    let [_, after] = check_refused(
        |path| {
            fs::remove_file(path).unwrap();
            let database = Database::create(path).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction
                .open_table(THEIRS)
                .unwrap()
                .insert(1, 2)
                .unwrap();
            transaction.commit().unwrap();
        },
        &[
            "another program's",
            "found the tables [theirs]",
            "--state-dir",
        ],
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), after).unwrap();
    let database = Database::open(file.path()).unwrap();
    let tables = database.begin_read().unwrap();
    let names = tables.list_tables().unwrap();
    assert!(names.map(|table| table.name().to_owned()).eq(["theirs"]));
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let _ = check_refused(
        |path| {
            let database = Database::open(path).unwrap();
            let transaction = database.begin_write().unwrap();
            let mut about = transaction.open_table(ABOUT).unwrap();
            about.insert("version", VERSION + 1).unwrap();
            drop(about);
            transaction.commit().unwrap();
        },
        &["it is of version 3", "up to version 2"],
    );
}

#[test]
fn a_store_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (_store, _) = Store::open(directory.path()).unwrap();
    let error = format!("{:#}", Store::open(directory.path()).unwrap_err());
    assert!(error.contains("another process has it open"), "{error}");
}

#[test]
fn a_start_that_was_cut_off_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("arfw.redb.new"), b"half").unwrap();
    drop(Store::open(directory.path()).unwrap());
    let files: Vec<_> = fs::read_dir(directory.path()).unwrap().flatten().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn what_was_waited_for_is_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    let path = directory.path().join("arfw.redb");
    let copy = tempfile::tempdir().unwrap();
    for offences in 1..=20 {
        let wanted = record("198.51.100.7", offences, None);
        store.save([change(&wanted)], History::default(), None, CLOCKS);
        assert!(store.wait(Duration::from_secs(20)));
        // What a crash would leave.
        fs::copy(&path, copy.path().join("arfw.redb")).unwrap();
        assert_eq!(reopened(copy.path()), [wanted]);
    }
}

#[test]
fn the_boot_of_the_times_is_kept_until_another_takes_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    assert_eq!(store.boot(), None);
    drop(store);
    let before_1970 = Boot {
        id: u128::MAX - 7,
        at: Wall::from_nanos(-5),
    };
    let later = Boot {
        id: 1,
        at: CLOCKS.wall,
    };
    for boot in [before_1970, later] {
        let (store, _) = Store::open(directory.path()).unwrap();
        store.reckon(boot);
        store.save(
            [change(&record("203.0.113.5", 1, None))],
            History::default(),
            None,
            CLOCKS,
        );
        drop(store);
        let (store, held) = Store::open(directory.path()).unwrap();
        assert_eq!((store.boot(), held.records.len()), (Some(boot), 1));
        // What is saved without another word leaves it.
        store.save(
            [change(&record("203.0.113.6", 1, None))],
            History::default(),
            None,
            CLOCKS,
        );
        drop(store);
        let (store, _) = Store::open(directory.path()).unwrap();
        assert_eq!(store.boot(), Some(boot));
        store.save(
            [Change {
                key: record("203.0.113.6", 1, None).key,
                record: None,
            }],
            History::default(),
            None,
            CLOCKS,
        );
    }
}

#[test]
fn a_rest_between_transactions_ends_as_soon_as_somebody_waits_or_the_store_closes() {
    type Wake = fn(&Shared);
    let wakes: [Wake; 2] = [
        |shared| assert!(shared.wait(Duration::ZERO)),
        |shared| {
            shared.lock().closing = true;
            shared.changed.notify_one();
        },
    ];
    for wake in wakes {
        let shared = Arc::<Shared>::default();
        let resting = {
            let shared = Arc::clone(&shared);
            // Longer than any test may take.
            std::thread::spawn(move || shared.rest(Duration::from_secs(86_400)))
        };
        wake(&shared);
        resting.join().unwrap();
    }
}

#[test]
fn what_comes_later_replaces_what_waits_however_much_there_is_of_either() {
    let batch = |count: u8, offences| {
        let records = (0..count).map(|last| record(&format!("198.51.100.{last}"), offences, None));
        Batch {
            changes: records
                .map(|record| (record.key.clone(), Some(record.on_the_wall(CLOCKS))))
                .collect(),
            ..Batch::default()
        }
    };
    for (waiting, later) in [(0, 3), (3, 3), (200, 3), (3, 200)] {
        let mut all = batch(waiting, 1);
        all.append(batch(later, 2));
        let offences = all.changes.values().flatten().map(|record| record.offences);
        let expected = (0..waiting.max(later)).map(|last| if last < later { 2 } else { 1 });
        // Keys are in the order of addresses.
        assert!(offences.eq(expected), "{later} after {waiting}");
    }
}
