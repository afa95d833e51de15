//! Bans that are over, in a store of their own.

use redb::ReadableTableMetadata as _;

use super::super::history::{Answer, HISTORY, Query, Told, all};
use super::*;

const MOST: usize = History::<Wall>::MOST;

fn past(number: usize, end: End) -> Past {
    let address = format!("10.{}.{}.{}", number >> 16, number >> 8 & 255, number & 255);
    let at = Moment::from_nanos(1_000 + number as u64);
    let Record { key, ban, .. } = record(&address, 1, Some(Expiry::At(at)));
    Past {
        key,
        ban: ban.unwrap(),
        at,
        end,
        line: None,
    }
}

fn written(past: &Past) -> Past<Wall> {
    let history: History = std::iter::once(past.clone()).collect();
    history.on_the_wall(CLOCKS).entries()[0].clone()
}

fn kept(directory: &Path) -> (u64, Vec<Past<Wall>>) {
    let database = Database::open(directory.join(file::NAME)).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = transaction.open_table(HISTORY).unwrap();
    let first = table.first().unwrap().map_or(0, |(first, _)| first.value());
    (first, all(&database).unwrap())
}

fn ask(store: &Store, address: Option<&str>, limit: usize) -> Answer {
    let query = Query {
        offender: address.map(|address| Offender::network(address.parse().unwrap())),
        limit,
    };
    assert!(store.wait(Duration::from_secs(20)));
    store.reader().read(query).unwrap()
}

#[test]
fn an_entry_reads_as_it_was_written() {
    let mut entries = Vec::new();
    let ends = [
        End::Time,
        End::Hand { uid: 0, pid: None },
        End::Hand {
            uid: u32::MAX,
            pid: Some(i32::MAX),
        },
        End::WhiteList,
        End::Protected,
        End::Moved,
        End::Failed,
        End::Stop,
        End::NotConfirmed,
        End::Confirmed { uid: 0, pid: None },
        End::Lifted {
            uid: 1000,
            pid: Some(7),
        },
    ];
    for end in ends {
        let mut entry = ended("198.51.100.9");
        entry.end = end;
        entries.push(entry);
    }
    let mut odd = ended("2001:db8::1");
    odd.key.offender = Offender::network("2001:db8::/32".parse().unwrap());
    odd.ban.since = Wall::from_nanos(i64::MIN);
    odd.at = Wall::from_nanos(i64::MAX);
    odd.ban.until = Expiry::Never;
    odd.ban.enforcement = Enforcement::Program;
    odd.ban.alert_id = AlertId::new("an \"id\"\n");
    odd.ban.adopted = true;
    odd.ban.by_hand = Some(Box::new(ByHand {
        uid: 1000,
        pid: Some(7),
        reason: "a scan\u{1b}[2J".into(),
    }));
    odd.line = None;
    entries.push(odd);
    let row = encoding::history_value(&entries.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(encoding::count(&row).unwrap(), entries.len() as u64);
    assert_eq!(encoding::history(&row).unwrap(), entries);
    for cut in 0..row.len() {
        assert!(encoding::history(&row[..cut]).is_err(), "{cut} bytes");
    }
}

/// As docs/store.md says.
#[test]
fn an_entry_of_a_usual_ban_takes_few_bytes() {
    let mut usual = ended("198.51.100.9");
    let end = Wall::from_nanos(usual.ban.since.as_nanos() + 600_000_000_000);
    usual.ban.until = Expiry::At(end);
    usual.at = end;
    let row = encoding::history_value(&[&usual; 100]).unwrap();
    let bytes = row.len() / 100;
    assert_eq!(bytes, 65);
}

#[test]
fn the_last_entries_are_kept_and_older_ones_go_in_few_rows() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    let entries = |numbers: std::ops::Range<usize>| -> History {
        numbers.map(|number| past(number, End::Time)).collect()
    };
    store.save([], entries(0..3), None, CLOCKS);
    assert!(store.wait(Duration::from_secs(20)));
    store.save([], entries(3..MOST), None, CLOCKS);
    drop(store);
    let (first, all) = kept(directory.path());
    assert_eq!((first, all.len()), (0, MOST));
    assert_eq!(all[MOST - 1], written(&past(MOST - 1, End::Time)));
    let (store, _) = Store::open(directory.path()).unwrap();
    // One that gathers while the disk is full, and lost some.
    let burst = entries(MOST..2 * MOST + 7);
    assert_eq!(burst.forgotten(), 7);
    store.save([], burst, None, CLOCKS);
    assert!(store.wait(Duration::from_secs(60)));
    let answer = ask(&store, None, 2);
    assert_eq!(answer.forgotten, MOST as u64 + 7);
    assert_eq!(
        answer.told[0],
        Told::Past(written(&past(2 * MOST + 6, End::Time)))
    );
    drop(store);
    let (first, all) = kept(directory.path());
    assert_eq!((first, all.len()), (MOST as u64 + 7, MOST));
    let database = Database::open(directory.path().join(file::NAME)).unwrap();
    let transaction = database.begin_read().unwrap();
    let rows = transaction.open_table(HISTORY).unwrap().len().unwrap();
    assert!(rows < 100, "{rows} rows");
}

#[test]
fn what_waits_for_a_full_disk_is_bounded_and_what_went_is_counted() {
    let wall = |numbers: std::ops::Range<usize>| -> Batch {
        let history: History = numbers.map(|number| past(number, End::Time)).collect();
        Batch {
            history: history.on_the_wall(CLOCKS),
            ..Batch::default()
        }
    };
    let mut waiting = wall(0..MOST);
    waiting.append(wall(MOST..MOST + 5));
    assert_eq!(waiting.history.entries().len(), MOST);
    assert_eq!(waiting.history.forgotten(), 5);
    assert!(!waiting.is_empty());
}

#[test]
fn the_newest_bans_are_told_first_whether_over_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    let mut running = record("10.0.0.9", 1, Some(Expiry::Never));
    running.ban.as_mut().unwrap().since = Moment::from_nanos(1_001_500);
    let mut network = record("10.0.0.0", 0, Some(Expiry::Never));
    network.key.offender = Offender::network("10.0.0.0/30".parse().unwrap());
    network.ban.as_mut().unwrap().since = Moment::from_nanos(1);
    let counted = record("10.0.0.1", 7, None);
    let history: History = [past(1, End::Time), past(5, End::Stop)]
        .into_iter()
        .collect();
    store.save(
        [&running, &network, &counted].map(change),
        history,
        None,
        CLOCKS,
    );
    let [running, network] = [running, network].map(|it| Told::Running(it.on_the_wall(CLOCKS)));
    let [one, five] = [past(1, End::Time), past(5, End::Stop)].map(|it| Told::Past(written(&it)));
    let everything = [&running, &five, &one, &network].map(Clone::clone);
    for limit in 0..=4 {
        assert_eq!(ask(&store, None, limit).told, everything[..limit]);
    }
    // The address itself, and the network that holds it.
    assert_eq!(
        ask(&store, Some("10.0.0.1"), 9).told,
        [one.clone(), network.clone()]
    );
    assert_eq!(
        ask(&store, Some("10.0.0.0/29"), 9).told,
        [five.clone(), one, network.clone()]
    );
    assert_eq!(ask(&store, Some("10.0.0.4/30"), 9).told, [five]);
    assert_eq!(ask(&store, Some("2001:db8::/32"), 9).told, []);
}

#[test]
fn a_store_of_version_1_is_taken_over_with_all_that_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(file::NAME);
    let records = [
        record("198.51.100.9", 2, Some(Expiry::Never)),
        record("203.0.113.5", 7, None),
    ];
    let position = Position {
        offset: 300,
        before: b"end\n".to_vec(),
        ..Position::default()
    };
    // The tables that version 1 made, and what it wrote.
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut about = transaction.open_table(ABOUT).unwrap();
    about.insert("version", 1).unwrap();
    drop(about);
    let mut table = transaction.open_table(RECORDS).unwrap();
    for record in &records {
        let record = record.clone().on_the_wall(CLOCKS);
        let value = encoding::value(&record).unwrap();
        table.insert(&*encoding::key(&record.key), &*value).unwrap();
    }
    drop(table);
    let mut table = transaction.open_table(POSITIONS).unwrap();
    let value = encoding::position_value(&position).unwrap();
    table.insert(&b"a.json"[..], &*value).unwrap();
    drop(table);
    let mut table = transaction.open_table(HANDLED).unwrap();
    let value = encoding::handled_value(&[1, 2]);
    table.insert(0, &*value).unwrap();
    drop(table);
    transaction.commit().unwrap();
    database.close().unwrap();

    // What looks and does not write takes it as it is.
    let before = fs::read(&path).unwrap();
    let contents = transfer::read(directory.path()).unwrap();
    assert_eq!(contents.damage, [""; 0]);
    assert_eq!(contents.held.records.len(), 2);
    assert!(fs::read(&path).unwrap() == before);

    for _ in 0..2 {
        let (store, held) = Store::open(directory.path()).unwrap();
        let kept = held.records.into_iter();
        assert!(
            kept.map(|record| record.since_boot(CLOCKS))
                .eq(records.clone())
        );
        assert_eq!(held.positions, [("a.json".into(), position.clone())].into());
        assert_eq!(held.handled, [1, 2]);
        store.save(
            [],
            std::iter::once(past(1, End::Time)).collect(),
            None,
            CLOCKS,
        );
        drop(store);
    }
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_read().unwrap();
    let about = transaction.open_table(ABOUT).unwrap();
    assert_eq!(about.get("version").unwrap().unwrap().value(), VERSION);
    assert_eq!(
        all(&database).unwrap(),
        [written(&past(1, End::Time)), written(&past(1, End::Time))]
    );
}
