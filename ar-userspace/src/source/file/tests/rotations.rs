//! What was rotated while nobody looked, when the times of the files do not tell their order, and what was compressed.

use std::time::{Duration, SystemTime};

use super::*;

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(time).unwrap();
}

/// Names that a rotation gives to an older and a newer file.
const NAMES: [[&str; 2]; 4] = [
    ["alerts.json.2", "alerts.json.1"],
    ["alerts.json.1", "alerts.json.2"],
    ["alerts.json-20261123", "alerts.json-20261124"],
    [
        "2026/Nov/ossec-alerts-23.json",
        "2026/Nov/ossec-alerts-24.json",
    ],
];

#[tokio::test(flavor = "current_thread")]
async fn a_finished_file_of_the_same_tick_is_not_read_again_after_a_start() {
    for [older, newer] in NAMES {
        let directory = directory();
        days(directory.path());
        let mut followed = Followed::start(directory.path());
        let alerts = followed.path.clone();
        followed.append("one\n");
        followed.expect(&["one"]).await;
        followed.rename_to(older);
        followed.append("two\n");
        followed.expect(&["two"]).await;
        let position = followed.stop().await;
        append(&alerts, "three\n");
        set_modified(&alerts, modified(&directory.path().join(older)));
        fs::rename(&alerts, directory.path().join(newer)).unwrap();
        append(&alerts, "four\n");
        let mut followed = Followed::start_at(directory.path(), position);
        assert_eq!(followed.start, Start::AtPosition, "{older}");
        followed.expect(&["three", "four"]).await;
        followed.stop().await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_finished_file_of_the_same_tick_is_not_read_again_while_it_is_followed() {
    for [older, newer] in NAMES {
        let directory = directory();
        days(directory.path());
        let mut followed = Followed::start(directory.path());
        followed.append("one\n");
        followed.expect(&["one"]).await;
        followed.rename_to(older);
        followed.append("two\n");
        followed.expect(&["two"]).await;
        followed.append("three\n");
        set_modified(&followed.path, modified(&directory.path().join(older)));
        followed.rename_to(newer);
        followed.append("four\n");
        followed.expect(&["three", "four"]).await;
        followed.stop().await;
    }
}

/// Four files of one tick, and a crash after every line.
#[tokio::test(flavor = "current_thread")]
async fn files_of_one_tick_are_each_read_once_in_the_order_of_their_names() {
    let orders = [
        [
            "alerts.json.4",
            "alerts.json.3",
            "alerts.json.2",
            "alerts.json.1",
        ],
        [
            "alerts.json.11",
            "alerts.json.10",
            "alerts.json.9",
            "alerts.json.8",
        ],
        [
            "alerts.json-20251231",
            "alerts.json-20260101",
            "alerts.json-20260102",
            "alerts.json-20261101",
        ],
        [
            "2025/Dec/ossec-alerts-31.json",
            "2026/Jan/ossec-alerts-01.json",
            "2026/Jan/ossec-alerts-01-001.json",
            "2026/Feb/ossec-alerts-01.json",
        ],
    ];
    for names in orders {
        let directory = directory();
        for month in ["2025/Dec", "2026/Jan", "2026/Feb"] {
            fs::create_dir_all(directory.path().join(month)).unwrap();
        }
        let mut position = stopped_after_one(directory.path()).await;
        let alerts = directory.path().join("alerts.json");
        fs::rename(&alerts, directory.path().join(names[0])).unwrap();
        let time = modified(&directory.path().join(names[0]));
        for (name, text) in names.iter().zip(["two\n", "three\n", "four\n", "five\n"]) {
            let path = directory.path().join(name);
            append(&path, text);
            set_modified(&path, time);
        }
        append(&alerts, "six\n");
        for line in ["two", "three", "four", "five", "six"] {
            let mut followed = Followed::start_at(directory.path(), position);
            assert_eq!(followed.start, Start::AtPosition, "{names:?}");
            followed.expect(&[line]).await;
            position = followed.crash();
        }
        Followed::start_at(directory.path(), position).stop().await;
    }
}

/// A file may come by the inode and the time of one that was read.
#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_not_as_the_finished_one_was_is_read() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    let alerts = followed.path.clone();
    followed.append("one\n");
    followed.expect(&["one"]).await;
    followed.rename_to("alerts.json.2");
    followed.append("two\n");
    followed.expect(&["two"]).await;
    let position = followed.stop().await;
    let rotated = directory.path().join("alerts.json.2");
    let time = modified(&rotated);
    fs::write(&rotated, "another\n").unwrap();
    set_modified(&rotated, time);
    fs::rename(&rotated, directory.path().join("alerts.json.1")).unwrap();
    fs::rename(&alerts, &rotated).unwrap();
    set_modified(&rotated, time);
    append(&alerts, "three\n");
    let mut followed = Followed::start_at(directory.path(), position);
    followed.expect(&["another", "three"]).await;
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn what_came_after_a_file_that_is_gone_is_read() {
    let directory = directory();
    append(&directory.path().join("alerts.json.3"), "long ago\n");
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    let read = modified(&alerts);
    set_modified(
        &directory.path().join("alerts.json.3"),
        read - Duration::from_secs(1),
    );
    // So that its inode goes to none of the others.
    let _gone = File::open(&alerts).unwrap();
    fs::remove_file(&alerts).unwrap();
    append(&directory.path().join("alerts.json.1"), "two\n");
    append(&alerts, "three\n");
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::PositionLost);
    followed.expect(&["two", "three"]).await;
    followed.stop().await;
}

/// A file beside the alert file that nobody reads, and when it was written after what was read.
struct Packed {
    name: &'static str,
    after_s: i64,
}

/// Reads one line, stops, and rotates twice: the file that was read is `names[0]`, a later one `names[1]`.
/// Says how many compressed files are told of then.
async fn check_compressed(names: [&str; 2], packed: &[Packed], expected: u64) {
    let directory = directory();
    days(directory.path());
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    let at = |after_s: i64| {
        let age = Duration::from_secs(1_000_000);
        let seconds = Duration::from_secs(after_s.unsigned_abs());
        let read = SystemTime::now() - age;
        if after_s < 0 {
            read - seconds
        } else {
            read + seconds
        }
    };
    let read = directory.path().join(names[0]);
    fs::rename(&alerts, &read).unwrap();
    append(&read, "two\n");
    set_modified(&read, at(0));
    let later = directory.path().join(names[1]);
    append(&later, "three\n");
    set_modified(&later, at(100));
    for packed in packed {
        let path = directory.path().join(packed.name);
        append(&path, "\x1f\u{8b}");
        set_modified(&path, at(packed.after_s));
    }
    append(&alerts, "four\n");
    let mut followed = Followed::start_at(directory.path(), position);
    followed.expect(&["two", "three", "four"]).await;
    let told = followed.condition.borrow().compressed;
    assert_eq!(told, expected, "{names:?}");
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_compressed_file_in_between_is_told_of() {
    let packed = |name, after_s| Packed { name, after_s };
    let numbers = ["alerts.json.3", "alerts.json.1"];
    check_compressed(numbers, &[packed("alerts.json.2.gz", 50)], 1).await;
    check_compressed(numbers, &[packed("alerts.json.4.gz", -50)], 0).await;
    // It is being compressed at this moment.
    check_compressed(numbers, &[packed("alerts.json.1.gz", 100)], 0).await;
    check_compressed(numbers, &[packed("else.json.2.gz", 50)], 0).await;
    let dates = ["alerts.json-20261122", "alerts.json-20261124"];
    check_compressed(dates, &[packed("alerts.json-20261123.gz", 50)], 1).await;
    // Wazuh compresses a day file after its day.
    let days = NAMES[3];
    let two = [
        packed("2026/Nov/ossec-alerts-22.json.gz", 50),
        packed("2026/Nov/ossec-alerts-23-001.json.gz", 50),
        packed("2026/Nov/ossec-alerts-25.json.gz", 50),
    ];
    check_compressed(days, &two, 2).await;
}

/// What compresses a file keeps its time.
#[tokio::test(flavor = "current_thread")]
async fn a_compressed_file_that_was_read_before_is_no_gap() {
    let directory = directory();
    let mut followed = Followed::start(directory.path());
    let alerts = followed.path.clone();
    followed.append("one\n");
    followed.expect(&["one"]).await;
    followed.rename_to("alerts.json.1");
    followed.append("two\n");
    followed.expect(&["two"]).await;
    let position = followed.stop().await;
    let plain = directory.path().join("alerts.json.1");
    let packed = directory.path().join("alerts.json.2.gz");
    append(&packed, "packed");
    set_modified(&packed, modified(&plain));
    set_modified(&alerts, modified(&plain));
    fs::rename(&alerts, &plain).unwrap();
    append(&alerts, "three\n");
    let mut followed = Followed::start_at(directory.path(), position);
    followed.expect(&["three"]).await;
    assert_eq!(followed.condition.borrow().compressed, 0);
    followed.stop().await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_file_that_is_compressed_before_it_was_read_whole_is_told_of() {
    let directory = directory();
    let position = stopped_after_one(directory.path()).await;
    let alerts = directory.path().join("alerts.json");
    append(&alerts, "two\n");
    fs::rename(&alerts, directory.path().join("alerts.json.2.gz")).unwrap();
    append(&directory.path().join("alerts.json.1"), "three\n");
    append(&alerts, "four\n");
    let mut followed = Followed::start_at(directory.path(), position);
    assert_eq!(followed.start, Start::PositionLost);
    followed.expect(&["three", "four"]).await;
    assert_eq!(followed.condition.borrow().compressed, 1);
    followed.stop().await;
}
