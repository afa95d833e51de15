//! Quiet times in a store of their own.

use super::super::quiet::QUIET;
use super::*;

fn keep(store: &Store, changes: &[(&str, Option<u64>)]) {
    let changes = changes.iter().map(|&(network, seconds)| {
        let offender = quiet(network, 0).offender;
        (offender, seconds.map(|seconds| quiet(network, seconds)))
    });
    store.keep_quiet(changes, CLOCKS);
}

fn kept(directory: &Path) -> Vec<Quiet> {
    let (_, held) = Store::open(directory).unwrap();
    let kept = held.quiet.into_iter();
    kept.map(|quiet| quiet.since_boot(CLOCKS)).collect()
}

#[test]
fn quiet_times_are_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, held) = Store::open(directory.path()).unwrap();
    assert_eq!(held.quiet, []);
    keep(
        &store,
        &[
            ("198.51.100.7", Some(60)),
            ("198.51.100.0/24", Some(1)),
            ("2001:db8::/32", Some(2_592_000)),
            ("203.0.113.5", Some(60)),
        ],
    );
    store.save([], History::default(), None, CLOCKS);
    assert!(store.wait(Duration::from_secs(20)));
    keep(&store, &[("198.51.100.7", Some(90)), ("203.0.113.5", None)]);
    store.save([], History::default(), None, CLOCKS);
    drop(store);
    let mut found = kept(directory.path());
    found.sort_by_key(|quiet| quiet.offender);
    let expected = [
        quiet("198.51.100.0/24", 1),
        quiet("198.51.100.7", 90),
        quiet("2001:db8::/32", 2_592_000),
    ];
    assert_eq!(found, expected);
}

/// What was ordered together is written together: nothing of it is before the rest is saved.
#[test]
fn a_quiet_time_is_written_with_what_is_saved_next() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    keep(&store, &[("198.51.100.7", Some(60))]);
    assert!(store.wait(Duration::ZERO), "it is written by itself");
    let released = record("198.51.100.7", 1, None);
    store.save([change(&released)], History::default(), None, CLOCKS);
    assert!(store.wait(Duration::from_secs(20)));
    let database = Arc::clone(&store.shared.open().unwrap());
    let transaction = database.begin_read().unwrap();
    let tables = transaction
        .open_table(QUIET)
        .unwrap()
        .iter()
        .unwrap()
        .count();
    let records = transaction.open_table(RECORDS).unwrap();
    assert_eq!((tables, records.iter().unwrap().count()), (1, 1));
}

/// As of every version before: the table comes with the first of them.
#[test]
fn a_store_without_the_table_has_nobody_quiet_and_gets_none_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    store.save(
        [change(&record("198.51.100.7", 1, None))],
        History::default(),
        None,
        CLOCKS,
    );
    drop(store);
    let database = Database::open(directory.path().join(file::NAME)).unwrap();
    let transaction = database.begin_read().unwrap();
    let tables = transaction.list_tables().unwrap();
    assert!(
        tables
            .map(|table| table.name().to_owned())
            .all(|name| name != "quiet")
    );
    drop((transaction, database));
    assert_eq!(kept(directory.path()), []);
}

#[test]
fn a_quiet_time_that_is_damaged_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    drop(store);
    let database = Database::open(directory.path().join(file::NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut table = transaction.open_table(QUIET).unwrap();
    table.insert(&[4, 198, 51, 100, 7][..], &[1][..]).unwrap();
    drop(table);
    transaction.commit().unwrap();
    drop(database);
    let error = format!("{:#}", Store::open(directory.path()).unwrap_err());
    assert!(
        error.contains("the quiet time of 198.51.100.7 cannot be read"),
        "{error}"
    );
}
