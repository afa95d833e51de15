//! Stores in directories of their own, written as lines and made anew of them.

use super::super::Store;
use super::*;
use crate::config::{Enforcement, Executable};
use crate::ledger::{AlertId, Ban, ByHand, End, Key, Past, Record};
use crate::offender::Offender;
use crate::source::{FileId, Finished, Position};
use crate::time::{Expiry, Wall};

fn record(address: &str, ban: Option<(Expiry<Wall>, Enforcement)>) -> Record<Wall> {
    Record {
        key: Key {
            offender: Offender::network(address.parse().unwrap()),
            executable: Executable::new("firewall-drop"),
        },
        offences: 3,
        last_offence: Some(Wall::from_nanos(1_700_000_000_123_456_789)),
        free_since: ban.is_none().then_some(Wall::from_nanos(i64::MIN)),
        ban: ban.map(|(until, enforcement)| Ban {
            since: Wall::from_nanos(1_700_000_000_000_000_001),
            until,
            enforcement,
            response: 3,
            rule_id: 5763,
            alert_id: AlertId::new("an \"id\"\n"),
            adopted: enforcement == Enforcement::Program,
            by_hand: (enforcement == Enforcement::Kernel).then(|| {
                Box::new(ByHand {
                    uid: 1000,
                    pid: Some(7),
                    reason: "a \"reason\"".into(),
                })
            }),
        }),
    }
}

fn past(address: &str, end: End) -> Past<Wall> {
    let until = (Expiry::Never, Enforcement::Kernel);
    let Record { key, ban, .. } = record(address, Some(until));
    Past {
        key,
        ban: ban.unwrap(),
        at: Wall::from_nanos(1_700_000_600_000_000_001),
        end,
        line: (end == End::Time).then_some(12),
    }
}

fn quiet(network: &str) -> Quiet<Wall> {
    Quiet {
        offender: Offender::network(network.parse().unwrap()),
        since: Wall::from_nanos(1_700_000_000_000_000_001),
        until: Wall::from_nanos(1_700_000_600_000_000_001),
        uid: 1000,
        pid: Some(7),
        reason: "a \"reason\"".into(),
    }
}

fn held() -> Held {
    let end = Expiry::At(Wall::from_nanos(i64::MAX));
    let position = Position {
        file: FileId {
            device: 7,
            inode: u64::MAX,
        },
        offset: 300,
        before: b"\xffend\n".to_vec(),
        repeats_until: 20,
        modified_ns: Some(i64::MAX),
        finished: vec![Finished {
            file: FileId {
                device: 7,
                inode: 41,
            },
            length: 12,
            modified_ns: -1,
        }],
    };
    let by_hand = End::Hand {
        uid: 1000,
        pid: None,
    };
    let odd = PathBuf::from(OsStr::from_bytes(b"/100%25/\xfe.json"));
    Held {
        records: vec![
            record("198.51.100.9", Some((end, Enforcement::Kernel))),
            record("203.0.113.5", None),
            record("2001:db8::1", Some((Expiry::Never, Enforcement::Program))),
        ],
        positions: [(odd, position.clone()), ("a.json".into(), position)].into(),
        quiet: vec![quiet("198.51.100.0/24"), quiet("2001:db8::7")],
        history: [
            past("198.51.100.7", End::Time),
            past("2001:db8::/32", by_hand),
        ]
        .into(),
        forgotten: 12,
        handled: (0..3000).map(|id| id * 0x1234_5678_9abc).collect(),
    }
}

fn exported(held: &Held) -> String {
    let mut text = Vec::new();
    export(held, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn assert_same(one: &Held, other: &Held) {
    assert_eq!(one.records, other.records);
    assert_eq!(one.positions, other.positions);
    assert_eq!(one.handled, other.handled);
    assert_eq!(one.quiet, other.quiet);
    assert_eq!(one.history, other.history);
    assert_eq!(one.forgotten, other.forgotten);
}

#[test]
fn an_imported_store_holds_what_was_exported() {
    let mut held = held();
    let confirmed = End::Confirmed { uid: 0, pid: None };
    let lifted = End::Lifted {
        uid: 1000,
        pid: Some(7),
    };
    let ends = [End::NotConfirmed, confirmed, lifted];
    held.history
        .extend(ends.map(|end| past("198.51.100.8", end)));
    let network = record("203.0.114.0/24", Some((Expiry::Never, Enforcement::Kernel)));
    held.records.insert(2, network);
    let directory = tempfile::tempdir().unwrap();
    import(
        directory.path(),
        &parse(exported(&held).as_bytes()).unwrap(),
    )
    .unwrap();
    let (store, mut opened) = Store::open(directory.path()).unwrap();
    // A daemon has no use for it.
    assert!(opened.history.is_empty());
    opened.history.clone_from(&held.history);
    opened.forgotten = held.forgotten;
    assert_same(&opened, &held);
    let error = read(directory.path()).unwrap_err().to_string();
    assert!(error.contains("is in use: stop the daemon"), "{error}");
    drop(store);
    let contents = read(directory.path()).unwrap();
    assert!(contents.closed && contents.damage.is_empty());
    assert_same(&contents.held, &held);
    let names = fs::read_dir(directory.path()).unwrap();
    assert_eq!(names.count(), 1);
}

#[test]
fn a_store_that_was_not_closed_is_read_and_left_as_it_is() {
    let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    import(directory.path(), &held()).unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    let path = copy.path().join("arfw.redb");
    fs::copy(directory.path().join("arfw.redb"), &path).unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();
    let contents = read(copy.path()).unwrap();
    assert!(!contents.closed);
    assert_same(&contents.held, &held());
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_store_that_is_there_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    import(directory.path(), &held()).unwrap();
    let error = import(directory.path(), &Held::default()).unwrap_err();
    assert!(
        format!("{error:#}").contains("there is a store"),
        "{error:#}"
    );
    assert_same(&read(directory.path()).unwrap().held, &held());
}

#[test]
fn what_is_not_damaged_is_read() {
    let directory = tempfile::tempdir().unwrap();
    import(directory.path(), &held()).unwrap();
    {
        let database = Database::create(directory.path().join("arfw.redb")).unwrap();
        let transaction = database.begin_write().unwrap();
        let key = encoding::key(&held().records[1].key);
        let mut records = transaction.open_table(RECORDS).unwrap();
        records.insert(&*key, &b"\xff\xff"[..]).unwrap();
        records.insert(&b"\x07x"[..], &b""[..]).unwrap();
        drop(records);
        let mut history = transaction.open_table(HISTORY).unwrap();
        history.insert(99, &b"\0\0\0\x02x"[..]).unwrap();
        drop(history);
        transaction.commit().unwrap();
    }
    let contents = read(directory.path()).unwrap();
    assert_eq!(contents.damage.len(), 3, "{:?}", contents.damage);
    assert!(contents.damage[2].contains("the history from number 99 on"));
    assert!(
        contents
            .damage
            .iter()
            .any(|told| told.contains("key 0778 "))
    );
    let mut rest = held();
    rest.records.remove(1);
    assert_same(&contents.held, &rest);
}

#[test]
fn of_damaged_pages_the_rest_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let address = |number: u16| format!("198.51.{}.{}", number / 256, number % 256);
    let records = (0..2000).map(|number| record(&address(number), None));
    let held = Held {
        records: records.collect(),
        ..Held::default()
    };
    import(directory.path(), &held).unwrap();
    let path = directory.path().join("arfw.redb");
    let bytes = fs::read(&path).unwrap();
    let mut partly = 0;
    for page in (1..bytes.len() / 4096).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[page * 4096..(page + 1) * 4096].fill(0xff);
        fs::write(&path, &damaged).unwrap();
        if let Ok(contents) = read(directory.path()) {
            let whole = contents.held.records == held.records;
            assert_eq!(contents.damage.is_empty(), whole, "page {page}");
            partly += usize::from(!whole && contents.held.records.len() > 1000);
        }
        assert!(fs::read(&path).unwrap() == damaged);
    }
    assert!(partly > 0);
}

#[test]
fn what_version_1_exported_is_imported() {
    let mut old = held();
    old.history.clear();
    old.quiet.clear();
    old.forgotten = 0;
    let header = "\"arfw_store\":2,";
    let text = exported(&old).replace(",\"past\":0,\"forgotten\":0", "");
    let text = text.replace(header, "\"arfw_store\":1,");
    assert!(
        text.starts_with("{\"arfw_store\":1,\"records\":3,\"positions\":2,\"handled\":3000}\n")
    );
    assert_same(&parse(text.as_bytes()).unwrap(), &old);
}

#[test]
fn every_mistake_has_its_place() {
    let text = exported(&held());
    for (right, wrong, told) in [
        (
            "\"arfw_store\":2",
            "\"arfw_store\":3",
            "1:1: expected `arfw_store` 1 to 2, found 3",
        ),
        (
            "\"past\":2",
            "\"past\":1",
            "and 1 past bans as this line says",
        ),
        (
            "\"quiet\":2",
            "\"quiet\":3",
            "3 quiet times and 2 past bans as this line says",
        ),
        (
            "{\"address\":\"2001:db8::7\"",
            "{\"address\":\"198.51.100.0/24\"",
            "expected one quiet time for each address, found 198.51.100.0/24 again",
        ),
        (
            "\"how\":\"time\"",
            "\"how\":\"tim\"",
            "found unknown variant `tim`",
        ),
        ("\"records\":3", "\"records\":4", "1:1: expected 4 records"),
        (
            "198.51.100.9",
            "host",
            "expected a literal address or network, found `host`",
        ),
        (
            "203.0.113.5",
            "198.51.100.9",
            "3:1: expected each address and executable once",
        ),
        ("2023-11-14T", "2023-13-14T", "expected a time such as"),
        (
            "\"rule\":5763",
            "\"rule\":-1",
            "found invalid value: integer `-1`",
        ),
        ("\"rule\"", "\"rulle\"", "found unknown field `rulle`"),
        (
            "\"offences\":3,",
            "",
            "expected the field `offences`, found none",
        ),
        (
            "ff656e640a",
            "ff656e640",
            "expected an even number of hexadecimal digits",
        ),
        ("%2525", "%2", "expected two hexadecimal digits after `%`"),
        ("{\"record\"", "{\"recor\"", "found unknown variant `recor`"),
    ] {
        let wrong = text.replacen(right, wrong, 1);
        assert_ne!(wrong, text, "{right}");
        let mistakes = parse(wrong.as_bytes()).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(told), "{mistakes:?} {told}");
    }
    let mistakes = parse(text.replace("\"offences\"", "\"offense\"").as_bytes()).unwrap_err();
    assert_eq!(mistakes.len(), 3);
    assert!(mistakes[1].starts_with("3:"), "{mistakes:?}");
    assert_eq!(parse(b"").unwrap_err().len(), 1);
    assert_eq!(
        parse(&text.as_bytes()[..text.len() - 9]).unwrap_err().len(),
        1
    );
}
