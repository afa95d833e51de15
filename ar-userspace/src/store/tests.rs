//! A store in a directory of its own, closed and opened again.

use super::*;
use crate::config::{Enforcement, Executable};
use crate::ledger::{AlertId, Ban, ByHand};
use crate::offender::Offender;
use crate::source::FileId;
use crate::time::{Expiry, Moment};

const CLOCKS: Clocks = Clocks {
    moment: Moment::from_nanos(5_000_000_000),
    wall: Wall::from_nanos(1_700_000_000_000_000_000),
};

fn record(address: &str, offences: u32, until: Option<Expiry>) -> Record {
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

fn change(record: &Record) -> Change {
    Change {
        key: record.key.clone(),
        record: Some(record.clone()),
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
        None,
        CLOCKS,
    );
    store.save(
        [Change {
            key: gone.key,
            record: None,
        }],
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
    store.save([&v4, &v6, &host].map(change), None, CLOCKS);
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
    };
    let (store, held) = Store::open(directory.path()).unwrap();
    assert!(held.positions.is_empty());
    for (file, offset) in [("a.json", 10), ("b.json", 20), ("a.json", 30)] {
        store.save(
            [],
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
    store.save([], Some(progress), CLOCKS);
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

#[test]
fn a_position_of_before_lines_could_repeat_is_read() {
    let position = Position {
        file: FileId {
            device: 7,
            inode: 42,
        },
        offset: 300,
        before: b"end\n".to_vec(),
        repeats_until: 0,
    };
    let mut value = encoding::position_value(&position).unwrap();
    assert_eq!(value.pop(), Some(0));
    assert_eq!(encoding::position(&value).unwrap(), position);
}

#[test]
fn a_foreign_file_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("arfw.redb");
    fs::write(&path, b"somebody else's").unwrap();
    let error = format!("{:#}", Store::open(directory.path()).unwrap_err());
    assert!(
        error.contains("cannot use the store") && error.contains("arfw.redb"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"somebody else's");
}

#[test]
fn a_store_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path()).unwrap());
    {
        let database = Database::create(directory.path().join("arfw.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction
            .open_table(ABOUT)
            .unwrap()
            .insert("version", VERSION + 1)
            .unwrap();
        transaction.commit().unwrap();
    }
    let error = format!("{:#}", Store::open(directory.path()).unwrap_err());
    assert!(error.contains("is of version 2"), "{error}");
}

#[test]
fn what_was_waited_for_is_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    let path = directory.path().join("arfw.redb");
    let copy = tempfile::tempdir().unwrap();
    for offences in 1..=20 {
        let wanted = record("198.51.100.7", offences, None);
        store.save([change(&wanted)], None, CLOCKS);
        assert!(store.wait(Duration::from_secs(20)));
        // What a crash would leave.
        fs::copy(&path, copy.path().join("arfw.redb")).unwrap();
        assert_eq!(reopened(copy.path()), [wanted]);
    }
}
